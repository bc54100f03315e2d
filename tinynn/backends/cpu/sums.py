"""Sums over the rows of a matrix, and the gradient of relu on the way: dy = 0 where y <= 0.

The rows are cut into pieces by their number alone; pieces are summed side by side, and their sums in order.
"""

import numpy as np

from .microkernel import make_column_sums, make_load_ints, store_int
from .plan import FLOAT, LANES
from .simd import compiled, entry_point
from .tasks import ENTRY
from .vectors import broadcast, flush_denormals, load_part, restore_denormals, select_at_most, store_part

SUM_ROWS = 512
"""Fewest rows in a piece of a sum over rows."""
SUM_PIECES = 64
SUM_COLUMNS = 128
SUM_FIELDS = 10

load_sum_plan = make_load_ints(SUM_FIELDS)
sums_whole = make_column_sums(4, masked=False)
sums_part = make_column_sums(4, masked=True)
sums_small_part = make_column_sums(2, masked=True)


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


@compiled()
def mask_tile(dy, stride, y, y_stride, rows, columns):
    """dy = 0 where y <= 0; NaN in y lets dy pass."""
    zero = broadcast(np.float32(0))
    for i in range(rows):
        for j in range(0, columns, LANES):
            here, count = dy + i * stride + j * FLOAT, columns - j
            known = load_part(y + i * y_stride + j * FLOAT, count)
            store_part(select_at_most(known, zero, zero, load_part(here, count)), here, count)


@entry_point(ENTRY)
def sum_tiles(first, last, plan, work):
    """The tiles with numbers first .. last-1: each a piece of the rows of SUM_COLUMNS columns."""
    rows, columns, a, stride, y, y_stride, result, result_stride, piece, strips = load_sum_plan(plan)
    previous = flush_denormals()
    for tile in range(first, last):
        i, j = tile // strips * piece, tile % strips * SUM_COLUMNS
        tile_rows, tile_columns = min(piece, rows - i), min(SUM_COLUMNS, columns - j)
        place = a + i * stride + j * FLOAT
        if y != 0:
            mask_tile(place, stride, y + i * y_stride + j * FLOAT, y_stride, tile_rows, tile_columns)
        if result != 0:
            sum_tile(place, stride, tile_rows, tile_columns, result + tile // strips * result_stride + j * FLOAT)
    restore_denormals(previous)


@compiled()
def make_sum_plan(result, result_stride, a, y, piece, plan):
    """Write what `sum_tiles` reads to the address `plan`, and return the number of tiles.

    Row i of the result is the sum of piece i of a, which is masked by y before; result, y and plan are addresses, 0 for
    what is not wanted. y has the shape of a, and its rows lie side by side.
    """
    rows, columns = a.shape
    strips = (columns + SUM_COLUMNS - 1) // SUM_COLUMNS
    fields = (rows, columns, np.int64(a.ctypes.data), np.int64(a.strides[0]), y, FLOAT * columns,
              result, result_stride, piece, strips)  # fmt: skip
    for i in range(len(fields)):
        store_int(fields[i], plan + 8 * i)
    return strips * ((rows + piece - 1) // piece)


def piece_of(rows: int) -> int:
    """How many rows are summed in one go."""
    return max(SUM_ROWS, -(-rows // SUM_PIECES))
