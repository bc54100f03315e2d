"""Loss: rows of losses from targets and predictions, and their weighted mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import ops
from tinynn.config import Configured
from tinynn.errors import unknown
from tinynn.losses import door
from tinynn.losses.means import WeightedMean
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike, Shape

MEAN = "sum_over_batch_size"
REDUCTIONS = {MEAN: MEAN, "mean": MEAN, "auto": MEAN, "sum": "sum", "none": "none", None: "none"}


class Loss(Configured):
    """The base of all losses.

    reduction: "sum_over_batch_size" (the mean over the rows), "sum" or "none" (one value per row)
    name:      what messages call it; the snake form of the class's name where None

    ``loss(y_true, y_pred)`` checks the targets and gives a scalar. A training loop checks all targets once, with
    ``check``, and then calls ``compute`` per batch. With sample weights w it is sum(w rows) / N: a weight scales what
    its row adds, and does not change the divisor, as in Keras.

    A subclass writes ``values``; and ``fit`` and ``verify`` where targets are not just numbers of the output's shape.
    """

    default_name = "loss"
    elementwise = False
    """Whether ``values`` with keep=0 gives the mean over everything at once, as one node."""

    def __init__(self, reduction: str | None = MEAN, name: str | None = None):
        if reduction not in REDUCTIONS:
            raise unknown("reduction", reduction, [k for k in REDUCTIONS if k])
        self.reduction = REDUCTIONS[reduction]
        self.name = name or self.default_name

    # -- to be written by each loss ----------------------------------------------------------------------------------

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        """One value per position, (N, ...): at least the first ``keep`` axes of y_pred.

        ``keep`` is 1, or the number of axes of the sample weights, or 0 where ``elementwise`` allows it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no values(target, y_pred, keep)")

    def measure(self, t: Array, x: Array) -> Array:
        """The same in arrays, for a metric of this name: targets and predictions -> (N,)."""
        raise NotImplementedError(f"{type(self).__name__} has no measure(t, x), so it cannot be a metric")

    def divisor(self, target: Array, values: Tensor) -> Any:
        """What the sum is divided by; None for the number of values."""
        return None

    def fit(self, y: Array, output_shape: Shape, what: str) -> Array:
        """y in the shape that ``values`` expects; reads no value."""
        return door.like_output(y, output_shape, self.name, what)

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        """y with values that ``values`` can take; ValueError names the first that it cannot."""
        return door.as_floats(y)

    def check_output(self, activation: str | None, output_shape: Shape, layer_name: str) -> None:
        """Whether the model's output fits this loss; called by ``compile`` or ``build``.

        activation: of the last layer, by name; None where it is not known, which is no complaint.  output_shape:
        without the batch axis. ValueError for what cannot learn, a warning for what Keras trains on as well.
        """
        if activation == "softmax" and tuple(output_shape)[-1:] == (1,):
            raise ValueError(
                f"layer '{layer_name}': a softmax over a single output is always 1, so nothing can be learned: use "
                "activation='sigmoid' with 'binary_crossentropy', or one unit per class"
            )

    # -- calling -----------------------------------------------------------------------------------------------------

    def check(self, y_true: ArrayLike, output_shape: Shape, what: str = "y_true") -> np.ndarray:
        """Targets as this loss wants them, checked on the host: floats of the output's shape, or int32 labels.

        output_shape: the model's, without the batch axis; what: whose targets they are, for the message.
        """
        array = self.fit(door.as_numbers(y_true, self.name, what), tuple(output_shape), what)
        return self.verify(array, tuple(output_shape), what)

    def __call__(self, y_true: ArrayLike, y_pred: Tensor, sample_weight: ArrayLike | None = None) -> Tensor:
        """Check the targets and compute; targets that are already on a device have their shapes checked only."""
        return self.compute(self._checked(y_true, y_pred), y_pred, sample_weight)

    def compute(
        self, y_true: ArrayLike, y_pred: Tensor, sample_weight: ArrayLike | None = None, mask: Array | None = None
    ) -> Tensor:
        """The loss of a batch whose targets ``check`` has seen.

        mask: the positions (N, T) that count; a mean is that over these, as in Keras: positions / max(counted, 1) is a
        factor of their weights.
        """
        if mask is not None and y_pred.ndim > mask.ndim:
            sample_weight = self._masked(mask, y_pred, sample_weight)
        if self.reduction == "none":
            return self._weighted_rows(y_true, y_pred, sample_weight)
        weights = None
        keep = int(not self.elementwise or self.reduction != MEAN)
        if sample_weight is not None:
            weights = self._weights(sample_weight, y_pred)
            keep = weights.ndim
        target = self._array(y_true, y_pred)
        values = self.values(target, y_pred, keep)
        if not keep:
            return values
        divisor: Any = 1 if self.reduction == "sum" else self.divisor(target, values)
        return y_pred.graph.apply(WeightedMean(weights, divisor), values)

    def rows(self, y_true: ArrayLike, y_pred: Tensor) -> Tensor:
        """One value per row: the mean over all other axes, (N,)."""
        return self._rows(self._checked(y_true, y_pred), y_pred)

    def _rows(self, target: Array, y_pred: Tensor) -> Tensor:
        values = self.values(target, y_pred, 1)
        return values if values.ndim == 1 else ops.mean(values, tuple(range(1, values.ndim)))

    def _weighted_rows(self, y_true: ArrayLike, y_pred: Tensor, sample_weight: ArrayLike | None) -> Tensor:
        rows = self._rows(self._array(y_true, y_pred), y_pred)
        if sample_weight is None:
            return rows
        weights = self._weights(sample_weight, y_pred)
        if weights.ndim > 1:
            raise ValueError(f"{self.name} with reduction='none' expects one weight per row, got {weights.shape}")
        return rows * y_pred.graph.tensor(weights)

    def _masked(self, mask: Array, y_pred: Tensor, sample_weight: ArrayLike | None) -> Array:
        """The weights of the positions under a mask."""
        weights = mask.astype(y_pred.dtype)
        if self.reduction == MEAN:
            weights *= mask.size / np.maximum(weights.sum(), 1)
        if sample_weight is not None:
            given = self._weights(sample_weight, y_pred)
            weights = weights.reshape(weights.shape + (1,) * (given.ndim - weights.ndim))
            weights = weights * given.reshape(given.shape + (1,) * (weights.ndim - given.ndim))
        return weights

    def _checked(self, y_true: ArrayLike, y_pred: Tensor) -> Array:
        """Targets from the user's hand; on a device only their shape can be checked."""
        target = self._array(y_true, y_pred)
        if isinstance(target, np.ndarray):
            return self.check(target, y_pred.shape[1:])
        return self.fit(target, y_pred.shape[1:], "y_true")

    def _array(self, y_true: Any, y_pred: Tensor) -> Array:
        """The targets as an array, without a Tensor around them, one row for each of y_pred."""
        if not isinstance(y_pred, Tensor):
            swapped = ": the order is Keras's, y_true first" if isinstance(y_true, Tensor) else ""
            raise TypeError(f"{self.name} expects a Tensor as y_pred, got {type(y_pred).__name__}{swapped}")
        if isinstance(y_true, Tensor):
            if y_true.requires_grad:
                raise ValueError(
                    f"{self.name} has no gradient for y_true, which wants one: the order is Keras's, y_true first; "
                    "for a target that is computed pass its .data"
                )
            y_true = y_true.data
        if not isinstance(y_true, (np.ndarray, y_pred.graph.array_type)):
            y_true = door.as_numbers(y_true, self.name, "y_true")
        if y_true.shape[:1] != y_pred.data.shape[:1]:
            raise ValueError(
                f"{self.name} expects a row of y_true for each row of y_pred, got {tuple(y_true.shape)} "
                f"for outputs of shape {y_pred.shape}"
            )
        return y_true

    def _weights(self, sample_weight: ArrayLike, y_pred: Tensor) -> Array:
        """Weights as an array (N,), or one per position of the leading axes of y_pred."""
        weights = y_pred.graph.backend.asarray(sample_weight, y_pred.graph.dtype)
        rows = y_pred.shape[0] if y_pred.shape else 1
        if weights.ndim > 1 and weights.size == rows:
            weights = weights.reshape(rows)
        positions = y_pred.shape[:-1] if y_pred.ndim > 1 else y_pred.shape
        if weights.ndim == 0 or weights.shape != positions[: weights.ndim]:
            raise ValueError(
                f"{self.name} expects one sample weight per row, shape ({rows},), got {tuple(weights.shape)}"
            )
        return weights
