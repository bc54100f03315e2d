"""Hinge losses for -1/+1 labels and one-hot rows; Poisson and Kullback-Leibler divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tinynn.function import Function
from tinynn.losses import door
from tinynn.losses.base import Loss
from tinynn.losses.means import RowMeans, means
from tinynn.losses.regression import EPSILON, Elementwise
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph


class HingeValue(RowMeans):
    """max(1 - t x, 0), slope 0 at the kink"""

    def value(self, t: Array, x: Array) -> Array:
        return np.maximum(1 - t * x, 0)

    def slope(self, t: Array, x: Array) -> Array:
        return -t * (t * x < 1)


class SquaredHingeValue(RowMeans):
    """max(1 - t x, 0)^2"""

    def value(self, t: Array, x: Array) -> Array:
        return np.maximum(1 - t * x, 0) ** 2

    def slope(self, t: Array, x: Array) -> Array:
        return -2 * t * np.maximum(1 - t * x, 0)


class PoissonValue(RowMeans):
    """x - t log(x + epsilon)"""

    def value(self, t: Array, x: Array) -> Array:
        return x - t * np.log(x + EPSILON)

    def slope(self, t: Array, x: Array) -> Array:
        return 1 - t / (x + EPSILON)


class LastAxis(Function):
    """What losses along the last axis share: f of a row of targets and a row of outputs, (..., C) -> (...)."""

    def __init__(self, target: ArrayLike):
        self.target = target

    def value(self, t: Array, x: Array) -> Array:
        """f(t, x), the last axis gone"""
        raise NotImplementedError(f"{type(self).__name__} has no value(t, x)")

    def slope(self, t: Array, x: Array) -> Array:
        """df/dx, as a new array"""
        raise NotImplementedError(f"{type(self).__name__} has no slope(t, x)")

    def forward(self, graph: Graph, x: Array) -> Array:
        t = graph.backend.asarray(self.target, graph.dtype)
        self.saved = t, x
        return self.value(t, x)

    def backward(self, graph: Graph, drows: Array) -> Array:
        dx = self.slope(*self.saved)
        dx *= drows[..., None]
        return dx


class Divergence(LastAxis):
    """sum t log(t / x), both clipped to [epsilon, 1]"""

    def value(self, t: Array, x: Array) -> Array:
        t, x = np.clip(t, EPSILON, 1), np.clip(x, EPSILON, 1)
        return np.sum(t * np.log(t / x), axis=-1)

    def slope(self, t: Array, x: Array) -> Array:
        inside = (x >= EPSILON) & (x <= 1)
        return -np.clip(t, EPSILON, 1) / np.clip(x, EPSILON, 1) * inside


class MulticlassHinge(LastAxis):
    """max(max((1 - t) x) - sum t x + 1, 0); the first of equal maxima takes the gradient"""

    def value(self, t: Array, x: Array) -> Array:
        return np.maximum(np.max((1 - t) * x, axis=-1) - np.sum(t * x, axis=-1) + 1, 0)

    def slope(self, t: Array, x: Array) -> Array:
        others = (1 - t) * x
        numbers = np.cumsum(np.ones_like(others, shape=(x.shape[-1],), dtype="int64")) - 1
        largest = np.argmax(others, axis=-1)[..., None] == numbers
        return ((1 - t) * largest - t) * (self.value(t, x) > 0)[..., None]


class Hinge(Elementwise):
    """mean max(1 - y_true y_pred, 0), y_true -1/+1; 0/1 labels are converted"""

    default_name = "hinge"
    function: ClassVar[type[RowMeans]] = HingeValue

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        return door.signs(y, self.name, what)

    def measure(self, t: Array, x: Array) -> Array:
        """0/1 labels are told by their minimum, which needs no look at the host."""
        return super().measure(np.where(np.min(t) < 0, t, 2 * t - 1), x)


class SquaredHinge(Hinge):
    """mean max(1 - y_true y_pred, 0)^2, y_true -1/+1; 0/1 labels are converted"""

    default_name = "squared_hinge"
    function = SquaredHingeValue


class Poisson(Elementwise):
    """mean of y_pred - y_true log(y_pred + 1e-7)"""

    default_name = "poisson"
    function = PoissonValue


class RowLoss(Loss):
    """A loss of whole rows along the last axis."""

    function: ClassVar[type[LastAxis]]

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        if target.shape != y_pred.data.shape:
            target = self.fit(target, y_pred.shape[1:], "y_true")
        return y_pred.graph.apply(self.function(target), y_pred)

    def measure(self, t: Array, x: Array) -> Array:
        return means(self.function(t).value(t, x), 1)


class CategoricalHinge(RowLoss):
    """max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0) for one-hot rows y_true"""

    default_name = "categorical_hinge"
    function = MulticlassHinge

    def fit(self, y: Array, output_shape: Shape, what: str) -> Array:
        door.several_classes(output_shape, self.name)
        return super().fit(y, output_shape, what)


class KLDivergence(RowLoss):
    """sum y_true log(y_true / y_pred), both clipped to [1e-7, 1]"""

    default_name = "kl_divergence"
    function = Divergence

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        door.within_unit(y, self.name, what, ": for class numbers use sparse_categorical_crossentropy")
        return door.as_floats(y)
