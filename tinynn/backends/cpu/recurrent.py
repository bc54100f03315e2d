"""What the recurrent rows share: the products of a step, and the weight gradients of all steps.

A task is a block of sequences that goes through all steps by itself; threads do not wait for each other in between. A
step is a product of what lies side by side in the task's scratch, [x_t | h'], with [W; U], packed once per call in the
order of the micro-kernel; then one pass over the gates, row by row. Backward the same: dz_t with U' and W'.

A row's numbers depend on no other row: every element of a product is one chain over its depth. So the blocks may be cut
as it suits the threads. Sums over rows, which are the weight gradients, go over all steps at once: backward leaves dz
and [x | 1 | h'] in panels in the order of the steps, and the tasks of the product are cut by shape.
"""

import numpy as np

from . import memory, tasks, threads
from .microkernel import load_int, make_load_ints, make_product, store_float, store_int, zero_bytes
from .packing import pack_panel
from .plan import FLOAT, HIGH, LANES, LOW, MIDDLE, PANEL
from .simd import compiled, entry_point
from .tasks import ENTRY
from .vectors import flush_denormals, load_part, restore_denormals, store_part

STEP, PANEL_STEP = FLOAT * LANES, FLOAT * PANEL
"""Bytes of a vector, and of a row of a packed panel."""
KEPT_STEP = FLOAT * HIGH
BLOCK_ROWS = 32
"""Sequences of a task."""
SMALL_ROWS = 4
PIECE = 192
"""Rows of dz that are added up in registers: a panel of so many, and as many rows of x and h, stay in L1."""
COLUMN_PANELS = 4
"""Panels of dz in a task of the weight gradients."""
SERIAL_BELOW = 300_000
"""Multiply-adds below which one thread is faster than telling others."""

load_pack = make_load_ints(4)
load_piece = make_load_ints(4)
load_product = make_load_ints(9)
load_gradients = make_load_ints(9)
load_task = make_load_ints(4)
high_wide = make_product(HIGH, 2, rows_adjacent=False)
middle_wide = make_product(MIDDLE, 2, rows_adjacent=False)
low_wide = make_product(LOW, 2, rows_adjacent=False)
adjacent_wide = make_product(HIGH, 2, rows_adjacent=True)


