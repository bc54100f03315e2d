"""Matrix product C = op(A) op(B), written for every processor by the generator in microkernel.py.

The scheme is that of Goto & van de Geijn (2008) and BLIS (2015), with one change for the sake of threads: C is
cut into tiles by its shape alone, and a tile is one task that packs what it needs and adds up all of the depth by
itself. So no task waits for another, and neither the number of threads nor their timing can change a byte.

Inside a tile:  for every piece of the depth           (its slice of B is packed, L2, by the first block that reads it)
                    for every block of rows            (its slice of A stays in L1)
                        for every panel of columns     micro-kernel, block of C in registers

All matrices are described as (address, byte stride of rows, byte stride of columns). So a transposed operand is
two strides exchanged, and C^T = op(B)^T op(A)^T is the same code as C.
"""

import numpy as np

from .microkernel import LINE, load_float, load_int, make_dots, make_load_ints, make_product, store_float
from .packing import pack_panel, pack_rows, transpose_square
from .plan import (
    A_STRIDE,
    B_PLACE,
    C_PLACE,
    FLOAT,
    HIGH,
    LANES,
    LOW,
    MIDDLE,
    PANEL,
    PLAN_BYTES,
    PLAN_FIELDS,
    UNPACKED_COLUMNS,
)
from .simd import compiled, entry_point
from .tasks import ENTRY, PAGE
from .vectors import flush_denormals, prefetch, restore_denormals

rows_high_wide = make_product(HIGH, 2, rows_adjacent=False, floor=True, unroll=1)
rows_high_packing = make_product(HIGH, 2, rows_adjacent=False, floor=True, unroll=1, packing=True)
rows_high_slim = make_product(HIGH, 1, rows_adjacent=False, floor=True, unroll=1)
rows_middle_wide = make_product(MIDDLE, 2, rows_adjacent=False, floor=True)
rows_middle_slim = make_product(MIDDLE, 1, rows_adjacent=False, floor=True)
rows_low_wide = make_product(LOW, 2, rows_adjacent=False, floor=True)
rows_low_double = make_product(LOW, 4, rows_adjacent=False, floor=True)
rows_low_slim = make_product(LOW, 1, rows_adjacent=False, floor=True)
columns_wide = make_product(HIGH, 2, rows_adjacent=True, floor=True, unroll=1)
columns_slim = make_product(HIGH, 1, rows_adjacent=True, floor=True, unroll=1)
load_plan = make_load_ints(PLAN_FIELDS)
TALL, BROAD = (6, 2), (4, 5) if LANES == 16 else (6, 2)
"""Rows and columns of the blocks of a narrow product: BROAD loads less, and needs more registers."""
dots_tall = make_dots(*TALL)
dots_broad = make_dots(*BROAD)


