"""What ``compile`` settled: losses with their weights, metrics with their names, output by output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import losses
from tinynn import metrics as metrics_module
from tinynn.layers.base import Layer, frozen_ids
from tinynn.models.ports import in_order
from tinynn.parameter import Parameter
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.models.model import Model


class Output:
    """One output of a model: what is expected of it, and what is measured.

    loss:    None where it is not trained
    weight:  of this loss in the sum
    metrics: (metric, its name in the logs, whether sample weights count)
    """

    def __init__(self, name: str, shape: Shape, loss: Any, weight: float):
        self.name, self.shape, self.loss, self.weight = name, shape, loss, weight
        self.metrics: list[tuple[Any, str, bool]] = []

    @property
    def wants_target(self) -> bool:
        return self.loss is not None or bool(self.metrics)


class Compiled:
    """The arguments of ``compile``, what follows from them once the shapes are known, and what was trainable then."""

    def __init__(
        self,
        loss: Any,
        optimizer: Any,
        plain: Any = None,
        weighted: Any = None,
        loss_weights: Any = None,
        trainable: Sequence[bool] = (),
        fast_math: bool = False,
        fuse: bool = True,
        jit: bool = False,
    ):
        self.loss, self.optimizer = resolved(loss), optimizer
        self.fast_math, self.fuse, self.jit = fast_math, fuse, jit
        self.plain, self.weighted, self.loss_weights = plain, weighted, loss_weights
        self.trainable = list(trainable)
        self.outputs: list[Output] = []
        self.several = False
        """Whether predictions are a list."""
        self.regularized: list[Parameter] = []
        self.frozen: frozenset[int] = frozenset()
        """Ids of the layers and parameters that are not trained: ``trainable`` as ``compile`` found it."""
        self.ready = False
        self.batch_run: Any = None
        """What train_on_batch ran with last, and goes on with: recorded steps among it."""
        for name in flat([plain, weighted]):
            # An unknown name is refused here, also while the model's shapes are not known.
            metrics_module.get(name, next(iter(flat([self.loss])), None), (1,))

    # -- what follows from the shapes --------------------------------------------------------------------------------

    def settle(self, model: Model) -> None:
        """Give every output its loss and its metrics; ValueError where they do not fit the model."""
        several, names = isinstance(model.output_shape, list), model.output_names
        shapes: list[Any] = model.output_shape if several else [model.output_shape]
        given = self.losses_for(names)
        weights = weights_for(self.loss_weights, names)
        outputs = [Output(*parts) for parts in zip(names, shapes, given, weights, strict=True)]
        for output, layer in zip(outputs, model.last_layers(), strict=True):
            if getattr(output.loss, "reduction", None) == "none":
                raise ValueError(
                    f"'{model.label}'.compile expects a loss that gives one number, got reduction='none': leave it out"
                )
            if output.loss is not None:
                label = output.name if layer is None else layer.label
                output.loss.check_output(None if layer is None else output_activation(layer), output.shape, label)
        self.measure(outputs)
        self.outputs, self.several = outputs, several

    def losses_for(self, names: Sequence[str]) -> list[Any]:
        """The loss of each output: one for all, or as a list or dict says; None where it is not trained."""
        if not isinstance(self.loss, (list, dict)):
            return [self.loss] * len(names)
        return in_order(self.loss, names, "compile(loss=...)", "output", optional=True)

    def measure(self, outputs: Sequence[Output]) -> None:
        """Make the metrics and name them, as Keras does: <output>_<metric> where there are several outputs."""
        taken: set[str] = set()
        objects: set[int] = set()
        for given, weighted in ((self.plain, False), (self.weighted, True)):
            what = "weighted_metrics" if weighted else "metrics"
            for output, names in zip(outputs, metrics_for(given, [o.name for o in outputs], what), strict=True):
                prefix = f"{output.name}_" if len(outputs) > 1 else ""
                for name in names:
                    metric = metrics_module.get(name, output.loss, output.shape)
                    if id(metric) in objects and len(outputs) > 1:
                        raise ValueError(f"compile({what}=...): {metric!r} cannot count for two outputs: make another")
                    objects.add(id(metric))
                    label = f"{prefix}{metric.name}"
                    if weighted and label in taken:
                        label = f"{prefix}weighted_{metric.name}"
                    label = free(label, taken)
                    taken.add(label)
                    output.metrics.append((metric, label, weighted))

    def prepare(self, model: Model) -> None:
        """What has to wait for the parameters: losses and metrics, what is frozen, and the optimizer's buffers."""
        self.settle(model)
        self.regularized = [p for p in model.parameters() if p.regularizer is not None]
        self.frozen = frozen_ids(model)
        self.optimizer.build([p for p in model.parameters() if id(p) not in self.frozen], model.backend)
        self.ready = True

    # -- what training asks ------------------------------------------------------------------------------------------

    @property
    def metrics(self) -> list[tuple[Any, str]]:
        """All metrics with their names, in the order of the logs."""
        found = [(metric, label, weighted) for output in self.outputs for metric, label, weighted in output.metrics]
        return [(metric, label) for wanted in (False, True) for metric, label, weighted in found if weighted == wanted]

    @property
    def loss_names(self) -> list[str]:
        """What the losses of single outputs are called in the logs; none where there is one loss only."""
        names = [f"{output.name}_loss" for output in self.outputs if output.loss is not None]
        return names if len(names) > 1 else []

    def loss_of(self, y: Any, prediction: Any, weights: Any) -> tuple[Tensor, list[Array] | None]:
        """The weighted sum of the losses of a batch, and each of them where there are several."""
        if not self.several:
            output = self.outputs[0]
            loss: Tensor = output.loss.compute(y, prediction, weights, prediction.mask)
            return loss if output.weight == 1 else loss * output.weight, None
        total: Any = None
        values = []
        for k, output in enumerate(self.outputs):
            if output.loss is None:
                continue
            part = output.loss.compute(y[k], prediction[k], weights and weights[k], prediction[k].mask)
            values.append(part.data)
            part = part if output.weight == 1 else part * output.weight
            total = part if total is None else total + part
        return total, values if len(values) > 1 else None


