"""Indexing: x[index] with numbers, slices, None, ..., and arrays of integers or booleans, as NumPy has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.function import Function
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class GetItem(Function):
    """y = x[index] with numbers, slices, None and ...: a view. Everything else of x has gradient 0."""

    def __init__(self, index: Any):
        self.index = index

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = x.shape
        return x[self.index]

    def backward(self, graph: Graph, dy: Array) -> Array:
        dx = graph.backend.zeros(self.saved, dy.dtype)
        dx[self.index] = dy
        return dx


class Gather(Function):
    """y = x[index] with arrays in the index. What was taken several times adds up its gradients.

    The index stands on the host, where it is checked (a device would wrap it silently). Raises IndexError.
    """

    def __init__(self, index: tuple[Any, ...]):
        self.index = index

    def forward(self, graph: Graph, x: Array) -> Array:
        np.broadcast_to(np.int8(0), x.shape)[self.index]
        asarray = graph.backend.asarray
        self.saved = x.shape
        return x[tuple(asarray(i, i.dtype) if isinstance(i, np.ndarray) else i for i in without_masks(self.index))]

    def backward(self, graph: Graph, dy: Array) -> Array:
        shape = self.saved
        dx = graph.backend.zeros(shape, dy.dtype)
        scatter(graph, dx.reshape(-1), flat_positions(shape, self.index), dy.reshape(-1))
        return dx


def without_masks(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays of booleans as arrays of integers: a device would have to count the mask."""
    parts: list[Any] = []
    for i in index:
        parts += np.nonzero(i) if isinstance(i, np.ndarray) and i.dtype == bool else (i,)
    return tuple(parts)


def flat_positions(shape: Shape, index: tuple[Any, ...]) -> np.ndarray:
    """Where in the flattened x each number of x[index] lies: the index applied to each axis's share of the place."""
    result = np.zeros((), np.int64)
    step = 1
    for axis in reversed(range(len(shape))):
        share = step * np.arange(shape[axis]).reshape(-1, *[1] * (len(shape) - axis - 1))
        result = result + np.broadcast_to(share, shape)[index]
        step *= shape[axis]
    return np.asarray(result).reshape(-1)


def scatter(graph: Graph, dx: Array, positions: np.ndarray, dy: Array) -> None:
    """dx[p] = the sum of dy over all places with position p, for 1-D arrays.

    Equal positions are sorted together and summed as a tree, in an order that the positions alone decide: the same
    bytes on every backend, where atomic additions would give others in every run.
    """
    order = np.argsort(positions, kind="stable")
    positions = positions[order]
    here = np.arange(len(positions))
    first = np.flatnonzero(np.diff(positions, prepend=-1))
    counts = np.diff(first, append=len(positions))
    rank = here - np.repeat(first, counts)
    left = np.repeat(counts, counts) - rank

    def move(i: np.ndarray) -> Array:
        return graph.backend.asarray(i, i.dtype)

    dy = dy[move(order)]
    step, longest = 1, counts.max(initial=0)
    while step < longest:
        to = here[(rank % (2 * step) == 0) & (left > step)]
        dy[move(to)] += dy[move(to + step)]
        step *= 2
    dx[move(positions[first])] = dy[move(first)]


def getitem(x: Any, index: Any) -> Tensor:
    """x[index]; lists and tensors in the index count as arrays. Raises IndexError."""
    parts = index if isinstance(index, tuple) else (index,)
    if all(i is None or i is Ellipsis or type(i) in (int, slice) for i in parts):
        return GetItem(index)(x)
    return Gather(tuple(host_index(x.graph, i) for i in parts))(x)


def host_index(graph: Graph, i: Any) -> Any:
    """One part of an index: arrays, lists and tensors as NumPy arrays of integers or booleans."""
    if i is None or i is Ellipsis or isinstance(i, slice):
        return i
    array = np.asarray(graph.backend.to_numpy(i.data if hasattr(i, "requires_grad") else i))
    if array.size == 0 and array.dtype.kind == "f":  # an empty list
        array = array.astype(np.int64)
    if array.dtype.kind not in "iub" or (array.dtype == bool and not array.ndim):
        raise IndexError(
            f"a tensor is indexed by integers, slices, None, ... and arrays of integers or booleans, "
            f"got {type(i).__name__} of {array.dtype}: convert it, for example with astype('int64')"
        )
    return array
