"""Direct convolution: the micro-kernel of the matrix product, led over images instead of matrices.

Channels are last, so the KW x C numbers that a window sees in one row of the image lie side by side: an output pixel
is a sum over KH such pieces, and neighbouring pixels are the rows of a product whose other factor is the kernel.
Nothing is copied (no im2col); the images have their zero borders already.

    forward   y[i, j, :]      = sum over u of x[i s + u, j s ..., :] W[u]       rows: pixels of an output row
    weights   dW[u, (v, c)]  += sum over i, j of x[i s + u, (j s + v, c)]' dy[i, j]
    inputs    dx[i s + u, j s + v] += dy[i, j] W[u, v]'                          rows: every s-th pixel of an input row

Where pieces do not lie side by side (dilation, groups), the columns v of the window are taken one by one.
Images are described by addresses and byte strides; conv2d.py knows who calls whom.
"""

import numpy as np
from numba import njit

from . import tasks
from .images import copy_row, zero_row
from .microkernel import load_float, make_load_ints, make_product, make_transpose, store_float
from .simd import BLOCK, WIDTH, compiled, entry_point
from .tasks import BLOCK_ENTRY, ENTRY

LANES, PANEL = BLOCK.lanes, BLOCK.columns
HIGH, MIDDLE, LOW = BLOCK.rows
UPPER = HIGH * 2 // 3
"""Heights of the blocks: HIGH for the bulk, the others so that few rows are left to LOW."""
FLOAT = 4
SHAPE_FIELDS = 22
"""What an algorithm is told about the images of a block, see ``Convolution.shape`` in conv2d.py."""

PACK_SERIAL_BELOW = 250_000
"""Weights below which one thread packs them."""

load_shape = make_load_ints(SHAPE_FIELDS)
load_eight = make_load_ints(8)
transpose_square = make_transpose()
rows_high_wide = make_product(HIGH, 2, rows_adjacent=False, steps=True, floor=True)
rows_high_slim = make_product(HIGH, 1, rows_adjacent=False, steps=True, floor=True)
rows_upper_wide = make_product(UPPER, 2, rows_adjacent=False, steps=True, floor=True)
rows_upper_slim = make_product(UPPER, 1, rows_adjacent=False, steps=True, floor=True)
rows_middle_wide = make_product(MIDDLE, 2, rows_adjacent=False, steps=True, floor=True)
rows_middle_slim = make_product(MIDDLE, 1, rows_adjacent=False, steps=True, floor=True)
rows_low_wide = make_product(LOW, 2, rows_adjacent=False, steps=True, floor=True)
rows_low_slim = make_product(LOW, 1, rows_adjacent=False, steps=True, floor=True)
WINDOWS = {512: ((3, 9), (5, 5), (3, 3)), 256: ((3, 3),), 128: ()}[WIDTH]
"""(KH, KW C) of kernels all of whose rows fit the registers at once: then each number of dy is read once."""
window_3_9 = make_product(27, 1, rows_adjacent=True, steps=True, groups=3)
window_5_5 = make_product(25, 1, rows_adjacent=True, steps=True, groups=5)
window_3_3 = make_product(9, 1, rows_adjacent=True, steps=True, groups=3)
columns_high_wide = make_product(HIGH, 2, rows_adjacent=True, steps=True)
columns_high_slim = make_product(HIGH, 1, rows_adjacent=True, steps=True)
columns_upper_wide = make_product(UPPER, 2, rows_adjacent=True, steps=True)
columns_upper_slim = make_product(UPPER, 1, rows_adjacent=True, steps=True)
columns_middle_wide = make_product(MIDDLE, 2, rows_adjacent=True, steps=True)
columns_middle_slim = make_product(MIDDLE, 1, rows_adjacent=True, steps=True)
columns_low_wide = make_product(LOW, 2, rows_adjacent=True, steps=True)
columns_low_slim = make_product(LOW, 1, rows_adjacent=True, steps=True)


# -- packed weights --------------------------------------------------------------------------------------------------


