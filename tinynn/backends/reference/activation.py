"""Activations: y = f(x) and dx = dy f'(x), side by side. The in-place forms y is x and dx is dy are allowed.

A derivative is found from y where that is possible, else from x. At a kink it is the smaller one: relu'(0) = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinynn.activation import DEFAULT_ALPHA, Activation
from tinynn.typing import Array

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al., "Self-normalizing neural networks", 2017: the fixed point of mean 0 and variance 1."""


def forward(y: Array, x: Array, kind: Activation, alpha: float | None = None) -> None:
    """y = f(x). alpha is the slope of leaky relu (not negative) or the scale of elu; None for the default."""
    FUNCTIONS[kind][0](y, x, DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else alpha)


def backward(dx: Array, dy: Array, x: Array | None, y: Array, kind: Activation, alpha: float | None = None) -> None:
    """dx = dy f'(x). x may be None for the kinds in ``activation.FUSED``."""
    FUNCTIONS[kind][1](dx, dy, x, y, DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else alpha)


# -- one activation after the other ----------------------------------------------------------------------------------


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
    dx[...] = np.where(y <= 0, 0, dy)


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


def gelu(y: Array, x: Array, alpha: float) -> None:
    """x Phi(x), where Phi(x) = (1 + erf(x / sqrt 2)) / 2 is the normal distribution: the exact form, not tanh's."""
    y[...] = x * normal_cdf(x)


def gelu_backward(dx: Array, dy: Array, x: Array, y: Array, alpha: float) -> None:
    """f' = Phi(x) + x exp(-x^2 / 2) / sqrt(2 pi)"""
    density = np.exp(-0.5 * np.square(x)) * (1 / math.sqrt(2 * math.pi))
    dx[...] = dy * (normal_cdf(x) + x * density)


def sigmoid(y: Array, x: Array, alpha: float) -> None:
    """1 / (1 + exp(-x)), with exp of negative numbers only: nothing overflows, small values keep their digits"""
    e = np.exp(-np.absolute(x))
    y[...] = np.where(x < 0, e, 1) / (1 + e)


def sigmoid_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    """f' = y (1 - y)"""
    np.multiply(dy, y * (1 - y), out=dx)


def tanh(y: Array, x: Array, alpha: float) -> None:
    np.tanh(x, out=y)


def tanh_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    """f' = 1 - y^2"""
    np.multiply(dy, 1 - y * y, out=dx)


def softplus(y: Array, x: Array, alpha: float) -> None:
    """log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))"""
    y[...] = np.maximum(x, 0) + np.log1p(np.exp(-np.absolute(x)))


def softplus_backward(dx: Array, dy: Array, x: Array, y: Array, alpha: float) -> None:
    """f' = sigmoid(x)"""
    slope = np.empty_like(x)
    sigmoid(slope, x, alpha)
    np.multiply(dy, slope, out=dx)


def softsign(y: Array, x: Array, alpha: float) -> None:
    """x / (1 + |x|)"""
    np.divide(x, 1 + np.absolute(x), out=y)


def softsign_backward(dx: Array, dy: Array, x: Array, y: Array, alpha: float) -> None:
    """f' = 1 / (1 + |x|)^2"""
    np.divide(dy, np.square(1 + np.absolute(x)), out=dx)


def swish(y: Array, x: Array, alpha: float) -> None:
    """x sigmoid(x)"""
    s = np.empty_like(x)
    sigmoid(s, x, alpha)
    np.multiply(x, s, out=y)


def swish_backward(dx: Array, dy: Array, x: Array, y: Array, alpha: float) -> None:
    """With s = sigmoid(x): f' = s + x s (1 - s)"""
    s = np.empty_like(x)
    sigmoid(s, x, alpha)
    np.multiply(dy, s * (1 + x * (1 - s)), out=dx)


def hard_sigmoid(y: Array, x: Array, alpha: float) -> None:
    """min(max(x + 3, 0), 6) / 6, as Keras 3 has it (Keras 1 and 2: 0.2 x + 0.5, cut to 0..1)"""
    np.divide(np.minimum(np.maximum(x + 3, 0), 6), 6, out=y)


def hard_sigmoid_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    """f' = 1/6 for -3 < x < 3, else 0"""
    dx[...] = np.where((y <= 0) | (y >= 1), 0, dy / 6)


def exponential(y: Array, x: Array, alpha: float) -> None:
    """exp(x)"""
    np.exp(x, out=y)


def exponential_backward(dx: Array, dy: Array, x: Array | None, y: Array, alpha: float) -> None:
    np.multiply(dy, y, out=dx)


FUNCTIONS: dict[Activation, tuple[Callable[..., None], Callable[..., None]]] = {
    Activation.LINEAR: (linear, linear_backward),
    Activation.RELU: (relu, relu_backward),
    Activation.LEAKY_RELU: (leaky_relu, leaky_relu_backward),
    Activation.ELU: (elu, elu_backward),
    Activation.SELU: (selu, selu_backward),
    Activation.GELU: (gelu, gelu_backward),
    Activation.SIGMOID: (sigmoid, sigmoid_backward),
    Activation.TANH: (tanh, tanh_backward),
    Activation.SOFTPLUS: (softplus, softplus_backward),
    Activation.SOFTSIGN: (softsign, softsign_backward),
    Activation.SWISH: (swish, swish_backward),
    Activation.HARD_SIGMOID: (hard_sigmoid, hard_sigmoid_backward),
    Activation.EXPONENTIAL: (exponential, exponential_backward),
}


# -- the error function, which NumPy does not have -------------------------------------------------------------------

# W. J. Cody, "Rational Chebyshev approximations for the error function", Math. Comp. 23 (1969), 631-637, with the
# coefficients of his CALERF: erf(x) = x NEAR(x^2) for |x| < 0.46875, erfc(x) = exp(-x^2) FAR(x) from there to 4. Beyond
# 4, erfc is below 2e-8, and FAR is still good enough for all digits of erf = 1 - erfc.
NEAR_P = (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
          3.20937758913846947e3)  # fmt: skip
NEAR_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
FAR_P = (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
         2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
         1.23033935479799725e3)  # fmt: skip
FAR_Q = (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
         3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3)  # fmt: skip


def polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Horner's scheme, the highest power first."""
    result = coefficients[0] * x + coefficients[1]
    for c in coefficients[2:]:
        result = result * x + c
    return result


def erf(x: Array) -> Array:
    """The error function 2 / sqrt(pi) integral_0^x exp(-t^2) dt, to the last digits of float64."""
    size = np.minimum(np.absolute(x), 6)  # erf(6) is 1 to 17 digits; NaN stays NaN
    small = np.minimum(size, 0.5)
    near = small * polynomial(NEAR_P, small * small) / polynomial(NEAR_Q, small * small)
    far = 1 - np.exp(-size * size) * (polynomial(FAR_P, size) / polynomial(FAR_Q, size))
    return np.copysign(np.where(size < 0.46875, near, far), x)


def normal_cdf(x: Array) -> Array:
    """The share of a standard normal variable that lies below x."""
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))
