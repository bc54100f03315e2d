"""Dense: y = activation(x W + b), x (N, I), W (I, O), b (O,), y (N, O)."""

from __future__ import annotations

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import activation as activations
from tinynn.typing import Array


def forward(y: Array, x: Array, W: Array, b: Array | None, activation: Activation) -> None:
    """y = activation(x W + b), written step by step into y."""
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
    """With z = x W + b and y = f(z):

    dz = dy f'(z)          (N, O), the derivative written by y, which is all that is kept
    dx = dz W^T            (N, I)
    dW = x^T dz            (I, O), the sum over the rows of the batch
    db = sum over n of dz  (O,)

    dz takes the place of dy, which is ours to overwrite.
    """
    dz = dy
    activations.backward(dz, dy, None, y, activation)
    if dx is not None:
        np.matmul(dz, W.T, out=dx)
    if dW is not None:
        np.matmul(x.T, dz, out=dW)
    if db is not None:
        np.sum(dz, axis=0, out=db)
