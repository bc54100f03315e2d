"""Conv2D: y = activation(x * W + b), the convolution of images."""

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
from tinynn.layers.images import (
    channels_first_hint,
    check_images,
    checked_data_format,
    checked_pair,
    output_sides,
    window_on,
)
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape
from tinynn.window import Pair, Window

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Convolve2D(Function):
    """activation(x * W + b) as one node.

    x (N, H, W, C), W (KH, KW, C / groups, O), b (O,) or left out -> y (N, OH, OW, O). The activation is one of
    ``activation.FUSED``; ``window`` has the kernel's size.
    """

    def __init__(self, window: Window, groups: int = 1, activation: Activation = Activation.LINEAR):
        self.window, self.groups, self.activation = window, groups, activation

    def forward(self, graph: Graph, x: Array, W: Array, b: Array | None = None) -> Array:
        y = graph.empty(x.shape[0], *self.window.output(x.shape[1], x.shape[2]), W.shape[3])
        conv2d = graph.backend.conv2d
        conv2d.forward(y, x, W, b, self.window, self.groups, self.activation, graph.fast_math)
        self.saved = x, W, y
        return y

    def backward(self, graph: Graph, dy: Array) -> Any:
        """The formulas stand in ``backends/reference/conv2d.py``; here the arrays are handed to them."""
        x, W, y = self.saved
        gradients = graph.gradients(self)  # an array to write for each input of the call, None where nobody needs it
        dx, dW, db = gradients if len(gradients) == 3 else (*gradients, None)  # without a bias there are two
        conv2d = graph.backend.conv2d
        conv2d.backward(dx, dW, db, dy, x, W, y, self.window, self.groups, self.activation, graph.fast_math)
        return gradients


class Conv2D(Layer):
    """Each of the filters moves over the image: (rows, columns, C) -> (new rows, new columns, filters).

    y[i, j, o] = activation(b[o] + sum over u, v, c of x[i s + u d - top, j s + v d - left, c] W[u, v, c, o])

    with strides s, dilation d and zeros outside the image. A side of n gives floor((n + pads - d (k - 1) - 1) / s) + 1.

    filters:       the number of outputs
    kernel_size:   rows and columns of the window, (5, 5) or 5
    strides:       how far the window moves from one output to the next
    padding:       "valid" (none), "same" (as many outputs as inputs / stride, rounded up; the odd row or column after),
                   n, (rows, columns) or ((top, bottom), (left, right))
    data_format:   "channels_last", nothing else
    dilation_rate: how far the inputs of one window lie apart
    groups:        the g-th part of the filters looks at the g-th part of the channels only
    activation, use_bias and the initializers, regularizers and constraints are those of Dense

    Parameters: ``kernel`` (KH, KW, C / groups, filters), ``bias`` (filters,). Images of other sizes than the layer was
    built for are welcome; ``input_shape=(None, None, 3)`` says so from the start. Raises ValueError for sizes that are
    not positive, for groups that do not divide channels and filters, and for windows larger than the padded image.

    >>> from tinynn import layers as L
    >>> L.Conv2D(64, (5, 5), activation="relu").ensure_built((12, 12, 32))
    (8, 8, 64)
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: Any = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
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
        owner = f"{type(self).__name__} '{self.label}'"
        self.filters = positive_integer(filters, "filters", owner)
        self.kernel_size = checked_pair(kernel_size, "kernel_size", owner)
        self.strides = checked_pair(strides, "strides", owner)
        self.padding = checked_padding(padding, owner)
        self.data_format = checked_data_format(data_format, owner)
        self.dilation_rate = checked_pair(dilation_rate, "dilation_rate", owner)
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

    def build(self, input_shape: Shape) -> Shape:
        output = self.output_for(input_shape) if len(input_shape) == 3 else input_shape
        check_images(input_shape, self)  # after the sizes: their errors say more than its warning
        channels = input_shape[2]
        self.kernel = Parameter(
            (*self.kernel_size, channels // self.groups, self.filters),
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
        return self.function.build(output)

    def output_for(self, shape: Shape) -> Shape:
        """The output shape for images of this shape; ValueError where the layer has none."""
        if shape[2] is None:
            raise ValueError(
                f"layer '{self.label}' expects images with a known number of channels in the last axis, got "
                f"{shown(shape)}"
            )
        if shape[2] % self.groups:
            raise ValueError(
                f"layer '{self.label}' expects channels that its {self.groups} groups divide, got {shape[2]} channels, "
                f"inputs of shape {shown(shape)}{channels_first_hint(shape)}"
            )
        sizes = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return (*output_sides(self, shape, "kernel_size", *sizes), self.filters)

    def shape_for(self, input_shape: Shape) -> Shape:
        channels = self.kernel.shape[2] * self.groups
        if len(input_shape) != 3:
            check_images(input_shape, self)
        if input_shape[2] != channels:
            raise ValueError(
                f"layer '{self.label}' was built for images of {channels} channels, {shown((None, None, channels))}, "
                f"got {shown(input_shape)}{channels_first_hint(input_shape) or ': use a new layer'}"
            )
        return self.function.build(self.output_for(input_shape))

    def forward(self, x: Tensor) -> Tensor:
        graph = x.graph
        W = graph.parameter(self.kernel)
        fused = self.function.fused
        window = window_on(x.shape[1], x.shape[2], self.kernel_size, self.strides, self.padding, self.dilation_rate)
        convolve = Convolve2D(window, self.groups, fused or Activation.LINEAR)
        y: Tensor = convolve(x, W, graph.parameter(self.bias)) if self.use_bias else convolve(x, W)
        if fused is None:
            y = self.function(y)
        if self.activity_regularizer is not None:
            graph.losses.append(self.activity_regularizer(y) / x.shape[0])
        return y


def checked_padding(value: Any, owner: str) -> str | tuple[Pair, Pair]:
    """'valid', 'same' (in any letters), or ((top, bottom), (left, right)), made of n and (rows, columns) too."""
    if isinstance(value, str):
        if value.lower() not in ("valid", "same"):
            raise ValueError(f"{owner}: {unknown('padding', value, ['valid', 'same'])}, or numbers of zeros")
        return value.lower()
    sides = value if isinstance(value, (list, tuple)) else (value, value)
    pairs = [side if isinstance(side, (list, tuple)) else (side, side) for side in sides]
    numbers = [n for side in pairs for n in side]
    whole = all(hasattr(n, "__index__") and not isinstance(n, bool) for n in numbers)
    if not whole or [len(side) for side in pairs] != [2, 2]:
        raise TypeError(
            f"{owner} expects padding to be 'valid', 'same', a whole number, (rows, columns) or "
            f"((top, bottom), (left, right)), got {value!r}"
        )
    if min(numbers) < 0:
        raise ValueError(f"{owner} expects padding of 0 or more, got {value!r}: to cut, put a Cropping2D in front")
    top, bottom, left, right = map(int, numbers)
    return (top, bottom), (left, right)