@compiled()
def multiply_block(rows_adjacent, height, width, a, sa, b, sb, depth, c, sc, addend, saddend, floor):
    """One block of C by the micro-kernel of its shape."""
    if rows_adjacent:
        if width == PANEL:
            columns_wide(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
        else:
            columns_slim(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
    elif height == HIGH:
        if width == PANEL:
            rows_high_wide(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
        else:
            rows_high_slim(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
    elif height == MIDDLE:
        if width == PANEL:
            rows_middle_wide(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
        else:
            rows_middle_slim(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
    elif width == 2 * PANEL:
        rows_low_double(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
    elif width == PANEL:
        rows_low_wide(a, sa, b, sb, depth, c, sc, addend, saddend, floor)
    else:
        rows_low_slim(a, sa, b, sb, depth, c, sc, addend, saddend, floor)


@compiled()
def store_part(block, block_stride, rows, columns, c, c_row, c_col, addend, add_row, add_col, floor):
    """Copy the part of a block that lies inside C, adding the addend; where `floor` is not 0, nothing below 0."""
    lowest = np.float32(0 if floor != 0 else -np.inf)
    for i in range(rows):
        for j in range(columns):
            value = load_float(block + i * block_stride + j * FLOAT)
            if addend != 0:
                value += load_float(addend + i * add_row + j * add_col)
            store_float(lowest if value < lowest else value, c + i * c_row + j * c_col)


@compiled()
def multiply_tile(rows, columns, depth, a, a_row, a_col, b, b_row, b_col, c, c_row, c_col,
                  addend, add_row, add_col, floor, work):  # fmt: skip
    """C = A B (+ addend) for one tile and one piece of the depth; strides in bytes, work is an address."""
    rows_adjacent = a_col != FLOAT
    pack_b = rows > 2 * HIGH or b_col != FLOAT
    # Rows of B as they lie are packed by the blocks that use them first.
    pack_later = pack_b and b_col == FLOAT and not rows_adjacent
    pack_a = columns > UNPACKED_COLUMNS
    # Pieces of A^T that lie a page apart compete for one set of the cache, and are packed where they are read often.
    as_it_lies = rows_adjacent and a_row == FLOAT and (a_col % PAGE != 0 or not pack_a)
    packed_a, packed_b, block = work, work + B_PLACE, work + C_PLACE
    # Numba compiles a helper anew for every literal argument; these are no literals.
    block_stride, none = np.int64(2 * PANEL * FLOAT), np.int64(0)

    for j in range(0, columns, PANEL):
        items = min(PANEL, columns - j)
        width = PANEL if items > LANES else LANES
        if (pack_b and not (pack_later and items == PANEL)) or items < width:
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
        if as_it_lies and inside_rows == height:
            a_stride = a_col
        elif rows_adjacent:
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
                place, place_stride, known, known_stride, low = target, c_row, other, add_row, floor
            else:
                place, place_stride, known, known_stride, low = block, block_stride, none, none, none
            for r in range(height):  # C, wanted when the block is done, has come from far until then
                for p in range(0, PANEL * FLOAT, LINE):
                    prefetch(place + r * place_stride + p)
            if i == 0 and pack_later and items == PANEL:
                rows_high_packing(a_block, a_stride, b + j * b_col, b_row, depth,
                                  place, place_stride, known, known_stride, low, b_block)  # fmt: skip
            else:
                multiply_block(rows_adjacent, height, width, a_block, a_stride, b_block, b_stride, depth,
                               place, place_stride, known, known_stride, low)  # fmt: skip
            if not direct:
                store_part(block, block_stride, inside_rows, items, target, c_row, c_col,
                           other, add_row, add_col, floor)  # fmt: skip
            j += items
        i += height


@compiled()
def multiply_narrow_tile(rows, columns, depth, a, a_row, b, b_row, b_col, c, c_row, c_col,
                         addend, add_row, add_col, floor, work):  # fmt: skip
    """The same for few columns, rows of A along the depth: every number of C is a dot product."""
    packed_b, block = work + B_PLACE, work + C_PLACE
    # The one that computes fewer columns in vain.
    broad = -(-columns // BROAD[1]) * BROAD[1] <= -(-columns // TALL[1]) * TALL[1]
    dot_rows, dot_columns = BROAD if broad else TALL
    block_stride, b_stride = np.int64(dot_columns * FLOAT), b_col
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
    for i in range(0, rows, dot_rows):
        inside_rows = min(dot_rows, rows - i)
        for j in range(0, columns, dot_columns):
            items = min(dot_columns, columns - j)
            a_block, b_block = a + i * a_row, b + j * b_stride
            # Rows that may come from far, two with every block.
            ahead = a_block + (dot_rows + min(j // dot_columns * 2, dot_rows - 2)) * a_row
            if broad:
                dots_broad(a_block, a_row, inside_rows - 1, b_block, b_stride, items - 1, depth, block, ahead)
            else:
                dots_tall(a_block, a_row, inside_rows - 1, b_block, b_stride, items - 1, depth, block, ahead)
            other = addend
            if addend != 0:
                other += i * add_row + j * add_col
            target = c + i * c_row + j * c_col
            store_part(block, block_stride, inside_rows, items, target, c_row, c_col,
                       other, add_row, add_col, floor)  # fmt: skip


@compiled()
def multiply_numbered(tile, plan, work):
    """The tile of that number of a product (plan: the address of what `make_plan` wrote)."""
    (_, m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, c_col, addend, add_row, add_col,
     tile_rows, tile_columns, grid_columns, piece, narrow, floor) = load_plan(plan)  # fmt: skip
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
        last_floor = floor if k_begin + depth == k else 0
        if narrow:
            multiply_narrow_tile(rows, columns, depth, a_tile, a_row, b_tile, b_row, b_col,
                                 c_tile, c_row, c_col, other, other_row, other_col, last_floor, work)  # fmt: skip
        else:
            multiply_tile(rows, columns, depth, a_tile, a_row, a_col, b_tile, b_row, b_col,
                          c_tile, c_row, c_col, other, other_row, other_col, last_floor, work)  # fmt: skip


@entry_point(ENTRY)
def multiply_tiles(first, last, plans, work):
    """Tasks first .. last-1 of one or several products, whose plans lie one behind the other; work is an address."""
    denormals = flush_denormals()
    for task in range(first, last):
        tile, plan = task, plans
        while tile >= load_int(plan):
            tile -= load_int(plan)
            plan += PLAN_BYTES
        multiply_numbered(tile, plan, work)
    restore_denormals(denormals)
