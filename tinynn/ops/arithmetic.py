"""Arithmetic of two operands, with broadcasting: + - * / ** and the larger or smaller of two; minus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.ops.broadcasting import unbroadcast
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Add(Function):
    """z = x + y. The gradient is copied to both."""

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        self.saved = x.shape, y.shape
        return x + y

    def backward(self, graph: Graph, dz: Array) -> Any:
        x_shape, y_shape = self.saved
        dx = unbroadcast(dz, x_shape) if self.needs(0) else None
        dy = None
        if self.needs(1):
            dy = unbroadcast(dz, y_shape)
            if dy is dx:  # dz is passed on once
                dy = dz.copy()
        return dx, dy


class Subtract(Function):
    """z = x - y"""

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        self.saved = x.shape, y.shape
        return x - y

    def backward(self, graph: Graph, dz: Array) -> Any:
        x_shape, y_shape = self.saved
        dy = unbroadcast(-dz, y_shape) if self.needs(1) else None
        dx = unbroadcast(dz, x_shape) if self.needs(0) else None
        return dx, dy


class Multiply(Function):
    """z = x y. Each operand receives the gradient times the other one."""

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        self.saved = x, y
        return x * y

    def backward(self, graph: Graph, dz: Array) -> Any:
        x, y = self.saved
        dx = unbroadcast(dz * y, x.shape) if self.needs(0) else None
        dy = unbroadcast(dz * x, y.shape) if self.needs(1) else None
        return dx, dy


class Divide(Function):
    """z = x / y;  dx = dz / y,  dy = -dz z / y"""

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        z = x / y
        self.saved = x.shape, y, z
        return z

    def backward(self, graph: Graph, dz: Array) -> Any:
        x_shape, y, z = self.saved
        dz /= y
        dy = unbroadcast(dz * -z, y.shape) if self.needs(1) else None
        dx = unbroadcast(dz, x_shape) if self.needs(0) else None
        return dx, dy


class Power(Function):
    """z = x ** y;  dx = dz y x ** (y - 1),  dy = dz z log(x)

    At x = 0: dx is 0 where y = 0 and infinite for y < 1, dy is 0. The exponent's gradient is NaN where x < 0.
    """

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        z = x**y
        self.saved = x, y, z
        return z

    def backward(self, graph: Graph, dz: Array) -> Any:
        x, y, z = self.saved
        dx = dy = None
        if self.needs(0):
            slope = y * np.where(y == 0, 1, x) ** (y - 1)
            dx = unbroadcast(dz * slope, x.shape)
        if self.needs(1):
            dy = unbroadcast(dz * (z * np.log(np.where(x == 0, 1, x))), y.shape)
        return dx, dy


class PowerConstant(Function):
    """y = x ** n for a number n;  dx = dy n x ** (n - 1), which is infinite at x = 0 for n < 1 other than 0."""

    def __init__(self, n: float):
        self.n = n

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        return x**self.n

    def backward(self, graph: Graph, dy: Array) -> Array:
        n, x = self.n, self.saved
        if n == 0:
            dy[...] = 0
        else:
            dy *= n * x ** (n - 1)
        return dy


class Negative(Function):
    """y = -x"""

    def forward(self, graph: Graph, x: Array) -> Array:
        return -x

    def backward(self, graph: Graph, dy: Array) -> Array:
        return np.negative(dy, out=dy)


class Maximum(Function):
    """z = max(x, y), element by element. The larger one takes the gradient; of two equal ones, the first."""

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        self.saved = x, y
        return np.maximum(x, y)

    def first(self, x: Array, y: Array) -> Array:
        return x >= y

    def backward(self, graph: Graph, dz: Array) -> Any:
        x, y = self.saved
        first = self.first(x, y)
        dx = unbroadcast(np.where(first, dz, 0), x.shape) if self.needs(0) else None
        dy = unbroadcast(np.where(first, 0, dz), y.shape) if self.needs(1) else None
        return dx, dy


class Minimum(Maximum):
    """z = min(x, y), element by element. The smaller one takes the gradient; of two equal ones, the first."""

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        self.saved = x, y
        return np.minimum(x, y)

    def first(self, x: Array, y: Array) -> Array:
        return x <= y


def add(x: Any, y: Any) -> Tensor:
    """x + y"""
    return Add()(x, y)


def subtract(x: Any, y: Any) -> Tensor:
    """x - y"""
    return Subtract()(x, y)


def multiply(x: Any, y: Any) -> Tensor:
    """x y, element by element"""
    return Multiply()(x, y)


def divide(x: Any, y: Any) -> Tensor:
    """x / y"""
    return Divide()(x, y)


def power(x: Any, y: Any) -> Tensor:
    """x ** y. An exponent that is a plain number works for negative x as well."""
    return PowerConstant(y)(x) if isinstance(y, (int, float)) else Power()(x, y)


def negative(x: Any) -> Tensor:
    """-x"""
    return Negative()(x)


def maximum(x: Any, y: Any) -> Tensor:
    """The larger of x and y, element by element."""
    return Maximum()(x, y)


def minimum(x: Any, y: Any) -> Tensor:
    """The smaller of x and y, element by element."""
    return Minimum()(x, y)
