"""What comes after a convolution, and before it on the way back: each an entry point, compiled when it is first needed.

All take nine int64, the first of them the address of a list in the order of FOLLOW, about whole arrays. Those that come
after get (follow, n, i, count, rows, y, y_image, task, work): the rows i .. of count images n .. lie hot at y, image to
image y_image bytes. Those before get (follow, n, count, dy, dy_image, dy_row, 0, 0, 0) and write dy of these images.
"""

import numpy as np

from tinynn.activation import DEFAULT_ALPHA, Activation

from .images import (
    DOUBLE,
    activate_block,
    add_sums,
    floor_of,
    gradient_block,
    moments_block,
    norm_block,
    norm_sums_block,
    pool_block,
    pool_pairs,
    pooled_sums_block,
    unpool_block,
    unpool_pairs,
)
from .microkernel import make_load_ints
from .simd import entry_point
from .tasks import BLOCK_ENTRY, named

FOLLOW = named("""
    y y_image y_row OH OW O norm kind z z_image z_row dz dz_image dz_row place place_image place_row
    pool_rows pool_columns KH KW SH SW pool_top pool_left means squares sums
""")
load = make_load_ints(len(FOLLOW))
ALPHA = np.float32(DEFAULT_ALPHA[Activation.LEAKY_RELU])


# -- after -----------------------------------------------------------------------------------------------------------


@entry_point(BLOCK_ENTRY)
def activate_after(follow, n, i, count, rows, y, y_image, task, work):
    """y = f(y)"""
    (_, _, y_row, _, OW, O, _, kind, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _) = load(follow)
    activate_block(y, y_image, y_row, count, rows, OW, O, kind, ALPHA)


@entry_point(BLOCK_ENTRY)
def moments_after(follow, n, i, count, rows, y, y_image, task, work):
    """Mean and sum of squared deviations of the block, in the rows ``task`` of means and squares."""
    (_, _, y_row, _, OW, O, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, means, squares, _) = load(follow)
    here = task * O * DOUBLE
    moments_block(y, y_image, y_row, count, rows, OW, O, means + here, squares + here, work)


@entry_point(BLOCK_ENTRY)
def norm_after(follow, n, i, count, rows, y, y_image, task, work):
    """z = f(norm(y))"""
    (_, _, y_row, _, OW, O, norm, kind, z, z_image, z_row, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _,
     _) = load(follow)  # fmt: skip
    norm_block(y, y_image, y_row, z + n * z_image + i * z_row, z_image, z_row, count, rows, OW, O, norm, kind, ALPHA)


