"""What all layers over sequences share: steps and states in and out, masks, and states that are carried on."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, TypedDict

import numpy as np

from tinynn import regularizers
from tinynn.backends import Backend, host
from tinynn.layers.base import Layer, ProbeGraph, Symbol, shown
from tinynn.layers.dropout import RandomLayer
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike, Shape


class RecurrentArguments(TypedDict, total=False):
    """The arguments of ``Recurrent``, for type checkers and editors: what LSTM, GRU, SimpleRNN and RNN hand on."""

    seed: int | None
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool
    zero_output_for_mask: bool
    activity_regularizer: Any
    batch_input_shape: Sequence[int | None] | None
    input_dim: int | None
    input_length: int | None
    input_shape: Sequence[int] | int | None
    name: str | None
    trainable: bool


class Recurrent(RandomLayer):
    """The base of LSTM, GRU, SimpleRNN and RNN: (T, features) -> (units,), or (T, units) with ``return_sequences``.

    return_sequences: the outputs of all steps instead of that of the last one
    return_state:     the call gives a list: the output, and the states after the last step
    go_backwards:     the steps are taken from the last to the first; the outputs come in the order they were made
    stateful:         the states after a batch are the start of the next one (row i goes on with row i), until
                      ``reset_states()``; no gradient flows from batch to batch (truncated backpropagation). Every
                      batch must have as many rows as the one before
    zero_output_for_mask: the outputs of masked steps are 0 instead of those of the step before
    seed:             for dropout masks that depend on it alone
    unroll:           understood and not needed: nothing here is faster unrolled
    batch_input_shape, input_dim, input_length: old Keras's forms of ``input_shape``

    Called with ``initial_state=[...]``, or with a list of the sequence and the states, it starts from these; else from
    zeros. A masked step leaves the states as they are; a row without any step that counts ends in its initial state.
    Raises ValueError for inputs that are not sequences of at least one step.
    """

    in_order = False
    """Whether the outputs of a layer that goes backwards lie at the places of their inputs (for Bidirectional)."""
    state_sizes: list[Shape]
    """The shape of each state, without the batch axis."""
    _states: list[Array] | None = None

    def __init__(
        self,
        seed: int | None = None,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        activity_regularizer: Any = None,
        batch_input_shape: Sequence[int | None] | None = None,
        input_dim: int | None = None,
        input_length: int | None = None,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if input_shape is None and batch_input_shape is not None:
            input_shape = tuple(batch_input_shape)[1:]  # type: ignore[assignment]
        if input_shape is None and input_dim is not None:
            input_shape = (input_length, input_dim)  # type: ignore[assignment]
        super().__init__(seed, name=name, trainable=trainable, input_shape=input_shape)
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.stateful, self.unroll = bool(go_backwards), bool(stateful), bool(unroll)
        self.zero_output_for_mask = bool(zero_output_for_mask)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.batch_input_shape = self.input_dim = self.input_length = None
        """Kept as ``input_shape``."""

    # -- to be written by each row -----------------------------------------------------------------------------------

    def prepare(self, step_shape: Shape) -> Shape:
        """Declare the parameters for steps of this shape, set ``state_sizes``, and return the shape of an output."""
        raise NotImplementedError

    def run(self, x: Tensor, states: list[Tensor], mask: Array | None, backwards: bool) -> list[Tensor]:
        """All steps, from the given states (none for zeros): the outputs at the places of their inputs, last states."""
        raise NotImplementedError

    # -- shapes ------------------------------------------------------------------------------------------------------

    def build(self, input_shape: Any) -> Any:
        sequence = input_shape[0] if isinstance(input_shape, list) else input_shape
        if len(sequence) < 2 or None in sequence[1:]:
            raise ValueError(
                f"layer '{self.label}' expects sequences, inputs of shape (None, steps, features) with a known number "
                f"of features, got {shown(sequence)}: " + sequence_hint(sequence)
            )
        self.step_output = self.prepare(tuple(sequence[1:]))
        self.step_input = tuple(sequence[1:])
        return self.result_shape(input_shape)

    def shape_for(self, input_shape: Any) -> Any:
        sequence = input_shape[0] if isinstance(input_shape, list) else input_shape
        if tuple(sequence[1:]) != self.step_input or len(sequence) < 2:
            raise ValueError(
                f"layer '{self.label}' was built for sequences of shape {shown((None, *self.step_input))}, got "
                f"{shown(sequence)}: {sequence_hint(sequence)}"
            )
        return self.result_shape(input_shape)

    def result_shape(self, input_shape: Any) -> Any:
        """The output's shape, or the list of all results' with ``return_state``."""
        sequence, states = (input_shape[0], input_shape[1:]) if isinstance(input_shape, list) else (input_shape, [])
        if states and list(map(tuple, states)) != self.state_sizes:
            raise ValueError(
                f"layer '{self.label}' expects {self.states_wanted()}, got {len(states)} of shape "
                f"{', '.join(map(shown, states))}"
            )
        output = (sequence[0], *self.step_output) if self.return_sequences else self.step_output
        return [output, *self.state_sizes] if self.return_state else output

    def states_wanted(self) -> str:
        n = len(self.state_sizes)
        return f"{n} initial state{'s' * (n > 1)} of shape {', '.join(map(shown, self.state_sizes))}"

    # -- the call ----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, *, initial_state: Any = None, **options: Any) -> Any:
        """``layer(x)``, ``layer(x, initial_state=[h, c])`` or ``layer([x, h, c])``."""
        return super().__call__(with_states(x, initial_state, self), **options)

    def forward(self, x: Any) -> Any:
        x, *given = x if isinstance(x, (list, tuple)) else [x]
        graph = x.graph
        mask = self.checked_mask(x)
        outputs, *last = self.run(x, self.start(x, given), mask, self.go_backwards)
        if self.stateful and not isinstance(graph, ProbeGraph):
            graph.update(partial(self.carry_on, [state.data for state in last]))
        y = self.sequence(outputs, mask) if self.return_sequences else self.last_output(outputs, last)
        if self.activity_regularizer is not None:
            graph.losses.append(self.activity_regularizer(y) / x.shape[0])
        return [y, *last] if self.return_state else y

    def last_output(self, outputs: Tensor, last: list[Tensor]) -> Tensor:
        """The output of the last step: the first state, where a row does not know better."""
        return last[0]

    def sequence(self, outputs: Tensor, mask: Array | None) -> Tensor:
        """All outputs in the order wanted, those of masked steps 0 where that is wanted."""
        if mask is not None and self.zero_output_for_mask:
            kept = mask.reshape(mask.shape + (1,) * (outputs.ndim - 2)).astype(outputs.dtype)
            outputs = outputs * outputs.graph.tensor(kept)
        return outputs[:, ::-1] if self.go_backwards and not self.in_order else outputs

    def checked_mask(self, x: Tensor) -> Array | None:
        """The mask of the steps; ValueError for sequences without any step."""
        if x.shape[1] == 0:
            raise ValueError(f"layer '{self.label}' expects sequences of at least one step, got shape {x.shape}")
        mask = x.mask
        if mask is not None and tuple(mask.shape) != x.shape[:2]:
            raise ValueError(
                f"layer '{self.label}' expects a mask of shape {x.shape[:2]}, one bool per step, got {mask.shape}"
            )
        return mask

    def compute_mask(self, x: Any) -> Any:
        """That of the sequence, for the outputs of all steps; in their order."""
        mask = (x[0] if isinstance(x, (list, tuple)) else x).mask
        if mask is None or not self.return_sequences:
            return None
        return mask[:, ::-1] if self.go_backwards and not self.in_order else mask

    def carry_mask(self, x: Any, y: Any) -> None:
        """The outputs have it; states have none."""
        (y[0] if self.return_state else y).mask = self.compute_mask(x)

    # -- states ------------------------------------------------------------------------------------------------------

    def start(self, x: Tensor, given: list[Tensor]) -> list[Tensor]:
        """The states before the first step: given, carried on, or none."""
        graph, rows = x.graph, x.shape[0]
        if given:
            if any(state.shape[0] != rows for state in given):
                raise ValueError(
                    f"layer '{self.label}' expects initial states of {rows} rows, as its input has, got shapes "
                    f"{', '.join(str(state.shape) for state in given)}"
                )
            return given
        if not self.stateful or isinstance(graph, ProbeGraph) or self._states is None:
            return []
        if self._states[0].shape[0] != rows:
            raise ValueError(
                f"layer '{self.label}' is stateful and carries the states of {self._states[0].shape[0]} sequences, got "
                f"a batch of {rows}: call reset_states() before a batch of another size, and give fit, evaluate and "
                "predict a number of rows that is a multiple of batch_size"
            )
        return [graph.tensor(state) for state in self._states]

    def carry_on(self, states: list[Array], scale: Array | None) -> None:
        """The next batch starts from these states, unless scale is 0."""
        if scale is not None:
            old = self._states or [np.zeros_like(state) for state in states]
            states = [np.where(scale == 0, a, b) for a, b in zip(old, states, strict=True)]
        self._states = states

    @property
    def states(self) -> list[Any] | None:
        """Copies of the states that the next batch starts from; None at the beginning. Settable."""
        if self._states is None:
            return None
        return [np.array(to_host(state)) for state in self._states]

    @states.setter
    def states(self, states: Sequence[ArrayLike] | None) -> None:
        self.reset_states(states)

    def carry(self, backend: Backend) -> None:
        """Keep the states on another backend."""
        if self._states is not None:
            self._states = [backend.asarray(np.array(to_host(state)), state.dtype) for state in self._states]

    def reset_states(self, states: Sequence[ArrayLike] | None = None) -> None:
        """Forget the states: the next batch, of any size, starts from zeros, or from the given ones."""
        if states is None:
            self._states = None
            return
        if not self.stateful or not self.built:
            raise ValueError(f"layer '{self.label}' can be given states once it is built, and with stateful=True")
        given = list(states) if isinstance(states, (list, tuple)) else [states]
        arrays = [np.array(to_host(state)) for state in given]
        shapes = [array.shape[1:] for array in arrays]
        if shapes != self.state_sizes or len({len(array) for array in arrays}) != 1:
            raise ValueError(
                f"layer '{self.label}' expects {self.states_wanted()}, got arrays of shape "
                f"{', '.join(str(array.shape) for array in arrays)}"
            )
        self._states = arrays

    reset_state = reset_states
    """Keras 3's name."""


