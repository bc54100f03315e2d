"""What one thread does with the blocks of a convolution: borders, convolution, what follows; and all of it backwards.

forward_tasks    block (or strip): inputs with borders -> algorithm -> activation, or pooling, or moments for a norm
backward_tasks   piece: for each block dy with borders (through activation, pooling, norm) -> gradients of weights, bias
                 and inputs

A job is a list of int64 in the order of FORWARD or BACKWARD below; addresses and byte strides, 0 for what is not there.
The algorithms (direct.py, winograd.py) are called by their addresses, all with the same nine arguments.
"""

import numpy as np

from tinynn.activation import DEFAULT_ALPHA, Activation

from .direct import FLOAT
from .images import (
    DOUBLE,
    activate_block,
    add_sums,
    channel_sums_block,
    gradient_block,
    moments_block,
    norm_block,
    norm_sums_block,
    pad_block,
    pool_block,
    pooled_sums_block,
    unpool_block,
    zero_borders,
    zero_row,
)
from .microkernel import call_block, make_load_ints
from .simd import compiled, entry_point
from .vectors import flush_denormals, restore_denormals

ENTRY = "void(int64, int64, int64, int64)"
ALPHA = np.float32(DEFAULT_ALPHA[Activation.LEAKY_RELU])


def named(text):
    """The names of a job's fields, in the order in which a kernel unpacks them."""
    return tuple(text.split())


FORWARD = named("""
    algorithm shape images per_block strips strip_rows
    x x_image x_row H W C top left copies columns unit stride reach
    y y_image y_row OH OW O y_place work_place kind
    z z_image z_row place place_image place_row pool_rows pool_columns KH KW SH SW pool_top pool_left
    means squares
""")
BACKWARD = named("""
    images per_block blocks pieces
    x x_image x_row H W C top left copies columns padded_rows
    dy dy_image dy_row OH OW O target_place target_row target_rows target_top target_left fresh kind
    y y_image y_row norm z z_image z_row dz dz_image dz_row place place_image place_row
    pool_rows pool_columns KH KW SH SW pool_top pool_left
    weights weights_shape dW dW_bytes db inputs inputs_shape dx dx_image dx_row accumulates work_place
""")
NORM = named("""
    images per_block blocks pieces y y_image y_row OH OW O norm kind
    z z_image z_row dz dz_image dz_row place place_image place_row
    pool_rows pool_columns KH KW SH SW pool_top pool_left sums
""")
load_forward = make_load_ints(len(FORWARD))
load_backward = make_load_ints(len(BACKWARD))
load_norm = make_load_ints(len(NORM))


def job(fields, values):
    """The list of a job; what is not named is 0."""
    unknown = set(values) - set(fields)
    if unknown:
        raise KeyError(sorted(unknown))
    return np.array([values.get(field, 0) for field in fields], np.int64)


@compiled()
def bring(n, i, count, rows, x, x_image, x_row, H, W, C, top, left, columns, target):
    """Rows i - top .. of the padded images n .. into scratch; returns its bytes per image."""
    row = columns * C * FLOAT
    first = max(i - top, 0)
    inside = max(min(H, i - top + rows) - first, 0)
    above = min(first - (i - top), rows)
    width = min(W, columns - left)
    pad_block(x + n * x_image + first * x_row, x_image, x_row, target, rows * row, row, count, inside, width, C,
              above, rows - above - inside, left, columns - left - width)  # fmt: skip
    return rows * row


