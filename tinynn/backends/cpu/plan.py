"""How a product is cut into tiles, by its shape alone; and the list of numbers that describes it to its tasks.

The sizes follow from what the processor offers: registers (simd.py), L1 and L2.
"""

import numpy as np

from .microkernel import store_int
from .simd import BLOCK, compiled
from .tasks import stride_of

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

TASK_WORK = 1 << 18
"""Multiply-adds that a task should have at least."""
MANY_TASKS = 16
"""No tile is made smaller than it need be once there are so many, or one per HUGE_TASK."""
HUGE_TASK = 1 << 28
SMALL_TILE = 48
"""Fewer rows in a tile would spend their time in packing B; half as many again where B does not stay in a cache."""

A_STRIDE = FLOAT * (DEPTH + LANES)
"""Byte stride of packed rows of A: no power of two, so that rows do not compete for one set of the cache."""
B_PLACE = HIGH * A_STRIDE + FLOAT * 2 * PANEL
C_PLACE = B_PLACE + FLOAT * (TILE_COLUMNS * DEPTH + (LANES + 2) * PANEL)
WORK_STRIDE = stride_of(C_PLACE + FLOAT * HIGH * 2 * PANEL)
"""Bytes from the scratch of one thread to that of the next."""

PLAN_FIELDS = 22
"""Of a product: see `make_plan`."""
PLAN_BYTES = 8 * PLAN_FIELDS


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
def make_plan(c, a, b, transpose_a, transpose_b, bias, accumulate, floor, plan):
    """Write the fields of a product to the address `plan`, in the order of tiles.py; return the number of its tiles.

    C = op(A) op(B) (+ bias per column, an address or 0) (+ C), and where `floor` is not 0 the larger of that and 0.
    """
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
    if bias != 0:
        addend, add_col = bias, np.int64(FLOAT)
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
    tiles = (m + rows - 1) // rows * grid_columns
    fields = (tiles, m, n, k, a_place, a_row, a_col, b_place, b_row, b_col, c_place, c_row, c_col,
              addend, add_row, add_col, rows, columns, grid_columns, piece,
              np.int64(narrow), np.int64(floor))  # fmt: skip
    for i in range(len(fields)):
        store_int(fields[i], plan + 8 * i)
    return tiles
