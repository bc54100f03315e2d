"""Conv1D: y = activation(x * W + b), the convolution of sequences, which are images of one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn import constraints, initializers, regularizers
from tinynn.activation import Activation
from tinynn.config import positive_integer
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.activation import activation_function
from tinynn.layers.base import Layer, shown
from tinynn.layers.images import OPEN
from tinynn.layers.pooling1d import checked_steps_last, require_sequences, single
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape
from tinynn.window import Window, same_padding

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Convolve1D(Function):
    """activation(x * W + b) as one node.

    x (N, T, C), W (K, C / groups, O), b (O,) or left out -> y (N, new T, O). The activation is one of
    ``activation.FUSED``; ``window`` has one row.
    """

    def __init__(self, window: Window, groups: int = 1, activation: Activation = Activation.LINEAR):
        self.window, self.groups, self.activation = window, groups, activation

    def forward(self, graph: Graph, x: Array, W: Array, b: Array | None = None) -> Array:
        y = graph.empty(x.shape[0], *self.window.output(1, x.shape[1]), W.shape[2])
        x, W = x[:, None], W[None]
        conv2d = graph.backend.conv2d
        conv2d.forward(y, x, W, b, self.window, self.groups, self.activation, graph.fast_math)
        self.saved = x, W, y
        return y[:, 0]

    def backward(self, graph: Graph, dy: Array) -> Any:
        x, W, y = self.saved
        gradients = graph.gradients(self)
        dx, dW, db = gradients if len(gradients) == 3 else (*gradients, None)
        dx, dW = None if dx is None else dx[:, None], None if dW is None else dW[None]  # views
        conv2d = graph.backend.conv2d
        conv2d.backward(dx, dW, db, dy[:, None], x, W, y, self.window, self.groups, self.activation, graph.fast_math)
        return gradients


class Conv1D(Layer):
    """Each of the filters moves over the sequence: (T, C) -> (new T, filters).

    y[t, o] = activation(b[o] + sum over u, c of x[t s + u d - before, c] W[u, c, o])

    with stride s, dilation d and zeros outside the sequence.

    filters:       the number of outputs
    kernel_size:   steps of the window
    strides:       how far the window moves from one output to the next
    padding:       "valid" (none), "same" (as many outputs as inputs / stride, rounded up), "causal" (the same number,
                   all zeros before the sequence, so that no output sees a later step)
    data_format:   "channels_last", nothing else
    dilation_rate: how far the inputs of one window lie apart
    groups:        the g-th part of the filters looks at the g-th part of the features only
    activation, use_bias and the initializers, regularizers and constraints are those of Dense

    Parameters: ``kernel`` (K, C / groups, filters), ``bias`` (filters,). Raises ValueError for groups that do not
    divide features and filters, and for windows longer than the padded sequence.

    >>> from tinynn import layers as L
    >>> L.Conv1D(64, 3, padding="causal", activation="relu").ensure_built((100, 16))
    (100, 64)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        strides: int = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int = 1,
        groups: int = 1,
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
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"Conv1D '{self.label}'"
        self.filters = positive_integer(filters, "filters", owner)
        self.kernel_size = single(kernel_size, "kernel_size", owner)
        self.strides = single(strides, "strides", owner)
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same", "causal"):
            raise unknown(f"padding of {owner}", padding, ("valid", "same", "causal"))
        self.data_format = checked_steps_last(data_format, owner)
        self.dilation_rate = single(dilation_rate, "dilation_rate", owner)
        self.groups = positive_integer(groups, "groups", owner)
        if self.filters % self.groups:
            raise ValueError(f"{owner} expects filters that its groups divide, got {filters} filters, {groups} groups")
        self.function = activation_function(activation, owner)
        self.activation = self.function.identifier
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def window(self, steps: int) -> Window:
        """The window on sequences of so many steps, which are images of one row."""
        before, after = 0, 0
        if self.padding == "same":
            before, after = same_padding(steps, self.kernel_size, self.strides, self.dilation_rate)
        elif self.padding == "causal":
            before = (self.kernel_size - 1) * self.dilation_rate
        around = ((0, 0), (before, after))
        return Window((1, self.kernel_size), (1, self.strides), around, (1, self.dilation_rate))

    def build(self, input_shape: Shape) -> Shape:
        require_sequences(input_shape, self)
        channels = input_shape[1]
        if channels is None or channels % self.groups:
            raise ValueError(
                f"layer '{self.label}' expects a known number of features that its {self.groups} groups divide, got "
                f"inputs of shape {shown(input_shape)}"
            )
        self.kernel = Parameter(
            (self.kernel_size, channels // self.groups, self.filters),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = Parameter(
                (self.filters,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        return self.function.build(self.output_for(input_shape))

    def output_for(self, shape: Shape) -> Shape:
        """The output shape for sequences of this shape; ValueError where the window is longer."""
        window = self.window(shape[0] or OPEN)
        steps = window.output(1, shape[0] or OPEN)[1]
        if steps < 1:
            raise ValueError(
                f"layer '{self.label}' has kernel_size={self.kernel_size}, which reaches over {window.extent[1]} "
                f"steps, and gets sequences of {shape[0]}, inputs of shape {shown(shape)}: use a smaller kernel_size, "
                "or padding='same'"
            )
        return (steps if shape[0] else None, self.filters)  # type: ignore[return-value]

    def shape_for(self, input_shape: Shape) -> Shape:
        require_sequences(input_shape, self)
        if input_shape[1] != self.built_for[1]:
            super().shape_for(input_shape)
        return self.function.build(self.output_for(input_shape))

    def forward(self, x: Tensor) -> Tensor:
        graph, fused = x.graph, self.function.fused
        convolve = Convolve1D(self.window(x.shape[1]), self.groups, fused or Activation.LINEAR)
        W = graph.parameter(self.kernel)
        y: Tensor = convolve(x, W, graph.parameter(self.bias)) if self.use_bias else convolve(x, W)
        if fused is None:
            y = self.function(y)
        if self.activity_regularizer is not None:
            graph.losses.append(self.activity_regularizer(y) / x.shape[0])
        return y
