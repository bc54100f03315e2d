"""Recycled, aligned memory: after its first step a training loop asks the system for nothing.

A block hands itself back when the last array that looks into it dies, so there is no lifetime rule for anybody to
follow, and an array that somebody holds is never overwritten.
"""

from __future__ import annotations

import ctypes
import math
import os
import threading
import weakref
from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np

from tinynn.backends.base import ALIGNMENT
from tinynn.typing import Shape

SMALL = 16 * 1024
"""Bytes: below this the C library's own free lists are faster than ours."""
PERIOD = 1 << 16
"""Arrays: how long the pool remembers how much was in use."""


class Pool:
    """Free blocks by size. Sizes are rounded up to four steps per doubling, so that nearly equal requests share.

    What is kept for later never exceeds twice the largest amount that was in use at once, in this period of ``PERIOD``
    arrays or in the one before; beyond that, the blocks that have been free for longest go back to the system. Once
    would be too little: activations and gradients of unequal sizes are never in use all at once. So a loop whose sizes
    change has the new ones kept from its second step on, and what a large phase left behind goes after two periods.

    Any thread may allocate and drop arrays. A block is handed back by a callback that runs anywhere, also in the middle
    of ``empty``: it takes no lock and touches no number, it only appends to a deque, which ``empty`` works off.
    """

    def __init__(self, period: int = PERIOD) -> None:
        self.period = period
        self.free: dict[int, deque[tuple[int, Any]]] = {}
        """Of each size (when it became free, memory), the oldest first."""
        self.leases: dict[int, tuple[weakref.ref[Any], int, Any]] = {}
        self.returned: deque[tuple[int, Any]] = deque()
        self.free_bytes = self.used_bytes = 0
        self.peak_bytes = self.last_peak_bytes = 0
        """The largest ``used_bytes`` of this period, and of the one before."""
        self.count = 0
        """Arrays so far, the pool's clock."""
        self._renew_lock()

    def _renew_lock(self) -> None:
        self.lock, self.busy = threading.RLock(), False

    def empty(self, shape: Shape, dtype: Any) -> np.ndarray:
        """An uninitialised C-contiguous array; 64-byte aligned from ``SMALL`` bytes on."""
        if not isinstance(dtype, np.dtype):
            dtype = np.dtype(dtype)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes < SMALL:
            return np.empty(shape, dtype)
        size = rounded(nbytes)
        with self.lock:
            if self.busy:  # a signal handler or a finalizer in the middle of the lines below
                return np.ndarray(shape, dtype, new_block(size))
            self.busy = True
            try:
                return self._lease(shape, dtype, size)
            finally:
                self.busy = False

    def _lease(self, shape: Shape, dtype: np.dtype, size: int) -> np.ndarray:
        if self.returned:
            self._take_back()
        self.count += 1
        if self.count % self.period == 0:
            self.last_peak_bytes, self.peak_bytes = self.peak_bytes, self.used_bytes
            self._trim(self.limit())
        blocks = self.free.get(size)
        if blocks:
            memory = blocks.pop()[1]
            self.free_bytes -= size
        else:
            memory = self._new_block(size)
        # A view of a view keeps the lowest *array* alive: as nothing below this one is an array, it dies the last.
        array = np.ndarray(shape, dtype, memory)
        lease = weakref.ref(array, self._hand_back)
        key = id(lease)
        self.leases[key] = lease, size, memory
        self.used_bytes += size
        if self.used_bytes > self.peak_bytes:
            self.peak_bytes = self.used_bytes
        return array

    def _new_block(self, size: int) -> Any:
        """Fresh memory, for which everything free is given back where there is no other way."""
        try:
            return new_block(size)
        except MemoryError:
            self._trim(0)
            return new_block(size)

    def _hand_back(self, lease: weakref.ref[Any]) -> None:
        held = self.leases.pop(id(lease), None)
        if held is not None:  # None after an interrupt before the lease was noted
            self.returned.append(held)

    def _take_back(self) -> None:
        returned, free, count = self.returned, self.free, self.count
        while returned:
            _, size, memory = returned.popleft()
            self.used_bytes -= size
            self.free_bytes += size
            if size in free:
                free[size].append((count, memory))
            else:
                free[size] = deque([(count, memory)])
        if self.free_bytes > self.peak_bytes:
            self._trim(self.limit())

    def limit(self) -> int:
        """Bytes that may be kept for later."""
        return 2 * max(self.peak_bytes, self.last_peak_bytes)

    def _trim(self, most: int) -> None:
        """Give back the blocks that have been free for longest until at most so many bytes are left."""
        while self.free_bytes > most:
            size = min((size for size, blocks in self.free.items() if blocks), key=lambda size: self.free[size][0][0])
            self.free[size].popleft()
            self.free_bytes -= size
            if not self.free[size]:
                del self.free[size]

    def collect(self) -> None:
        """Bring the numbers up to date: blocks handed back since the last ``empty`` are counted as free."""
        with self.lock:
            if not self.busy:
                self._take_back()

    def clear(self) -> None:
        """Give the free blocks back to the system, and forget how much was in use."""
        with self.lock:
            if not self.busy:
                self._take_back()
                self._trim(0)
                self.last_peak_bytes, self.peak_bytes = 0, self.used_bytes


@lru_cache(1024)
def rounded(nbytes: int) -> int:
    """The next size of the form (4 + i) 2**k, i = 0..3: at most a quarter is wasted."""
    step = 1 << max((nbytes - 1).bit_length() - 3, 6)
    return -(-nbytes // step) * step


def new_block(size: int) -> Any:
    """Fresh memory, not filled, that begins on a cache line.

    NumPy's own, for its huge pages, within a ctypes array: an array whose base is an array would be skipped by the
    bases of its views, and would be handed back while they live.
    """
    memory = np.empty(size + ALIGNMENT, np.uint8)
    return (ctypes.c_char * size).from_buffer(memory, -memory.ctypes.data % ALIGNMENT)


pool = Pool()
empty = pool.empty
if hasattr(os, "register_at_fork"):  # another thread may hold the lock in the moment of the fork
    os.register_at_fork(after_in_child=pool._renew_lock)
