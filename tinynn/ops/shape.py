"""The same numbers in another shape or order: reshape, transpose, expand_dims, squeeze, broadcast_to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.ops.broadcasting import unbroadcast
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Reshape(Function):
    """y = the numbers of x, in row-major order, in another shape."""

    def __init__(self, shape: Shape):
        self.shape = shape

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x.shape
        return x.reshape(self.shape)

    def backward(self, graph: Graph, dy: Array) -> Array:
        return dy.reshape(self.saved)


class Transpose(Function):
    """y = x with axis ``axes[k]`` in place k; without axes, in reverse order."""

    def __init__(self, axes: tuple[int, ...] | None = None):
        self.axes = axes

    def forward(self, graph: Graph, x: Array) -> Array:
        return x.transpose(self.axes)

    def backward(self, graph: Graph, dy: Array) -> Array:
        if self.axes is None:
            return dy.transpose()
        back = [0] * len(self.axes)
        for k, axis in enumerate(self.axes):
            back[axis] = k
        return dy.transpose(back)


class BroadcastTo(Function):
    """y = x repeated to a shape; the gradients of the copies add up."""

    def __init__(self, shape: Shape):
        self.shape = shape

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x.shape
        return np.broadcast_to(x, self.shape)

    def backward(self, graph: Graph, dy: Array) -> Array:
        return unbroadcast(dy, self.saved)


def integers(arguments: tuple[Any, ...]) -> tuple[int, ...]:
    """f(1, 2) and f((1, 2)) mean the same."""
    if len(arguments) == 1 and not isinstance(arguments[0], int) and hasattr(arguments[0], "__iter__"):
        return tuple(arguments[0])
    return arguments


def reshape(x: Any, *shape: Any) -> Tensor:
    """The numbers of x in another shape, given as a tuple or as numbers; one size may be -1 and is found."""
    return Reshape(integers(shape))(x)


def transpose(x: Any, *axes: Any) -> Tensor:
    """x with its axes in this order; without axes (or with None), reversed."""
    order = () if axes == (None,) else integers(axes)
    return Transpose(order or None)(x)


def expand_dims(x: Any, axis: int) -> Tensor:
    """x with an axis of length 1 at this place of the result."""
    place = axis % (x.ndim + 1) if -x.ndim - 1 <= axis <= x.ndim else None
    if place is None:
        raise IndexError(f"expand_dims: axis {axis} is out of range for a result of {x.ndim + 1} axes")
    return Reshape((*x.shape[:place], 1, *x.shape[place:]))(x)


def squeeze(x: Any, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """x without its axes of length 1, or without these; ValueError for an axis of another length."""
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    shape = x.shape
    gone = {k % x.ndim for k in axes if axis is not None or shape[k] == 1}
    if any(shape[k] != 1 for k in gone):
        raise ValueError(f"squeeze: axis {axis} of shape {shape} is not of length 1")
    return Reshape(tuple(n for k, n in enumerate(shape) if k not in gone))(x)


def broadcast_to(x: Any, shape: Shape) -> Tensor:
    """x repeated to this shape, by NumPy's rules of broadcasting."""
    return BroadcastTo(shape)(x)
