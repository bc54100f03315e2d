"""PaddedShortcut: a residual connection past a strided convolution, without parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinynn.config import positive_integer
from tinynn.function import Function
from tinynn.layers.base import Layer, shown
from tinynn.layers.images import checked_pair, require_images
from tinynn.typing import Array, Shape
from tinynn.window import Pair

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class SubsampleAndPad(Function):
    """y (N, ceil(H / s), ceil(W / s), filters) = every s-th pixel of x (N, H, W, C), zeros in the other channels.

    The C channels lie in the middle of the filters; dx is dy in these places and 0 elsewhere.
    """

    def __init__(self, filters: int, strides: Pair):
        self.filters, self.strides = filters, strides

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x.shape
        pixels = x[:, :: self.strides[0], :: self.strides[1]]
        y = graph.backend.zeros((*pixels.shape[:3], self.filters), x.dtype)
        y[..., self.channels(x.shape)] = pixels
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dx = graph.backend.zeros(self.saved, dy.dtype)
        dx[:, :: self.strides[0], :: self.strides[1]] = dy[..., self.channels(self.saved)]
        return dx

    def channels(self, shape: Shape) -> slice:
        """Where the channels of x lie among the filters."""
        before = (self.filters - shape[3]) // 2
        return slice(before, before + shape[3])


class PaddedShortcut(Layer):
    """Every second pixel, and zeros for the channels that are new: (H, W, C) -> (ceil(H / 2), ceil(W / 2), filters).

    filters: the channels of the branch it is added to; half of the new ones come before those of the input
    strides: 2 takes every second pixel

    Option A of K. He et al., "Deep residual learning for image recognition", 2015. Raises ValueError where the input
    has more channels than filters.
    """

    def __init__(
        self,
        filters: int,
        strides: int | Sequence[int] = (2, 2),
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"PaddedShortcut '{self.label}'"
        self.filters = positive_integer(filters, "filters", owner)
        self.strides: Pair = checked_pair(strides, "strides", owner)

    def build(self, input_shape: Shape) -> Shape:
        return self.shape_for(input_shape)

    def shape_for(self, input_shape: Shape) -> Shape:
        require_images(input_shape, self)
        *sides, channels = input_shape
        if channels is None or channels > self.filters:
            raise ValueError(
                f"layer '{self.label}' pads channels up to {self.filters}, got inputs of shape {shown(input_shape)}: "
                "take as many filters as there are channels, or more"
            )
        rows, columns = (n if n is None else -(-n // s) for n, s in zip(sides, self.strides, strict=True))
        return (rows, columns, self.filters)

    def forward(self, x: Tensor) -> Tensor:
        return SubsampleAndPad(self.filters, self.strides)(x)
