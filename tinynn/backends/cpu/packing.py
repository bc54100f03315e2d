"""Packing: pieces of matrices side by side in the order in which the micro-kernels read them."""

from .microkernel import load_float, make_copy, make_transpose, store_float
from .plan import A_STRIDE, FLOAT, LANES, PANEL
from .simd import compiled

copy_wide = make_copy(2, masked=False)
copy_slim = make_copy(1, masked=False)
copy_wide_part = make_copy(2, masked=True)
copy_slim_part = make_copy(1, masked=True)
transpose_square = make_transpose()


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
