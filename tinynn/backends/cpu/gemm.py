"""Matrix product C = op(A) op(B), written for every processor by the generator in microkernel.py.

The scheme is that of Goto & van de Geijn (2008) and BLIS (2015), with one change for the sake of threads: C is
cut into tiles by its shape alone, and a tile is one task that packs what it needs and adds up all of the depth by
itself. So no task waits for another, and neither the number of threads nor their timing can change a byte.

Inside a tile:  for every piece of the depth           (its slice of B is packed, L2)
                    for every block of rows            (its slice of A stays in L1)
                        for every panel of columns     micro-kernel, block of C in registers

All matrices are described as (address, byte stride of rows, byte stride of columns). So a transposed operand is
two strides exchanged, and C^T = op(B)^T op(A)^T is the same code as C.
"""

import threading

import numpy as np
from numba import prange, types

from . import threads
from .microkernel import (
    call_range,
    load_float,
    make_column_sums,
    make_copy,
    make_dots,
    make_load_ints,
    make_product,
    make_transpose,
    store_float,
)
from .simd import BLOCK, compiled, entry_point, with_signature

LANES = BLOCK.lanes
PANEL = BLOCK.columns
HIGH, MIDDLE, LOW = BLOCK.rows
FLOAT = 4
"""Bytes of a float32."""

DEPTH = 320
"""Longest piece of the depth where A is packed: HIGH x DEPTH of A is a part of L1, DEPTH x TILE_COLUMNS of B of L2."""
DEPTH_UNPACKED = 1024
"""Longest piece where A is read as it lies: longer, since C is then written less often."""
TILE_ROWS, TILE_COLUMNS = 768, 256
"""Largest tile of C: tall, since every tile packs its own slices of B. Rows are a multiple of every HIGH."""
UNPACKED_COLUMNS = 2 * PANEL
"""Up to this width of a tile rows of A are used too seldom to be worth packing."""
NARROW = 12
"""Up to this width of C other ways of using the lanes are looked for."""

SERIAL_BELOW = 1_000_000
"""Multiply-adds below which the start of a parallel region costs more than it gives."""
TASK_WORK = 1 << 18
"""Multiply-adds that a task should have at least."""
MANY_TASKS = 16
"""No tile is made smaller than it need be once there are so many, or one per HUGE_TASK."""
HUGE_TASK = 1 << 28
SMALL_TILE = 48
"""Fewer rows in a tile would spend their time in packing B; half as many again where B does not stay in a cache."""

SUM_ROWS = 512
"""Fewest rows in a piece of a sum over rows."""
SUM_PIECES = 64
SUM_COLUMNS = 256
SUM_SERIAL_BELOW = 100_000
"""Numbers below which a sum over rows is done by one thread."""

A_STRIDE = FLOAT * (DEPTH + LANES)
"""Byte stride of packed rows of A: no power of two, so that rows do not compete for one set of the cache."""
B_PLACE = HIGH * A_STRIDE + FLOAT * 2 * PANEL
PLAN_FIELDS = 20
C_PLACE = B_PLACE + FLOAT * (TILE_COLUMNS * DEPTH + (LANES + 2) * PANEL)
WORK_BYTES = C_PLACE + FLOAT * HIGH * 2 * PANEL

rows_high_wide = make_product(HIGH, 2, rows_adjacent=False)
rows_high_slim = make_product(HIGH, 1, rows_adjacent=False)
rows_middle_wide = make_product(MIDDLE, 2, rows_adjacent=False)
rows_middle_slim = make_product(MIDDLE, 1, rows_adjacent=False)
rows_low_wide = make_product(LOW, 2, rows_adjacent=False)
rows_low_double = make_product(LOW, 4, rows_adjacent=False)
rows_low_slim = make_product(LOW, 1, rows_adjacent=False)
columns_wide = make_product(HIGH, 2, rows_adjacent=True)
columns_slim = make_product(HIGH, 1, rows_adjacent=True)
copy_wide = make_copy(2, masked=False)
copy_slim = make_copy(1, masked=False)
copy_wide_part = make_copy(2, masked=True)
copy_slim_part = make_copy(1, masked=True)
transpose_square = make_transpose()
load_plan = make_load_ints(PLAN_FIELDS)
load_sum_plan = make_load_ints(8)
sums_whole = make_column_sums(4, masked=False)
sums_part = make_column_sums(4, masked=True)
sums_small_part = make_column_sums(2, masked=True)
DOT_ROWS, DOT_COLUMNS = 6, 2
dots = make_dots(DOT_ROWS, DOT_COLUMNS)


