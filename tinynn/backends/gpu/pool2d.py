"""Pooling of images x (N, H, W, C) to y (N, OH, OW, C): one launch each.

On the way back every input looks at the outputs whose window it is in and adds up what it gets, in the order of these
outputs: no two threads write to one place.
"""

from __future__ import annotations

from typing import Any

from tinynn.activation import Activation
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.channels import THREADS, cut
from tinynn.backends.gpu.cuda import Source, contiguous
from tinynn.typing import Array
from tinynn.window import Window

SOURCE = Source("pool2d", "activations", "packs", "channels", "windows")
MOST_BLOCKS = 2048
"""Of a launch: as many as a large card holds together, and then some."""


def arguments_of(window: Window, x: Array, y: Array) -> tuple[int, ...]:
    """The window over the images x with the outputs y, as kernels take it: POOL_ARGUMENTS in windows.cuh."""
    (top, _), (left, _) = window.padding
    return (*window.size, *window.strides, *window.dilation, top, left, x.shape[1], x.shape[2], y.shape[1], y.shape[2])


def places_of(place: Array | None) -> tuple[Array | None, Array | None]:
    """As bytes, and as ints: one of the two."""
    if place is None or place.dtype.itemsize == 1:
        return place, None
    return None, place


def launch(kernel: str, out: Array, *arguments: Any) -> None:
    """Over the pixels of ``out``, tile by tile of its channels."""
    N, H, W, C = out.shape
    if out.size:
        M = N * H * W
        grid, width, rows = cut(M, C, out.itemsize, 1, MOST_BLOCKS)
        SOURCE.launch(kernel, grid, THREADS, out, *arguments, width, rows, M, C)


def max_forward(
    y: Array, place: Array | None, x: Array, window: Window, activation: Activation = Activation.LINEAR
) -> None:
    """y = the largest of each window; padding counts as -inf, NaN as the largest. Its place: a KW + b, of the first.

    A convolution's block adds its activation, which acts on the largest alone.
    """
    launch(
        "max_pool_forward", y, *places_of(place), contiguous(x), NUMBER[activation], alpha_of(activation),
        *arguments_of(window, x, y),
    )  # fmt: skip


def max_backward(
    dx: Array,
    dy: Array,
    place: Array,
    window: Window,
    y: Array | None = None,
    activation: Activation = Activation.LINEAR,
) -> None:
    """dx = dy where the place says so, 0 elsewhere; overlapping windows add. With an activation: dy f'(y)."""
    launch(
        "max_pool_backward", dx, contiguous(dy), y, *places_of(contiguous(place)), NUMBER[activation],
        alpha_of(activation), *arguments_of(window, dx, dy),
    )  # fmt: skip


def average_forward(y: Array, x: Array, window: Window) -> None:
    """y = the mean of each window; padding does not count, neither above nor below the fraction bar."""
    launch("average_pool_forward", y, contiguous(x), *arguments_of(window, x, y))


def average_backward(dx: Array, dy: Array, window: Window) -> None:
    """dx = the sum, over the windows that an input is in, of dy / (inputs in that window)."""
    launch("average_pool_backward", dx, contiguous(dy), *arguments_of(window, dx, dy))
