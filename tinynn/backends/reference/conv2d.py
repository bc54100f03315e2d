"""Conv2D: x (N, H, W, C), W (KH, KW, C / groups, O), b (O,), y (N, OH, OW, O).

Each number of the kernel meets a shifted, strided copy of the image: a convolution is KH KW matrix products, added up.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import activation as activations
from tinynn.typing import Array
from tinynn.window import Window


def forward(
    y: Array,
    x: Array,
    W: Array,
    b: Array | None,
    window: Window,
    groups: int,
    activation: Activation,
    fast: bool,
) -> None:
    """y = activation(b + sum over u, v of x_uv W[u, v]), x_uv (N, OH, OW, C) what place (u, v) of the window sees."""
    xp = padded(x, window)
    y[...] = 0
    for channels, outputs in parts(groups, x.shape[3], y.shape[3]):
        for u, v, seen in places(window, y.shape):
            y[..., outputs] += np.matmul(xp[seen][..., channels], W[u, v, :, outputs])
    if b is not None:
        np.add(y, b, out=y)
    activations.forward(y, y, activation)


def backward(
    dx: Array | None,
    dW: Array | None,
    db: Array | None,
    dy: Array,
    x: Array,
    W: Array,
    y: Array,
    window: Window,
    groups: int,
    activation: Activation,
    fast: bool,
) -> None:
    """With z the output before the activation:

    dz = dy activation'(y)                       (N, OH, OW, O)
    dx_uv += dz W[u, v]^T, for each (u, v)       (N, OH, OW, C): back to where the window looked
    dW[u, v] = sum over n, i, j of x_uv^T dz     (C / groups, O)
    db = sum over n, i, j of dz                  (O,)

    dz takes the place of dy, which is ours to overwrite.
    """
    dz = dy
    activations.backward(dz, dy, None, y, activation)
    xp = padded(x, window)
    dxp = np.zeros_like(xp)
    for channels, outputs in parts(groups, x.shape[3], y.shape[3]):
        for u, v, seen in places(window, y.shape):
            if dx is not None:
                dxp[seen][..., channels] += np.matmul(dz[..., outputs], W[u, v, :, outputs].T)
            if dW is not None:
                dW[u, v, :, outputs] = np.tensordot(xp[seen][..., channels], dz[..., outputs], ((0, 1, 2), (0, 1, 2)))
    if dx is not None:
        dx[...] = dxp[inside(x, window)]
    if db is not None:
        np.sum(dz, axis=(0, 1, 2), out=db)


def places(window: Window, y_shape: tuple[int, ...]) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Each place (u, v) of the window, and what it sees of the padded image as the window moves: (N, OH, OW, C)."""
    _, rows, columns, _ = y_shape
    for u in range(window.size[0]):
        for v in range(window.size[1]):
            top, left = u * window.dilation[0], v * window.dilation[1]
            down = slice(top, top + (rows - 1) * window.strides[0] + 1, window.strides[0])
            across = slice(left, left + (columns - 1) * window.strides[1] + 1, window.strides[1])
            yield u, v, (slice(None), down, across)


def parts(groups: int, channels: int, outputs: int) -> Iterator[tuple[slice, slice]]:
    """The channels and the outputs of each group."""
    c, o = channels // groups, outputs // groups
    for g in range(groups):
        yield slice(g * c, (g + 1) * c), slice(g * o, (g + 1) * o)


def padded(x: Array, window: Window) -> Array:
    """x with zeros around the images."""
    if not window.padded:
        return x
    N, H, W, C = x.shape
    (top, bottom), (left, right) = window.padding
    xp = np.zeros_like(x, shape=(N, top + H + bottom, left + W + right, C))
    xp[inside(x, window)] = x
    return xp


def inside(x: Array, window: Window) -> tuple[slice, ...]:
    """Where the image stands in its padding."""
    (top, _), (left, _) = window.padding
    return slice(None), slice(top, top + x.shape[1]), slice(left, left + x.shape[2])