def packed_size(depth, columns, groups):
    """Numbers that packed weights take: for each group panels of PANEL columns, each ``depth`` rows behind another."""
    return groups * -(-columns // PANEL) * depth * PANEL


def pack_weights(packed, W, bias, groups):
    """W (KH, KW, C / G, O) in panels: packed[g, panel, (u, v, c), column]. Behind it the bias, filled up with zeros.

    A last panel of at most LANES columns has rows of LANES numbers.
    """
    KH, KW, C, O = W.shape
    _pack(pack_taps, packed, W, KH * KW, C, O // groups, O // groups, groups, O)
    if bias is not None:
        end = packed_size(KH * KW * C, O // groups, groups)
        padded = packed[end : end + packed_size(1, O // groups, groups)].reshape(groups, -1)
        padded[...] = 0
        padded[:, : O // groups] = bias.reshape(groups, -1)


def pack_transposed(packed, W, groups):
    """W' in panels of the channels: packed[g, panel, (u, v, o), channel], as ``inputs_block`` reads it."""
    KH, KW, C, O = W.shape
    _pack(pack_turned_taps, packed, W, KH * KW, O // groups, C, O // groups, groups, O)


def _pack(function, packed, W, taps, depth, width, step, groups, O):
    fields = packed.ctypes.data, W.ctypes.data, taps, depth, width, step, groups, O
    tasks.run(function(), taps, np.array(fields, np.int64), FLOAT * LANES * LANES, serial=W.size < PACK_SERIAL_BELOW)


@entry_point(ENTRY)
def pack_taps(first, last, job, work):
    """The places first .. last-1 of the window: rows of W, cut into panels."""
    packed, W, taps, depth, width, step, groups, O = load_eight(job)
    panels = (width + PANEL - 1) // PANEL
    for g in range(groups):
        for p in range(panels):
            items = min(PANEL, width - p * PANEL)
            row = PANEL if items > LANES else LANES
            for tap in range(first, last):
                source = W + (tap * depth * O + g * step + p * PANEL) * FLOAT
                target = packed + (((g * panels + p) * taps * PANEL + tap * row) * depth) * FLOAT
                for _ in range(depth):
                    copy_row(source, target, items)
                    zero_row(target + items * FLOAT, row - items)
                    source += O * FLOAT
                    target += row * FLOAT


@entry_point(ENTRY)
def pack_turned_taps(first, last, job, work):
    """The same for W': squares turned over. Columns behind the last channel are of no account."""
    packed, W, taps, depth, width, step, groups, O = load_eight(job)
    panels = (width + PANEL - 1) // PANEL
    for g in range(groups):
        for p in range(panels):
            items = min(PANEL, width - p * PANEL)
            row = PANEL if items > LANES else LANES
            for tap in range(first, last):
                source = W + ((tap * width + p * PANEL) * O + g * step) * FLOAT
                target = packed + (((g * panels + p) * taps * PANEL + tap * row) * depth) * FLOAT
                for i in range(0, items, LANES):
                    for k in range(0, depth, LANES):
                        rest, square = min(LANES, depth - k), target + (k * row + i) * FLOAT
                        place, place_row = (square, row * FLOAT) if rest == LANES else (work, LANES * FLOAT)
                        transpose_square(source + (i * O + k) * FLOAT, O * FLOAT, min(LANES, items - i) - 1, rest,
                                         place, place_row)  # fmt: skip
                        if rest < LANES:
                            for r in range(rest):
                                copy_row(work + r * LANES * FLOAT, square + r * row * FLOAT, LANES)


# -- one block of the output -----------------------------------------------------------------------------------------


@compiled()
def multiply_pixels(height, width, a, a_stride, b, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                    floor):  # fmt: skip
    """`height` pixels by `width` outputs; b has rows of `width` numbers."""
    b_stride = width * FLOAT
    if width == PANEL:
        if height == HIGH:
            rows_high_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                           floor)  # fmt: skip
        elif height == UPPER:
            rows_upper_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                            addend_stride, floor)  # fmt: skip
        elif height == MIDDLE:
            rows_middle_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                             addend_stride, floor)  # fmt: skip
        else:
            rows_low_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                          floor)  # fmt: skip
    elif height == HIGH:
        rows_high_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                       floor)  # fmt: skip
    elif height == UPPER:
        rows_upper_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                        floor)  # fmt: skip
    elif height == MIDDLE:
        rows_middle_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                         floor)  # fmt: skip
    else:
        rows_low_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride,
                      floor)  # fmt: skip


