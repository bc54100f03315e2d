"""Products over packed panels, for rows that multiply by the same weights again and again: see recurrent.py.

`Packed` weights lie in the order of the micro-kernel. `Gradients` is the product over all steps that makes dW, dU, db.
"""

import numpy as np

from . import memory, tasks
from .microkernel import make_load_ints, make_product
from .packing import pack_panel
from .plan import FLOAT, HIGH, LANES, LOW, MIDDLE, PANEL
from .simd import compiled, entry_point
from .tasks import ENTRY
from .vectors import flush_denormals, load_part, prefetch, restore_denormals, store_part

STEP, PANEL_STEP, KEPT_STEP = FLOAT * LANES, FLOAT * PANEL, FLOAT * HIGH
"""Bytes of a vector, of a row of a panel of B or D, and of a row of a panel of A."""
PIECE = 192
"""Rows that are added up in registers: a panel of so many of D, and as many of A, stay in L1."""
COLUMN_PANELS = 4
"""Panels of D in a task."""
SERIAL_BELOW = 300_000
"""Multiply-adds below which one thread is faster than telling others."""
APART = 64 * 5
"""Bytes between panels, so that equal rows of several do not compete for one set of the cache."""

PRODUCT_INTS = 9
load_pack = load_piece = make_load_ints(4)
load_product = make_load_ints(PRODUCT_INTS)
load_gradients = make_load_ints(8)
high_wide = make_product(HIGH, 2, rows_adjacent=False)
middle_wide = make_product(MIDDLE, 2, rows_adjacent=False)
low_wide = make_product(LOW, 2, rows_adjacent=False)
adjacent_wide = make_product(HIGH, 2, rows_adjacent=True)


