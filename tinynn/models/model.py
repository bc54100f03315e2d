"""Model: layers that are trained together, with Keras's compile, fit, evaluate, predict and summary."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinynn import backends, losses, optim
from tinynn import metrics as metrics_module
from tinynn.backends import Backend
from tinynn.errors import nearest
from tinynn.graph import Graph
from tinynn.layers.base import Layer, Symbol, frozen_ids, snake_case
from tinynn.layers.recurrent import Recurrent
from tinynn.models import door, evaluation, functional, fusion, training
from tinynn.models.callbacks import Callback, History, listed
from tinynn.models.summary import Row, table
from tinynn.parameter import Parameter
from tinynn.random import Stream
from tinynn.tensor import Tensor
from tinynn.typing import ArrayLike


class Compiled:
    """What ``compile`` settled: loss, optimizer, metrics, and which layers were trainable then."""

    def __init__(
        self,
        loss: Any,
        optimizer: Any,
        plain: Sequence[Any],
        weighted: Sequence[Any],
        trainable: list[bool],
        fast_math: bool = False,
        fuse: bool = True,
    ):
        self.loss, self.optimizer, self.fast_math, self.fuse = loss, optimizer, fast_math, fuse
        self.metric_names = [*plain, *weighted]
        self.weighted_from = len(plain)
        """From this metric on sample weights count."""
        self.trainable = trainable
        self.metrics: list[Any] = []
        self.regularized: list[Parameter] = []
        self.frozen: frozenset[int] = frozenset()
        """Ids of the layers and parameters that are not trained: ``trainable`` as ``compile`` found it."""
        self.ready = False


class Model(Layer):
    """A layer made of layers that can be trained.

    ``Model(inputs, outputs)`` is the functional form: layers called on ``Input`` symbols, with skips, shared and nested
    models. ``Sequential`` is the stack. A model is itself a layer, so it can be used inside another one.

    backend: "cpu", "reference", "gpu", or None for the default (``TINYNN_BACKEND``, else "cpu")
    """

    def __init__(
        self,
        inputs: Symbol | Sequence[Symbol] | None = None,
        outputs: Symbol | Sequence[Symbol] | None = None,
        name: str | None = None,
        backend: str | Backend | None = None,
    ):
        super().__init__(name=name)
        self.name = name or snake_case(type(self).__name__)
        self.auto_named = name is None
        self.stream = Stream()
        self.names: dict[int, str] = {}
        """Names that layers have in this model only, because their own was taken here."""
        if isinstance(backend, str) and backend not in backends.NAMES:
            backends.get(backend)
        self._backend = backend
        self.compiled: Compiled | None = None
        self._plan: fusion.Plan | None = None
        self.stop_training = False
        self.history: History | None = None
        self.shuffles = 0
        """How many orders of the rows were drawn, so that a second ``fit`` goes on with new ones."""
        if inputs is not None:
            self._wire(inputs, outputs)

    # -- structure ---------------------------------------------------------------------------------------------------

    def _wire(self, inputs: Any, outputs: Any) -> None:
        """The functional form: find the calls between inputs and outputs."""
        self.inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        self.outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
        # Old listings write Model(inputs=[x], outputs=[y]); lists of one are that one.
        self.many_inputs, self.many_outputs = len(self.inputs) != 1, len(self.outputs) != 1
        for symbol in [*self.inputs, *self.outputs]:
            if not isinstance(symbol, Symbol):
                raise TypeError(
                    f"'{self.label}' expects inputs and outputs made by Input(...) and layers called on them, "
                    f"got {symbol!r}"
                )
        self.order = functional.call_order(self.inputs, self.outputs)
        self.stack = functional.layers_of(self.order)
        named: list[Layer] = []
        for layer in self.stack:
            self.take_name(layer, self.free_name(layer, named))
            named.append(layer)
        self.input_dtype = self.inputs[0].dtype
        shapes, results = [s.shape for s in self.inputs], [s.shape for s in self.outputs]
        self.built_for = shapes if self.many_inputs else shapes[0]
        self.output_shape = results if self.many_outputs else results[0]
        self.built = True
        self.name_variables()

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, in order."""
        return list(self.layers_inside())

    @property
    def last(self) -> Layer | None:
        """The layer that gives the output; None where there is none, or several outputs."""
        if hasattr(self, "outputs"):
            return self.outputs[0].layer if len(self.outputs) == 1 else None
        return self.layers[-1] if self.layers else None

    @property
    def last_name(self) -> str:
        """Its name, for messages."""
        return self.last.label if self.last is not None else self.label

    @property
    def first_name(self) -> str:
        return self.layers[0].label if self.layers else self.label

    def free_name(self, layer: Layer, others: Iterable[Layer]) -> str:
        """The name a layer gets in this model: its own, or ``dense``, ``dense_1``, ...; ValueError if both insist."""
        taken = {self.name_of(other, other.label) for other in others}
        if layer.name is not None and layer.name not in taken:
            return layer.name
        if layer.name is not None and not layer.auto_named:
            raise ValueError(
                f"'{self.label}' has two layers of the name '{layer.name}': give one of them another name=..."
            )
        base, k = snake_case(type(layer).__name__), 0
        while (name := f"{base}_{k}" if k else base) in taken:
            k += 1
        return name

    def take_name(self, layer: Layer, name: str) -> None:
        """A layer without a name takes this one for good; one that another model named has it here only."""
        if layer.name is None:
            layer.name, layer.auto_named = name, True
        elif layer.name != name:
            self.names[id(layer)] = name

    def name_of(self, layer: Layer, key: str) -> str:
        return self.names.get(id(layer)) or layer.name or key

    @property
    def root_path(self) -> str:
        """The variables of a model are called ``dense/kernel``, without the model's own name."""
        return ""

    def name_variables(self) -> None:
        """Give new variables inside their paths and this model's random stream."""
        assert self.stream is not None
        self.bind(self.stream, "", self.backend if self._backend is not None else None)
        self.substreams, self.bound = {}, True

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """A layer by its name or its position; LookupError names the nearest."""
        if (name is None) == (index is None):
            raise ValueError("get_layer expects a name or an index")
        if index is not None:
            return self.layers[index]
        for layer in self.layers:
            if self.name_of(layer, layer.label) == name:
                return layer
        known = [self.name_of(layer, layer.label) for layer in self.layers]
        raise LookupError(f"'{self.label}' has no layer '{name}': {nearest(str(name), known)}")

    def __call__(self, x: Any, **options: Any) -> Any:
        one = isinstance(x, (list, tuple)) and len(x) == 1 and not getattr(self, "many_inputs", True)
        return super().__call__(x[0] if one else x, **options)

    def carry_mask(self, x: Any, y: Any) -> None:
        """The layers inside did it."""

    def forward(self, x: Any) -> Any:
        """The functional form's calls; a subclass may write its own with the layers that its constructor made."""
        return self.run(x)

    def run(self, x: Any, visit: functional.Visit = None) -> Any:
        """Forward, layer by layer; ``visit(layer, output)`` sees every call."""
        if not hasattr(self, "order"):
            raise NotImplementedError(
                f"'{self.label}' has no forward: make it as Model(inputs, outputs), or write forward(x)"
            )
        tensors = x if self.many_inputs else [x]
        fused = visit is None and tensors[0].graph.fuse
        steps = self.fusion_plan.steps if fused else map(functional.Step, self.order)
        values = functional.run(steps, self.inputs, tensors, visit)
        results = [values[id(s)] for s in self.outputs]
        return results if self.many_outputs else results[0]

    @property
    def fusion_plan(self) -> fusion.Plan:
        """What runs with fused blocks call, settled at the first one."""
        if self._plan is None:
            self._plan = self._planned()
        return self._plan

    def _planned(self) -> fusion.Plan:
        return fusion.of_calls(self.order, self.outputs)

    def trace(self, x: Any) -> list[tuple[Layer, Any]]:
        """Run forward; every layer called with its output. A model with a forward of its own shows only the end."""
        calls: list[tuple[Layer, Any]] = []
        if type(self).forward is not Model.forward:
            return [(self, self.forward(x))]
        self.run(x, lambda layer, output: calls.append((layer, output)))
        return calls

    def ensure_built(self, input_shape: Any) -> Any:
        built = self.built
        shape = super().ensure_built(input_shape)
        if not built:
            self.name_variables()
        return shape

    # -- backend -----------------------------------------------------------------------------------------------------

    @property
    def backend(self) -> Backend:
        """The backend of this model; settable between NumPy backends ("cpu", "reference") at any time."""
        return backends.get(self._backend)

    @backend.setter
    def backend(self, backend: str | Backend | None) -> None:
        new, old = backends.get(backend), self.backend
        if new.array_type is not old.array_type and any(v.drawn for v in self.variables()):
            raise NotImplementedError("moving drawn weights between host and device: set the backend first")
        self._backend = new
        for variable in self.variables():
            variable.backend = new
        if self.compiled is not None and self.compiled.optimizer.built:
            self.compiled.optimizer.backend = new

    def graph(self, training: bool = False, gradients: bool = True, fuse: bool = False) -> Graph:
        """A fresh graph on this model's backend; ``fuse`` as far as ``compile`` allows it."""
        graph = Graph(backend=self.backend, training=training, gradients=gradients, fuse=fuse)
        if (compiled := self.compiled) is not None:
            graph.frozen, graph.fast_math, graph.fuse = compiled.frozen, compiled.fast_math, fuse and compiled.fuse
        return graph

    # -- compile -----------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Sequence[Any] | None = None,
        weighted_metrics: Sequence[Any] | None = None,
        *,
        fast_math: bool = True,
        fuse: bool = True,
    ) -> None:
        """Settle how to train: names, objects or callables, as in Keras. ``trainable`` flags take effect now.

        ``metrics`` count every row alike, ``weighted_metrics`` by its sample and class weight. ``fast_math`` admits
        convolutions by Winograd's F(4x4, 3x3) and F(2x2, 5x5), which are faster and round about ten times as much as
        the sum written down (to some 1e-5 of the largest output); what networks reach with and without it stands in
        benchmarks/results (fast-math). ``fuse=False`` runs every layer by itself, where fit, evaluate and predict
        would run a convolution, its normalization, activation and pooling as one; the numbers are the same up to
        rounding. A graph made by hand, and a model that was not compiled, do neither unless asked.


        Raises ValueError for an unknown name (with the nearest known one) or a loss that does not fit the output.
        """
        if loss is None:
            raise ValueError(f"'{self.label}'.compile expects a loss, such as loss='categorical_crossentropy'")
        for given in (metrics, weighted_metrics):
            if given is not None and not isinstance(given, (list, tuple)):
                raise TypeError(
                    f"'{self.label}'.compile expects metrics as a list, such as ['accuracy'], got {given!r}"
                )
        self._plan = None  # layers may have been changed since it was made
        trainable = [layer.trainable for layer in self.all_layers()]
        compiled = Compiled(
            losses.get(loss),
            optim.get(optimizer),
            metrics or [],
            weighted_metrics or [],
            trainable,
            bool(fast_math),
            bool(fuse),
        )
        for name in compiled.metric_names:
            # An unknown name is refused here, also while the model's shapes are not known.
            metrics_module.get(name, compiled.loss, (1,))
        if self.built:
            self._prepare(compiled)
        self.compiled = compiled

    def _metrics(self, compiled: Compiled) -> list[Any]:
        found = [metrics_module.get(name, compiled.loss, self.output_shape) for name in compiled.metric_names]
        for i, metric in enumerate(found):
            if i >= compiled.weighted_from and any(metric.name == other.name for other in found[:i]):
                metric.name = f"weighted_{metric.name}"
            name, k = metric.name, 0
            while any(metric.name == other.name for other in found[:i]):
                k += 1
                metric.name = f"{name}_{k}"
        return found

    def _prepare(self, compiled: Compiled) -> None:
        """What has to wait for the parameters: metrics, what is frozen, and the optimizer's buffers."""
        if getattr(compiled.loss, "reduction", None) == "none":
            raise ValueError(
                f"'{self.label}'.compile expects a loss that gives one number, got reduction='none': leave it out"
            )
        compiled.loss.check_output(output_activation(self), self.output_shape, self.last_name)
        compiled.metrics = self._metrics(compiled)
        compiled.regularized = [p for p in self.parameters() if p.regularizer is not None]
        compiled.frozen = frozen_ids(self)
        compiled.optimizer.build([p for p in self.parameters() if id(p) not in compiled.frozen], self.backend)
        compiled.ready = True

    def _ready(self) -> Compiled:
        """After compile and build: the optimizer has taken the parameters."""
        compiled = self.require_compiled("fit")
        if not compiled.ready:
            self._prepare(compiled)
        return compiled

    def require_compiled(self, what: str) -> Compiled:
        if self.compiled is None:
            raise RuntimeError(
                f"'{self.label}'.{what} before compile: call "
                "model.compile(optimizer=..., loss=..., metrics=[...]) first "
                "(adding or removing a layer asks for it again)"
            )
        return self.compiled

    @property
    def loss(self) -> Any:
        return self.require_compiled("loss").loss

    @property
    def optimizer(self) -> Any:
        return self.require_compiled("optimizer").optimizer

    @property
    def metrics(self) -> list[Any]:
        return list(self.require_compiled("metrics").metrics)

    @property
    def metrics_names(self) -> list[str]:
        """What ``evaluate`` returns, in order."""
        return ["loss", *(m.name for m in self.metrics)]

    def all_layers(self) -> list[Layer]:
        """This model and every layer inside it, at any depth."""
        found: list[Layer] = [self]
        for layer in found:
            found.extend(la for la in layer.layers_inside() if not any(la is other for other in found))
        return found

    def warn_of_stale_trainable(self) -> None:
        """``trainable`` takes effect at ``compile``; whoever changed it since then is told so."""
        compiled = self.require_compiled("fit")
        if compiled.trainable != [layer.trainable for layer in self.all_layers()]:
            warnings.warn(
                f"'{self.label}': trainable was changed after compile and has no effect yet: compile again",
                stacklevel=3,
            )

    # -- loss --------------------------------------------------------------------------------------------------------

    def total_loss(self, graph: Graph, x: Tensor, y: Any, sample_weight: Any = None) -> Tensor:
        """What training minimises: the loss of a batch, plus the penalties of regularizers and layers."""
        return self.loss_and_prediction(graph, x, y, sample_weight)[0]

    def loss_and_prediction(self, graph: Graph, x: Tensor, y: Any, sample_weight: Any = None) -> tuple[Tensor, Tensor]:
        compiled = self.require_compiled("total_loss")
        prediction = self(x)
        loss: Tensor = compiled.loss.compute(y, prediction, sample_weight, prediction.mask)
        for parameter in compiled.regularized:
            loss = loss + parameter.regularizer(graph.parameter(parameter))
        for penalty in graph.losses:
            loss = loss + penalty
        return loss, prediction

    # -- training ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: ArrayLike | None = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train, and return the History: one value of loss and of each metric per epoch.

        x, y:             arrays, lists or frames with one row per example; or as x a data set of windows, without y
        batch_size:       32 where it is None
        epochs:           the number of the last epoch; counting begins at ``initial_epoch``
        verbose:          0 silent, 1 a moving bar (one line per epoch where output is no terminal), 2 one line
        validation_split: this share of the rows, the last ones, is held out
        validation_data:  (x, y) or (x, y, weights), instead of a share
        shuffle:          a new order of the rows in every epoch
        class_weight:     {class: weight}; classes left out weigh 1
        steps_per_epoch:  stop an epoch after so many batches
        validation_freq:  validate every so many epochs, or after the listed ones

        Everything is checked before the first step; a refusal leaves the model as it was. A gradient that is not finite
        stops training with a ValueError that names the layer; the weights are those of the last good step.
        """
        options = door.FitOptions(
            batch_size=batch_size,
            epochs=epochs,
            verbose=verbose,
            callbacks=listed(callbacks),
            validation_split=validation_split,
            validation_data=validation_data,
            shuffle=shuffle,
            class_weight=class_weight,
            sample_weight=sample_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
            validation_freq=validation_freq,
        )
        return training.fit(self, x, y, options)

    def evaluate(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: ArrayLike | None = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics over a data set: a number, a list in the order of ``metrics_names``, or a dict."""
        logs = evaluation.evaluate(self, x, y, batch_size, verbose, sample_weight, steps, listed(callbacks))
        return logs if return_dict else scalar_or_list(logs)

    def predict(
        self,
        x: ArrayLike,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
    ) -> np.ndarray:
        """The outputs for every row of x, as a NumPy array."""
        return evaluation.predict(self, x, batch_size, steps, listed(callbacks))

    def train_on_batch(
        self,
        x: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One optimizer step on one batch; returns the loss and metrics of that batch."""
        logs = training.train_on_batch(self, x, y, sample_weight, class_weight)
        return logs if return_dict else scalar_or_list(logs)

    def test_on_batch(
        self, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None, return_dict: bool = False
    ) -> Any:
        """The loss and metrics of one batch, without training."""
        logs = evaluation.evaluate(self, x, y, None, 0, sample_weight, None, [], whole=True)
        return logs if return_dict else scalar_or_list(logs)

    def predict_on_batch(self, x: ArrayLike) -> np.ndarray:
        """The outputs for one batch."""
        return evaluation.predict(self, x, None, None, [], whole=True)

    # -- states ------------------------------------------------------------------------------------------------------

    def reset_states(self) -> None:
        """Forget the states that recurrent layers with ``stateful=True`` carry from batch to batch."""
        for layer in self.all_layers():
            if isinstance(layer, Recurrent):
                layer.reset_states()

    reset_state = reset_states
    """Keras 3's name."""

    # -- saving ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write all of this model into one file: ``tinynn.load_model(path)`` makes one that goes on as this one would.

        Architecture, weights, the optimizer with its state, random counters and the order of the data: training on
        gives the same bytes. A crash while it is written leaves the old file. Raises TypeError for what cannot be
        written down (a Lambda), FileExistsError with overwrite=False.
        """
        from tinynn.models import saving

        saving.save_model(self, path, overwrite)

    def save_weights(self, path: str | os.PathLike[str], overwrite: bool = True) -> None:
        """Write the weights by their names (``dense/kernel``) into a safetensors file."""
        from tinynn.models import saving

        saving.save_weights(self, path, overwrite)

    def load_weights(self, path: str | os.PathLike[str], strict: bool = True) -> None:
        """Read weights by their names from a safetensors file or a saved model: all, or (a ValueError) none.

        strict: False takes what fits and warns of the rest
        """
        from tinynn.models import saving

        saving.load_weights(self, path, strict)

    def to_json(self) -> str:
        """The architecture alone, without weights: ``models.model_from_json(text)`` makes it again."""
        from tinynn.models import architecture

        return json.dumps(architecture.to_record(self))

    # -- reading -----------------------------------------------------------------------------------------------------

    def summary(self, print_fn: Any = print) -> None:
        """Print Keras's table of layers, output shapes and counts; allocates no weights."""
        self.require_built("summary")
        rows = [
            Row(
                self.name_of(layer, layer.label),
                type(layer).__name__,
                layer.output_shape,
                sum(v.size for v in layer.variables()),
            )
            for layer in self.layers
        ]
        print_fn(table(self.label, rows, self.variables(), {id(v) for v in self.non_trainable_weights}))


def scalar_or_list(logs: dict[str, float]) -> Any:
    """Keras returns a number where there are no metrics."""
    values = list(logs.values())
    return values[0] if len(values) == 1 else values


def output_activation(layer: Layer) -> str | None:
    """The name of the last activation, as far as it can be told: "linear" for a Dense without one, None if unknown."""
    if isinstance(layer, Model):
        plain = type(layer).run is not Model.run or hasattr(layer, "order")
        return output_activation(layer.last) if plain and layer.last is not None else None
    activation = getattr(layer, "activation", "unknown")
    if activation is None:
        return "linear"
    return activation if isinstance(activation, str) and activation != "unknown" else None
