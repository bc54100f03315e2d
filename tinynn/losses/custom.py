"""Losses of one's own: any callable (y_true, y_pred)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn import ops
from tinynn.losses import door
from tinynn.losses.base import MEAN, Loss
from tinynn.losses.means import WeightedMean
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike, Shape


class FunctionLoss(Loss):
    """Any callable ``(y_true, y_pred) -> Tensor``: a scalar, or one value per row, whose mean is taken.

    y_true arrives as an array of the backend, y_pred as a Tensor.
    """

    def __init__(
        self, function: Callable[[Any, Tensor], Tensor], reduction: str | None = MEAN, name: str | None = None
    ):
        if not callable(function):
            raise TypeError(f"a loss is a callable (y_true, y_pred), got {type(function).__name__}")
        super().__init__(reduction, name or getattr(function, "__name__", type(function).__name__))
        self.function = function

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        values = self.function(target, y_pred)
        if not isinstance(values, Tensor):
            raise TypeError(f"the loss {self.name} must return a Tensor, got {type(values).__name__}")
        return values

    def compute(
        self, y_true: ArrayLike, y_pred: Tensor, sample_weight: ArrayLike | None = None, mask: Array | None = None
    ) -> Tensor:
        """A mask counts where the callable gives a value per position; one that gives a mean sees all of them."""
        target = self._array(y_true, y_pred)
        values = self.values(y_pred.graph.backend.asarray(target, target.dtype), y_pred, 1)
        if values.size == 1 and (sample_weight is None or y_pred.shape[0] == 1):
            values = values if values.ndim == 0 else ops.reshape(values, ())
            return values if sample_weight is None else values * y_pred.graph.tensor(sample_weight).reshape(())
        if values.shape[:1] != y_pred.shape[:1]:
            raise ValueError(
                f"the loss {self.name} returned shape {values.shape}: sample weights and class weights need "
                f"one value per row, ({y_pred.shape[0]},)"
            )
        if mask is not None and values.shape == mask.shape:
            sample_weight = self._masked(mask, y_pred, sample_weight)
        weights = None if sample_weight is None else self._weights(sample_weight, y_pred)
        return y_pred.graph.apply(WeightedMean(weights, 1 if self.reduction == "sum" else None), values)

    def fit(self, y: Array, output_shape: Shape, what: str) -> Array:
        """A last axis of size one is added or dropped where that gives the output's shape; other shapes pass."""
        try:
            return door.like_output(y, output_shape, self.name, what)
        except ValueError:
            return y

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        return y