@compiled()
def multiply_channels(height, width, a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                      addend_stride):  # fmt: skip
    """`height` rows of the kernel by `width` outputs, summed over pixels."""
    if width == PANEL:
        if height == HIGH:
            columns_high_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                              addend_stride)  # fmt: skip
        elif height == UPPER:
            columns_upper_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                               addend_stride)  # fmt: skip
        elif height == MIDDLE:
            columns_middle_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                                addend_stride)  # fmt: skip
        else:
            columns_low_wide(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend,
                             addend_stride)  # fmt: skip
    elif height == HIGH:
        columns_high_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride)
    elif height == UPPER:
        columns_upper_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride)
    elif height == MIDDLE:
        columns_middle_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride)
    else:
        columns_low_slim(a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride)


@compiled()
def height_of(rows):
    """The largest height that fits."""
    if rows >= HIGH:
        return HIGH
    if rows >= UPPER:
        return UPPER
    return MIDDLE if rows >= MIDDLE else LOW


@compiled()
def add_part(block, block_stride, rows, columns, c, c_stride, fresh):
    """C += the part of a block that lies inside C, or C = it."""
    for i in range(rows):
        for j in range(columns):
            value = load_float(block + i * block_stride + j * FLOAT)
            if not fresh:
                value += load_float(c + i * c_stride + j * FLOAT)
            store_float(value, c + i * c_stride + j * FLOAT)


# -- forward ---------------------------------------------------------------------------------------------------------


@compiled()
def forward_row(x, x_row, x_pixel, y, y_pixel, columns, items, width, packed, bias, floor, work,
                KH, KW, C, SW, DH, DW, together):  # fmt: skip
    """One row of outputs for one panel of the kernel."""
    none, pixel = np.int64(0), SW * x_pixel
    b_step = KW * C * width * FLOAT
    j = 0
    while j < columns:
        height = height_of(columns - j)
        target, target_stride = y + j * y_pixel, y_pixel
        if items < width:
            target, target_stride = work, width * FLOAT
        if together:
            multiply_pixels(height, width, x + j * pixel, pixel, packed, KW * C, KH, DH * x_row, b_step,
                            target, target_stride, bias, none, floor)  # fmt: skip
        else:
            for v in range(KW):
                last = floor if v == KW - 1 else none
                addend, addend_stride = (bias, none) if v == 0 else (target, target_stride)
                multiply_pixels(height, width, x + j * pixel + v * DW * x_pixel, pixel, packed + v * C * width * FLOAT,
                                C, KH, DH * x_row, b_step, target, target_stride, addend, addend_stride,
                                last)  # fmt: skip
        if items < width:
            add_part(work, width * FLOAT, height, items, y + j * y_pixel, y_pixel, True)
        j += height


@entry_point(BLOCK_ENTRY)
def forward_block(shape, images, rows, x, x_image, y, y_image, work, unused):
    """y = conv(x) + bias, not below 0 if the floor says so; x is padded."""
    (KH, KW, C, O, groups, SH, SW, DH, DW, x_row, x_pixel, columns, y_row, y_pixel, packed, bias, floor, _, _, _, _,
     _) = load_shape(shape)  # fmt: skip
    C, O = C // groups, O // groups
    panels = (O + PANEL - 1) // PANEL
    together = groups == 1 and DW == 1
    for n in range(images):
        for g in range(groups):
            for p in range(panels):
                items = min(PANEL, O - p * PANEL)
                width = PANEL if items > LANES else LANES
                part = packed + (g * panels + p) * KH * KW * C * PANEL * FLOAT
                addend = bias + (g * panels + p) * PANEL * FLOAT if bias else bias
                for i in range(rows):
                    forward_row(x + n * x_image + i * SH * x_row + g * C * FLOAT, x_row, x_pixel,
                                y + n * y_image + i * y_row + (g * O + p * PANEL) * FLOAT, y_pixel, columns,
                                items, width, part, addend, floor, work, KH, KW, C, SW, DH, DW, together)  # fmt: skip


