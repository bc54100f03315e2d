"""SimpleRNN: h_t = f(x_t W + b + h_{t-1} U), one Function for the whole sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from tinynn.activation import Activation
from tinynn.function import Function
from tinynn.layers.cells import Cell
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.unit import Unit, UnitArguments, compact, last_of
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph


class SimpleRNNFunction(Function):
    """h_t = f(x_t W + b + (r h_{t-1}) U) for all steps: x (N, T, F), W, U, b, h0 -> h (N, T, H), the last state (N, H).

    use_bias:  whether there is a b (H,)
    mask:      (N, T) of bools or None; where it is False the state is carried over
    r:         (N, H), what recurrent dropout multiplies the state with, or None
    backwards: the steps are taken from the last to the first
    h0 (N, H) may be left out: zeros.
    """

    def __init__(
        self,
        activation: Activation = Activation.TANH,
        use_bias: bool = True,
        mask: Array | None = None,
        r: Array | None = None,
        backwards: bool = False,
    ):
        self.activation, self.use_bias = activation, use_bias
        self.mask, self.r, self.backwards = mask, r, backwards

    def spread(self, rest: Any) -> tuple[Any, Any]:
        """b and h0 (or their gradients) from what there is of them."""
        return rest[0] if self.use_bias else None, rest[-1] if len(rest) > self.use_bias else None

    def forward(self, graph: Graph, x: Array, W: Array, U: Array, *rest: Array) -> Any:
        b, h0 = self.spread(rest)
        x, W, U, h0 = compact(x, W, U, h0)
        h = graph.empty(*x.shape[:2], U.shape[0])
        graph.backend.rnn.forward(h, x, W, U, b, h0, self.mask, self.r, self.activation, self.backwards)
        self.saved = x, W, U, h, h0
        return h, last_of(graph, h, self.backwards)

    def backward(self, graph: Graph, dh: Array | None, dlast: Array | None) -> Any:
        x, W, U, h, h0 = self.saved
        dx, dW, dU, *drest = graph.gradients(self)
        db, dh0 = self.spread(drest)
        dh, dlast = compact(dh, dlast)
        graph.backend.rnn.backward(
            dx, dW, dU, db, dh0, dh, dlast, x, W, U, h, h0, self.mask, self.r, self.activation, self.backwards
        )
        return (dx, dW, dU, *drest)


class SimpleRNNUnit(Unit):
    """What SimpleRNN and SimpleRNNCell share: one state h."""

    def function(self, mask: Array | None, r: Array | None, backwards: bool) -> Function:
        return SimpleRNNFunction(self.activation, self.use_bias, mask, r, backwards)


class SimpleRNNCell(SimpleRNNUnit, Cell):
    """One step of SimpleRNN: ``y, [h] = cell(x, [h])`` for x (N, F), with h_t = f(x_t W + b + h_{t-1} U).

    The arguments are those of SimpleRNN, as far as they concern a step.
    """


class SimpleRNN(SimpleRNNUnit, Recurrent):
    """h_t = f(x_t W + b + h_{t-1} U), the plain recurrent layer (J. Elman, "Finding structure in time", 1990).

    units, activation, use_bias, dropout, ...: see ``Unit``
    return_sequences, return_state, ...:       see ``Recurrent``

    Parameters: ``kernel`` W (F, units), ``recurrent_kernel`` U (units, units), ``bias`` b (units,).
    PyTorch's nn.RNN has W and U transposed and two biases, whose sum is b.
    """

    def __init__(self, units: int, activation: Any = "tanh", use_bias: bool = True, **base: Unpack[UnitArguments]):
        super().__init__(units, activation, use_bias, **base)
