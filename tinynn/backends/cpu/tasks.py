"""Hands numbered tasks to the threads: task k is the same work whoever does it, so results have the same bytes.

A job is a list of int64 (addresses, sizes, strides) that an entry point reads for itself; see conv2d.py.
"""

import threading

import numpy as np
from numba import prange, types

from . import threads
from .microkernel import call_range
from .simd import compiled, with_signature

NUMBER = types.int64
PAGE = 4096


@with_signature(NUMBER, NUMBER, NUMBER, NUMBER)
@compiled()
def tasks_serial(function, count, job, work):
    call_range(function, 0, count, job, work)


@with_signature(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)
@compiled(parallel=True)
def tasks_parallel(function, count, job, work, work_stride, workers):
    for worker in prange(workers):
        w = np.int64(worker)  # prange counts in uint64, and uint64 with int64 would make float64
        call_range(function, w * count // workers, (w + 1) * count // workers, job, work + w * work_stride)


class _Workspace(threading.local):
    """Scratch memory of the calling Python thread: kept, so that a call allocates nothing."""

    def __init__(self):
        self.memory = np.empty(0, np.uint8)

    def address(self, size: int) -> int:
        """Of at least so many bytes, at a 64-byte boundary."""
        if self.memory.size < size + 64:
            self.memory = np.empty(size + 64, np.uint8)
        place = self.memory.ctypes.data
        return place + -place % 64


_workspace = _Workspace()


def run(function: int, count: int, job: np.ndarray, work_bytes: int, serial: bool = False) -> None:
    """Do tasks 0 .. count-1 of an entry point ``void(first, last, job, work)``, each thread with scratch of its own.

    The scratch of two threads never begins at the same place of a page, so that they do not compete for cache sets.
    """
    workers = 1 if serial else min(threads.get_num_threads(), count)
    if workers == 1:
        tasks_serial()(function, count, job.ctypes.data, _workspace.address(work_bytes))
        return
    stride = -(-work_bytes // PAGE) * PAGE + 64
    with threads.parallel_region():
        workers = threads.workers()
        tasks_parallel()(function, count, job.ctypes.data, _workspace.address(workers * stride), stride, workers)
