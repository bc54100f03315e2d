"""Losses of numbers: squared, absolute, relative and logarithmic errors, Huber, log-cosh, cosine similarity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinynn.config import above
from tinynn.function import Function
from tinynn.losses.base import MEAN, Loss
from tinynn.losses.means import RowMeans, means
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike

if TYPE_CHECKING:
    from tinynn.graph import Graph

EPSILON = 1e-7
"""Keras's epsilon: what keeps divisions and logarithms away from zero."""


class SquaredError(RowMeans):
    """(x - t)^2"""

    def value(self, t: Array, x: Array) -> Array:
        e = x - t
        return np.multiply(e, e, out=e)

    def slope(self, t: Array, x: Array) -> Array:
        e = x - t
        return np.add(e, e, out=e)


class AbsoluteError(RowMeans):
    """|x - t|, slope 0 at 0"""

    def value(self, t: Array, x: Array) -> Array:
        return np.abs(x - t)

    def slope(self, t: Array, x: Array) -> Array:
        return np.sign(x - t)


class PercentageError(RowMeans):
    """100 |x - t| / max(|t|, epsilon)"""

    def value(self, t: Array, x: Array) -> Array:
        return 100 * np.abs(x - t) / np.maximum(np.abs(t), EPSILON)

    def slope(self, t: Array, x: Array) -> Array:
        return 100 * np.sign(x - t) / np.maximum(np.abs(t), EPSILON)


class SquaredLogarithmicError(RowMeans):
    """(log(1 + max(x, epsilon)) - log(1 + max(t, epsilon)))^2"""

    def value(self, t: Array, x: Array) -> Array:
        return self.difference(t, x) ** 2

    def slope(self, t: Array, x: Array) -> Array:
        return 2 * self.difference(t, x) / (1 + np.maximum(x, EPSILON)) * (x > EPSILON)

    @staticmethod
    def difference(t: Array, x: Array) -> Array:
        return np.log1p(np.maximum(x, EPSILON)) - np.log1p(np.maximum(t, EPSILON))


class LogCoshError(RowMeans):
    """log cosh e, e = x - t

    Small errors: log1p(2 sinh(e/2)^2), which keeps the digits; large ones: |e| + log1p(exp(-2|e|)) - log 2, without
    overflow.
    """

    def value(self, t: Array, x: Array) -> Array:
        e = np.abs(x - t)
        small = np.log1p(2 * np.sinh(np.minimum(e, 1) / 2) ** 2)
        return np.where(e < 1, small, e + np.log1p(np.exp(-2 * e)) - math.log(2))

    def slope(self, t: Array, x: Array) -> Array:
        return np.tanh(x - t)


class HuberError(RowMeans):
    """e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2), e = x - t (Huber 1964)"""

    def __init__(self, target: ArrayLike, keep: int = 1, delta: float = 1.0):
        super().__init__(target, keep)
        self.delta = delta

    def value(self, t: Array, x: Array) -> Array:
        e = np.abs(x - t)
        inner = np.minimum(e, self.delta)
        return inner * (e - inner / 2)

    def slope(self, t: Array, x: Array) -> Array:
        return np.clip(x - t, -self.delta, self.delta)


class Cosine(Function):
    """-sum(t/|t| x/|x|) along an axis, with norms of at least epsilon"""

    def __init__(self, target: ArrayLike, axis: int = -1):
        self.target = target
        self.axis = axis

    def parts(self, t: Array, x: Array) -> tuple[Array, Array, Array, Array]:
        """unit t, unit x, their product summed, norm of x; with the axis kept."""
        norm = np.sqrt(np.sum(x * x, axis=self.axis, keepdims=True))
        t = t / np.maximum(np.sqrt(np.sum(t * t, axis=self.axis, keepdims=True)), EPSILON)
        unit = x / np.maximum(norm, EPSILON)
        return t, unit, np.sum(t * unit, axis=self.axis, keepdims=True), norm

    def forward(self, graph: Graph, x: Array) -> Array:
        t, unit, cosine, norm = self.parts(graph.backend.asarray(self.target, graph.dtype), x)
        self.saved = t, unit, cosine, norm
        return -np.squeeze(cosine, axis=self.axis)

    def backward(self, graph: Graph, drows: Array) -> Array:
        """dx = (unit (t unit) - t) / |x|; below epsilon the norm is a constant, dx = -t / epsilon"""
        t, unit, cosine, norm = self.saved
        dx = (unit * cosine * (norm > EPSILON) - t) / np.maximum(norm, EPSILON)
        dx *= np.expand_dims(drows, self.axis)
        return dx


class Elementwise(Loss):
    """A loss whose rows are means of a function of one target and one output each."""

    function: ClassVar[type[RowMeans]]
    elementwise = True

    def make(self, target: ArrayLike, keep: int = 1) -> RowMeans:
        """The Function of one call."""
        return self.function(target, keep)

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        if target.shape != y_pred.data.shape:  # (N,) for (N, 1) fits, anything else must not be broadcast
            target = self.fit(target, y_pred.shape[1:], "y_true")
        return y_pred.graph.apply(self.make(target, keep), y_pred)

    def measure(self, t: Array, x: Array) -> Array:
        return means(self.make(t).value(t, x), 1)


class MeanSquaredError(Elementwise):
    """mean (y_pred - y_true)^2"""

    default_name = "mean_squared_error"
    function = SquaredError


class MeanAbsoluteError(Elementwise):
    """mean |y_pred - y_true|"""

    default_name = "mean_absolute_error"
    function = AbsoluteError


class MeanAbsolutePercentageError(Elementwise):
    """100 mean |y_pred - y_true| / max(|y_true|, 1e-7)"""

    default_name = "mean_absolute_percentage_error"
    function = PercentageError


class MeanSquaredLogarithmicError(Elementwise):
    """mean (log(1 + y_pred) - log(1 + y_true))^2, both at least 1e-7"""

    default_name = "mean_squared_logarithmic_error"
    function = SquaredLogarithmicError


class LogCosh(Elementwise):
    """mean log cosh(y_pred - y_true)"""

    default_name = "log_cosh"
    function = LogCoshError


class Huber(Elementwise):
    """mean of e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2)"""

    default_name = "huber"

    def __init__(self, delta: float = 1.0, reduction: str | None = MEAN, name: str | None = None):
        super().__init__(reduction, name)
        self.delta = above(delta, 0, "delta", "Huber")

    def make(self, target: ArrayLike, keep: int = 1) -> HuberError:
        return HuberError(target, keep, self.delta)


class CosineSimilarity(Loss):
    """-sum(unit y_true, unit y_pred) along ``axis``: -1 for the same direction, 0 for orthogonal rows."""

    default_name = "cosine_similarity"

    def __init__(self, axis: int = -1, reduction: str | None = MEAN, name: str | None = None):
        super().__init__(reduction, name)
        if isinstance(axis, bool) or not hasattr(axis, "__index__") or axis == 0:
            raise ValueError(f"CosineSimilarity expects an axis other than the batch axis 0, got {axis!r}")
        self.axis = int(axis)

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        if not -y_pred.ndim < self.axis < y_pred.ndim:
            raise ValueError(f"cosine_similarity along axis {self.axis} of outputs of shape {y_pred.shape}")
        return y_pred.graph.apply(Cosine(target, self.axis), y_pred)

    def measure(self, t: Array, x: Array) -> Array:
        """As a metric it is the similarity itself, as in Keras."""
        cosine = np.squeeze(Cosine(t, self.axis).parts(t, x)[2], axis=self.axis)
        return means(cosine, 1)
