"""Normalization: inputs get mean 0 and variance 1, by statistics of the training data taken once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends.base import numbers
from tinynn.function import Function
from tinynn.initializers import Initializer
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

    Buffers ``mean``, ``variance`` (the shape of the features) and ``count``; nothing is trained.
    """

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
        shape = tuple(input_shape[k] for k in self.places)
        self.mean = Buffer(shape, self.start(0))
        self.variance = Buffer(shape, self.start(1))
        self.count = Buffer((), dtype="float64")
        self.broadcast = tuple(n if k in self.places else 1 for k, n in enumerate(input_shape))
        return input_shape

    def start(self, which: int) -> Initializer:
        """What the buffers start with: the given statistics, or the error that there are none yet."""

        def initial(shape: Shape, generator: Generator) -> np.ndarray:
            if self.given is None:
                raise RuntimeError(
                    f"layer '{self.label}' has no statistics yet: call layer.adapt(x_train), or give mean and variance"
                )
            return np.array(np.broadcast_to(self.given[which], shape))

        return initial

    def shape_for(self, input_shape: Shape) -> Shape:
        fits = len(input_shape) == len(self.built_for)
        if not fits or tuple(input_shape[k] for k in self.places) != self.mean.shape:
            super().shape_for(input_shape)
        return input_shape

    def adapt(self, data: ArrayLike, batch_size: int | None = None) -> None:
        """Take mean and (biased) variance of the data, in float64; what was there before is forgotten.

        data: an array (N, ...) of numbers; ValueError where it is empty, not finite or of another shape
        """
        rows = data if isinstance(data, np.ndarray) else np.asarray(data)
        if rows.ndim == 0 or rows.size == 0:
            raise ValueError(f"layer '{self.label}': adapt expects rows of data, got an array of shape {rows.shape}")
        self.ensure_built(rows.shape[1:])
        axes = tuple(k for k in range(rows.ndim) if k - 1 not in self.places)
        size = batch_size or ROWS
        batches = [slice(i, i + size) for i in range(0, len(rows), size)]
        count = rows.size // max(int(np.prod(self.mean.shape)), 1)
        mean = sum(numbers(rows[b], np.float64).sum(axis=axes) for b in batches) / count
        wide = np.reshape(mean, self.broadcast)
        variance = sum(((numbers(rows[b], np.float64) - wide) ** 2).sum(axis=axes) for b in batches) / count
        if not np.isfinite(variance).all():
            raise ValueError(f"layer '{self.label}': adapt expects finite numbers, the data has NaN or infinity")
        self.mean.assign(mean)
        self.variance.assign(variance)
        self.count.assign(count)

    def forward(self, x: Tensor) -> Tensor:
        graph, shape = x.graph, self.broadcast
        mean, variance = graph.parameter(self.mean).data, graph.parameter(self.variance).data
        return Standardize(mean.reshape(shape), variance.reshape(shape))(x)

    def config(self) -> dict[str, Any]:
        """The statistics that were given; adapted ones are weights."""
        mean, variance = (None, None) if self.given is None else (values.tolist() for values in self.given)
        return {
            "axis": self.axis, "mean": mean, "variance": variance,
            "input_shape": self.input_shape, "name": self.name, "trainable": self.trainable,
        }  # fmt: skip