@entry_point(ENTRY)
def forward_tasks(first, last, job, work):
    """The blocks (or strips) with numbers first .. last-1."""
    (algorithm, shape, images, per_block, strips, strip_rows,
     x, x_image, x_row, H, W, C, top, left, copies, columns, unit, stride, reach,
     y, y_image, y_row, OH, OW, O, y_place, work_place, kind,
     z, z_image, z_row, place, place_image, place_row, pool_rows, pool_columns, KH, KW, SH, SW, pool_top, pool_left,
     means, squares) = load_forward(job)  # fmt: skip
    previous = flush_denormals()
    for task in range(first, last):
        n, i = task // strips * per_block, task % strips * strip_rows
        count, rows = min(per_block, images - n), min(strip_rows, OH - i)
        source, source_image = x + n * x_image + i * stride * x_row, x_image
        if copies:
            padded = ((rows + unit - 1) // unit * unit - 1) * stride + reach
            source_image = bring(n, i * stride, count, padded, x, x_image, x_row, H, W, C, top, left, columns, work)
            source = work
        target, target_image = y + n * y_image + i * y_row, y_image
        if y == 0:
            target, target_image = work + y_place, rows * y_row
        call_block(algorithm, shape, count, rows, source, source_image, target, target_image, work + work_place, 0)
        if z:
            k = i // SH
            place_here = place
            if place:
                place_here = place + n * place_image + k * place_row
            pool_block(target, target_image, y_row, z + n * z_image + k * z_row, z_image, z_row,
                       place_here, place_image, place_row, count, min((strip_rows + SH - 1) // SH, pool_rows - k),
                       pool_columns, rows, OW, O, KH, KW, SH, SW, pool_top, pool_left, np.int64(0), kind,
                       ALPHA)  # fmt: skip
        elif kind:
            activate_block(target, target_image, y_row, count, rows, OW, O, kind, ALPHA)
        if means:
            moments_block(target, target_image, y_row, count, rows, OW, O, means + task * O * DOUBLE,
                          squares + task * O * DOUBLE, work + work_place)  # fmt: skip
    restore_denormals(previous)


@entry_point(ENTRY)
def backward_tasks(first, last, job, work):
    """The pieces with numbers first .. last-1: all gradients of their images, those of the weights summed up."""
    (images, per_block, blocks, pieces,
     x, x_image, x_row, H, W, C, top, left, copies, columns, padded_rows,
     dy, dy_image, dy_row, OH, OW, O, target_place, target_row, target_rows, target_top, target_left, fresh, kind,
     y, y_image, y_row, norm, z, z_image, z_row, dz, dz_image, dz_row, place, place_image, place_row,
     pool_rows, pool_columns, KH, KW, SH, SW, pool_top, pool_left,
     weights, weights_shape, dW, dW_bytes, db, inputs, inputs_shape, dx, dx_image, dx_row, accumulates,
     work_place) = load_backward(job)  # fmt: skip
    previous = flush_denormals()
    corner, target_image = work + target_place, target_rows * target_row
    interior = corner + target_top * target_row + target_left * O * FLOAT
    if fresh:
        zero_borders(corner, target_image, target_row, per_block, OH, OW, O, target_top,
                     target_rows - target_top - OH, target_left,
                     target_row // (O * FLOAT) - target_left - OW)  # fmt: skip
    for piece in range(first, last):
        dW_here, db_here = dW + piece * dW_bytes, db + piece * O * FLOAT
        if weights:
            zero_row(dW_here, dW_bytes // FLOAT)
        if db:
            zero_row(db_here, O)
        for block in range(piece * blocks // pieces, (piece + 1) * blocks // pieces):
            n = block * per_block
            count = min(per_block, images - n)
            gradient, gradient_image, gradient_row = dy + n * dy_image, dy_image, dy_row
            if fresh:
                gradient, gradient_image, gradient_row = interior, target_image, target_row
                dz_here, z_here, y_here = dz + n * dz_image, z, y
                if z:
                    z_here = z + n * z_image
                if y:
                    y_here = y + n * y_image
                if place:
                    unpool_block(dz_here, dz_image, dz_row, z_here, z_image, z_row, place + n * place_image,
                                 place_image, place_row, y_here, y_image, y_row, gradient, gradient_image,
                                 gradient_row, count, OH, OW, pool_rows, pool_columns, O, KH, KW, SH, SW, pool_top,
                                 pool_left, norm, kind, ALPHA)  # fmt: skip
                else:
                    gradient_block(dz_here, dz_image, dz_row, z_here, z_image, z_row, y_here, y_image, y_row,
                                   gradient, gradient_image, gradient_row, count, OH, OW, O, norm, kind,
                                   ALPHA)  # fmt: skip
            if db:
                channel_sums_block(gradient, gradient_image, gradient_row, count, OH, OW, O, db_here)
            if weights:
                source, source_image = x + n * x_image, x_image
                if copies:
                    source_image = bring(n, np.int64(0), count, padded_rows, x, x_image, x_row, H, W, C, top, left,
                                         columns, work)  # fmt: skip
                    source = work
                call_block(weights, weights_shape, count, OH, source, source_image, gradient, gradient_image, dW_here,
                           work + work_place)  # fmt: skip
            if dx:
                target = dx + n * dx_image
                if accumulates:
                    for image in range(count):
                        zero_row(target + image * dx_image, dx_image // FLOAT)
                    call_block(inputs, inputs_shape, count, H, target, dx_image, gradient, gradient_image,
                               work + work_place, 0)  # fmt: skip
                else:
                    call_block(inputs, inputs_shape, count, H, corner, target_image, target, dx_image,
                               work + work_place, 0)  # fmt: skip
    restore_denormals(previous)


@entry_point(ENTRY)
def normalize_tasks(first, last, job, work):
    """z = activation of the normalized y, pooled where there is a pool, for the blocks with numbers first .. last-1."""
    (images, per_block, _, _, y, y_image, y_row, OH, OW, O, norm, kind, z, z_image, z_row, _, _, _,
     place, place_image, place_row, pool_rows, pool_columns, KH, KW, SH, SW, pool_top, pool_left,
     _) = load_norm(job)  # fmt: skip
    previous = flush_denormals()
    for block in range(first, last):
        n = block * per_block
        count, place_here = min(per_block, images - n), place
        if place:
            place_here += n * place_image
        if pool_rows:
            pool_block(y + n * y_image, y_image, y_row, z + n * z_image, z_image, z_row, place_here, place_image,
                       place_row, count, pool_rows, pool_columns, OH, OW, O, KH, KW, SH, SW, pool_top, pool_left,
                       norm, kind, ALPHA)  # fmt: skip
        else:
            norm_block(y + n * y_image, y_image, y_row, z + n * z_image, z_image, z_row, count, OH, OW, O, norm, kind,
                       ALPHA)  # fmt: skip
    restore_denormals(previous)


@entry_point(ENTRY)
def norm_sums_tasks(first, last, job, work):
    """Sums of g and of g (y - mean) of each channel, g the gradient of the normalized y: rows of ``sums`` per piece.

    A block is added up in float32, blocks in float64.
    """
    (images, per_block, blocks, pieces, y, y_image, y_row, OH, OW, O, norm, kind, z, z_image, z_row, dz, dz_image,
     dz_row, place, place_image, place_row, pool_rows, pool_columns, KH, KW, SH, SW, pool_top, pool_left,
     sums) = load_norm(job)  # fmt: skip
    previous = flush_denormals()
    zero_row(work, 2 * O)
    for piece in range(first, last):
        totals = sums + piece * 2 * O * DOUBLE
        for block in range(piece * blocks // pieces, (piece + 1) * blocks // pieces):
            n = block * per_block
            count = min(per_block, images - n)
            y_here, z_here, dz_here = y + n * y_image, z + n * z_image, dz + n * dz_image
            if place:
                pooled_sums_block(dz_here, dz_image, dz_row, z_here, z_image, z_row, place + n * place_image,
                                  place_image, place_row, y_here, y_image, y_row, count, pool_rows, pool_columns,
                                  OH, OW, O, KH, KW, SH, SW, pool_top, pool_left, norm, kind, ALPHA,
                                  work)  # fmt: skip
            else:
                norm_sums_block(dz_here, dz_image, dz_row, z_here, z_image, z_row, y_here, y_image, y_row, count,
                                OH, OW, O, norm, kind, ALPHA, work)  # fmt: skip
            add_sums(totals, work, 2 * O)
    restore_denormals(previous)
