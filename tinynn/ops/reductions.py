"""Reductions over some axes, or over all: sum, mean, max, min."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

Axis = int | tuple[int, ...] | None
"""Which axes go away; None for all of them."""


def reduced_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """The axes as numbers from 0, ascending."""
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(k % ndim for k in axes))


def kept_shape(shape: Shape, axis: Axis) -> Shape:
    """The shape after a reduction with ``keepdims``, which broadcasts against the shape before."""
    if axis is None:
        return (1,) * len(shape)
    axes = reduced_axes(axis, len(shape))
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


class Sum(Function):
    """y = sum of x over the axes; every summand receives the gradient."""

    def __init__(self, axis: Axis = None, keepdims: bool = False):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x.shape
        return x.sum(axis=self.axis, keepdims=self.keepdims)

    def backward(self, graph: Graph, dy: Array) -> Array:
        shape = self.saved
        dx = graph.backend.empty(shape, dy.dtype)
        dx[...] = dy.reshape(kept_shape(shape, self.axis))
        return dx


class Mean(Function):
    """y = mean of x over the axes; each of the n summands receives dy / n."""

    def __init__(self, axis: Axis = None, keepdims: bool = False):
        self.axis, self.keepdims = axis, keepdims

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x.shape
        return x.mean(axis=self.axis, keepdims=self.keepdims)

    def backward(self, graph: Graph, dy: Array) -> Array:
        shape = self.saved
        kept = kept_shape(shape, self.axis)
        dx = graph.backend.empty(shape, dy.dtype)
        dy /= math.prod(n for n, k in zip(shape, kept, strict=True) if n != k)
        dx[...] = dy.reshape(kept)
        return dx


class Max(Function):
    """y = the largest x over the axes, which takes the gradient; of equal ones the first, in row-major order."""

    def __init__(self, axis: Axis = None, keepdims: bool = False):
        self.axis, self.keepdims = axis, keepdims

    def reduce(self, x: Array) -> Array:
        return x.max(axis=self.axis, keepdims=self.keepdims)

    def find(self, rows: Array) -> Array:
        return np.argmax(rows, axis=1)

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        return self.reduce(x)

    def backward(self, graph: Graph, dy: Array) -> Array:
        x = self.saved
        axes = reduced_axes(self.axis, x.ndim)
        order = tuple(k for k in range(x.ndim) if k not in axes) + axes
        length = math.prod(x.shape[k] for k in axes)
        moved = x.transpose(order)
        rows = moved.reshape(-1, length)
        dx = graph.backend.zeros(rows.shape, dy.dtype)
        dx[graph.backend.xp.arange(rows.shape[0]), self.find(rows)] = dy.reshape(-1)
        return dx.reshape(moved.shape).transpose(tuple(int(k) for k in np.argsort(order)))


class Min(Max):
    """y = the smallest x over the axes, which takes the gradient; of equal ones the first, in row-major order."""

    def reduce(self, x: Array) -> Array:
        return x.min(axis=self.axis, keepdims=self.keepdims)

    def find(self, rows: Array) -> Array:
        return np.argmin(rows, axis=1)


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over one axis, several, or all."""
    return Sum(axis, keepdims)(x)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over one axis, several, or all."""
    return Mean(axis, keepdims)(x)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest over one axis, several, or all."""
    return Max(axis, keepdims)(x)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest over one axis, several, or all."""
    return Min(axis, keepdims)(x)
