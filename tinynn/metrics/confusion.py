"""Metrics that count agreements: precision, recall, F1, AUC, mean IoU and the confusion matrix itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.config import positive_integer
from tinynn.errors import unknown
from tinynn.metrics.base import Metric, array_of, one_hot_rows, ratio, same_rows, weights_like
from tinynn.typing import Array, ArrayLike


class Counts(Metric):
    """A metric whose state is sums: named arrays, or None before the first batch."""

    sums: Any

    def reset_state(self) -> None:
        self.sums = None

    def accumulate(self, batch: Array) -> None:
        """Add this batch's sums, in float64."""
        if self.sums is None:
            self.sums = batch.astype(np.float64)
        else:
            self.sums += batch

    def read(self) -> np.ndarray:
        """The sums on the host."""
        return np.array(self.sums.tolist())


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


class AUC(Counts):
    """The area under the ROC curve (or precision over recall), by thresholds that lie evenly between 0 and 1.

    num_thresholds:   how many points of the curve; the first lies below 0, the last above 1
    curve:            "ROC" or "PR"
    summation_method: "interpolation" (trapezoids; for "PR" the interpolation of Davis & Goadrich 2006), "minoring" or
                      "majoring" (the lower or the higher of two neighbours)
    """

    default_name = "auc"
    methods = ("interpolation", "minoring", "majoring")

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: Any = None,
    ):
        super().__init__(name, dtype)
        if positive_integer(num_thresholds, "num_thresholds", "AUC") < 2:
            raise ValueError(f"AUC expects num_thresholds >= 2, got {num_thresholds}")
        if curve not in ("ROC", "PR"):
            raise unknown("curve", curve, ["ROC", "PR"])
        if summation_method not in self.methods:
            raise unknown("summation method", summation_method, self.methods)
        self.num_thresholds = num_thresholds
        self.curve = curve
        self.summation_method = summation_method

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        """A histogram of how many thresholds lie below each prediction, for positive and negative labels."""
        x = array_of(y_pred)
        t = (one_hot_rows(array_of(y_true), x, self.name) > 0.5).astype(np.float64)
        last = self.num_thresholds - 1
        below = 1 + np.clip(np.ceil(x.astype(np.float64) * last) - 1, 0, last - 1).astype(np.int64)
        w = t * 0 + (1.0 if sample_weight is None else weights_like(sample_weight, t, self.name))
        bins = [np.bincount(below.ravel(), (w * part).ravel(), self.num_thresholds + 1) for part in (t, 1 - t)]
        self.accumulate(np.stack(bins))

    def result(self) -> Any:
        if self.sums is None:
            return 0.0
        # Positive at threshold i are those with more than i thresholds below them.
        positive = np.cumsum(self.read()[:, ::-1], axis=1)[:, ::-1]
        (tp, fp), (p, n) = positive[:, 1:], positive[:, :1]
        recall = ratio(tp, np.broadcast_to(p, tp.shape))
        if self.curve == "PR" and self.summation_method == "interpolation":
            return self.interpolated(tp, fp, float(p[0]))
        x, y = (recall, ratio(tp, tp + fp)) if self.curve == "PR" else (ratio(fp, np.broadcast_to(n, fp.shape)), recall)
        combine = {"minoring": np.minimum, "majoring": np.maximum}.get(self.summation_method)
        heights = (y[:-1] + y[1:]) / 2 if combine is None else combine(y[:-1], y[1:])
        return float(np.sum((x[:-1] - x[1:]) * heights))

    @staticmethod
    def interpolated(tp: np.ndarray, fp: np.ndarray, positives: float) -> float:
        """Between two points true positives grow linearly with all that are called positive (Davis & Goadrich 2006)."""
        called = tp + fp
        dtp, dcalled = tp[:-1] - tp[1:], called[:-1] - called[1:]
        slope = ratio(dtp, np.maximum(dcalled, 0))
        intercept = tp[1:] - slope * called[1:]
        both = (called[:-1] > 0) & (called[1:] > 0)
        growth = np.where(both, ratio(called[:-1], np.maximum(called[1:], 0)), 1.0)
        return float(np.sum(ratio(slope * (dtp + intercept * np.log(growth)), np.full(len(dtp), positives))))


class ConfusionMatrix(Counts):
    """How often class i was taken for class j: (num_classes, num_classes), rows are the true classes.

    y_true: class numbers or one-hot rows; y_pred: class numbers, or one output per class
    """

    default_name = "confusion_matrix"

    def __init__(self, num_classes: int, name: str | None = None, dtype: Any = None):
        super().__init__(name, dtype)
        self.num_classes = positive_integer(num_classes, "num_classes", type(self).__name__)

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        n = self.num_classes
        t, x = array_of(y_true), array_of(y_pred)
        same_rows(t, x, self.name)
        t, p = self.classes(t), self.classes(x)
        if t.shape != p.shape:
            raise ValueError(f"{self.name} got {tuple(t.shape)} true classes for {tuple(p.shape)} predicted ones")
        good = (t >= 0) & (t < n) & (p >= 0) & (p < n)
        cells = np.where(good, t * n + p, n * n).astype(np.int64)
        w = None
        if sample_weight is not None:
            w = (cells * 0 + weights_like(sample_weight, cells, self.name)).ravel()
        self.accumulate(np.bincount(cells.ravel(), w, n * n + 1))

    def classes(self, array: Array) -> Array:
        """Class numbers of class numbers, one-hot rows or outputs per class."""
        if array.ndim > 1 and array.shape[-1] == 1:
            return array.reshape(array.shape[:-1])
        if array.ndim > 1 and array.shape[-1] == self.num_classes and array.dtype.kind == "f":
            return array.argmax(axis=-1)
        return array

    def matrix(self) -> np.ndarray:
        """The counts; ValueError where a class was out of range."""
        n = self.num_classes
        sums = np.zeros(n * n + 1) if self.sums is None else self.read()
        if sums[-1]:
            raise ValueError(f"{self.name} expects classes from 0 to {n - 1}; {sums[-1]:g} rows had others")
        return sums[:-1].reshape(n, n)

    def result(self) -> Any:
        return self.matrix()


class MeanIoU(ConfusionMatrix):
    """The mean of  true positives / (true + false positives + false negatives)  over the classes that occur."""

    default_name = "mean_io_u"

    def result(self) -> Any:
        matrix = self.matrix()
        tp = np.diag(matrix)
        union = matrix.sum(axis=0) + matrix.sum(axis=1) - tp
        return ratio(float(ratio(tp, union).sum()), float(np.count_nonzero(union)))


def confusion_matrix(y_true: ArrayLike, y_pred: ArrayLike, num_classes: int | None = None) -> np.ndarray:
    """How often class i was taken for class j, as integers (C, C); rows are the true classes.

    y_true: class numbers or one-hot rows; y_pred: class numbers, or one output per class. ValueError for classes
    outside [0, num_classes).
    """
    t, x = array_of(y_true), array_of(y_pred)
    if num_classes is None:
        widths = [a.shape[-1] for a in (t, x) if a.ndim > 1 and a.shape[-1] > 1]
        num_classes = widths[0] if widths else int(max(t.max(initial=0), x.max(initial=0))) + 1
    t, x = (a.argmax(axis=-1) if a.ndim > 1 and a.shape[-1] > 1 else a for a in (t, x))
    metric = ConfusionMatrix(num_classes)
    metric.update_state(t, x)
    return np.asarray(metric.result()).astype(np.int64)
