"""Dense on the CPU: three products of our own, bias and relu inside the first.

Backward is one call: the gradient passes the relu while the bias sums it up, and the tiles of both products are the
tasks of one parallel region, so that no thread goes to sleep in between.
"""

import numpy as np
from numba import prange, types

from tinynn.activation import Activation

from . import activation as activations
from . import memory, threads
from .gemm import NUMBER, SERIAL_BELOW, SOURCE, TARGET, column_sums, gemm
from .microkernel import call_range
from .plan import FLOAT, PLAN_BYTES, WORK_STRIDE, make_plan
from .simd import compiled, with_signature
from .sums import SUM_FIELDS, make_sum_plan, piece_of, sum_tiles
from .tasks import do_tasks, start_counting, workspace
from .tiles import multiply_tiles

LINEAR, RELU = Activation.LINEAR, Activation.RELU
UNWANTED, UNWANTED_SUM = np.empty((0, 0), np.float32), np.empty(0, np.float32)
SUM = types.Array(types.float32, 1, "C", aligned=False)
BACKWARD = (TARGET, TARGET, SUM, TARGET, SOURCE, SOURCE, SOURCE, types.boolean, SUM, *[NUMBER] * 5)
PRODUCTS = 8 * SUM_FIELDS
"""Where the plans of the products begin."""


def forward(y, x, W, b, activation):
    """y = activation(x W + b)"""
    bias = None if b is None else np.ascontiguousarray(b)
    gemm(y, np.ascontiguousarray(x), np.ascontiguousarray(W), bias=bias, floor=activation is RELU)
    if activation is not LINEAR and activation is not RELU:
        activations.forward(y, y, activation)


def backward(dx, dW, db, dy, x, W, y, activation):
    """dz = dy activation'(y); dx = dz W', dW = x' dz, db = column sums of dz. dy is overwritten."""
    dy = np.ascontiguousarray(dy)
    size = x.size * dy.shape[1]
    if dy.itemsize != FLOAT or size == 0:
        backward_plain(dx, dW, db, dy, x, W, y, activation)
        return
    if activation is not LINEAR and activation is not RELU:
        activations.backward(dy, dy, None, y, activation)
    rows, columns = dy.shape
    piece = piece_of(rows)
    partial = UNWANTED_SUM if db is None or rows <= piece else memory.empty((-(-rows // piece) * columns,), np.float32)
    dx, dW, db = UNWANTED if dx is None else dx, UNWANTED if dW is None else dW, UNWANTED_SUM if db is None else db
    x, W, y = np.ascontiguousarray(x), np.ascontiguousarray(W), np.ascontiguousarray(y)
    arrays = dx, dW, db, dy, x, W, y, activation is RELU, partial
    if not threads.worth_it(size, SERIAL_BELOW):
        work = workspace.address(WORK_STRIDE)
        backward_serial()(*arrays, piece, sum_tiles(), multiply_tiles(), workspace.plan, work)
        return
    with threads.parallel_region():
        workers = threads.workers()
        work = workspace.address(workers * WORK_STRIDE)
        backward_parallel()(*arrays, piece, sum_tiles(), multiply_tiles(), workspace.plan, work, workers)


@compiled()
def plan_sums(db, dy, y, masked, partial, piece, plan):
    """The tasks of dz = dy relu'(y) and the sums of its pieces; their number, 0 where neither is wanted."""
    known, result = np.int64(0), np.int64(0)
    if masked:
        known = np.int64(y.ctypes.data)
    if db.size:
        result = np.int64(partial.ctypes.data) if partial.size else np.int64(db.ctypes.data)
    if known == 0 and result == 0:
        return 0
    return make_sum_plan(result, np.int64(FLOAT * dy.shape[1]), dy, known, piece, plan)


@compiled()
def add_pieces(db, partial, function, plan):
    """db = the sums of the pieces, in order."""
    if partial.size:
        rows = partial.reshape(partial.size // db.size, db.size)
        tiles = make_sum_plan(np.int64(db.ctypes.data), np.int64(0), rows, np.int64(0), np.int64(len(rows)), plan)
        call_range(function, 0, tiles, plan, 0)


@compiled()
def plan_products(dx, dW, dz, x, W, plan):
    """The tasks of dW = x' dz and dx = dz W', as far as they are wanted; their number."""
    yes, no, none = np.int64(1), np.int64(0), np.int64(0)
    tiles = 0
    if dW.size:
        tiles += make_plan(dW, x, dz, yes, no, none, no, no, plan)
        plan += PLAN_BYTES
    if dx.size:
        tiles += make_plan(dx, dz, W, no, yes, none, no, no, plan)
    return tiles


@with_signature(*BACKWARD)
@compiled()
def backward_serial(dx, dW, db, dy, x, W, y, masked, partial, piece, sums, products, plan, work):
    call_range(sums, 0, plan_sums(db, dy, y, masked, partial, piece, plan), plan, 0)
    add_pieces(db, partial, sums, plan)
    tiles = plan_products(dx, dW, dy, x, W, plan + PRODUCTS)
    call_range(products, 0, tiles, plan + PRODUCTS, work)


@with_signature(*BACKWARD, NUMBER)
@compiled(parallel=True)
def backward_parallel(dx, dW, db, dy, x, W, y, masked, partial, piece, sums, products, plan, work, workers):
    tiles = plan_sums(db, dy, y, masked, partial, piece, plan)
    counter = start_counting(plan)
    for worker in prange(workers):
        do_tasks(sums, tiles, plan, np.int64(worker), counter)
    add_pieces(db, partial, sums, plan)
    tiles = plan_products(dx, dW, dy, x, W, plan + PRODUCTS)
    counter = start_counting(plan)
    for worker in prange(workers):
        do_tasks(products, tiles, plan + PRODUCTS, work + np.int64(worker) * WORK_STRIDE, counter)


def backward_plain(dx, dW, db, dy, x, W, y, activation):
    """Float64 and empty products."""
    activations.backward(dy, dy, None, y, activation)
    if dx is not None:
        gemm(dx, dy, W, transpose_b=True)
    if dW is not None:
        gemm(dW, x, dy, transpose_a=True)
    if db is not None:
        column_sums(db, dy)
