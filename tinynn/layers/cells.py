"""Cells: one step of a recurrence, by itself or one on top of the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import ops
from tinynn.layers.base import Layer, shown
from tinynn.layers.dropout import RandomLayer
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
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
        """Written by ``Unit``, as the two below."""
        raise NotImplementedError

    def run(
        self, x: Tensor, states: list[Tensor], mask: Array | None, backwards: bool, factors: Factors | None = None
    ) -> list[Tensor]:
        raise NotImplementedError

    def factors(self, graph: Graph, rows: int, features: int) -> Factors:
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


class StackedRNNCells(Layer):
    """Cells one on top of the other as one cell: each takes the output of the one below.

    cells: as for ``RNN``; their states are side by side in a list, one entry (or list) per cell
    """

    def __init__(self, cells: Sequence[Any], *, name: str | None = None, trainable: bool = True):
        super().__init__(name=name, trainable=trainable)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise ValueError(f"StackedRNNCells '{self.label}' expects a list of at least one cell, got {cells!r}")
        self.cells = [checked_cell(cell, self) for cell in cells]

    @property
    def state_size(self) -> list[Any]:
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        return output_size(self.cells[-1])

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Of each cell what it says, or zeros."""
        return [first_state(cell, batch_size) for cell in self.cells]

    def build(self, input_shape: Shape) -> Shape:
        for cell in self.cells:
            build_cell(cell, input_shape)
            input_shape = (output_size(cell),)
        return input_shape

    def forward(self, x: Any, states: Any = (), factors: Sequence[dict[str, Any]] | None = None) -> Any:
        """The output of the last cell, and the new states of all; factors: options of each cell's call."""
        new = []
        for cell, state, options in zip(self.cells, states, factors or [{}] * len(self.cells), strict=True):
            given = state if isinstance(state, (list, tuple)) else [state]
            x, state = cell(x, states=given, **options) if isinstance(cell, Layer) else cell(x, given)
            new.append(state if len(given) > 1 else flat(state)[0])
        return x, new


def checked_cell(cell: Any, owner: Layer) -> Any:
    """A cell, of {"class": ..., "config": ...} or a list where that is given; TypeError for what is none."""
    if isinstance(cell, dict) and set(cell) == {"class", "config"}:
        from tinynn.layers import get_class

        cell = get_class(cell["class"])(**cell["config"])
    if isinstance(cell, (list, tuple)):
        cell = StackedRNNCells(cell)
    if isinstance(cell, type) or not callable(cell) or not hasattr(cell, "state_size"):
        what = f"the class {cell.__name__}: write {cell.__name__}(...)" if isinstance(cell, type) else repr(cell)
        raise TypeError(
            f"{type(owner).__name__} '{owner.label}' expects a cell such as LSTMCell(32): something with a state_size "
            f"that is called as cell(x, states), got {what}"
        )
    return cell


def build_cell(cell: Any, step_shape: Shape) -> None:
    """Declare the parameters of a cell; layers inside it are built by its first call."""
    if isinstance(cell, Layer) and not cell.built:
        cell.output_shape = cell.build(step_shape)
        cell.built_for, cell.built = step_shape, True


def output_size(cell: Any) -> int:
    """The size of a cell's output: that of its first state unless it says otherwise."""
    size = getattr(cell, "output_size", None)
    return int(flat(cell.state_size)[0] if size is None else size)


def first_state(cell: Any, rows: int) -> Any:
    """What the cell says, or zeros; a single state stands by itself."""
    if hasattr(cell, "get_initial_state"):
        states = cell.get_initial_state(batch_size=rows)
        one = isinstance(states, (list, tuple)) and not isinstance(cell.state_size, (list, tuple))
        return states[0] if one else states
    zeros = [np.zeros((rows, n), np.float32) for n in flat(cell.state_size)]
    return nested(cell.state_size, iter(zeros))


def dropout_of(cell: Any, graph: Graph, rows: int, features: int) -> dict[str, Any]:
    """The dropout masks of a sequence as options of every call of a cell."""
    if not graph.training:
        return {}
    if isinstance(cell, Cell):
        return {"factors": cell.factors(graph, rows, features)}
    if type(cell) is StackedRNNCells:
        below = [features, *map(output_size, cell.cells)]
        return {"factors": [dropout_of(c, graph, rows, n) for c, n in zip(cell.cells, below, strict=False)]}
    return {}


def flat(nest: Any) -> list[Any]:
    """What lies in a list of lists, in order."""
    return [leaf for item in nest for leaf in flat(item)] if isinstance(nest, (list, tuple)) else [nest]


def nested(like: Any, leaves: Iterator[Any]) -> Any:
    """The leaves in the form of ``like``."""
    return [nested(item, leaves) for item in like] if isinstance(like, (list, tuple)) else next(leaves)
