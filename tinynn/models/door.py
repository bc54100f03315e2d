"""The model's door: what users hand to fit, evaluate and predict is checked here, before anything changes."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from tinynn.data import Arrays, host_array
from tinynn.layers.base import shown
from tinynn.typing import ArrayLike

ROWS_PER_CLASS = 4
"""With fewer held-out rows than this a class may be missing there by chance."""


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
    fits = len(row) == len(input_shape) and all(n in (m, None) for m, n in zip(row, input_shape, strict=True))
    if not fits:
        raise ValueError(
            f"layer '{first_layer}' expects {what} of shape {shown(input_shape)}, got {array.shape}: "
            + shape_hint(array.shape, input_shape)
        )
    return array


def shape_hint(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> str:
    """What to write instead."""
    known = [n for n in expected if n is not None]
    size = int(np.prod(known)) if len(known) == len(expected) else None
    if len(shape) == len(expected) and all(n in (m, None) for m, n in zip(shape, expected, strict=True)):
        return "a single example needs a batch axis: write x[None]"
    if size is not None and size == int(np.prod(shape[1:])):
        return f"write x.reshape({', '.join(map(str, (shape[0], *known)))})"
    return "give the data that shape, or build the model with another input_shape"


def checked_labels(y: ArrayLike, rows: int, model: Any, what: str = "y") -> np.ndarray:
    """The labels as the loss wants them, one row for each row of x."""
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
    return array.astype("float32")


def with_class_weights(data: Arrays, class_weight: dict[int, float] | None) -> Arrays:
    """Class weights as row weights; a class that the dict leaves out weighs 1."""
    if class_weight is None:
        return data
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight expects a dict such as {{0: 1.0, 1: 5.0}}, got {type(class_weight).__name__}")
    assert data.y is not None
    labels = class_labels(data.y)
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
    if isinstance(fraction, bool) or not isinstance(fraction, (int, float)) or not 0 <= fraction < 1:
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
            stacklevel=4,
        )
