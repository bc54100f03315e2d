"""Pooling of images on the CPU: in vectors of channels for float32, plainly for float64.

A task is a strip of one image: forward of its outputs, backward of its inputs, whose rows gather from the windows that
they are in. So no two tasks write to one place, and no thread waits for another.
"""

import numpy as np

from tinynn.backends.cpu import tasks
from tinynn.backends.cpu.images import LINEAR, pool_block, unpool_block, zero_row
from tinynn.backends.cpu.microkernel import make_load_ints
from tinynn.backends.cpu.simd import BLOCK, compiled, entry_point
from tinynn.backends.cpu.vectors import (
    broadcast,
    flush_denormals,
    load_part,
    restore_denormals,
    store_part,
)

LANES = BLOCK.lanes
FLOAT = 4
STRIP = 1 << 14
"""Numbers of the larger image in a task, at least."""
SERIAL_BELOW = 200_000
"""Numbers of the larger image below which one thread is faster than telling others."""
load_job = make_load_ints(22)


@entry_point(tasks.ENTRY)
def max_forward_tasks(first, last, job, work):
    (x, x_image, x_row, y, y_image, y_row, place, place_image, place_row, rows, columns, out_rows, out_columns, C,
     KH, KW, SH, SW, top, left, strip, strips) = load_job(job)  # fmt: skip
    denormals = flush_denormals()
    for task in range(first, last):
        n, i = task // strips, task % strips * strip
        to_place = place
        if place != 0:
            to_place += n * place_image + i * place_row
        pool_block(x + n * x_image, x_image, x_row, y + n * y_image + i * y_row, y_image, y_row,
                   to_place, place_image, place_row, 1, min(strip, out_rows - i), out_columns, rows, columns,
                   C, KH, KW, SH, SW, top - i * SH, left, 0, LINEAR, np.float32(0))  # fmt: skip
    restore_denormals(denormals)


@entry_point(tasks.ENTRY)
def max_backward_tasks(first, last, job, work):
    (x, x_image, x_row, y, y_image, y_row, place, place_image, place_row, rows, columns, out_rows, out_columns, C,
     KH, KW, SH, SW, top, left, strip, strips) = load_job(job)  # fmt: skip
    denormals = flush_denormals()
    for task in range(first, last):
        n, i = task // strips, task % strips * strip
        unpool_block(y + n * y_image, y_image, y_row, 0, 0, 0, place + n * place_image, place_image, place_row, 0, 0, 0,
                     x + n * x_image + i * x_row, x_image, x_row, 1, min(strip, rows - i), columns,
                     out_rows, out_columns, C, KH, KW, SH, SW, top + i, left, 0, LINEAR, np.float32(0))  # fmt: skip
    restore_denormals(denormals)


@entry_point(tasks.ENTRY)
def average_forward_tasks(first, last, job, work):
    (x, x_image, x_row, y, y_image, y_row, _, _, _, rows, columns, out_rows, out_columns, C,
     KH, KW, SH, SW, top, left, strip, strips) = load_job(job)  # fmt: skip
    denormals, step = flush_denormals(), C * FLOAT
    for task in range(first, last):
        n, start = task // strips, task % strips * strip
        for i in range(start, min(start + strip, out_rows)):
            first_row, last_row = max(0, i * SH - top), min(rows, i * SH - top + KH)
            for j in range(out_columns):
                first_column, last_column = max(0, j * SW - left), min(columns, j * SW - left + KW)
                count = broadcast(max(0, last_row - first_row) * max(0, last_column - first_column))
                for c in range(0, C, LANES):
                    lanes, total = C - c, broadcast(0.0)
                    for row in range(first_row, last_row):
                        # Row by row: long sums lose fewer digits.
                        part, p = broadcast(0.0), x + n * x_image + row * x_row + first_column * step + c * FLOAT
                        for _ in range(first_column, last_column):
                            part += load_part(p, lanes)
                            p += step
                        total += part
                    store_part(total / count, y + n * y_image + i * y_row + j * step + c * FLOAT, lanes)
    restore_denormals(denormals)


