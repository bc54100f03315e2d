"""The model's door: what users hand to fit, evaluate and predict is checked here, before anything changes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.data import Arrays, Windows, host_array
from tinynn.errors import frames_inside
from tinynn.layers.base import Layer, shown
from tinynn.layers.embedding import Embedding, check_ids
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.timedistributed import TimeDistributed
from tinynn.models.callbacks import Callback
from tinynn.typing import ArrayLike

if TYPE_CHECKING:
    from tinynn.models.model import Model

DEFAULT_BATCH_SIZE = 32
ROWS_PER_CLASS = 4
"""With fewer held-out rows than this a class may be missing there by chance."""


@dataclass
class FitOptions:
    """The arguments of ``fit`` as they came."""

    batch_size: int | None
    epochs: int
    verbose: int | str
    callbacks: list[Callback]
    validation_split: float
    validation_data: Any
    shuffle: bool
    class_weight: dict[int, float] | None
    sample_weight: ArrayLike | None
    initial_epoch: int
    steps_per_epoch: int | None
    validation_steps: int | None
    validation_batch_size: int | None
    validation_freq: int | Sequence[int]


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


def from_windows(x: Any, y: Any, batch_size: int | None) -> tuple[Any, Any, int | None]:
    """x, y and the batch size that a data set of windows stands for; other data as they are."""
    if not isinstance(x, Windows):
        return x, y, batch_size
    if y is not None:
        raise ValueError("x is a data set of windows, which has its own targets: leave y out, as in fit(dataset)")
    return *x.arrays(), x.batch_size if batch_size is None else batch_size


def checked_batch_size(batch_size: int | None) -> int:
    return DEFAULT_BATCH_SIZE if batch_size is None else whole_number(batch_size, "batch_size", 1)


def checked_steps(steps: int | None, rows: int, batch_size: int) -> int:
    """How many batches to take: as many as asked for, at most as many as there are; None for all."""
    total = -(-rows // batch_size)
    return total if steps is None else min(whole_number(steps, "steps", 1), total)


def check_stateful(model: Model, rows: int, batch_size: int, steps: int, shuffle: bool = False) -> None:
    """Where a layer carries its states from batch to batch: batches of one size, in order.

    ValueError where the last one is smaller, a warning where the rows are shuffled.
    """
    stateful = [la for la in model.all_layers() if isinstance(la, Recurrent) and la.stateful]
    if not stateful or rows <= batch_size:
        return
    if rows % batch_size and steps * batch_size > rows:
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


def checked_counts(options: FitOptions) -> tuple[int, int, int, int | None]:
    """batch_size, epochs, initial_epoch and steps_per_epoch, or an error that says what each may be."""
    batch_size = checked_batch_size(options.batch_size)
    epochs = whole_number(options.epochs, "epochs", 0)
    initial_epoch = whole_number(options.initial_epoch, "initial_epoch", 0)
    if options.validation_batch_size is not None:
        whole_number(options.validation_batch_size, "validation_batch_size", 1)
    if options.validation_steps is not None:
        whole_number(options.validation_steps, "validation_steps", 1)
    steps = options.steps_per_epoch
    if steps is not None:
        steps = whole_number(steps, "steps_per_epoch", 1)
    if options.verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose expects 0, 1, 2 or 'auto', got {options.verbose!r}")
    return batch_size, epochs, initial_epoch, steps


def checked_frequency(frequency: int | Sequence[int]) -> Any:
    """A function that says whether to validate after the epoch of this number (counted from 1)."""
    if isinstance(frequency, (list, tuple, set)):
        epochs = {whole_number(n, "validation_freq", 1) for n in frequency}
        return lambda epoch: epoch in epochs
    every = whole_number(frequency, "validation_freq", 1)
    return lambda epoch: epoch % every == 0


def checked_features(model: Model, x: ArrayLike, what: str = "x") -> np.ndarray:
    """x as an array that fits; builds a model that has no shapes yet."""
    if isinstance(model.built_for, list) or isinstance(model.output_shape, list):
        raise ValueError(
            f"'{model.label}' has several inputs or outputs: call it on tensors, as in model([graph.tensor(a), ...]); "
            "fit, evaluate and predict take models of one input and one output"
        )
    if not model.built:
        array = host_array(x, what)
        if array.ndim < 2:
            raise ValueError(f"'{model.label}' expects {what} of shape (rows, features, ...), got {array.shape}")
        if len(array) == 0:
            raise ValueError(f"{what} is empty (shape {array.shape}): it needs at least one row")
        model.ensure_built(model.input_shape or array.shape[1:])
    array = checked_inputs(x, model.built_for, model.first_name, what)
    for table in readers(model):
        if isinstance(table, Embedding):
            check_ids(array, table, what)
    return array


def readers(layer: Any) -> Iterator[Layer]:
    """The layers that a model's input goes straight into, also where that is a model inside."""
    if hasattr(layer, "order"):  # the functional form
        for symbol in layer.order:
            if symbol.layer is not None and any(s is i for s in symbol.inputs for i in layer.inputs):
                yield from readers(symbol.layer)
    elif getattr(layer, "stack", None):
        yield from readers(layer.stack[0])
    elif isinstance(layer, TimeDistributed):
        yield from readers(layer.layer)
    else:
        yield getattr(layer, "token_embedding", layer)


