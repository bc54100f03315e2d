"""Cells: one step of a recurrence. RNN runs any of them over a sequence, StackedRNNCells one on top of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import ops
from tinynn.layers.base import shown
from tinynn.layers.dropout import RandomLayer
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.layers.unit import Factors


class Cell(RandomLayer):
    """The base of SimpleRNNCell, LSTMCell and GRUCell: ``y, states = cell(x, states)`` for x (N, F).

    >>> from tinynn import Graph, layers as L
    >>> import numpy as np
    >>> cell = L.LSTMCell(4)
    >>> states = cell.get_initial_state(batch_size=2)
    >>> graph = Graph()
    >>> for x in np.ones((3, 2, 5)):
    ...     y, states = cell(graph.tensor(x), states)
    >>> y.shape, [state.shape for state in states]
    ((2, 4), [(2, 4), (2, 4)])

    Inside, a call is one of a list: the input and the states.
    """

    units: int
    state_sizes: list[Shape]
    states_held: int

    @property
    def state_size(self) -> Any:
        """The size of the state, or a list of those of several, as RNN asks for them."""
        return self.units if self.states_held == 1 else [self.units] * self.states_held

    @property
    def output_size(self) -> int:
        return self.units

    def get_initial_state(self, batch_size: int) -> list[np.ndarray]:
        """Zeros."""
        return [np.zeros((batch_size, self.units), np.float32) for _ in range(self.states_held)]

    def prepare(self, step_shape: Shape) -> Shape:
        raise NotImplementedError

    def run(
        self, x: Tensor, states: list[Tensor], mask: Array | None, backwards: bool, factors: Factors | None = None
    ) -> list[Tensor]:
        raise NotImplementedError

    def build(self, input_shape: Any) -> Any:
        step = input_shape[0] if isinstance(input_shape, list) else input_shape
        self.step_input = tuple(step)
        self.prepare(self.step_input)
        return self.shape_for(input_shape)

    def shape_for(self, input_shape: Any) -> Any:
        step, *states = input_shape if isinstance(input_shape, list) else [input_shape]
        if tuple(step) != self.step_input or (states and list(map(tuple, states)) != self.state_sizes):
            raise ValueError(
                f"layer '{self.label}' expects inputs of shape {shown(self.step_input)} and states of shape "
                f"{', '.join(map(shown, self.state_sizes))}, got {', '.join(shown(s) for s in [step, *states])}"
            )
        return [self.state_sizes[0], *self.state_sizes]

    def __call__(self, x: Any, states: Any = (), **options: Any) -> Any:
        """One step: the output, and the list of new states."""
        if not isinstance(x, (list, tuple)):
            given = list(states) if isinstance(states, (list, tuple)) else [states]
            if len(given) != self.states_held:
                raise TypeError(
                    f"layer '{self.label}' expects {self.states_held} states, as in cell(x, states) after "
                    f"states = cell.get_initial_state(batch_size=...), got {len(given)}"
                )
            if isinstance(x, Tensor):
                given = [s if isinstance(s, Tensor) else x.graph.tensor(s) for s in given]
            x = [x, *given]
        y, *new = super().__call__(x, **options)
        return y, new

    def forward(self, x: Any, factors: Factors | None = None) -> Any:
        x, *states = x
        rows, features = x.shape
        sequence = ops.reshape(x, (rows, 1, features))
        _, *new = self.run(sequence, states, None, False, factors)
        return [new[0], *new]
