"""Images with a border more or less, or more pixels: ZeroPadding2D, Cropping2D, UpSampling2D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import Backend
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.base import Layer, shown
from tinynn.layers.images import check_images, checked_data_format, checked_pair
from tinynn.typing import Array, Shape
from tinynn.window import Pair

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

Borders = tuple[Pair, Pair]
"""((top, bottom), (left, right))"""


def checked_borders(value: Any, what: str, owner: str) -> Borders:
    """An integer for all sides, (rows, columns), or ((top, bottom), (left, right)); none is negative."""
    pair = list(value) if isinstance(value, (list, tuple)) else [value, value]
    sides = [tuple(side) if isinstance(side, (list, tuple)) else (side, side) for side in pair]
    numbers = [n for side in sides for n in side]
    whole = all(hasattr(n, "__index__") and not isinstance(n, bool) and n >= 0 for n in numbers)
    if len(sides) != 2 or any(len(side) != 2 for side in sides) or not whole:
        raise ValueError(
            f"{owner} expects {what} to be an integer >= 0, two of them, (rows, columns), or "
            f"((top, bottom), (left, right)), got {value!r}"
        )
    top, bottom, left, right = (int(n) for n in numbers)
    return (top, bottom), (left, right)


def inner(borders: Borders, x: Array) -> tuple[slice, slice, slice]:
    """The index of what lies inside the borders of images x (N, H, W, C)."""
    (top, bottom), (left, right) = borders
    return slice(None), slice(top, x.shape[1] - bottom), slice(left, x.shape[2] - right)


class Pad(Function):
    """y = x (N, H, W, C) with a border of zeros;  dx = dy without it."""

    def __init__(self, borders: Borders):
        self.borders = borders

    def forward(self, graph: Graph, x: Array) -> Array:
        (top, bottom), (left, right) = self.borders
        N, H, W, C = x.shape
        y = graph.backend.zeros((N, top + H + bottom, left + W + right, C), x.dtype)
        y[inner(self.borders, y)] = x
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        return dy[inner(self.borders, dy)]


class Crop(Function):
    """y = x (N, H, W, C) without a border;  dx = dy with a border of zeros."""

    def __init__(self, borders: Borders):
        self.borders = borders

    def forward(self, graph: Graph, x: Array) -> Array:
        return x[inner(self.borders, x)]

    def backward(self, graph: Graph, dy: Array) -> Array:
        return Pad(self.borders).forward(graph, dy)


class Repeat(Function):
    """Each pixel of x (N, H, W, C) becomes a block of ``size`` equal ones, whose gradients add up."""

    def __init__(self, size: Pair):
        self.size = size

    def forward(self, graph: Graph, x: Array) -> Array:
        (s, t), (N, H, W, C) = self.size, x.shape
        y = graph.empty(N, H * s, W * t, C)
        y.reshape(N, H, s, W, t, C)[...] = x[:, :, None, :, None]
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        s, t = self.size
        N, H, W, C = dy.shape
        dx = graph.backend.zeros((N, H // s, W // t, C), dy.dtype)
        for a in range(s):
            for b in range(t):
                dx += dy[:, a::s, b::t]
        return dx


class Interpolate(Function):
    """y = R x S' for every channel: rows and columns of x (N, H, W, C) interpolated linearly, ``size`` times as many.

    R (s H, H) and S (t W, W) hold two weights in each row, see ``weights``;  dx = R' dy S.
    """

    def __init__(self, size: Pair):
        self.size = size

    def forward(self, graph: Graph, x: Array) -> Array:
        R, S = weights(x.shape[1], self.size[0], x), weights(x.shape[2], self.size[1], x)
        self.saved = R, S
        return both(graph.backend, R, S, x)

    def backward(self, graph: Graph, dy: Array) -> Array:
        R, S = self.saved
        return both(graph.backend, R.T, S.T, dy)


def both(backend: Backend, R: Array, S: Array, x: Array) -> Array:
    """R along the rows and S along the columns of images x (N, H, W, C)."""
    N, H, _, C = x.shape
    wide = backend.matmul(S, x).reshape(N, H, S.shape[0] * C)
    y: Array = backend.matmul(R, wide).reshape(N, R.shape[0], S.shape[0], C)
    return y


def weights(n: int, s: int, like: Array) -> Array:
    """(s n, n), of the dtype and on the device of ``like``: what each of s n points takes of the n pixels.

    Linear interpolation between the middles of pixels: point i lies at (i + 0.5) / s - 0.5, and beyond the first and
    the last middle the image goes on as it ends there.

    >>> weights(2, 2, np.zeros(1))
    array([[1.  , 0.  ],
           [0.75, 0.25],
           [0.25, 0.75],
           [0.  , 1.  ]])
    """
    middles = np.arange(n, dtype=like.dtype, like=like)
    points = np.clip((np.arange(s * n, dtype=like.dtype, like=like) + 0.5) / s - 0.5, 0, n - 1)
    return np.maximum(1 - np.abs(points[:, None] - middles), 0)


# -- the layers ------------------------------------------------------------------------------------------------------


class ZeroPadding2D(Layer):
    """A border of zeros around images: (H, W, C) -> (top + H + bottom, left + W + right, C).

    padding: an integer for all four sides, (rows, columns), or ((top, bottom), (left, right))
    """

    def __init__(
        self,
        padding: Any = (1, 1),
        data_format: str | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"ZeroPadding2D '{self.label}'"
        self.padding = checked_borders(padding, "padding", owner)
        self.data_format = checked_data_format(data_format, owner)

    def build(self, input_shape: Shape) -> Shape:
        check_images(input_shape, self)
        (top, bottom), (left, right) = self.padding
        rows, columns, channels = input_shape
        return (rows and top + rows + bottom, columns and left + columns + right, channels)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        return Pad(self.padding)(x)


class Cropping2D(Layer):
    """Images without their borders: (H, W, C) -> (H - top - bottom, W - left - right, C).

    cropping: an integer for all four sides, (rows, columns), or ((top, bottom), (left, right))

    Raises ValueError where nothing would be left.
    """

    def __init__(
        self,
        cropping: Any = ((0, 0), (0, 0)),
        data_format: str | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"Cropping2D '{self.label}'"
        self.cropping = checked_borders(cropping, "cropping", owner)
        self.data_format = checked_data_format(data_format, owner)

    def build(self, input_shape: Shape) -> Shape:
        check_images(input_shape, self)
        sides: list[Any] = [n and n - sum(c) for n, c in zip(input_shape[:2], self.cropping, strict=True)]
        if any(n is not None and n < 1 for n in sides):
            raise ValueError(
                f"layer '{self.label}' with cropping={self.cropping} leaves nothing of images of "
                f"{input_shape[0]} x {input_shape[1]}, inputs of shape {shown(input_shape)}: crop less"
            )
        return (*sides, input_shape[2])

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        return Crop(self.cropping)(x)


class UpSampling2D(Layer):
    """Larger images: (H, W, C) -> (s H, t W, C).

    size:          (s, t), or one number for both
    interpolation: "nearest" repeats every pixel; "bilinear" interpolates between the middles of pixels, as Keras and
                   PyTorch (align_corners=False) do
    """

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"UpSampling2D '{self.label}'"
        self.size = checked_pair(size, "size", owner)
        self.data_format = checked_data_format(data_format, owner)
        if interpolation not in ("nearest", "bilinear"):
            raise unknown(f"interpolation of {owner}", interpolation, ("nearest", "bilinear"))
        self.interpolation = interpolation

    def build(self, input_shape: Shape) -> Shape:
        check_images(input_shape, self)
        rows, columns, channels = input_shape
        return (rows and rows * self.size[0], columns and columns * self.size[1], channels)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        function = Repeat if self.interpolation == "nearest" else Interpolate
        return function(self.size)(x)
