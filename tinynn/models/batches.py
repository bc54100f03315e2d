"""Batches on their way in, and what is measured on the way out."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import host
from tinynn.config import constructor_arguments
from tinynn.data import Arrays
from tinynn.data.arrays import Rows, fetch
from tinynn.graph import Graph
from tinynn.models import door
from tinynn.models.callbacks import Logs
from tinynn.tensor import Tensor
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.models.model import Model

WEIGHT_DTYPE = np.dtype("float32")

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""Decorates what runs batches: numbers that are not finite are found and named, so NumPy need not warn of them too."""


class Feed:
    """Batches of a data set as arrays of the model's backend."""

    def __init__(self, model: Model, data: Arrays):
        self.backend, self.data = model.backend, data
        self.dtype = door.input_dtype(model)
        self.label_dtype = np.dtype("float32")
        if data.y is not None and data.y.dtype.kind == "i":
            self.label_dtype = data.y.dtype

    def __call__(self, graph: Graph, rows: Rows) -> tuple[Tensor, Array | None, Array | None]:
        """x as a tensor of the graph; y and weights as arrays."""
        data, backend = self.data, self.backend
        x = Tensor(fetch(data.x, rows, backend, self.dtype), graph)
        y = None if data.y is None else fetch(data.y, rows, backend, self.label_dtype)
        w = None if data.weights is None else fetch(data.weights, rows, backend, WEIGHT_DTYPE)
        return x, y, w


class Meter:
    """Running means of loss and metrics, summed on the backend and read only when somebody asks."""

    def __init__(self, model: Model, own: bool = True):
        """own: use the model's metrics; else copies, so that evaluating does not disturb a training that goes on."""
        self.metrics = model.compiled.metrics  # type: ignore[union-attr]
        if not own:
            self.metrics = [copy.copy(metric) for metric in self.metrics]
        self.weighted_from = model.compiled.weighted_from  # type: ignore[union-attr]
        self.backend = model.backend
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.metrics:
            metric.reset_state()
        self.total = self.backend.full((), 0.0, "float64")
        self.count = 0

    def add(self, loss: Array, rows: int, y: Array, prediction: Tensor, weights: Array | None) -> None:
        self.total += loss * float(rows)
        self.count += rows
        mask = prediction.mask
        if mask is not None:
            mask = mask.astype(WEIGHT_DTYPE)
        for i, metric in enumerate(self.metrics):
            given = mask
            if i >= self.weighted_from and weights is not None:
                given = (
                    weights
                    if mask is None
                    else mask * weights.reshape(weights.shape + (1,) * (mask.ndim - weights.ndim))
                )
            metric.update_state(y, prediction.data, given)

    def logs(self) -> Logs:
        """Read the means."""
        result = {"loss": float(host(self.total)) / max(self.count, 1)}
        for metric in self.metrics:
            value = metric.result()
            result[metric.name] = float(value) if np.ndim(value) == 0 else value
        return result

    def state(self) -> tuple[list[Any], dict[str, np.ndarray]]:
        """What has gathered, as a record and arrays, so that an epoch can be taken up in its middle."""
        record: list[Any] = [self.count]
        arrays = {"total": np.array(host(self.total))}
        for i, metric in enumerate(self.metrics):
            kept = {k: v for k, v in vars(metric).items() if k not in constructor_arguments(type(metric))}
            held = {k: v for k, v in kept.items() if hasattr(v, "dtype")}
            arrays |= {f"{i}/{k}": np.array(host(v)) for k, v in held.items()}
            record.append({k: v for k, v in kept.items() if v is None or isinstance(v, (int, float))})
        return record, arrays

    def restore(self, record: list[Any], arrays: dict[str, np.ndarray]) -> None:
        """Take up what ``state`` gave."""
        self.count = record[0]
        self.total[...] = self.backend.asarray(arrays["total"], "float64")
        for i, (metric, numbers) in enumerate(zip(self.metrics, record[1:], strict=True)):
            vars(metric).update(numbers)
            for name, array in arrays.items():
                if name.startswith(f"{i}/"):
                    setattr(metric, name.removeprefix(f"{i}/"), self.backend.asarray(array, array.dtype))
