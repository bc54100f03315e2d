"""Merges: y = max(a + b, 0), the end of a residual block; one launch forward, one for both gradients."""

from __future__ import annotations

from tinynn.backends.gpu.cuda import Source, contiguous
from tinynn.typing import Array

SOURCE = Source("merge", "activations", "packs")


def relu_sum(y: Array, a: Array, b: Array) -> None:
    """y = max(a + b, 0); NaN stays"""
    SOURCE.by_fours("relu_sum", y.size, y, contiguous(a), contiguous(b))


def relu_sum_backward(da: Array | None, db: Array | None, dy: Array, y: Array) -> None:
    """da = db = dy where y > 0, else 0. da may be dy."""
    if da is None:
        da, db = db, None
    if da is not None:
        SOURCE.by_fours("relu_sum_backward", y.size, da, db, contiguous(dy), contiguous(y))
