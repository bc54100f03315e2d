"""Constraints: what weights are projected onto after each optimizer step, under Keras's names.

A constraint is called with the bare array of a parameter and returns an array of the same shape. It is written in
NumPy functions that every backend's arrays run through. Any callable of that form will do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinynn.config import Configured, at_least, restore
from tinynn.errors import no_attribute, unknown
from tinynn.typing import Array

__all__ = [
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "get",
    "max_norm",
    "maxnorm",
    "min_max_norm",
    "non_neg",
    "nonneg",
    "unit_norm",
    "unitnorm",
]

Constraint: TypeAlias = Callable[[Array], Array]
Axis: TypeAlias = int | Sequence[int]

EPSILON = 1e-7
"""Keras's: a norm of zero divides nothing by zero."""


class MaxNorm(Configured):
    """w min(|w|, max_value) / (epsilon + |w|), with the norm along ``axis``: 0 for the weights into one Dense unit.

    A convolution kernel (KH, KW, C, O) has axis=[0, 1, 2].
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0):
        self.max_value = at_least(max_value, 0, "max_value", "MaxNorm")
        self.axis = axis

    def __call__(self, w: Array) -> Array:
        n = norms(w, self.axis)
        return w * (np.minimum(n, self.max_value) / (n + EPSILON))


class UnitNorm(Configured):
    """w / (epsilon + |w|), with the norm along ``axis``."""

    def __init__(self, axis: Axis = 0):
        self.axis = axis

    def __call__(self, w: Array) -> Array:
        return w / (norms(w, self.axis) + EPSILON)


class NonNeg(Configured):
    """max(w, 0)"""

    def __call__(self, w: Array) -> Array:
        return np.maximum(w, 0)


class MinMaxNorm(Configured):
    """w d / (epsilon + |w|), d = rate clip(|w|, min_value, max_value) + (1 - rate) |w|, the norm along ``axis``."""

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0):
        self.min_value = at_least(min_value, 0, "min_value", "MinMaxNorm")
        self.max_value = at_least(max_value, self.min_value, "max_value", "MinMaxNorm")
        if not 0 < rate <= 1:
            raise ValueError(f"MinMaxNorm expects 0 < rate <= 1, got {rate!r}")
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Array) -> Array:
        n = norms(w, self.axis)
        desired = self.rate * np.clip(n, self.min_value, self.max_value) + (1.0 - self.rate) * n
        return w * (desired / (n + EPSILON))


def norms(w: Array, axis: Axis) -> Array:
    """sqrt(sum w^2) along the axes, which stay as axes of size 1."""
    axes = axis if isinstance(axis, int) else tuple(axis)
    return np.sqrt(np.sum(np.square(w), axis=axes, keepdims=True))


# Keras's names in small letters, old and new: ``constraints.max_norm(3)``.
max_norm = maxnorm = MaxNorm
unit_norm = unitnorm = UnitNorm
non_neg = nonneg = NonNeg
min_max_norm = MinMaxNorm

CLASSES: dict[str, Any] = {"MaxNorm": MaxNorm, "UnitNorm": UnitNorm, "NonNeg": NonNeg, "MinMaxNorm": MinMaxNorm}
NAMES: dict[str, Any] = {
    "max_norm": MaxNorm,
    "maxnorm": MaxNorm,
    "unit_norm": UnitNorm,
    "unitnorm": UnitNorm,
    "non_neg": NonNeg,
    "nonneg": NonNeg,
    "min_max_norm": MinMaxNorm,
}


def get(identifier: Any) -> Constraint | None:
    """A constraint from a name ("max_norm"), an object, a class, {"class": ..., "config": ...}, or None for none.

    Raises ValueError for a name that is not known, TypeError for what is none of these.
    """
    identifier = restore(identifier, CLASSES, "constraint")
    if identifier is None:
        return None
    if isinstance(identifier, str):
        table = {**NAMES, **CLASSES}
        if identifier not in table:
            raise unknown("constraint", identifier, NAMES)
        identifier = table[identifier]
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            "a constraint is a name such as 'max_norm', an object such as MaxNorm(3), or a callable of an array; got "
            f"{identifier!r}"
        )
    return identifier  # type: ignore[no-any-return]


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
