"""The most multiply-adds that this processor does: the micro-kernel on numbers that stay in the first cache."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tinynn.backends.cpu import memory
from tinynn.backends.cpu.microkernel import make_product
from tinynn.backends.cpu.simd import BLOCK, compiled

DEPTH = 96
"""Panels of A and B together take 17 KiB with 512-bit vectors, and less with others."""
REPEATS = 5_000
FLOPS = 2.0 * BLOCK.rows[0] * BLOCK.columns * DEPTH * REPEATS
ITEM = np.int64(4)

product = make_product(BLOCK.rows[0], BLOCK.vectors, rows_adjacent=True)


@compiled()
def products(a, b, c, depth, repeats):
    """The same small product again and again."""
    rows, columns = c.shape
    zero = np.int64(0)
    for _ in range(repeats):
        product(a.ctypes.data, rows * ITEM, b.ctypes.data, columns * ITEM, depth, c.ctypes.data, columns * ITEM, zero,
                zero)  # fmt: skip


def operands() -> tuple[np.ndarray, ...]:
    """One panel of A, one of B, the block of C, aligned; large enough to come from the backend's aligned memory."""
    rows, columns = BLOCK.rows[0], BLOCK.columns
    block = memory.empty((DEPTH * (rows + columns) + rows * columns + memory.SMALL,), np.float32)
    block[:] = 1e-3
    b, a, c = np.split(block, [DEPTH * columns, DEPTH * (rows + columns)])
    return a, b, c[: rows * columns].reshape(rows, columns)


def gflops(threads: int, turns: int = 10) -> float:
    """10^9 operations per second of so many threads together, the best of some turns of a few milliseconds."""
    arrays = [operands() for _ in range(threads)]
    products(*arrays[0], DEPTH, 1)
    best = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(turns):
            start = time.perf_counter()
            for done in [pool.submit(products, *a, DEPTH, REPEATS) for a in arrays]:
                done.result()
            best = max(best, 1e-9 * threads * FLOPS / (time.perf_counter() - start))
    return best
