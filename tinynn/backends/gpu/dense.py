"""Dense: y = activation(x W + b), x (N, I), W (I, O), b (O,), y (N, O).

Products are cuBLAS's (blas.py), exact in float32 and float64. Few rows or columns, down to one, are its too: it has
matrix-vector kernels for these.
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.gpu import activation as activations
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.cuda import MOST_BLOCKS, THREADS, Source, ceil_div, contiguous, power_of_two
from tinynn.typing import Array

LINEAR = Activation.LINEAR
SOURCE = Source("dense", "activations", "packs")
ROWS = 16
"""That a thread adds up at least, before there are several parts."""
MOST_BLOCKS_OF_SUMS, MOST_PARTS = 2048, 512
"""Enough for every card; more parts would only make the second kernel longer."""


def forward(y: Array, x: Array, W: Array, b: Array | None, activation: Activation) -> None:
    """y = activation(x W + b): the product, then bias and activation in place, in one kernel"""
    matmul(x, W, out=y)
    if y.size and not (b is None and activation is LINEAR):
        b = None if b is None else contiguous(b)
        blocks = min(ceil_div(y.size, 4 * THREADS), MOST_BLOCKS)
        constants = NUMBER[activation], alpha_of(activation), y.shape[1], y.size
        SOURCE.launch("bias_activation", blocks, THREADS, y, b, *constants)


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
    dz = contiguous(dy)
    if db is not None:
        bias_backward(db, dz, y, activation)
    else:
        activations.backward(dz, dz, None, y, activation)
    if dx is not None:
        matmul(dz, W.T, out=dx)
    if dW is not None:
        matmul(x.T, dz, out=dW)


def bias_backward(db: Array, dy: Array, y: Array, activation: Activation) -> None:
    """dy *= activation'(y) in place, and db (N,) = its column sums; dy, y (M, N), dy contiguous.

    The rows are cut into parts, which a second launch adds up; where they are few there is one part, and no second
    launch. The cut follows from the shape, so a sum's bytes do.
    """
    M, N = dy.shape
    if N == 0:
        return
    width = power_of_two(N, 1, 32)
    down, strips = THREADS // width, ceil_div(N, width)
    parts = 1
    if ceil_div(M, down) > 2 * ROWS:
        parts = min(ceil_div(M, ROWS * down), max(MOST_BLOCKS_OF_SUMS // strips, 1), MOST_PARTS)
    rows = max(ceil_div(M, parts), 1)
    parts = max(ceil_div(M, rows), 1)
    sums = db if parts == 1 else cuda.cupy.empty((parts, N), dy.dtype)
    f = None if activation is LINEAR else contiguous(y)
    constants = NUMBER[activation], alpha_of(activation)
    SOURCE.launch("column_sums", (strips, parts), THREADS, sums, dy, f, *constants, rows, M, N, width)
    if parts > 1:
        SOURCE.launch("column_sums", (strips, 1), THREADS, db, sums, None, NUMBER[LINEAR], 0.0, parts, parts, N, width)
