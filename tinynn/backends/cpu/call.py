"""A call of a recurrent row: the list of numbers that the tasks of recurrent.py read, and what scratch they have."""

import numpy as np

from . import tasks, threads
from .panels import PRODUCT_INTS, SERIAL_BELOW, Gradients, multiply_panels, rounded
from .plan import FLOAT, LANES, MIDDLE, PANEL
from .recurrent import PLANS

BLOCK_ROWS = 32
"""Largest number of sequences in a task: the scratch stays in L2, and weights that stream from L3 are used often."""
STRIDES = {"a", "g", "gx", "z", "zn", "zi"}
"""Places in the scratch whose rows' distance is a field, too."""


def row_stride(n: int) -> int:
    """Bytes from one row of n numbers to the next in scratch: with room for whole panels, and no power of two, so that
    rows do not compete for one set of the cache."""
    return FLOAT * (rounded(n, PANEL) + LANES)


def usual(*arrays) -> bool:
    """Whether all of the arrays that are there are float32 in rows of C, and not empty."""
    return all(a is None or (a.dtype == np.float32 and a.size and a.flags.c_contiguous) for a in arrays)


def padded(b, columns):
    """A bias with room for whole panels."""
    if b is None:
        return None
    bias = np.zeros(rounded(columns, PANEL), np.float32)
    bias[:columns] = b
    return bias


class Call:
    """One call of the tasks: the job's numbers, the products of a step, and what scratch a task has."""

    def __init__(self, x, h, work, **values):
        """work: multiply-adds of a step of one sequence; values: fields of the job, see `set`."""
        N, T, F, H = *x.shape, h.shape[-1]
        self.N, self.rows, self.scratch = N, rows_of_a_task(N, T * work), PLANS
        self.values, self.alive, self.products, self.parts = {}, [], [], []
        self.sums = None
        self.set(x=x, h=h, N=N, T=T, F=F, H=H, rows=self.rows, product=multiply_panels(), **values)

    def set(self, **values):
        """An array is its address, and stays alive; a mask becomes int64; None is 0."""
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                value = np.ascontiguousarray(value, np.int64 if name == "mask" else value.dtype)
                self.alive.append(value)
                value = value.ctypes.data
            self.values[name] = 0 if value is None else value

    def room(self, name, n, rows=None):
        """Scratch for rows of n numbers, the field `name`: its offset and the stride of rows, a field where wanted."""
        place, stride = self.scratch, row_stride(n)
        self.values[name] = place
        if name in STRIDES:
            self.values[name + "_stride"] = stride
        self.scratch += stride * rounded(rows or self.rows, MIDDLE)
        return place, stride

    def product(self, a, packed, c, bias=None):
        """A product of the step, C = A B + bias; a and c: (offset, stride) in the scratch."""
        place = 0
        if bias is not None:
            bias = padded(bias, packed.columns)
            place = bias.ctypes.data
        self.alive += [packed, bias]
        self.products.append([*a, packed.place, packed.stride, packed.depth, *c, place, packed.panels])

    def keep(self, M, *parts):
        """The weight gradients are wanted; parts as in `Gradients`, each behind its offset in a row of A."""
        self.sums = Gradients(self.N * self.values["T"], M, *[part[1:] for part in parts])
        self.room("kept_row", M, 1)
        self.set(kept=self.sums.rows, kept_stride=self.sums.row_stride)
        stride = self.sums.column_stride
        self.parts = [[part[0], part[1], self.sums.place(i), stride] for i, part in enumerate(parts)]

    def run(self, tasks_of, fields):
        """Do the tasks. fields: all names of the job, COMMON first."""
        values = {"products": len(self.products)} | self.values
        values["plans"], values["parts"], values["plans_at"] = len(self.products), len(self.parts), 8 * len(fields)
        values["parts_at"] = values["plans_at"] + 8 * PRODUCT_INTS * len(self.products)
        lists = [number for entry in (*self.products, *self.parts) for number in entry]
        job = np.concatenate([tasks.job(fields, values), np.array(lists, np.int64)])
        tasks.run(tasks_of(), -(-self.N // self.rows), job, self.scratch)


def give(C, targets, heights) -> None:
    """Runs of rows of C become these gradients, None where one is not wanted."""
    row = 0
    for target, height in zip(targets, heights, strict=True):
        if target is not None:
            target[...] = C[row : row + height].reshape(target.shape)
        row += height


def rows_of_a_task(N: int, work: int) -> int:
    """How many sequences a task has: as equal shares as there can be; work: multiply-adds of a sequence."""
    workers = threads.get_num_threads() if N * work >= SERIAL_BELOW else 1
    count = -(-N // (BLOCK_ROWS * workers)) * workers
    return rounded(-(-N // count), MIDDLE)
