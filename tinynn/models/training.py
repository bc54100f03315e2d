"""The training loop: epochs, batches, and one step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import host
from tinynn.data import Arrays, Windows
from tinynn.models import door, sources
from tinynn.models.batches import ArrayFeed, Feed, SourceFeed, quiet
from tinynn.models.callbacks import CallbackList, History, Logs
from tinynn.models.diagnosis import memory_error, not_finite_error
from tinynn.models.evaluation import Evaluation
from tinynn.models.meter import Meter
from tinynn.models.options import (
    DEFAULT_BATCH_SIZE,
    FitOptions,
    checked_batch_size,
    checked_counts,
    checked_frequency,
)
from tinynn.models.progress import Progress
from tinynn.models.recording import Recorder
from tinynn.models.weighting import checked_class_weight, with_class_weights
from tinynn.optim.base import State
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn.models.model import Model


def fit(model: Model, x: Any, y: Any, options: FitOptions) -> History:
    """Check everything, then train."""
    model.require_compiled("fit")
    _, epochs, initial_epoch, _ = checked_counts(options)
    validate_on = checked_frequency(options.validation_freq)
    with door.undo_build_on_error(model):
        feed, held_out = training_feed(model, x, y, options)
        times = sum(map(validate_on, range(initial_epoch + 1, epochs + 1)))
        validation = validation_of(model, held_out, options, feed.batch_size, times)
        model._ready()
    model.warn_of_stale_trainable()
    require_parameters(model)
    verbose = 1 if options.verbose == "auto" else options.verbose
    history = History()
    params = {
        "epochs": epochs,
        "steps": feed.steps,
        "verbose": verbose,
        "batch_size": feed.batch_size,
        "samples": feed.rows,
        "seed": model.stream.seed,  # type: ignore[union-attr]
        "stream": model.stream.index,  # type: ignore[union-attr]
    }
    callbacks = CallbackList([*options.callbacks, history], model, params)
    model.history, model.stop_training = history, False
    progress = Progress(int(verbose), epochs, feed.steps) if verbose else None
    model.compiled.batch_run = None  # type: ignore[union-attr]  # whose memory this run may need
    run = Run(model, feed, progress, callbacks)
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
                before = sum(map(validate_on, range(initial_epoch + 1, epoch + 1)))
                logs |= {f"val_{name}": value for name, value in validation.run(callbacks, before).items()}
            if progress is not None:
                progress.end(logs)
            callbacks.call("on_epoch_end", epoch, logs)
            if model.stop_training:
                break
    finally:
        run.close()
        if progress is not None:
            progress.close()
    callbacks.call("on_train_end", logs)
    return history


def training_feed(model: Model, x: Any, y: Any, options: FitOptions) -> tuple[Feed, Arrays | None]:
    """What is trained on, and what validation_split holds out."""
    _, epochs, initial_epoch, steps = checked_counts(options)

    def permutation(number: int, n: int) -> np.ndarray:
        return model.stream.generator("shuffle", number).permutation(n)  # type: ignore[union-attr]

    source = sources.found(x, y, steps, model.shuffles, permutation if options.shuffle else None)
    if source is not None:
        given = {name: getattr(options, name) for name in ("batch_size", "sample_weight", "validation_split")}
        sources.refuse_beside(source, **given)
        sources.refuse_spent(source, steps, epochs - initial_epoch, "steps_per_epoch")
        sources.check_spec(model, source)
        if options.class_weight is not None:
            checked_class_weight(options.class_weight)
        return SourceFeed(model, source, steps, options.class_weight), None
    if isinstance(x, Windows):
        options.shuffle = x.shuffle
    x, y, batch_size = door.from_windows(x, y, options.batch_size)
    size = checked_batch_size(batch_size)
    data, held_out = door.checked_data(model, x, y, options)
    feed = ArrayFeed(model, data, size, steps, bool(options.shuffle))
    shuffled = bool(options.shuffle) and feed.count * (epochs - initial_epoch) > 1
    door.check_stateful(model, len(data), size, feed.count, shuffled)
    return feed, held_out


def validation_of(
    model: Model, held_out: Arrays | None, options: FitOptions, batch_size: int | None, times: int
) -> Evaluation | None:
    """What is validated on, if anything; ``times``: how often."""
    given, steps = options.validation_data, options.validation_steps
    source = None if given is None else sources.found(given, None, steps)
    if source is not None:
        sources.refuse_spent(source, steps, times, "validation_steps")
        sources.check_spec(model, source, prefix="validation ")
        return Evaluation(model, SourceFeed(model, source, steps, prefix="validation "))
    if given is not None:
        held_out = door.checked_validation(model, given)
    if held_out is None:
        return None
    size = options.validation_batch_size or batch_size or DEFAULT_BATCH_SIZE
    return Evaluation(model, ArrayFeed(model, held_out, size, steps))


class Run:
    """One ``fit``: what stays the same from epoch to epoch, and how far it has come.

    number, batch: the epoch, counted from 0, and the batches of it that are done
    order_number:  which order of the rows this epoch has; None before it has begun
    meter:         the running means of this epoch
    """

    def __init__(self, model: Model, feed: Feed, progress: Progress | None, callbacks: CallbackList):
        self.model, self.feed, self.progress, self.callbacks = model, feed, progress, callbacks
        self.graph = model.graph(training=True, fuse=True)
        self.graph.updates = []
        self.optimizer = model.compiled.optimizer  # type: ignore[union-attr]
        self.number = self.batch = 0
        self.order_number: int | None = None
        self.meter = Meter(model)
        jit = model.compiled.jit and model.backend.record is not None  # type: ignore[union-attr]
        jit = jit and self.graph.check is None  # nobody can wait inside a recording
        self.recorder = Recorder(model, self.meter, self.graph, self.learn) if jit else None

    @quiet
    def epoch(self) -> Logs:
        """One pass over the data, or the rest of one; the means of loss and metrics over its batches."""
        if self.order_number is None:
            self.order_number = self.model.shuffles
            self.model.shuffles += self.feed.passes
            self.meter.reset() if self.recorder is None else self.meter.empty()
        if self.recorder is not None:
            self.recorder.look()
        feed = self.feed
        feed.begin(self.order_number, self.batch)
        try:
            self.batches(feed, self.order_number)
        finally:
            feed.close()
        self.batch, self.order_number = 0, None
        return self.meter.logs()

    def batches(self, feed: Feed, number: int) -> None:
        """The batches of an epoch, with a look now and then for steps that were skipped."""
        model, callbacks, progress, meter = self.model, self.callbacks, self.progress, self.meter
        self.optimizer.state[State.FIRST_SKIPPED] = -1
        seen, begin = 0.0, self.batch
        start, first_step = host(self.optimizer.state).copy(), model.stream.step.copy()  # type: ignore[union-attr]
        before, after = callbacks.hooks("on_train_batch_begin"), callbacks.hooks("on_train_batch_end")
        changeable = self.recorder is not None and (before or after or callbacks.hooks("on_not_finite"))

        def check() -> None:
            """Where the loss is read anyway: has any step been skipped for a gradient that was not finite?"""
            nonlocal seen
            state = host(self.optimizer.state)
            if state[State.SKIPPED] - start[State.SKIPPED] > seen:
                seen = float(state[State.SKIPPED] - start[State.SKIPPED])
                steps = int(state[State.FIRST_SKIPPED] - start[State.CALLS])
                rate = float(state[State.LEARNING_RATE])
                again = feed.again(number, begin + steps)
                try:
                    error = not_finite_error(model, again, begin + steps, first_step + np.uint32(steps), rate)
                finally:
                    if again is not feed:
                        again.close()
                if not callbacks.hooks("on_not_finite"):
                    raise error
                callbacks.call("on_not_finite", begin + steps, error)

        while feed.advance():
            batch = self.batch
            for hook in before:
                hook(batch, {})
            if changeable:
                self.recorder.look()  # type: ignore[union-attr]
            self.step()
            self.batch = batch + 1
            if after or feed.once:  # what was read once is at hand only now
                check()
            if after:
                logs = meter.logs()
                for hook in after:
                    hook(batch, logs)
            if progress is not None and progress.due():
                check()
                progress.show(batch + 1, meter.logs())
            if model.stop_training:
                break
        check()
        if progress is not None:
            progress.steps = self.batch if feed.steps is None else feed.steps

    def close(self) -> None:
        """Let go of what was recorded: its memory on the device shall not wait for the garbage collector."""
        self.recorder = None  # which knows us

    def step(self) -> None:
        """One batch; MemoryError names the layer, and a batch size that would do."""
        batch: Any = None
        try:
            batch = self.feed(self.graph)
            if self.recorder is None:
                self.meter.add(*self.learn(*batch))
            else:
                self.recorder.run(*batch)
        except MemoryError as error:
            batch = None
            self.graph.reset()
            raise memory_error(self.model, self.feed, error, training=True) from None

    def learn(self, x: Any, y: Any, w: Any) -> tuple[Any, ...]:
        """Forward, backward, update: the whole of training. Returned is what the meter adds."""
        graph = self.graph
        loss, parts, prediction = self.model.forward_pass(graph, x, y, w)
        value = loss.data
        graph.backward(loss)
        self.optimizer.step(value)
        graph.end_step(self.optimizer.state[State.SCALE : State.SCALE + 1])
        rows = (x if type(x) is Tensor else x[0]).data.shape[0]
        return value, parts, rows, y, prediction, w


def train_on_batch(model: Model, x: Any, y: Any, sample_weight: Any, class_weight: dict[int, float] | None) -> Logs:
    """One step on one batch."""
    model.require_compiled("train_on_batch")
    with door.undo_build_on_error(model):
        data = with_class_weights(door.checked_arrays(model, x, y, sample_weight), class_weight)
        compiled = model._ready()
    require_parameters(model)
    run, compiled.batch_run = compiled.batch_run, None  # an error ends it
    if run is None or run.graph.backend is not model.backend:
        run = Run(model, ArrayFeed(model, data, len(data)), None, CallbackList([], model, {}))
    else:
        run.feed.renew(data)
    logs: Logs = run.epoch()
    run.feed.data = None  # the caller's
    compiled.batch_run = run
    return logs


def require_parameters(model: Model) -> None:
    """ValueError where the optimizer has nothing to change."""
    if not model.optimizer.parameters:
        raise ValueError(
            f"'{model.label}' has nothing to train: no layer has parameters, or trainable is False for all of them. "
            "Set trainable = True where it should learn, and compile again"
        )
