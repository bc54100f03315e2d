"""Rows of a table: y[m] = W[ids[m]];  W (V, D), ids (M,) of integers in range, y (M, D)."""

from __future__ import annotations

import numpy as np

from tinynn.typing import Array


def forward(y: Array, W: Array, ids: Array) -> None:
    """y[m] = W[ids[m]]"""
    y[...] = np.take(W, ids, axis=0)


def backward(dW: Array, dy: Array, ids: Array) -> None:
    """dW[v] = sum of dy[m] over ids[m] == v.

    Rows that were read more than once are the problem: here one row after the other.
    """
    dW[...] = 0
    for m in range(len(ids)):
        dW[ids[m]] += dy[m]
