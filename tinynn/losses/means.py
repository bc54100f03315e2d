"""Means: of the rows of a loss with their weights, and of an elementwise loss within each row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.typing import Array, ArrayLike, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph


class WeightedMean(Function):
    """sum(weights values) / divisor as one node.

    values (N, ...); weights of the leading axes of values, or None for ones; divisor a number, an array of one element
    on the backend, or None for the number of values.
    """

    def __init__(self, weights: Array | None = None, divisor: Any = None):
        self.weights = weights
        self.divisor = divisor

    def forward(self, graph: Graph, values: Array) -> Array:
        weights = self.weights
        if weights is not None:
            weights = graph.backend.asarray(weights, values.dtype)
            weights = weights.reshape(weights.shape + (1,) * (values.ndim - weights.ndim))
        divisor = self.divisor
        if divisor is None:
            divisor = values.size or 1
        self.saved = values.shape, weights, divisor
        return (values if weights is None else values * weights).sum() / divisor

    def backward(self, graph: Graph, dy: Array) -> Array:
        shape, weights, divisor = self.saved
        dvalues = graph.empty(*shape)
        scale = dy / divisor
        if weights is None:
            dvalues[...] = scale
        else:
            np.multiply(weights, scale, out=dvalues)
        return dvalues


class RowMeans(Function):
    """What elementwise losses share: values f(target, x), their mean over the axes after the first ``keep``.

    A subclass writes the formula and its derivative by x side by side, in array language.
    """

    def __init__(self, target: ArrayLike, keep: int = 1):
        self.target = target
        self.keep = keep

    def value(self, t: Array, x: Array) -> Array:
        """f(t, x), elementwise"""
        raise NotImplementedError(f"{type(self).__name__} has no value(t, x)")

    def slope(self, t: Array, x: Array) -> Array:
        """df/dx, elementwise, as a new array"""
        raise NotImplementedError(f"{type(self).__name__} has no slope(t, x)")

    def forward(self, graph: Graph, x: Array) -> Array:
        t = graph.backend.asarray(self.target, graph.dtype)
        self.saved = t, x
        return means(self.value(t, x), self.keep)

    def backward(self, graph: Graph, drows: Array) -> Array:
        t, x = self.saved
        dx = self.slope(t, x)
        dx *= spread(drows, x.shape)
        return dx


def means(values: Array, keep: int) -> Array:
    """The mean over all axes after the first ``keep``."""
    n = math.prod(values.shape[keep:])
    if n == 1:
        return values.reshape(values.shape[:keep])
    return values.sum(axis=tuple(range(keep, values.ndim))) / max(n, 1)


def spread(drows: Array, shape: Shape) -> Array:
    """The gradient of ``means``, ready to be broadcast to ``shape``. Overwrites drows."""
    n = math.prod(shape[drows.ndim :])
    if n > 1:
        drows /= n
    return drows.reshape(drows.shape + (1,) * (len(shape) - drows.ndim))
