"""Several tensors into one: concatenate along an axis that is there, stack along a new one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


MOST = 8
"""Arrays joined at once where steps can be recorded: CuPy sends a table of the addresses of more, and only once."""


def joined_by(join: Callable[..., Array], graph: Graph, arrays: Sequence[Array], axis: int) -> Array:
    """``join(arrays, axis)``, in groups where there are more arrays than a recorded step can join at once."""
    while graph.backend.record is not None and len(arrays) > MOST:
        arrays = [join(arrays[i : i + MOST], axis=axis) for i in range(0, len(arrays), MOST)]
        join = np.concatenate
    joined: Array = join(arrays, axis=axis)
    return joined


class Concatenate(Function):
    """y = the inputs one after the other along an axis; each takes its piece of the gradient."""

    def __init__(self, axis: int = 0):
        self.axis = axis

    def forward(self, graph: Graph, *arrays: Array) -> Array:
        self.saved = [x.shape[self.axis] for x in arrays]
        return joined_by(np.concatenate, graph, arrays, self.axis)

    def backward(self, graph: Graph, dy: Array) -> list[Array | None]:
        before = (slice(None),) * (self.axis % dy.ndim)
        pieces, start = [], 0
        for i, n in enumerate(self.saved):
            pieces.append(dy[(*before, slice(start, start + n))] if self.needs(i) else None)
            start += n
        return pieces


class Stack(Function):
    """y = the inputs, all of one shape, side by side along a new axis; each takes its slice of the gradient."""

    def __init__(self, axis: int = 0):
        self.axis = axis

    def forward(self, graph: Graph, *arrays: Array) -> Array:
        return joined_by(np.stack, graph, arrays, self.axis)

    def backward(self, graph: Graph, dy: Array) -> list[Array | None]:
        before = (slice(None),) * (self.axis % dy.ndim)
        return [dy[(*before, i, ...)] if self.needs(i) else None for i in range(len(self.inputs))]


def concatenate(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors one after the other along an axis; plain arrays among them are constants."""
    return Concatenate(axis)(*tensors)


def stack(tensors: Sequence[Any], axis: int = 0) -> Tensor:
    """The tensors, all of one shape, side by side along a new axis."""
    return Stack(axis)(*tensors)