def rounded(n: int, unit: int) -> int:
    return -(-n // unit) * unit


def row_stride(n: int) -> int:
    """Bytes from one row of n numbers to the next in scratch: no power of two, so that rows do not compete for one set
    of the cache, and with room for whole panels."""
    return FLOAT * (rounded(n, PANEL) + LANES)


def address(array) -> int:
    return 0 if array is None else array.ctypes.data


def ints(**values) -> dict[str, int]:
    """The fields of a job: an array is its address, None is 0."""
    return {name: value if isinstance(value, int) else address(value) for name, value in values.items()}


def straight(*arrays):
    """The arrays in rows of C, copied where they must be; bools as int64; None stays."""
    return [
        None if a is None else np.ascontiguousarray(a, np.int64 if a.dtype == np.bool_ else a.dtype) for a in arrays
    ]


def padded(b, columns):
    """A bias with room for whole panels."""
    if b is None:
        return None
    bias = np.zeros(rounded(columns, PANEL), np.float32)
    bias[:columns] = b
    return bias


def block(rows: int) -> int:
    """Rows of scratch: whole blocks of registers."""
    return rounded(rows, MIDDLE)


def usual(*arrays) -> bool:
    """Whether all of the arrays that are there are float32 in rows of C, and not empty."""
    return all(a is None or (a.dtype == np.float32 and a.size and a.flags.c_contiguous) for a in arrays)


# -- weights, packed ---------------------------------------------------------------------------------------------------


class Packed:
    """B of a product: pieces above each other, in panels of PANEL columns, (depth + LANES) rows apart.

    pieces: arrays (depth, columns) of float32, of any strides.
    """

    def __init__(self, *pieces):
        columns = pieces[0].shape[1]
        depth = sum(len(piece) for piece in pieces)
        self.panels = -(-columns // PANEL)
        self.stride = (depth + LANES) * PANEL_STEP
        self.memory = memory.empty((self.panels * self.stride // FLOAT,), np.float32)
        job = [self.memory.ctypes.data, self.stride, columns, len(pieces)]
        for piece in pieces:
            job += [piece.ctypes.data, piece.strides[0], piece.strides[1], len(piece)]
        tasks.run(pack_tasks(), self.panels, np.array(job), 0, serial=depth * columns < SERIAL_BELOW)

    def place(self, row: int = 0) -> int:
        """The address of a row of the first panel."""
        return self.memory.ctypes.data + row * PANEL_STEP


@entry_point(ENTRY)
def pack_tasks(first, last, job, work):
    """Panels first .. last-1."""
    target, stride, columns, pieces = load_pack(job)
    for panel in range(first, last):
        place = target + panel * stride
        for i in range(pieces):  # in order: a transposed piece may write beyond its end, where the next one begins
            source, row, column, depth = load_piece(job + 8 * (4 + 4 * i))
            pack_panel(source + panel * PANEL * column, row, column, depth, min(PANEL, columns - panel * PANEL),
                       np.int64(PANEL), place)  # fmt: skip
            place += depth * PANEL_STEP


# -- the product of a step ---------------------------------------------------------------------------------------------


@compiled()
def write_product(plan, a, a_stride, b, b_stride, depth, c, c_stride, bias, rows):
    """The list that `multiply_panels` reads, at the address `plan`."""
    store_int(a, plan)
    store_int(a_stride, plan + 8)
    store_int(b, plan + 16)
    store_int(b_stride, plan + 24)
    store_int(depth, plan + 32)
    store_int(c, plan + 40)
    store_int(c_stride, plan + 48)
    store_int(bias, plan + 56)
    store_int(rows, plan + 64)


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


# -- rows --------------------------------------------------------------------------------------------------------------


@compiled()
def copy_row(source, target, count):
    for p in range(0, FLOAT * count, STEP):
        lanes = count - p // FLOAT
        store_part(load_part(source + p, lanes), target + p, lanes)


@compiled()
def scale_row(source, factor, target, count):
    """target = source factor; factor 0, an address, is 1, and source 0 is a row of zeros."""
    if source == 0:
        zero_bytes(target, FLOAT * count)
    elif factor == 0:
        copy_row(source, target, count)
    else:
        for p in range(0, FLOAT * count, STEP):
            lanes = count - p // FLOAT
            store_part(load_part(source + p, lanes) * load_part(factor + p, lanes), target + p, lanes)


@compiled()
def add_rows(x, y, target, count):
    """target = x + y; y, an address, may be 0 for zeros."""
    if y == 0:
        copy_row(x, target, count)
    else:
        for p in range(0, FLOAT * count, STEP):
            lanes = count - p // FLOAT
            store_part(load_part(x + p, lanes) + load_part(y + p, lanes), target + p, lanes)


@compiled()
def row_of(array, n, width):
    """The address of row n; 0 stays 0."""
    return array + n * width if array else array


@compiled()
def before(states, first, n, t, T, width, backwards):
    """The address of sequence n's state before step t: that of `first` (N, H), or 0, where no step comes before."""
    before = t + 1 if backwards else t - 1
    if 0 <= before < T:
        return states + (n * T + before) * width
    return row_of(first, n, width)


@compiled()
def lives(mask, place):
    """Whether a step counts."""
    return mask == 0 or load_int(mask + 8 * place) != 0


@compiled()
def keep_inputs(x, F, h, factor, H, row, target, stride):
    """[x | 1 | factor h] is put together at the address `row` and goes to its place in the panels of A."""
    copy_row(x, row, F)
    store_float(np.float32(1), row + F * FLOAT)
    scale_row(h, factor, row + (F + 1) * FLOAT, H)
    scatter_row(row, F + 1 + H, np.int64(HIGH), target, stride)


@compiled()
def scatter_row(source, count, width, target, stride):
    """A row's numbers, `width` to each panel; the row of the first is at `target`."""
    step = FLOAT * width
    for _ in range(0, count, width):
        for p in range(0, step, STEP):
            store_part(load_part(source + p, width - p // FLOAT), target + p, width - p // FLOAT)
        source += step
        target += stride


# -- weight gradients --------------------------------------------------------------------------------------------------


class Gradients:
    """C = A' D over all steps: A (K, M) = [x | 1 | h'] in panels of HIGH, D (K, G) = dz in panels of PANEL columns.

    K = T N rows in the order of the steps. parts: for each run of columns of D, their number, and the first and last
    row of C wanted of it; a run begins at a panel of its own.
    """

    def __init__(self, K, M, *parts):
        self.K, self.M = K, M
        self.row_panels = -(-M // HIGH)
        self.row_stride = rounded(K * HIGH * FLOAT, 64) + 64 * 5
        self.parts, self.starts, panels = parts, [], 0
        for columns, _, _ in parts:
            self.starts.append(panels)
            panels += -(-columns // PANEL)
        self.panels = panels
        self.column_stride = K * PANEL_STEP + 64 * 5
        self.rows_memory = memory.empty((self.row_panels * self.row_stride // FLOAT + LANES,), np.float32)
        self.rows_place = address(self.rows_memory)
        self.columns = memory.empty((panels * self.column_stride // FLOAT,), np.float32)

    def place(self, part: int) -> int:
        """The address of a part's first panel."""
        return self.columns.ctypes.data + self.starts[part] * self.column_stride

    def fields(self) -> dict[str, int]:
        """For the job of the tasks that fill the panels; dz is the first part's."""
        return ints(kept=self.rows_place, kept_stride=self.row_stride, dz=self.place(0), dz_stride=self.column_stride)

    def product(self) -> list[np.ndarray]:
        """C of every part, (M, columns)."""
        C = memory.empty((self.row_panels * HIGH, self.panels * PANEL), np.float32)
        work = []
        for (columns, low, high), start in zip(self.parts, self.starts, strict=True):
            end = start + -(-columns // PANEL)
            for panel in range(start, end, COLUMN_PANELS):
                work += [panel, min(panel + COLUMN_PANELS, end), low // HIGH, -(-high // HIGH)]
        count = len(work) // 4
        job = [self.rows_place, self.row_stride, address(self.columns), self.column_stride, self.K,
               address(C), C.strides[0], 0, 0]  # fmt: skip
        small = self.K * C.size < SERIAL_BELOW
        tasks.run(gradient_tasks(), count, np.array(job + work), 0, small)
        return [C[: self.M, s * PANEL : s * PANEL + p[0]] for s, p in zip(self.starts, self.parts, strict=True)]


def give(C, targets, heights) -> None:
    """Runs of rows of C become these gradients, None where one is not wanted."""
    row = 0
    for target, height in zip(targets, heights, strict=True):
        if target is not None:
            target.reshape(height, -1)[...] = C[row : row + height]
        row += height


@entry_point(ENTRY)
def gradient_tasks(first, last, job, work):
    """Some panels of C, all of K in order."""
    rows, row_stride, columns, column_stride, K, c, c_stride, _, _ = load_gradients(job)
    denormals = flush_denormals()
    a_step, b_step, none = np.int64(HIGH * FLOAT), np.int64(PANEL_STEP), np.int64(0)
    for task in range(first, last):
        panel_begin, panel_end, begin, end = load_task(job + 8 * (9 + 4 * task))
        for k in range(0, K, PIECE):
            depth = min(PIECE, K - k)
            for panel in range(panel_begin, panel_end):
                b = columns + panel * column_stride + k * PANEL_STEP
                for i in range(begin, end):
                    place = c + i * HIGH * c_stride + panel * PANEL_STEP
                    adjacent_wide(rows + i * row_stride + k * a_step, a_step, b, b_step, depth, place, c_stride,
                                  place if k else none, c_stride)  # fmt: skip
    restore_denormals(denormals)


# -- calls -------------------------------------------------------------------------------------------------------------


def rows_of_a_task(N: int, work: int) -> int:
    """How many sequences a task has: several tasks for a small batch, too. work: multiply-adds of a sequence."""
    if threads.get_num_threads() == 1 or N * work < SERIAL_BELOW:
        return BLOCK_ROWS
    return min(BLOCK_ROWS, max(SMALL_ROWS, rounded(-(-N // 2), 4)))


def run(function, N, rows, job, work_bytes) -> None:
    """The tasks of N sequences, `rows` in each."""
    tasks.run(function, -(-N // rows), job, work_bytes, threads.get_num_threads() == 1)
