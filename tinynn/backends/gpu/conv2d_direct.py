"""Convolutions that are no products of matrices, which conv2d.py turns to: a thread makes one number by itself.

A convolution in groups of few channels (a depthwise one has one) moves more memory than it multiplies;
neighbouring threads have neighbouring channels.
"""

from __future__ import annotations

from functools import cache

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.columns import column_sums
from tinynn.backends.gpu.cuda import Source, ceil_div
from tinynn.typing import Array, Shape
from tinynn.window import Window

SOURCE = Source("conv2d_direct", "activations", "convolution")
WANTED_THREADS = 1 << 18
LEAST_OUTPUTS = 64
"""That a thread adds up in a weight gradient."""

Numbers = tuple[int, ...]


@cache
def geometry(x_shape: Shape, W_shape: Shape, window: Window, groups: int) -> Numbers:
    """GEOMETRY of convolution.cuh, for a launch."""
    (top, _), (left, _) = window.padding
    OH, OW = window.output(x_shape[1], x_shape[2])
    return *x_shape, OH, OW, W_shape[3], *window.size, *window.strides, *window.dilation, top, left, groups


def forward(y: Array, x: Array, W: Array, b: Array | None, kind: Activation, sizes: Numbers) -> None:
    SOURCE.each("direct_forward", y.size, y, x, W, b, NUMBER[kind], alpha_of(kind), *sizes)


def inputs(dx: Array, dz: Array, W: Array, sizes: Numbers) -> None:
    SOURCE.each("direct_inputs", dx.size, dx, dz, W, *sizes)


def weights(dW: Array, x: Array, dz: Array, sizes: Numbers) -> None:
    outputs = dz.size // dz.shape[3]
    splits, share = shares(outputs, ceil_div(WANTED_THREADS, dW.size), LEAST_OUTPUTS)
    parts = dW if splits == 1 else cuda.cupy.empty((splits, dW.size), dW.dtype)
    SOURCE.each("direct_weights", splits * dW.size, parts, x, dz, share, *sizes)
    if splits > 1:
        column_sums(dW, parts)


def shares(n: int, wanted: int, least: int, unit: int = 1) -> tuple[int, int]:
    """(parts, the size of each but the last): about as many as wanted, none smaller than ``least``, cut at units."""
    parts = max(min(wanted, n // least, 65535), ceil_div(n, 1 << 30))  # places in a part have 32 bits
    share = ceil_div(ceil_div(n, parts), unit) * unit
    return ceil_div(n, share), share
