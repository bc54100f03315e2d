"""Products and sums over rows as the other kernels call them; the work is done in tiles.py and sums.py.

Two entries each, for one thread and for several: a plan is written, then its tasks are done.
"""

import numpy as np
from numba import prange, types

from . import memory, threads
from .microkernel import call_range
from .plan import FLOAT, WORK_STRIDE, make_plan
from .simd import compiled, with_signature
from .sums import make_sum_plan, piece_of, sum_tiles
from .tasks import do_tasks, start_counting, workspace
from .tiles import multiply_tiles

SERIAL_BELOW = 1_000_000
"""Multiply-adds below which the start of a parallel region costs more than it gives."""
SUM_SERIAL_BELOW = 100_000
"""Numbers below which a sum over rows is done by one thread."""

NO_BIAS = np.zeros(0, np.float32)

# One signature for all layouts: see `with_signature`.
TARGET = types.Array(types.float32, 2, "A", aligned=False)
SOURCE = types.Array(types.float32, 2, "A", readonly=True, aligned=False)
BIAS = types.Array(types.float32, 1, "C", readonly=True, aligned=False)
DOUBLES = types.Array(types.float64, 2, "A", readonly=True)
DOUBLES_SIDE_BY_SIDE = types.Array(types.float64, 2, "C", readonly=True)
FLAG, NUMBER = types.boolean, types.int64
PRODUCT = (TARGET, SOURCE, SOURCE, FLAG, FLAG, BIAS, FLAG, FLAG, NUMBER, NUMBER, NUMBER)
SUMS = (TARGET, SOURCE, NUMBER, NUMBER, NUMBER)


@compiled()
def place_of(bias):
    """The address of a bias; 0 for an empty one."""
    return np.int64(bias.ctypes.data) if bias.size else np.int64(0)


@with_signature(*PRODUCT)
@compiled()
def gemm_serial(c, a, b, transpose_a, transpose_b, bias, accumulate, floor, function, plan, work):
    tiles = make_plan(c, a, b, transpose_a, transpose_b, place_of(bias), accumulate, floor, plan)
    call_range(function, 0, tiles, plan, work)


@with_signature(*PRODUCT, NUMBER)
@compiled(parallel=True)
def gemm_parallel(c, a, b, transpose_a, transpose_b, bias, accumulate, floor, function, plan, work, workers):
    tiles = make_plan(c, a, b, transpose_a, transpose_b, place_of(bias), accumulate, floor, plan)
    counter = start_counting(plan)
    for worker in prange(workers):
        do_tasks(function, tiles, plan, work + np.int64(worker) * WORK_STRIDE, counter)


@with_signature(types.float64[:, :], DOUBLES, DOUBLES_SIDE_BY_SIDE, types.float64[::1])
@compiled()
def gemm_double(c, a, b, row):
    """C += A B in float64, without vectors of our own: one row of C at a time, all of K in order."""
    m, n = c.shape
    for i in range(m):
        for j in range(n):
            row[j] = c[i, j]
        for k in range(a.shape[1]):
            x = a[i, k]
            for j in range(n):
                row[j] += x * b[k, j]
        for j in range(n):
            c[i, j] = row[j]


@with_signature(*SUMS)
@compiled()
def sums_serial(result, a, piece, function, plan):
    tiles = make_sum_plan(np.int64(result.ctypes.data), np.int64(result.strides[0]), a, np.int64(0), piece, plan)
    call_range(function, 0, tiles, plan, 0)


@with_signature(*SUMS, NUMBER)
@compiled(parallel=True)
def sums_parallel(result, a, piece, function, plan, workers):
    tiles = make_sum_plan(np.int64(result.ctypes.data), np.int64(result.strides[0]), a, np.int64(0), piece, plan)
    counter = start_counting(plan)
    for worker in prange(workers):
        do_tasks(function, tiles, plan, np.int64(worker), counter)


def gemm(c, a, b, transpose_a=False, transpose_b=False, bias=None, accumulate=False, floor=False) -> None:
    """C = op(A) op(B) (+ bias per column) (+ C), op(X) = X^T where asked for; with ``floor`` the larger of that and 0.

    c is (M, N), op(a) is (M, K), op(b) is (K, N), bias is (N,); all of one dtype, float32 or float64 (the latter
    slower: it is for checks). Rows side by side in memory are fast, with any distance from row to row; other
    strides are right, but may be slow. c must share no memory with a, b and bias. K = 0 gives sums of nothing.
    C has the same bytes for every number of threads. Without `transpose_a` a row of C also has the same bytes
    whatever the other rows are, and however many: a prediction does not depend on its batch.
    """
    m, n = c.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    size = m * n * k
    if size == 0 or c.itemsize != FLOAT:
        _gemm_plain(c, a.T if transpose_a else a, b.T if transpose_b else b, bias, accumulate, floor)
        return
    if bias is None:
        bias = NO_BIAS
    elif accumulate:  # the kernels take one addend
        c += bias
        bias = NO_BIAS
    space, function = workspace, multiply_tiles()
    if not threads.worth_it(size, SERIAL_BELOW):
        work = space.address(WORK_STRIDE)
        gemm_serial()(c, a, b, transpose_a, transpose_b, bias, accumulate, floor, function, space.plan, work)
        return
    with threads.parallel_region():
        workers = threads.workers()
        work = space.address(workers * WORK_STRIDE)
        gemm_parallel()(c, a, b, transpose_a, transpose_b, bias, accumulate, floor, function, space.plan, work, workers)


def _gemm_plain(c, a, b, bias, accumulate, floor) -> None:
    """Float64 and empty products."""
    if not accumulate:
        c[...] = 0
    if bias is not None:
        c += bias
    if c.size and b.size:
        gemm_double()(c, a, np.ascontiguousarray(b), np.empty(c.shape[1], c.dtype))
    if floor:
        np.maximum(c, 0, out=c)


def column_sums(out, a) -> None:
    """out[n] = sum over m of a[m, n]; a is (M, N) with rows side by side in memory, out is (N,), contiguous.

    The rows are cut into pieces by their number alone, pieces are summed side by side and their sums in order.
    """
    rows, columns = a.shape
    if rows * columns == 0 or a.itemsize != FLOAT:
        np.add.reduce(a, axis=0, out=out)
        return
    piece = piece_of(rows)
    pieces = -(-rows // piece)
    if pieces == 1:
        _sum_pieces(out.reshape(1, columns), a, piece)
        return
    partial = memory.empty((pieces, columns), np.float32)
    _sum_pieces(partial, a, piece)
    _sum_pieces(out.reshape(1, columns), partial, pieces)


def _sum_pieces(result, a, piece) -> None:
    """Row i of the result is the sum of the i-th `piece` rows of a."""
    if not threads.worth_it(a.size, SUM_SERIAL_BELOW):
        sums_serial()(result, a, piece, sum_tiles(), workspace.plan)
        return
    with threads.parallel_region():
        sums_parallel()(result, a, piece, sum_tiles(), workspace.plan, threads.workers())
