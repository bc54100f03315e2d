"""Models on disk: the whole of one (architecture, weights, optimizer, random counters), or its weights alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import files
from tinynn.backends import host
from tinynn.config import plain
from tinynn.errors import frames_inside
from tinynn.losses import FunctionLoss
from tinynn.models import architecture
from tinynn.parameter import Variable
from tinynn.random import Stream

if TYPE_CHECKING:
    from tinynn.models.model import Model

Path = str | os.PathLike[str]
Named = dict[str, np.ndarray]
FORMAT = 1
"""Of the record; a reader refuses those that it does not know."""
WEIGHTS, SLOTS, STATES = "weights/", "optimizer/", "states/"


# -- models ------------------------------------------------------------------------------------------------------------


def save_model(model: Model, path: Path, overwrite: bool = True, training: Mapping[str, Any] | None = None) -> None:
    """Write a model into one file, from which ``load_model`` makes one that goes on as this one would.

    training: what a run wants to know again, see ``training.py``
    """
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{os.fspath(path)} exists: save with overwrite=True, or under another name")
    record = {
        "format": FORMAT,
        "architecture": architecture.to_record(model),
        "compiled": compiled_record(model),
        "stream": stream_record(model),
        "training": dict(training or {}),
    }
    files.write(path, record, all_arrays(model))


def load_model(
    path: Path, custom_objects: Mapping[str, Any] | None = None, compile: bool = True, backend: Any = None
) -> Model:
    """The model that ``model.save(path)`` wrote, compiled as it was, with its weights and its optimizer's state.

    custom_objects: layers, losses, metrics, functions of your own by their names
    compile:        False leaves loss and optimizer out
    backend:        where the model shall live; None for the default

    Nothing in the file is executed. Raises OSError where there is no such file, ValueError, with the path, for one that
    is damaged, or names a class that is not known.
    """
    record, arrays = files.read(path)
    if record.get("format") != FORMAT:
        raise ValueError(
            f"{os.fspath(path)} has the format {record.get('format')!r}, this version of tinynn reads {FORMAT}"
        )
    try:
        model = architecture.from_record(record["architecture"], custom_objects, backend)
        seed, index, step, model.shuffles = record["stream"]
        model.stream = Stream(int(seed), int(index))
        model.stream.step[...] = step
        model.name_variables()
        set_weights(model, part(arrays, WEIGHTS), strict=True)
        if compile and record["compiled"] is not None:
            compile_again(model, record["compiled"], part(arrays, SLOTS), custom_objects)
        set_states(model, part(arrays, STATES))
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} does not hold a model that can be made here: {error}") from error
    return model


def stream_record(model: Model) -> list[int]:
    """[seed, stream, step, orders of rows drawn]: where the model's random numbers have come to."""
    stream = model.stream
    assert stream is not None
    return [int(stream.seed), int(stream.index), int(stream.step[0]), int(model.shuffles)]


def all_arrays(model: Model) -> Named:
    """Weights, the optimizer's state and slots, and the states of recurrent layers that carry them on."""
    arrays = {WEIGHTS + name: variable.numpy() for name, variable in model.named_variables().items()}
    arrays |= {SLOTS + name: np.array(host(array)) for name, array in slots_of(model).items()}
    for i, layer in enumerate(model.all_layers()):
        for k, state in enumerate(getattr(layer, "states", None) or []):
            arrays[f"{STATES}{i}/{k}"] = state
    return arrays