@compiled()
def multiply_block(rows_adjacent, height, width, a, sa, b, sb, depth, c, sc, addend, saddend):
    """One block of C by the micro-kernel of its shape."""
    if rows_adjacent:
        if width == PANEL:
            columns_wide(a, sa, b, sb, depth, c, sc, addend, saddend)
        else:
            columns_slim(a, sa, b, sb, depth, c, sc, addend, saddend)
    elif height == HIGH:
        if width == PANEL:
            rows_high_wide(a, sa, b, sb, depth, c, sc, addend, saddend)
        else:
            rows_high_slim(a, sa, b, sb, depth, c, sc, addend, saddend)
    elif height == MIDDLE:
        if width == PANEL:
            rows_middle_wide(a, sa, b, sb, depth, c, sc, addend, saddend)
        else:
            rows_middle_slim(a, sa, b, sb, depth, c, sc, addend, saddend)
    elif width == 2 * PANEL:
        rows_low_double(a, sa, b, sb, depth, c, sc, addend, saddend)
    elif width == PANEL:
        rows_low_wide(a, sa, b, sb, depth, c, sc, addend, saddend)
    else:
        rows_low_slim(a, sa, b, sb, depth, c, sc, addend, saddend)


@compiled()
def pack_panel(source, depth_stride, item_stride, depth, items, width, target):
    """target[k, i] = source[k, i] for i < items <= width, rows of the target `width` numbers apart.

    Numbers beyond `items` are of no account (the results that they enter are not stored). May write up to PANEL
    numbers behind the last row.
    """
    step = FLOAT * width
    if item_stride == FLOAT:
        if items == PANEL:
            copy_wide(source, depth_stride, target, step, depth, items)
        elif items == LANES:
            copy_slim(source, depth_stride, target, step, depth, items)
        elif items > LANES:
            copy_wide_part(source, depth_stride, target, step, depth, items)
        else:
            copy_slim_part(source, depth_stride, target, step, depth, items)
    elif depth_stride == FLOAT and width >= LANES:
        # The last square writes up to LANES rows too many: room that the panel behind, or the reserve, has.
        for k in range(0, depth, LANES):
            for i in range(0, items, LANES):
                transpose_square(source + i * item_stride + k * FLOAT, item_stride, min(LANES, items - i) - 1,
                                 min(LANES, depth - k), target + i * FLOAT + k * step, step)  # fmt: skip
    else:
        for k in range(depth):
            for i in range(items):
                store_float(load_float(source + k * depth_stride + i * item_stride), target + k * step + i * FLOAT)


@compiled()
def pack_rows(source, row_stride, rows, depth, target):
    """Copy rows of A side by side: same order, but close together and out of each other's cache sets."""
    whole = depth // LANES
    rest = depth - whole * LANES
    for i in range(rows):
        read, write = source + i * row_stride, target + i * A_STRIDE
        copy_slim(read, FLOAT * LANES, write, FLOAT * LANES, whole, LANES)
        if rest:
            done = whole * LANES * FLOAT
            copy_slim_part(read + done, 0, write + done, 0, 1, rest)


@compiled()
def store_part(block, block_stride, rows, columns, c, c_row, c_col, addend, add_row, add_col):
    """Copy the part of a block that lies inside C, adding the addend."""
    for i in range(rows):
        for j in range(columns):
            value = load_float(block + i * block_stride + j * FLOAT)
            if addend != 0:
                value += load_float(addend + i * add_row + j * add_col)
            store_float(value, c + i * c_row + j * c_col)


