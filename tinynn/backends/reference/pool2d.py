"""Pooling of images x (N, H, W, C) to y (N, OH, OW, C), one place of the window at a time.

Every place (a, b) of the window is a strided slice of the image, cut to the outputs whose input lies inside: padding is
never looked at. Averages are summed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinynn.typing import Array
from tinynn.window import Window

Index = tuple[slice, slice, slice]
"""Of (N, rows, columns, C)."""


def places(window: Window, x: Array, y: Array) -> Iterator[tuple[int, Index, Index]]:
    """For each place of the window its number a KW + b, the outputs that find an input there, and these inputs."""
    KH, KW = window.size
    for a in range(KH):
        rows_out, rows_in = met(window, 0, a, x.shape[1], y.shape[1])
        for b in range(KW):
            columns_out, columns_in = met(window, 1, b, x.shape[2], y.shape[2])
            yield a * KW + b, (slice(None), rows_out, columns_out), (slice(None), rows_in, columns_in)


def met(window: Window, axis: int, a: int, inputs: int, outputs: int) -> tuple[slice, slice]:
    """Along one axis: the outputs i whose input i s + a d - before lies inside the image, and these inputs."""
    stride, offset = window.strides[axis], a * window.dilation[axis] - window.padding[axis][0]
    first = max(-(offset // stride), 0)  # the first i with i s + offset >= 0
    end = max(min(-((offset - inputs) // stride), outputs), first)  # the first with i s + offset >= inputs
    start = first * stride + offset
    return slice(first, end), slice(start, max(start + (end - first - 1) * stride + 1, start), stride)


def max_forward(y: Array, place: Array | None, x: Array, window: Window) -> None:
    """Backwards, so that of equal numbers (and of NaN, the largest) the first one stays."""
    y[...] = -np.inf
    for k, out, inside in reversed(list(places(window, x, y))):
        largest, v = y[out], x[inside]
        takes = (v >= largest) | np.isnan(v)
        y[out] = np.where(takes, v, largest)
        if place is not None:
            place[out] = np.where(takes, k, place[out])


def max_backward(dx: Array, dy: Array, place: Array, window: Window) -> None:
    dx[...] = 0
    for k, out, inside in places(window, dx, dy):
        dx[inside] += np.where(place[out] == k, dy[out], 0)


def average_forward(y: Array, x: Array, window: Window) -> None:
    total = np.zeros_like(y, dtype=np.float64)
    for _, out, inside in places(window, x, y):
        total[out] += x[inside]
    y[...] = total / inputs_met(window, x, y)


def average_backward(dx: Array, dy: Array, window: Window) -> None:
    share = dy / inputs_met(window, dx, dy)
    dx[...] = 0
    for _, out, inside in places(window, dx, dy):
        dx[inside] += share[out]


def inputs_met(window: Window, x: Array, y: Array) -> Array:
    """(1, OH, OW, 1): how many inputs lie in each window."""
    n: Array = np.zeros_like(y, shape=(1, y.shape[1], y.shape[2], 1))
    for _, out, _ in places(window, x, y):
        n[out] += 1
    return n
