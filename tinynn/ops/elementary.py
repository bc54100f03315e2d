"""Elementary functions of one operand, and the choice between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.ops.broadcasting import unbroadcast
from tinynn.typing import Array, ArrayLike

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Exp(Function):
    """y = exp(x);  dx = dy y"""

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = y = np.exp(x)
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy *= self.saved
        return dy


class Log(Function):
    """y = log(x);  dx = dy / x. -inf at 0, with an infinite gradient; NaN below."""

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        return np.log(x)

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy /= self.saved
        return dy


class Sqrt(Function):
    """y = sqrt(x);  dx = dy / (2 y). The gradient at 0 is infinite; NaN below."""

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = y = np.sqrt(x)
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy /= 2 * self.saved
        return dy


class Square(Function):
    """y = x x;  dx = 2 x dy"""

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        return np.square(x)

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy *= 2 * self.saved
        return dy


class Absolute(Function):
    """y = |x|;  dx = dy sign(x), which is 0 at 0"""

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        return np.absolute(x)

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy *= np.sign(self.saved)
        return dy


class Clip(Function):
    """y = x cut to low..high; the gradient passes where low <= x <= high. None leaves a side open."""

    def __init__(self, low: float | None, high: float | None):
        self.low = -np.inf if low is None else low
        self.high = np.inf if high is None else high

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        return np.minimum(np.maximum(x, self.low), self.high)

    def backward(self, graph: Graph, dy: Array) -> Array:
        x = self.saved
        return np.where((x < self.low) | (x > self.high), 0, dy)


class Where(Function):
    """z = x where the condition holds, else y. Each takes the gradient of its own elements."""

    def __init__(self, condition: ArrayLike):
        self.condition = condition

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        given = self.condition
        condition = graph.backend.asarray(given.data if is_tensor(given) else given, "bool")
        self.saved = condition, x.shape, y.shape
        return np.where(condition, x, y)

    def backward(self, graph: Graph, dz: Array) -> Any:
        condition, x_shape, y_shape = self.saved
        dx = unbroadcast(np.where(condition, dz, 0), x_shape) if self.needs(0) else None
        dy = unbroadcast(np.where(condition, 0, dz), y_shape) if self.needs(1) else None
        return dx, dy


def is_tensor(value: Any) -> bool:
    """Whether this is a Tensor, which lives on a level above this one."""
    return hasattr(value, "requires_grad")


def exp(x: Any) -> Tensor:
    """e to the power of x"""
    return Exp()(x)


def log(x: Any) -> Tensor:
    """The natural logarithm."""
    return Log()(x)


def sqrt(x: Any) -> Tensor:
    """The square root."""
    return Sqrt()(x)


def square(x: Any) -> Tensor:
    """x x"""
    return Square()(x)


def absolute(x: Any) -> Tensor:
    """|x|"""
    return Absolute()(x)


def clip(x: Any, low: float | None = None, high: float | None = None) -> Tensor:
    """x cut to low..high; None leaves a side open."""
    return Clip(low, high)(x)


def where(condition: Any, x: Any, y: Any) -> Tensor:
    """x where the condition (an array of booleans) holds, else y."""
    return Where(condition)(x, y)
