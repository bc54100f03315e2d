"""Sample weights and class weights: what a row counts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.data import Arrays, host_array
from tinynn.errors import frames_inside
from tinynn.typing import ArrayLike


def checked_weights(
    weights: ArrayLike | None, rows: int, what: str = "sample_weight", positions: Sequence[int | None] = ()
) -> np.ndarray | None:
    """One finite weight per row, or None; where the output has steps (``positions``), one per step will do too."""
    if weights is None:
        return None
    array = host_array(weights, what)
    if array.shape == (rows, 1):
        array = array.reshape(rows)
    steps = array.shape[1:]
    if array.shape[:1] != (rows,) or len(steps) > len(positions) or not fitting(steps, positions):
        per_step = f", or ({rows}, {', '.join(map(str, positions))}), one per step" if positions else ""
        raise ValueError(f"{what} expects shape ({rows},), one weight per row{per_step}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} expects finite numbers, got {array[~np.isfinite(array)][0]}")
    with np.errstate(over="ignore"):
        weights = array.astype("float32")
    if not np.isfinite(weights).all():
        raise ValueError(f"{what} expects numbers that fit float32, got {array[~np.isfinite(weights)][0]}")
    return weights


def fitting(steps: Sequence[int], positions: Sequence[int | None]) -> bool:
    """Whether these are the first sizes of the positions, of which None stands for any."""
    return all(m in (None, n) for n, m in zip(steps, positions, strict=False))


def checked_class_weight(class_weight: Any) -> None:
    """{class number: weight >= 0}, or an error that says so."""
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight expects a dict such as {{0: 1.0, 1: 5.0}}, got {type(class_weight).__name__}")
    for label, weight in class_weight.items():
        if isinstance(label, bool) or not hasattr(label, "__index__"):
            raise TypeError(f"class_weight expects class numbers as keys, such as 0, got {label!r}")
        if not np.isfinite(weight) or weight < 0:
            raise ValueError(f"class_weight expects weights >= 0, got {weight!r} for class {label!r}")


def with_class_weights(data: Arrays, class_weight: dict[int, float] | None, quiet: bool = False) -> Arrays:
    """Class weights as row weights; a class that the dict leaves out weighs 1.

    quiet: data are one batch of many, so a class may be missing
    """
    if class_weight is None:
        return data
    checked_class_weight(class_weight)
    if not isinstance(data.y, np.ndarray) or isinstance(data.weights, tuple):
        raise ValueError("class_weight is for models of one output: give sample_weight for each of several")
    labels = class_labels(data.y)
    unseen = [label for label in class_weight if not (labels == label).any()]
    if unseen and not quiet:
        classes = np.unique(labels)
        warnings.warn(
            f"class_weight has weights for the classes {unseen}, which do not occur among the labels; these are "
            f"{classes[:20].tolist()}{' ...' if len(classes) > 20 else ''}",
            stacklevel=frames_inside(),
        )
    weights = np.ones(len(labels), np.float32)
    for label, weight in class_weight.items():
        weights[labels == label] = weight
    if data.weights is not None:
        weights = weights.reshape(-1, *(1,) * (data.weights.ndim - 1)) * data.weights
    return Arrays(data.x, data.y, weights)


def class_labels(y: np.ndarray) -> np.ndarray:
    """One class number per row, from integer or one-hot labels."""
    if y.ndim == 2 and y.shape[1] > 1:
        return np.asarray(y.argmax(axis=1))
    return y.reshape(len(y))
