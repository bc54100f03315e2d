"""The training loop: epochs, batches, one step, and what is measured on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import host
from tinynn.data import Arrays
from tinynn.data.arrays import Rows, fetch, rows_of
from tinynn.graph import Graph
from tinynn.models import door
from tinynn.models.callbacks import Callback, CallbackList, History, Logs
from tinynn.models.diagnosis import not_finite_error
from tinynn.models.progress import Progress
from tinynn.optim.base import State
from tinynn.tensor import Tensor
from tinynn.typing import Array, ArrayLike

if TYPE_CHECKING:
    from tinynn.models.model import Model

DEFAULT_BATCH_SIZE = 32
WEIGHT_DTYPE = np.dtype("float32")


@dataclass
class FitOptions:
    """The arguments of ``fit`` as they came."""

    batch_size: int | None
    epochs: int
    verbose: int | str
    callbacks: list[Callback]
    validation_split: float
    validation_data: Any
    shuffle: bool
    class_weight: dict[int, float] | None
    sample_weight: ArrayLike | None
    initial_epoch: int
    steps_per_epoch: int | None
    validation_steps: int | None
    validation_batch_size: int | None
    validation_freq: int | Sequence[int]


class Meter:
    """Running means of loss and metrics, summed on the backend and read only when somebody asks."""

    def __init__(self, model: Model):
        self.metrics = model.compiled.metrics  # type: ignore[union-attr]
        self.weighted_from = model.compiled.weighted_from  # type: ignore[union-attr]
        for metric in self.metrics:
            metric.reset_state()
        self.total = model.backend.full((), 0.0, "float64")
        self.count = 0

    def add(self, loss: Array, rows: int, y: Array, prediction: Array, weights: Array | None) -> None:
        self.total += loss * float(rows)
        self.count += rows
        for i, metric in enumerate(self.metrics):
            metric.update_state(y, prediction, weights if i >= self.weighted_from else None)

    def logs(self) -> Logs:
        """Read the means."""
        result = {"loss": float(host(self.total)) / max(self.count, 1)}
        for metric in self.metrics:
            value = metric.result()
            result[metric.name] = float(value) if np.ndim(value) == 0 else value
        return result


class Feed:
    """Batches of a data set as arrays of the model's backend."""

    def __init__(self, model: Model, data: Arrays):
        self.backend, self.data = model.backend, data
        dtype = model.layers[0].input_dtype if model.input_dtype is None and model.layers else model.input_dtype
        self.dtype = np.dtype(dtype or "float32")
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


# -- fit -------------------------------------------------------------------------------------------------------------


