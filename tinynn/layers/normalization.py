"""Normalization: inputs get mean 0 and variance 1, by statistics of the training data taken once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends.base import numbers
from tinynn.function import Function
from tinynn.layers.base import Layer, checked_axis
from tinynn.parameter import Buffer
from tinynn.random import Generator
from tinynn.typing import Array, ArrayLike, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

ROWS = 4096
"""Rows that ``adapt`` converts to float64 at a time."""
SMALLEST = 1e-7
"""Least standard deviation, so that a constant feature becomes 0 and not NaN; Keras's epsilon."""


class Standardize(Function):
    """y = (x - mean) / max(sqrt(variance), 1e-7) with constants that broadcast;  dx = dy / max(...)."""

    def __init__(self, mean: Array, variance: Array):
        self.mean, self.variance = mean, variance

    def forward(self, graph: Graph, x: Array) -> Array:
        self.saved = stddev = np.maximum(np.sqrt(self.variance), SMALLEST)
        y = x - self.mean
        y /= stddev
        return y

    def backward(self, graph: Graph, dy: Array) -> Array:
        dy /= self.saved
        return dy


class Normalization(Layer):
    """y = (x - mean) / sqrt(variance), with mean and variance of the training data for every feature.

    axis:           the axis (or axes) of the features, 0 being the batch; None for one mean and variance of everything
    mean, variance: where they are known; otherwise call ``layer.adapt(x_train)`` before training

    Buffers ``mean``, ``variance`` (the shape of the features) and ``count``; nothing is trained. Statistics that are
    given are constants, as in Keras: they belong to the configuration and not to the weights.
    """

    supports_masking = True

    placed: tuple[Any, Array, Array] | None = None
    """Given statistics where a run needs them: for which kind of array and row, mean, variance."""

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: ArrayLike | None = None,
        variance: ArrayLike | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.axis = axis if axis is None or isinstance(axis, int) else list(axis)
        if (mean is None) != (variance is None):
            raise ValueError(f"Normalization '{self.label}' expects both mean and variance, or neither")
        self.given = None if mean is None else (numbers(mean, np.float64), numbers(variance, np.float64))
        if self.given is not None and (self.given[1] < 0).any():
            raise ValueError(f"Normalization '{self.label}' expects a variance that is not negative, got {variance!r}")

    def build(self, input_shape: Shape) -> Shape:
        axes = [] if self.axis is None else [self.axis] if isinstance(self.axis, int) else self.axis
        self.places = sorted({checked_axis(axis, input_shape, self) for axis in axes})
        self.shape = tuple(input_shape[k] for k in self.places)
        self.broadcast = tuple(n if k in self.places else 1 for k, n in enumerate(input_shape))
        if self.given is None:
            self.mean = Buffer(self.shape, self.missing)
            self.variance = Buffer(self.shape, self.missing)
            self.count = Buffer((), dtype="float64")
        else:
            self.fixed = self.spread(*self.given)
        return input_shape

    def spread(self, *given: np.ndarray) -> tuple[np.ndarray, ...]:
        """The statistics that were given in the shape of the features."""
        try:
            return tuple(np.broadcast_to(values, self.shape) for values in given)
        except ValueError:
            shapes = " and ".join(str(values.shape) for values in given)
            raise ValueError(
                f"layer '{self.label}' expects a mean and a variance of shape {self.shape}, got {shapes}"
            ) from None

    def missing(self, shape: Shape, generator: Generator) -> np.ndarray:
        """What the buffers start with: the error that there is nothing yet."""
        raise RuntimeError(
            f"layer '{self.label}' has no statistics yet: call layer.adapt(x_train), or give mean and variance"
        )

    def shape_for(self, input_shape: Shape) -> Shape:
        fits = len(input_shape) == len(self.built_for)
        if not fits or tuple(input_shape[k] for k in self.places) != self.shape:
            super().shape_for(input_shape)
        return input_shape

    def adapt(self, data: ArrayLike, batch_size: int | None = None) -> None:
        """Take mean and (biased) variance of the data, in float64; what was there before is forgotten.

        data: an array (N, ...) of numbers; ValueError where it is empty, not finite or of another shape
        """
        rows = data if isinstance(data, np.ndarray) else np.asarray(data)
        if rows.ndim == 0 or rows.size == 0:
            raise ValueError(f"layer '{self.label}': adapt expects rows of data, got an array of shape {rows.shape}")
        if self.given is not None:
            raise ValueError(
                f"layer '{self.label}' was given its mean and variance: leave them out, or leave out adapt"
            )
        self.ensure_built(rows.shape[1:])
        axes = tuple(k for k in range(rows.ndim) if k - 1 not in self.places)
        size = batch_size or ROWS
        batches = [slice(i, i + size) for i in range(0, len(rows), size)]
        count = rows.size // max(int(np.prod(self.shape)), 1)
        mean = sum(numbers(rows[b], np.float64).sum(axis=axes) for b in batches) / count
        wide = np.reshape(mean, self.broadcast)
        variance = sum(((numbers(rows[b], np.float64) - wide) ** 2).sum(axis=axes) for b in batches) / count
        if not np.isfinite(variance).all():
            raise ValueError(f"layer '{self.label}': adapt expects finite numbers, the data has NaN or infinity")
        self.mean.assign(mean)
        self.variance.assign(variance)
        self.count.assign(count)

    def forward(self, x: Tensor) -> Tensor:
        return Standardize(*self.statistics(x))(x)

    def statistics(self, x: Tensor) -> tuple[Array, Array]:
        """Mean and variance, ready to be broadcast over the rows; given ones are brought to x's backend once.

        They are spread over a whole row: over a last axis of three colours NumPy takes eight times as long.
        """
        graph = x.graph
        if self.given is None:
            mean, variance = graph.parameter(self.mean).data, graph.parameter(self.variance).data
            return mean.reshape(self.broadcast), variance.reshape(self.broadcast)
        key, placed = (graph.array_type, graph.dtype, x.data.shape[1:]), self.placed
        if placed is None or placed[0] != key:
            rows = (np.broadcast_to(v.reshape(self.broadcast), x.data.shape[1:]) for v in self.fixed)
            mean, variance = (graph.backend.asarray(np.ascontiguousarray(row), graph.dtype) for row in rows)
            placed = self.placed = key, mean, variance
        return placed[1], placed[2]

    def config(self) -> dict[str, Any]:
        """The statistics that were given; adapted ones are weights."""
        mean, variance = (None, None) if self.given is None else (values.tolist() for values in self.given)
        return {
            "axis": self.axis, "mean": mean, "variance": variance,
            "input_shape": self.input_shape, "name": self.name, "trainable": self.trainable,
        }  # fmt: skip
