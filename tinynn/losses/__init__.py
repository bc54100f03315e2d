"""Losses, under Keras's names: classes, functions of the snake name, and ``get`` for names as texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn.config import restore
from tinynn.errors import no_attribute, unknown
from tinynn.losses import functions
from tinynn.losses.base import Loss
from tinynn.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from tinynn.losses.custom import FunctionLoss
from tinynn.losses.functions import (
    binary_crossentropy,
    categorical_crossentropy,
    categorical_hinge,
    cosine_similarity,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    sparse_categorical_crossentropy,
    squared_hinge,
)
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

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "FunctionLoss",
    "Loss",
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "log_cosh",
    "huber",
    "cosine_similarity",
    "hinge",
    "squared_hinge",
    "categorical_hinge",
    "poisson",
    "kl_divergence",
    "binary_crossentropy",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "mse",
    "mae",
    "mape",
    "msle",
    "logcosh",
    "kld",
    "MSE",
    "MAE",
    "MAPE",
    "MSLE",
    "KLD",
    "get",
]

mse = MSE = mean_squared_error
mae = MAE = mean_absolute_error
mape = MAPE = mean_absolute_percentage_error
msle = MSLE = mean_squared_logarithmic_error
kld = KLD = kl_divergence
logcosh = log_cosh

CLASSES: dict[str, type[Loss]] = {
    cls.__name__: cls
    for cls in (
        MeanSquaredError,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredLogarithmicError,
        LogCosh,
        Huber,
        CosineSimilarity,
        Hinge,
        SquaredHinge,
        CategoricalHinge,
        Poisson,
        KLDivergence,
        BinaryCrossentropy,
        CategoricalCrossentropy,
        SparseCategoricalCrossentropy,
    )
}
NAMES: dict[str, type[Loss]] = {cls.default_name: cls for cls in CLASSES.values()}
ALIASES = {
    "mse": "mean_squared_error",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "msle": "mean_squared_logarithmic_error",
    "logcosh": "log_cosh",
    "huber_loss": "huber",
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "kullback_leibler_divergence": "kl_divergence",
    "cosine_proximity": "cosine_similarity",
}


def get(identifier: Any) -> Loss:
    """The loss of a name, a class, an object, {"class": ..., "config": ...}, or any callable (y_true, y_pred).

    >>> get("mse")
    MeanSquaredError(reduction='sum_over_batch_size')

    ValueError for an unknown name (with the nearest one), TypeError for what cannot be a loss.
    """
    identifier = restore(identifier, dict(CLASSES), "loss")
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        name = identifier if identifier in CLASSES else identifier.lower()
        name = ALIASES.get(name, name)
        if name not in CLASSES and name not in NAMES:
            raise unknown("loss", identifier, [*NAMES, *ALIASES])
        return CLASSES[name]() if name in CLASSES else NAMES[name]()
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    if callable(identifier):
        name = getattr(identifier, "__name__", "")
        return NAMES[name]() if getattr(functions, name, None) is identifier else FunctionLoss(identifier)
    raise TypeError(f"a loss is a name, a Loss, or a callable (y_true, y_pred), got {identifier!r}")


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
