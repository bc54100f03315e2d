"""Dropout and noise: random in training, the identity otherwise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinynn.config import at_least, fraction
from tinynn.function import Function
from tinynn.initializers import checked_seed
from tinynn.layers.activation import Shapeless
from tinynn.layers.base import shown
from tinynn.layers.images import check_images, checked_data_format
from tinynn.random import substream
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

SEEDED = substream("seed")
"""The sub-stream of layers with a seed of their own."""

Draw = tuple[tuple[int, int], Array, int, int]
"""Which random numbers: (key, step, substream, call), see ``backends/base.py``."""


class RandomLayer(Shapeless):
    """A layer whose numbers come from its model's stream, by its path, the step, and the number of the call.

    seed: numbers that depend on this seed alone (and the step and the call), whatever the model's; None for the model's
    """

    def __init__(
        self,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.seed = checked_seed(seed, self)

    def draw(self, graph: Graph) -> Draw:
        """The numbers of this call."""
        root = graph.root
        key, number = (root.stream.key, root.substream(self)) if self.seed is None else ((self.seed, 0), SEEDED)
        return key, root.stream.counter(graph.backend), number, graph.call_index(self)


# -- Dropout ---------------------------------------------------------------------------------------------------------


class Drop(Function):
    """y = x mask / (1 - rate), where each element of the mask is 0 with probability rate;  dx likewise."""

    def __init__(self, rate: float, draw: Draw):
        self.rate, self.draw = rate, draw

    def forward(self, graph: Graph, x: Array) -> Array:
        y, mask = graph.empty(*x.shape), graph.backend.empty(x.shape, np.bool_)
        graph.backend.dropout.forward(y, mask, x, self.rate, *self.draw)
        self.saved = mask
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dx = dy if dy.flags.c_contiguous else graph.empty(*dy.shape)
        graph.backend.dropout.backward(dx, dy, self.saved, self.rate)
        return dx


class Dropout(RandomLayer):
    """y = x mask / (1 - rate) in training, x otherwise: each element is 0 with probability rate.

    rate:        the share that is dropped, in [0, 1)
    noise_shape: the mask's shape with the batch axis, 1 or None where it repeats or follows the input:
                 (None, 1, 1, None) drops whole channels of images
    seed:        for masks that depend on it alone

    Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, name=name, trainable=trainable, input_shape=input_shape)
        self.rate = fraction(rate, "rate", f"{type(self).__name__} '{self.label}'")
        self.noise_shape = None if noise_shape is None else tuple(noise_shape)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def build(self, input_shape: Shape) -> Shape:
        noise = self.noise_shape
        if noise is not None:
            fits = len(noise) == len(input_shape) + 1
            if not fits or any(a not in (1, None, n) for a, n in zip(noise[1:], input_shape, strict=True)):
                raise ValueError(
                    f"layer '{self.label}' expects a noise_shape (with the batch axis) of 1, None or the input's sizes "
                    f"{(None, *input_shape)}, got {noise}"
                )
        return input_shape

    def forward(self, x: Tensor) -> Tensor:
        graph = x.graph
        if not graph.training or self.rate == 0:
            return x
        drop = Drop(self.rate, self.draw(graph))
        if self.noise_shape is None:
            return drop(x)
        shape = tuple(n if a is None else a for a, n in zip(self.noise_shape, x.shape, strict=True))
        return x * drop(graph.tensor(graph.backend.full(shape, 1.0, graph.dtype)))


class SpatialDropout1D(Dropout):
    """Dropout of whole features of sequences (T, F): one mask for each row and feature, the same at every step.

    Source: J. Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(rate, (None, 1, None), seed, name=name, trainable=trainable, input_shape=input_shape)

    def build(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2:
            raise ValueError(
                f"layer '{self.label}' expects sequences, inputs of shape (None, steps, features), got "
                f"{shown(input_shape)}: use Dropout(rate) for single numbers, SpatialDropout2D(rate) for images"
            )
        return input_shape


class SpatialDropout2D(Dropout):
    """Dropout of whole channels of images (H, W, C): one mask for each row of the batch and channel.

    Neighbouring pixels of a feature map say nearly the same, so that dropping them one by one takes little away.
    Source: J. Tompson et al., "Efficient object localization using convolutional networks", 2015.
    """

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(rate, (None, 1, 1, None), seed, name=name, trainable=trainable, input_shape=input_shape)
        self.data_format = checked_data_format(data_format, f"SpatialDropout2D '{self.label}'")

    def build(self, input_shape: Shape) -> Shape:
        check_images(input_shape, self)
        return input_shape


# -- noise -----------------------------------------------------------------------------------------------------------


class AddNoise(Function):
    """y = x + noise, noise normal with mean 0;  dx = dy."""

    def __init__(self, stddev: float, draw: Draw):
        self.stddev, self.draw = stddev, draw

    def forward(self, graph: Graph, x: Array) -> Array:
        y = graph.empty(*x.shape)
        graph.backend.dropout.normal(y, self.stddev, *self.draw)
        y += x
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        return dy


class MultiplyNoise(Function):
    """y = x (1 + noise), noise normal with mean 0;  dx = dy (1 + noise)."""

    def __init__(self, stddev: float, draw: Draw):
        self.stddev, self.draw = stddev, draw

    def forward(self, graph: Graph, x: Array) -> Array:
        noise = graph.empty(*x.shape)
        graph.backend.dropout.normal(noise, self.stddev, *self.draw)
        noise += 1
        self.saved = noise
        return x * noise

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy *= self.saved
        return dy


class GaussianNoise(RandomLayer):
    """y = x + normal noise of mean 0 in training, x otherwise."""

    def __init__(
        self,
        stddev: float,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, name=name, trainable=trainable, input_shape=input_shape)
        self.stddev = at_least(stddev, 0, "stddev", f"GaussianNoise '{self.label}'")

    def forward(self, x: Tensor) -> Tensor:
        if not x.graph.training or self.stddev == 0:
            return x
        return AddNoise(self.stddev, self.draw(x.graph))(x)


class GaussianDropout(RandomLayer):
    """y = x (1 + noise) in training, x otherwise; noise is normal with the variance of dropout, rate / (1 - rate)."""

    def __init__(
        self,
        rate: float,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, name=name, trainable=trainable, input_shape=input_shape)
        self.rate = fraction(rate, "rate", f"GaussianDropout '{self.label}'")

    def forward(self, x: Tensor) -> Tensor:
        if not x.graph.training or self.rate == 0:
            return x
        return MultiplyNoise(math.sqrt(self.rate / (1 - self.rate)), self.draw(x.graph))(x)
