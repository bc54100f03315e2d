"""The confusion matrix, and the mean intersection over union."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.config import positive_integer
from tinynn.metrics.base import Counts, array_of, ratio, same_rows, weights_like
from tinynn.typing import Array, ArrayLike


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
