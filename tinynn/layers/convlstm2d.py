"""ConvLSTM2D: an LSTM over images, whose products with the weights are convolutions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.activation import Activation
from tinynn.config import positive_integer
from tinynn.errors import frames_inside, unknown
from tinynn.function import Function
from tinynn.layers.base import shown
from tinynn.layers.images import (
    SMALLEST,
    channels_first_hint,
    checked_data_format,
    checked_pair,
    output_sides,
    window_on,
)
from tinynn.layers.lstm import LSTMUnit
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.unit import Factors, compact
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape
from tinynn.window import Window

if TYPE_CHECKING:
    from tinynn.graph import Graph


class ConvLSTMFunction(Function):
    """With z = x_t * W + b + (r h_{t-1}) * U in four parts, * being a convolution, the second one with padding 'same':

    i, f, o = s(z_i), s(z_f), s(z_o),  c_t = f c_{t-1} + i a(z_c),  h_t = o a(c_t)

    for all steps: x (N, T, R, S, C), W (KH, KW, C, 4H), U (KH, KW, H, 4H), b (4H,), h0, c0 (N, R', S', H)
    -> h (N, T, R', S', H), last h and c (N, R', S', H). b, and h0 and c0, may be left out.

    window: of W on the images; mask (N, T): where it is False both states are carried over; r (N, R', S', H): recurrent
    dropout; backwards: the steps are taken from the last to the first, h lies at the places of x

    Inside, the steps come first and in the order they are taken, so that the images of a step, and those of all steps,
    are one block each: all of x meets W in one call, and so do all gradients; h[t] and c[t] are the states before step
    t. Source: X. Shi et al., "Convolutional LSTM network", 2015.
    """

    def __init__(
        self,
        window: Window,
        activation: Activation = Activation.TANH,
        recurrent_activation: Activation = Activation.SIGMOID,
        use_bias: bool = True,
        mask: Array | None = None,
        r: Array | None = None,
        backwards: bool = False,
    ):
        self.window, self.use_bias, self.mask, self.r, self.backwards = window, use_bias, mask, r, backwards
        self.kinds = activation, recurrent_activation

    def spread(self, rest: Any) -> tuple[Any, Any, Any]:
        """b, h0 and c0 (or their gradients) from what there is of them."""
        h0, c0 = rest[-2:] if len(rest) > self.use_bias else (None, None)
        return rest[0] if self.use_bias else None, h0, c0

    def forward(self, graph: Graph, x: Array, W: Array, U: Array, *rest: Array) -> Any:
        b, h0, c0 = self.spread(rest)
        U, (N, T), (KH, KW, H) = compact(U), x.shape[:2], U.shape[:3]
        sides = self.window.output(x.shape[2], x.shape[3])
        self.around = window_on(*sides, (KH, KW), (1, 1), "same")
        x = self.steps(graph, x)
        gates, z = graph.empty(T, N, *sides, 4 * H), graph.empty(N, *sides, 4 * H)
        h, c = graph.empty(T + 1, N, *sides, H), graph.empty(T + 1, N, *sides, H)
        h[0], c[0] = (0, 0) if h0 is None else (h0, c0)
        kernels = graph.backend
        kernels.conv2d.forward(joined(gates), joined(x), W, b, self.window, *plain(graph))
        for t in range(T):
            if t or h0 is not None:
                kernels.conv2d.forward(z, self.dropped(h[t]), U, None, self.around, *plain(graph))
                np.add(gates[t], z, out=gates[t])
            kernels.lstm.cell(rows(h[t + 1]), rows(c[t + 1]), rows(gates[t]), rows(c[t]), *self.kinds)
            if self.mask is not None:
                for state in (h, c):
                    state[t + 1] = np.where(self.live(t), state[t + 1], state[t])
        self.saved = x, W, U, h, c, gates
        return self.sequences(graph, h[1:]), copied(graph, h[T]), copied(graph, c[T])

    def backward(self, graph: Graph, dh: Array | None, dlast: Array | None, dclast: Array | None) -> Any:
        """gh and gc are the gradients of h_t and c_t; dz takes the place of the gates:

        gh += dh_t,  dz = that of the cell,  gh = r (dz * U'),  dU = sum (r h_{t-1})' * dz,
        dW = sum x_t' * dz,  dx_t = dz * W',  db = sum dz.   Where the mask is False, dz = 0 and gh and gc stay.
        """
        x, W, U, h, c, gates = self.saved
        dx, dW, dU, *drest = graph.gradients(self)
        db, dh0, dc0 = self.spread(drest)
        dhs = None if dh is None else self.steps(graph, dh)
        gh, gc = (np.zeros_like(h[0]) if d is None else copied(graph, d) for d in (dlast, dclast))
        for t in reversed(range(len(gates))):
            if dhs is not None:
                np.add(gh, dhs[t], out=gh)
            gh, gc = self.step_back(graph, gh, gc, c, gates, U, t, first=t == 0 and dh0 is None)
        if dh0 is not None:
            dh0[...] = gh
        if dc0 is not None:
            dc0[...] = gc
        conv2d, (how, dz) = graph.backend.conv2d, (plain(graph), joined(gates))
        if dU is not None:
            before = h[:-1] if self.r is None else h[:-1] * self.r
            conv2d.backward(None, dU, None, dz.copy(), joined(before), U, dz, self.around, *how)
        if any(d is not None for d in (dx, dW, db)):
            dxs = None if dx is None else graph.empty(*x.shape)
            flat = None if dxs is None else joined(dxs)
            conv2d.backward(flat, dW, db, dz.copy(), joined(x), W, dz, self.window, *how)
            dx = None if dxs is None else self.sequences(graph, dxs)
        return (dx, dW, dU, *drest)

    def step_back(
        self, graph: Graph, gh: Array, gc: Array, c: Array, gates: Array, U: Array, t: int, first: bool
    ) -> tuple[Array, Array]:
        """The gradients of the states before step t from those after it; ``first``: nobody needs that of h."""
        held = None
        if self.mask is not None:
            live = self.live(t)
            held = np.where(live, 0, gh), np.where(live, 0, gc)
            gh, gc = np.where(live, gh, 0), np.where(live, gc, 0)
        graph.backend.lstm.cell_backward(
            rows(gc), rows(gh), rows(gc), rows(c[t + 1]), rows(gates[t]), rows(c[t]), *self.kinds
        )
        if first:
            return gh, gc if held is None else gc + held[1]
        dz, dh = gates[t].copy(), graph.empty(*gh.shape)
        graph.backend.conv2d.backward(dh, None, None, dz, gh, U, gates[t], self.around, *plain(graph))
        dh = self.dropped(dh)
        return (dh, gc) if held is None else (dh + held[0], gc + held[1])

    def dropped(self, h: Array) -> Array:
        return h if self.r is None else h * self.r

    def live(self, t: int) -> Array:
        """Which rows the t-th step that is taken changes, (N, 1, 1, 1)."""
        column = self.mask[:, -1 - t if self.backwards else t]  # type: ignore[index]
        return column[:, None, None, None]

    def steps(self, graph: Graph, x: Array) -> Array:
        """(N, T, ...) -> (T, N, ...), in the order the steps are taken."""
        return copied(graph, (x[:, ::-1] if self.backwards else x).swapaxes(0, 1))

    def sequences(self, graph: Graph, h: Array) -> Array:
        """And back."""
        return copied(graph, (h[::-1] if self.backwards else h).swapaxes(0, 1))


def joined(x: Array) -> Array:
    """The images of all steps in one batch: (T, N, ...) -> (T N, ...)."""
    return x.reshape(-1, *x.shape[2:])


def rows(x: Array) -> Array:
    """The places of all images one below the other: (..., H) -> (M, H)."""
    return x.reshape(-1, x.shape[-1])


def copied(graph: Graph, x: Array) -> Array:
    """A copy in one block."""
    y = graph.empty(*x.shape)
    y[...] = x
    return y


def plain(graph: Graph) -> tuple[int, Activation, bool]:
    """The last arguments of a convolution without groups and activation."""
    return 1, Activation.LINEAR, graph.fast_math


class ConvLSTM2D(LSTMUnit, Recurrent):
    """An LSTM over sequences of images: (T, rows, columns, C) -> (rows', columns', filters), one state for each place.

        i, f, o = s(x_t * W + b + h_{t-1} * U),  c_t = f c_{t-1} + i a(x_t * W_c + b_c + h_{t-1} * U_c),  h_t = o a(c_t)

    where * is a convolution: that of the inputs as in Conv2D, that of the states with padding "same" and stride 1. The
    next frame of a film looks like the frames before, moved a little.

    filters:       the number of values of the state at each place
    kernel_size:   rows and columns of both windows, (3, 3) or 3
    strides, padding ("valid" or "same"), dilation_rate: of the window on the inputs, as in Conv2D
    data_format:   "channels_last", nothing else
    dropout, recurrent_dropout: the share of the inputs, and of the states, that is dropped in training; the same
                   values at every step and for all gates
    return_sequences, return_state, go_backwards, stateful: see ``Recurrent``; the states are [h, c]

    Parameters: ``kernel`` (KH, KW, C, 4 filters), ``recurrent_kernel`` (KH, KW, filters, 4 filters), ``bias``
    (4 filters,); gates i, f, c, o. Raises ValueError for inputs that are not sequences of images, for windows larger
    than the image, and, as Keras does, for strides together with a dilation_rate.

    >>> from tinynn import layers as L
    >>> L.ConvLSTM2D(8, 3, padding="same", return_sequences=True).ensure_built((None, 20, 20, 1))
    (None, 20, 20, 8)

    Source: X. Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation nowcasting", 2015.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | Sequence[int],
        strides: int | Sequence[int] = (1, 1),
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | Sequence[int] = (1, 1),
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        owner = f"{type(self).__name__} '{name or self.label}'"
        self.filters = positive_integer(filters, "filters", owner)
        if data_format == "channels_first":
            raise ValueError(
                f"{owner} takes films with their channels last, (N, T, H, W, C), and has no "
                "data_format='channels_first': turn them with np.moveaxis(x, 2, -1), or put Permute((1, 3, 4, 2)) in "
                "front"
            )
        super().__init__(
            self.filters,
            activation,
            recurrent_activation,
            use_bias,
            unit_forget_bias=unit_forget_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            input_shape=input_shape,
            name=name,
            trainable=trainable,
        )
        self.kernel_size = checked_pair(kernel_size, "kernel_size", owner)
        self.strides = checked_pair(strides, "strides", owner)
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise ValueError(f"{owner}: {unknown('padding', str(padding), ['valid', 'same'])}")
        self.data_format = checked_data_format(data_format, owner)
        self.dilation_rate = checked_pair(dilation_rate, "dilation_rate", owner)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"{owner} expects strides or a dilation_rate, one of the two being 1, got strides={self.strides} and "
                f"dilation_rate={self.dilation_rate}"
            )

    def build(self, input_shape: Any) -> Any:
        sequence = input_shape[0] if isinstance(input_shape, list) else input_shape
        if len(sequence) != 4 or None in sequence[1:]:
            raise ValueError(
                f"layer '{self.label}' expects sequences of images of known size, inputs of shape (None, steps, rows, "
                f"columns, channels), got {shown(sequence)}: " + self.hint(sequence)
            )
        return super().build(input_shape)

    def hint(self, shape: Shape) -> str:
        """What to write instead."""
        if len(shape) == 3:
            return "one axis is missing; grey films get their axis of channels with x[..., None]"
        if len(shape) == 2:
            return "sequences of plain numbers take an LSTM"
        return "give the data that shape"

    def prepare(self, step_shape: Shape) -> Shape:
        sizes = self.kernel_size, self.strides, self.padding, self.dilation_rate
        output = (*output_sides(self, step_shape, "kernel_size", *sizes), self.filters)
        self.window = window_on(step_shape[0], step_shape[1], *sizes)
        if channels_first_hint(step_shape) and step_shape[1] >= SMALLEST:
            warnings.warn(
                f"layer '{self.label}' got films of {step_shape[0]} rows, {step_shape[1]} columns and {step_shape[2]} "
                "channels, which look as if their channels came first: turn them with np.moveaxis(x, 2, -1), or put "
                "Permute((1, 3, 4, 2)) in front",
                stacklevel=frames_inside(),
            )
        self.kernel, self.recurrent_kernel = (
            Parameter((*self.kernel_size, channels, 4 * self.filters), first, regularizer=regularizer, constraint=limit)
            for channels, first, regularizer, limit in (
                (step_shape[2], self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint),
                (self.filters, self.recurrent_initializer, self.recurrent_regularizer, self.recurrent_constraint),
            )
        )
        if self.use_bias:
            self.bias = Parameter(
                self.bias_shape,
                self.first_bias(),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.state_sizes = [output, output]
        return output

    def function(self, mask: Array | None, r: Array | None, backwards: bool) -> Function:
        kinds = self.activation, self.recurrent_activation
        return ConvLSTMFunction(self.window, *kinds, self.use_bias, mask, r, backwards)

    def factors(self, graph: Graph, rows: int, features: int) -> Factors:
        if not graph.training:
            return None, None
        return (
            self.factor(graph, (rows, 1, *self.step_input), self.dropout),
            self.factor(graph, (rows, *self.state_sizes[0]), self.recurrent_dropout),
        )
