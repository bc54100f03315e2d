"""Softmax and the cross-entropies of logits: rows x (N, C), labels (N,), one loss per row (N,).

A block of threads has a row: its maximum, the sum of exp(x - max), and then its elements, so a row is read two or three
times, from the cache but for the first. Sums are added in an order that follows from C alone.
"""

from __future__ import annotations

from tinynn.backends.gpu.cuda import Source, contiguous, power_of_two
from tinynn.typing import Array

SOURCE = Source("softmax")
MOST_ROWS = 65536
"""Blocks of a launch; with more rows a block has several."""


def by_rows(kernel: str, first: Array, *arrays: Array, shape: tuple[int, int]) -> None:
    """Launch a kernel that has a block for each row."""
    N, C = shape
    if N * C:
        SOURCE.launch(kernel, min(N, MOST_ROWS), power_of_two(C, 32, 512), first, *map(contiguous, arrays), N, C)


def forward(y: Array, x: Array) -> None:
    """y = exp(x - max) / sum exp(x - max)"""
    by_rows("softmax_forward", y, x, shape=x.shape)


def backward(dx: Array, dy: Array, y: Array) -> None:
    """dx = y (dy - sum(dy y))"""
    by_rows("softmax_backward", dx, dy, y, shape=y.shape)


def cross_entropy(rows: Array, p: Array, x: Array, target: Array) -> None:
    """rows = -sum_c target log softmax(x)"""
    by_rows("cross_entropy", rows, p, x, target, shape=x.shape)


def cross_entropy_backward(dx: Array, drows: Array, p: Array, target: Array) -> None:
    """dx = drows (p sum(target) - target)"""
    by_rows("cross_entropy_backward", dx, drows, p, target, shape=p.shape)


def sparse_cross_entropy(rows: Array, p: Array, x: Array, labels: Array) -> None:
    """rows = -log softmax(x)[label], and 0 for a negative label"""
    by_rows("sparse_cross_entropy", rows, p, x, labels.astype("int64", copy=False), shape=x.shape)


def sparse_cross_entropy_backward(dx: Array, drows: Array, p: Array, labels: Array) -> None:
    """dx = drows (p - onehot(label)), and 0 for a negative label"""
    labels = contiguous(labels.astype("int64", copy=False))
    SOURCE.each(
        "sparse_cross_entropy_backward", p.size, dx, contiguous(drows), contiguous(p), labels, p.shape[1]
    )  # fmt: skip


def binary_cross_entropy(loss: Array, x: Array, target: Array) -> None:
    """loss = max(x, 0) - x target + log(1 + exp(-|x|))"""
    SOURCE.each("binary_cross_entropy", x.size, loss, contiguous(x), contiguous(target))


def binary_cross_entropy_backward(dx: Array, dloss: Array, x: Array, target: Array) -> None:
    """dx = dloss (sigmoid(x) - target), the sigmoid as z / (1 + z) or 1 / (1 + z) with z = exp(-|x|) <= 1"""
    SOURCE.each("binary_cross_entropy_backward", x.size, dx, contiguous(dloss), contiguous(x), contiguous(target))
