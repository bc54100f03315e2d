"""Metric: a state that batches add to, and a result that is read when somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.backends import host
from tinynn.config import Configured
from tinynn.losses import Loss
from tinynn.losses.door import like_output
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike


class Metric(Configured):
    """The base of all metrics: ``update_state(y_true, y_pred, sample_weight)`` per batch, then ``result()``.

    The state is arrays of the predictions' backend, and ``update_state`` is array language that never waits for the
    device; ``result`` reads it once. y_true and y_pred are arrays, lists or tensors.

    name: what the logs call it
    """

    default_name = "metric"

    def __init__(self, name: str | None = None, dtype: Any = None):
        self.name = name or self.default_name
        self.dtype = dtype
        """Keras's argument; sums are float64 whatever it says."""
        self.reset_state()

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Add a batch."""
        raise NotImplementedError(f"{type(self).__name__} has no update_state(y_true, y_pred, sample_weight)")

    def result(self) -> Any:
        """The metric over all batches since ``reset_state``: a float, or a NumPy array; 0.0 before the first."""
        raise NotImplementedError(f"{type(self).__name__} has no result()")

    def reset_state(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__} has no reset_state()")

    def empty(self) -> None:
        """Forget all batches; a metric of sums keeps the arrays that it adds to, for steps that were recorded."""
        self.reset_state()

    def __call__(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> Any:
        """Add a batch and return the result so far."""
        self.update_state(y_true, y_pred, sample_weight)
        return self.result()


def array_of(value: Any) -> Array:
    """The array of a Tensor; anything else that is not an array goes through NumPy."""
    if isinstance(value, Tensor):
        return value.data
    return value if hasattr(value, "shape") and hasattr(value, "__array_ufunc__") else np.asarray(value)


def same_shape(t: Array, x: Array, owner: str) -> Array:
    """t of x's shape: (N,) and (N, 1) are matched, nothing is broadcast; ValueError names what would fit."""
    if t.shape == x.shape:
        return t
    same_rows(t, x, owner)
    return like_output(t, tuple(x.shape[1:]), owner, "y_true")


def same_rows(t: Array, x: Array, owner: str) -> None:
    if t.shape[:1] != x.shape[:1]:
        raise ValueError(f"{owner} expects a row of y_true for each row of y_pred, got {t.shape} for {x.shape}")


def label_rows(t: Array, x: Array, owner: str) -> Array:
    """Class numbers of shape x.shape[:-1]."""
    if t.shape == x.shape[:-1]:
        return t
    if t.shape == (*x.shape[:-1], 1):
        return t.reshape(x.shape[:-1])
    raise ValueError(
        f"{owner} expects one class number for each row of y_pred {tuple(x.shape)}, got y_true of shape "
        f"{tuple(t.shape)}: for one-hot rows use y_true.argmax(axis=-1)"
    )


def one_hot_rows(t: Array, x: Array, owner: str) -> Array:
    """t of x's shape; class numbers become one-hot rows."""
    if t.shape == x.shape or x.ndim < 2 or x.shape[-1] == 1:
        return same_shape(t, x, owner)
    if t.shape in (x.shape[:-1], (*x.shape[:-1], 1)):
        numbers = np.cumsum(np.ones_like(t, shape=x.shape[-1:])) - 1
        return label_rows(t, x, owner)[..., None] == numbers
    return same_shape(t, x, owner)


def weights_like(sample_weight: ArrayLike, values: Array, owner: str) -> Array:
    """Weights of the leading axes of values, ready to be broadcast over the others."""
    w = array_of(sample_weight)
    if w.ndim > values.ndim and w.shape[-1] == 1:
        w = w.reshape(w.shape[:-1])
    if w.ndim == 0 or w.shape != values.shape[: w.ndim]:
        raise ValueError(f"{owner} expects a weight for each of {values.shape[0]} rows, got shape {tuple(w.shape)}")
    return w.reshape(w.shape + (1,) * (values.ndim - w.ndim))


