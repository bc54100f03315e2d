"""Dense: y = activation(x W + b), x (N, I), W (I, O), b (O,), y (N, O)."""

from __future__ import annotations

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import activation as activations
from tinynn.typing import Array


def forward(y: Array, x: Array, W: Array, b: Array | None, activation: Activation) -> None:
    np.matmul(x, W, out=y)
    if b is not None:
        np.add(y, b, out=y)
    activations.forward(y, y, activation)


def backward(
    dx: Array | None,
    dW: Array | None,
    db: Array | None,
    dy: Array,
    x: Array,
    W: Array,
    y: Array,
    activation: Activation,
) -> None:
    activations.backward(dy, dy, None, y, activation)
    if dx is not None:
        np.matmul(dy, W.T, out=dx)
    if dW is not None:
        np.matmul(x.T, dy, out=dW)
    if db is not None:
        np.sum(dy, axis=0, out=db)
