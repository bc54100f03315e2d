"""Conv2D: x (N, H, W, C), W (KH, KW, C / groups, O), b (O,), y (N, OH, OW, O).

Which kernels for which shape:

    groups of few channels          conv2d_direct.cu: a thread makes one number
    images of 2^30 numbers          im2col.py: the matrix written down, and cuBLAS; for all with TINYNN_CONV2D=im2col
    all else                        conv2d.cu: tiles of a product of matrices, the large one never stored (implicit
                                    GEMM); float32 on tensor cores in TF32 where ``fast`` admits it, exact otherwise

All follows from the shape alone, and so do the bytes of the results.
"""

from __future__ import annotations

import math
import os
from functools import cache
from typing import NamedTuple

from tinynn.activation import Activation
from tinynn.backends.gpu import activation as activations
from tinynn.backends.gpu import conv2d_direct as direct
from tinynn.backends.gpu import cuda, im2col
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.columns import column_sums
from tinynn.backends.gpu.conv2d_direct import Numbers, geometry, shares
from tinynn.backends.gpu.cuda import Source, aligned, ceil_div, given
from tinynn.typing import Array, Shape
from tinynn.window import Window

WRITTEN_DOWN = os.environ.get("TINYNN_CONV2D") == "im2col"
FUSED = (Activation.LINEAR, Activation.RELU, Activation.LEAKY_RELU, Activation.TANH)
FEW_CHANNELS = 8
"""Of a group, in or out: half of a tile's columns would stand empty."""
LARGE = 1 << 30
"""Numbers whose places 32 bits count, with room for those in the padding."""
ENOUGH_BLOCKS = 256
"""About two for each multiprocessor of a large card (132)."""
LEAST_OUTPUTS = 256
"""That a block adds up in a weight gradient: the parts are to be few beside what they are made of."""

# -- tiles -----------------------------------------------------------------------------------------------------------


class Tile(NamedTuple):
    """How a block makes its part of the product: products.cuh.

    down, across: the warps (tensor cores) or threads (exact) that share it; vector: how many numbers are copied at once
    """

    rows: int
    columns: int
    down: int
    across: int
    vector: int
    exact: bool

    @property
    def threads(self) -> int:
        return self.down * self.across * (1 if self.exact else 32)

    def blocks(self, rows: int, columns: int) -> int:
        return ceil_div(rows, self.rows) * ceil_div(columns, self.columns)


TENSOR_CORES = [
    Tile(128, 128, 2, 4, 4, False), Tile(128, 64, 4, 2, 4, False), Tile(128, 32, 4, 1, 4, False),
    Tile(128, 16, 4, 1, 4, False), Tile(64, 64, 2, 2, 4, False), Tile(64, 32, 2, 2, 4, False),
    Tile(64, 16, 4, 1, 4, False),
    Tile(128, 64, 4, 2, 1, False), Tile(128, 16, 8, 1, 1, False), Tile(64, 64, 2, 2, 1, False),
    Tile(64, 16, 4, 1, 1, False),
]  # fmt: skip
NINE_TAPS = [Tile(144, 32, 9, 1, 4, False), Tile(144, 16, 9, 1, 4, False)]
"""For weight gradients alone: the rows of a window of 3 x 3 on 16 channels, without a rest."""
EXACT = [Tile(128, 64, 16, 8, vector, True) for vector in (4, 1)]
EXACT += [Tile(128, 16, 32, 4, vector, True) for vector in (4, 1)]
TILES = TENSOR_CORES + NINE_TAPS + EXACT


@cache
def source(tile: Tile) -> Source:
    """The kernels with that tile: compiled when one of them is first used."""
    options = [f"-DTILE_{name.upper()}={getattr(tile, name)}" for name in ("rows", "columns", "down", "across")]
    options += [f"-DVECTOR={tile.vector}", *(() if tile.exact else ("-DTENSOR_CORES",))]
    return Source("conv2d", "activations", "tensorcores", "convolution", "products", options=tuple(options))


SOURCE = source(EXACT[0])
"""One of them, which the tests find that compile every source; the others are compiled by tests/test_gpu_conv2d.py."""


@cache
def tile_for(rows: int, columns: int, groups: int, vector: int, exact: bool) -> Tile:
    """Of the right width the largest tile that gives enough blocks; else the smallest."""
    choices = [tile for tile in (EXACT if exact else TENSOR_CORES) if tile.vector == vector]
    width = width_for(columns, choices)
    narrower = [tile for tile in choices if tile.columns == width or (32 <= tile.columns < width and tile.rows == 64)]
    for tile in sorted(narrower, key=lambda tile: -tile.rows * tile.columns):
        if groups * tile.blocks(rows, columns) >= ENOUGH_BLOCKS:
            break
    return tile


@cache
def weights_tile(rows: int, columns: int, vector: int, exact: bool) -> Tile:
    """Of the right width the tile that wastes the fewest rows; the depth is split as well, so blocks are never few."""
    choices = [tile for tile in (EXACT if exact else TENSOR_CORES + NINE_TAPS) if tile.vector == vector]
    width = width_for(columns, choices)
    return min((tile for tile in choices if tile.columns == width), key=lambda tile: (-rows % tile.rows, -tile.rows))


def width_for(columns: int, choices: list[Tile]) -> int:
    """Columns of a tile, so that the numbers read by all tiles across, 128 rows and the columns each, are fewest."""
    return min({tile.columns for tile in choices}, key=lambda width: (ceil_div(columns, width) * (128 + width), width))