class MeanMetric(Metric):
    """sum(w values) / sum(w), where ``values(y_true, y_pred)`` gives one or more values per row."""

    total: Any
    count: Any

    def values(self, t: Array, x: Array) -> Array:
        """What is averaged: (N, ...), bool or float."""
        raise NotImplementedError(f"{type(self).__name__} has no values(t, x)")

    def reset_state(self) -> None:
        self.total = self.count = None

    def empty(self) -> None:
        total, count = self.total, self.count
        self.reset_state()
        if total is not None and self.total is None:
            total[...], count[...] = 0, 0
            self.total, self.count = total, count

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        t, x = array_of(y_true), array_of(y_pred)
        self.add(self.values(t, x), sample_weight)

    def add(self, values: Array, sample_weight: ArrayLike | None = None) -> None:
        """Add values with their weights to the sums."""
        if self.total is None:
            self.total = np.zeros_like(values, shape=(), dtype=np.float64)
            self.count = np.zeros_like(values, shape=(), dtype=np.float64)
        if sample_weight is not None:
            w = weights_like(sample_weight, values, self.name)
            self.total += np.sum(values * w, dtype=np.float64)
            self.count += np.sum(w, dtype=np.float64) * (values.size // max(w.size, 1))
        elif values.dtype == bool:
            self.total += np.count_nonzero(values)
            self.count += values.size
        else:
            self.total += values.sum(dtype=np.float64)
            self.count += values.size

    def result(self) -> Any:
        return 0.0 if self.total is None else ratio(float(host(self.total)), float(host(self.count)))


def ratio(a: Any, b: Any) -> Any:
    """a / b on the host, and 0 where b is 0."""
    if isinstance(b, float):
        return a / b if b else 0.0
    return np.divide(a, b, out=np.zeros_like(b, dtype=np.float64), where=b != 0)


class Mean(MeanMetric):
    """The mean of numbers: ``update_state(values, sample_weight=None)``."""

    default_name = "mean"

    def update_state(self, values: Any, sample_weight: Any = None) -> None:  # type: ignore[override]
        values = array_of(values)
        self.add(values.reshape(1) if values.ndim == 0 else values, sample_weight)


class LossMetric(MeanMetric):
    """The mean of a loss's rows, as a metric."""

    def __init__(self, loss: Loss, name: str | None = None, dtype: Any = None):
        self.loss = loss
        super().__init__(name or loss.name, dtype)

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """Rows with one weight each; under weights of positions, such as a mask (N, T), the positions are the rows."""
        t, x = array_of(y_true), array_of(y_pred)
        w = None if sample_weight is None else array_of(sample_weight)
        if w is not None and 1 < w.ndim < x.ndim and w.shape == x.shape[: w.ndim]:
            same_rows(t, x, self.name)
            t = self.loss.fit(t, tuple(x.shape[1:]), "y_true")
            t, x = (a.reshape(w.size, *a.shape[w.ndim :]) for a in (t, x))
            w = w.reshape(w.size)
        super().update_state(t, x, w)

    def values(self, t: Array, x: Array) -> Array:
        same_rows(t, x, self.name)
        t = self.loss.fit(t, tuple(x.shape[1:]), "y_true")
        sparse = t.ndim < x.ndim
        return self.loss.measure(t if sparse or t.dtype == x.dtype else t.astype(x.dtype), x)


class FunctionMetric(MeanMetric):
    """The mean of any callable ``(y_true, y_pred) -> array`` of the arrays of a batch."""

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None, dtype: Any = None):
        self.function = function
        super().__init__(name or getattr(function, "__name__", type(function).__name__), dtype)

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        x = array_of(y_pred)
        values = array_of(self.function(array_of(y_true), x))
        if values.ndim == 0:  # a mean already: it counts as often as there are rows
            values = np.broadcast_to(values, x.shape[:1] or (1,))
        self.add(values, sample_weight)


class Counts(Metric):
    """A metric whose state is sums: named arrays, or None before the first batch."""

    sums: Any

    def reset_state(self) -> None:
        self.sums = None

    def empty(self) -> None:
        sums = self.sums
        self.reset_state()
        if sums is not None and self.sums is None:
            sums[...] = 0
            self.sums = sums

    def accumulate(self, batch: Array) -> None:
        """Add this batch's sums, in float64."""
        if self.sums is None:
            self.sums = batch.astype(np.float64)
        else:
            self.sums += batch

    def read(self) -> np.ndarray:
        """The sums on the host."""
        return host(self.sums)
