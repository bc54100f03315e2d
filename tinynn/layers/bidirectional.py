"""Bidirectional: a recurrent layer forwards and one backwards over the same sequence."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn import ops
from tinynn.config import constructor_arguments, plain
from tinynn.layers.base import Layer
from tinynn.layers.recurrent import Recurrent, with_states
from tinynn.layers.timedistributed import inner_layer
from tinynn.typing import Array, ArrayLike, Shape

if TYPE_CHECKING:
    from tinynn.tensor import Tensor

MODES = ("concat", "sum", "mul", "ave", None)


class Bidirectional(Layer):
    """Two recurrent layers over one sequence, one from its start and one from its end; their outputs are merged.

    layer:          LSTM, GRU, SimpleRNN or RNN(cell), which goes forwards; a layer of equal arguments is made of it
    merge_mode:     "concat" (side by side), "sum", "mul", "ave", or None for a list of both
    weights:        arrays to start with, in the order of ``get_weights``. They do not belong to ``config()``
    backward_layer: the other one, with ``go_backwards=True``; None for one like the first

    With ``return_sequences`` both outputs lie at the places of their inputs, and those of masked steps are 0. With
    ``return_state`` the states follow, the forward layer's first; ``initial_state`` takes them in the same order.
    Weights: those of ``forward_layer``, then those of ``backward_layer``.
    Source: M. Schuster, K. Paliwal, "Bidirectional recurrent neural networks", 1997.
    """

    supports_masking = True

    def __init__(
        self,
        layer: Layer,
        merge_mode: str | None = "concat",
        weights: Sequence[ArrayLike] | None = None,
        *,
        backward_layer: Layer | None = None,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        if merge_mode not in MODES:
            raise ValueError(
                f"Bidirectional '{self.label}' expects merge_mode 'concat', 'sum', 'mul', 'ave' or None, got "
                f"{merge_mode!r}"
            )
        self.merge_mode = merge_mode
        given = self.checked(inner_layer(layer, self))
        self.forward_layer: Recurrent = twin(given, f"forward_{given.label.removeprefix('forward_')}")
        if backward_layer is None:
            other = twin(given, f"backward_{given.label.removeprefix('backward_')}", not given.go_backwards)
        else:
            other = self.checked(inner_layer(backward_layer, self))
        self.backward_layer: Recurrent = other
        self.check_pair()
        self.first_weights = None if weights is None else list(weights)
        if self.input_shape is None:
            self.input_shape = given.input_shape
        for one in (self.forward_layer, self.backward_layer):
            one.in_order = True
            one.zero_output_for_mask = one.return_sequences

    def checked(self, layer: Layer) -> Recurrent:
        if not isinstance(layer, Recurrent):
            raise TypeError(
                f"Bidirectional '{self.label}' expects a recurrent layer such as LSTM(32), got {type(layer).__name__}"
            )
        return layer

    def check_pair(self) -> None:
        """ValueError where the two layers do not fit."""
        one, other = self.forward_layer, self.backward_layer
        if one.go_backwards == other.go_backwards:
            raise ValueError(
                f"Bidirectional '{self.label}' expects one layer with go_backwards=True and one without, got two with "
                f"go_backwards={one.go_backwards}"
            )
        for what in ("stateful", "return_sequences", "return_state"):
            if getattr(one, what) != getattr(other, what):
                raise ValueError(
                    f"Bidirectional '{self.label}' expects two layers of the same {what}, got {getattr(one, what)} "
                    f"forwards and {getattr(other, what)} backwards"
                )

    @property
    def layer(self) -> Recurrent:
        """The constructor's argument."""
        return self.forward_layer

    @property
    def return_sequences(self) -> bool:
        return self.forward_layer.return_sequences

    @property
    def return_state(self) -> bool:
        return self.forward_layer.return_state

    @property
    def stateful(self) -> bool:
        return self.forward_layer.stateful

    # -- the call ----------------------------------------------------------------------------------------------------

    def __call__(self, x: Any, *, initial_state: Any = None, **options: Any) -> Any:
        """``layer(x)``, ``layer(x, initial_state=[...])`` or a list of x and the states."""
        return super().__call__(with_states(x, initial_state, self), **options)

    def build(self, input_shape: Any) -> Any:
        output_shape = self.shape_for(input_shape)
        if self.first_weights is not None:
            half = len(self.forward_layer.variables())
            self.forward_layer.set_weights(self.first_weights[:half])
            self.backward_layer.set_weights(self.first_weights[half:])
            self.first_weights = None
        return output_shape

    def shape_for(self, input_shape: Any) -> Any:
        forwards, backwards = self.shared_out(input_shape)
        one, other = self.forward_layer.ensure_built(forwards), self.backward_layer.ensure_built(backwards)
        if not self.return_state:
            return self.merged_shape(one, other)
        merged = self.merged_shape(one[0], other[0])
        return [*(merged if isinstance(merged, list) else [merged]), *one[1:], *other[1:]]

    def shared_out(self, inputs: Any) -> tuple[Any, Any]:
        """The sequence and half of the states for each layer; ValueError for an odd number of states."""
        if not isinstance(inputs, list):
            return inputs, inputs
        x, *states = inputs
        half = len(states) // 2
        if len(states) % 2:
            raise ValueError(
                f"layer '{self.label}' expects the initial states of both directions, an even number, got {len(states)}"
            )
        return [x, *states[:half]], [x, *states[half:]]

    def merged_shape(self, one: Shape, other: Shape) -> Any:
        if self.merge_mode is None:
            return [one, other]
        if self.merge_mode == "concat":
            return (*one[:-1], one[-1] + other[-1])
        if one != other:
            raise ValueError(
                f"layer '{self.label}' merges by {self.merge_mode}, which takes two outputs of one shape, got {one} "
                f"and {other}: give both layers the same units, or take merge_mode='concat'"
            )
        return one

    def forward(self, x: Any) -> Any:
        forwards, backwards = self.shared_out(list(x) if isinstance(x, (list, tuple)) else x)
        one, other = self.forward_layer(forwards), self.backward_layer(backwards)
        if not self.return_state:
            return self.merge(one, other)
        merged = self.merge(one[0], other[0])
        return [*(merged if isinstance(merged, list) else [merged]), *one[1:], *other[1:]]

    def merge(self, y: Tensor, z: Tensor) -> Any:
        if self.merge_mode is None:
            return [y, z]
        if self.merge_mode == "concat":
            return ops.concatenate([y, z], axis=-1)
        if self.merge_mode == "mul":
            return y * z
        return y + z if self.merge_mode == "sum" else (y + z) * 0.5

    def compute_mask(self, x: Any) -> Array | None:
        """That of the sequence, for the outputs of all steps."""
        mask: Array | None = (x[0] if isinstance(x, (list, tuple)) else x).mask
        return mask if self.return_sequences else None

    def carry_mask(self, x: Any, y: Any) -> None:
        """The outputs have it; states have none."""
        outputs = 2 if self.merge_mode is None else 1
        for tensor in y[:outputs] if isinstance(y, list) else [y]:
            tensor.mask = self.compute_mask(x)

    # -- states ------------------------------------------------------------------------------------------------------

    @property
    def states(self) -> list[Any] | None:
        """Those of both layers, as for ``Recurrent``."""
        one, other = self.forward_layer.states, self.backward_layer.states
        return None if one is None or other is None else one + other

    @states.setter
    def states(self, states: Sequence[ArrayLike] | None) -> None:
        self.reset_states(states)

    def reset_states(self, states: Sequence[ArrayLike] | None = None) -> None:
        """Forget the states of both layers, or give them new ones."""
        half = None if states is None else len(states) // 2
        before = self.forward_layer._states
        self.forward_layer.reset_states(None if states is None else states[:half])
        try:
            self.backward_layer.reset_states(None if states is None else states[half:])
        except ValueError:
            self.forward_layer._states = before
            raise

    reset_state = reset_states

    def config(self) -> dict[str, Any]:
        return {
            "layer": plain(self.forward_layer),
            "merge_mode": self.merge_mode,
            "weights": None,
            "backward_layer": plain(self.backward_layer),
            "input_shape": self.input_shape,
            "name": self.name,
            "trainable": self.trainable,
        }


def twin(layer: Recurrent, name: str, go_backwards: bool | None = None) -> Any:
    """A fresh layer of equal arguments, with another name, and the other direction where that is said."""
    arguments = {key: copy.deepcopy(getattr(layer, key)) for key in constructor_arguments(type(layer))}
    if go_backwards is not None:
        arguments["go_backwards"] = go_backwards
    return type(layer)(**{**arguments, "name": name})
