"""Metrics, under Keras's names: classes, some functions, and ``get`` for names as texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn import losses
from tinynn.config import restore
from tinynn.errors import closest, no_attribute, unknown
from tinynn.losses import FunctionLoss, Hinge, Loss, SparseCategoricalCrossentropy
from tinynn.metrics.accuracy import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from tinynn.metrics.agreement import F1Score, Precision, Recall
from tinynn.metrics.auc import AUC
from tinynn.metrics.base import FunctionMetric, LossMetric, Mean, MeanMetric, Metric, array_of
from tinynn.metrics.confusion import ConfusionMatrix, MeanIoU, confusion_matrix
from tinynn.metrics.functions import (
    binary_crossentropy,
    categorical_crossentropy,
    cosine_similarity,
    hinge,
    kl_divergence,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
from tinynn.metrics.regression import MeanAbsoluteError, MeanSquaredError, RootMeanSquaredError
from tinynn.typing import Array, ArrayLike

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "ConfusionMatrix",
    "F1Score",
    "FunctionMetric",
    "LossMetric",
    "Mean",
    "MeanAbsoluteError",
    "MeanIoU",
    "MeanMetric",
    "MeanSquaredError",
    "Metric",
    "Precision",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "binary_accuracy",
    "binary_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "confusion_matrix",
    "cosine_similarity",
    "get",
    "hinge",
    "kl_divergence",
    "mae",
    "mape",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "mse",
    "msle",
    "poisson",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]

mse, mae = mean_squared_error, mean_absolute_error
mape, msle = mean_absolute_percentage_error, mean_squared_logarithmic_error

CLASSES: dict[str, type[Metric]] = {
    cls.__name__: cls
    for cls in (
        *(AUC, Accuracy, BinaryAccuracy, CategoricalAccuracy, ConfusionMatrix, F1Score, Mean, MeanAbsoluteError),
        *(MeanIoU, MeanSquaredError, Precision, Recall, RootMeanSquaredError, SparseCategoricalAccuracy),
        *(SparseTopKCategoricalAccuracy, TopKCategoricalAccuracy),
    )
}
NAMES: dict[str, type[Metric]] = {
    "binary_accuracy": BinaryAccuracy,
    "categorical_accuracy": CategoricalAccuracy,
    "sparse_categorical_accuracy": SparseCategoricalAccuracy,
    "top_k_categorical_accuracy": TopKCategoricalAccuracy,
    "sparse_top_k_categorical_accuracy": SparseTopKCategoricalAccuracy,
    "precision": Precision,
    "recall": Recall,
    "f1_score": F1Score,
    "auc": AUC,
    "root_mean_squared_error": RootMeanSquaredError,
    "rmse": RootMeanSquaredError,
}
WITH_CLASSES = ("ConfusionMatrix", "MeanIoU")
"""What needs the number of classes, so that a name alone does not do."""
ACCURACY = ("accuracy", "acc")
CROSSENTROPY = ("crossentropy", "ce")


def get(identifier: Any, loss: Loss | None = None, output_shape: Sequence[int] | None = None) -> Metric:
    """The metric of a name, an object, a class, {"class": ..., "config": ...}, a loss, or a callable on arrays.

    loss, output_shape: of the model; "accuracy" (or "acc") becomes the binary, categorical or sparse accuracy that
    fits them, and "crossentropy" ("ce") likewise. The metric keeps the name that the user wrote.

    >>> get("acc", losses.get("categorical_crossentropy"), (10,))
    CategoricalAccuracy(name='acc')

    ValueError for an unknown name (with the nearest one), TypeError for what cannot be a metric.
    """
    identifier = restore(identifier, dict(CLASSES), "metric")
    if isinstance(identifier, Metric):
        return identifier
    if isinstance(identifier, str):
        return named(identifier, loss, tuple(output_shape or ()))
    if isinstance(identifier, type) and issubclass(identifier, Metric):
        return identifier()
    if isinstance(identifier, Loss) or (isinstance(identifier, type) and issubclass(identifier, Loss)):
        return LossMetric(losses.get(identifier))
    if callable(identifier):
        name = getattr(identifier, "__name__", "")
        if globals().get(name) is identifier and (name in NAMES or name in losses.NAMES):
            return get(name)
        if identifier is confusion_matrix:
            raise unknown_metric(name)
        known = losses.get(identifier)
        return FunctionMetric(identifier) if isinstance(known, FunctionLoss) else LossMetric(known)
    raise TypeError(f"a metric is a name, a Metric, or a callable (y_true, y_pred), got {identifier!r}")


def named(name: str, loss: Loss | None, output_shape: tuple[int, ...]) -> Metric:
    """The metric of a name; it shows under that name."""
    key = name.lower()
    if key in ACCURACY:
        return accuracy(name, loss, output_shape)
    if key in CROSSENTROPY:
        kind = "sparse_categorical" if isinstance(loss, SparseCategoricalCrossentropy) else "categorical"
        return LossMetric(losses.get(f"{'binary' if output_shape[-1:] in ((), (1,)) else kind}_crossentropy"), name)
    if name in CLASSES and name not in WITH_CLASSES:
        return CLASSES[name](name=name)
    if key in NAMES:
        return NAMES[key](name=name)
    if key in losses.NAMES or key in losses.ALIASES or name in losses.CLASSES:
        return LossMetric(losses.get(name), name)
    raise unknown_metric(name)


def unknown_metric(name: str) -> ValueError:
    """The error for a name; it says how to write a metric that needs an argument."""
    for cls in WITH_CLASSES:
        if closest(name, [cls, CLASSES[cls].default_name]):
            return ValueError(f"a metric cannot be had by the name {name!r}: write metrics.{cls}(num_classes=...)")
    return unknown("metric", name, [*ACCURACY, *CROSSENTROPY, *NAMES, *losses.NAMES, *losses.ALIASES])


def accuracy(name: str, loss: Loss | None, output_shape: tuple[int, ...]) -> Metric:
    """The accuracy that fits the model, as Keras chooses it: by the outputs per row, and by the kind of labels."""
    if output_shape[-1:] in ((), (1,)):
        return BinaryAccuracy(name, threshold=0.0 if isinstance(loss, Hinge) else 0.5)
    if isinstance(loss, SparseCategoricalCrossentropy):
        return SparseCategoricalAccuracy(name, ignore_class=loss.ignore_class)
    return CategoricalAccuracy(name)


# -- functions: one value per row (or output) --------------------------------------------------------------------------


def binary_accuracy(y_true: ArrayLike, y_pred: ArrayLike, threshold: float = 0.5) -> Array:
    """Whether (y_pred > threshold) agrees with the label, output by output."""
    return BinaryAccuracy(threshold=threshold).values(array_of(y_true), array_of(y_pred))


def categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Whether the largest output is that of the one-hot label, row by row."""
    return CategoricalAccuracy().values(array_of(y_true), array_of(y_pred))


def sparse_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """Whether the largest output is that of the class number, row by row."""
    return SparseCategoricalAccuracy().values(array_of(y_true), array_of(y_pred))


def top_k_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike, k: int = 5) -> Array:
    """Whether fewer than k outputs are larger than that of the one-hot label, row by row."""
    return TopKCategoricalAccuracy(k).values(array_of(y_true), array_of(y_pred))


def sparse_top_k_categorical_accuracy(y_true: ArrayLike, y_pred: ArrayLike, k: int = 5) -> Array:
    """Whether fewer than k outputs are larger than that of the class number, row by row."""
    return SparseTopKCategoricalAccuracy(k).values(array_of(y_true), array_of(y_pred))


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
