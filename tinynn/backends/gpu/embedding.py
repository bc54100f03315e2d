"""Rows of a table: y[m] = W[ids[m]];  W (V, D), ids (M,) of integers in range, y (M, D).

The gradient's sums are in the order of m, and beside dW only M places are kept: the places are sorted by id, 8 bits a
pass, so a vocabulary of up to 65536 words takes two passes.
"""

from __future__ import annotations

from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.cuda import THREADS, Source, ceil_div, contiguous, power_of_two
from tinynn.typing import Array

SOURCE = Source("embedding", "packs")
BITS, DIGITS, TILE = 8, 256, 4096
"""Of a pass of the sort: what a digit has, how many digits there are, how many places a block sorts."""
WARPS, PLACES, COLUMNS = 8, 8, 32
"""Of a block that adds up rows; of one of its warps."""
MOST_ROWS, MOST_STRIPS = 65536, 65535
"""Blocks of a launch; what is beyond them is done by the same blocks."""


def forward(y: Array, W: Array, ids: Array) -> None:
    """y[m] = W[ids[m]]"""
    M, D = y.shape
    if M * D:
        piece = 16 // y.dtype.itemsize
        across = power_of_two(D // piece if D % piece == 0 else D, 1, THREADS)
        blocks = min(ceil_div(M, THREADS // across), MOST_ROWS)
        SOURCE.launch("gather", blocks, THREADS, y, contiguous(W), as_int32(ids), M, D, across)


def backward(dW: Array, dy: Array, ids: Array) -> None:
    """dW[v] = sum of dy[m] over ids[m] == v, in the order of m"""
    dW.fill(0)
    M, D = dy.shape
    if M * D:
        ids = as_int32(ids)
        order = sorted_places(ids, dW)
        blocks = ceil_div(M, WARPS * PLACES), min(ceil_div(D, COLUMNS), MOST_STRIPS)
        SOURCE.launch("add_runs", blocks, THREADS, dW, contiguous(dy), ids, order, M, D)


def sorted_places(ids: Array, dW: Array) -> Array:
    """The places 0 .. M-1, sorted by their ids; those of equal ids stay in their order."""
    M = ids.shape[0]
    tiles = ceil_div(M, TILE)
    counts = None if tiles == 1 else cuda.cupy.empty((tiles, DIGITS), "int32")
    order, spare = None, cuda.cupy.empty(M, "int64")
    for shift in range(0, max((dW.shape[0] - 1).bit_length(), 1), BITS):
        if counts is not None:
            SOURCE.launch("count_digits", tiles, THREADS, dW, counts, ids, order, M, shift)
        SOURCE.launch("sort_digits", tiles, THREADS, dW, spare, order, ids, counts, M, shift)
        order, spare = spare, cuda.cupy.empty(M, "int64") if order is None else order
    return order


def as_int32(ids: Array) -> Array:
    return contiguous(ids.astype("int32", copy=False))