def with_states(x: Any, initial_state: Any, layer: Layer) -> Any:
    """What a layer over sequences is called with: x, or a list of x and the initial states."""
    if isinstance(x, (list, tuple)):
        if initial_state is not None:
            raise TypeError(f"layer '{layer.label}' got states twice: in its list of inputs and as initial_state")
        return x if len(x) > 1 else x[0]
    if initial_state is None:
        return x
    given = list(initial_state) if isinstance(initial_state, (list, tuple)) else [initial_state]
    return [x, *(as_input(state, x, layer) for state in given)]


def as_input(state: Any, x: Any, layer: Layer) -> Any:
    """An initial state as something of the kind of x."""
    if isinstance(x, Tensor) and not isinstance(state, (Tensor, Symbol)):
        return x.graph.tensor(state)
    if isinstance(x, (Tensor, Symbol)) and type(state) is not type(x):
        raise TypeError(
            f"layer '{layer.label}' expects initial states that are {type(x).__name__}s like its input, got "
            f"{type(state).__name__}: in a model, make them with Input(shape=(units,))"
        )
    return state


def to_host(array: Any) -> Any:
    """A Tensor's or a backend's array as NumPy's."""
    return array.numpy() if isinstance(array, Tensor) else host(array)


def sequence_hint(shape: Shape) -> str:
    """What to write instead."""
    if len(shape) == 1:
        return (
            "a layer before it must give all its steps (return_sequences=True), and a series of numbers needs an axis "
            "of features: x[..., None]"
        )
    if len(shape) > 2:
        return "make one axis of features with Reshape((steps, features)) or TimeDistributed(Flatten())"
    return "give the data that shape"
