"""Recycled, aligned memory: after its first step a training loop asks the system for nothing.

A block hands itself back when the last array that looks into it dies, so there is no lifetime rule for anybody to
follow, and an array that somebody holds is never overwritten.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from typing import Any

import numpy as np

from tinynn.typing import Shape

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""
SMALL = 16 * 1024
"""Bytes: below this the C library's own free lists are faster than ours."""

Block = tuple[int, bytearray, int]
"""Size, memory, and where in it the first cache line begins."""


class Pool:
    """Free blocks by size. Sizes are rounded up to four steps per doubling, so that nearly equal requests share.

    What is kept for later never exceeds the largest amount that was in use at once.
    """

    def __init__(self) -> None:
        self.free: dict[int, list[Block]] = {}
        self.leases: dict[int, tuple[weakref.ref[Any], Block]] = {}
        self.free_bytes = self.used_bytes = self.peak_bytes = 0

    def empty(self, shape: Shape, dtype: Any) -> np.ndarray:
        """An uninitialised C-contiguous array; 64-byte aligned from ``SMALL`` bytes on."""
        if not isinstance(dtype, np.dtype):
            dtype = np.dtype(dtype)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < SMALL:
            return np.empty(shape, dtype)
        size = rounded(nbytes)
        blocks = self.free.get(size)
        try:
            block = blocks.pop()  # type: ignore[union-attr]
            self.free_bytes -= size
        except (AttributeError, IndexError):
            block = new_block(size)
        # A view of a view keeps the lowest *array* alive: as nothing below this one is an array, it dies the last.
        array = np.ndarray(shape, dtype, block[1], block[2])
        lease = weakref.ref(array, self._hand_back)
        self.leases[id(lease)] = lease, block
        self.used_bytes += size
        if self.used_bytes > self.peak_bytes:
            self.peak_bytes = self.used_bytes
        return array

    def _hand_back(self, lease: weakref.ref[Any]) -> None:
        _, block = self.leases.pop(id(lease))
        size = block[0]
        self.used_bytes -= size
        if self.free_bytes + size <= self.peak_bytes:
            self.free.setdefault(size, []).append(block)
            self.free_bytes += size

    def clear(self) -> None:
        """Give the free blocks back to the system."""
        self.free.clear()
        self.free_bytes, self.peak_bytes = 0, self.used_bytes


def rounded(nbytes: int) -> int:
    """The next size of the form (4 + i) 2**k, i = 0..3: at most a quarter is wasted."""
    step = 1 << max((nbytes - 1).bit_length() - 3, 6)
    return -(-nbytes // step) * step


def new_block(size: int) -> Block:
    """Fresh memory from the system."""
    memory = bytearray(size + ALIGNMENT)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return size, memory, -address % ALIGNMENT


pool = Pool()
empty = pool.empty
