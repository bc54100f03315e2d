"""Activations: one Function over the backend's kernels, a class per name; softmax and its logarithm.

The formulas stand beside their derivatives in ``backends/reference/activation.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinynn.activation import DEFAULT_ALPHA, Activation
from tinynn.function import Function
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Activate(Function):
    """y = f(x), element by element; f is the ``kind`` of the class.

    alpha: the slope of LeakyRelu below 0 (not negative), the scale of Elu; None for the default
    """

    kind: ClassVar[Activation]

    def __init__(self, alpha: float | None = None):
        self.alpha: float = DEFAULT_ALPHA.get(self.kind, 0.0) if alpha is None else alpha

    def forward(self, graph: Graph, x: Array) -> Array:
        y = graph.backend.empty(x.shape, x.dtype)
        graph.backend.activation.forward(y, x, self.kind, self.alpha)
        self.saved = x, y
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        x, y = self.saved
        dx = dy if dy.flags.c_contiguous else graph.backend.empty(dy.shape, dy.dtype)
        graph.backend.activation.backward(dx, dy, x, y, self.kind, self.alpha)
        return dx


class Linear(Activate):
    kind = Activation.LINEAR


class Relu(Activate):
    kind = Activation.RELU


class LeakyRelu(Activate):
    kind = Activation.LEAKY_RELU


class Elu(Activate):
    kind = Activation.ELU


class Selu(Activate):
    kind = Activation.SELU


class Gelu(Activate):
    kind = Activation.GELU


class Sigmoid(Activate):
    """A loss that finds this function behind its input takes the logits ``inputs[0]`` instead."""

    kind = Activation.SIGMOID
    keeps_input = True


class Tanh(Activate):
    kind = Activation.TANH


class Softplus(Activate):
    kind = Activation.SOFTPLUS


class Softsign(Activate):
    kind = Activation.SOFTSIGN


class Swish(Activate):
    kind = Activation.SWISH


class HardSigmoid(Activate):
    kind = Activation.HARD_SIGMOID


class Exponential(Activate):
    kind = Activation.EXPONENTIAL


BY_KIND: dict[Activation, type[Activate]] = {
    c.kind: c
    for c in (
        *(Linear, Relu, LeakyRelu, Elu, Selu, Gelu, Sigmoid, Tanh, Softplus, Softsign, Swish, HardSigmoid),
        Exponential,
    )
}


class Softmax(Function):
    """y = exp(x) / sum exp(x) along an axis, the largest x subtracted first;  dx = y (dy - sum(dy y)).

    A loss that finds this function behind its input takes the logits ``inputs[0]`` instead.
    """

    keeps_input = True

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, graph: Graph, x: Array) -> Array:
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"softmax along axis {self.axis} expects an input that has this axis, got shape {x.shape}")
        self.axis = self.axis % x.ndim - x.ndim  # counted from the end: -1 is the last axis
        moved = self.swap(x)
        rows = moved.reshape(-1, moved.shape[-1])
        y = graph.backend.empty(rows.shape, x.dtype)
        graph.backend.softmax.forward(y, rows)
        self.saved = y
        return self.swap(y.reshape(moved.shape))

    def swap(self, x: Array) -> Array:
        """The axis in question last; a second time, where it was."""
        return x if self.axis == -1 else x.swapaxes(self.axis, -1)

    def backward(self, graph: Graph, dy: Array) -> Array:
        y = self.saved
        moved = self.swap(dy)
        rows = moved.reshape(y.shape)
        dx = rows if rows.flags.c_contiguous else graph.backend.empty(y.shape, dy.dtype)
        graph.backend.softmax.backward(dx, rows, y)
        return self.swap(dx.reshape(moved.shape))


class LogSoftmax(Function):
    """y = x - log sum exp(x) along an axis, the largest x subtracted first;  dx = dy - exp(y) sum(dy)."""

    def __init__(self, axis: int = -1):
        self.axis = axis

    def forward(self, graph: Graph, x: Array) -> Array:
        z = x - np.max(x, axis=self.axis, keepdims=True)
        self.saved = y = z - np.log(np.sum(np.exp(z), axis=self.axis, keepdims=True))
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy -= np.exp(self.saved) * np.sum(dy, axis=self.axis, keepdims=True)
        return dy


def activate(x: Any, kind: Activation, alpha: float | None = None) -> Tensor:
    """f(x) for an activation by its name; a linear one gives x back."""
    result: Tensor = x if kind is Activation.LINEAR else BY_KIND[kind](alpha)(x)
    return result


def relu(x: Any) -> Tensor:
    """max(x, 0)"""
    return Relu()(x)


def sigmoid(x: Any) -> Tensor:
    """1 / (1 + exp(-x))"""
    return Sigmoid()(x)


def tanh(x: Any) -> Tensor:
    """(exp(x) - exp(-x)) / (exp(x) + exp(-x))"""
    return Tanh()(x)


def softmax(x: Any, axis: int = -1) -> Tensor:
    """exp(x) / sum exp(x) along an axis."""
    return Softmax(axis)(x)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """log(softmax(x)), without the detour that would round it to log(0)."""
    return LogSoftmax(axis)(x)
