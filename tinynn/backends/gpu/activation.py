"""Activations: y = f(x) and dx = dy f'(x), one pass over the numbers."""

from __future__ import annotations

from tinynn.activation import DEFAULT_ALPHA, Activation
from tinynn.backends.gpu.cuda import Source, contiguous, given
from tinynn.typing import Array

SOURCE = Source("activation", "activations")
NUMBER = {kind: number for number, kind in enumerate(Activation)}
"""What an activation is called in CUDA: ``enum Activation`` in activations.cuh, in the same order."""


def alpha_of(kind: Activation, alpha: float | None = None) -> float:
    """The slope or scale of a kind that has one: the default where None is given."""
    return float(DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else alpha)


def forward(y: Array, x: Array, kind: Activation, alpha: float | None = None) -> None:
    """y = f(x). y may be x."""
    if kind is Activation.LINEAR:
        if y is not x:
            y[...] = x
        return
    SOURCE.each("activation_forward", y.size, y, contiguous(x), NUMBER[kind], alpha_of(kind, alpha))


def backward(dx: Array, dy: Array, x: Array | None, y: Array, kind: Activation, alpha: float | None = None) -> None:
    """dx = dy f'(x). dx may be dy; x may be None for the kinds in ``activation.FUSED``."""
    if kind is Activation.LINEAR:
        if dx is not dy:
            dx[...] = dy
        return
    SOURCE.each(
        "activation_backward", y.size, dx, contiguous(dy), given(x), contiguous(y), NUMBER[kind], alpha_of(kind, alpha)
    )  # fmt: skip
