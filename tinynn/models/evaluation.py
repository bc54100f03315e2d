"""Loss and metrics over a data set, and predictions: models at work without training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinynn.data import Arrays
from tinynn.data.arrays import rows_of
from tinynn.models import door
from tinynn.models.batches import Feed, Meter, quiet
from tinynn.models.callbacks import Callback, CallbackList, Logs
from tinynn.models.progress import Progress
from tinynn.typing import ArrayLike

if TYPE_CHECKING:
    from tinynn.models.model import Model


class Evaluation:
    """The loss and metrics over a data set, without training."""

    def __init__(self, model: Model, data: Arrays, batch_size: int, steps: int | None = None):
        self.model, self.data, self.batch_size = model, data, batch_size
        self.steps = door.checked_steps(steps, len(data), batch_size)
        door.check_stateful(model, len(data), batch_size, self.steps)
        self.feed = Feed(model, data)

    @quiet
    def run(self, callbacks: CallbackList) -> Logs:
        graph = self.model.graph(gradients=False, fuse=True)
        meter = Meter(self.model, own=False)
        callbacks.call("on_test_begin", {})
        for batch in range(self.steps):
            callbacks.call("on_test_batch_begin", batch, {})
            x, y, w = self.feed(graph, rows_of(None, batch, self.batch_size, len(self.data)))
            loss, prediction = self.model.loss_and_prediction(graph, x, y, w)
            meter.add(loss.data, x.data.shape[0], y, prediction, w)
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
    x, y, batch_size = door.from_windows(x, y, batch_size)
    size = door.checked_batch_size(batch_size)
    with door.undo_build_on_error(model):
        data = door.checked_arrays(model, x, y, sample_weight)
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
    x, _, batch_size = door.from_windows(x, None, batch_size)
    size = door.checked_batch_size(batch_size)
    with door.undo_build_on_error(model):
        data = Arrays(door.checked_features(model, x))
    size = len(data) if whole else size
    steps = door.checked_steps(steps, len(data), size)
    door.check_stateful(model, len(data), size, steps)
    feed, graph = Feed(model, data), model.graph(gradients=False, fuse=True)
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
