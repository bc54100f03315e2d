"""The same numbers in another shape or order: Reshape, Permute, RepeatVector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinynn import ops
from tinynn.config import positive_integer
from tinynn.layers.base import Layer, shown
from tinynn.typing import Shape

if TYPE_CHECKING:
    from tinynn.tensor import Tensor


class Reshape(Layer):
    """Another shape for each row, in row-major order; one size may be -1 and is found.

    ``Reshape((28, 28, 1))`` makes images of vectors of 784. ValueError where the sizes do not fit.
    """

    def __init__(
        self,
        target_shape: Sequence[int] | int,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        shape = (target_shape,) if isinstance(target_shape, int) else tuple(target_shape)
        if any(isinstance(n, bool) or not hasattr(n, "__index__") or (n <= 0 and n != -1) for n in shape):
            raise ValueError(
                f"Reshape '{self.label}' expects a target_shape of positive integers, one of them may be -1, "
                f"got {target_shape!r}"
            )
        if shape.count(-1) > 1:
            raise ValueError(f"Reshape '{self.label}' can find one size, got {shape}: give all but one -1 a number")
        self.target_shape = tuple(int(n) for n in shape)

    def build(self, input_shape: Shape) -> Shape:
        known = math.prod(n for n in self.target_shape if n != -1)
        if None in input_shape:
            return tuple(None if n == -1 else n for n in self.target_shape)  # type: ignore[misc]
        size = math.prod(input_shape)
        if size % known if -1 in self.target_shape else size != known:
            unit = f"a multiple of {known}" if -1 in self.target_shape else f"{known}"
            raise ValueError(
                f"layer '{self.label}' cannot reshape inputs of shape {shown(input_shape)}, {size} numbers per row, to "
                f"{self.target_shape}, which takes {unit}: change target_shape"
            )
        return tuple(size // known if n == -1 else n for n in self.target_shape)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        shape = x.data.shape
        target = self.output_shape if shape[1:] == self.built_for else self.build(shape[1:])
        return ops.reshape(x, (shape[0], *target))


class Permute(Layer):
    """The axes of each row in another order, counted from 1: ``Permute((2, 1))`` transposes matrices.

    ValueError unless dims has every number from 1 to the number of axes once.
    """

    def __init__(
        self,
        dims: Sequence[int],
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                f"Permute '{self.label}' expects dims with every number from 1 to {len(self.dims)} once "
                f"(axis 0 is the batch), got {self.dims}"
            )

    def build(self, input_shape: Shape) -> Shape:
        if len(input_shape) != len(self.dims):
            raise ValueError(
                f"layer '{self.label}' permutes {len(self.dims)} axes {self.dims}, got inputs of shape "
                f"{shown(input_shape)}, which have {len(input_shape)}: change dims"
            )
        return tuple(input_shape[d - 1] for d in self.dims)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        return ops.transpose(x, (0, *self.dims))


class RepeatVector(Layer):
    """(F,) -> (n, F): each vector n times, one under the other."""

    def __init__(
        self,
        n: int,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.n = positive_integer(n, "n", f"RepeatVector '{self.label}'")

    def build(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise ValueError(
                f"layer '{self.label}' repeats vectors, inputs of shape (None, F), got {shown(input_shape)}: put a "
                "Flatten() before it"
            )
        return (self.n, *input_shape)

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        rows, width = x.data.shape
        return ops.broadcast_to(ops.reshape(x, (rows, 1, width)), (rows, self.n, width))
