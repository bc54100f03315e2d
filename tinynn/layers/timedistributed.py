"""TimeDistributed: a layer applied to every step of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn import ops
from tinynn.layers.base import Layer, shown
from tinynn.layers.dense import Dense
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.tensor import Tensor


def inner_layer(layer: Any, owner: Layer) -> Layer:
    """The layer inside a wrapper, of {"class": ..., "config": ...} where that is given; TypeError for what is none."""
    if isinstance(layer, dict) and set(layer) == {"class", "config"}:
        from tinynn.layers import get_class

        layer = get_class(layer["class"])(**layer["config"])
    if not isinstance(layer, Layer):
        hint = f": write {layer.__name__}(...)" if isinstance(layer, type) else ""
        raise TypeError(f"{type(owner).__name__} '{owner.label}' expects a layer, got {layer!r}{hint}")
    return layer


class TimeDistributed(Layer):
    """The same layer at every step: (T, ...) -> (T, what the layer makes of ...), as if each step were a row.

    ``TimeDistributed(Conv2D(8, 3))`` on clips (T, H, W, C). A Dense layer does this by itself. The mask of the steps
    goes on to the output; one of steps inside steps, such as that of words in sentences (N, T, W), goes to the layer.
    """

    supports_masking = True

    def __init__(
        self,
        layer: Layer,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.layer = inner_layer(layer, self)
        self.input_dtype = self.layer.input_dtype

    @property
    def activation(self) -> Any:
        """That of the layer inside."""
        return getattr(self.layer, "activation", "unknown")

    def build(self, input_shape: Shape) -> Any:
        return self.shape_for(input_shape)

    def shape_for(self, input_shape: Shape) -> Any:
        if len(input_shape) < 2:
            raise ValueError(
                f"layer '{self.label}' expects sequences, inputs of shape (None, steps, ...), got "
                f"{shown(input_shape)}: give steps of one number an axis of their own with x[..., None]"
            )
        steps = input_shape[0]
        inside = self.layer.ensure_built(tuple(input_shape[1:]))
        return [(steps, *shape) for shape in inside] if isinstance(inside, list) else (steps, *inside)

    def forward(self, x: Tensor) -> Any:
        if type(self.layer) is Dense:  # on the last axis anyhow; so a loss finds its logits
            return self.layer(x)
        rows, steps = x.shape[:2]
        merged = ops.reshape(x, (rows * steps, *x.shape[2:]))
        if x.mask is not None and x.mask.ndim > 2:
            merged.mask = x.mask.reshape(rows * steps, *x.mask.shape[2:])
        y = self.layer(merged)
        return [self.apart(t, x) for t in y] if isinstance(y, (list, tuple)) else self.apart(y, x)

    def apart(self, y: Tensor, x: Tensor) -> Tensor:
        """Rows and steps as two axes again."""
        result = ops.reshape(y, (*x.shape[:2], *y.shape[1:]))
        if y.mask is not None:
            result.mask = y.mask.reshape(*x.shape[:2], *y.mask.shape[1:])
        return result

    def compute_mask(self, x: Any) -> Array | None:
        """A step counts where anything inside it does."""
        mask = x.mask
        return mask if mask is None or mask.ndim == 2 else mask.reshape(*mask.shape[:2], -1).any(axis=-1)
