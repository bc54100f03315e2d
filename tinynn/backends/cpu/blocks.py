"""What one thread does with the blocks of a convolution: borders, convolution, what follows; and all of it backwards.

forward_tasks    block (or strip): inputs with borders -> algorithm -> after (activation, pooling, moments)
backward_tasks   piece: for each block before (dy through pooling, norm, activation, with borders) -> gradients of
                 weights, bias and inputs
follow_tasks     blocks of outputs that are there: after (norm, pooling); or sums for the gradient of a norm

A job is a list of int64 in the order of FORWARD, BACKWARD or OUTPUTS; addresses and byte strides, 0 for what is not
there. Algorithms (direct.py, winograd.py) and what follows (follow.py) are called by their addresses.
"""

import numpy as np

from .images import FLOAT, channel_sums_block, pad_block, zero_borders, zero_row
from .microkernel import call_block, make_load_ints
from .simd import compiled, entry_point
from .tasks import ENTRY, named
from .vectors import flush_denormals, restore_denormals

FORWARD = named("""
    algorithm shape images per_block strips strip_rows
    x x_image x_row H W C top left copies columns unit stride reach
    y y_image y_row OH y_place work_place after follow
""")
BACKWARD = named("""
    images per_block blocks pieces
    x x_image x_row H W C top left copies columns padded_rows
    dy dy_image dy_row OH OW O target_place target_row target_rows target_top target_left before follow
    weights weights_shape dW dW_bytes db inputs inputs_shape dx dx_image accumulates work_place
""")
OUTPUTS = named("images per_block blocks pieces y y_image OH scratch after follow")
load_forward = make_load_ints(len(FORWARD))
load_backward = make_load_ints(len(BACKWARD))
load_outputs = make_load_ints(len(OUTPUTS))


@compiled()
def bring(n, i, count, rows, x, x_image, x_row, H, W, C, top, left, columns, target):
    """Rows i - top .. of the padded images n .. into scratch; returns its bytes per image."""
    row = columns * C * FLOAT
    first = max(i - top, 0)
    inside = max(min(H, i - top + rows) - first, 0)
    above = min(first - (i - top), rows)
    left = min(left, columns)
    width = min(W, columns - left)
    pad_block(x + n * x_image + first * x_row, x_image, x_row, target, rows * row, row, count, inside, width, C,
              above, rows - above - inside, left, columns - left - width)  # fmt: skip
    return rows * row


@entry_point(ENTRY)
def forward_tasks(first, last, job, work):
    """The blocks (or strips) with numbers first .. last-1."""
    (algorithm, shape, images, per_block, strips, strip_rows,
     x, x_image, x_row, H, W, C, top, left, copies, columns, unit, stride, reach,
     y, y_image, y_row, OH, y_place, work_place, after, follow) = load_forward(job)  # fmt: skip
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
        if after:
            call_block(after, follow, n, i, count, rows, target, target_image, task, work + work_place)
    restore_denormals(previous)


@entry_point(ENTRY)
def backward_tasks(first, last, job, work):
    """The pieces with numbers first .. last-1: all gradients of their images, those of the weights summed up."""
    (images, per_block, blocks, pieces,
     x, x_image, x_row, H, W, C, top, left, copies, columns, padded_rows,
     dy, dy_image, dy_row, OH, OW, O, target_place, target_row, target_rows, target_top, target_left, before, follow,
     weights, weights_shape, dW, dW_bytes, db, inputs, inputs_shape, dx, dx_image, accumulates,
     work_place) = load_backward(job)  # fmt: skip
    previous = flush_denormals()
    corner, target_image = work + target_place, target_rows * target_row
    interior = corner + target_top * target_row + target_left * O * FLOAT
    if before:
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
            if before:
                gradient, gradient_image, gradient_row = interior, target_image, target_row
                call_block(before, follow, n, count, gradient, gradient_image, gradient_row, 0, 0, 0)
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
            if dx and accumulates:
                for image in range(n, n + count):
                    zero_row(dx + image * dx_image, dx_image // FLOAT)
                call_block(inputs, inputs_shape, count, H, dx + n * dx_image, dx_image, gradient, gradient_image,
                           work + work_place, 0)  # fmt: skip
            elif dx:
                call_block(inputs, inputs_shape, count, H, corner, target_image, dx + n * dx_image, dx_image,
                           work + work_place, 0)  # fmt: skip
    restore_denormals(previous)


@entry_point(ENTRY)
def follow_tasks(first, last, job, work):
    """What follows, for the blocks of the pieces with numbers first .. last-1; ``scratch`` numbers begin as zeros."""
    images, per_block, blocks, pieces, y, y_image, OH, scratch, after, follow = load_outputs(job)
    previous = flush_denormals()
    zero_row(work, scratch)
    for piece in range(first, last):
        for block in range(piece * blocks // pieces, (piece + 1) * blocks // pieces):
            n = block * per_block
            call_block(after, follow, n, 0, min(per_block, images - n), OH, y + n * y_image, y_image, piece, work)
    restore_denormals(previous)
