"""Activations as layers, and the activations of other layers by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import activations, constraints, initializers, ops, regularizers
from tinynn.activation import FUSED
from tinynn.activation import Activation as Kind
from tinynn.activation import activation as kind_of
from tinynn.config import at_least
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.base import Layer
from tinynn.ops.broadcasting import unbroadcast
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

TABLE: dict[str, Callable[[Any], Any]] = {"softmax": ops.softmax, "log_softmax": ops.log_softmax}
"""The activations that are not elementwise."""


class ActivationFunction:
    """What a layer does with its ``activation=`` argument: ``function(tensor)``.

    identifier: the argument, with {"class": ..., "config": ...} made into its layer; the owner keeps it as an
                attribute, so that a layer among the activations has its parameters found
    fused:      the kind, where a kernel may apply it itself; None otherwise
    """

    __slots__ = ("apply", "fused", "identifier")

    def __init__(self, identifier: Any, fused: Kind | None, apply: Callable[[Any], Any]):
        self.identifier, self.fused, self.apply = identifier, fused, apply

    def __call__(self, x: Tensor) -> Tensor:
        y: Tensor = self.apply(x)
        return y

    def build(self, input_shape: Shape) -> Shape:
        """Build a layer among the activations; returns its output shape."""
        return self.identifier.ensure_built(input_shape) if isinstance(self.identifier, Layer) else input_shape


def activation_function(identifier: Any, owner: str) -> ActivationFunction:
    """The activation of a name, a layer, a callable of a tensor, {"class": ..., "config": ...}, or None for linear.

    ValueError names the owner and the nearest known name; TypeError for what is none of these.
    """
    if isinstance(identifier, dict) and set(identifier) == {"class", "config"}:
        from tinynn.layers import get_class

        identifier = get_class(identifier["class"])(**identifier["config"])
    identifier = activations.name_of(identifier) or identifier
    if identifier == "prelu":
        identifier = PReLU()
    if identifier is None or isinstance(identifier, str):
        return named(identifier, owner)
    if isinstance(identifier, type) and issubclass(identifier, Layer):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            f"{owner} expects an activation that is a name such as 'relu', a layer or a callable, got {identifier!r}"
        )
    return ActivationFunction(identifier, None, identifier)


def named(name: str | None, owner: str) -> ActivationFunction:
    """An activation without parameters."""
    if name in TABLE:
        return ActivationFunction(name, None, TABLE[name])
    try:
        kind = Kind.LINEAR if name is None else kind_of(name)
    except ValueError:
        raise ValueError(f"{owner}: {unknown('activation', name, [*Kind, *TABLE, 'prelu'])}") from None
    return ActivationFunction(
        name if name is None else str(name), kind if kind in FUSED else None, lambda x: ops.activate(x, kind)
    )


class Shapeless(Layer):
    """A layer without parameters whose output has its input's shape, whatever that is."""

    supports_masking = True

    def shape_for(self, input_shape: Any) -> Any:
        return input_shape


