"""Embedding: ids that occur often, once and never; one row, wide and narrow tables, ids with several axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cases import Case
from tinynn.layers.embedding import Lookup


def added_up(ids: np.ndarray, rows: int) -> Any:
    """The gradient as a product with one-hot rows."""
    one_hot = np.eye(rows)[ids.reshape(-1)]
    return lambda dy, W: (one_hot.T @ dy.reshape(-1, dy.shape[-1]),)


def lookup(name: str, table: tuple[int, int], ids: np.ndarray) -> Case:
    ids = np.asarray(ids, np.int32)
    return Case(
        f"lookup_{name}",
        lambda backend: Lookup(backend.asarray(ids, np.int32)),
        (table,),
        expected=added_up(ids, table[0]),
        on_backend=True,
        reduction=max(np.bincount(ids.reshape(-1), minlength=1)),
    )


def drawn(shape: tuple[int, ...], rows: int, power: float = 1.0) -> np.ndarray:
    """Ids of which small ones are frequent, for powers above 1."""
    return (rows * np.random.default_rng(7).random(shape) ** power).astype(np.int32)


CASES = [
    lookup("", (7, 5), drawn((3, 4), 7)),
    lookup("one_id", (4, 3), np.array([2])),
    lookup("one_row", (1, 6), np.zeros((2, 3))),
    lookup("one_column", (9, 1), drawn((11,), 9)),
    lookup("three_axes", (6, 8), drawn((2, 3, 4), 6)),
    lookup("padding", (20, 33), drawn((4, 50), 20, 6.0)),
    lookup("wide", (12, 130), drawn((5, 9), 12)),
    lookup("several_tasks", (300, 64), drawn((70, 25), 300, 3.0)),
]
