"""Sources in the place of arrays: what may be said beside them, and whether their batches fit the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.data import Windows
from tinynn.data.iterables import Permutation, source_of
from tinynn.data.source import Field, Source
from tinynn.models import door
from tinynn.models.ports import in_order

if TYPE_CHECKING:
    from tinynn.models.model import Model

ROWS = 2
"""Of the stand-in for a batch whose shape is checked."""


def found(
    x: Any, y: Any = None, per_epoch: int | None = None, base: int = 0, permutation: Permutation | None = None
) -> Source | None:
    """The Source that x is; None for arrays, and for windows, whose arrays are known."""
    source = None if isinstance(x, Windows) else source_of(x, per_epoch, base, permutation)
    if source is not None and y is not None:
        raise ValueError(f"x is a {type(x).__name__}, which has its own targets: leave y out, as in fit(dataset)")
    return source


def refuse_beside(source: Source, **arguments: Any) -> None:
    """ValueError for arguments that a Source decides itself."""
    instead = {
        "batch_size": "it has batches already",
        "sample_weight": "give the weights as third part of each batch, (x, y, weights)",
        "validation_split": "give validation_data, or take it apart with Dataset.split(...)",
    }
    for name, value in arguments.items():
        if value is not None and not (name == "validation_split" and value == 0):
            raise ValueError(f"{name} does not go with data in batches ({type(source).__name__}): {instead[name]}")


def refuse_spent(source: Source, steps: int | None, times: int, argument: str) -> None:
    """ValueError where a generator would be read several times, and nobody says how far each time."""
    if getattr(source, "once", False) and steps is None and times > 1:
        raise ValueError(
            f"a generator can be read once only, and shall be read {times} times: say {argument}=..., how many batches "
            "to take each time; or use a data.Dataset, which begins anew"
        )


def check_spec(model: Model, source: Source, targets: bool = True, prefix: str = "") -> None:
    """Before the first batch is read: shapes and dtypes of a Source against the model, which is built for them."""
    spec = source.spec
    x = filled(spec.x, model.built_for)
    if not model.built:
        shape = door.several_arrays(x) and model.own_forward and model.input_shape is None
        model.ensure_built(shapes_of(spec.x) if shape else model.input_shape or shapes_of(spec.x))
        x = filled(spec.x, model.built_for)
    door.checked_features(model, x, f"{prefix}x")
    if not targets:
        return
    if spec.y is None:
        raise ValueError(f"{prefix}y is missing: the batches of {type(source).__name__} must be (x, y) to train on")
    compiled = door.settled(model)
    if not compiled.several:
        check_target(spec.y, compiled.outputs[0], f"{prefix}y")
        return
    wanted = [output for output in compiled.outputs if output.wants_target]
    y = spec.y
    if isinstance(y, tuple) and len(y) == len(wanted):
        y = {output.name: part for output, part in zip(wanted, y, strict=True)}  # type: ignore[assignment]
    names = [output.name for output in compiled.outputs]
    for output, part in zip(compiled.outputs, in_order(y, names, f"{prefix}y", "output", optional=True), strict=True):
        if output.wants_target and part is None:
            raise ValueError(f"{prefix}y['{output.name}'] is missing: its output has a loss or metrics")
        check_target(part, output, f"{prefix}y['{output.name}']")


def check_target(field: Any, output: Any, what: str) -> None:
    """The shape of targets, without a look at their values."""
    if isinstance(field, Mapping) or (isinstance(field, tuple) and len(field) == 1):
        field = next(iter(field.values() if isinstance(field, Mapping) else field))
    if output.loss is not None and isinstance(field, Field) and None not in field.shape:
        output.loss.fit(stand_in(field), tuple(output.shape), f"{what} (output of '{output.name}')")


def shapes_of(field: Any) -> Any:
    """The shape of a row, or a list of them."""
    if isinstance(field, Mapping):
        field = tuple(field.values())
    return [part.shape for part in field] if isinstance(field, tuple) else field.shape


def filled(field: Any, shape: Any) -> Any:
    """Arrays of these shapes and dtypes that hold nothing; open sizes are what the model takes."""
    if isinstance(field, Mapping):
        return {name: filled(part, None) for name, part in field.items()}
    if isinstance(field, tuple):
        shapes = shape if isinstance(shape, list) and len(shape) == len(field) else [None] * len(field)
        return tuple(filled(part, one) for part, one in zip(field, shapes, strict=True))
    return stand_in(field, shape if isinstance(shape, tuple) else None)


def stand_in(field: Field, shape: Any = None) -> np.ndarray:
    """Zeros that take no memory."""
    known = shape if shape is not None and len(shape) == len(field.shape) else [None] * len(field.shape)
    sizes = [n or m or 1 for n, m in zip(field.shape, known, strict=True)]
    return np.broadcast_to(np.zeros((), field.dtype), (ROWS, *sizes))
