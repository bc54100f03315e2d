"""Unit: the weights of SimpleRNN, LSTM and GRU, which their cells have too; and what their Functions share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn import activations, constraints, initializers, regularizers
from tinynn.activation import RECURRENT, Activation, activation
from tinynn.config import fraction, positive_integer
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.base import shown
from tinynn.layers.dropout import RandomLayer
from tinynn.layers.recurrent import RecurrentArguments
from tinynn.parameter import Parameter
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

Factors = tuple[Array | None, Array | None]
"""What dropout multiplies the inputs (N, 1, F) and the state (N, H) with: 0 or 1 / (1 - rate); None without."""


class UnitArguments(RecurrentArguments, total=False):
    """The arguments that LSTM, GRU and SimpleRNN hand on, for type checkers and editors."""

    kernel_initializer: Any
    recurrent_initializer: Any
    bias_initializer: Any
    kernel_regularizer: Any
    recurrent_regularizer: Any
    bias_regularizer: Any
    kernel_constraint: Any
    recurrent_constraint: Any
    bias_constraint: Any
    dropout: float
    recurrent_dropout: float
    implementation: int


class Unit(RandomLayer):
    """What the three recurrent units share: z = x W + b + h U, for one or several gates side by side.

    units:             the size H of the state
    activation:        a name of ``tinynn.activation.RECURRENT``: derivatives follow from results; None for linear
    use_bias:          whether there is a b
    dropout:           the share of the input's features that is dropped in training, the same ones at every step
    recurrent_dropout: the share of the state that is dropped on its way into U, the same at every step
    implementation:    understood and not needed
    kernel_initializer, recurrent_initializer, bias_initializer, and their regularizers and constraints: names or
    objects, as in Keras

    Parameters: ``kernel`` W (F, gates H), ``recurrent_kernel`` U (H, gates H), ``bias`` b (gates H,).
    """

    gates = 1
    """How many products of size H a step has."""
    states_held = 1
    """How many states: 2 where there is a memory beside the output."""
    state_sizes: list[Shape]

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        *,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        implementation: int = 2,
        **base: Any,
    ):
        super().__init__(**base)
        owner = f"{type(self).__name__} '{self.label}'"
        self.units = positive_integer(units, "units", owner)
        self.activation = self.kind(activation, "activation")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.implementation = implementation
        self.dropout = fraction(dropout, "dropout", owner)
        self.recurrent_dropout = fraction(recurrent_dropout, "recurrent_dropout", owner)

    def kind(self, identifier: Any, what: str) -> Activation:
        """An activation that a recurrent kernel can apply."""
        name = "linear" if identifier is None else activations.name_of(identifier) or identifier
        owner = f"{type(self).__name__} '{self.label}'"
        if isinstance(name, str):
            try:
                found = activation(name)
            except ValueError:
                raise ValueError(f"{owner}: {unknown('activation', name, sorted(RECURRENT))}") from None
            if found in RECURRENT:
                return found
        raise ValueError(
            f"{owner} expects {what} to be one of {', '.join(sorted(RECURRENT))}, whose derivatives follow from their "
            f"results, got {identifier!r}: for any other write a cell of your own and run it with RNN(cell)"
        )

    # -- weights -----------------------------------------------------------------------------------------------------

    def prepare(self, step_shape: Shape) -> Shape:
        """Make the parameters, for steps of this shape; returns that of an output."""
        if len(step_shape) != 1 or step_shape[0] is None:
            raise ValueError(
                f"layer '{self.label}' expects steps of one axis of features of known size, got {shown(step_shape)}"
            )
        features, width = step_shape[0], self.gates * self.units
        self.kernel = Parameter(
            (features, width),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.recurrent_kernel = Parameter(
            (self.units, width),
            self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )
        if self.use_bias:
            self.bias = Parameter(
                self.bias_shape,
                self.first_bias(),
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        self.state_sizes = [(self.units,)] * self.states_held
        return (self.units,)

    @property
    def bias_shape(self) -> Shape:
        return (self.gates * self.units,)

    def first_bias(self) -> Any:
        """The bias's initializer."""
        return self.bias_initializer

    def weights_in(self, graph: Graph) -> list[Tensor]:
        """W, U and, where there is one, b."""
        names = [self.kernel, self.recurrent_kernel, *([self.bias] if self.use_bias else [])]
        return [graph.parameter(parameter) for parameter in names]

    # -- running -----------------------------------------------------------------------------------------------------

    def function(self, mask: Array | None, r: Array | None, backwards: bool) -> Function:
        """The Function of a whole sequence: x, W, U, b and states in; outputs and last states out."""
        raise NotImplementedError

    def run(
        self, x: Tensor, states: list[Tensor], mask: Array | None, backwards: bool, factors: Factors | None = None
    ) -> list[Tensor]:
        """h of all steps at the places of their inputs, and the last states."""
        graph = x.graph
        on_x, on_h = factors or self.factors(graph, x.shape[0], x.shape[-1])
        if on_x is not None:
            x = x * graph.tensor(on_x)
        results: Any = graph.apply(self.function(mask, on_h, backwards), x, *self.weights_in(graph), *states)
        return list(results)

    # -- dropout -----------------------------------------------------------------------------------------------------

    def factors(self, graph: Graph, rows: int, features: int) -> Factors:
        """The dropout masks of a sequence, drawn once."""
        if not graph.training:
            return None, None
        return (
            self.factor(graph, (rows, 1, features), self.dropout),
            self.factor(graph, (rows, self.units), self.recurrent_dropout),
        )

    def factor(self, graph: Graph, shape: Shape, rate: float) -> Array | None:
        """0 with probability rate, else 1 / (1 - rate)."""
        if rate == 0:
            return None
        y, mask = graph.empty(*shape), graph.backend.empty(shape, "bool")
        graph.backend.dropout.forward(y, mask, graph.backend.full(shape, 1.0, graph.dtype), rate, *self.draw(graph))
        return y


def compact(*arrays: Array | None) -> Any:
    """The arrays, each in one block in row-major order, as kernels want them."""
    result = [a if a is None or a.flags.c_contiguous else a.copy() for a in arrays]
    return result[0] if len(result) == 1 else result


def last_of(graph: Graph, h: Array, backwards: bool) -> Array:
    """A copy of the state after the last step."""
    last = graph.empty(h.shape[0], h.shape[2])
    last[...] = h[:, 0 if backwards else -1]
    return last