@compiled()
def multiply_tile(rows, columns, depth, a, a_row, a_col, b, b_row, b_col, c, c_row, c_col,
                  addend, add_row, add_col, work):  # fmt: skip
    """C = A B (+ addend) for one tile and one piece of the depth; strides in bytes, work is an address."""
    rows_adjacent = a_col != FLOAT
    pack_b = rows > 2 * HIGH or b_col != FLOAT
    pack_a = columns > UNPACKED_COLUMNS
    packed_a, packed_b, block = work, work + B_PLACE, work + C_PLACE
    # Numba compiles a helper anew for every literal argument; these are no literals.
    block_stride, none = np.int64(2 * PANEL * FLOAT), np.int64(0)

    for j in range(0, columns, PANEL):
        items = min(PANEL, columns - j)
        width = PANEL if items > LANES else LANES
        if pack_b or items < width:
            pack_panel(b + j * b_col, b_row, b_col, depth, items, width, packed_b + j * depth * FLOAT)

    i = 0
    while i < rows:
        height = rows - i
        if height >= HIGH or rows_adjacent:
            height = HIGH
        elif height >= MIDDLE:
            height = MIDDLE
        else:
            height = LOW
        inside_rows = min(height, rows - i)

        a_block, a_stride = a + i * a_row, a_row
        if rows_adjacent:
            pack_panel(a_block, a_col, a_row, depth, inside_rows, height, packed_a)
            a_block, a_stride = packed_a, FLOAT * HIGH
        elif pack_a:
            pack_rows(a_block, a_row, height, depth, packed_a)
            a_block, a_stride = packed_a, A_STRIDE

        j = 0
        while j < columns:
            items = min(PANEL, columns - j)
            width = PANEL if items > LANES else LANES
            if height == LOW and not pack_b and columns - j >= 2 * PANEL:
                items = width = 2 * PANEL  # one row alone keeps too few chains going
            if pack_b or items < width:
                b_block, b_stride = packed_b + j * depth * FLOAT, width * FLOAT
            else:
                b_block, b_stride = b + j * b_col, b_row
            target, other = c + i * c_row + j * c_col, addend
            if addend != 0:
                other += i * add_row + j * add_col
            whole = inside_rows == height and items == width
            direct = whole and c_col == FLOAT and (addend == 0 or add_col == FLOAT)
            if direct:
                place, place_stride, known, known_stride = target, c_row, other, add_row
            else:
                place, place_stride, known, known_stride = block, block_stride, none, none
            multiply_block(rows_adjacent, height, width, a_block, a_stride, b_block, b_stride, depth,
                           place, place_stride, known, known_stride)  # fmt: skip
            if not direct:
                store_part(block, block_stride, inside_rows, items, target, c_row, c_col, other, add_row, add_col)
            j += items
        i += height


@compiled()
def multiply_narrow_tile(rows, columns, depth, a, a_row, b, b_row, b_col, c, c_row, c_col,
                         addend, add_row, add_col, work):  # fmt: skip
    """The same for few columns, rows of A along the depth: every number of C is a dot product."""
    packed_b, block = work + B_PLACE, work + C_PLACE
    block_stride, b_stride = np.int64(DOT_COLUMNS * FLOAT), b_col
    if b_row != FLOAT:  # B^T, one row of it behind the other
        b_stride = FLOAT * (depth + LANES)
        if b_col == FLOAT:
            for k in range(0, depth, LANES):
                for j in range(0, columns, LANES):
                    source, target = b + k * b_row + j * FLOAT, packed_b + j * b_stride + k * FLOAT
                    transpose_square(source, b_row, min(LANES, depth - k) - 1, min(LANES, columns - j),
                                     target, b_stride)  # fmt: skip
        else:
            for j in range(columns):
                for k in range(depth):
                    store_float(load_float(b + k * b_row + j * b_col), packed_b + j * b_stride + k * FLOAT)
        b = packed_b
    for i in range(0, rows, DOT_ROWS):
        inside_rows = min(DOT_ROWS, rows - i)
        for j in range(0, columns, DOT_COLUMNS):
            items = min(DOT_COLUMNS, columns - j)
            dots(a + i * a_row, a_row, inside_rows - 1, b + j * b_stride, b_stride, items - 1, depth, block)
            other = addend
            if addend != 0:
                other += i * add_row + j * add_col
            target = c + i * c_row + j * c_col
            store_part(block, block_stride, inside_rows, items, target, c_row, c_col, other, add_row, add_col)


