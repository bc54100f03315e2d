"""What conv2d.py needs beside products of matrices: groups of few channels, sums over blocks, and over outputs.

A convolution in groups of few channels (a depthwise one has one) moves more memory than it multiplies: a thread makes
one number by itself, and neighbouring threads have neighbouring channels.
"""

from __future__ import annotations

from functools import cache

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.cuda import Source, ceil_div, contiguous, power_of_two
from tinynn.typing import Array, Shape
from tinynn.window import Window

SOURCE = Source("conv2d_direct", "activations", "convolution")
SUM_THREADS = 256
WANTED_BLOCKS = 512
"""Of a sum over rows: about four for each multiprocessor of a large card."""
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
    add_parts(dW, parts, splits)


# -- sums ------------------------------------------------------------------------------------------------------------


def shares(n: int, wanted: int, least: int, unit: int = 1) -> tuple[int, int]:
    """(parts, the size of each but the last): about as many as wanted, none smaller than ``least``, cut at units."""
    parts = max(min(wanted, n // least, 65535), ceil_div(n, 1 << 30))  # places in a part have 32 bits
    share = ceil_div(ceil_div(n, parts), unit) * unit
    return ceil_div(n, share), share


def add_parts(out: Array, parts: Array, count: int) -> None:
    """out = the sum of ``count`` arrays of its size, in their order; nothing to do for one, which is out itself."""
    if count > 1:
        SOURCE.launch("add_parts", ceil_div(out.size, 32), 256, out, parts, count, out.size)


def column_sums(db: Array, dz: Array, y: Array | None, kind: Activation) -> None:
    """db = sum over n, i, j of dz; before that dz *= f'(y) in place, unless y is None."""
    O = db.size
    rows, width = dz.size // O, power_of_two(O, 1, 128)
    chunks = ceil_div(O, width)
    blocks, share = shares(rows, ceil_div(WANTED_BLOCKS, chunks), 8 * SUM_THREADS // width)
    parts = db if blocks == 1 else cuda.cupy.empty((blocks, O), db.dtype)
    y = None if y is None else contiguous(y)
    args = parts, dz, y, NUMBER[kind], alpha_of(kind), rows, O, share, width
    SOURCE.launch("column_sums", (blocks, chunks), SUM_THREADS, *args)
    add_parts(db, parts, blocks)
