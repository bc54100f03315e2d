"""Regularizers: penalties on weights or on activities that are added to the loss, under Keras's names.

A regularizer is called with a tensor (``graph.parameter(p)``, or a layer's output) and returns a scalar tensor. Any
callable of that form will do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinynn.config import Configured, at_least, restore
from tinynn.errors import no_attribute, unknown
from tinynn.function import Function
from tinynn.tensor import Tensor
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph

__all__ = ["L1", "L1L2", "L2", "get", "l1", "l1_l2", "l2"]

Regularizer: TypeAlias = Callable[[Tensor], Tensor]


class SumOfMagnitudes(Function):
    """y = l sum |x|, dx = l sign(x) dy; the derivative at 0 is 0."""

    def __init__(self, l: float):
        self.l = l

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        t = graph.empty(*x.shape)
        return self.l * np.sum(np.abs(x, out=t))

    def backward(self, graph: Graph, dy: Array) -> Any:
        dx: Array = graph.gradients(self)[0]
        np.sign(self.saved, out=dx)
        return np.multiply(dx, self.l * dy, out=dx)


class SumOfSquares(Function):
    """y = l sum x^2, dx = 2 l x dy"""

    def __init__(self, l: float):
        self.l = l

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        t = graph.empty(*x.shape)
        return self.l * np.sum(np.square(x, out=t))

    def backward(self, graph: Graph, dy: Array) -> Any:
        dx: Array = graph.gradients(self)[0]
        return np.multiply(self.saved, (2.0 * self.l) * dy, out=dx)


class ElasticNet(Function):
    """y = l1 sum |x| + l2 sum x^2, dx = (l1 sign(x) + 2 l2 x) dy"""

    def __init__(self, l1: float, l2: float):
        self.l1, self.l2 = l1, l2

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        t = graph.empty(*x.shape)
        magnitudes = np.sum(np.abs(x, out=t))
        return self.l1 * magnitudes + self.l2 * np.sum(np.square(x, out=t))

    def backward(self, graph: Graph, dy: Array) -> Any:
        x = self.saved
        dx: Array = graph.gradients(self)[0]
        np.sign(x, out=dx)
        np.multiply(dx, self.l1 * dy, out=dx)
        return np.add(dx, x * ((2.0 * self.l2) * dy), out=dx)


class L1(Configured):
    """l1 sum |w|: it drives many weights to zero."""

    def __init__(self, l1: float = 0.01):
        self.l1 = at_least(l1, 0, "l1", "L1")

    def __call__(self, x: Tensor) -> Tensor:
        return SumOfMagnitudes(self.l1)(x)


class L2(Configured):
    """l2 sum w^2: weight decay as a part of the loss. Note that there is no 1/2: the gradient is 2 l2 w."""

    def __init__(self, l2: float = 0.01):
        self.l2 = at_least(l2, 0, "l2", "L2")

    def __call__(self, x: Tensor) -> Tensor:
        return SumOfSquares(self.l2)(x)


class L1L2(Configured):
    """l1 sum |w| + l2 sum w^2"""

    def __init__(self, l1: float = 0.0, l2: float = 0.0):
        self.l1 = at_least(l1, 0, "l1", "L1L2")
        self.l2 = at_least(l2, 0, "l2", "L1L2")

    def __call__(self, x: Tensor) -> Tensor:
        return ElasticNet(self.l1, self.l2)(x)


def l1(l1: float = 0.01) -> L1:
    """Keras's short form of ``L1``."""
    return L1(l1)


def l2(l2: float = 0.01) -> L2:
    """Keras's short form of ``L2``."""
    return L2(l2)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Keras's short form of ``L1L2``, with other defaults."""
    return L1L2(l1, l2)


CLASSES: dict[str, Any] = {"L1": L1, "L2": L2, "L1L2": L1L2}
NAMES: dict[str, Callable[[], Regularizer]] = {"l1": l1, "l2": l2, "l1_l2": l1_l2, "l1l2": l1_l2}


def get(identifier: Any) -> Regularizer | None:
    """A regularizer from a name ("l2"), an object, a class, {"class": ..., "config": ...}, or None for none.

    Raises ValueError for a name that is not known, TypeError for what is none of these.
    """
    identifier = restore(identifier, CLASSES, "regularizer")
    if identifier is None:
        return None
    if isinstance(identifier, str):
        table = {**NAMES, **CLASSES}
        if identifier not in table:
            raise unknown("regularizer", identifier, NAMES)
        return table[identifier]()  # type: ignore[no-any-return]
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            f"a regularizer is a name such as 'l2', an object such as L2(1e-4), or a callable of a tensor; got "
            f"{identifier!r}"
        )
    return identifier  # type: ignore[no-any-return]


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
