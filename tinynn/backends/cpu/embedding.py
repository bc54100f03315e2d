"""Rows of a table: gathered, and their gradients added up in the order in which they were read.

Gradients have two rounds of tasks. The first writes zeros, a task for some rows of the table. In the second a task owns
some columns and adds all of dy to them: however unequal the frequencies of words are, tasks are alike, and no two write
to one number. So the sums are in the order of m whoever does them. Float64, which is for checks, goes to NumPy.
"""

import numpy as np
from numba import types

from tinynn.backends.reference import embedding as reference

from . import tasks
from .images import FLOAT, LANES
from .microkernel import copy_bytes, make_load_ints, zero_bytes
from .simd import compiled, entry_point
from .tasks import ENTRY
from .vectors import (
    ADDRESS,
    INT32,
    flush_denormals,
    load,
    load_part,
    prefetch,
    restore_denormals,
    store,
    store_part,
    word,
)

PIECE = 1 << 14
"""Numbers that a task copies, or fills with zeros, at least."""
COLUMNS = 2 * LANES
"""Columns of a task."""
AHEAD = 8
"""Rows of the table that are on their way while one is worked on."""
SERIAL_BELOW = 100_000
"""Numbers below which one thread is faster than telling others."""
STEP = LANES * FLOAT
FIELDS = tasks.named("y W ids M D rows")
load_job = make_load_ints(len(FIELDS))


@word(types.int64, ADDRESS)
def load_number(v, address):
    """The int32 at an address."""
    builder = v.builder
    number = builder.load(builder.inttoptr(address, INT32.as_pointer()), align=4)
    return builder.sext(number, address.type)


@entry_point(ENTRY)
def gather_tasks(first, last, job, work):
    """y[m] = W[ids[m]]; a task is `rows` of y."""
    y, W, ids, M, D, rows = load_job(job)
    row, end = D * FLOAT, min(last * rows, M)
    for m in range(first * rows, end):
        prefetch(W + load_number(ids + 4 * min(m + AHEAD, end - 1)) * row)
        copy_bytes(W + load_number(ids + 4 * m) * row, y + m * row, row)


@entry_point(ENTRY)
def zero_tasks(first, last, job, work):
    """dW = 0; a task is `rows` of the table, of which there are M."""
    W, _, _, M, D, rows = load_job(job)
    start, end = first * rows, min(last * rows, M)
    zero_bytes(W + start * D * FLOAT, (end - start) * D * FLOAT)


@compiled()
def add_columns(W, dy, ids, M, row):
    """dW += dy in COLUMNS whole columns."""
    for m in range(M):
        place = W + load_number(ids + 4 * m) * row
        prefetch(W + load_number(ids + 4 * min(m + AHEAD, M - 1)) * row)
        store(load(place) + load(dy), place)
        store(load(place + STEP) + load(dy + STEP), place + STEP)
        dy += row


@compiled()
def add_last_columns(W, dy, ids, M, row, count):
    """The same for fewer."""
    for m in range(M):
        place = W + load_number(ids + 4 * m) * row
        store_part(load_part(place, count) + load_part(dy, count), place, count)
        if count > LANES:
            rest = count - LANES
            store_part(load_part(place + STEP, rest) + load_part(dy + STEP, rest), place + STEP, rest)
        dy += row


@entry_point(ENTRY)
def add_tasks(first, last, job, work):
    """dW[ids[m]] += dy[m]; a task is COLUMNS of the table."""
    W, dy, ids, M, D, _ = load_job(job)
    denormals = flush_denormals()
    for j in range(first * COLUMNS, min(last * COLUMNS, D), COLUMNS):
        if D - j >= COLUMNS:
            add_columns(W + j * FLOAT, dy + j * FLOAT, ids, M, D * FLOAT)
        else:
            add_last_columns(W + j * FLOAT, dy + j * FLOAT, ids, M, D * FLOAT, D - j)
    restore_denormals(denormals)


# -- the row's public functions --------------------------------------------------------------------------------------


def run(entry, y, W, ids, M, D, serial):
    """An entry whose tasks are rows."""
    rows = max(PIECE // D, 1)
    values = {"y": y.ctypes.data, "W": W.ctypes.data, "ids": ids.ctypes.data, "M": M, "D": D, "rows": rows}
    tasks.run(entry(), -(-M // rows), tasks.job(FIELDS, values), 0, serial)


def forward(y, W, ids):
    if y.dtype != np.float32 or y.size == 0:
        reference.forward(y, W, ids)
        return
    W, ids = np.ascontiguousarray(W), np.ascontiguousarray(ids, np.int32)
    run(gather_tasks, y, W, ids, *y.shape, y.size < SERIAL_BELOW)


def backward(dW, dy, ids):
    if dW.dtype != np.float32 or dy.size == 0:
        dW[...] = 0
        np.add.at(dW, ids, dy)
        return
    dy, ids = np.ascontiguousarray(dy), np.ascontiguousarray(ids, np.int32)
    M, D = dy.shape
    run(zero_tasks, dW, dW, ids, *dW.shape, dW.size < SERIAL_BELOW)
    values = {"y": dW.ctypes.data, "W": dy.ctypes.data, "ids": ids.ctypes.data, "M": M, "D": D}
    tasks.run(add_tasks(), -(-D // COLUMNS), tasks.job(FIELDS, values), 0, dy.size < SERIAL_BELOW)
