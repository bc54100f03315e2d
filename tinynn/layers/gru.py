"""GRU: a state with two gates, one Function for the whole sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from tinynn.activation import Activation
from tinynn.function import Function
from tinynn.layers.cells import Cell
from tinynn.layers.recurrent import Recurrent
from tinynn.layers.unit import Unit, UnitArguments, compact, last_of
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph


class GRUFunction(Function):
    """With h' = keep h_{t-1}:

    z, r = s(x_t W + b + h' U),  n = a(x_t W_n + b_n + inner),  h_t = z h_{t-1} + (1 - z) n

    inner = r (h' U_n + bu_n) with ``reset_after``, else (r h') U_n, for all steps: x (N, T, F), W (F, 3H), U (H, 3H),
    b (2, 3H) with ``reset_after`` (b and bu), else (3H,), h0 (N, H) -> h (N, T, H), the last state (N, H).
    The constants are those of ``SimpleRNNFunction``, with keep for r; h0 may be left out: zeros.
    """

    def __init__(
        self,
        activation: Activation = Activation.TANH,
        recurrent_activation: Activation = Activation.SIGMOID,
        reset_after: bool = True,
        use_bias: bool = True,
        mask: Array | None = None,
        keep: Array | None = None,
        backwards: bool = False,
    ):
        self.use_bias, self.mask, self.keep = use_bias, mask, keep
        self.how = activation, recurrent_activation, reset_after, backwards

    def spread(self, rest: Any) -> tuple[Any, Any, Any]:
        """b, bu and h0 (or their gradients) from what there is of them."""
        both = rest[0] if self.use_bias else None
        h0 = rest[-1] if len(rest) > self.use_bias else None
        if both is None or not self.how[2]:
            return both, None, h0
        return both[0], both[1], h0

    def forward(self, graph: Graph, x: Array, W: Array, U: Array, *rest: Array) -> Any:
        b, bu, h0 = compact(*self.spread(rest))
        x, W, U = compact(x, W, U)
        (N, T), H = x.shape[:2], U.shape[0]
        h, gates, inner = graph.empty(N, T, H), graph.empty(N, T, 3 * H), graph.empty(N, T, H)
        graph.backend.gru.forward(h, gates, inner, x, W, U, b, bu, h0, self.mask, self.keep, *self.how)
        self.saved = x, W, U, bu, h, gates, inner, h0
        return h, last_of(graph, h, self.how[-1])

    def backward(self, graph: Graph, dh: Array | None, dlast: Array | None) -> Any:
        """The formulas stand in ``backends/reference/gru.py``."""
        dx, dW, dU, *drest = graph.gradients(self)
        db, dbu, dh0 = self.spread(drest)
        dh, dlast = compact(dh, dlast)
        x, W, U, bu, h, gates, inner, h0 = self.saved
        given = dh, dlast, x, W, U, bu, h, gates, inner, h0, self.mask, self.keep
        graph.backend.gru.backward(dx, dW, dU, db, dbu, dh0, *given, *self.how)
        return (dx, dW, dU, *drest)


class GRUUnit(Unit):
    """What GRU and GRUCell share: one state h, and three gates z, r, n."""

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        reset_after: bool = True,
        **base: Any,
    ):
        super().__init__(units, activation, use_bias, **base)
        self.recurrent_activation = self.kind(recurrent_activation, "recurrent_activation")
        self.reset_after = bool(reset_after)

    @property
    def bias_shape(self) -> Shape:
        return (2, 3 * self.units) if self.reset_after else (3 * self.units,)

    def function(self, mask: Array | None, r: Array | None, backwards: bool) -> Function:
        return GRUFunction(
            self.activation, self.recurrent_activation, self.reset_after, self.use_bias, mask, r, backwards
        )


class GRUCell(GRUUnit, Cell):
    """One step of GRU: ``y, [h] = cell(x, [h])`` for x (N, F).

    The arguments are those of GRU, as far as they concern a step.
    """


class GRU(GRUUnit, Recurrent):
    """Gated recurrent unit: z says how much of the state stays, r how much of it the candidate n sees.

        z, r = s(x_t W + b + h_{t-1} U),  n = a(x_t W_n + b_n + r (h_{t-1} U_n + bu_n)),  h_t = z h_{t-1} + (1 - z) n

    a is ``activation``, s is ``recurrent_activation``.

    reset_after: True as above, one product for all gates, with two biases; False: (r h_{t-1}) U_n, as in the paper
    units, use_bias, dropout, ...:       see ``Unit``
    use_cudnn:        understood and not needed
    return_sequences, return_state, ...: see ``Recurrent``

    Parameters: ``kernel`` (F, 3 units), ``recurrent_kernel`` (units, 3 units), ``bias`` (2, 3 units), without
    reset_after (3 units,); gates z, r, n. PyTorch's nn.GRU has them transposed, in the order r, z, n.
    Source: K. Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        *,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **base: Unpack[UnitArguments],
    ):
        super().__init__(units, activation, recurrent_activation, use_bias, reset_after=reset_after, **base)
        self.use_cudnn = use_cudnn
