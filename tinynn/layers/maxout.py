"""Maxout: the largest of several affine functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import constraints, initializers, regularizers
from tinynn.config import positive_integer
from tinynn.function import Function
from tinynn.layers.base import Layer
from tinynn.layers.dense import Affine
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class MaxOfPieces(Function):
    """y (..., U) = max over k of z (..., K U), piece k being columns k U to (k + 1) U; the first maximum gets dy."""

    def __init__(self, pieces: int):
        self.pieces = pieces

    def forward(self, graph: Graph, z: Array) -> Array:
        pieces = z.reshape(*z.shape[:-1], self.pieces, -1)
        self.saved = np.argmax(pieces, axis=-2), z.shape
        return np.max(pieces, axis=-2)

    def backward(self, graph: Graph, dy: Array) -> Array:
        winner, shape = self.saved
        dz = graph.empty(*dy.shape[:-1], self.pieces, dy.shape[-1])
        for k in range(self.pieces):
            np.multiply(dy, winner == k, out=dz[..., k, :])
        return dz.reshape(shape)


class Maxout(Layer):
    """y = max over k of (x W_k + b_k) on the last axis: (..., I) -> (..., units).

    units:  the number of outputs
    pieces: how many affine functions compete for each output

    Parameters: ``kernel`` (I, pieces * units), W_k being columns k units to (k + 1) units, ``bias`` (pieces * units,).
    Source: I. Goodfellow et al., "Maxout networks", 2013.
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        pieces: int = 4,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.units = positive_integer(units, "units", f"Maxout '{self.label}'")
        self.pieces = positive_integer(pieces, "pieces", f"Maxout '{self.label}'")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] is None:
            raise ValueError(f"layer '{self.label}' expects inputs with a last axis of known size, got {input_shape}")
        width = self.pieces * self.units
        self.kernel = Parameter(
            (input_shape[-1], width),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = Parameter(
                (width,), self.bias_initializer, regularizer=self.bias_regularizer, constraint=self.bias_constraint
            )
        return (*input_shape[:-1], self.units)

    def shape_for(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] != self.kernel.shape[0]:
            super().shape_for(input_shape)
        return (*input_shape[:-1], self.units)

    def forward(self, x: Tensor) -> Tensor:
        parameter = x.graph.parameter
        W = parameter(self.kernel)
        z = Affine()(x, W, parameter(self.bias)) if self.use_bias else Affine()(x, W)
        return MaxOfPieces(self.pieces)(z)
