"""Several tensors into one: Add, Subtract, Multiply, Average, Maximum, Minimum and Concatenate over lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import ops
from tinynn.function import Function
from tinynn.layers.base import Layer, Symbol, shown
from tinynn.ops.broadcasting import unbroadcast
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph


class Total(Function):
    """y = (x1 + x2 + ... + xn) share, with broadcasting; everybody receives dy share, the first the array itself."""

    def __init__(self, share: float = 1.0):
        self.share = share

    def forward(self, graph: Graph, *arrays: Array) -> Array:
        self.saved = [x.shape for x in arrays]
        first, second, *rest = arrays
        y = graph.empty(*np.broadcast_shapes(*self.saved))
        np.add(first, second, out=y)
        for x in rest:
            y += x
        if self.share != 1:
            y *= self.share
        return y

    def backward(self, graph: Graph, dy: Array) -> list[Array | None]:
        if self.share != 1:
            dy *= self.share
        gradients: list[Array | None] = []
        passed_on = False
        for i, shape in enumerate(self.saved):
            dx = unbroadcast(dy, shape) if self.needs(i) else None
            if dx is dy and passed_on:  # two inputs never receive the same array
                dx = graph.empty(*shape)
                dx[...] = dy
            passed_on = passed_on or dx is dy
            gradients.append(dx)
        return gradients


class ReluSum(Function):
    """y = max(a + b, 0) for a and b of one shape; both receive dy where y > 0."""

    def forward(self, graph: Graph, a: Array, b: Array) -> Array:
        y = graph.empty(*a.shape)
        graph.backend.merge.relu_sum(y, a, b)
        self.saved = y
        return y

    def backward(self, graph: Graph, dy: Array) -> tuple[Array | None, Array | None]:
        y = self.saved
        in_place = self.needs(0) and dy.flags.c_contiguous
        da = dy if in_place else graph.empty(*y.shape) if self.needs(0) else None
        db = graph.empty(*y.shape) if self.needs(1) else None
        graph.backend.merge.relu_sum_backward(da, db, dy, y)
        return da, db


class Merge(Layer):
    """What layers of several inputs share: they are called with a list of at least two tensors."""

    supports_masking = True

    inputs_at_most: int | None = None

    def __init__(self, *, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)

    def __call__(self, x: Any, **options: Any) -> Any:
        tensors = isinstance(x, (list, tuple)) and all(isinstance(t, (Tensor, Symbol)) for t in x)
        if not tensors or len({isinstance(t, Tensor) for t in x}) > 1:
            kinds = [type(t).__name__ for t in x] if isinstance(x, (list, tuple)) else None
            got = f"a list of {', '.join(kinds)}" if kinds else type(x).__name__
            raise TypeError(f"layer '{self.label}' expects a list of tensors, as in {self.called()}, got {got}")
        most = self.inputs_at_most or len(x)
        if not 2 <= len(x) <= most:
            raise ValueError(
                f"layer '{self.label}' expects {'two' if self.inputs_at_most else 'two or more'} tensors, "
                f"as in {self.called()}, got {len(x)}"
            )
        return super().__call__(x, **options)

    def called(self) -> str:
        return f"{type(self).__name__}()([x, y])"

    def shape_for(self, input_shape: Any) -> Shape:
        merged: Shape = self.build(input_shape)
        return merged


class Elementwise(Merge):
    """What the merges of number with number share: inputs of one shape, or with sides of 1, which repeat."""

    def build(self, input_shape: Any) -> Shape:
        if not isinstance(input_shape, list):
            raise ValueError(f"layer '{self.label}' expects a list of inputs, as in {self.called()}")
        return reduce(self.merged_shape, input_shape)

    def merged_shape(self, a: Any, b: Any) -> Any:
        """The shape of two inputs merged; an open side stays open, a side of 1 repeats."""
        fits = len(a) == len(b) and all(m == n or None in (m, n) or 1 in (m, n) for m, n in zip(a, b, strict=True))
        if not fits:
            images = len(a) == len(b) == 3
            fix = (
                "a residual connection brings both to one shape, for example with Conv2D(filters, 1, strides=2) on the "
                "shortcut"
                if images
                else "bring them to one shape, for example with Dense(units) or Reshape(...)"
            )
            raise ValueError(f"layer '{self.label}' cannot merge inputs of shapes {shown(a)} and {shown(b)}: {fix}")
        return tuple(None if None in (m, n) else max(m, n) for m, n in zip(a, b, strict=True))


class Add(Elementwise):
    """y = x1 + x2 + ... + xn, as in the residual connection ``Add()([x, shortcut])``."""

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return Total()(*x)


class Average(Elementwise):
    """y = (x1 + x2 + ... + xn) / n"""

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return Total(1 / len(x))(*x)


class Subtract(Elementwise):
    """y = x1 - x2, of exactly two."""

    inputs_at_most = 2

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return ops.subtract(*x)


class Multiply(Elementwise):
    """y = x1 x2 ... xn. Sides of 1 repeat: images (H, W, C) by a weight per channel (1, 1, C)."""

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return reduce(ops.multiply, x)


class Maximum(Elementwise):
    """y = the largest of x1, x2, ..., xn, which takes the gradient; of equal ones, the first."""

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return reduce(ops.maximum, x)


class Minimum(Elementwise):
    """y = the smallest of x1, x2, ..., xn, which takes the gradient; of equal ones, the first."""

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return reduce(ops.minimum, x)


class Concatenate(Merge):
    """The inputs one after the other along an axis, 0 being the batch and -1 the last; all other sides are equal."""

    def __init__(self, axis: int = -1, *, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise TypeError(f"Concatenate '{self.label}' expects one axis, an integer, got {axis!r}")
        self.axis = axis

    def build(self, input_shape: Any) -> Shape:
        if not isinstance(input_shape, list):
            raise ValueError(f"layer '{self.label}' expects a list of inputs, as in {self.called()}")
        rank = len(input_shape[0]) + 1
        place = self.axis + rank if self.axis < 0 else self.axis
        if not 1 <= place < rank:
            raise ValueError(
                f"layer '{self.label}' expects an axis from 1 to {rank - 1} (or -1 to {1 - rank}; 0 is the batch) for "
                f"inputs of shape {shown(input_shape[0])}, got axis={self.axis}"
            )
        return reduce(lambda a, b: self.joined_shape(a, b, place - 1), input_shape)

    def joined_shape(self, a: Any, b: Any, place: int) -> Any:
        """The shape of two inputs joined; an open side stays open."""
        others = len(a) == len(b) and all(
            k == place or m == n or None in (m, n) for k, (m, n) in enumerate(zip(a, b, strict=True))
        )
        if not others:
            raise ValueError(
                f"layer '{self.label}' joins inputs along axis {self.axis}, all other sides must be equal, got "
                f"{shown(a)} and {shown(b)}: bring them to one size with pooling, padding, cropping or Reshape(...)"
            )
        sides = list(a)
        for k, (m, n) in enumerate(zip(a, b, strict=True)):
            sides[k] = None if None in (m, n) else m + n if k == place else m
        return tuple(sides)

    def forward(self, x: Sequence[Tensor]) -> Tensor:
        return ops.concatenate(x, self.axis)


# -- Keras's functional forms ----------------------------------------------------------------------------------------


def add(inputs: Sequence[Any], name: str | None = None) -> Any:
    """``Add(name=name)(inputs)``"""
    return Add(name=name)(inputs)


def subtract(inputs: Sequence[Any], name: str | None = None) -> Any:
    """``Subtract(name=name)(inputs)``"""
    return Subtract(name=name)(inputs)


def multiply(inputs: Sequence[Any], name: str | None = None) -> Any:
    """``Multiply(name=name)(inputs)``"""
    return Multiply(name=name)(inputs)


def average(inputs: Sequence[Any], name: str | None = None) -> Any:
    """``Average(name=name)(inputs)``"""
    return Average(name=name)(inputs)


def maximum(inputs: Sequence[Any], name: str | None = None) -> Any:
    """``Maximum(name=name)(inputs)``"""
    return Maximum(name=name)(inputs)


def minimum(inputs: Sequence[Any], name: str | None = None) -> Any:
    """``Minimum(name=name)(inputs)``"""
    return Minimum(name=name)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, name: str | None = None) -> Any:
    """``Concatenate(axis, name=name)(inputs)``"""
    return Concatenate(axis, name=name)(inputs)