def rounded(n: int, unit: int) -> int:
    return -(-n // unit) * unit


# -- weights, packed ---------------------------------------------------------------------------------------------------


class Packed:
    """B of a product: pieces (depth, columns) of float32, of any strides, above each other in panels of columns."""

    def __init__(self, *pieces):
        columns = pieces[0].shape[1]
        self.columns, self.depth = columns, sum(len(piece) for piece in pieces)
        self.panels = -(-columns // PANEL)
        self.stride = (self.depth + LANES) * PANEL_STEP
        self.memory = memory.empty((self.panels * self.stride // FLOAT,), np.float32)
        self.place = self.memory.ctypes.data
        job = [self.place, self.stride, columns, len(pieces)]
        for piece in pieces:
            job += [piece.ctypes.data, *piece.strides, len(piece)]
        tasks.run(pack_tasks(), self.panels, np.array(job), 0, self.depth * columns < SERIAL_BELOW)


@entry_point(ENTRY)
def pack_tasks(first, last, job, work):
    """Panels first .. last-1."""
    target, stride, columns, pieces = load_pack(job)
    for panel in range(first, last):
        place = target + panel * stride
        for i in range(pieces):  # in order: a transposed piece may write beyond its end, where the next one begins
            source, row, column, depth = load_piece(job + 32 * (1 + i))
            pack_panel(source + panel * PANEL * column, row, column, depth, min(PANEL, columns - panel * PANEL),
                       np.int64(PANEL), place)  # fmt: skip
            place += depth * PANEL_STEP


@entry_point(ENTRY)
def multiply_panels(first, last, plan, work):
    """Panels first .. last-1 of C = A B + bias; rows that fill up a block of registers are scratch, too."""
    a, a_stride, b, b_stride, depth, c, c_stride, bias, rows = load_product(plan)
    none, step = np.int64(0), np.int64(PANEL_STEP)
    for panel in range(first, last):
        column = b + panel * b_stride
        target, addend = c + panel * PANEL_STEP, bias + panel * PANEL_STEP if bias else none
        i = 0
        while i < rows:
            row, place = a + i * a_stride, target + i * c_stride
            if rows - i >= HIGH:
                high_wide(row, a_stride, column, step, depth, place, c_stride, addend, none)
                i += HIGH
            elif rows - i > LOW:
                middle_wide(row, a_stride, column, step, depth, place, c_stride, addend, none)
                i += MIDDLE
            else:
                low_wide(row, a_stride, column, step, depth, place, c_stride, addend, none)
                i += LOW


@compiled()
def prefetch_lines(address, count):
    for p in range(0, count, 64):
        prefetch(address + p)


# -- weight gradients --------------------------------------------------------------------------------------------------


@compiled()
def scatter_row(source, count, width, target, stride):
    """A row's numbers, `width` to each panel; the row of the first panel is at `target`. May read beyond the row."""
    step = FLOAT * width
    for _ in range(0, count, width):
        for p in range(0, step, STEP):
            store_part(load_part(source + p, width - p // FLOAT), target + p, width - p // FLOAT)
            prefetch(target + step + p)
        source += step
        target += stride


class Gradients:
    """C = A' D: A (K, M) in panels of HIGH columns, D (K, ...) in panels of PANEL; their rows come in any order.

    parts: runs of columns of D, each beginning with a panel of its own: (columns, first row of C wanted, last + 1).
    """

    def __init__(self, K, M, *parts):
        self.K, self.M, self.parts = K, M, parts
        self.row_panels, self.row_stride = -(-M // HIGH), rounded(K * KEPT_STEP, 64) + APART
        self.column_stride = K * PANEL_STEP + APART
        self.starts = [0]
        for columns, _, _ in parts:
            self.starts.append(self.starts[-1] + -(-columns // PANEL))
        self.rows = memory.empty((self.row_panels * self.row_stride // FLOAT + LANES,), np.float32)
        self.columns = memory.empty((self.starts[-1] * self.column_stride // FLOAT,), np.float32)

    def place(self, part: int) -> int:
        """The address of a part's first panel."""
        return self.columns.ctypes.data + self.starts[part] * self.column_stride

    def product(self) -> list[np.ndarray]:
        """C of every part, (M, columns); rows that are not wanted hold anything."""
        C = memory.empty((self.row_panels * HIGH, self.starts[-1] * PANEL), np.float32)
        job = [self.rows.ctypes.data, self.row_stride, self.columns.ctypes.data, self.column_stride, self.K,
               C.ctypes.data, C.strides[0], 0]  # fmt: skip
        count = 0
        for (_, low, high), start, end in zip(self.parts, self.starts, self.starts[1:], strict=False):
            for panel in range(start, end, COLUMN_PANELS):
                job += [panel, min(panel + COLUMN_PANELS, end), low // HIGH, -(-high // HIGH)]
                count += 1
        tasks.run(gradient_tasks(), count, np.array(job), 0, self.K * C.size < SERIAL_BELOW)
        starts = [start * PANEL for start in self.starts]
        return [C[: self.M, at : at + part[0]] for at, part in zip(starts, self.parts, strict=False)]


@entry_point(ENTRY)
def gradient_tasks(first, last, job, work):
    """Some panels of C, all of K in order."""
    rows, row_stride, columns, column_stride, K, c, c_stride, _ = load_gradients(job)
    denormals = flush_denormals()
    a_step, b_step, none = np.int64(KEPT_STEP), np.int64(PANEL_STEP), np.int64(0)
    for task in range(first, last):
        panel_begin, panel_end, begin, end = load_piece(job + 32 * (2 + task))
        blocks, panels = end - begin, panel_end - panel_begin
        for k in range(0, K, PIECE):
            depth = min(PIECE, K - k)
            for panel in range(panel_begin, panel_end):
                b = columns + panel * column_stride + k * PANEL_STEP
                next_b = b + column_stride
                if panel == panel_end - 1:
                    next_b += PIECE * PANEL_STEP - panels * column_stride
                for i in range(begin, end):
                    place, a = c + i * HIGH * c_stride + panel * PANEL_STEP, rows + i * row_stride + k * KEPT_STEP
                    # What comes next is fetched meanwhile, a share with every block: the next panel, and of A the
                    # next piece.
                    share = depth * PANEL_STEP // blocks
                    prefetch_lines(next_b + (i - begin) * share, share)
                    share = depth * KEPT_STEP // panels
                    prefetch_lines(a + PIECE * KEPT_STEP + (panel - panel_begin) * share, share)
                    adjacent_wide(a, a_step, b, b_step, depth, place, c_stride, place if k else none, c_stride)
    restore_denormals(denormals)
