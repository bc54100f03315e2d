"""Optimizers under Keras's names, with its formulas and defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn import schedules
from tinynn.config import restore
from tinynn.errors import no_attribute, unknown
from tinynn.optim.adadelta import Adadelta
from tinynn.optim.adagrad import Adagrad
from tinynn.optim.adam import Adam, Adamax, AdamW, Nadam
from tinynn.optim.base import Optimizer
from tinynn.optim.rmsprop import RMSprop
from tinynn.optim.sgd import SGD

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]

CLASSES: dict[str, Any] = {c.__name__: c for c in (SGD, Adam, AdamW, Nadam, Adamax, RMSprop, Adagrad, Adadelta)}
NAMES: dict[str, Any] = {name.lower(): c for name, c in CLASSES.items()}


def get(identifier: Any) -> Optimizer:
    """An optimizer from a name ("adam", "Adam"), an object, a class, or {"class": ..., "config": ...}.

    Raises ValueError for a name that is not known, TypeError for what is none of these.
    """
    identifier = restore(identifier, CLASSES, "optimizer")
    if isinstance(identifier, str):
        if identifier.lower() not in NAMES:
            raise unknown("optimizer", identifier, NAMES)
        identifier = NAMES[identifier.lower()]
    if isinstance(identifier, type):
        identifier = identifier()
    if not isinstance(identifier, Optimizer):
        raise TypeError(
            "an optimizer is a name such as 'adam' or an object such as optim.Adam(learning_rate=0.001), got "
            f"{identifier!r}"
        )
    return identifier


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