def input_dtype(model: Model) -> np.dtype[Any]:
    """What inputs are converted to: int32 where all their readers want indices, unless an Input says otherwise."""
    wanted = {layer.input_dtype for layer in readers(model)}
    return np.dtype(model.input_dtype or (wanted.pop() if len(wanted) == 1 else None) or "float32")


def checked_arrays(
    model: Model, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, prefix: str = ""
) -> Arrays:
    """x, y and weights that fit the model and each other."""
    features = checked_features(model, x, f"{prefix}x")
    labels = checked_labels(y, len(features), model, f"{prefix}y")
    return Arrays(features, labels, checked_weights(weights, len(features), f"{prefix}sample_weight"))


def checked_data(model: Model, x: ArrayLike, y: ArrayLike, options: FitOptions) -> tuple[Arrays, Arrays | None]:
    """The training data and, where asked for, the validation data: checked before the first step."""
    data = checked_arrays(model, x, y, options.sample_weight)
    if not isinstance(options.shuffle, (bool, np.bool_)):
        raise TypeError(f"shuffle expects True or False, got {options.shuffle!r}")
    held_out = None
    if options.validation_data is None:
        data, held_out = split(data, options.validation_split)
    else:
        parts = options.validation_data
        if isinstance(parts, Windows):
            parts = parts.arrays()
        if not isinstance(parts, (tuple, list)) or len(parts) not in (2, 3):
            raise ValueError("validation_data expects (x, y) or (x, y, sample_weight)")
        weights = parts[2] if len(parts) == 3 else None
        held_out = checked_arrays(model, parts[0], parts[1], weights, prefix="validation ")
    return with_class_weights(data, options.class_weight), held_out


# -- one argument at a time --------------------------------------------------------------------------------------------