@entry_point("void(int64, int64, int64, int64)")
def multiply_tiles(first, last, plan, work):
    """The tiles with numbers first .. last-1 of a plan (the address of what `make_plan` wrote)."""
    (m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, c_col, addend, add_row, add_col,
     tile_rows, tile_columns, grid_columns, piece, narrow) = load_plan(plan)  # fmt: skip
    for tile in range(first, last):
        i = tile // grid_columns * tile_rows
        j = tile % grid_columns * tile_columns
        rows = min(tile_rows, m - i)
        columns = min(tile_columns, n - j)
        c_tile = c + i * c_row + j * c_col
        for k_begin in range(0, k, piece):
            depth = min(piece, k - k_begin)
            a_tile, b_tile = a + i * a_row + k_begin * a_col, b + j * b_col + k_begin * b_row
            if k_begin == 0:
                other, other_row, other_col = addend, add_row, add_col
                if addend != 0:
                    other += i * add_row + j * add_col
            else:
                other, other_row, other_col = c_tile, c_row, c_col
            if narrow:
                multiply_narrow_tile(rows, columns, depth, a_tile, a_row, b_tile, b_row, b_col,
                                     c_tile, c_row, c_col, other, other_row, other_col, work)  # fmt: skip
            else:
                multiply_tile(rows, columns, depth, a_tile, a_row, a_col, b_tile, b_row, b_col,
                              c_tile, c_row, c_col, other, other_row, other_col, work)  # fmt: skip


