"""LayerNormalization: every row gets mean 0 and variance 1 over its features, then a learned scale and shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn import constraints, initializers, ops, regularizers
from tinynn.config import above
from tinynn.function import Function
from tinynn.layers.base import Layer, checked_axis
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class LayerNorm(Function):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta over the last ``axes`` axes, for every row by itself.

    x (..., *F); gamma, beta (*F,) as far as ``scale`` and ``center`` announce them; biased variance.
    """

    def __init__(self, epsilon: float = 1e-3, scale: bool = True, center: bool = True, axes: int = 1):
        self.epsilon, self.scale, self.center, self.axes = epsilon, scale, center, axes

    def forward(self, graph: Graph, x: Array, *learned: Array) -> Array:
        gamma, beta = self.spread(learned)
        features = math.prod(x.shape[len(x.shape) - self.axes :])
        y = graph.empty(*x.shape)
        rows, y_rows = x.reshape(-1, features), y.reshape(-1, features)
        mean, rstd = graph.empty(rows.shape[0]), graph.empty(rows.shape[0])
        graph.backend.layernorm.forward(y_rows, mean, rstd, rows, gamma, beta, self.epsilon)
        self.saved = rows, mean, rstd, gamma
        return y

    def spread(self, learned: Sequence[Any]) -> tuple[Any, Any]:
        """gamma and beta (or their gradients), flat, from what there is of them."""
        gamma, beta = learned[0] if self.scale else None, learned[-1] if self.center else None
        return None if gamma is None else gamma.reshape(-1), None if beta is None else beta.reshape(-1)

    def backward(self, graph: Graph, dy: Array) -> Any:
        rows, mean, rstd, gamma = self.saved
        dx, *dlearned = graph.gradients(self)
        dgamma, dbeta = self.spread(dlearned)
        dy = dy if dy.flags.c_contiguous else dy.copy()
        dx = None if dx is None else dy  # in place
        dy_rows = dy.reshape(rows.shape)
        graph.backend.layernorm.backward(
            None if dx is None else dy_rows, dgamma, dbeta, dy_rows, rows, mean, rstd, gamma
        )
        return (dx, *dlearned)


class LayerNormalization(Layer):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, mean and biased variance of each row over its features.

    axis:    the axis (or axes) of the features, 0 being the batch; trailing ones are fast, others are moved
    epsilon: added to the variance inside the root (PyTorch: 1e-5)
    center, scale: whether there is a beta, a gamma

    The same in training and prediction. Parameters ``gamma``, ``beta`` of the features' shape.
    Source: J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.epsilon = above(epsilon, 0, "epsilon", f"LayerNormalization '{self.label}'")
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def places(self, input_shape: Shape) -> list[int]:
        """The normalised axes in a shape without the batch."""
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        places = sorted({checked_axis(axis, input_shape, self) for axis in axes})
        if not places or len(places) != len(axes):
            raise ValueError(f"layer '{self.label}' expects one or more axes, each once, got axis={self.axis}")
        return places

    def build(self, input_shape: Shape) -> Shape:
        places = self.places(input_shape)
        shape = tuple(input_shape[k] for k in places)
        rest = [k for k in range(len(input_shape)) if k not in places]
        order = (0, *(k + 1 for k in (*rest, *places)))
        self.permutation = None if order == tuple(range(len(order))) else order
        self.back = tuple(order.index(k) for k in range(len(order)))
        if self.scale:
            self.gamma = Parameter(
                shape, self.gamma_initializer, regularizer=self.gamma_regularizer, constraint=self.gamma_constraint
            )
        if self.center:
            self.beta = Parameter(
                shape, self.beta_initializer, regularizer=self.beta_regularizer, constraint=self.beta_constraint
            )
        self.features = shape
        return input_shape

    def shape_for(self, input_shape: Shape) -> Shape:
        fits = len(input_shape) == len(self.built_for)
        if not fits or tuple(input_shape[k] for k in self.places(input_shape)) != self.features:
            super().shape_for(input_shape)
        return input_shape

    def forward(self, x: Tensor) -> Tensor:
        parameter = x.graph.parameter
        learned = [parameter(self.gamma)] if self.scale else []
        if self.center:
            learned.append(parameter(self.beta))
        function = LayerNorm(self.epsilon, self.scale, self.center, len(self.features))
        if self.permutation is None:
            return function(x, *learned)
        return ops.transpose(function(ops.transpose(x, self.permutation), *learned), self.back)
