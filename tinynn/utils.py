"""Small public helpers around a training script."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import data
from tinynn.data import pad_sequences, timeseries_dataset_from_array
from tinynn.errors import no_attribute
from tinynn.random import set_seed

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "image_dataset_from_directory",
    "normalize",
    "pad_sequences",
    "set_random_seed",
    "set_seed",
    "split_dataset",
    "timeseries_dataset_from_array",
    "to_categorical",
]

set_random_seed = set_seed
"""Keras's name of ``set_seed``. NumPy's own generators keep their seeds: nothing here draws from them."""


def to_categorical(y: ArrayLike, num_classes: int | None = None, dtype: DTypeLike = "float32") -> NDArray[Any]:
    """One-hot rows: out[..., k] is 1 where y is k, else 0.

    y holds whole numbers 0 .. num_classes - 1 in any shape; the result has the shape of y, without a last axis of
    size 1, and a new last axis of size `num_classes` (by default the largest label + 1), as in Keras.

    Raises ValueError for labels that are negative, fractional, NaN, too large or not numbers, naming the first, and
    for num_classes < 1.
    """
    labels = _whole_numbers(np.asarray(y))
    if num_classes is None:
        if labels.size == 0:
            raise ValueError(
                "y is empty, so the number of classes is unknown; write to_categorical(y, num_classes=...)"
            )
        num_classes = int(labels.max()) + 1
    elif operator.index(num_classes) < 1:
        raise ValueError(f"num_classes is a positive whole number; got {num_classes}")
    _refuse(labels < 0, labels, "is negative; classes count from 0 (for -1/+1 labels write (y + 1) // 2)")
    _refuse(
        labels >= num_classes,
        labels,
        f"does not fit num_classes={num_classes}, which allows 0 to {num_classes - 1}",
    )
    shape = labels.shape[:-1] if labels.ndim > 1 and labels.shape[-1] == 1 else labels.shape
    rows = np.zeros((labels.size, num_classes), dtype)
    rows[np.arange(labels.size), labels.reshape(-1).astype(np.intp)] = 1
    return rows.reshape(*shape, num_classes)


def normalize(x: ArrayLike, axis: int = -1, order: float = 2) -> NDArray[Any]:
    """x / ||x|| along `axis`, with the norm of the given order (1, 2, np.inf, ...); zeros stay zeros.

    The result has the shape of x and a floating type. Raises ValueError when x is not numeric.
    """
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"x holds {array.dtype} values; expected real numbers")
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    norm = np.linalg.norm(array, order, axis=operator.index(axis), keepdims=True)
    return np.asarray(array / np.where(norm == 0, 1, norm), dtype=array.dtype)


def _whole_numbers(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as an integer array; floats are welcome while they are whole."""
    if labels.dtype.kind == "b":
        return labels.astype(np.int64)
    if labels.dtype.kind in "iu" or labels.size == 0:
        return labels if labels.dtype.kind in "iu" else labels.astype(np.int64)
    if labels.dtype.kind != "f":
        raise ValueError(
            f"y holds {labels.dtype} values; expected whole numbers from 0 "
            "(for names write names, y = np.unique(y, return_inverse=True))"
        )
    labels = labels.astype(np.float64)
    _refuse(~np.isfinite(labels), labels, "is not a number of a class")
    _refuse(labels != np.floor(labels), labels, "is fractional; classes are whole numbers from 0")
    _refuse(np.abs(labels) >= 2.0**53, labels, "is too large to be the number of a class")
    return labels.astype(np.int64)


def _refuse(wrong: NDArray[np.bool_], labels: NDArray[Any], why: str) -> None:
    """ValueError naming the first label where `wrong` holds, and its place."""
    if wrong.any():
        place = np.unravel_index(int(np.argmax(wrong)), wrong.shape)
        where = ", ".join(str(int(k)) for k in place)
        raise ValueError(f"y[{where}] = {labels[place]} {why}")


LAZY = ("image_dataset_from_directory", "split_dataset")
"""Imported at their first use, as in ``tinynn.data``."""

if TYPE_CHECKING:  # mypy shall go on finding wrong names itself
    from tinynn.data import image_dataset_from_directory, split_dataset
else:

    def __getattr__(name):
        if name in LAZY:
            return getattr(data, name)
        raise no_attribute(__name__, name, __all__)
