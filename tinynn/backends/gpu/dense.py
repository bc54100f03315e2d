"""Dense: y = activation(x W + b), x (N, I), W (I, O), b (O,), y (N, O).

Products are cuBLAS's (blas.py), exact in float32 and float64. Few rows or columns, down to one, are its too: it has
matrix-vector kernels for these.
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.gpu import activation as activations
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.columns import column_sums
from tinynn.backends.gpu.cuda import Source, aligned, given
from tinynn.typing import Array

LINEAR = Activation.LINEAR
SOURCE = Source("dense", "activations", "packs")


def forward(y: Array, x: Array, W: Array, b: Array | None, activation: Activation) -> None:
    """y = activation(x W + b): the product, then bias and activation in place, in one kernel"""
    matmul(x, W, out=y)
    if y.size and not (b is None and activation is LINEAR):
        constants = NUMBER[activation], alpha_of(activation), y.shape[1]
        SOURCE.by_fours("bias_activation", y.size, y, given(b), *constants)


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
    """dz = dy activation'(y) in place of dy; dx = dz W', dW = x' dz, db = column sums of dz"""
    dz = aligned(dy)
    if db is not None:
        column_sums(db, dz, y, activation)
    else:
        activations.backward(dz, dz, None, y, activation)
    if dx is not None:
        matmul(dz, W.T, out=dx)
    if dW is not None:
        matmul(x.T, dz, out=dW)
