"""Running means of losses and metrics, summed on the backend and read only when somebody asks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import host
from tinynn.config import constructor_arguments
from tinynn.models.batches import WEIGHT_DTYPE
from tinynn.models.callbacks import Logs
from tinynn.tensor import Tensor
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.models.model import Model


class Meter:
    """Loss, the losses of single outputs where there are several, and metrics."""

    def __init__(self, model: Model, own: bool = True):
        """own: use the model's metrics; else copies, so that evaluating does not disturb a training that goes on."""
        compiled = model.compiled
        assert compiled is not None
        made = {id(metric): metric if own else copy.copy(metric) for metric, _ in compiled.metrics}
        self.metrics = [made[id(metric)] for metric, _ in compiled.metrics]
        self.labels = [label for _, label in compiled.metrics]
        self.groups = [[(made[id(m)], weighted) for m, _, weighted in output.metrics] for output in compiled.outputs]
        """Of each output: its metrics, and whether sample weights count."""
        self.loss_names = compiled.loss_names
        self.backend = model.backend
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.metrics:
            metric.reset_state()
        self.total = self.backend.full((), 0.0, "float64")
        self.parts = self.backend.full((len(self.loss_names),), 0.0, "float64")
        self.count = 0

    def empty(self) -> None:
        """Forget all batches, but keep the arrays: recorded steps add to them."""
        for metric in self.metrics:
            metric.empty()
        self.total[...] = 0
        self.parts[...] = 0
        self.count = 0

    def recordable(self) -> bool:
        """Whether every metric is one of ours: an update of these adds to the arrays they have, and does no more."""
        return all(type(metric).__module__.startswith("tinynn.") for metric in self.metrics)

    def sums(self) -> list[Array]:
        """The arrays that metrics add to."""
        return [
            value for metric in self.metrics for value in vars(metric).values()
            if isinstance(value, self.backend.array_type)
        ]  # fmt: skip

    def add(
        self, loss: Array, parts: list[Array] | None, rows: int, y: Any, prediction: Tensor | list[Tensor], weights: Any
    ) -> None:
        """A batch: its loss, the losses of its outputs, targets and predictions."""
        self.total += loss * float(rows)
        self.count += rows
        if isinstance(prediction, Tensor):
            self.measure(0, y, prediction, weights)
            return
        for k, part in enumerate(parts or ()):
            self.parts[k : k + 1] += part * float(rows)
        for k, tensor in enumerate(prediction):
            self.measure(k, y[k], tensor, weights and weights[k])

    def measure(self, k: int, y: Array, prediction: Tensor, weights: Array | None) -> None:
        """The metrics of one output."""
        mask = prediction.mask
        if mask is not None:
            mask = mask.astype(WEIGHT_DTYPE)
        for metric, weighted in self.groups[k]:
            given = mask
            if weighted and weights is not None:
                given = (
                    weights
                    if mask is None
                    else mask * weights.reshape(weights.shape + (1,) * (mask.ndim - weights.ndim))
                )
            metric.update_state(y, prediction.data, given)

    def logs(self) -> Logs:
        """Read the means."""
        count = max(self.count, 1)
        result = {"loss": float(host(self.total)) / count}
        if self.loss_names:
            result |= {name: float(v) / count for name, v in zip(self.loss_names, host(self.parts), strict=True)}
        for label, metric in zip(self.labels, self.metrics, strict=True):
            value = metric.result()
            result[label] = float(value) if np.ndim(value) == 0 else value
        return result

    def state(self) -> tuple[list[Any], dict[str, np.ndarray]]:
        """What has gathered, as a record and arrays, so that an epoch can be taken up in its middle."""
        record: list[Any] = [self.count]
        arrays = {"total": np.array(host(self.total))}
        if self.loss_names:
            arrays["parts"] = np.array(host(self.parts))
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
        if self.loss_names:
            self.parts[...] = self.backend.asarray(arrays["parts"], "float64")
        for i, (metric, numbers) in enumerate(zip(self.metrics, record[1:], strict=True)):
            vars(metric).update(numbers)
            for name, array in arrays.items():
                if name.startswith(f"{i}/"):
                    setattr(metric, name.removeprefix(f"{i}/"), self.backend.asarray(array, array.dtype))
