"""Sums over rows: of gradients, for those of biases, and of the parts that kernels leave of a sum."""

from __future__ import annotations

from functools import lru_cache

from tinynn.activation import Activation
from tinynn.backends.gpu import activation as activations
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.channels import MOST_BLOCKS, THREADS, WIDTH, Cut, cut, pack_of
from tinynn.backends.gpu.cuda import Source, aligned, ceil_div, power_of_two
from tinynn.typing import Array

LINEAR = Activation.LINEAR
FUSED = (LINEAR, Activation.RELU, Activation.LEAKY_RELU, Activation.TANH, Activation.SIGMOID)
"""What layers fuse; other derivatives are a launch of their own."""
SOURCE = Source("columns", "activations", "packs", "channels")
LEAST, FEW = 16, 32
"""Numbers that a thread adds up in a run, at least; and those up to which there is one run, and no second launch."""
MOST_RUNS = 512
"""More would only make the second launch longer."""


def column_sums(sums: Array, x: Array, y: Array | None = None, activation: Activation = LINEAR) -> None:
    """sums (C,) = those of x (..., C) over all other axes; before, with y (..., C), x = x activation'(y) in place.

    x is contiguous, and with y it is ``cuda.aligned``. The rows are cut into runs, whose sums a second launch adds up;
    where rows are few there is one run. All that follows from the shape, and so do the bytes.
    """
    if not x.size:
        sums.fill(0)
        return
    C = x.shape[-1]
    M = x.size // C
    if activation not in FUSED:
        activations.backward(x, x, None, y, activation)
        activation = LINEAR
    if y is None or activation is LINEAR:
        x, y = aligned(x), None
    else:
        y = aligned(y)
    grid, width, rows = runs_of(M, C, x.itemsize)
    runs = grid[1]
    parts = sums if runs == 1 else cuda.cupy.empty((runs, C), x.dtype)
    kind, alpha = NUMBER[activation], alpha_of(activation)
    SOURCE.launch("column_sums", grid, THREADS, parts, x, y, kind, alpha, width, rows, M, C)
    if runs > 1:
        grid, width, rows = one_run(runs, C, x.itemsize)
        SOURCE.launch("column_sums", grid, THREADS, sums, parts, None, NUMBER[LINEAR], 0.0, width, rows, runs, C)


def runs_of(M: int, C: int, itemsize: int) -> Cut:
    if M * power_of_two(C, 1, WIDTH) <= FEW * THREADS:
        return one_run(M, C, itemsize)
    return cut(M, C, itemsize, LEAST // pack_of(C, itemsize), MOST_BLOCKS, MOST_RUNS)


@lru_cache(4096)
def one_run(M: int, C: int, itemsize: int) -> Cut:
    """With tiles as wide as leave no thread without a row."""
    widest = THREADS * pack_of(C, itemsize)
    return cut(M, C, itemsize, runs=1, widest=power_of_two(ceil_div(widest, M), WIDTH, widest))
