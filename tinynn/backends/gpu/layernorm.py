"""Layer normalization of x (M, F) over F: y = gamma (x - mean) rstd + beta; mean, rstd (M,), gamma, beta (F,) or None.

One launch forward, two backward; a row is read once, into registers. Sums are those of x - x[0] of each row, so that
float32 is enough. Source: J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.channels import THREADS, cut_for_sums, pack_of
from tinynn.backends.gpu.cuda import Source, ceil_div, contiguous, given, power_of_two
from tinynn.typing import Array

SOURCE = Source("layernorm", "activations", "packs", "channels", "moments")
WARP = 32
HELD = 4
"""Packs of a row that a thread keeps in registers."""
MOST_BLOCKS = 8192
"""Of a launch; with more rows a team of threads has several."""


def forward(
    y: Array, mean: Array, rstd: Array, x: Array, gamma: Array | None, beta: Array | None, epsilon: float
) -> None:
    """y = gamma (x - mean) rstd + beta, rstd = 1 / sqrt(variance + epsilon) with the biased variance of the row"""
    M, F = x.shape
    if not x.size:
        return
    size, threads, blocks = teams(M, F, x.itemsize)
    SOURCE.launch(
        "layernorm_forward", blocks, threads, y, mean, rstd, contiguous(x), given(gamma), given(beta), float(epsilon),
        size, M, F,
    )  # fmt: skip


def teams(M: int, F: int, itemsize: int) -> tuple[int, int, int]:
    """Threads that share a row, threads of a block, blocks: two packs a thread, and HELD in rows longer than a warp."""
    packs = F // pack_of(F, itemsize)
    if packs <= WARP * HELD:
        size, threads = power_of_two(ceil_div(packs, 2), 1, WARP), THREADS
    else:
        size = threads = power_of_two(ceil_div(packs, HELD), 2 * WARP, THREADS)
    return size, threads, min(ceil_div(M, threads // size), MOST_BLOCKS)


def backward(
    dx: Array | None,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
) -> None:
    """With g = dy gamma: dx = rstd (g - mean(g) - xhat mean(g xhat)); dgamma = sum dy xhat, dbeta = sum dy.

    dx may be dy: the sums come first.
    """
    M, F = x.shape
    if not x.size:
        for gradient in (dgamma, dbeta):
            if gradient is not None:
                gradient.fill(0)
        return
    dy, x, mean, rstd = map(contiguous, (dy, x, mean, rstd))
    tiles, runs, width, parts = 0, 0, 0, None
    if dgamma is not None or dbeta is not None:
        (tiles, runs), width, rows = cut_for_sums(M, F, x.itemsize)
        parts = cuda.cupy.empty((runs, 2, F), x.dtype)
        SOURCE.launch("layernorm_sums", (tiles, runs), THREADS, parts, dy, x, mean, rstd, width, rows, M, F)
    size, threads, blocks = teams(M, F, x.itemsize)
    if dx is None:
        blocks = 0
    if blocks + tiles:
        SOURCE.launch(
            "layernorm_backward", blocks + tiles, threads, dy, dx, dgamma, dbeta, x, mean, rstd, given(gamma), parts,
            runs, width, size, blocks, M, F,
        )  # fmt: skip
