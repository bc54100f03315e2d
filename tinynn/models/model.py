"""Model: layers that are trained together, with Keras's compile, fit, evaluate, predict and summary."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from tinynn import optim
from tinynn.backends import Backend
from tinynn.errors import frames_inside
from tinynn.graph import Graph
from tinynn.layers.base import Symbol
from tinynn.models import evaluation, training
from tinynn.models.callbacks import Callback, History, listed
from tinynn.models.compiled import Compiled
from tinynn.models.network import Network
from tinynn.models.options import FitOptions
from tinynn.tensor import Tensor
from tinynn.typing import Array


class Model(Network):
    """A layer made of layers that can be trained.

    ``Model(inputs, outputs)`` is the functional form: layers called on ``Input`` symbols, with skips, shared and nested
    models, several inputs and outputs (lists, or dicts with names). ``Sequential`` is the stack. A model is itself a
    layer, so it can be used inside another one.

    >>> import tinynn as nn
    >>> from tinynn import layers as L
    >>> text, age = nn.Input((100,), name="text"), nn.Input((1,), name="age")
    >>> h = L.Dense(16, activation="relu")(L.concatenate([text, age]))
    >>> outputs = [L.Dense(1, name="price")(h), L.Dense(3, activation="softmax", name="kind")(h)]
    >>> model = Model([text, age], outputs)
    >>> model.compile("adam", {"price": "mse", "kind": "sparse_categorical_crossentropy"}, loss_weights={"price": 0.5})
    >>> model.metrics_names
    ['loss', 'price_loss', 'kind_loss']

    A subclass makes its layers in ``__init__`` (lists of them too) and writes ``forward``; ``fit`` trains it, or a loop
    of your own:

    >>> class Twins(Model):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.towers = [L.Dense(8, activation="relu") for _ in range(2)]
    ...         self.head = L.Dense(1)
    ...     def forward(self, x):
    ...         left, right = (tower(part) for tower, part in zip(self.towers, x))
    ...         return self.head(left * right)
    >>> import numpy as np
    >>> a, b, y = np.ones((4, 3)), np.ones((4, 2)), np.ones((4, 1))
    >>> twins, optimizer = Twins(), nn.optim.Adam(0.01)
    >>> before = twins.predict([a, b])  # a first call makes the weights
    >>> optimizer.build(twins.parameters())
    >>> for step in range(100):
    ...     graph = nn.Graph(training=True)
    ...     loss = nn.losses.mean_squared_error(y, twins([graph.tensor(a), graph.tensor(b)]))
    ...     graph.backward(loss)
    ...     optimizer.step()
    >>> float(loss) < 0.1
    True

    backend: "cpu", "reference", "gpu", or None for the default (``TINYNN_BACKEND``, else "cpu")
    """

    def __init__(
        self,
        inputs: Symbol | Sequence[Symbol] | Mapping[str, Symbol] | None = None,
        outputs: Symbol | Sequence[Symbol] | Mapping[str, Symbol] | None = None,
        name: str | None = None,
        backend: str | Backend | None = None,
    ):
        super().__init__(inputs, outputs, name, backend)
        self.stop_training = False
        self.history: History | None = None
        self.shuffles = 0
        """How many orders of the rows were drawn, so that a second ``fit`` goes on with new ones."""

    # -- compile -----------------------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Sequence[Any] | Mapping[str, Any] | None = None,
        weighted_metrics: Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        loss_weights: Sequence[float] | Mapping[str, float] | None = None,
        fast_math: bool = True,
        fuse: bool = True,
        jit: bool = False,
    ) -> None:
        """Settle how to train: names, objects or callables, as in Keras. ``trainable`` flags take effect now.

        ``metrics`` count every row alike, ``weighted_metrics`` by its sample and class weight.

        ``fast_math`` admits convolutions by Winograd's F(4x4, 3x3) and F(2x2, 5x5), which are faster and round about
        ten times as much as the sum written down (to some 1e-5 of the largest output); what networks reach with and
        without it stands in benchmarks/results (fast-math). On a GPU it admits TF32 in convolutions, as PyTorch does
        by default: factors are rounded to 10 bits behind the point, sums are float32 (some 1e-4 of the largest output).
        ``fuse=False`` runs every layer by itself, where fit, evaluate and predict would run a convolution, its
        normalization, activation and pooling as one; the numbers are the same up to rounding. A graph made by hand,
        and a model that was not compiled, do neither unless asked.

        ``jit=True`` lets fit and train_on_batch record a training step once for each shape of batch and then repeat it
        as a whole, where the backend can (a CUDA graph): a small network is not bound any more by the time it takes to
        launch kernels. The numbers are the same. What a step decides in Python is decided while it is recorded: a
        callback that changes an attribute of a layer, a regularizer or the optimizer makes it record again, but nobody
        looks at what functions of your own find in global variables. On a CPU nothing is recorded.

        With several outputs ``loss`` is one for all, a list, or a dict by ``output_names`` (None: this output is not
        trained); the sum of them is minimised, each times its weight in ``loss_weights``. ``metrics`` have an entry
        (one, or a list) for every output, or are a dict.

        Raises ValueError for an unknown name (with the nearest known one) or a loss that does not fit the output.
        """
        if loss is None:
            raise ValueError(f"'{self.label}'.compile expects a loss, such as loss='categorical_crossentropy'")
        for given in (metrics, weighted_metrics):
            if given is not None and not isinstance(given, (list, tuple, Mapping)):
                raise TypeError(
                    f"'{self.label}'.compile expects metrics as a list, such as ['accuracy'], got {given!r}"
                )
        if steps := [name for name in ("train_step", "test_step", "predict_step") if hasattr(self, name)]:
            warnings.warn(
                f"'{self.label}' has {' and '.join(steps)}, which fit, evaluate and predict do not call, unlike "
                "Keras's: write a loop over graph = model.graph(training=True), model(graph.tensor(x)), "
                "graph.backward(loss) and optimizer.step()",
                stacklevel=frames_inside(),
            )
        self._plan = None  # layers may have been changed since it was made
        trainable = [layer.trainable for layer in self.all_layers()]
        compiled = Compiled(
            loss,
            optim.get(optimizer),
            metrics,
            weighted_metrics,
            loss_weights,
            trainable,
            fast_math=bool(fast_math),
            fuse=bool(fuse),
            jit=bool(jit),
        )
        if self.built:
            compiled.prepare(self)
        self.compiled = compiled

    def _ready(self) -> Compiled:
        """After compile and build: the optimizer has taken the parameters."""
        compiled = self.require_compiled("fit")
        if not compiled.ready:
            compiled.prepare(self)
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
        return [metric for metric, _ in self.require_compiled("metrics").metrics]

    @property
    def metrics_names(self) -> list[str]:
        """What ``evaluate`` returns, in order."""
        compiled = self.require_compiled("metrics_names")
        return ["loss", *compiled.loss_names, *(label for _, label in compiled.metrics)]

    def warn_of_stale_trainable(self) -> None:
        """``trainable`` takes effect at ``compile``; whoever changed it since then is told so."""
        compiled = self.require_compiled("fit")
        if compiled.trainable != [layer.trainable for layer in self.all_layers()]:
            warnings.warn(
                f"'{self.label}': trainable was changed after compile and has no effect yet: compile again",
                stacklevel=3,
            )

    # -- loss --------------------------------------------------------------------------------------------------------

    def total_loss(self, graph: Graph, x: Any, y: Any, sample_weight: Any = None) -> Tensor:
        """What training minimises: the loss of a batch, plus the penalties of regularizers and layers.

        x: a Tensor, or a list of them; y, sample_weight: arrays, or lists of them where there are several outputs
        """
        return self.forward_pass(graph, x, y, sample_weight)[0]

    def loss_and_prediction(self, graph: Graph, x: Any, y: Any, sample_weight: Any = None) -> tuple[Tensor, Any]:
        """The total loss, and what it was computed from."""
        loss, _, prediction = self.forward_pass(graph, x, y, sample_weight)
        return loss, prediction

    def forward_pass(
        self, graph: Graph, x: Any, y: Any, sample_weight: Any = None
    ) -> tuple[Tensor, list[Array] | None, Any]:
        """(the total loss, the losses of single outputs where there are several, the prediction)."""
        compiled = self.require_compiled("total_loss")
        prediction = self(x)
        if not compiled.outputs:
            compiled.settle(self)
        loss, parts = compiled.loss_of(y, prediction, sample_weight)
        for parameter in compiled.regularized:
            loss = loss + parameter.regularizer(graph.parameter(parameter))
        for penalty in graph.losses:
            loss = loss + penalty
        return loss, parts, prediction

    # -- training ----------------------------------------------------------------------------------------------------

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | Callback | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Sequence[int] = 1,
    ) -> History:
        """Train, and return the History: one value of loss and of each metric per epoch.

        x, y:             arrays, lists or frames with one row per example; of several inputs or outputs a list or tuple
                          of arrays, or a dict by ``input_names``, ``output_names``. Or as x, without y, a data set:
                          ``data.Dataset``, windows, a generator or another iterable of batches (x, y[, weights])
        batch_size:       32 where it is None; a data set has its own
        epochs:           the number of the last epoch; counting begins at ``initial_epoch``
        verbose:          0 silent, 1 a moving bar (one line per epoch where output is no terminal), 2 one line
        validation_split: this share of the rows, the last ones, is held out
        validation_data:  (x, y) or (x, y, weights), or a data set, instead of a share
        shuffle:          a new order of the rows in every epoch
        class_weight:     {class: weight}; classes left out weigh 1
        steps_per_epoch:  stop an epoch after so many batches; a generator needs it unless it ends after one epoch
        validation_freq:  validate every so many epochs, or after the listed ones

        Everything is checked before the first step, batches of a data set before they are computed with; a refusal
        leaves the model as it was. A gradient that is not finite
        stops training with a ValueError that names the layer; the weights are those of the last good step.
        """
        options = FitOptions(
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
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
        return_dict: bool = False,
    ) -> Any:
        """The loss and metrics over a data set: a number, a list in the order of ``metrics_names``, or a dict."""
        logs = evaluation.evaluate(self, x, y, batch_size, verbose, sample_weight, steps, listed(callbacks))
        return logs if return_dict else scalar_or_list(logs)

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | Callback | None = None,
    ) -> Any:
        """The outputs for every row of x: a NumPy array, or a list of arrays (a dict, if the outputs came as one)."""
        return evaluation.predict(self, x, batch_size, steps, listed(callbacks))

    def train_on_batch(
        self,
        x: Any,
        y: Any,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """One optimizer step on one batch; returns the loss and metrics of that batch."""
        logs = training.train_on_batch(self, x, y, sample_weight, class_weight)
        return logs if return_dict else scalar_or_list(logs)

    def test_on_batch(self, x: Any, y: Any, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and metrics of one batch, without training."""
        logs = evaluation.evaluate(self, x, y, None, 0, sample_weight, None, [], whole=True)
        return logs if return_dict else scalar_or_list(logs)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        return evaluation.predict(self, x, None, None, [], whole=True)

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
        import json

        from tinynn.models import architecture

        return json.dumps(architecture.to_record(self))


def scalar_or_list(logs: dict[str, float]) -> Any:
    """Keras returns a number where there are no metrics."""
    values = list(logs.values())
    return values[0] if len(values) == 1 else values
