"""Pooling: images (N, H, W, C) become smaller, each window one number per channel, its largest or its mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinynn import ops
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.base import Layer
from tinynn.layers.images import (
    check_images,
    checked_data_format,
    checked_pair,
    output_sides,
    require_images,
    window_on,
)
from tinynn.typing import Array, Shape
from tinynn.window import Pair, Window

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

BYTE = 256
"""Windows of so many inputs number their places in one byte."""


class MaxPool(Function):
    """y = the largest x of each window, the first of equal ones, which takes the gradient; overlapping windows add.

    x (N, H, W, C) -> y (N, OH, OW, C). Padding counts as -inf, NaN as the largest. ``remembers`` False keeps no places,
    where nobody will ask for a gradient.
    """

    def __init__(self, window: Window, remembers: bool = True):
        self.window, self.remembers = window, remembers

    def forward(self, graph: Graph, x: Array) -> Array:
        y, place = pooled(graph, x, self.window), None
        if self.remembers:
            small = self.window.size[0] * self.window.size[1] <= BYTE
            place = graph.backend.empty(y.shape, np.uint8 if small else np.int32)
        graph.backend.pool2d.max_forward(y, place, x, self.window)
        self.saved = x.shape, place
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        shape, place = self.saved
        dx = graph.empty(*shape)
        graph.backend.pool2d.max_backward(dx, dy, place, self.window)
        return dx


class AveragePool(Function):
    """y = the mean of each window without the padding; each of its n inputs receives dy / n.

    x (N, H, W, C) -> y (N, OH, OW, C).
    """

    def __init__(self, window: Window):
        self.window = window

    def forward(self, graph: Graph, x: Array) -> Array:
        y = pooled(graph, x, self.window)
        graph.backend.pool2d.average_forward(y, x, self.window)
        self.saved = x.shape
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dx = graph.empty(*self.saved)
        graph.backend.pool2d.average_backward(dx, dy, self.window)
        return dx


def pooled(graph: Graph, x: Array, window: Window) -> Array:
    """An array for the output."""
    return graph.empty(x.shape[0], *window.output(x.shape[1], x.shape[2]), x.shape[3])


# -- moving windows --------------------------------------------------------------------------------------------------


class Pooling2D(Layer):
    """What the moving windows share: arguments and shapes, see MaxPooling2D."""

    def __init__(
        self,
        pool_size: int | Sequence[int] = (2, 2),
        strides: int | Sequence[int] | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"{type(self).__name__} '{self.label}'"
        self.pool_size: Pair = checked_pair(pool_size, "pool_size", owner)
        self.strides: Pair = self.pool_size if strides is None else checked_pair(strides, "strides", owner)
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise unknown(f"padding of {owner}", padding, ("valid", "same"))
        self.data_format = checked_data_format(data_format, owner)

    def build(self, input_shape: Shape) -> Shape:
        output_shape = self.shape_for(input_shape)
        check_images(input_shape, self)  # after the sizes: their error says more than its warning
        return output_shape

    def shape_for(self, input_shape: Shape) -> Shape:
        require_images(input_shape, self)
        sides = output_sides(self, input_shape, "pool_size", self.pool_size, self.strides, self.padding)
        return (*sides, input_shape[2])

    def window(self, x: Tensor) -> Window:
        """The window on these very images: what 'same' adds depends on their size."""
        _, rows, columns, _ = x.data.shape
        return window_on(rows, columns, self.pool_size, self.strides, self.padding)


class MaxPooling2D(Pooling2D):
    """The largest number of each window, channel by channel: (H, W, C) -> (OH, OW, C).

    pool_size:   rows and columns of the window, or one number for both
    strides:     how far it moves; None for its own size, so that windows lie side by side
    padding:     "valid": windows lie inside the image, what is left over below and at the right is not seen;
                 "same": ceil(n / stride) outputs, with padding that never counts (the odd one below and at the right)
    data_format: "channels_last" or None for it

    Of equal numbers in a window the first takes the gradient. Rows and columns of unknown size (None) stay open.
    Raises ValueError for a window that is larger than the image.
    """

    def forward(self, x: Tensor) -> Tensor:
        return MaxPool(self.window(x), x.requires_grad)(x)


class AveragePooling2D(Pooling2D):
    """The mean of each window, channel by channel, padding left out: (H, W, C) -> (OH, OW, C).

    The arguments are those of MaxPooling2D.
    """

    def forward(self, x: Tensor) -> Tensor:
        return AveragePool(self.window(x))(x)


# -- the whole image -------------------------------------------------------------------------------------------------


class GlobalPooling2D(Layer):
    """What the two global poolings share: (H, W, C) -> (C,), or (1, 1, C) with ``keepdims``; sides may be open."""

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.data_format = checked_data_format(data_format, f"{type(self).__name__} '{self.label}'")
        self.keepdims = bool(keepdims)

    def build(self, input_shape: Shape) -> Shape:
        require_images(input_shape, self)
        return (1, 1, input_shape[2]) if self.keepdims else (input_shape[2],)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)


class GlobalAveragePooling2D(GlobalPooling2D):
    """The mean of every channel over the whole image, whatever its size."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.mean(x, (1, 2), self.keepdims)


class GlobalMaxPooling2D(GlobalPooling2D):
    """The largest number of every channel over the whole image; the first of equal ones takes the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.max(x, (1, 2), self.keepdims)


MaxPool2D = MaxPooling2D
AvgPool2D = AveragePooling2D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalMaxPool2D = GlobalMaxPooling2D