@compiled()
def cut(m, n, k):
    """(rows, columns) of a tile for an m x n x k product: by shape only, tiles as equal as they can be."""
    row_tiles = (m + TILE_ROWS - 1) // TILE_ROWS
    column_tiles = (n + TILE_COLUMNS - 1) // TILE_COLUMNS
    size = m * n * k
    wanted = min(max(MANY_TASKS, size // HUGE_TASK), size // TASK_WORK)
    fewest_rows = SMALL_TILE if n * k <= TILE_COLUMNS * DEPTH else SMALL_TILE * 3 // 2
    while row_tiles * column_tiles < wanted:
        rows, columns = m // (row_tiles + 1), n // (column_tiles + 1)
        if rows >= fewest_rows and (m // row_tiles >= n // column_tiles or columns < PANEL):
            row_tiles += 1
        elif columns >= PANEL:
            column_tiles += 1
        else:
            break
    # -(-x // y) is x / y rounded up.
    return -(-m // (row_tiles * HIGH)) * HIGH, -(-n // (column_tiles * PANEL)) * PANEL


@compiled()
def make_plan(c, a, b, transpose_a, transpose_b, bias, accumulate, plan):
    """Write addresses, byte strides and tiles in the order that `multiply_tiles` reads; return the number of tiles."""
    m, n = c.shape
    a_row, a_col = np.int64(a.strides[0]), np.int64(a.strides[1])
    b_row, b_col = np.int64(b.strides[0]), np.int64(b.strides[1])
    c_row, c_col = np.int64(c.strides[0]), np.int64(c.strides[1])
    k = a.shape[1]
    if transpose_a:
        k = a.shape[0]
        a_row, a_col = a_col, a_row
    if transpose_b:
        b_row, b_col = b_col, b_row
    a_place, b_place, c_place = np.int64(a.ctypes.data), np.int64(b.ctypes.data), np.int64(c.ctypes.data)
    addend, add_row, add_col = np.int64(0), np.int64(0), np.int64(0)
    if bias.size:
        addend, add_col = np.int64(bias.ctypes.data), np.int64(FLOAT)
    if accumulate:
        addend, add_row, add_col = c_place, c_row, c_col
    wasteful = -(-n // LANES) * LANES > -(-n // HIGH) * HIGH
    if a_col != FLOAT and n <= NARROW and m > n and wasteful:
        # Narrow C, and A has the long side of C in order: vectors along that side leave fewer lanes idle.
        m, n = n, m
        a_place, a_row, a_col, b_place, b_row, b_col = b_place, b_col, b_row, a_place, a_col, a_row
        c_row, c_col = c_col, c_row
        add_row, add_col = add_col, add_row
    rows, columns = cut(m, n, k)
    grid_columns = (n + columns - 1) // columns
    in_rows = a_col == FLOAT
    narrow = in_rows and n <= NARROW and 5 * n < 4 * LANES * -(-n // LANES)
    # By N, not by the width of a tile: that depends on M, and a row of C shall not.
    longest = DEPTH_UNPACKED if in_rows and n <= UNPACKED_COLUMNS else DEPTH
    pieces = -(-k // longest)
    piece = -(-k // (pieces * LANES)) * LANES
    fields = (m, n, k, a_place, a_row, a_col, b_place, b_row, b_col, c_place, c_row, c_col,
              addend, add_row, add_col, rows, columns, grid_columns, piece, np.int64(narrow))  # fmt: skip
    for i in range(len(fields)):
        plan[i] = fields[i]
    return (m + rows - 1) // rows * grid_columns


# One signature for all layouts: see `with_signature`.
TARGET = types.Array(types.float32, 2, "A", aligned=False)
SOURCE = types.Array(types.float32, 2, "A", readonly=True, aligned=False)
BIAS = types.Array(types.float32, 1, "C", readonly=True, aligned=False)
PLAN = types.Array(types.int64, 1, "C")
WORK = types.Array(types.uint8, 2, "C")
DOUBLES = types.Array(types.float64, 2, "A", readonly=True)
DOUBLES_SIDE_BY_SIDE = types.Array(types.float64, 2, "C", readonly=True)
FLAG, NUMBER = types.boolean, types.int64
PRODUCT = (TARGET, SOURCE, SOURCE, FLAG, FLAG, BIAS, FLAG, PLAN, WORK, NUMBER)
SUMS = (TARGET, SOURCE, NUMBER, PLAN, NUMBER)


@with_signature(*PRODUCT)
@compiled()
def gemm_serial(c, a, b, transpose_a, transpose_b, bias, accumulate, plan, work, function):
    tiles = make_plan(c, a, b, transpose_a, transpose_b, bias, accumulate, plan)
    call_range(function, 0, tiles, np.int64(plan.ctypes.data), np.int64(work.ctypes.data))


@with_signature(*PRODUCT, NUMBER)
@compiled(parallel=True)
def gemm_parallel(c, a, b, transpose_a, transpose_b, bias, accumulate, plan, work, function, workers):
    tiles = make_plan(c, a, b, transpose_a, transpose_b, bias, accumulate, plan)
    plan_place, work_place, work_stride = np.int64(plan.ctypes.data), np.int64(work.ctypes.data), work.strides[0]
    for worker in prange(workers):
        w = np.int64(worker)  # prange counts in uint64, and uint64 with int64 would make float64
        first, last = w * tiles // workers, (w + 1) * tiles // workers
        call_range(function, first, last, plan_place, work_place + w * work_stride)


@with_signature(types.float64[:, :], DOUBLES, DOUBLES_SIDE_BY_SIDE, types.float64[::1])
@compiled()
def gemm_double(c, a, b, row):
    """C += A B in float64, without vectors of our own: one row of C at a time, all of K in order."""
    m, n = c.shape
    for i in range(m):
        for j in range(n):
            row[j] = c[i, j]
        for k in range(a.shape[1]):
            x = a[i, k]
            for j in range(n):
                row[j] += x * b[k, j]
        for j in range(n):
            c[i, j] = row[j]


@compiled()
def sum_tile(a, stride, rows, columns, result):
    """Sums over the rows of a tile."""
    step = 4 * LANES
    for j in range(0, columns, step):
        here, there = a + j * FLOAT, result + j * FLOAT
        if columns - j >= step:
            sums_whole(here, stride, rows, step, there)
        elif columns - j <= step // 2:
            sums_small_part(here, stride, rows, columns - j, there)
        else:
            sums_part(here, stride, rows, columns - j, there)


@entry_point("void(int64, int64, int64, int64)")
def sum_tiles(first, last, plan, work):
    """The tiles with numbers first .. last-1: each a piece of the rows of SUM_COLUMNS columns."""
    rows, columns, a, stride, result, result_stride, piece, strips = load_sum_plan(plan)
    for tile in range(first, last):
        i, j = tile // strips * piece, tile % strips * SUM_COLUMNS
        sum_tile(a + i * stride + j * FLOAT, stride, min(piece, rows - i), min(SUM_COLUMNS, columns - j),
                 result + tile // strips * result_stride + j * FLOAT)  # fmt: skip


@compiled()
def make_sum_plan(result, a, piece, plan):
    """Write what `sum_tiles` reads; return the number of tiles. Row i of the result is the sum of piece i."""
    rows, columns = a.shape
    strips = (columns + SUM_COLUMNS - 1) // SUM_COLUMNS
    plan[0], plan[1], plan[2], plan[3] = rows, columns, np.int64(a.ctypes.data), a.strides[0]
    plan[4], plan[5], plan[6], plan[7] = np.int64(result.ctypes.data), result.strides[0], piece, strips
    return strips * ((rows + piece - 1) // piece)


@with_signature(*SUMS)
@compiled()
def sums_serial(result, a, piece, plan, function):
    call_range(function, 0, make_sum_plan(result, a, piece, plan), np.int64(plan.ctypes.data), 0)


@with_signature(*SUMS, NUMBER)
@compiled(parallel=True)
def sums_parallel(result, a, piece, plan, function, workers):
    tiles = make_sum_plan(result, a, piece, plan)
    place = np.int64(plan.ctypes.data)
    for worker in prange(workers):
        w = np.int64(worker)
        call_range(function, w * tiles // workers, (w + 1) * tiles // workers, place, 0)


class _Workspace(threading.local):
    """Scratch memory of the calling Python thread: kept, so that a product allocates nothing."""

    def __init__(self):
        self.plan = np.empty(PLAN_FIELDS, np.int64)
        self.rows = np.empty((0, 0), np.uint8)
        self.partial = np.empty(0, np.float32)

    def for_workers(self, workers: int) -> np.ndarray:
        """One row per worker, at a 64-byte boundary, and not at the same place of a page for all."""
        if len(self.rows) < workers:
            stride = -(-WORK_BYTES // 4096) * 4096 + 64
            memory = np.empty(workers * stride + 64, np.uint8)
            start = -memory.ctypes.data % 64
            self.rows = memory[start : start + workers * stride].reshape(workers, stride)
        return self.rows


_workspace = _Workspace()
_NO_BIAS = np.zeros(0, np.float32)


def gemm(c, a, b, transpose_a=False, transpose_b=False, bias=None, accumulate=False) -> None:
    """C = op(A) op(B) (+ bias per column) (+ C), op(X) = X^T where asked for.

    c is (M, N), op(a) is (M, K), op(b) is (K, N), bias is (N,); all of one dtype, float32 or float64 (the latter
    slower: it is for checks). Rows side by side in memory are fast, with any distance from row to row; other
    strides are right, but may be slow. c must share no memory with a, b and bias. K = 0 gives sums of nothing.
    C has the same bytes for every number of threads. Without `transpose_a` a row of C also has the same bytes
    whatever the other rows are, and however many: a prediction does not depend on its batch.
    """
    m, n = c.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    size = m * n * k
    if size == 0 or c.itemsize != FLOAT:
        _gemm_plain(c, a.T if transpose_a else a, b.T if transpose_b else b, bias, accumulate)
        return
    if bias is None:
        bias = _NO_BIAS
    elif accumulate:  # the kernels take one addend
        c += bias
        bias = _NO_BIAS
    workers = threads.get_num_threads()
    space = _workspace
    function = multiply_tiles()
    if workers == 1 or size < SERIAL_BELOW:
        work = space.for_workers(1)
        gemm_serial()(c, a, b, transpose_a, transpose_b, bias, accumulate, space.plan, work, function)
        return
    with threads.parallel_region():
        workers = threads.workers()
        work = space.for_workers(workers)
        gemm_parallel()(c, a, b, transpose_a, transpose_b, bias, accumulate, space.plan, work, function, workers)


def _gemm_plain(c, a, b, bias, accumulate) -> None:
    """Float64 and empty products."""
    if not accumulate:
        c[...] = 0
    if bias is not None:
        c += bias
    if c.size and b.size:
        gemm_double()(c, a, np.ascontiguousarray(b), np.empty(c.shape[1], c.dtype))


def column_sums(out, a) -> None:
    """out[n] = sum over m of a[m, n]; a is (M, N) with rows side by side in memory, out is (N,), contiguous.

    The rows are cut into pieces by their number alone, pieces are summed side by side and their sums in order.
    """
    rows, columns = a.shape
    if rows * columns == 0 or a.itemsize != FLOAT:
        np.add.reduce(a, axis=0, out=out)
        return
    piece = max(SUM_ROWS, -(-rows // SUM_PIECES))
    pieces = -(-rows // piece)
    if pieces == 1:
        _sum_pieces(out.reshape(1, columns), a, piece)
        return
    space = _workspace
    if space.partial.size < pieces * columns:
        space.partial = np.empty(pieces * columns, np.float32)
    partial = space.partial[: pieces * columns].reshape(pieces, columns)
    _sum_pieces(partial, a, piece)
    _sum_pieces(out.reshape(1, columns), partial, pieces)


def _sum_pieces(result, a, piece) -> None:
    """Row i of the result is the sum of the i-th `piece` rows of a."""
    if a.size < SUM_SERIAL_BELOW or threads.get_num_threads() == 1:
        sums_serial()(result, a, piece, _workspace.plan, sum_tiles())
        return
    with threads.parallel_region():
        sums_parallel()(result, a, piece, _workspace.plan, sum_tiles(), threads.workers())