def part(arrays: Named, prefix: str) -> Named:
    """The arrays whose names begin like this, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def set_states(model: Model, states: Named) -> None:
    """Give the layers back what they carry on."""
    for i, layer in enumerate(model.all_layers()):
        mine = [states[f"{i}/{k}"] for k in range(len(states)) if f"{i}/{k}" in states]
        if mine:
            layer.states = mine  # type: ignore[attr-defined]


# -- what compile settled ----------------------------------------------------------------------------------------------


def compiled_record(model: Model) -> dict[str, Any] | None:
    compiled = model.compiled
    if compiled is None:
        return None
    record = {
        "loss": loss_record(compiled.loss),
        "loss_weights": plain(compiled.loss_weights),
        "optimizer": plain(compiled.optimizer),
        "metrics": plain(compiled.plain),
        "weighted_metrics": plain(compiled.weighted),
        "fast_math": compiled.fast_math,
        "fuse": compiled.fuse,
        "jit": compiled.jit,
        "trainable": compiled.trainable,
    }
    named: dict[str, Any] = architecture.named_functions(record, f"what '{model.label}' was compiled with")
    return named


def loss_record(loss: Any) -> Any:
    """A loss, or those of several outputs."""
    if isinstance(loss, dict):
        return {name: loss_record(one) for name, one in loss.items()}
    if isinstance(loss, list):
        return [loss_record(one) for one in loss]
    return loss.function if isinstance(loss, FunctionLoss) else plain(loss)


def compile_again(model: Model, record: dict[str, Any], slots: Named, custom_objects: Mapping[str, Any] | None) -> None:
    """Compile as it was, ``trainable`` flags of then included, and put the optimizer's arrays in place."""
    objects = custom_objects or {}
    given = architecture.objects_of(architecture.functions_of(record, objects), objects)
    everything = model.all_layers()
    now = [layer.trainable for layer in everything]
    for layer, flag in zip(everything, given.pop("trainable"), strict=True):
        layer.trainable = flag
    model.compile(**given)
    for layer, flag in zip(everything, now, strict=True):
        layer.trainable = flag
    mine = slots_of(model)
    complain(f"the optimizer of '{model.label}'", mine, slots)
    for name, array in mine.items():
        array[...] = model.backend.asarray(slots[name], array.dtype)


def slots_of(model: Model) -> dict[str, Any]:
    """The optimizer's arrays by name: "state", and "velocity/dense/kernel" for each slot of each parameter."""
    compiled = model.compiled
    if compiled is None or not compiled.optimizer.built:
        return {}
    optimizer = compiled.optimizer
    names = {id(variable): name for name, variable in model.named_variables().items()}
    state, *arrays = optimizer.variables
    keys = [
        f"{slot}/{names[id(p)]}" for slot in optimizer.slots[: len(optimizer.slot_arrays)] for p in optimizer.parameters
    ]
    return {"state": state, **dict(zip(keys, arrays, strict=True))}


# -- weights -----------------------------------------------------------------------------------------------------------


def save_weights(model: Model, path: Path, overwrite: bool = True) -> None:
    """All weights by their names (``dense/kernel``), as a safetensors file."""
    model.require_built("save_weights")
    if not overwrite and os.path.exists(path):
        raise FileExistsError(f"{os.fspath(path)} exists: save with overwrite=True, or under another name")
    files.write(path, {}, {name: variable.numpy() for name, variable in model.named_variables().items()})


def load_weights(model: Model, path: Path, strict: bool = True) -> None:
    """Weights by their names from a safetensors file, or from a saved model; all of them, or none.

    strict: False takes what fits by name and shape and leaves the rest as it is, saying what that is

    Raises ValueError, with everything that is missing, extra or of another shape in one message, and nothing changed.
    """
    model.require_built("load_weights")
    arrays = files.read_arrays(path)
    weights = part(arrays, WEIGHTS) or arrays
    try:
        set_weights(model, weights, strict)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
    if not strict and (problems := differences(model.named_variables(), weights)):
        warnings.warn(f"{os.fspath(path)}: {problems}", stacklevel=frames_inside())


def set_weights(model: Model, weights: Named, strict: bool) -> None:
    """Overwrite weights by name, after all of them were compared."""
    variables = model.named_variables()
    if strict:
        complain(f"'{model.label}'", variables, weights)
    for name, variable in variables.items():
        if name in weights and weights[name].shape == variable.shape and weights[name].dtype.kind in "fiub":
            variable.assign(weights[name])


def complain(owner: str, wanted: Mapping[str, Variable | Any], given: Named) -> None:
    """ValueError with everything that does not fit."""
    if problems := differences(wanted, given):
        raise ValueError(f"the weights do not fit {owner}. {problems}")


def differences(wanted: Mapping[str, Variable | Any], given: Named) -> str:
    """All that is missing, extra, of another shape, or no numbers; empty where everything fits."""
    said = []
    if missing := [name for name in wanted if name not in given]:
        said.append(f"missing: {listed(missing)}")
    if extra := [name for name in given if name not in wanted]:
        said.append(f"not in the model: {listed(extra)}")
    both = [(name, tuple(wanted[name].shape), given[name]) for name in wanted if name in given]
    if other := [
        f"{name} is {shape}, the file has {array.shape}" for name, shape, array in both if array.shape != shape
    ]:
        said.append(f"of another shape: {listed(other)}")
    if odd := [f"{name} ({array.dtype})" for name, _, array in both if array.dtype.kind not in "fiub"]:
        said.append(f"no numbers: {listed(odd)}")
    return ". ".join(said)


def listed(names: Sequence[str], most: int = 20) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
