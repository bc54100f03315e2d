"""Losses as metrics on arrays, under Keras's names: one value per row, where ``tinynn.losses`` gives the mean."""

from __future__ import annotations

from tinynn import losses
from tinynn.metrics.base import LossMetric, array_of
from tinynn.typing import Array, ArrayLike


def rows(name: str, y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """The values of the loss of that name, (N,)."""
    return LossMetric(losses.get(name)).values(array_of(y_true), array_of(y_pred))


def mean_squared_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """mean (y_pred - y_true)^2 of each row"""
    return rows("mean_squared_error", y_true, y_pred)


def mean_absolute_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """mean |y_pred - y_true| of each row"""
    return rows("mean_absolute_error", y_true, y_pred)


def mean_absolute_percentage_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """100 mean |y_pred - y_true| / |y_true| of each row"""
    return rows("mean_absolute_percentage_error", y_true, y_pred)


def mean_squared_logarithmic_error(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """mean (log(1 + y_pred) - log(1 + y_true))^2 of each row"""
    return rows("mean_squared_logarithmic_error", y_true, y_pred)


def cosine_similarity(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """The cosine of the angle between each two rows: 1 for the same direction"""
    return rows("cosine_similarity", y_true, y_pred)


def hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """mean max(1 - y_true y_pred, 0) of each row"""
    return rows("hinge", y_true, y_pred)


def squared_hinge(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """mean max(1 - y_true y_pred, 0)^2 of each row"""
    return rows("squared_hinge", y_true, y_pred)


def poisson(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """mean of y_pred - y_true log(y_pred) of each row"""
    return rows("poisson", y_true, y_pred)


def kl_divergence(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """sum y_true log(y_true / y_pred) of each row"""
    return rows("kl_divergence", y_true, y_pred)


def binary_crossentropy(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """The mean cross-entropy of each row's yes/no outputs, from probabilities"""
    return rows("binary_crossentropy", y_true, y_pred)


def categorical_crossentropy(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """-sum y_true log y_pred of each row, from probabilities"""
    return rows("categorical_crossentropy", y_true, y_pred)


def sparse_categorical_crossentropy(y_true: ArrayLike, y_pred: ArrayLike) -> Array:
    """-log y_pred[y_true] of each row, from probabilities"""
    return rows("sparse_categorical_crossentropy", y_true, y_pred)
