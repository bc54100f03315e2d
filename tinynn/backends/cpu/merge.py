"""Merges on the CPU: sum and relu in one pass; both gradients in one pass."""

import numpy as np

from tinynn.backends.reference import merge as reference

from . import tasks
from .microkernel import make_load_ints
from .simd import BLOCK, entry_point
from .tasks import ENTRY
from .vectors import (
    at_least,
    broadcast,
    flush_denormals,
    load_part,
    restore_denormals,
    select_at_most,
    store_part,
)

LANES = BLOCK.lanes
FLOAT = 4
STRIP = 1 << 14
"""Numbers in a task."""
SERIAL_BELOW = 200_000
"""Numbers below which one thread is faster than telling others."""
load_job = make_load_ints(5)


@entry_point(ENTRY)
def relu_sum_tasks(first, last, job, work):
    a, b, y, _, size = load_job(job)
    zero, denormals = broadcast(0.0), flush_denormals()
    for i in range(first * STRIP, min(last * STRIP, size), LANES):
        p, lanes = i * FLOAT, size - i
        store_part(at_least(load_part(a + p, lanes) + load_part(b + p, lanes), zero), y + p, lanes)
    restore_denormals(denormals)


@entry_point(ENTRY)
def relu_sum_backward_tasks(first, last, job, work):
    da, db, dy, y, size = load_job(job)
    zero, denormals = broadcast(0.0), flush_denormals()
    for i in range(first * STRIP, min(last * STRIP, size), LANES):
        p, lanes = i * FLOAT, size - i
        gradient = select_at_most(load_part(y + p, lanes), zero, zero, load_part(dy + p, lanes))
        if da:
            store_part(gradient, da + p, lanes)
        if db:
            store_part(gradient, db + p, lanes)
    restore_denormals(denormals)


def relu_sum(y, a, b):
    """y = max(a + b, 0)"""
    if y.dtype != np.float32 or y.size == 0:
        reference.relu_sum(y, a, b)
        return
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    run(relu_sum_tasks(), y.size, a, b, y, None)


def relu_sum_backward(da, db, dy, y):
    """da = db = dy where y > 0, else 0"""
    if y.dtype != np.float32 or y.size == 0:
        reference.relu_sum_backward(da, db, dy, y)
        return
    dy = np.ascontiguousarray(dy)
    run(relu_sum_backward_tasks(), y.size, da, db, dy, y)


def run(function, size, *arrays):
    """The tasks, on arrays of so many numbers in a row; None for one that is not wanted."""
    job = np.array([*(0 if array is None else array.ctypes.data for array in arrays), size], np.int64)
    tasks.run(function, -(-size // STRIP), job, 0, serial=size < SERIAL_BELOW)
