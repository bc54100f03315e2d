"""Metrics of what was called positive: precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.config import positive_integer
from tinynn.errors import unknown
from tinynn.metrics.base import Counts, array_of, one_hot_rows, ratio, weights_like
from tinynn.typing import Array, ArrayLike


class Agreement(Counts):
    """True positives, false positives and false negatives of y_pred > threshold.

    thresholds: one number or several in [0, 1], 0.5 where None; several give an array of results
    top_k:      instead of a threshold, the k largest outputs of each row are the positive ones
    class_id:   count only this class (column)
    Class numbers as y_true become one-hot rows.
    """

    def __init__(
        self,
        thresholds: float | Sequence[float] | None = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        label = type(self).__name__
        several = isinstance(thresholds, (list, tuple))
        self.levels = [0.5 if v is None else v for v in (thresholds if several else [thresholds])]  # type: ignore
        if not self.levels or not all(isinstance(v, (int, float)) and 0 <= v <= 1 for v in self.levels):
            raise ValueError(f"{label} expects thresholds from 0 to 1, got {thresholds!r}")
        self.thresholds = thresholds
        self.top_k = None if top_k is None else positive_integer(top_k, "top_k", label)
        self.class_id = class_id

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        x = array_of(y_pred)
        t = one_hot_rows(array_of(y_true), x, self.name) > 0.5
        guesses = [top(x, self.top_k)] if self.top_k else [x > level for level in self.levels]
        if self.class_id is not None:
            if not 0 <= self.class_id < (x.shape[-1] if x.ndim > 1 else 1):
                raise ValueError(f"{self.name} with class_id={self.class_id} got outputs of shape {tuple(x.shape)}")
            t, guesses = t[..., self.class_id], [p[..., self.class_id] for p in guesses]
        w = 1.0 if sample_weight is None else weights_like(sample_weight, t, self.name)
        columns = [np.sum(part * w, dtype=np.float64) for p in guesses for part in (p & t, p & ~t, ~p & t)]
        self.accumulate(np.stack(columns).reshape(len(guesses), 3))

    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """True positives, false positives, false negatives, one of each per threshold."""
        sums = np.zeros((1 if self.top_k else len(self.levels), 3)) if self.sums is None else self.read()
        return sums[:, 0], sums[:, 1], sums[:, 2]

    def shown(self, values: np.ndarray) -> Any:
        return values if isinstance(self.thresholds, (list, tuple)) else float(values[0])


class Precision(Agreement):
    """true positives / all that were called positive"""

    default_name = "precision"

    def result(self) -> Any:
        tp, fp, _ = self.counts()
        return self.shown(ratio(tp, tp + fp))


class Recall(Agreement):
    """true positives / all that are positive"""

    default_name = "recall"

    def result(self) -> Any:
        tp, _, fn = self.counts()
        return self.shown(ratio(tp, tp + fn))


def top(x: Array, k: int) -> Array:
    """Whether an output is among the k largest of its row; of equal ones the first."""
    order = np.argsort(-x, axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable") < k


class F1Score(Counts):
    """2 precision recall / (precision + recall) of each class, y_true one-hot rows (N, C) or class numbers.

    average:   None (one value per class), "micro", "macro" or "weighted" (by how often a class occurs)
    threshold: an output above it is positive; None: the largest of each row is
    """

    default_name = "f1_score"
    averages = (None, "micro", "macro", "weighted")

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        if average not in self.averages:
            raise unknown("average", average, [a for a in self.averages if a])
        if threshold is not None and (not isinstance(threshold, (int, float)) or not 0 < threshold <= 1):
            raise ValueError(f"F1Score expects a threshold from 0 to 1, got {threshold!r}")
        self.average = average
        self.threshold = threshold

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        x = array_of(y_pred)
        t = one_hot_rows(array_of(y_true), x, self.name) > 0.5
        if x.ndim == 1:
            t, x = t[:, None], x[:, None]
        if self.threshold is None:
            numbers = np.cumsum(np.ones_like(x, shape=x.shape[-1:], dtype=np.int64)) - 1
            p = x.argmax(axis=-1)[..., None] == numbers
        else:
            p = x > self.threshold
        w = 1.0 if sample_weight is None else weights_like(sample_weight, t, self.name)
        rows = tuple(range(t.ndim - 1))
        self.accumulate(np.stack([np.sum(part * w, axis=rows) for part in (p & t, p & ~t, ~p & t)]))

    def result(self) -> Any:
        if self.sums is None:
            return 0.0
        tp, fp, fn = self.read()
        if self.average == "micro":
            tp, fp, fn = (v.sum(keepdims=True) for v in (tp, fp, fn))
        f1 = ratio(2 * tp, 2 * tp + fp + fn)
        if self.average is None:
            return f1
        weights = tp + fn if self.average == "weighted" else np.ones_like(f1)
        return ratio(float((f1 * weights).sum()), float(weights.sum()))
