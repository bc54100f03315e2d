"""Which rows an epoch has, and in which order: shuffles, parts and picks, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.data.mapping import STREAM
from tinynn.random import Generator, substream


@dataclass(frozen=True)
class Shuffle:
    """All rows in a random order, another one in every epoch."""

    seed: int
    path: str

    def __call__(self, order: np.ndarray, number: int) -> np.ndarray:
        generator = Generator((self.seed, STREAM), substream(self.path), number)
        return np.asarray(order[generator.permutation(len(order))])

    def size(self, count: int) -> int:
        return count


@dataclass(frozen=True)
class Part:
    """The rows from `start` on, and before `stop` where there is one."""

    start: int
    stop: int | None

    def __call__(self, order: np.ndarray, number: int) -> np.ndarray:
        return order[self.start : self.stop]

    def size(self, count: int) -> int:
        return len(range(count)[self.start : self.stop])


@dataclass(frozen=True, eq=False)
class Pick:
    """These rows."""

    rows: np.ndarray

    def __call__(self, order: np.ndarray, number: int) -> np.ndarray:
        return np.asarray(order[self.rows])

    def size(self, count: int) -> int:
        return len(self.rows)


Order = Shuffle | Part | Pick


def rows_of_epoch(count: int, orders: tuple[Order, ...], number: int) -> np.ndarray | None:
    """The rows of this epoch, in order; None for all as they lie."""
    if not orders:
        return None
    order = np.arange(count)
    for step in orders:
        order = step(order, number)
    return order


def count_of_epoch(count: int, orders: tuple[Order, ...]) -> int:
    for step in orders:
        count = step.size(count)
    return count


def parts(count: int, fractions: Any, labels: np.ndarray | None, seed: int) -> list[np.ndarray]:
    """Rows 0 .. count-1 cut into random parts of these sizes, each in the order of the rows.

    With labels every part has its share of every class, to within one row, and its share of the whole.
    """
    shares = checked_fractions(fractions)
    random = Generator((seed, STREAM), substream("split")).permutation(count)
    if labels is not None:
        random = random[np.argsort(labels[random], kind="stable")]  # class by class
        ends = np.flatnonzero(np.diff(labels[random])) + 1
    else:
        ends = np.empty(0, np.intp)
    bounds = np.concatenate(([0], ends, [count])).astype(np.intp)
    result: list[list[np.ndarray]] = [[] for _ in shares]
    # Cuts are rounded from the whole so far: so the parts of all classes together have the right sizes too.
    limits = np.rint(np.outer(np.cumsum([0.0, *shares]), bounds)).astype(np.intp)
    within = np.diff(limits, axis=1)
    within[-1] = np.diff(bounds)
    for k in range(len(bounds) - 1):
        rows = random[bounds[k] : bounds[k + 1]]
        for i in range(len(shares)):
            result[i].append(rows[within[i, k] : within[i + 1, k]])
    chosen = [np.sort(np.concatenate(rows)) for rows in result]
    for share, rows in zip(shares, chosen, strict=True):
        if not len(rows):
            raise ValueError(f"{count} rows are too few: the part of {share:g} would be empty")
    return chosen


def checked_fractions(fractions: Any) -> list[float]:
    """Shares that make one; a single number means this share and the rest."""
    shares = [float(f) for f in (fractions if np.ndim(fractions) else (fractions, 1 - fractions))]
    if len(shares) < 2 or not all(0 < f < 1 for f in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"fractions are shares that make 1, such as (0.8, 0.1, 0.1), or one of them; got {fractions}")
    return shares


def classes_of(y: Any) -> np.ndarray | None:
    """The class of each row, where y is labels (whole numbers, or one-hot rows); None where it is not."""
    if not isinstance(y, np.ndarray) or not len(y) or y.ndim > 2:
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        hot = ((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all()
        return np.argmax(y, axis=1) if hot else None
    return y.reshape(-1) if y.dtype.kind in "iub" else None
