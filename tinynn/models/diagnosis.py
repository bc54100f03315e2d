"""Where a number that is not finite came from: the batch is run again, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinynn.models.model import Model


def not_finite_error(model: Model, feed: Any, rows: Any, batch: int, step: Any) -> ValueError:
    """The error for a batch whose gradient was not finite; ``step`` is the random counter that the batch began with.

    The random counter and running statistics are left as they were.
    """
    stream = model.stream
    assert stream is not None
    counter = stream.step.copy()
    buffers = [(v, v.numpy()) for v in model.variables() if not v.trainable]
    try:
        stream.step[...] = step
        stream.advance()
        what = first_not_finite(model, feed, rows)
    finally:
        stream.step[...] = counter
        for variable, value in buffers:
            variable.assign(value)
    return ValueError(
        f"training stopped in batch {batch}: {what}. The weights are those of the last good step. "
        "Look at the data with np.isfinite, or try a smaller learning rate or clipnorm=1.0"
    )


def first_not_finite(model: Model, feed: Any, rows: Any) -> str:
    """Forward layer by layer, then the loss, then the gradients from the last layer to the first."""
    graph = model.graph(training=True)
    x, y, w = feed(graph, rows)
    if bad := bad_rows(model, x.data):
        return f"the input of layer '{model.first_name}' holds values that are not finite, {bad}"
    prediction = x
    for layer, prediction in model.trace(x):
        if bad := bad_rows(model, prediction.data):
            return f"layer '{layer.label}' is the first whose output is not finite, {bad}"
    assert model.compiled is not None
    loss = model.compiled.loss.compute(y, prediction, w)
    if bad := bad_rows(model, loss.data.reshape(1)):
        return f"the loss on the output of layer '{layer.label}' is not finite, although the output is"
    graph.backward(loss, interior=False)
    for layer in reversed(model.layers):
        for parameter in layer.parameters():
            if parameter.grad is not None and bad_rows(model, parameter.grad):
                return f"the gradient of {parameter.name} in layer '{layer.label}' is not finite"
    return f"the gradient norm of '{model.label}' is too large for {graph.dtype}"


def bad_rows(model: Model, array: Any) -> str:
    """Which rows hold NaN or infinity; empty where none does."""
    finite = np.isfinite(model.backend.to_numpy(array).reshape(len(array), -1)).all(axis=1)
    if finite.all():
        return ""
    rows = np.flatnonzero(~finite)
    return f"in {len(rows)} of {len(finite)} rows of the batch (the first is row {rows[0]})"
