"""The model's door: what users hand to fit, evaluate and predict is checked here, before anything changes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.data import Arrays, Windows, host_array
from tinynn.data.arrays import Several
from tinynn.errors import frames_inside
from tinynn.layers.base import Layer, shown
from tinynn.layers.embedding import Embedding, check_ids
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.timedistributed import TimeDistributed
from tinynn.models.compiled import Compiled, Output
from tinynn.models.options import FitOptions
from tinynn.models.ports import in_order, only
from tinynn.models.splitting import split
from tinynn.models.weighting import checked_weights, with_class_weights
from tinynn.typing import ArrayLike, Shape

if TYPE_CHECKING:
    from tinynn.models.model import Model


class undo_build_on_error:
    """A model that a refused call has just built is unbuilt again, so that the next call may bring another shape."""

    def __init__(self, model: Model):
        self.model = model

    def __enter__(self) -> None:
        self.before = None if self.model.built else [(la, dict(vars(la))) for la in self.model.all_layers()]

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None and self.before is not None:
            for layer, attributes in self.before:
                vars(layer).clear()
                vars(layer).update(attributes)
            if self.model.compiled is not None:
                self.model.compiled.outputs = []


def from_windows(x: Any, y: Any, batch_size: int | None) -> tuple[Any, Any, int | None]:
    """x, y and the batch size that a data set of windows stands for; other data as they are."""
    if not isinstance(x, Windows):
        return x, y, batch_size
    if y is not None:
        raise ValueError("x is a data set of windows, which has its own targets: leave y out, as in fit(dataset)")
    return *x.arrays(), x.batch_size if batch_size is None else batch_size


def check_stateful(model: Model, rows: int, batch_size: int, steps: int, shuffle: bool = False) -> None:
    """Where a layer carries its states from batch to batch: batches of one size, in order.

    ValueError where the last one is smaller, a warning where the rows are shuffled.
    """
    stateful = [la for la in model.all_layers() if isinstance(la, Recurrent) and la.stateful]
    if not stateful or rows == 1:
        return
    if rows > batch_size and rows % batch_size and steps * batch_size > rows:
        whole = rows - rows % batch_size
        raise ValueError(
            f"layer '{stateful[0].label}' is stateful: row i of a batch goes on with row i of the one before, so all "
            f"batches must have one size, but {rows} rows make batches of {batch_size} and one of {rows % batch_size}: "
            f"leave {rows - whole} rows out, or take another batch_size (and reset_states() where that changes)"
        )
    if shuffle:
        warnings.warn(
            f"layer '{stateful[0].label}' is stateful, but fit shuffles the rows, so its states go on with other "
            "sequences: write fit(..., shuffle=False)",
            stacklevel=frames_inside(),
        )


def checked_arrays(model: Model, x: Any, y: Any, weights: Any = None, prefix: str = "") -> Arrays:
    """x, y and weights that fit the model and each other; a model that has no shapes yet is built."""
    features = checked_features(model, x, f"{prefix}x")
    rows = len(Arrays(features))
    labels = checked_labels(model, y, rows, f"{prefix}y")
    return Arrays(features, labels, sample_weights(model, weights, rows, f"{prefix}sample_weight"))


def checked_data(model: Model, x: Any, y: Any, options: FitOptions) -> tuple[Arrays, Arrays | None]:
    """Training data in arrays and, where a share of them is asked for, what is held out: before the first step."""
    data = checked_arrays(model, x, y, options.sample_weight)
    if not isinstance(options.shuffle, (bool, np.bool_)):
        raise TypeError(f"shuffle expects True or False, got {options.shuffle!r}")
    held_out = None
    if options.validation_data is None:
        data, held_out = split(data, options.validation_split)
    return with_class_weights(data, options.class_weight), held_out


def checked_validation(model: Model, parts: Any) -> Arrays:
    """validation_data=(x, y) or (x, y, sample_weight)."""
    if isinstance(parts, Windows):
        parts = parts.arrays()
    if not isinstance(parts, (tuple, list)) or len(parts) not in (2, 3):
        raise ValueError("validation_data expects (x, y) or (x, y, sample_weight), a Dataset, or batches")
    return checked_arrays(model, parts[0], parts[1], parts[2] if len(parts) == 3 else None, prefix="validation ")


# -- x -----------------------------------------------------------------------------------------------------------------


def checked_features(model: Model, x: Any, what: str = "x") -> Several:
    """x as an array, or a tuple of arrays, that fits; builds a model that has no shapes yet."""
    if not model.built:
        build_for(model, x, what)
    names, shapes = model.input_names, model.built_for
    if not isinstance(shapes, list):
        x = only(x, names[0], what, "input", lambda a: a.ndim == len(shapes) + 1)
        return checked_input(model, 0, x, shapes, f"layer '{model.first_name}'", what)
    labels = [f"{what}['{name}']" for name in names]
    arrays = tuple(
        checked_input(model, k, value, shapes[k], f"'{model.label}'", labels[k])
        for k, value in enumerate(in_order(x, names, what, "input"))
    )
    if len({len(array) for array in arrays}) > 1:
        counts = ", ".join(f"{label} has {len(array)}" for label, array in zip(labels, arrays, strict=True))
        raise ValueError(f"{what} expects arrays of one number of rows: {counts}")
    return arrays


def checked_input(model: Model, port: int, x: ArrayLike, shape: Shape, owner: str, what: str) -> np.ndarray:
    """The array of one input; ids are looked up in the tables that read them."""
    array = checked_inputs(x, shape, owner, what)
    for table in readers(model, port):
        if isinstance(table, Embedding):
            check_ids(array, table, what)
    return array


def build_for(model: Model, x: Any, what: str) -> None:
    """Build a model for the shapes that x has."""
    if model.input_shape is None and model.own_forward and several_arrays(x):
        own = vars(model).get("input_names")
        if isinstance(x, Mapping) and own is None:
            raise ValueError(f"'{model.label}' has no names for its inputs: give a list, or set self.input_names")
        names = own or [f"input {k + 1}" for k in range(len(x))]
        arrays = [
            host_array(a, f"{what}['{n}']") for n, a in zip(names, in_order(x, names, what, "input"), strict=True)
        ]
        if any(a.ndim == 0 for a in arrays):
            raise ValueError(f"'{model.label}' expects arrays with one row for each example, got single numbers")
        model.ensure_built([a.shape[1:] for a in arrays])
        return
    array = host_array(only(x, model.input_names[0], what, "input", lambda a: a.ndim > 1), what)
    if array.ndim < 2:
        raise ValueError(f"'{model.label}' expects {what} of shape (rows, features, ...), got {array.shape}")
    if len(array) == 0:
        raise ValueError(f"{what} is empty (shape {array.shape}): it needs at least one row")
    model.ensure_built(model.input_shape or array.shape[1:])


def several_arrays(x: Any) -> bool:
    """Whether x holds the arrays of several inputs, not rows: a tuple or dict, or a list of at least 2-d arrays.

    Asked only of a subclass before its first call: the other models know their inputs.
    """
    if isinstance(x, (Mapping, tuple)):
        return len(x) > 1
    return isinstance(x, list) and len(x) > 1 and all(getattr(a, "ndim", 0) > 1 for a in x)


def readers(layer: Any, port: int = 0) -> Iterator[Layer]:
    """The layers that an input of a model goes straight into, also where that is a model inside."""
    if hasattr(layer, "order") and hasattr(layer, "outputs"):  # the functional form
        for symbol in layer.order:
            for k, s in enumerate(symbol.inputs if symbol.layer is not None else ()):
                if s is layer.inputs[port]:
                    yield from readers(symbol.layer, k)
    elif getattr(layer, "stack", None):
        yield from readers(layer.stack[0], port)
    elif isinstance(layer, TimeDistributed):
        yield from readers(layer.layer)
    else:
        yield getattr(layer, "token_embedding", layer)


def input_dtypes(model: Model) -> list[np.dtype[Any]]:
    """What inputs are converted to: int32 where all their readers want indices, unless an Input says otherwise."""
    count = len(model.built_for) if isinstance(model.built_for, list) else 1
    said = [s.dtype for s in model.inputs] if hasattr(model, "order") else [model.input_dtype] * count
    wanted = [{layer.input_dtype for layer in readers(model, k)} for k in range(count)]
    return [
        np.dtype(one or (names.pop() if len(names) == 1 else None) or "float32")
        for one, names in zip(said, wanted, strict=True)
    ]


def checked_inputs(x: ArrayLike, input_shape: Any, owner: str, what: str = "x") -> np.ndarray:
    """The inputs as an array whose shape fits; owner: who expects it, such as "layer 'dense'"."""
    array = host_array(x, what)
    if array.ndim == 1 and input_shape == (1,):
        array = array.reshape(-1, 1)
    if array.ndim == 0 or (len(array) == 0):
        raise ValueError(f"{what} is empty (shape {array.shape}): it needs at least one row")
    row = array.shape[1:]
    if not fits(row, input_shape):
        raise ValueError(
            f"{owner} expects {what} of shape {shown(input_shape)}, got {array.shape}: "
            + shape_hint(array.shape, input_shape)
        )
    return array


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether a shape is the expected one, whose open sizes are None."""
    return len(shape) == len(expected) and all(n in (m, None) for m, n in zip(shape, expected, strict=True))