# -- the contract ----------------------------------------------------------------------------------------------------


def forward(
    y: Array,
    x: Array,
    W: Array,
    b: Array | None,
    window: Window,
    groups: int,
    activation: Activation,
    fast: bool,
) -> None:
    """y = activation(b + sum over u, v, c of x[n, i s + u d - top, j s + v d - left, c] W[u, v, c, o])"""
    if not y.size:
        return
    x, W, b = aligned(x), aligned(W), given(b)
    sizes = geometry(x.shape, W.shape, window, groups)
    inside = activation if activation in FUSED else Activation.LINEAR
    if written_down(x.shape, y.shape, W.shape):
        im2col.forward(y, x, W, b, window, groups, inside)
    elif few_channels(W.shape, groups):
        direct.forward(y, x, W, b, inside, sizes)
    else:
        c, o = W.shape[2], W.shape[3] // groups
        rows = y.size // y.shape[3]
        tile = tile_for(rows, o, groups, vector_for(c, o), is_exact(y, fast))
        grid = tile.blocks(rows, o), groups
        args = y, x, W, b, NUMBER[inside], alpha_of(inside), *sizes
        source(tile).launch("conv2d_forward", grid, tile.threads, *args)
    if inside is not activation:
        activations.forward(y, y, activation)


def backward(
    dx: Array | None,
    dW: Array | None,
    db: Array | None,
    dy: Array,
    x: Array,
    W: Array,
    y: Array,
    window: Window,
    groups: int,
    activation: Activation,
    fast: bool,
) -> None:
    """dz = dy activation'(y), in the place of dy; then

    dx[n, h, w, c] = sum over u, v, o of dz[n, (h + top - u d) / s, (w + left - v d) / s, o] W[u, v, c, o]
    dW[u, v, c, o] = sum over n, i, j of x[n, i s + u d - top, j s + v d - left, c] dz[n, i, j, o]
    db[o] = sum over n, i, j of dz[n, i, j, o]
    """
    if not y.size:
        for gradient in (dx, dW, db):
            if gradient is not None:
                gradient[...] = 0
        return
    dz, x, W = aligned(dy), aligned(x), aligned(W)
    if db is not None:
        column_sums(db, dz, y, activation)
    else:
        activations.backward(dz, dz, None, y, activation)
    if written_down(x.shape, y.shape, W.shape):
        im2col.backward(dx, dW, dz, x, W, window, groups)
        return
    sizes = geometry(x.shape, W.shape, window, groups)
    if few_channels(W.shape, groups):
        if dx is not None:
            direct.inputs(dx, dz, W, sizes)
        if dW is not None:
            direct.weights(dW, x, dz, sizes)
        return
    exact = is_exact(y, fast)
    if dx is not None:
        inputs(dx, dz, W, window, groups, sizes, exact)
    if dW is not None:
        weights(dW, x, dz, groups, sizes, exact)


def inputs(dx: Array, dz: Array, W: Array, window: Window, groups: int, sizes: Numbers, exact: bool) -> None:
    """dx. Inputs that the window's taps hit alike (a phase: every s-th row and column) share blocks."""
    N, H, columns, C = dx.shape
    c, o = C // groups, W.shape[3] // groups
    down, right = min(window.strides[0], H), min(window.strides[1], columns)
    rows = N * ceil_div(H, down) * ceil_div(columns, right)
    tile = tile_for(rows, c, groups * down * right, vector_for(c, o), exact)
    grid = tile.blocks(rows, c), groups, down * right
    source(tile).launch("conv2d_inputs", grid, tile.threads, dx, dz, W, *sizes)


def weights(dW: Array, x: Array, dz: Array, groups: int, sizes: Numbers, exact: bool) -> None:
    """dW, the outputs split over blocks; the parts are added in their order."""
    c, o = dW.shape[2], dW.shape[3] // groups
    rows = dW.size // dW.shape[3]
    tile = weights_tile(rows, o, vector_for(c, o), exact)
    blocks = tile.blocks(rows, o)
    wanted = ENOUGH_BLOCKS * (2 if tile.threads <= 128 else 1)
    splits, share = shares(dz.size // dz.shape[3], ceil_div(wanted, blocks * groups), LEAST_OUTPUTS, unit=16)
    parts = dW if splits == 1 else cuda.cupy.empty((splits, dW.size), dW.dtype)
    grid = blocks, groups, splits
    source(tile).launch("conv2d_weights", grid, tile.threads, parts, x, dz, share, *sizes)
    if splits > 1:
        column_sums(dW, parts)


# -- questions to the shape ------------------------------------------------------------------------------------------


def written_down(x_shape: Shape, y_shape: Shape, W_shape: Shape) -> bool:
    """Whether the matrix is to be stored: an image or W is too large for places of 32 bits, or the user asks for it."""
    return WRITTEN_DOWN or max(map(math.prod, (x_shape[1:], y_shape[1:], W_shape))) >= LARGE


def few_channels(W_shape: Shape, groups: int) -> bool:
    return groups > 1 and min(W_shape[2], W_shape[3] // groups) <= FEW_CHANNELS


def vector_for(c: int, o: int) -> int:
    """How many channels, in and out, are neighbours at addresses that 16 bytes may be read from."""
    return 4 if c % 4 == 0 and o % 4 == 0 else 1


def is_exact(y: Array, fast: bool) -> bool:
    return not fast or y.dtype.char != "f" or not cuda.tensor_cores()
