"""Activations: y = f(x) and dx = dy f'(x), side by side. The in-place forms y is x and dx is dy are allowed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinynn.activation import DEFAULT_ALPHA, Activation
from tinynn.typing import Array

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al., "Self-normalizing neural networks", 2017: the fixed point of mean 0 and variance 1."""


def linear(y: Array, x: Array, alpha: float) -> None:
    if y is not x:
        y[...] = x


def linear_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    if dx is not dy:
        dx[...] = dy


def relu(y: Array, x: Array, alpha: float) -> None:
    """max(x, 0)"""
    np.maximum(x, 0, out=y)


def relu_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    np.multiply(dy, y > 0, out=dx)


def leaky_relu(y: Array, x: Array, alpha: float) -> None:
    """x for x > 0, else alpha x"""
    y[...] = np.where(x > 0, x, alpha * x)


def leaky_relu_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    dx[...] = np.where(y > 0, dy, alpha * dy)


def elu(y: Array, x: Array, alpha: float) -> None:
    """x for x > 0, else alpha (exp(x) - 1)"""
    y[...] = np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    """f' = 1 for x > 0, else alpha exp(x) = y + alpha"""
    dx[...] = np.where(y > 0, dy, dy * (y + alpha))


def selu(y: Array, x: Array, alpha: float) -> None:
    """scale (x for x > 0, else a (exp(x) - 1))"""
    y[...] = SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0)))


def selu_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    dx[...] = np.where(y > 0, SELU_SCALE * dy, dy * (y + SELU_SCALE * SELU_ALPHA))
