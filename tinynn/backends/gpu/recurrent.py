"""What the recurrent rows share on the card: tiles by shape, a step's launch, and the products over all steps.

A step of all sequences is one launch (``recurrent.cuh`` says what a block does). Forward, x W of all steps is one
cuBLAS product before; backward, dW, dU, dx are products over all steps after, and db a sum in fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.columns import column_sums
from tinynn.backends.gpu.cuda import Source, argument, ceil_div, contiguous
from tinynn.typing import Array

ENOUGH = 100
"""Blocks that fill a card: a larger tile reads less, but only where there are as many of it."""


class Tile(NamedTuple):
    """What a block has: rows (sequences) and units; what its threads have: rows of four columns, and of the depth one
    of ``parts``, ``repeat`` times 16 bytes of each chunk."""

    rows: int
    units: int
    per_thread: int
    parts: int
    repeat: int

    def options(self, name: str) -> tuple[str, ...]:
        return tuple(f"-D{name}_{field.upper()}={value}" for field, value in self._asdict().items())

    def blocks(self, N: int, H: int) -> tuple[int, int]:
        return ceil_div(N, self.rows), ceil_div(H, self.units)

    def threads(self, groups: int) -> int:
        return self.rows // self.per_thread * (groups * self.units // 4) * self.parts


# small, middle, large
GATED = Tile(8, 8, 4, 16, 1), Tile(32, 8, 8, 8, 1), Tile(64, 16, 8, 2, 4)
"""A step forward with several gates of each unit."""
PLAIN = Tile(8, 16, 4, 16, 1), Tile(32, 16, 4, 8, 1), Tile(64, 32, 8, 4, 2)
"""With one column for each unit, and a depth of H."""
DEEP = Tile(8, 16, 4, 32, 1), Tile(16, 32, 4, 8, 2), Tile(32, 32, 8, 8, 2)
"""With one column for each unit, and a depth of several H: back through U' (and the second half of a step of the GRU
that is not ``reset_after``)."""


HEADERS = "activations", "packs", "tensorcores", "recurrent"


class Sized(NamedTuple):
    """A row's source, compiled for a forward and a backward tile."""

    source: Source
    forward: Tile
    backward: Tile


def sized(name: str, forward: tuple[Tile, ...], backward: tuple[Tile, ...]) -> list[Sized]:
    """The sources of a row, one for each size of tiles."""
    return [
        Sized(Source(name, *HEADERS, options=(*f.options("FORWARD"), *b.options("BACKWARD"))), f, b)
        for f, b in zip(forward, backward, strict=True)
    ]


def launcher(
    sizes: list[Sized], direction: str, kernel: str, groups: int, N: int, H: int, *args: Any
) -> Callable[[int], None]:
    """A function that launches the kernel for a step t, its last argument; the others are prepared once.

    direction: ``forward`` or ``backward``, whose tile the kernel has; the largest one of which there are enough blocks
    """
    for size in reversed(sizes):
        tile: Tile = getattr(size, direction)
        blocks = tile.blocks(N, H)
        if blocks[0] * blocks[1] >= ENOUGH:
            break
    function = size.source.function(kernel, args[0].dtype.char)
    values, threads = tuple(map(argument, args)), (tile.threads(groups),)
    return lambda t: function(blocks, threads, (*values, t))


def numbers(*kinds: Activation) -> list[Any]:
    """What a kernel is told of activations: the number and the constant of each."""
    return [value for kind in kinds for value in (NUMBER[kind], alpha_of(kind))]


def projected(z: Array, x: Array, W: Array) -> None:
    """z = x W of all steps; the bias is added where the gates are made."""
    matmul(flat(contiguous(x)), contiguous(W), out=flat(z))


def first_states(h: Array, h0: Array | None, r: Array | None) -> tuple[Array, Array | None]:
    """The state before the first step, zeros if not given; with r, room for two steps' products r h, the first made."""
    N, H = h.shape[0], h.shape[2]
    h0 = cuda.cupy.zeros((N, H), h.dtype) if h0 is None else contiguous(h0)
    if r is None:
        return h0, None
    fed = cuda.cupy.empty((2, N, H), h.dtype)
    cuda.cupy.multiply(h0, r, out=fed[0])
    return h0, fed


def back(T: int, backwards: bool, beyond: bool) -> Iterable[int]:
    """The steps from the last one to the first, and then the place behind it, where only h0's gradient is made."""
    return range(T + beyond) if backwards else range(T - 1, -1 - beyond, -1)


def input_gradients(
    dx: Array | None, dW: Array | None, db: Array | None, dz: Array, x: Array, W: Array, mask: Array | None
) -> None:
    """dx = dz W', dW = x' dz, db = sum dz, over all steps; dz (N, T, G). x counts where the mask says so."""
    rows = flat(dz)
    if dx is not None:
        matmul(rows, contiguous(W).T, out=flat(dx))
    if dW is not None:
        x = contiguous(x) if mask is None else cuda.cupy.where(mask[:, :, None], x, 0)  # there may be NaN
        matmul(flat(x).T, rows, out=dW)
    if db is not None:
        column_sums(db, rows)


def states_into_U(h: Array, h0: Array | None, r: Array | None, backwards: bool, source: Source) -> Array:
    """r h_{t-1} of each step, (N T, H)."""
    result = cuda.cupy.empty(h.shape, h.dtype)
    source.each("states_into_U", h.size, result, h, h0, r, *h.shape[1:], backwards)
    return flat(result)


def flat(x: Array) -> Array:
    """(N, T, K) as (N T, K)"""
    return x.reshape(-1, x.shape[-1])
