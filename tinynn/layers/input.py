"""Input: where a model begins."""

from __future__ import annotations

from collections.abc import Sequence

from tinynn.layers.base import Layer, Symbol, checked_shape


def Input(
    shape: Sequence[int | None] | int | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    *,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
) -> Symbol:
    """The shape of a model's input, without the batch axis: for ``Model(inputs, outputs)`` and ``Sequential([...])``.

    shape:      sizes of a row, None for an open axis; () for a single number
    batch_size: understood and not needed: any batch size will do
    dtype:      what the model's door converts inputs to, None for the compute dtype
    batch_shape: (batch_size, *shape), as Keras 3 writes it for stateful layers
    """
    if shape is None and isinstance(batch_shape, (list, tuple)) and batch_shape:
        shape = tuple(batch_shape[1:])
    if shape is None:
        raise ValueError("Input expects the shape of one row, such as Input(shape=(784,))")
    if isinstance(shape, str) or not isinstance(shape, (int, Sequence)):
        raise TypeError(f"Input expects the shape of one row, such as Input(shape=(784,)), got {shape!r}")
    if dtype is not None and (isinstance(dtype, bool) or hasattr(dtype, "__index__")):
        raise TypeError(
            f"Input expects the shape as one argument, such as Input((28, 28, 1)), got dtype={dtype!r}: put the sizes "
            "in parentheses"
        )
    return Symbol(checked_shape(shape, Layer(name=name or "input")), name=name, dtype=dtype)  # type: ignore[arg-type]


def InputLayer(
    input_shape: Sequence[int | None] | int | None = None, *, dtype: str | None = None, name: str | None = None
) -> Symbol:
    """Old Keras's spelling of ``Input(shape)`` as the first layer of a ``Sequential``."""
    return Input(input_shape, dtype=dtype, name=name)
