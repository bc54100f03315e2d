"""The training loop: epochs, batches, and one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinynn.backends import host
from tinynn.data import Arrays, Windows
from tinynn.data.arrays import Rows, rows_of
from tinynn.models import door
from tinynn.models.batches import Feed, Meter, quiet
from tinynn.models.callbacks import CallbackList, History, Logs
from tinynn.models.diagnosis import not_finite_error
from tinynn.models.evaluation import Evaluation
from tinynn.models.progress import Progress
from tinynn.optim.base import State
from tinynn.typing import ArrayLike

if TYPE_CHECKING:
    from tinynn.models.model import Model


def fit(model: Model, x: ArrayLike, y: ArrayLike, options: door.FitOptions) -> History:
    """Check everything, then train."""
    model.require_compiled("fit")
    if isinstance(x, Windows):
        options.shuffle = x.shuffle
    x, y, options.batch_size = door.from_windows(x, y, options.batch_size)
    batch_size, epochs, initial_epoch, steps = door.checked_counts(options)
    validate_on = door.checked_frequency(options.validation_freq)
    with door.undo_build_on_error(model):
        data, held_out = door.checked_data(model, x, y, options)
        model._ready()
    model.warn_of_stale_trainable()
    require_parameters(model)
    steps = door.checked_steps(steps, len(data), batch_size)
    door.check_stateful(model, len(data), batch_size, steps, bool(options.shuffle))
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
    run.number = initial_epoch
    callbacks.call("on_train_begin", {})
    callbacks.call("on_resume", run)
    logs: Logs = {}
    try:
        for epoch in range(run.number, epochs):
            run.number = epoch
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
    """One ``fit``: what stays the same from epoch to epoch, and how far it has come.

    number, batch: the epoch, counted from 0, and the batches of it that are done
    order_number:  which order of the rows this epoch has; None before it has begun
    meter:         the running means of this epoch
    """

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
        self.graph = model.graph(training=True, fuse=True)
        self.graph.updates = []
        self.optimizer = model.compiled.optimizer  # type: ignore[union-attr]
        self.number = self.batch = 0
        self.order_number: int | None = None
        self.meter = Meter(model)

    @quiet
    def epoch(self) -> Logs:
        """One pass over the data, or the rest of one; the means of loss and metrics over its batches."""
        model, callbacks, progress, meter = self.model, self.callbacks, self.progress, self.meter
        if self.order_number is None:
            self.order_number = model.shuffles
            model.shuffles += 1
            meter.reset()
        order = self.order(self.order_number)
        self.optimizer.state[State.FIRST_SKIPPED] = -1
        seen, begin = 0.0, self.batch
        start, first_step = host(self.optimizer.state).copy(), model.stream.step.copy()  # type: ignore[union-attr]
        before, after = callbacks.hooks("on_train_batch_begin"), callbacks.hooks("on_train_batch_end")
        total = len(self.data)

        def check() -> None:
            """Where the loss is read anyway: has any step been skipped for a gradient that was not finite?"""
            nonlocal seen
            state = host(self.optimizer.state)
            if state[State.SKIPPED] - start[State.SKIPPED] > seen:
                seen = float(state[State.SKIPPED] - start[State.SKIPPED])
                steps = int(state[State.FIRST_SKIPPED] - start[State.CALLS])
                rows = rows_of(order, begin + steps, self.batch_size, total)
                rate = float(state[State.LEARNING_RATE])
                error = not_finite_error(model, self.feed, rows, begin + steps, first_step + np.uint32(steps), rate)
                if not callbacks.hooks("on_not_finite"):
                    raise error
                callbacks.call("on_not_finite", begin + steps, error)

        for batch in range(begin, self.steps):
            for hook in before:
                hook(batch, {})
            self.step(rows_of(order, batch, self.batch_size, total), meter)
            self.batch = batch + 1
            if after:
                check()
                logs = meter.logs()
                for hook in after:
                    hook(batch, logs)
            if progress is not None and progress.due():
                check()
                progress.show(batch + 1, meter.logs())
            if model.stop_training:
                break
        check()
        self.batch, self.order_number = 0, None
        return meter.logs()

    def order(self, number: int) -> np.ndarray | None:
        """The order of the rows of that number; None as they lie."""
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
        self.optimizer.step(value)
        graph.end_step(self.optimizer.state[State.SCALE : State.SCALE + 1])
        meter.add(value, x.data.shape[0], y, prediction, w)


def train_on_batch(
    model: Model, x: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None, class_weight: dict[int, float] | None
) -> Logs:
    """One step on one batch."""
    model.require_compiled("train_on_batch")
    with door.undo_build_on_error(model):
        data = door.with_class_weights(door.checked_arrays(model, x, y, sample_weight), class_weight)
        model._ready()
    require_parameters(model)
    run = Run(model, data, len(data), 1, False, None, CallbackList([], model, {}))
    return run.epoch()


def require_parameters(model: Model) -> None:
    """ValueError where the optimizer has nothing to change."""
    if not model.optimizer.parameters:
        raise ValueError(
            f"'{model.label}' has nothing to train: no layer has parameters, or trainable is False for all of them. "
            "Set trainable = True where it should learn, and compile again"
        )
