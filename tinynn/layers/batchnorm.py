"""BatchNormalization: every channel gets mean 0 and variance 1 over the batch, then a learned scale and shift."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tinynn import constraints, initializers, ops, regularizers
from tinynn.config import above, fraction
from tinynn.function import Function
from tinynn.layers.base import Layer, checked_axis
from tinynn.parameter import Buffer, Parameter
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class BatchNorm(Function):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta over all axes but the last.

    x (..., C); gamma, beta (C,) as far as ``scale`` and ``center`` announce them. Without ``statistics`` mean and
    biased variance are the batch's, kept in ``self.mean`` and ``self.variance`` for the running ones; with
    (mean, variance) these are used and are constants.
    """

    def __init__(
        self,
        epsilon: float = 1e-3,
        scale: bool = True,
        center: bool = True,
        statistics: tuple[Array, Array] | None = None,
    ):
        self.epsilon, self.scale, self.center, self.statistics = epsilon, scale, center, statistics

    def forward(self, graph: Graph, x: Array, *learned: Array) -> Array:
        gamma, beta = self.spread(learned)
        kernels, channels = graph.backend.batchnorm, x.shape[-1]
        y = graph.empty(*x.shape)
        rows, y_rows = x.reshape(-1, channels), y.reshape(-1, channels)
        if self.statistics is None:
            mean, variance, rstd = graph.empty(channels), graph.empty(channels), graph.empty(channels)
            kernels.forward(y_rows, mean, variance, rstd, rows, gamma, beta, self.epsilon)
            self.mean, self.variance = mean, variance
        else:
            mean, variance = self.statistics
            kernels.inference(y_rows, rows, mean, variance, gamma, beta, self.epsilon)
            rstd = (variance + self.epsilon) ** -0.5 if graph.taping else None
        self.saved = rows, mean, rstd, gamma
        return y

    def spread(self, learned: Sequence[Any]) -> tuple[Any, Any]:
        """gamma and beta (or their gradients) from what there is of them."""
        return learned[0] if self.scale else None, learned[-1] if self.center else None

    def backward(self, graph: Graph, dy: Array) -> Any:
        rows, mean, rstd, gamma = self.saved
        dx, *dlearned = graph.gradients(self)
        dgamma, dbeta = self.spread(dlearned)
        dy = dy if dy.flags.c_contiguous else dy.copy()
        dx = None if dx is None else dy  # in place
        dy_rows = dy.reshape(rows.shape)
        kernels = graph.backend.batchnorm
        backward = kernels.backward if self.statistics is None else kernels.inference_backward
        backward(None if dx is None else dy_rows, dgamma, dbeta, dy_rows, rows, mean, rstd, gamma)
        return (dx, *dlearned)


class BatchNormalization(Layer):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, for every channel by itself.

    In training, mean and *biased* variance are the batch's (over all positions, in images); the running ones follow:

        moving = momentum moving + (1 - momentum) batch

    with the biased variance here too. Otherwise, and always in a frozen layer (``trainable = False`` at the last
    compile), the running ones are used and stay as they are. A batch that is not finite leaves them as they are.

    axis:     the channel axis, 0 being the batch; the last is fast, another is brought to the end and back
    momentum: the share of the old value in the running statistics
    epsilon:  added to the variance inside the root
    center, scale: whether there is a beta, a gamma

    PyTorch says it otherwise: its momentum is the share of the *new* value (0.1 is 0.9 here), its epsilon 1e-5, and
    its running variance is the unbiased one, larger by n / (n - 1), n = rows (times positions) of a batch. Its weights
    convert as gamma = weight, beta = bias, moving_mean = running_mean, moving_variance = running_var.

    Parameters ``gamma``, ``beta`` (C,); buffers ``moving_mean``, ``moving_variance`` (C,).
    Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.
    """

    supports_masking = True

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
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
        owner = f"BatchNormalization '{self.label}'"
        self.axis = axis[0] if isinstance(axis, (list, tuple)) and len(axis) == 1 else axis
        if isinstance(self.axis, bool) or not isinstance(self.axis, int):
            raise TypeError(f"{owner} expects one axis, an integer, got {axis!r}")
        self.momentum = momentum if momentum == 1 else fraction(momentum, "momentum", owner)
        self.epsilon = above(epsilon, 0, "epsilon", owner)
        self.center, self.scale = bool(center), bool(scale)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def build(self, input_shape: Shape) -> Shape:
        place = checked_axis(self.axis, input_shape, self)
        shape = (input_shape[place],)
        last = len(input_shape)
        self.swap = None if place + 1 == last else (*range(place + 1), last, *range(place + 2, last), place + 1)
        if self.scale:
            self.gamma = Parameter(
                shape, self.gamma_initializer, regularizer=self.gamma_regularizer, constraint=self.gamma_constraint
            )
        if self.center:
            self.beta = Parameter(
                shape, self.beta_initializer, regularizer=self.beta_regularizer, constraint=self.beta_constraint
            )
        self.moving_mean = Buffer(shape, self.moving_mean_initializer)
        self.moving_variance = Buffer(shape, self.moving_variance_initializer)
        return input_shape

    def shape_for(self, input_shape: Shape) -> Shape:
        fits = len(input_shape) == len(self.built_for)
        if not fits or input_shape[checked_axis(self.axis, input_shape, self)] != self.moving_mean.shape[0]:
            super().shape_for(input_shape)
        return input_shape

    def forward(self, x: Tensor) -> Tensor:
        if self.swap is not None:
            return ops.transpose(self.normalize(ops.transpose(x, self.swap)), self.swap)
        return self.normalize(x)

    def normalize(self, x: Tensor) -> Tensor:
        """Over all axes but the last."""
        graph = x.graph
        parameter, statistics = graph.parameter, None
        training = self.takes_batch(graph)
        if not training:
            statistics = parameter(self.moving_mean).data, parameter(self.moving_variance).data
        function = BatchNorm(self.epsilon, self.scale, self.center, statistics)
        if self.scale and self.center:
            y = function(x, parameter(self.gamma), parameter(self.beta))
        else:
            y = function(
                x, *[parameter(p) for p in ([self.gamma] if self.scale else [self.beta] if self.center else [])]
            )
        if training:
            graph.update(partial(self.follow, graph.backend.batchnorm, function.mean, function.variance))
        return y

    def takes_batch(self, graph: Graph) -> bool:
        """Whether a run normalizes by the batch's statistics, and the running ones follow."""
        return graph.training and not graph.freezes(self)

    def follow(self, kernels: Any, mean: Array, variance: Array, scale: Array | None) -> None:
        """moving = momentum moving + (1 - momentum) batch, unless scale is 0."""
        kernels.update(self.moving_mean.data, mean, self.momentum, scale)
        kernels.update(self.moving_variance.data, variance, self.momentum, scale)