def shape_hint(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    """What to write instead."""
    known = [n for n in expected if n is not None]
    size = int(np.prod(known)) if len(known) == len(expected) else None
    if fits(shape, expected):
        return "a single example needs a batch axis: write x[None]"
    if len(shape) == 4 and fits((shape[2], shape[3], shape[1]), expected):
        return "these images have their channels first: write np.moveaxis(x, 1, -1)"
    if size is not None and size == int(np.prod(shape[1:])):
        return f"write x.reshape({', '.join(map(str, (shape[0], *known)))})"
    if size is not None and size == int(np.prod(shape)):
        return f"a single example needs a batch axis: write x.reshape({', '.join(map(str, (1, *known)))})"
    if len(expected) == 3 and expected[2] == 3 and fits((*shape[1:3], 3), expected) and shape[3:] in ((), (1,)):
        grey = "x[..., None]" if len(shape) == 3 else "x"
        return f"these images are grey, the model takes three colours: write np.repeat({grey}, 3, axis=-1)"
    if len(expected) == 3 and expected[2] == 1 and len(shape) == 4 and fits((*shape[1:3], 1), expected):
        return f"these images have {shape[3]} channels, the model takes grey ones: write x.mean(axis=-1, keepdims=True)"
    return "give the data that shape, or build the model with another input_shape"


# -- y and weights -----------------------------------------------------------------------------------------------------


def settled(model: Model) -> Compiled:
    """What was compiled, with its outputs."""
    compiled = model.require_compiled("fit")
    if not compiled.outputs:
        compiled.settle(model)
    return compiled


def checked_labels(model: Model, y: Any, rows: int, what: str = "y") -> Several:
    """The labels as the losses want them, one row for each row of x; None for an output that nobody asks about."""
    compiled = settled(model)
    outputs = compiled.outputs
    if y is None:
        raise ValueError(f"{what} is missing: write fit(x, y), with one row of {what} for each row of x")
    if not compiled.several:
        y = only(y, outputs[0].name, what, "output", lambda a: rows > 1 and a.shape[:1] == (rows,))
        return checked_target(model, outputs[0], y, rows, what)
    wanted = [output for output in outputs if output.wants_target]
    if isinstance(y, (list, tuple)) and len(y) == len(wanted):
        y = {output.name: part for output, part in zip(wanted, y, strict=True)}
    parts = in_order(y, [output.name for output in outputs], what, "output", optional=True)
    checked = []
    for output, part in zip(outputs, parts, strict=True):
        label = f"{what}['{output.name}']"
        if output.wants_target and part is None:
            raise ValueError(f"{label} is missing: its output has a loss or metrics")
        checked.append(checked_target(model, output, part, rows, label) if output.wants_target else None)
    return tuple(checked)


def checked_target(model: Model, output: Output, y: ArrayLike, rows: int, what: str) -> np.ndarray:
    """The labels of one output."""
    array = host_array(y, what)
    if array.ndim == 0 or len(array) != rows:
        got = f"{len(array)} rows" if array.ndim else "a single number"
        raise ValueError(f"{what} expects one row for each of the {rows} rows of x, got {got}")
    if output.loss is None:
        return array
    name = output.name if settled(model).several else model.last_name
    checked: np.ndarray = output.loss.check(array, output.shape, f"{what} (output of '{name}')")
    return checked


def sample_weights(model: Model, weights: Any, rows: int, what: str) -> Several | None:
    """A weight for each row; with several outputs the same for all, or for each its own, or None."""
    compiled = settled(model)
    names = [output.name for output in compiled.outputs]
    if weights is None:
        return None
    if not compiled.several:
        weights = only(weights, names[0], what, "output", lambda a: rows > 1 and a.shape[:1] == (rows,))
        return checked_weights(weights, rows, what, compiled.outputs[0].shape[:-1])
    if not isinstance(weights, Mapping) and not (
        isinstance(weights, (list, tuple)) and any(w is None or np.ndim(w) for w in weights)
    ):
        return (checked_weights(weights, rows, what),) * len(names)
    return tuple(
        checked_weights(w, rows, f"{what}['{output.name}']", output.shape[:-1])
        for output, w in zip(compiled.outputs, in_order(weights, names, what, "output", optional=True), strict=True)
    )
