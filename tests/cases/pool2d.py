"""Pooling: odd sizes, overlapping and distant windows, 'same' with odd totals, one pixel, ties, 1 to 65 channels."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case, Draw, constant, distinct, tied
from tinynn.layers.images import window_on
from tinynn.layers.pooling import AveragePool, MaxPool
from tinynn.ops.reductions import Max, Mean
from tinynn.window import Window


def seen(window: Window, x: np.ndarray, i: int, j: int) -> list[tuple[int, int]]:
    """The inputs (row, column) that output (i, j) looks at, in row-major order."""
    (top, _), (left, _) = window.padding
    rows = [i * window.strides[0] + a - top for a in range(window.size[0])]
    columns = [j * window.strides[1] + b - left for b in range(window.size[1])]
    return [(r, s) for r in rows for s in columns if 0 <= r < x.shape[1] and 0 <= s < x.shape[2]]


def first_largest(window: Window) -> Any:
    """The gradient of max pooling by loops: it goes to the first of the largest, a NaN being the largest."""

    def gradients(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
        dx = np.zeros_like(x)
        for n, i, j, c in np.ndindex(dy.shape):
            places = seen(window, x, i, j)
            values = np.array([x[n, r, s, c] for r, s in places])
            r, s = places[int(np.argmax(values))]  # the first one, and the first NaN
            dx[n, r, s, c] += dy[n, i, j, c]
        return (dx,)

    return gradients


def shared_out(window: Window) -> Any:
    """The gradient of average pooling by loops: each input of a window receives an equal share."""

    def gradients(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
        dx = np.zeros_like(x)
        for n, i, j, c in np.ndindex(dy.shape):
            places = seen(window, x, i, j)
            for r, s in places:
                dx[n, r, s, c] += dy[n, i, j, c] / len(places)
        return (dx,)

    return gradients


# name: (shape of x, size, strides, padding)
SHAPES: dict[str, tuple[tuple[int, int, int, int], Any, Any, str]] = {
    "2x2": ((2, 6, 4, 3), (2, 2), (2, 2), "valid"),
    "2x2_left_over": ((2, 7, 5, 17), (2, 2), (2, 2), "valid"),
    "2x2_same": ((1, 7, 5, 3), (2, 2), (2, 2), "same"),
    "3x3_overlapping": ((2, 7, 9, 3), (3, 3), (2, 2), "valid"),
    "3x3_overlapping_same": ((1, 6, 7, 5), (3, 3), (2, 2), "same"),
    "3x3_every_pixel_same": ((1, 5, 4, 2), (3, 3), (1, 1), "same"),
    "2x3_unequal": ((2, 8, 7, 2), (2, 3), (3, 1), "valid"),
    "2x2_far_apart": ((1, 10, 9, 3), (2, 2), (3, 4), "valid"),
    "2x2_far_apart_same": ((1, 11, 9, 1), (2, 2), (3, 4), "same"),
    "5x4_same": ((1, 5, 6, 3), (5, 4), (2, 3), "same"),
    "larger_than_the_image_same": ((2, 2, 1, 3), (5, 4), (1, 2), "same"),
    "1x1": ((2, 3, 2, 4), (1, 1), (1, 1), "valid"),
    "1x1_every_second": ((1, 5, 6, 2), (1, 1), (2, 2), "valid"),
    "one_pixel": ((1, 1, 1, 1), (1, 1), (1, 1), "valid"),
    "one_pixel_same": ((3, 1, 1, 17), (2, 2), (2, 2), "same"),
    "whole_image": ((2, 3, 5, 2), (3, 5), (3, 5), "valid"),
    "65_channels": ((1, 4, 6, 65), (2, 2), (2, 2), "valid"),
    "64_channels": ((2, 4, 5, 64), (3, 3), (2, 2), "same"),
    "one_channel": ((3, 9, 8, 1), (2, 2), (2, 2), "valid"),
    "many_images": ((37, 4, 4, 3), (2, 2), (2, 2), "valid"),
    "place_in_two_bytes": ((1, 19, 17, 2), (17, 16), (1, 1), "valid"),
}


def window_of(name: str) -> Window:
    (_, rows, columns, _), size, strides, padding = SHAPES[name]
    return window_on(rows, columns, size, strides, padding)


def ties(name: str, kind: str, draw: Draw) -> Case:
    """Images where most windows have several largest numbers."""
    window = window_of(name)
    return Case(f"max_pool_{name}_{kind}", lambda: MaxPool(window), (draw,), ties=True, expected=first_largest(window))


def with_nan(x: np.ndarray) -> np.ndarray:
    """One number in five is NaN."""
    rng = np.random.default_rng(3)
    return np.where(rng.random(x.shape) < 0.2, np.nan, x)


def nan_ties(name: str) -> Case:
    shape = SHAPES[name][0]
    return ties(name, "nan", lambda rng: with_nan(rng.integers(-2, 3, shape).astype(float)))


TIED = ("2x2", "2x2_same", "3x3_overlapping", "3x3_overlapping_same", "2x3_unequal", "64_channels", "65_channels")

CASES = [
    *(
        Case(f"max_pool_{name}", lambda name=name: MaxPool(window_of(name)), (distinct(x),),
             expected=first_largest(window_of(name)))
        for name, (x, *_) in SHAPES.items()
    ),
    *(
        Case(f"average_pool_{name}", lambda name=name: AveragePool(window_of(name)), (x,),
             expected=shared_out(window_of(name)), reduction=64)
        for name, (x, *_) in SHAPES.items()
    ),
    Case("max_pool_place_beyond_a_byte", lambda: MaxPool(window_of("place_in_two_bytes")),
         (constant(0.01 * np.arange(646.0).reshape(1, 19, 17, 2)),),  # the last place is the largest
         expected=first_largest(window_of("place_in_two_bytes"))),
    *(ties(name, "tied", tied(SHAPES[name][0])) for name in TIED),
    *(ties(name, "zeros", constant(np.zeros(SHAPES[name][0]))) for name in TIED),
    *(nan_ties(name) for name in TIED),
    Case("global_average_pool", lambda: Mean((1, 2)), ((2, 7, 5, 17),)),
    Case("global_max_pool", lambda: Max((1, 2)), (distinct((2, 7, 5, 3)),)),
    Case("global_max_pool_zeros", lambda: Max((1, 2), True), (constant(np.zeros((2, 3, 5, 3))),), ties=True,
         expected=first_largest(Window((3, 5)))),
]  # fmt: skip
