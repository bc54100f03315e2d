"""The losses as functions: ``loss(y_true, y_pred)`` is the mean, ``reduction="none"`` gives one value per row."""

from __future__ import annotations

from tinynn.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from tinynn.losses.probabilistic import CategoricalHinge, Hinge, KLDivergence, Poisson, SquaredHinge
from tinynn.losses.regression import (
    CosineSimilarity,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from tinynn.tensor import Tensor
from tinynn.typing import ArrayLike


def mean_squared_error(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean (y_pred - y_true)^2"""
    return MeanSquaredError(reduction=reduction)(y_true, y_pred)


def mean_absolute_error(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean |y_pred - y_true|"""
    return MeanAbsoluteError(reduction=reduction)(y_true, y_pred)


def mean_absolute_percentage_error(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """100 mean |y_pred - y_true| / max(|y_true|, 1e-7)"""
    return MeanAbsolutePercentageError(reduction=reduction)(y_true, y_pred)


def mean_squared_logarithmic_error(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean (log(1 + y_pred) - log(1 + y_true))^2"""
    return MeanSquaredLogarithmicError(reduction=reduction)(y_true, y_pred)


def log_cosh(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean log cosh(y_pred - y_true)"""
    return LogCosh(reduction=reduction)(y_true, y_pred)


def huber(y_true: ArrayLike, y_pred: Tensor, delta: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """mean of e^2 / 2 for |e| <= delta, else delta (|e| - delta / 2)"""
    return Huber(delta=delta, reduction=reduction)(y_true, y_pred)


def cosine_similarity(y_true: ArrayLike, y_pred: Tensor, axis: int = -1, *, reduction: str = "mean") -> Tensor:
    """-sum(unit y_true, unit y_pred) along the axis"""
    return CosineSimilarity(axis=axis, reduction=reduction)(y_true, y_pred)


def hinge(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean max(1 - y_true y_pred, 0)"""
    return Hinge(reduction=reduction)(y_true, y_pred)


def squared_hinge(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean max(1 - y_true y_pred, 0)^2"""
    return SquaredHinge(reduction=reduction)(y_true, y_pred)


def categorical_hinge(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """max(max((1 - y_true) y_pred) - sum(y_true y_pred) + 1, 0)"""
    return CategoricalHinge(reduction=reduction)(y_true, y_pred)


def poisson(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """mean of y_pred - y_true log(y_pred + 1e-7)"""
    return Poisson(reduction=reduction)(y_true, y_pred)


def kl_divergence(y_true: ArrayLike, y_pred: Tensor, *, reduction: str = "mean") -> Tensor:
    """sum y_true log(y_true / y_pred)"""
    return KLDivergence(reduction=reduction)(y_true, y_pred)


def binary_crossentropy(
    y_true: ArrayLike,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """-(y log p + (1 - y) log(1 - p)), the mean over a row's outputs"""
    return BinaryCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing, reduction=reduction)(
        y_true, y_pred
    )


def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: Tensor,
    from_logits: bool = False,
    label_smoothing: float = 0.0,
    *,
    reduction: str = "mean",
) -> Tensor:
    """-sum y_true log p; logits are found behind a softmax"""
    return CategoricalCrossentropy(from_logits=from_logits, label_smoothing=label_smoothing, reduction=reduction)(
        y_true, y_pred
    )


def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: Tensor,
    from_logits: bool = False,
    ignore_class: int | None = None,
    *,
    reduction: str = "mean",
) -> Tensor:
    """-log p[y_true]; logits are found behind a softmax"""
    return SparseCategoricalCrossentropy(from_logits=from_logits, ignore_class=ignore_class, reduction=reduction)(
        y_true, y_pred
    )
