"""Masking: steps of padding do not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinynn import ops
from tinynn.layers.activation import Shapeless
from tinynn.layers.base import shown
from tinynn.typing import Shape

if TYPE_CHECKING:
    from tinynn.tensor import Tensor


class Masking(Shapeless):
    """Steps whose features all equal ``mask_value`` do not count in the layers behind, nor in the loss.

    The output is the input, with zeros in these steps, and has a mask (N, T), False for them. Recurrent layers carry
    their state over such a step; sequences of different lengths are padded with steps of ``mask_value``.
    """

    def __init__(
        self,
        mask_value: float = 0.0,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        if isinstance(mask_value, bool) or not isinstance(mask_value, (int, float, np.number)):
            raise TypeError(f"Masking '{self.label}' expects a number as mask_value, got {mask_value!r}")
        self.mask_value = float(mask_value)

    def build(self, input_shape: Shape) -> Shape:
        if len(input_shape) < 2:
            raise ValueError(
                f"layer '{self.label}' expects sequences, inputs of shape (None, steps, features), got "
                f"{shown(input_shape)}: give them an axis of features with x[..., None]"
            )
        return input_shape

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        mask = np.any(x.data != x.dtype.type(self.mask_value), axis=-1)
        y = ops.where(mask[..., None], x, 0.0)
        y.mask = mask if x.mask is None else mask & x.mask
        return y
