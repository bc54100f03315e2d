"""The model's door: targets are brought into shape and checked on the host, once, before the first step.

``owner`` is the name of the loss, ``what`` says whose targets they are ("y", "validation y", ...).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn.typing import Array, ArrayLike, Shape


def as_numbers(y: ArrayLike, owner: str, what: str) -> np.ndarray:
    """A NumPy array of real numbers in the machine's byte order; TypeError for text, objects and complex numbers."""
    try:
        array = np.asarray(y)
    except ValueError:
        raise ValueError(f"{owner} expects {what} to be one array, got rows of unequal lengths") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"{owner} expects numbers as {what}, got an array of dtype {array.dtype}: for names of classes write "
            "names, y = np.unique(y, return_inverse=True)"
        )
    if array.ndim == 0:
        raise ValueError(f"{owner} expects {what} with a row per sample, got a single number")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_floats(array: np.ndarray) -> np.ndarray:
    """float32 and float64 stay what they are, everything else becomes float32."""
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def batch(shape: Shape) -> str:
    """A shape with the batch axis in front: (10,) -> "(N, 10)"."""
    return f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"


def same(shape: Shape, expected: Shape) -> bool:
    """Whether two shapes are the same; an open axis, None in ``expected``, has any size until the loss is computed."""
    return len(shape) == len(expected) and all(n in (m, None) for m, n in zip(shape, expected, strict=True))


def like_output(y: Array, output_shape: Shape, owner: str, what: str) -> Array:
    """y of the output's shape; a last axis of size one is added or dropped, and nothing is ever broadcast."""
    shape = tuple(y.shape[1:])
    if same(shape, output_shape):
        return y
    if output_shape[-1:] == (1,) and same(shape, output_shape[:-1]):
        return y.reshape(*y.shape, 1)
    if shape[-1:] == (1,) and same(shape[:-1], output_shape):
        return y.reshape(y.shape[:-1])
    classes = (output_shape[-1] if output_shape else 1) or 1
    if classes > 1 and (same(shape, output_shape[:-1]) or same(shape, (*output_shape[:-1], 1))):
        hint = f"for class numbers use sparse_categorical_crossentropy, or utils.to_categorical(y, {classes})"
    elif shape and same(shape[:-1], output_shape[:-1]):
        hint = f"a last layer with {shape[-1]} units, as in Dense({shape[-1]}), would fit"
    else:
        hint = "reshape the targets, or end the model with a layer that gives their shape"
    raise ValueError(
        f"{owner} expects {what} of the output's shape {batch(output_shape)}, got {tuple(y.shape)}: {hint}"
    )


def like_labels(y: Array, output_shape: Shape, owner: str, what: str) -> Array:
    """y of the output's shape without the axis of classes, one class number per position."""
    several_classes(output_shape, owner)
    shape = tuple(y.shape[1:])
    if same(shape, output_shape[:-1]):
        return y
    if same(shape, (*output_shape[:-1], 1)):
        return y.reshape(y.shape[:-1])
    if same(shape, output_shape):
        hint = "these look like one-hot rows: use categorical_crossentropy, or y.argmax(axis=-1)"
    else:
        hint = "reshape the labels, or end the model with a layer that gives a row of classes for each of them"
    raise ValueError(
        f"{owner} expects {what} with one class number for each row of {output_shape[-1]} outputs, "
        f"shape {batch(output_shape[:-1])}, got {tuple(y.shape)}: {hint}"
    )


def several_classes(output_shape: Shape, owner: str) -> None:
    """ValueError for a loss over classes behind a single output."""
    if not output_shape or output_shape[-1] < 2:
        raise ValueError(
            f"{owner} expects one output per class, got a model with a single output: use binary_crossentropy, "
            "or a last layer Dense(classes, activation='softmax')"
        )


def class_numbers(labels: np.ndarray, classes: int, ignored: int | None, owner: str, what: str) -> np.ndarray:
    """int32 labels in [0, classes); whole floats are welcome, ``ignored`` may be any number."""
    with np.errstate(invalid="ignore"):  # NaN compares as it should
        good = (labels >= 0) & (labels < classes)
        if labels.dtype.kind == "f":
            good &= labels == np.floor(labels)
    if ignored is not None:
        good |= labels == ignored
    if not good.all():
        value, place = first(~good, labels, what)
        hint = _label_hint(value, classes, labels)
        raise ValueError(
            f"{owner} expects whole numbers from 0 to {classes - 1} as labels, got {value} in {place}{hint}"
        )
    return labels.astype(np.int32)


def _label_hint(value: Any, classes: int, labels: np.ndarray) -> str:
    if labels.min() == 1 and value == classes and labels.max() == classes:
        return ": classes count from 0, write y - 1"
    if value == -1:
        return ": classes count from 0; pass ignore_class=-1 if -1 marks rows to leave out"
    if value >= classes:
        return f": the last layer needs at least {int(value) + 1} units" if math.isfinite(value) else ""
    return ""


def within_unit(y: np.ndarray, owner: str, what: str, beyond: str) -> None:
    """ValueError for a target outside [0, 1] (NaN is outside); ``beyond`` is the hint for values above 1."""
    good = (y >= 0) & (y <= 1)
    if good.all():
        return
    value, place = first(~good, y, what)
    hint = beyond if value > 1 else ""
    if (y == -1).any() and ((y == -1) | (y == 1)).all():
        hint = ": for labels -1 and +1 write (y + 1) / 2, or use the loss 'hinge'"
    raise ValueError(f"{owner} expects probabilities from 0 to 1 as targets, got {value} in {place}{hint}")


def signs(y: np.ndarray, owner: str, what: str) -> np.ndarray:
    """-1/+1 labels; 0/1 labels are converted, as Keras does it; ValueError for anything else."""
    binary = (y == 0) | (y == 1)
    if binary.all():
        return np.asarray(2 * as_floats(y) - 1)
    signed = (y == -1) | (y == 1)
    if not signed.all():
        strange = ~(binary | signed)
        value, place = first(strange if strange.any() else ~signed, y, what)
        hint = "" if strange.any() else " beside -1"
        raise ValueError(f"{owner} expects labels -1/+1, or 0/1, got {value}{hint} in {place}")
    return as_floats(y)


def first(wrong: np.ndarray, y: np.ndarray, what: str) -> tuple[Any, str]:
    """The first wrong value, and where it stands: (1.5, "row 3 of y")."""
    place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
    column = f", column {', '.join(str(int(k)) for k in place[1:])}" if y.ndim > 1 and y[0].size > 1 else ""
    return y[place].item(), f"row {int(place[0])}{column} of {what}"