@entry_point(tasks.ENTRY)
def average_backward_tasks(first, last, job, work):
    (x, x_image, x_row, y, y_image, y_row, _, _, _, rows, columns, out_rows, out_columns, C,
     KH, KW, SH, SW, top, left, strip, strips) = load_job(job)  # fmt: skip
    denormals, step = flush_denormals(), C * FLOAT
    for task in range(first, last):
        n, start = task // strips, task % strips * strip
        for i in range(start, min(start + strip, rows)):
            to_x = x + n * x_image + i * x_row
            zero_row(to_x, columns * C)
            for k in range(max(0, (i + top - KH + SH) // SH), min(out_rows, (i + top) // SH + 1)):
                high = min(rows, k * SH - top + KH) - max(0, k * SH - top)
                for m in range(out_columns):
                    first_column, last_column = max(0, m * SW - left), min(columns, m * SW - left + KW)
                    share = broadcast(1.0 / (high * (last_column - first_column)))
                    for c in range(0, C, LANES):
                        lanes, p = C - c, to_x + first_column * step + c * FLOAT
                        dx = share * load_part(y + n * y_image + k * y_row + m * step + c * FLOAT, lanes)
                        for _ in range(first_column, last_column):
                            store_part(load_part(p, lanes) + dx, p, lanes)
                            p += step
    restore_denormals(denormals)


# -- float64, and places that need more than a byte --------------------------------------------------------------------


@compiled()
def max_forward_plain(y, place, x, KH, KW, SH, SW, top, left):
    """`place` is empty where it is not wanted."""
    N, out_rows, out_columns, C = y.shape
    placed = place.size > 0
    for n in range(N):
        for i in range(out_rows):
            first_a, last_a = max(0, top - i * SH), min(KH, x.shape[1] + top - i * SH)
            for j in range(out_columns):
                first_b, last_b = max(0, left - j * SW), min(KW, x.shape[2] + left - j * SW)
                for c in range(C):
                    largest, where = -np.inf, min(first_a, KH - 1) * KW + min(first_b, KW - 1)
                    for a in range(first_a, last_a):
                        for b in range(first_b, last_b):
                            v = x[n, i * SH + a - top, j * SW + b - left, c]
                            if v > largest or (np.isnan(v) and not np.isnan(largest)):
                                largest, where = v, a * KW + b
                    y[n, i, j, c] = largest
                    if placed:
                        place[n, i, j, c] = where


@compiled()
def max_backward_plain(dx, dy, place, KH, KW, SH, SW, top, left):
    dx[...] = 0.0
    N, out_rows, out_columns, C = dy.shape
    for n in range(N):
        for i in range(out_rows):
            for j in range(out_columns):
                for c in range(C):
                    k = np.int64(place[n, i, j, c])
                    row, column = i * SH + k // KW - top, j * SW + k % KW - left
                    if 0 <= row < dx.shape[1] and 0 <= column < dx.shape[2]:
                        dx[n, row, column, c] += dy[n, i, j, c]


@compiled()
def average_forward_plain(y, x, KH, KW, SH, SW, top, left):
    N, out_rows, out_columns, C = y.shape
    for n in range(N):
        for i in range(out_rows):
            first_row, last_row = max(0, i * SH - top), min(x.shape[1], i * SH - top + KH)
            for j in range(out_columns):
                first_column, last_column = max(0, j * SW - left), min(x.shape[2], j * SW - left + KW)
                count = max(0, last_row - first_row) * max(0, last_column - first_column)
                for c in range(C):
                    total = 0.0
                    for row in range(first_row, last_row):
                        for column in range(first_column, last_column):
                            total += x[n, row, column, c]
                    y[n, i, j, c] = total / count


@compiled()
def average_backward_plain(dx, dy, KH, KW, SH, SW, top, left):
    dx[...] = 0.0
    N, out_rows, out_columns, C = dy.shape
    for n in range(N):
        for i in range(out_rows):
            first_row, last_row = max(0, i * SH - top), min(dx.shape[1], i * SH - top + KH)
            for j in range(out_columns):
                first_column, last_column = max(0, j * SW - left), min(dx.shape[2], j * SW - left + KW)
                count = max(0, last_row - first_row) * max(0, last_column - first_column)
                for row in range(first_row, last_row):
                    for column in range(first_column, last_column):
                        for c in range(C):
                            dx[n, row, column, c] += dy[n, i, j, c] / count


# -- the row's public functions ----------------------------------------------------------------------------------------


def numbers(window):
    return *window.size, *window.strides, window.padding[0][0], window.padding[1][0]


def at(array):
    """Address, and bytes from image to image and from row to row, of contiguous images."""
    return array.ctypes.data, *array.strides[:2]


def in_strips(function, x, y, place, window, rows):
    """Run the tasks over strips of x's or y's rows, whichever has `rows`; x's begin where a window does."""
    SH = window.strides[0]
    strip = -(-max(1, STRIP * rows * len(x) // x.size) // SH) * SH
    strips = -(-rows // strip)
    job = np.array([*at(x), *at(y), *((0, 0, 0) if place is None else at(place)), *x.shape[1:3], *y.shape[1:],
                    *numbers(window), strip, strips], np.int64)  # fmt: skip
    tasks.run(function, len(x) * strips, job, 0, serial=x.size < SERIAL_BELOW)


def in_vectors(array, place=None):
    return array.dtype == np.float32 and (place is None or place.dtype == np.uint8)


NO_PLACE = np.empty((0, 0, 0, 0), np.uint8)


def max_forward(y, place, x, window):
    x = np.ascontiguousarray(x)
    if y.size and in_vectors(y, place):
        in_strips(max_forward_tasks(), x, y, place, window, y.shape[1])
    else:
        max_forward_plain(y, NO_PLACE if place is None else place, x, *numbers(window))


def max_backward(dx, dy, place, window):
    dy, place = np.ascontiguousarray(dy), np.ascontiguousarray(place)
    if dx.size and in_vectors(dx, place):
        in_strips(max_backward_tasks(), dx, dy, place, window, dx.shape[1])
    else:
        max_backward_plain(dx, dy, place, *numbers(window))


def average_forward(y, x, window):
    x = np.ascontiguousarray(x)
    if y.size and in_vectors(y):
        in_strips(average_forward_tasks(), x, y, None, window, y.shape[1])
    else:
        average_forward_plain(y, x, *numbers(window))


def average_backward(dx, dy, window):
    dy = np.ascontiguousarray(dy)
    if dx.size and in_vectors(dx):
        in_strips(average_backward_tasks(), dx, dy, None, window, dx.shape[1])
    else:
        average_backward_plain(dx, dy, *numbers(window))