# -- gradient of the weights -----------------------------------------------------------------------------------------


@compiled()
def weights_row(x, x_row, x_pixel, dy, dy_row, dy_pixel, rows, columns, dW, dW_row, count, items, width, work):
    """dW[0 .. count-1, panel] += the sum over all pixels of x' dy; count numbers of x lie side by side."""
    m = 0
    while m < count:
        height = height_of(count - m)
        target = dW + m * dW_row
        if items == width:
            multiply_channels(height, width, x + m * FLOAT, x_pixel, dy, dy_pixel, columns, rows, x_row, dy_row,
                              target, dW_row, target, dW_row)  # fmt: skip
        else:
            none = np.int64(0)
            multiply_channels(height, width, x + m * FLOAT, x_pixel, dy, dy_pixel, columns, rows, x_row, dy_row,
                              work, width * FLOAT, none, none)  # fmt: skip
            add_part(work, width * FLOAT, height, items, target, dW_row, False)
        m += height


@entry_point(BLOCK_ENTRY)
def weights_block(shape, images, rows, x, x_image, dy, dy_image, dW, work):
    """dW (KH, KW, C / G, O) += x' dy; x is padded; may read LANES numbers behind the last of dy."""
    (KH, KW, C, O, groups, SH, SW, DH, DW, x_row, x_pixel, columns, dy_row, dy_pixel, _, _, _, _, _, _, _,
     _) = load_shape(shape)  # fmt: skip
    C, width_of_group, dW_row = C // groups, O // groups, O * FLOAT
    pieces, count = (1, KW * C) if groups == 1 and DW == 1 else (KW, C)
    for n in range(images):
        for g in range(groups):
            for u in range(KH):
                for v in range(pieces):
                    source = x + n * x_image + u * DH * x_row + v * DW * x_pixel + g * C * FLOAT
                    for first in range(0, width_of_group, PANEL):
                        items = min(PANEL, width_of_group - first)
                        width = PANEL if items > LANES else LANES
                        column = (g * width_of_group + first) * FLOAT
                        weights_row(source, SH * x_row, SW * x_pixel, dy + n * dy_image + column, dy_row, dy_pixel,
                                    rows, columns, dW + (u * KW + v) * C * dW_row + column, dW_row, count,
                                    items, width, work)  # fmt: skip


# Compiled into each entry point below, for one kernel each: no cache of its own.
@njit(error_model="numpy")
def weights_of_window(product, taps, shape, images, rows, x, x_image, dy, dy_image, dW, work):
    """`weights_block` for a window whose rows are all summed up at once, LANES outputs after another."""
    (_, _, _, O, _, SH, SW, DH, _, x_row, x_pixel, columns, dy_row, dy_pixel, _, _, _, _, _, _, _,
     _) = load_shape(shape)  # fmt: skip
    none, row = np.int64(0), O * FLOAT
    for n in range(images):
        for first in range(0, O, LANES):
            target, target_row, addend = dW + first * FLOAT, row, dW + first * FLOAT
            if O - first < LANES:
                target, target_row, addend = work, np.int64(LANES * FLOAT), none
            product(x + n * x_image, SW * x_pixel, dy + n * dy_image + first * FLOAT, dy_pixel, columns,
                    rows, SH * x_row, dy_row, target, target_row, addend, target_row, DH * x_row)  # fmt: skip
            if O - first < LANES:
                add_part(work, LANES * FLOAT, taps, O - first, dW + first * FLOAT, row, False)


@entry_point(BLOCK_ENTRY)
def weights_block_3_9(shape, images, rows, x, x_image, dy, dy_image, dW, work):
    weights_of_window(window_3_9, 27, shape, images, rows, x, x_image, dy, dy_image, dW, work)


