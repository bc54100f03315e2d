"""Batch normalization of x (M, C) over M, block by block: moments, norm, sums, gradient.

A block is some rows; a row is a pixel of images.py. Few channels do not fill a vector, so k rows are read as one row of
k C *lanes*, which are put together at the end; rows that remain are a block of their own, the last.

A job is a list of int64: the addresses of x, dy and the result; C; lanes; rows of lanes; rows of C that remain; rows of
a block; blocks of lanes; the addresses of a norm for C channels, of one for the lanes, and of two arrays of float64, C
for every row of a block: means and squares, or sums of dy and of dy (x - mean).
"""

import numpy as np

from .images import (
    DOUBLE,
    FLOAT,
    LANES,
    LINEAR,
    add_sums,
    gradient_block,
    moments_block,
    norm_block,
    norm_sums_block,
    zero_row,
)
from .microkernel import make_load_ints
from .simd import compiled, entry_point
from .tasks import ENTRY
from .vectors import flush_denormals, restore_denormals

FOLD_BELOW = 4 * LANES
"""Channels from which on a row fills its vectors well enough."""
FOLDED = 16
"""Folded rows, at least."""
STRIP, STRIP_SIZE = 32, 2048
"""Rows and numbers that are worked on channel by channel, at most."""
BLOCK_ROWS = 1024
BLOCK_SIZE = 1 << 18
BLOCKS = 8
"""A block has no more rows and numbers than these, and no more rows than leave so many blocks."""
SERIAL_BELOW = 200_000
"""Numbers below which one thread is faster than telling others, and blocks are as large as they can be."""
MOST_LANES = LANES * FOLD_BELOW
"""Of rows that are read as one."""
load_job = make_load_ints(13)


@compiled()
def cut(M, C):
    """(k, rows of k C lanes, rows of C that remain, rows of a block, blocks): by the shape alone."""
    k = LANES // min(C & -C, LANES)
    if C >= FOLD_BELOW or M // k < FOLDED:
        k = 1
    rows, rest, block = M // k, M % k, BLOCK_ROWS
    if M * C >= SERIAL_BELOW:
        block = max(min(rows // BLOCKS, BLOCK_SIZE // (k * C), block) // STRIP, 4) * STRIP
    return k, rows, rest, block, (rows + block - 1) // block


@compiled()
def part(task, job):
    """(first byte, rows, channels, norm) of a block."""
    _, _, _, C, width, rows, rest, block, blocks, norm, wide, _, _ = load_job(job)
    if task == blocks:
        return rows * width * FLOAT, rest, C, norm
    return task * block * width * FLOAT, min(block, rows - task * block), width, wide


@compiled()
def strip_of(channels):
    return max(min(STRIP_SIZE // channels, STRIP), 1)


# -- tasks: the blocks with numbers first .. last-1 --------------------------------------------------------------------


@entry_point(ENTRY)
def moments_tasks(first, last, job, work):
    x, _, _, _, width, _, _, _, _, _, _, means, squares = load_job(job)
    denormals = flush_denormals()
    for task in range(first, last):
        at, rows, channels, _ = part(task, job)
        here, columns = task * width * DOUBLE, STRIP if rows % STRIP == 0 else rows
        moments_block(x + at, 0, columns * channels * FLOAT, 1, rows // columns, columns, channels, means + here,
                      squares + here, work)  # fmt: skip
    restore_denormals(denormals)


@entry_point(ENTRY)
def norm_tasks(first, last, job, work):
    """The last blocks come first: they may still be in a cache."""
    x, _, y, _, _, _, rest, _, blocks, _, _, _, _ = load_job(job)
    denormals = flush_denormals()
    for task in range(first, last):
        at, rows, channels, norm = part(blocks - task - (rest == 0), job)
        row, strip = channels * FLOAT, strip_of(channels)
        for i in range(0, rows, strip):
            place = at + i * row
            norm_block(x + place, 0, 0, y + place, 0, 0, 1, 1, min(strip, rows - i), channels, norm, LINEAR,
                       np.float32(0))  # fmt: skip
    restore_denormals(denormals)


@entry_point(ENTRY)
def sums_tasks(first, last, job, work):
    x, dy, _, _, width, _, _, _, _, _, _, sums, products = load_job(job)
    denormals = flush_denormals()
    for task in range(first, last):
        at, rows, channels, norm = part(task, job)
        here, row, strip = task * width * DOUBLE, channels * FLOAT, strip_of(channels)
        zero_row(work, 2 * channels)
        for i in range(0, rows, strip):
            place = at + i * row
            norm_sums_block(dy + place, 0, 0, 0, 0, 0, x + place, 0, 0, 1, 1, min(strip, rows - i), channels, norm,
                            LINEAR, np.float32(0), work)  # fmt: skip
        add_sums(sums + here, work, channels)
        add_sums(products + here, work + row, channels)
    restore_denormals(denormals)


@entry_point(ENTRY)
def gradient_tasks(first, last, job, work):
    x, dy, dx, _, _, _, rest, _, blocks, _, _, _, _ = load_job(job)
    denormals = flush_denormals()
    for task in range(first, last):
        at, rows, channels, norm = part(blocks - task - (rest == 0), job)
        row, strip = channels * FLOAT, strip_of(channels)
        for i in range(0, rows, strip):
            place = at + i * row
            gradient_block(dy + place, 0, 0, 0, 0, 0, x + place, 0, 0, dx + place, 0, 0, 1, 1, min(strip, rows - i),
                           channels, norm, LINEAR, np.float32(0))  # fmt: skip
    restore_denormals(denormals)


# -- for those who start them ------------------------------------------------------------------------------------------


@compiled()
def make_job(x, dy, out, norm, wide, results):
    """The list that tasks read, and the number of tasks."""
    M, C = x.shape
    k, rows, rest, block, blocks = cut(M, C)
    fields = (
        np.int64(x.ctypes.data), np.int64(dy.ctypes.data), np.int64(out.ctypes.data), C, k * C, rows, rest, block,
        blocks, np.int64(norm.ctypes.data), np.int64(wide.ctypes.data), np.int64(results[0].ctypes.data),
        np.int64(results[1].ctypes.data),
    )  # fmt: skip
    job = np.empty(len(fields), np.int64)
    for i in range(len(fields)):
        job[i] = fields[i]
    return job, blocks + (rest > 0)


@compiled()
def counts_of(M, C):
    """How many numbers each row of the results is of."""
    k, rows, rest, block, blocks = cut(M, C)
    counts = np.empty(blocks * k + (rest > 0))
    for i in range(counts.size):
        counts[i] = min(block, rows - i // k * block) if i < blocks * k else rest
    return counts


@compiled()
def spread(wide, norm):
    """k copies of each row, one behind the other."""
    for i in range(norm.shape[0]):
        for j in range(0, wide.shape[1], norm.shape[1]):
            for c in range(norm.shape[1]):
                wide[i, j + c] = norm[i, c]


@compiled()
def keep(job, norm, wide, results):
    """These arrays live until here: Numba does not see that their addresses are in use."""