def fit(model: Model, x: ArrayLike, y: ArrayLike, options: FitOptions) -> History:
    """Check everything, then train."""
    model.require_compiled("fit")
    batch_size, epochs, initial_epoch, steps = checked_counts(options)
    validate_on = checked_frequency(options.validation_freq)
    with undo_build_on_error(model):
        data, held_out = checked_data(model, x, y, options)
        model._ready()
    model.warn_of_stale_trainable()
    total_steps = -(-len(data) // batch_size)
    steps = total_steps if steps is None else min(steps, total_steps)
    verbose = 1 if options.verbose == "auto" else options.verbose
    history = History()
    params = {
        "epochs": epochs,
        "steps": steps,
        "verbose": verbose,
        "batch_size": batch_size,
        "samples": len(data),
        "seed": model.stream.seed,  # type: ignore[union-attr]
        "stream": model.stream.index,  # type: ignore[union-attr]
    }
    callbacks = CallbackList([*options.callbacks, history], model, params)
    model.history, model.stop_training = history, False
    progress = Progress(int(verbose), epochs, steps) if verbose else None
    validation = None
    if held_out is not None:
        size = options.validation_batch_size or batch_size
        validation = Evaluation(model, held_out, size, options.validation_steps)
    run = Run(model, data, batch_size, steps, options.shuffle, progress, callbacks)
    callbacks.call("on_train_begin", {})
    logs: Logs = {}
    try:
        for epoch in range(initial_epoch, epochs):
            if progress is not None:
                progress.begin(epoch)
            callbacks.call("on_epoch_begin", epoch, {})
            logs = run.epoch()
            if validation is not None and validate_on(epoch + 1):
                logs |= {f"val_{name}": value for name, value in validation.run(callbacks).items()}
            if progress is not None:
                progress.end(logs)
            callbacks.call("on_epoch_end", epoch, logs)
            if model.stop_training:
                break
    finally:
        if progress is not None:
            progress.close()
    callbacks.call("on_train_end", logs)
    return history


class Run:
    """What stays the same from epoch to epoch of one ``fit``."""

    def __init__(
        self,
        model: Model,
        data: Arrays,
        batch_size: int,
        steps: int,
        shuffle: bool,
        progress: Progress | None,
        callbacks: CallbackList,
    ):
        self.model, self.data, self.batch_size, self.steps, self.shuffle = model, data, batch_size, steps, shuffle
        self.progress, self.callbacks = progress, callbacks
        self.feed = Feed(model, data)
        self.graph = model.graph(training=True)
        self.optimizer = model.compiled.optimizer  # type: ignore[union-attr]

    def epoch(self) -> Logs:
        """One pass over the data; the means of loss and metrics over its batches."""
        model, callbacks, progress = self.model, self.callbacks, self.progress
        order = self.order()
        meter = Meter(model)
        self.optimizer.state[State.FIRST_SKIPPED] = -1
        start, first_step = host(self.optimizer.state).copy(), model.stream.step.copy()  # type: ignore[union-attr]
        before, after = callbacks.hooks("on_train_batch_begin"), callbacks.hooks("on_train_batch_end")
        total = len(self.data)

        def check() -> None:
            """Where the loss is read anyway: has any step been skipped for a gradient that was not finite?"""
            state = host(self.optimizer.state)
            if state[State.SKIPPED] > start[State.SKIPPED]:
                batch = int(state[State.FIRST_SKIPPED] - start[State.CALLS])
                rows = rows_of(order, batch, self.batch_size, total)
                raise not_finite_error(model, self.feed, rows, batch, first_step + np.uint32(batch))

        for batch in range(self.steps):
            for hook in before:
                hook(batch, {})
            self.step(rows_of(order, batch, self.batch_size, total), meter)
            if after:
                check()
                logs = meter.logs()
                for hook in after:
                    hook(batch, logs)
            if progress is not None and progress.due():
                check()
                progress.show(batch + 1, meter.logs())
            if model.stop_training and after:
                break
        check()
        return meter.logs()

    def order(self) -> np.ndarray | None:
        """The order of the rows in this epoch."""
        number = self.model.epochs_begun
        self.model.epochs_begun += 1
        if not self.shuffle:
            return None
        return self.model.stream.generator("shuffle", number).permutation(len(self.data))  # type: ignore[union-attr]

    def step(self, rows: Rows, meter: Meter) -> None:
        """Forward, backward, update: the whole of training."""
        graph = self.graph
        x, y, w = self.feed(graph, rows)
        loss, prediction = self.model.loss_and_prediction(graph, x, y, w)
        value = loss.data
        graph.backward(loss)
        self.optimizer.step()
        meter.add(value, x.data.shape[0], y, prediction.data, w)


def train_on_batch(
    model: Model, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, class_weight: dict[int, float] | None
) -> Logs:
    """One step on one batch."""
    model.require_compiled("train_on_batch")
    with undo_build_on_error(model):
        data = door.with_class_weights(checked_arrays(model, x, y, sample_weight), class_weight)
        model._ready()
    run = Run(model, data, len(data), 1, False, None, CallbackList([], model, {}))
    return run.epoch()


# -- evaluate and predict --------------------------------------------------------------------------------------------


class Evaluation:
    """The loss and metrics over a data set, without training."""

    def __init__(self, model: Model, data: Arrays, batch_size: int, steps: int | None = None):
        self.model, self.data, self.batch_size = model, data, batch_size
        total = -(-len(data) // batch_size)
        self.steps = total if steps is None else min(door.whole_number(steps, "steps", 1), total)
        self.feed = Feed(model, data)

    def run(self, callbacks: CallbackList) -> Logs:
        graph = self.model.graph(gradients=False)
        meter = Meter(self.model)
        callbacks.call("on_test_begin", {})
        for batch in range(self.steps):
            callbacks.call("on_test_batch_begin", batch, {})
            x, y, w = self.feed(graph, rows_of(None, batch, self.batch_size, len(self.data)))
            loss, prediction = self.model.loss_and_prediction(graph, x, y, w)
            meter.add(loss.data, x.data.shape[0], y, prediction.data, w)
            graph.reset()
            if callbacks.hooks("on_test_batch_end"):
                callbacks.call("on_test_batch_end", batch, meter.logs())
        logs = meter.logs()
        callbacks.call("on_test_end", logs)
        return logs


def evaluate(
    model: Model,
    x: ArrayLike,
    y: ArrayLike,
    batch_size: int | None,
    verbose: int | str,
    sample_weight: ArrayLike | None,
    steps: int | None,
    callbacks: list[Callback],
    whole: bool = False,
) -> Logs:
    """Loss and metrics of a data set; ``whole`` takes it as one batch."""
    model.require_compiled("evaluate")
    size = checked_batch_size(batch_size)
    with undo_build_on_error(model):
        data = checked_arrays(model, x, y, sample_weight)
        model._ready()
    evaluation = Evaluation(model, data, len(data) if whole else size, steps)
    progress = Progress(1 if verbose == "auto" else int(verbose), 0, evaluation.steps) if verbose else None
    if progress is not None:
        progress.begin(0)
    logs = evaluation.run(CallbackList(callbacks, model, {"steps": evaluation.steps}))
    if progress is not None:
        progress.end(logs)
    return logs


def predict(
    model: Model,
    x: ArrayLike,
    batch_size: int | None,
    steps: int | None,
    callbacks: list[Callback],
    whole: bool = False,
) -> np.ndarray:
    """The model's outputs, batch by batch, as one NumPy array."""
    size = checked_batch_size(batch_size)
    with undo_build_on_error(model):
        data = Arrays(checked_features(model, x))
    size = len(data) if whole else size
    total = -(-len(data) // size)
    steps = total if steps is None else min(door.whole_number(steps, "steps", 1), total)
    feed, graph = Feed(model, data), model.graph(gradients=False)
    hooks = CallbackList(callbacks, model, {"steps": steps})
    hooks.call("on_predict_begin", {})
    result: np.ndarray | None = None
    for batch in range(steps):
        hooks.call("on_predict_batch_begin", batch, {})
        start = batch * size
        x_batch, _, _ = feed(graph, rows_of(None, batch, size, len(data)))
        y = model.backend.to_numpy(model(x_batch).data)
        if result is None:
            result = np.empty((min(steps * size, len(data)), *y.shape[1:]), y.dtype)
        result[start : start + len(y)] = y
        graph.reset()
        hooks.call("on_predict_batch_end", batch, {})
    hooks.call("on_predict_end", {})
    assert result is not None
    return result


# -- checks ----------------------------------------------------------------------------------------------------------


class undo_build_on_error:
    """A model that a refused call has just built is unbuilt again, so that the next call may bring another shape."""

    def __init__(self, model: Model):
        self.model = model

    def __enter__(self) -> None:
        self.before = None if self.model.built else [(la, dict(vars(la))) for la in self.model.all_layers()]

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None and self.before is not None:
            for layer, attributes in self.before:
                vars(layer).clear()
                vars(layer).update(attributes)


def checked_batch_size(batch_size: int | None) -> int:
    return DEFAULT_BATCH_SIZE if batch_size is None else door.whole_number(batch_size, "batch_size", 1)


def checked_counts(options: FitOptions) -> tuple[int, int, int, int | None]:
    """batch_size, epochs, initial_epoch and steps_per_epoch, or an error that says what each may be."""
    batch_size = checked_batch_size(options.batch_size)
    epochs = door.whole_number(options.epochs, "epochs", 0)
    initial_epoch = door.whole_number(options.initial_epoch, "initial_epoch", 0)
    if options.validation_batch_size is not None:
        door.whole_number(options.validation_batch_size, "validation_batch_size", 1)
    if options.validation_steps is not None:
        door.whole_number(options.validation_steps, "validation_steps", 1)
    steps = options.steps_per_epoch
    if steps is not None:
        steps = door.whole_number(steps, "steps_per_epoch", 1)
    if options.verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose expects 0, 1, 2 or 'auto', got {options.verbose!r}")
    return batch_size, epochs, initial_epoch, steps


def checked_frequency(frequency: int | Sequence[int]) -> Any:
    """A function that says whether to validate after the epoch of this number (counted from 1)."""
    if isinstance(frequency, (list, tuple, set)):
        epochs = {door.whole_number(n, "validation_freq", 1) for n in frequency}
        return lambda epoch: epoch in epochs
    every = door.whole_number(frequency, "validation_freq", 1)
    return lambda epoch: epoch % every == 0


def checked_features(model: Model, x: ArrayLike, what: str = "x") -> np.ndarray:
    """x as an array that fits; builds a model that has no shapes yet."""
    from tinynn.data import host_array

    if not model.built:
        array = host_array(x, what)
        if array.ndim < 2:
            raise ValueError(f"'{model.label}' expects {what} of shape (rows, features, ...), got {array.shape}")
        if len(array) == 0:
            raise ValueError(f"{what} is empty (shape {array.shape}): it needs at least one row")
        model.ensure_built(model.input_shape or array.shape[1:])
    return door.checked_inputs(x, model.built_for, model.first_name, what)


def checked_arrays(
    model: Model, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None, prefix: str = ""
) -> Arrays:
    """x, y and weights that fit the model and each other."""
    features = checked_features(model, x, f"{prefix}x")
    labels = door.checked_labels(y, len(features), model, f"{prefix}y")
    return Arrays(features, labels, door.checked_weights(weights, len(features), f"{prefix}sample_weight"))


def checked_data(model: Model, x: ArrayLike, y: ArrayLike, options: FitOptions) -> tuple[Arrays, Arrays | None]:
    """The training data and, where asked for, the validation data: checked before the first step."""
    data = checked_arrays(model, x, y, options.sample_weight)
    data, held_out = door.split(data, options.validation_split)
    if options.validation_data is not None:
        parts = options.validation_data
        if not isinstance(parts, (tuple, list)) or len(parts) not in (2, 3):
            raise ValueError("validation_data expects (x, y) or (x, y, sample_weight)")
        weights = parts[2] if len(parts) == 3 else None
        held_out = checked_arrays(model, parts[0], parts[1], weights, prefix="validation ")
    return door.with_class_weights(data, options.class_weight), held_out