@entry_point(BLOCK_ENTRY)
def pairs_after(follow, n, i, count, rows, y, y_image, task, work):
    """z = pool(f(norm(y))) for windows of 2 x 2, side by side; of relu and linear, which need no second pass."""
    (_, _, y_row, _, _, O, norm, kind, z, z_image, z_row, _, _, _, place, place_image, place_row, pool_rows,
     pool_columns, _, _, _, _, _, _, _, _, _) = load(follow)  # fmt: skip
    k = i // 2
    if place:
        place += n * place_image + k * place_row
    pool_pairs(y, y_image, y_row, z + n * z_image + k * z_row, z_image, z_row, place, place_image, place_row, count,
               min(rows // 2, pool_rows - k), pool_columns, O, norm, floor_of(kind))  # fmt: skip


@entry_point(BLOCK_ENTRY)
def pool_after(follow, n, i, count, rows, y, y_image, task, work):
    """z = pool(f(norm(y))) for any window; a strip holds whole windows."""
    (_, _, y_row, OH, OW, O, norm, kind, z, z_image, z_row, _, _, _, place, place_image, place_row, pool_rows,
     pool_columns, KH, KW, SH, SW, top, left, _, _, _) = load(follow)  # fmt: skip
    k, pooled = i // SH, pool_rows
    if rows < OH:
        pooled = min((rows + SH - 1) // SH, pool_rows - k)
    if place:
        place += n * place_image + k * place_row
    pool_block(y, y_image, y_row, z + n * z_image + k * z_row, z_image, z_row, place, place_image, place_row, count,
               pooled, pool_columns, rows, OW, O, KH, KW, SH, SW, top, left, norm, kind, ALPHA)  # fmt: skip


# -- before ----------------------------------------------------------------------------------------------------------


@entry_point(BLOCK_ENTRY)
def gradient_before(follow, n, count, dy, dy_image, dy_row, unused, none, nothing):
    """dy = dz f'(z), and through the norm where there is one."""
    (y, y_image, y_row, OH, OW, O, norm, kind, z, z_image, z_row, dz, dz_image, dz_row, _, _, _, _, _, _, _, _, _, _,
     _, _, _, _) = load(follow)  # fmt: skip
    gradient_block(dz + n * dz_image, dz_image, dz_row, z + n * z_image, z_image, z_row, y + n * y_image, y_image,
                   y_row, dy, dy_image, dy_row, count, OH, OW, O, norm, kind, ALPHA)  # fmt: skip


@entry_point(BLOCK_ENTRY)
def pairs_before(follow, n, count, dy, dy_image, dy_row, unused, none, nothing):
    """The same through a pool of windows of 2 x 2 that cover all of y."""
    (y, y_image, y_row, _, _, O, norm, kind, z, z_image, z_row, dz, dz_image, dz_row, place, place_image, place_row,
     pool_rows, pool_columns, _, _, _, _, _, _, _, _, _) = load(follow)  # fmt: skip
    unpool_pairs(dz + n * dz_image, dz_image, dz_row, z + n * z_image, z_image, z_row, place + n * place_image,
                 place_image, place_row, y + n * y_image, y_image, y_row, dy, dy_image, dy_row, count, pool_rows,
                 pool_columns, O, norm, kind, ALPHA)  # fmt: skip


@entry_point(BLOCK_ENTRY)
def unpool_before(follow, n, count, dy, dy_image, dy_row, unused, none, nothing):
    """The same through any pool."""
    (y, y_image, y_row, OH, OW, O, norm, kind, z, z_image, z_row, dz, dz_image, dz_row, place, place_image, place_row,
     pool_rows, pool_columns, KH, KW, SH, SW, top, left, _, _, _) = load(follow)  # fmt: skip
    unpool_block(dz + n * dz_image, dz_image, dz_row, z + n * z_image, z_image, z_row, place + n * place_image,
                 place_image, place_row, y + n * y_image, y_image, y_row, dy, dy_image, dy_row, count, OH, OW,
                 pool_rows, pool_columns, O, KH, KW, SH, SW, top, left, norm, kind, ALPHA)  # fmt: skip


# -- sums for the gradient of a norm ---------------------------------------------------------------------------------


@entry_point(BLOCK_ENTRY)
def norm_sums(follow, n, i, count, rows, y, y_image, piece, work):
    """Row ``piece`` of sums += the sums of g and g (y - mean) of each channel, g the gradient of norm(y).

    A block is added up in float32 (work: two rows of zeros, before and after), blocks in float64.
    """
    (_, _, y_row, OH, OW, O, norm, kind, z, z_image, z_row, dz, dz_image, dz_row, _, _, _, _, _, _, _, _, _, _, _, _, _,
     sums) = load(follow)  # fmt: skip
    norm_sums_block(dz + n * dz_image, dz_image, dz_row, z + n * z_image, z_image, z_row, y, y_image, y_row, count,
                    OH, OW, O, norm, kind, ALPHA, work)  # fmt: skip
    add_sums(sums + piece * 2 * O * DOUBLE, work, 2 * O)


@entry_point(BLOCK_ENTRY)
def pooled_sums(follow, n, i, count, rows, y, y_image, piece, work):
    """The same where there is a pool."""
    (_, _, y_row, OH, OW, O, norm, kind, z, z_image, z_row, dz, dz_image, dz_row, place, place_image, place_row,
     pool_rows, pool_columns, KH, KW, SH, SW, top, left, _, _, sums) = load(follow)  # fmt: skip
    pooled_sums_block(dz + n * dz_image, dz_image, dz_row, z + n * z_image, z_image, z_row, place + n * place_image,
                      place_image, place_row, y, y_image, y_row, count, pool_rows, pool_columns, OH, OW, O,
                      KH, KW, SH, SW, top, left, norm, kind, ALPHA, work)  # fmt: skip
    add_sums(sums + piece * 2 * O * DOUBLE, work, 2 * O)