class Activation(Layer):
    """y = f(x), f being a name ("relu", "softmax", ...), an activation layer, or a callable of a tensor."""

    supports_masking = True

    def __init__(
        self,
        activation: Any,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.function = activation_function(activation, f"Activation '{self.label}'")
        self.activation = self.function.identifier

    def build(self, input_shape: Shape) -> Shape:
        return self.function.build(input_shape)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.function.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# -- ReLU and its relatives ------------------------------------------------------------------------------------------


class BoundedRelu(Function):
    """y = max_value for x >= max_value, x for threshold <= x < max_value, negative_slope (x - threshold) below."""

    def __init__(self, max_value: float | None, negative_slope: float, threshold: float):
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x
        y = np.where(x >= self.threshold, x, self.negative_slope * (x - self.threshold))
        return y if self.max_value is None else np.where(x >= self.max_value, self.max_value, y)

    def backward(self, graph: Graph, dy: Array) -> Array:
        x = self.saved
        dx = np.where(x >= self.threshold, dy, self.negative_slope * dy)
        return dx if self.max_value is None else np.where(x >= self.max_value, 0 * dy, dx)


class ReLU(Shapeless):
    """max(x, 0); or, with arguments, Keras's general form:

    y = max_value for x >= max_value, x for threshold <= x < max_value, negative_slope (x - threshold) below.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"ReLU '{self.label}'"
        self.max_value = None if max_value is None else at_least(max_value, 0, "max_value", owner)
        self.negative_slope = at_least(negative_slope, 0, "negative_slope", owner)
        self.threshold = at_least(threshold, 0, "threshold", owner)

    def forward(self, x: Tensor) -> Tensor:
        if self.max_value is None and self.threshold == 0:
            return ops.relu(x) if self.negative_slope == 0 else ops.activate(x, Kind.LEAKY_RELU, self.negative_slope)
        return BoundedRelu(self.max_value, self.negative_slope, self.threshold)(x)


class LeakyReLU(Shapeless):
    """x for x > 0, else negative_slope x. ``alpha`` is old Keras's name of the slope."""

    def __init__(
        self,
        negative_slope: float = 0.3,
        *,
        alpha: float | None = None,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        slope = negative_slope if alpha is None else alpha
        self.negative_slope = at_least(slope, 0, "negative_slope", f"LeakyReLU '{self.label}'")
        self.alpha = None
        """Kept as ``negative_slope``."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.activate(x, Kind.LEAKY_RELU, self.negative_slope)


class ELU(Shapeless):
    """x for x > 0, else alpha (exp(x) - 1)."""

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.alpha = at_least(alpha, 0, "alpha", f"ELU '{self.label}'")

    def forward(self, x: Tensor) -> Tensor:
        return ops.activate(x, Kind.ELU, self.alpha)


class Softmax(Shapeless):
    """exp(x) / sum exp(x) along an axis."""

    def __init__(
        self,
        axis: int = -1,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.axis)


# -- PReLU -----------------------------------------------------------------------------------------------------------


class LearnedSlope(Function):
    """y = x for x > 0, else alpha x; alpha broadcasts.  dx = dy or alpha dy, dalpha = sum of dy min(x, 0)."""

    def forward(self, graph: Graph, x: Array, alpha: Array) -> Array:
        self.saved = x, alpha
        return np.where(x > 0, x, alpha * x)

    def backward(self, graph: Graph, dy: Array) -> tuple[Array | None, Array | None]:
        x, alpha = self.saved
        dx = np.where(x > 0, dy, alpha * dy) if self.needs(0) else None
        dalpha = unbroadcast(np.minimum(x, 0) * dy, alpha.shape) if self.needs(1) else None
        return dx, dalpha


class PReLU(Layer):
    """x for x > 0, else alpha x, with a learned alpha for every input (He et al., 2015).

    shared_axes: axes, counted from 1 (the batch is 0), along which there is one alpha: [1, 2] for images

    Parameter: ``alpha``, of the input's shape.
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: Sequence[int] | int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        self.shared_axes = [shared_axes] if isinstance(shared_axes, int) else shared_axes

    def build(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis in self.shared_axes or ():
            if not 1 <= axis <= len(shape):
                raise ValueError(
                    f"layer '{self.label}' expects shared_axes from 1 to {len(shape)} for inputs of shape "
                    f"{(None, *input_shape)}, got {axis}"
                )
            shape[axis - 1] = 1
        if None in shape:
            raise ValueError(
                f"layer '{self.label}' expects inputs of known size, got {(None, *input_shape)}: share the open axes, "
                "as in shared_axes=[1]"
            )
        self.alpha = Parameter(
            tuple(shape),
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )
        return input_shape

    def shape_for(self, input_shape: Shape) -> Shape:
        alpha = self.alpha.shape
        fits = len(alpha) == len(input_shape) and all(a in (1, n) for a, n in zip(alpha, input_shape, strict=True))
        if not fits:
            super().shape_for(input_shape)
        return input_shape

    def forward(self, x: Tensor) -> Tensor:
        return LearnedSlope()(x, x.graph.parameter(self.alpha))
