"""Heads of scaled dot products: p = softmax(scale q k'), y = (keep p) v.

q (N, T, A, D), k (N, S, A, D), v (N, S, A, E), y (N, T, A, E), p (N, A, T, S).

The products are cuBLAS's, batched over N and A: of whole matrices, one after the other (blas.py). So each array is laid
out once by a kernel of ours, as rows (N, A, T, D) or as columns (N, A, D, T), and each product is written so that the
largest array, p, is never turned: dv' = dy' (keep p) and dk' = q' ds are the products, and dv and dk are turned on
their way out.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.cuda import Source, ceil_div, contiguous, given
from tinynn.typing import Array

SOURCE = Source("attention")
TILE = 32
MOST_BLOCKS = 1 << 16
"""Of a launch; with more tiles or rows a block has several."""
LONGEST_OF_WARP = 1024
"""Scores of a row that a warp keeps in registers; a block has a longer one."""


def forward(
    y: Array,
    p: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    keep: Array | None,
    scale: float,
    causal: bool,
) -> None:
    """A score that is not allowed is -inf; a row without any allowed score becomes zeros, not NaN."""
    if p.size == 0:
        y[...] = 0
        return
    (N, A, T, S), D, E = p.shape, q.shape[3], v.shape[3]
    q, k, v = map(contiguous, (q, k, v))
    q_rows, k_columns, v_rows = scratch(p, N, A, T, D), scratch(p, N, A, D, S), scratch(p, N, A, S, E)
    lay_out((q, q_rows, None), (k, None, k_columns), (v, v_rows, None))
    matmul(q_rows, k_columns, out=p)
    kept = p if keep is None else scratch(p, *p.shape)
    mask = given(mask)
    steps = (0, 0, 0, 0) if mask is None else steps_of(mask.shape)
    keep = None if keep is None else contiguous(keep.astype(p.dtype, copy=False))
    by_rows("softmax", p, kept, keep, mask, *steps, float(scale), bool(causal), A, T)
    bring_back((y, product(kept, v_rows), None))


def backward(
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
    dy: Array,
    p: Array,
    q: Array,
    k: Array,
    v: Array,
    keep: Array | None,
    scale: float,
    causal: bool,
) -> None:
    """dv = (keep p)' dy,  dp = keep (dy v'),  ds = scale p (dp - sum dp p),  dq = ds k,  dk = ds' q; ds is in p."""
    if p.size == 0:
        for d in (dq, dk, dv):
            if d is not None:
                d[...] = 0
        return
    (N, A, T, S), D, E = p.shape, q.shape[3], v.shape[3]
    of_scores = dq is not None or dk is not None
    dy_rows, v_columns = (scratch(p, N, A, T, E), scratch(p, N, A, E, S)) if of_scores else (None, None)
    dy_columns = None if dv is None else scratch(p, N, A, E, T)
    k_rows = None if dq is None else scratch(p, N, A, S, D)
    q_columns = None if dk is None else scratch(p, N, A, D, T)
    dy, q, k, v = map(contiguous, (dy, q, k, v))
    lay_out((dy, dy_rows, dy_columns), (v, None, v_columns), (k, k_rows, None), (q, None, q_columns))
    keep = None if keep is None else contiguous(keep.astype(p.dtype, copy=False))
    dp = product(dy_rows, v_columns) if of_scores else None
    dv_columns = product(dy_columns, p) if dv is not None and keep is None else None  # before p is lost
    if of_scores:
        by_rows("gradient", p, dp, keep, float(scale))
    if dv is not None and keep is not None:
        dv_columns = product(dy_columns, dp if of_scores else p * keep)  # where dp was there is p keep now
    dq_rows = None if dq is None else product(p, k_rows)
    dk_columns = None if dk is None else product(q_columns, p)
    bring_back((dq, dq_rows, None), (dk, None, dk_columns), (dv, None, dv_columns))


def by_rows(kernel: str, p: Array, *args: Any) -> None:
    """Launch a kernel that has a warp or a block for each row of scores."""
    S = p.shape[3]
    rows = p.size // S
    if S <= LONGEST_OF_WARP:
        SOURCE.launch(f"{kernel}_by_warps", min(ceil_div(rows, 4), MOST_BLOCKS), 128, p, *args, S, rows)
    else:
        SOURCE.launch(f"{kernel}_by_blocks", min(rows, MOST_BLOCKS), 512, p, *args, S, rows)


def steps_of(shape: tuple[int, ...]) -> list[int]:
    """The distances of neighbours along each axis of a contiguous array that is broadcast: 0 where an axis has one."""
    return [0 if n == 1 else math.prod(shape[i + 1 :]) for i, n in enumerate(shape)]


# -- the layout of the products --------------------------------------------------------------------------------------

Job = tuple[Any, Any, Any]
"""An array (N, L, A, W) as the layers have it, its rows (N, A, L, W), its columns (N, A, W, L)."""


def scratch(like: Array, *shape: int) -> Array:
    return cuda.cupy.empty(shape, like.dtype)


def product(a: Array, b: Array) -> Array:
    """a b, for all N and A"""
    return matmul(a, b, out=scratch(a, *a.shape[:3], b.shape[3]))


def lay_out(*jobs: Job) -> None:
    """Write the rows and columns that are there."""
    move(False, [job for job in jobs if job[1] is not None or job[2] is not None])


def bring_back(*jobs: Job) -> None:
    """Write the arrays that are there from their rows or columns."""
    move(True, [job for job in jobs if job[0] is not None])


def move(back: bool, jobs: list[Job]) -> None:
    """Up to four arrays in one launch."""
    jobs = [job for job in jobs if job[0].size]
    if not jobs:
        return
    N, _, A, _ = jobs[0][0].shape
    args: list[Any] = []
    tiles = 0
    for array, rows, columns in jobs:
        L, W = array.shape[1], array.shape[3]
        tiles = max(tiles, N * A * ceil_div(L, TILE) * ceil_div(W, TILE))
        args += (array, rows, columns, L, W)
    args += (None, None, None, 0, 0) * (4 - len(jobs))
    SOURCE.launch("move_heads", (min(tiles, MOST_BLOCKS), len(jobs)), 256, *args, N, A, back)
