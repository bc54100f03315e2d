"""LSTM: gates that keep, write and read a memory, one Function for the whole sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from tinynn.activation import Activation
from tinynn.config import Configured
from tinynn.function import Function
from tinynn.initializers import Initializer
from tinynn.layers.cells import Cell
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.unit import Unit, UnitArguments, compact, last_of
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.random import Generator


class LSTMFunction(Function):
    """With z = x_t W + b + (r h_{t-1}) U in four parts:

    i, f, o = s(z_i), s(z_f), s(z_o),  c_t = f c_{t-1} + i a(z_c),  h_t = o a(c_t)

    for all steps: x (N, T, F), W (F, 4H), U (H, 4H), b (4H,), h0, c0 (N, H) -> h (N, T, H), last h and c (N, H).
    The constants are those of ``SimpleRNNFunction``; h0 and c0 may be left out: zeros.
    """

    def __init__(
        self,
        activation: Activation = Activation.TANH,
        recurrent_activation: Activation = Activation.SIGMOID,
        use_bias: bool = True,
        mask: Array | None = None,
        r: Array | None = None,
        backwards: bool = False,
    ):
        self.use_bias, self.mask, self.r = use_bias, mask, r
        self.how = activation, recurrent_activation, backwards

    def spread(self, rest: Any) -> tuple[Any, Any, Any]:
        """b, h0 and c0 (or their gradients) from what there is of them."""
        h0, c0 = rest[-2:] if len(rest) > self.use_bias else (None, None)
        return rest[0] if self.use_bias else None, h0, c0

    def forward(self, graph: Graph, x: Array, W: Array, U: Array, *rest: Array) -> Any:
        b, h0, c0 = self.spread(rest)
        x, W, U, h0, c0 = compact(x, W, U, h0, c0)
        (N, T), H = x.shape[:2], U.shape[0]
        h, c, gates = graph.empty(N, T, H), graph.empty(N, T, H), graph.empty(N, T, 4 * H)
        graph.backend.lstm.forward(h, c, gates, x, W, U, b, h0, c0, self.mask, self.r, *self.how)
        self.saved = x, W, U, h, c, gates, h0, c0
        return h, last_of(graph, h, self.how[-1]), last_of(graph, c, self.how[-1])

    def backward(self, graph: Graph, dh: Array | None, dlast: Array | None, dclast: Array | None) -> Any:
        """The formulas stand in ``backends/reference/lstm.py``."""
        x, W, U, h, c, gates, h0, c0 = self.saved
        dx, dW, dU, *drest = graph.gradients(self)
        db, dh0, dc0 = self.spread(drest)
        dh, dlast, dclast = compact(dh, dlast, dclast)
        if dh is None and dlast is None:  # only the last memory was used
            dlast = graph.backend.zeros((h.shape[0], h.shape[2]), h.dtype)
        given = dh, dlast, dclast, x, W, U, h, c, gates, h0, c0, self.mask, self.r
        graph.backend.lstm.backward(dx, dW, dU, db, dh0, dc0, *given, *self.how)
        return (dx, dW, dU, *drest)


class ForgetBias(Configured):
    """The bias of an LSTM: 1 for the forget gate, so that it remembers at first, and ``initializer`` for the others.

    Source: R. Jozefowicz et al., "An empirical exploration of recurrent network architectures", 2015.
    """

    def __init__(self, initializer: Initializer):
        self.initializer = initializer

    def __call__(self, shape: Shape, generator: Generator) -> np.ndarray:
        values = np.array(self.initializer(shape, generator))
        values[shape[0] // 4 : shape[0] // 2] = 1
        return values


class LSTMUnit(Unit):
    """What LSTM and LSTMCell share: two states, h and c, and four gates i, f, c, o."""

    gates, states_held = 4, 2

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        unit_forget_bias: bool = True,
        **base: Any,
    ):
        super().__init__(units, activation, use_bias, **base)
        self.recurrent_activation = self.kind(recurrent_activation, "recurrent_activation")
        self.unit_forget_bias = bool(unit_forget_bias)

    def first_bias(self) -> Any:
        return ForgetBias(self.bias_initializer) if self.unit_forget_bias else self.bias_initializer

    def function(self, mask: Array | None, r: Array | None, backwards: bool) -> Function:
        return LSTMFunction(self.activation, self.recurrent_activation, self.use_bias, mask, r, backwards)


class LSTMCell(LSTMUnit, Cell):
    """One step of LSTM: ``y, [h, c] = cell(x, [h, c])`` for x (N, F).

    The arguments are those of LSTM, as far as they concern a step.
    """


class LSTM(LSTMUnit, Recurrent):
    """Long short-term memory: gates i (write), f (keep) and o (read) of a memory c.

        i, f, o = s(x_t W + b + h_{t-1} U),  c_t = f c_{t-1} + i a(x_t W_c + b_c + h_{t-1} U_c),  h_t = o a(c_t)

    a is ``activation``, s is ``recurrent_activation``. The memory changes by a sum, so gradients reach far back.

    unit_forget_bias: the forget gate's bias begins at 1
    units, use_bias, dropout, ...:       see ``Unit``
    use_cudnn:        understood and not needed
    return_sequences, return_state, ...: see ``Recurrent``; the states are [h, c]

    Parameters: ``kernel`` (F, 4 units), ``recurrent_kernel`` (units, 4 units), ``bias`` (4 units,); gates i, f, c, o.
    PyTorch's nn.LSTM has them transposed, with the same order of gates, and two biases, whose sum is ``bias``.
    Source: S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997; F. Gers et al., "Learning to forget", 2000.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        unit_forget_bias: bool = True,
        use_cudnn: Any = "auto",
        **base: Unpack[UnitArguments],
    ):
        super().__init__(units, activation, recurrent_activation, use_bias, unit_forget_bias=unit_forget_bias, **base)
        self.use_cudnn = use_cudnn
