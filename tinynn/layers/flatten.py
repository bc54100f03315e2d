"""Flatten: all axes but the batch become one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinynn import ops
from tinynn.layers.base import Layer
from tinynn.typing import Shape

if TYPE_CHECKING:
    from tinynn.tensor import Tensor


class Flatten(Layer):
    """(H, W, C) -> (H W C,), in row-major order; a single number per row becomes (1,)."""

    def __init__(
        self, *, input_shape: Sequence[int] | int | None = None, name: str | None = None, trainable: bool = True
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)

    def build(self, input_shape: Shape) -> Shape:
        return (None if None in input_shape else math.prod(input_shape),)  # type: ignore[return-value]

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.data.shape
        return x if len(shape) == 2 else ops.reshape(x, (shape[0], math.prod(shape[1:])))
