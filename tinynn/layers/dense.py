"""Dense: y = activation(x W + b), the fully connected layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn import constraints, initializers, regularizers
from tinynn.activation import Activation
from tinynn.config import positive_integer
from tinynn.function import Function
from tinynn.layers.activation import activation_function
from tinynn.layers.base import Layer
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Affine(Function):
    """activation(x W + b) as one node.

    x (..., I), W (I, O), b (O,) or left out -> y (..., O). The activation is one of ``activation.FUSED``, or a sigmoid
    whose logits no loss will ask for.
    """

    def __init__(self, activation: Activation = Activation.LINEAR):
        self.activation = activation

    def forward(self, graph: Graph, x: Array, W: Array, b: Array | None = None) -> Array:
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        y = graph.empty(rows.shape[0], W.shape[1])
        graph.backend.dense.forward(y, rows, W, b, self.activation)
        self.saved = rows, W, y
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], W.shape[1])

    def backward(self, graph: Graph, dy: Array) -> Any:
        """The formulas stand in ``backends/reference/dense.py``; here the arrays are handed to them."""
        x, W, y = self.saved  # as rows: (N, I), (I, O), (N, O)
        gradients = graph.gradients(self)  # an array to write for each input of the call, None where nobody needs it
        dx, dW, db = gradients if len(gradients) == 3 else (*gradients, None)  # without a bias there are two
        if dy.ndim != 2:  # views: what the kernel writes lands in dx
            dx, dy = None if dx is None else dx.reshape(x.shape), dy.reshape(y.shape)
        graph.backend.dense.backward(dx, dW, db, dy, x, W, y, self.activation)
        return gradients


class Dense(Layer):
    """y = activation(x W + b) on the last axis: (..., I) -> (..., units).

    units:              the number of outputs
    activation:         a name, an activation layer, or a callable on tensors; None for linear
    use_bias:           whether there is a b
    kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
    kernel_constraint, bias_constraint: names or objects, as in Keras
    input_dim:          old Keras's short form of ``input_shape=(input_dim,)``

    Parameters: ``kernel`` (I, units), ``bias`` (units,). Raises ValueError for units that are not positive.
    """

    supports_masking = True

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        input_dim: int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if input_dim is not None and input_shape is None:
            input_shape = (input_dim,)
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.units = positive_integer(units, "units", f"Dense '{self.label}'")
        self.function = activation_function(activation, f"Dense '{self.label}'")
        self.activation = self.function.identifier
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_dim = None
        """Kept as ``input_shape``."""

    def build(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] is None:
            raise ValueError(f"layer '{self.label}' expects inputs with a last axis of known size, got {input_shape}")
        self.kernel = Parameter(
            (input_shape[-1], self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = Parameter(
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        return self.function.build((*input_shape[:-1], self.units))

    def shape_for(self, input_shape: Shape) -> Shape:
        if not input_shape or input_shape[-1] != self.kernel.shape[0]:
            super().shape_for(input_shape)
        return (*input_shape[:-1], self.units)

    def forward(self, x: Tensor) -> Tensor:
        return self.compute(x, self.function.fused)

    def compute(self, x: Tensor, fused: Activation | None) -> Tensor:
        """The layer with an activation inside its kernel, or (None) behind it."""
        graph = x.graph
        W = graph.parameter(self.kernel)
        affine = Affine(fused or Activation.LINEAR)
        y = graph.apply(affine, x, W, graph.parameter(self.bias)) if self.use_bias else graph.apply(affine, x, W)
        if fused is None:
            y = self.function(y)
        if self.activity_regularizer is not None:
            graph.losses.append(self.activity_regularizer(y) / x.shape[0])
        return y