@entry_point(BLOCK_ENTRY)
def weights_block_5_5(shape, images, rows, x, x_image, dy, dy_image, dW, work):
    weights_of_window(window_5_5, 25, shape, images, rows, x, x_image, dy, dy_image, dW, work)


@entry_point(BLOCK_ENTRY)
def weights_block_3_3(shape, images, rows, x, x_image, dy, dy_image, dW, work):
    weights_of_window(window_3_3, 9, shape, images, rows, x, x_image, dy, dy_image, dW, work)


def weights_algorithm(window, C, groups):
    """The entry point for a shape."""
    seen = window.size[0], window.size[1] * C
    if groups > 1 or window.dilation[1] > 1 or seen not in WINDOWS:
        return weights_block
    return {(3, 9): weights_block_3_9, (5, 5): weights_block_5_5, (3, 3): weights_block_3_3}[seen]


# -- gradient of the inputs ------------------------------------------------------------------------------------------


@compiled()
def inputs_row(dx, dx_pixel, dy, dy_pixel, packed, depth, steps, dy_step, step, columns, items, width, work):
    """dx[j] += dy[j] W' for the pixels of a row, summed over `steps` rows of the window."""
    none = np.int64(0)
    j = 0
    while j < columns:
        height = height_of(columns - j)
        target = dx + j * dx_pixel
        if items == width:
            multiply_pixels(height, width, dy + j * dy_pixel, dy_pixel, packed, depth, steps, dy_step, step,
                            target, dx_pixel, target, dx_pixel, none)  # fmt: skip
        else:
            multiply_pixels(height, width, dy + j * dy_pixel, dy_pixel, packed, depth, steps, dy_step, step,
                            work, width * FLOAT, none, none, none)  # fmt: skip
            add_part(work, width * FLOAT, height, items, target, dx_pixel, False)
        j += height


@entry_point(BLOCK_ENTRY)
def inputs_block(shape, images, rows, dx, dx_image, dy, dy_image, work, unused):
    """dx += dy W' for `rows` rows of inputs; neither is padded, and dx begins with zeros.

    Row i of dx is reached from the rows (i + top - u d) / s of dy, where that is whole; with d = 1 the rows u of the
    window that reach it are s apart, and are summed in one go.
    """
    (KH, KW, C, O, groups, SH, SW, DH, DW, dx_row, dx_pixel, columns, dy_row, dy_pixel, packed, _, _, top, left,
     dx_columns, dy_rows, _) = load_shape(shape)  # fmt: skip
    C, depth = C // groups, O // groups
    panels = (C + PANEL - 1) // PANEL
    for n in range(images):
        for g in range(groups):
            for p in range(panels):
                items = min(PANEL, C - p * PANEL)
                width = PANEL if items > LANES else LANES
                part = packed + (g * panels + p) * KH * KW * depth * PANEL * FLOAT
                for i in range(rows):
                    u = np.int64(0)
                    while u < KH:
                        from_top = i + top - u * DH
                        k = from_top // SH
                        steps, following = np.int64(1), u + 1
                        inside = from_top >= 0 and k * SH == from_top and k < dy_rows
                        if inside and DH == 1:
                            steps = min((KH - 1 - u) // SH, k) + 1
                            following = u + steps * SH
                            if SH > 1:
                                following = KH  # rows of other remainders do not reach this one
                        if inside:
                            for v in range(KW):
                                offset = v * DW - left
                                first = max((-offset + SW - 1) // SW, 0)
                                last = min((dx_columns - 1 - offset) // SW, columns - 1)
                                if first <= last:
                                    inputs_row(
                                        dx + n * dx_image + i * dx_row + (first * SW + offset) * dx_pixel
                                        + (g * C + p * PANEL) * FLOAT,
                                        SW * dx_pixel,
                                        dy + n * dy_image + k * dy_row + first * dy_pixel + g * depth * FLOAT,
                                        dy_pixel, part + (u * KW + v) * depth * width * FLOAT, depth,
                                        steps, -dy_row, SH * KW * depth * width * FLOAT, last - first + 1,
                                        items, width, work)  # fmt: skip
                        u = following