def whole_number(value: Any, what: str, least: int) -> int:
    """An integer argument such as batch_size; the message says what is allowed."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} expects an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{what} expects an integer >= {least}, got {value!r}")
    return int(value)


def checked_inputs(x: ArrayLike, input_shape: Any, first_layer: str, what: str = "x") -> np.ndarray:
    """The inputs as an array whose shape fits the model's first layer."""
    array = host_array(x, what)
    if array.ndim == 1 and input_shape == (1,):
        array = array.reshape(-1, 1)
    if array.ndim == 0 or (len(array) == 0):
        raise ValueError(f"{what} is empty (shape {array.shape}): it needs at least one row")
    row = array.shape[1:]
    if not fits(row, input_shape):
        raise ValueError(
            f"layer '{first_layer}' expects {what} of shape {shown(input_shape)}, got {array.shape}: "
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


def checked_labels(y: ArrayLike, rows: int, model: Any, what: str = "y") -> np.ndarray:
    """The labels as the loss wants them, one row for each row of x."""
    if y is None:
        raise ValueError(f"{what} is missing: write fit(x, y), with one row of {what} for each row of x")
    array = host_array(y, what)
    if array.ndim == 0 or len(array) != rows:
        got = f"{len(array)} rows" if array.ndim else "a single number"
        raise ValueError(f"{what} expects one row for each of the {rows} rows of x, got {got}")
    checked: np.ndarray = model.compiled.loss.check(
        array, model.output_shape, f"{what} (output of '{model.last_name}')"
    )
    return checked


def checked_weights(weights: ArrayLike | None, rows: int, what: str = "sample_weight") -> np.ndarray | None:
    """One finite weight per row, or None."""
    if weights is None:
        return None
    array = host_array(weights, what)
    if array.shape == (rows, 1):
        array = array.reshape(rows)
    if array.shape != (rows,):
        raise ValueError(f"{what} expects shape ({rows},), one weight per row, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} expects finite numbers, got {array[~np.isfinite(array)][0]}")
    with np.errstate(over="ignore"):
        weights = array.astype("float32")
    if not np.isfinite(weights).all():
        raise ValueError(f"{what} expects numbers that fit float32, got {array[~np.isfinite(weights)][0]}")
    return weights


def with_class_weights(data: Arrays, class_weight: dict[int, float] | None) -> Arrays:
    """Class weights as row weights; a class that the dict leaves out weighs 1."""
    if class_weight is None:
        return data
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight expects a dict such as {{0: 1.0, 1: 5.0}}, got {type(class_weight).__name__}")
    assert data.y is not None
    for label in class_weight:
        if isinstance(label, bool) or not hasattr(label, "__index__"):
            raise TypeError(f"class_weight expects class numbers as keys, such as 0, got {label!r}")
    labels = class_labels(data.y)
    unseen = [label for label in class_weight if not (labels == label).any()]
    if unseen:
        classes = np.unique(labels)
        warnings.warn(
            f"class_weight has weights for the classes {unseen}, which do not occur among the labels; these are "
            f"{classes[:20].tolist()}{' ...' if len(classes) > 20 else ''}",
            stacklevel=frames_inside(),
        )
    weights = np.ones(len(labels), np.float32)
    for label, weight in class_weight.items():
        if not np.isfinite(weight) or weight < 0:
            raise ValueError(f"class_weight expects weights >= 0, got {weight!r} for class {label!r}")
        weights[labels == label] = weight
    return Arrays(data.x, data.y, weights if data.weights is None else weights * data.weights)


def class_labels(y: np.ndarray) -> np.ndarray:
    """One class number per row, from integer or one-hot labels."""
    if y.ndim == 2 and y.shape[1] > 1:
        return np.asarray(y.argmax(axis=1))
    return y.reshape(len(y))


def split(data: Arrays, fraction: float) -> tuple[Arrays, Arrays | None]:
    """Keras's validation_split: the last rows, before any shuffling. Warns when the label sets differ."""
    number = isinstance(fraction, (int, float, np.number)) and not isinstance(fraction, bool)
    if not number or not 0 <= fraction < 1:
        raise ValueError(f"validation_split expects a fraction 0 <= f < 1, got {fraction!r}")
    if not fraction:
        return data, None
    cut = int(len(data) * (1 - fraction))
    if cut == 0 or cut == len(data):
        raise ValueError(f"validation_split={fraction} of {len(data)} rows leaves nothing to train or to validate on")
    train, held_out = data.part(slice(0, cut)), data.part(slice(cut, None))
    warn_of_sorted_labels(train, held_out)
    return train, held_out


def warn_of_sorted_labels(train: Arrays, held_out: Arrays) -> None:
    """The usual accident with validation_split: data sorted by class."""
    y = train.y
    if y is None or held_out.y is None or not (y.dtype.kind in "iu" or (y.ndim == 2 and y.shape[1] > 1)):
        return
    here, there = np.unique(class_labels(y)), np.unique(class_labels(held_out.y))
    if len(here) > 1000:
        return  # a regression with whole numbers
    unseen, missing = np.setdiff1d(there, here), np.setdiff1d(here, there)
    if len(held_out) < ROWS_PER_CLASS * len(here):
        missing = missing[:0]  # so few rows may lack a class by chance
    if unseen.size or missing.size:
        where = "do not occur in the rows left for training" if unseen.size else "are missing there"
        classes = (unseen if unseen.size else missing)[:10].tolist()
        warnings.warn(
            f"validation_split takes the last rows, and the classes {classes} {where}: "
            "the data look sorted. Shuffle x and y together first",
            stacklevel=frames_inside(),
        )
