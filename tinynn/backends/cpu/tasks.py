"""Hands numbered tasks to the threads: task k is the same work whoever does it, so results have the same bytes.

A thread that is free takes the next task: one that wakes late, or shares its core with another process, does less.

A job is a list of int64 (addresses, sizes, strides) that an entry point reads for itself; see conv2d.py.
"""

import threading

import numpy as np
from numba import prange, types

from . import threads
from .microkernel import call_range, store_int, take
from .simd import compiled, entry_point, with_signature

NUMBER = types.int64
PAGE = 4096
HANDS = (NUMBER,) * 5
"""Types of the last arguments of a kernel that is called by `hand_out`."""
ENTRY = "void(int64, int64, int64, int64)"
"""An entry point for tasks: first, last, job, work."""
BLOCK_ENTRY = "void(int64, int64, int64, int64, int64, int64, int64, int64, int64)"
"""One for a block of images: an algorithm of a convolution, or what follows it."""


def named(text: str) -> tuple[str, ...]:
    """The names of a job's fields, in the order in which a kernel unpacks them."""
    return tuple(text.split())


def job(fields: tuple[str, ...], values: dict[str, int]) -> np.ndarray:
    """The list of a job; what is not named is 0. KeyError for a name that is not among the fields."""
    unknown = set(values) - set(fields)
    if unknown:
        raise KeyError(sorted(unknown))
    return np.array([values.get(field, 0) for field in fields], np.int64)


@with_signature(NUMBER, NUMBER, NUMBER, NUMBER)
@compiled()
def tasks_serial(function, count, job, work):
    call_range(function, 0, count, job, work)


PLAN_NUMBERS = 64
"""Room for so many int64 is in the workspace's plan; behind it, in a cache line of its own, is the counter of tasks."""


@compiled()
def start_counting(plan):
    """The address of the counter of a plan, which is set to 0."""
    counter = plan + 8 * PLAN_NUMBERS
    store_int(0, counter)
    return counter


@compiled()
def do_tasks(function, count, plan, work, counter):
    """A thread's share: task after task, until none is left."""
    while True:
        task = take(counter, 1)
        if task >= count:
            break
        call_range(function, task, task + 1, plan, work)


@compiled(parallel=True)
def share(function, count, job, work, work_stride, workers, plan):
    counter = start_counting(plan)
    for worker in prange(workers):
        do_tasks(function, count, job, work + np.int64(worker) * work_stride, counter)


tasks_parallel = with_signature(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)(share)


class _Workspace(threading.local):
    """Scratch memory of the calling Python thread: kept, so that a call allocates nothing."""

    def __init__(self):
        self.memory = np.empty(0, np.uint8)
        self.place = self.size = 0
        self.numbers = np.empty(PLAN_NUMBERS + 24, np.int64)
        self.plan = self.numbers.ctypes.data + -self.numbers.ctypes.data % 64
        """Address of a plan and the counter behind it."""

    def address(self, size: int) -> int:
        """Of at least so many bytes, at a 64-byte boundary."""
        if self.size < size:
            self.memory = np.empty(size + 64, np.uint8)
            self.place, self.size = self.memory.ctypes.data, size
            self.place += -self.place % 64
        return self.place


workspace = _Workspace()


def stride_of(work_bytes: int) -> int:
    """From one thread's scratch to the next: they never begin at the same place of a page, where they would compete
    for the same sets of a cache."""
    return -(-work_bytes // PAGE) * PAGE + 64


def run(function: int, count: int, job: np.ndarray, work_bytes: int, serial: bool = False) -> None:
    """Do tasks 0 .. count-1 of an entry point ``void(first, last, job, work)``, each thread with scratch of its own."""
    space = workspace
    workers = 1 if serial else min(threads.get_num_threads(), count)
    if workers == 1:
        tasks_serial()(function, count, job.ctypes.data, space.address(work_bytes))
        return
    stride = stride_of(work_bytes)
    with threads.parallel_region():
        workers = threads.workers()
        place = space.address(workers * stride)
        tasks_parallel()(function, count, job.ctypes.data, place, stride, workers, space.plan)


# -- for kernels that hand out tasks in the middle of their work -------------------------------------------------------


def hand_out(kernel, work_bytes, serial, *arguments):
    """kernel(*arguments, do, work, work_stride, workers, plan): with `call_block(do, function, count, job, work,
    work_stride, workers, plan, 0, 0)` it has tasks done."""
    space = workspace
    if serial or threads.get_num_threads() == 1:
        kernel(*arguments, do_alone(), space.address(work_bytes), 0, 1, 0)
        return
    stride = stride_of(work_bytes)
    with threads.parallel_region():
        workers = threads.workers()
        kernel(*arguments, do_together(), space.address(workers * stride), stride, workers, space.plan)


@entry_point(BLOCK_ENTRY)
def do_alone(function, count, job, work, work_stride, workers, plan, unused, nothing):
    """Tasks 0 .. count-1 by one thread."""
    call_range(function, 0, count, job, work)


@entry_point(BLOCK_ENTRY)
def do_together(function, count, job, work, work_stride, workers, plan, unused, nothing):
    """The same by several."""
    share(function, count, job, work, work_stride, workers, plan)
