"""RNN: any cell, run step by step on the tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from tinynn import ops
from tinynn.function import Function
from tinynn.layers.base import Layer, ProbeGraph, shown
from tinynn.layers.cells import build_cell, checked_cell, dropout_of, first_state, flat, nested
from tinynn.layers.recurrent import Recurrent, RecurrentArguments
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph


class Steps(Function):
    """x (N, T, ...) as its T steps (N, ...), each a result of its own; dx has their gradients side by side."""

    def forward(self, graph: Graph, x: Array) -> Any:
        self.saved = x.shape
        return tuple(x[:, t].copy() for t in range(x.shape[1]))

    def backward(self, graph: Graph, *dys: Array | None) -> Array:
        dx = graph.empty(*self.saved)
        for t, dy in enumerate(dys):
            dx[:, t] = 0 if dy is None else dy
        return dx


class RNN(Recurrent):
    """Any cell, step by step: (T, features) -> (output,), or (T, output) with ``return_sequences``.

    >>> from tinynn import Layer, layers as L
    >>> class Leaky(Layer):
    ...     state_size = 3
    ...     def build(self, input_shape):
    ...         self.kernel = self.add_weight((input_shape[-1], 3))
    ...         return (3,)
    ...     def forward(self, x, states):
    ...         h = 0.9 * states[0] + x @ x.graph.parameter(self.kernel)
    ...         return h, [h]
    >>> L.RNN(Leaky(), return_sequences=True).ensure_built((7, 5))
    (7, 3)

    cell: has ``state_size`` (an integer, or a list of one per state) and is called as ``y, states = cell(x, states)``
          with x (N, features): a Layer with ``forward(x, states)``, LSTMCell and the like, or a list of cells, which
          run one on top of the other. ``get_initial_state(batch_size=N)``, where it has that, gives the first states;
          else they are zeros
    return_sequences, return_state, ...: see ``Recurrent``

    Every step has nodes of its own: LSTM, GRU and SimpleRNN are many times faster. A masked step repeats the output
    of the step before (zeros before the first).
    """

    def __init__(self, cell: Any, **base: Unpack[RecurrentArguments]):
        super().__init__(**base)
        self.cell = checked_cell(cell, self)

    def prepare(self, step_shape: Shape) -> Shape:
        self.state_sizes = [(n,) for n in flat(self.cell.state_size)]
        build_cell(self.cell, step_shape)
        graph = ProbeGraph()
        graph.root = self
        x = graph.tensor(np.zeros((1, *step_shape)))
        y, _ = self.step(x, [graph.tensor(np.zeros((1, *shape))) for shape in self.state_sizes], {})
        return y.shape[1:]

    def step(self, x: Tensor, states: list[Tensor], options: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
        """One call of the cell; TypeError or ValueError where it does not keep to the contract."""
        cell = self.cell
        given = nested(cell.state_size, iter(states))
        given = given if isinstance(given, list) else [given]
        result = cell(x, states=given, **options) if isinstance(cell, Layer) else cell(x, given)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TypeError(
                f"layer '{self.label}': a cell must return (output, states), got {type(result).__name__}: write "
                "return h, [h]"
            )
        y, new = result[0], flat(result[1])
        shapes = [state.shape[1:] for state in new]
        if shapes != self.state_sizes:
            raise ValueError(
                f"layer '{self.label}': the cell's state_size is {cell.state_size}, but it returned states of shape "
                f"{', '.join(map(shown, shapes))}"
            )
        return y, new

    def run(self, x: Tensor, states: list[Tensor], mask: Array | None, backwards: bool) -> list[Tensor]:
        graph, (rows, steps) = x.graph, x.shape[:2]
        states = states or self.first_states(x)
        options = dropout_of(self.cell, graph, rows, x.shape[-1])
        parts: Any = Steps()(x)
        outputs: list[Any] = [None] * steps
        y: Any = None
        for t in reversed(range(steps)) if backwards else range(steps):
            output, new = self.step(parts[t], states, options)
            if mask is not None:
                y = y if y is not None else graph.tensor(np.zeros_like(output.data))
                output = kept(mask[:, t], output, y)
                new = [kept(mask[:, t], *two) for two in zip(new, states, strict=True)]
            y, states, outputs[t] = output, new, output
        return [ops.stack(outputs, axis=1) if self.return_sequences else y, *states]

    def last_output(self, outputs: Tensor, last: list[Tensor]) -> Tensor:
        return outputs

    def first_states(self, x: Tensor) -> list[Tensor]:
        """What the cell says, or zeros."""
        given = flat(first_state(self.cell, x.shape[0]))
        return [state if isinstance(state, Tensor) else opened(x.graph, state) for state in given]


def opened(graph: Graph, state: Any) -> Tensor:
    """A state as a tensor; zeros, the usual ones, are made on the backend and need not travel there in every step."""
    if isinstance(state, np.ndarray) and not state.any():
        state = graph.backend.zeros(state.shape, graph.dtype)
    return graph.tensor(state)


def kept(live: Array, new: Tensor, old: Tensor) -> Tensor:
    """new in the rows where ``live`` (N,) is True, old in the others."""
    return ops.where(live.reshape(live.shape + (1,) * (new.ndim - 1)), new, old)