def resolved(loss: Any) -> Any:
    """A loss, or a list or dict of them, as objects; ValueError for an unknown name."""
    if isinstance(loss, dict) and set(loss) != {"class", "config"}:
        many: Any = {name: None if one is None else losses.get(one) for name, one in loss.items()}
    elif isinstance(loss, (list, tuple)):
        many = [None if one is None else losses.get(one) for one in loss]
    else:
        return losses.get(loss)
    if not any(flat([many])):
        raise ValueError("compile expects a loss for one output at least, got none")
    return many


def weights_for(loss_weights: Any, names: Sequence[str]) -> list[float]:
    """The weight of each output's loss: 1 where nothing is said."""
    if loss_weights is None:
        return [1.0] * len(names)
    if len(names) == 1 and isinstance(loss_weights, (int, float)):
        loss_weights = [loss_weights]
    weights = in_order(loss_weights, names, "compile(loss_weights=...)", "output", optional=True)
    for name, weight in zip(names, weights, strict=True):
        if weight is not None and (isinstance(weight, bool) or not isinstance(weight, (int, float, np.number))):
            raise TypeError(f"compile(loss_weights=...) expects numbers, got {weight!r} for the output '{name}'")
        if weight is not None and not np.isfinite(weight):
            raise ValueError(f"compile(loss_weights=...) expects finite numbers, got {weight!r} for '{name}'")
    return [1.0 if weight is None else float(weight) for weight in weights]


def metrics_for(given: Any, names: Sequence[str], what: str) -> list[list[Any]]:
    """The metrics of each output."""
    if not given:
        return [[] for _ in names]
    if len(names) == 1 and not isinstance(given, Mapping):
        inner = given[0] if len(given) == 1 and isinstance(given[0], (list, tuple)) else given
        return [[m for m in inner if m is not None]]
    if isinstance(given, (list, tuple)) and len(given) != len(names):
        raise ValueError(
            f"compile({what}=...) expects a list with an entry for each of the {len(names)} outputs, such as "
            f"[['accuracy'], ['mae']], or a dict {{'{names[0]}': ['accuracy']}}, got {list(given)!r}"
        )
    lists = in_order(given, names, f"compile({what}=...)", "output", optional=True)
    return [
        [m for m in (one if isinstance(one, (list, tuple)) else [one]) if m is not None] for one in lists
    ]  # fmt: skip


def flat(value: Any) -> list[Any]:
    """What lists and dicts hold, at any depth, without None."""
    if isinstance(value, Mapping) and set(value) != {"class", "config"}:
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        return [inner for one in value for inner in flat(one)]
    return [] if value is None else [value]


def free(label: str, taken: set[str]) -> str:
    """A name that nobody has: this one, or with a number behind it."""
    name, k = label, 0
    while name in taken:
        k += 1
        name = f"{label}_{k}"
    return name


def output_activation(layer: Any) -> str | None:
    """The name of the last activation, as far as it can be told: "linear" for a Dense without one, None if unknown."""
    if hasattr(layer, "last_layers"):  # a model inside
        last: list[Layer | None] = layer.last_layers()
        return output_activation(last[0]) if len(last) == 1 and last[0] is not None else None
    activation = getattr(layer, "activation", "unknown")
    if activation is None:
        return "linear"
    return activation if isinstance(activation, str) and activation != "unknown" else None
