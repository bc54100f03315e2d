"""Accuracies: the share of rows (or outputs) that are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.config import positive_integer
from tinynn.metrics.base import MeanMetric, array_of, label_rows, same_rows, same_shape, weights_like
from tinynn.typing import Array, ArrayLike


class Accuracy(MeanMetric):
    """How often y_true == y_pred."""

    default_name = "accuracy"

    def values(self, t: Array, x: Array) -> Array:
        return same_shape(t, x, self.name) == x


class BinaryAccuracy(MeanMetric):
    """How often (y_pred > threshold) agrees with the label; labels are 0/1, or -1/+1 behind a hinge."""

    default_name = "binary_accuracy"

    def __init__(self, name: str | None = None, dtype: Any = None, threshold: float = 0.5):
        super().__init__(name, dtype)
        self.threshold = threshold

    def values(self, t: Array, x: Array) -> Array:
        return (x > self.threshold) == (same_shape(t, x, self.name) > 0.5)


class CategoricalAccuracy(MeanMetric):
    """How often the largest output is that of the label: one-hot rows (or, by their shape, class numbers)."""

    default_name = "categorical_accuracy"

    def values(self, t: Array, x: Array) -> Array:
        if t.shape == x.shape:
            return t.argmax(axis=-1) == x.argmax(axis=-1)
        if t.ndim == x.ndim and t.shape[-1] > 1:
            same_shape(t, x, self.name)
        return label_rows(t, x, self.name) == x.argmax(axis=-1)


class SparseCategoricalAccuracy(MeanMetric):
    """How often the largest output is that of the label; class numbers (N,) for outputs (N, C).

    ignore_class: rows of this label do not count (not in Keras)
    """

    default_name = "sparse_categorical_accuracy"

    def __init__(self, name: str | None = None, dtype: Any = None, ignore_class: int | None = None):
        super().__init__(name, dtype)
        self.ignore_class = ignore_class

    def values(self, t: Array, x: Array) -> Array:
        return label_rows(t, x, self.name) == x.argmax(axis=-1)

    def update_state(self, y_true: ArrayLike, y_pred: ArrayLike, sample_weight: ArrayLike | None = None) -> None:
        t, x = array_of(y_true), array_of(y_pred)
        values = self.values(t, x)
        if self.ignore_class is not None:
            kept = label_rows(t, x, self.name) != self.ignore_class
            w = 1.0 if sample_weight is None else weights_like(sample_weight, kept, self.name)
            sample_weight = kept * w
        self.add(values, sample_weight)


class SparseTopKCategoricalAccuracy(MeanMetric):
    """How often fewer than k outputs are larger than that of the label; class numbers (N,) for outputs (N, C)."""

    default_name = "sparse_top_k_categorical_accuracy"

    def __init__(self, k: int = 5, name: str | None = None, dtype: Any = None):
        super().__init__(name, dtype)
        self.k = positive_integer(k, "k", type(self).__name__)

    def values(self, t: Array, x: Array) -> Array:
        return in_top_k(label_rows(t, x, self.name), x, self.k)


class TopKCategoricalAccuracy(SparseTopKCategoricalAccuracy):
    """The same for one-hot rows (N, C)."""

    default_name = "top_k_categorical_accuracy"

    def values(self, t: Array, x: Array) -> Array:
        same_rows(t, x, self.name)
        labels = t.argmax(axis=-1) if t.shape == x.shape else label_rows(t, x, self.name)
        return in_top_k(labels, x, self.k)


def in_top_k(labels: Array, x: Array, k: int) -> Array:
    """Whether fewer than k outputs are larger than that of the label; a label out of range is wrong.

    So is a row whose label has an output that is not finite, as in Keras.
    """
    labels = labels.astype(np.int64)
    known = (labels >= 0) & (labels < x.shape[-1])
    chosen = np.take_along_axis(x, np.where(known, labels, 0)[..., None], axis=-1)
    larger = np.sum(x > chosen, axis=-1)
    return (larger < k) & known & np.isfinite(chosen)[..., 0]
