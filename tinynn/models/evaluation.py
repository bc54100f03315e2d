"""Loss and metrics over a data set, and predictions: models at work without training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.data import Arrays
from tinynn.graph import Graph
from tinynn.models import door, sources
from tinynn.models.batches import ArrayFeed, Feed, SourceFeed, quiet
from tinynn.models.callbacks import Callback, CallbackList, Logs
from tinynn.models.diagnosis import memory_error
from tinynn.models.meter import Meter
from tinynn.models.options import checked_batch_size, whole_number
from tinynn.models.progress import Progress
from tinynn.tensor import Tensor

if TYPE_CHECKING:
    from tinynn.models.model import Model


class Evaluation:
    """The loss and metrics over a data set, without training."""

    def __init__(self, model: Model, feed: Feed):
        self.model, self.feed = model, feed
        if isinstance(feed, ArrayFeed):
            door.check_stateful(model, feed.total, feed.size, feed.count)

    @quiet
    def run(self, callbacks: CallbackList, number: int = 0) -> Logs:
        """number: how many were before this one, for a generator; anything else is the same each time."""
        graph, feed = self.model.graph(gradients=False, fuse=True), self.feed
        meter = Meter(self.model, own=False)
        callbacks.call("on_test_begin", {})
        batch = 0
        feed.begin(number if feed.once else 0)
        try:
            while feed.advance():
                callbacks.call("on_test_batch_begin", batch, {})
                try:
                    meter.add(*self.measured(graph))
                except MemoryError as error:
                    graph.reset()
                    raise memory_error(self.model, feed, error, training=False) from None
                graph.reset()
                if callbacks.hooks("on_test_batch_end"):
                    callbacks.call("on_test_batch_end", batch, meter.logs())
                batch += 1
        finally:
            feed.close()
        self.batches = batch
        logs = meter.logs()
        callbacks.call("on_test_end", logs)
        return logs

    def measured(self, graph: Graph) -> tuple[Any, ...]:
        """Of one batch: what the meter adds."""
        x, y, w = self.feed(graph)
        loss, parts, prediction = self.model.forward_pass(graph, x, y, w)
        rows = (x if type(x) is Tensor else x[0]).data.shape[0]
        return loss.data, parts, rows, y, prediction, w


def evaluate(
    model: Model,
    x: Any,
    y: Any,
    batch_size: int | None,
    verbose: int | str,
    sample_weight: Any,
    steps: int | None,
    callbacks: list[Callback],
    whole: bool = False,
) -> Logs:
    """Loss and metrics of a data set; ``whole`` takes it as one batch."""
    model.require_compiled("evaluate")
    feed: Feed
    with door.undo_build_on_error(model):
        source = None if whole else sources.found(x, y, steps)
        if source is not None:
            sources.refuse_beside(source, batch_size=batch_size, sample_weight=sample_weight)
            sources.check_spec(model, source)
            feed = SourceFeed(model, source, None if steps is None else whole_number(steps, "steps", 1))
        else:
            x, y, batch_size = door.from_windows(x, y, batch_size)
            size = checked_batch_size(batch_size)
            data = door.checked_arrays(model, x, y, sample_weight)
            feed = ArrayFeed(model, data, len(data) if whole else size, steps)
        model._ready()
    evaluation = Evaluation(model, feed)
    progress = Progress(1 if verbose == "auto" else int(verbose), 0, feed.steps) if verbose else None
    if progress is not None:
        progress.begin(0)
    logs = evaluation.run(CallbackList(callbacks, model, {"steps": feed.steps}))
    if progress is not None:
        progress.steps = evaluation.batches
        progress.end(logs)
    return logs


def predict(
    model: Model,
    x: Any,
    batch_size: int | None,
    steps: int | None,
    callbacks: list[Callback],
    whole: bool = False,
) -> Any:
    """The model's outputs, batch by batch, as one NumPy array each: one, a list of them, or a dict."""
    feed: Feed
    with door.undo_build_on_error(model):
        source = None if whole else sources.found(x, None, steps)
        if source is not None:
            sources.refuse_beside(source, batch_size=batch_size)
            sources.check_spec(model, source, targets=False)
            feed = SourceFeed(model, source, None if steps is None else whole_number(steps, "steps", 1), targets=False)
        else:
            x, _, batch_size = door.from_windows(x, None, batch_size)
            size = checked_batch_size(batch_size)
            data = Arrays(door.checked_features(model, x))
            size = len(data) if whole else size
            feed = ArrayFeed(model, data, size, steps)
            door.check_stateful(model, len(data), size, feed.count)
    outputs = predictions(model, feed, CallbackList(callbacks, model, {"steps": feed.steps}))
    if not isinstance(model.output_shape, list):
        return outputs[0]
    return dict(zip(model.output_names, outputs, strict=True)) if model.gives_dict else outputs


def predictions(model: Model, feed: Feed, hooks: CallbackList) -> list[np.ndarray]:
    """Each output over all batches."""
    graph = model.graph(gradients=False, fuse=True)
    hooks.call("on_predict_begin", {})
    found: list[Collected] = []
    batch = 0
    feed.begin(0)
    try:
        while feed.advance():
            hooks.call("on_predict_batch_begin", batch, {})
            try:
                y = model(feed(graph)[0])
            except MemoryError as error:
                graph.reset()
                raise memory_error(model, feed, error, training=False) from None
            results = y if isinstance(y, (list, tuple)) else [y]
            if not found:
                rows = min(feed.count * feed.size, feed.total) if isinstance(feed, ArrayFeed) else None
                found = [Collected(rows) for _ in results]
            for collected, result in zip(found, results, strict=True):
                collected.add(model.backend.to_numpy(result.data))
            graph.reset()
            hooks.call("on_predict_batch_end", batch, {})
            batch += 1
    finally:
        feed.close()
    hooks.call("on_predict_end", {})
    return [collected.array() for collected in found]


class Collected:
    """Rows that come batch by batch: written where they belong where the whole is known, else put together."""

    def __init__(self, rows: int | None):
        self.rows, self.filled = rows, 0
        self.whole: np.ndarray | None = None
        self.parts: list[np.ndarray] = []

    def add(self, y: np.ndarray) -> None:
        if self.rows is None:
            self.parts.append(np.array(y))
            return
        if self.whole is None:
            self.whole = np.empty((self.rows, *y.shape[1:]), y.dtype)
        self.whole[self.filled : self.filled + len(y)] = y
        self.filled += len(y)

    def array(self) -> np.ndarray:
        return np.concatenate(self.parts) if self.whole is None else self.whole
