"""Pooling of sequences (N, T, F): over windows of steps, or over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import ops
from tinynn.config import positive_integer
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.base import Layer, shown
from tinynn.layers.images import OPEN
from tinynn.layers.pooling import AveragePool, MaxPool
from tinynn.typing import Array, Shape
from tinynn.window import Window, same_padding

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


def require_sequences(input_shape: Any, layer: Layer) -> None:
    """ValueError unless inputs have the rank of sequences."""
    if isinstance(input_shape, list) or len(input_shape) != 2:
        raise ValueError(
            f"layer '{layer.label}' expects sequences, inputs of shape (None, steps, features), got "
            f"{shown(input_shape)}"
        )


def checked_steps_last(value: str | None, owner: str) -> str | None:
    """Keras's ``data_format`` of sequences: "channels_last", or None for it."""
    if value not in (None, "channels_last"):
        raise ValueError(
            f"{owner} takes sequences with their features last, (N, T, F), and expects data_format='channels_last' or "
            f"None, got {value!r}: turn them with np.swapaxes(x, 1, 2), or put Permute((2, 1)) in front"
        )
    return value


# -- windows ---------------------------------------------------------------------------------------------------------


class Pooling1D(Layer):
    """What the moving windows share: arguments and shapes, see MaxPooling1D."""

    def __init__(
        self,
        pool_size: int = 2,
        strides: int | None = None,
        padding: str = "valid",
        data_format: str | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"{type(self).__name__} '{self.label}'"
        self.pool_size = single(pool_size, "pool_size", owner)
        self.strides = self.pool_size if strides is None else single(strides, "strides", owner)
        self.padding = padding.lower() if isinstance(padding, str) else padding
        if self.padding not in ("valid", "same"):
            raise unknown(f"padding of {owner}", padding, ("valid", "same"))
        self.data_format = checked_steps_last(data_format, owner)

    def build(self, input_shape: Shape) -> Shape:
        return self.shape_for(input_shape)

    def shape_for(self, input_shape: Shape) -> Shape:
        require_sequences(input_shape, self)
        steps = self.window(input_shape[0] or OPEN).output(1, input_shape[0] or OPEN)[1]
        if steps < 1:
            raise ValueError(
                f"layer '{self.label}' has pool_size={self.pool_size} and gets sequences of {input_shape[0]} steps, "
                f"inputs of shape {shown(input_shape)}, which are shorter: use a smaller pool_size, or padding='same'"
            )
        return (steps if input_shape[0] else None, input_shape[1])  # type: ignore[return-value]

    def window(self, steps: int) -> Window:
        """The window on sequences of so many steps, which are images of one row."""
        around = same_padding(steps, self.pool_size, self.strides) if self.padding == "same" else (0, 0)
        return Window((1, self.pool_size), (1, self.strides), ((0, 0), around))

    def pool(self, function: Function, x: Tensor) -> Tensor:
        return ops.squeeze(function(ops.expand_dims(x, 1)), 1)


class MaxPooling1D(Pooling1D):
    """The largest number of each window of steps, feature by feature: (T, F) -> (new T, F).

    pool_size:   steps of the window
    strides:     how far it moves; None for its own size, so that windows lie side by side
    padding:     "valid": windows lie inside the sequence, what is left over at its end is not seen;
                 "same": ceil(T / strides) outputs, with padding that never counts (the odd one at the end)
    data_format: "channels_last" or None for it

    Of equal numbers in a window the first takes the gradient. Raises ValueError for sequences shorter than the window.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(MaxPool(self.window(x.shape[1]), x.requires_grad), x)


class AveragePooling1D(Pooling1D):
    """The mean of each window of steps, feature by feature, padding left out: (T, F) -> (new T, F).

    The arguments are those of MaxPooling1D.
    """

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(AveragePool(self.window(x.shape[1])), x)


def single(value: Any, what: str, owner: str) -> int:
    """A positive integer, or a list of one, as Keras takes it too."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    return positive_integer(value, what, owner)


# -- the whole sequence ----------------------------------------------------------------------------------------------


class MaskedMean(Function):
    """y = the mean of x over the steps that count, 0 where none does;  dx = mask dy / count.

    x (N, T, F), mask (N, T) of bools, a constant -> y (N, F).
    """

    def __init__(self, mask: Array):
        self.mask = mask

    def forward(self, graph: Graph, x: Array) -> Array:
        counted = self.mask.astype(x.dtype)
        count = np.maximum(counted.sum(axis=1, keepdims=True), 1)
        self.saved = (counted / count)[:, :, None]
        # Not x times 0: what stands in the padding may be inf.
        return np.where(self.mask[:, :, None], x, 0).sum(axis=1) / count

    def backward(self, graph: Graph, dy: Array) -> Array:
        dx = graph.empty(*self.saved.shape[:2], dy.shape[1])
        return np.multiply(dy[:, None, :], self.saved, out=dx)


class GlobalPooling1D(Layer):
    """What the two global poolings share: (T, F) -> (F,), or (1, F) with ``keepdims``; T may be open."""

    def __init__(
        self,
        data_format: str | None = None,
        keepdims: bool = False,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.data_format = checked_steps_last(data_format, f"{type(self).__name__} '{self.label}'")
        self.keepdims = bool(keepdims)

    def build(self, input_shape: Shape) -> Shape:
        require_sequences(input_shape, self)
        return (1, input_shape[1]) if self.keepdims else (input_shape[1],)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)


class GlobalAveragePooling1D(GlobalPooling1D):
    """The mean of every feature over the steps that count, by the mask of its input; 0 where no step counts."""

    supports_masking = True

    def compute_mask(self, x: Any) -> Any:
        return None  # there are no steps left

    def forward(self, x: Tensor) -> Tensor:
        if x.mask is None:
            return ops.mean(x, 1, self.keepdims)
        y = MaskedMean(x.mask)(x)
        return ops.expand_dims(y, 1) if self.keepdims else y


class GlobalMaxPooling1D(GlobalPooling1D):
    """The largest number of every feature over all steps, masked ones too; the first of equal ones has the gradient."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.max(x, 1, self.keepdims)


MaxPool1D = MaxPooling1D
AvgPool1D = AveragePooling1D
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalMaxPool1D = GlobalMaxPooling1D
