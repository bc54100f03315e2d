"""Conv2D by a matrix that is written down: each row of it is what an output sees; the product is cuBLAS's.

It takes KH KW / (strides) times the memory of the images, some of them at a time. conv2d.py turns to it for images of
2^30 numbers and more, whose places its own kernels do not count; it is also the check on them.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.gpu import activation as activations
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.conv2d_direct import Numbers, geometry
from tinynn.backends.gpu.cuda import Source
from tinynn.typing import Array
from tinynn.window import Window

SOURCE = Source("im2col", "activations", "convolution")
MOST_NUMBERS = 1 << 27
"""Of the matrix at a time, or one image's part of it."""


def forward(y: Array, x: Array, W: Array, b: Array | None, window: Window, groups: int, activation: Activation) -> None:
    """y = activation(b + columns W), for each group"""
    o = y.shape[3] // groups
    for images, sizes in batches(x, y, W, window, groups):
        columns = im2col(x[images], y[images], W, groups, sizes)
        for g in range(groups):
            part = slice(g * o, (g + 1) * o)
            product = matmul(columns[g], matrix(W, part))
            y[images][..., part] = product.reshape(*y[images].shape[:3], o)
    if b is not None:
        np.add(y, b, out=y)
    activations.forward(y, y, activation)


def backward(dx: Array | None, dW: Array | None, dz: Array, x: Array, W: Array, window: Window, groups: int) -> None:
    """dW = columns^T dz, dcolumns = dz W^T, for each group"""
    o = dz.shape[3] // groups
    if dW is not None:
        dW[...] = 0
    for images, sizes in batches(x, dz, W, window, groups):
        columns = im2col(x[images], dz[images], W, groups, sizes)
        for g in range(groups):
            part = slice(g * o, (g + 1) * o)
            rows = cuda.contiguous(dz[images][..., part]).reshape(-1, o)
            if dW is not None:
                dW[..., part] += matmul(columns[g].T, rows).reshape(*dW.shape[:3], o)
            if dx is not None:
                columns[g] = matmul(rows, matrix(W, part).T)
        if dx is not None:
            SOURCE.each("col2im", dx[images].size, dx[images], columns, *sizes)


def batches(x: Array, y: Array, W: Array, window: Window, groups: int) -> Iterator[tuple[slice, Numbers]]:
    """Images whose part of the matrix fits, and the sizes of a convolution of these."""
    N, *image = x.shape
    of_image = max(y.size // N * (W.size // W.shape[3]) * groups // y.shape[3], 1)
    step = max(MOST_NUMBERS // of_image, 1)
    for n in range(0, N, step):
        yield slice(n, n + step), geometry((min(step, N - n), *image), W.shape, window, groups)


def im2col(x: Array, y: Array, W: Array, groups: int, sizes: Numbers) -> Array:
    """(groups, N OH OW, KH KW C / groups)"""
    columns = cuda.cupy.empty((groups, y.size // y.shape[3], W.size // W.shape[3]), x.dtype)
    SOURCE.each("im2col", columns.size, columns, x, *sizes)
    return columns


def matrix(W: Array, outputs: slice) -> Array:
    """The weights of a group, (KH KW C / groups, its outputs)."""
    return W.reshape(-1, W.shape[3])[:, outputs]
