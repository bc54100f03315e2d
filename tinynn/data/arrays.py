"""Arrays in host memory, cut into batches and brought to the backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.backends import Backend
from tinynn.typing import Array, ArrayLike

Rows = slice | np.ndarray


def host_array(value: ArrayLike, what: str) -> np.ndarray:
    """A NumPy array of real numbers from arrays, nested lists or pandas frames; a memory map stays one.

    Raises TypeError for text, objects and complex numbers, ValueError for rows of different length; ``what`` names the
    argument in the message.
    """
    if hasattr(value, "graph") and hasattr(value, "numpy"):  # a Tensor
        value = value.numpy()
    try:
        array = frame_array(value, what) if hasattr(value, "columns") else np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{what} expects rows of one length: {error}") from None
    if array.dtype.kind not in "fiub":
        hint = {
            "O": "its rows have different lengths, or it holds text or None",
            "U": "text has to become numbers first (a vocabulary, or one-hot columns)",
            "S": "text has to become numbers first (a vocabulary, or one-hot columns)",
            "c": "take .real or .imag, or stack both as features",
        }.get(array.dtype.kind, "convert it with .astype('float32')")
        raise TypeError(f"{what} expects numbers, got an array of dtype {array.dtype}: {hint}")
    return array


def frame_array(frame: Any, what: str) -> np.ndarray:
    """A pandas frame as an array; columns of different kinds of numbers become float64, missing values NaN."""
    array = np.asarray(frame)
    if array.dtype.kind != "O":
        return array
    try:
        return np.asarray(frame.to_numpy(dtype="float64", na_value=np.nan))
    except (TypeError, ValueError):
        others = [str(name) for name, kind in frame.dtypes.items() if kind.kind not in "fiub"]
        raise TypeError(
            f"{what} expects numbers, but column{'s' * (len(others) > 1)} {', '.join(others)} hold something else: "
            "drop them, or make them numbers (codes, or one column per category)"
        ) from None


Several = np.ndarray | tuple[Any, ...]
"""An array; or, of several inputs or outputs, a tuple of arrays (None where one is left out)."""


@dataclass(frozen=True)
class Arrays:
    """A data set in host memory: x, and where they exist labels y and one weight per row."""

    x: Several
    y: Several | None = None
    weights: Several | None = None

    def __len__(self) -> int:
        return len(self.x[0] if isinstance(self.x, tuple) else self.x)

    def part(self, rows: Rows) -> Arrays:
        """Some of the rows."""
        return Arrays(*(each(lambda a: a[rows], values) for values in (self.x, self.y, self.weights)))


def each(function: Callable[[Any], Any], values: Any) -> Any:
    """The function of an array, or of every array of a tuple; None stays None."""
    if isinstance(values, tuple):
        return tuple(None if a is None else function(a) for a in values)
    return None if values is None else function(values)


def rows_of(order: np.ndarray | None, batch: int, batch_size: int, total: int) -> Rows:
    """The rows of one batch: a slice of the data as they lie, or of a shuffled order."""
    start, stop = batch * batch_size, min((batch + 1) * batch_size, total)
    return slice(start, stop) if order is None else order[start:stop]


def fetch(array: np.ndarray, rows: Rows, backend: Backend, dtype: Any) -> Array:
    """These rows as a contiguous array of the backend."""
    if not isinstance(rows, slice):
        return backend.take(array, rows, dtype)
    part = array[rows]
    if part.dtype != dtype or not part.flags.c_contiguous:
        part = np.ascontiguousarray(part, dtype)
    return backend.asarray(part, dtype)
