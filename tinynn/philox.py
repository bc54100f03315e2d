"""Philox4x32-10, the counter-based generator behind every random number of the library.

A block of four 32-bit words is a pure function of a 64-bit key and a 128-bit counter, so any element of any stream
can be computed alone, on any backend and by any number of threads, with the same result.

Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import numpy as np

from tinynn.typing import Array

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10


def philox(counter: tuple[Array, Array, Array, Array], key: tuple[int, int]) -> tuple[Array, Array, Array, Array]:
    """Ten rounds over blocks of four words; the words are uint64 arrays (or scalars) that hold 32-bit values.

    The product of two 32-bit words fits 64 bits, which is why the words travel in uint64.
    """
    mask, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    m0, m1 = (np.uint64(m) for m in MULTIPLIERS)
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = c0 * m0, c2 * m1
        c0, c1, c2, c3 = (
            (p1 >> shift) ^ c1 ^ np.uint64(k0),
            p1 & mask,
            (p0 >> shift) ^ c3 ^ np.uint64(k1),
            p0 & mask,
        )
        k0, k1 = (k0 + WEYL[0]) & 0xFFFFFFFF, (k1 + WEYL[1]) & 0xFFFFFFFF
    return c0, c1, c2, c3


CHUNK = 1 << 14
"""Blocks computed at a time: their uint64 words stay in the cache, and a large draw needs no large temporary."""


def random_bits(
    n: int, key: tuple[int, int], step: int, substream: int, call: int = 0, first_block: int = 0
) -> np.ndarray:
    """``n`` 32-bit words of one draw, on the host: counter = (element // 4, step, substream, call).

    They are the words of blocks ``first_block`` and on, so a part of a draw can be computed alone.
    """
    blocks = (n + 3) // 4
    result = np.empty((blocks, 4), np.uint32)
    w1, w2, w3 = (np.uint64(word & 0xFFFFFFFF) for word in (step, substream, call))
    for start in range(0, blocks, CHUNK):
        stop = min(start + CHUNK, blocks)
        block = np.arange(first_block + start, first_block + stop, dtype=np.uint64)
        words = philox((block, np.full_like(block, w1), np.full_like(block, w2), np.full_like(block, w3)), key)
        for column, word in enumerate(words):
            result[start:stop, column] = word
    return result.reshape(-1)[:n]
