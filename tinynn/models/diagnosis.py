"""Where a number that is not finite came from: the batch is run again, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import host
from tinynn.data.arrays import Rows

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.layers.base import Layer
    from tinynn.models.batches import Feed
    from tinynn.models.model import Model


def not_finite_error(model: Model, feed: Feed, rows: Rows, batch: int, step: Any, learning_rate: float) -> ValueError:
    """The error for a step that was skipped; ``step`` is the random counter that its batch began with.

    The random counter and running statistics are left as they were.
    """
    stream = model.stream
    assert stream is not None
    counter = stream.step.copy()
    if not np.isfinite(learning_rate) or learning_rate < 0:
        what = f"the schedule gave a learning rate of {learning_rate}"
    else:
        try:
            stream.step[...] = step
            what = first_not_finite(model, feed, rows)
        finally:
            stream.step[...] = counter
    return ValueError(
        f"training stopped in batch {batch}: {what}. The weights are those of the last good step. "
        "Look at the data with np.isfinite, or try a smaller learning rate or clipnorm=1.0"
    )


def first_not_finite(model: Model, feed: Feed, rows: Rows) -> str:
    """Forward layer by layer, then labels and loss, then the gradients from the last layer to the first."""
    graph = model.graph(training=True)
    graph.updates = []  # running statistics stay as they are
    x, y, w = feed(graph, rows)
    if bad := bad_rows(x.data, rows):
        return f"the input of layer '{model.first_name}' holds values that are not finite (as {x.dtype}), {bad}"
    calls = calls_of(model, graph, x)
    for layer, output in calls:
        results = output if isinstance(output, (list, tuple)) else [output]
        if bad := next(filter(None, (bad_rows(y.data, rows) for y in results)), ""):
            return f"layer '{layer.label}' is the first whose output is not finite, {bad}"
    layer, prediction = calls[-1]
    if y is not None and (bad := bad_rows(y, rows)):
        return f"the labels y for the output of layer '{layer.label}' hold values that are not finite, {bad}"
    return wrong_in_loss(model, graph, layer, prediction, y, w)


def wrong_in_loss(model: Model, graph: Graph, layer: Layer, prediction: Any, y: Any, w: Any) -> str:
    """The loss, the penalties, and then the gradients."""
    compiled = model.compiled
    assert compiled is not None
    loss = compiled.loss.compute(y, prediction, w, prediction.mask)
    if not np.isfinite(host(loss.data)).all():
        return f"the loss on the output of layer '{layer.label}' is not finite, although output and labels are"
    for parameter in compiled.regularized:
        penalty = parameter.regularizer(graph.parameter(parameter))
        if not np.isfinite(host(penalty.data)).all():
            return f"the regularizer of {parameter.name} is not finite"
        loss = loss + penalty
    graph.backward(loss)
    reached = [(la, p) for la in reversed(model.layers) for p in la.parameters() if p.grad is not None]
    for inner, parameter in reached:
        if not np.isfinite(host(parameter.grad)).all():
            return f"the gradient of {parameter.name} in layer '{inner.label}' is not finite"
    size, inner, parameter = max(((largest(p.grad), la, p) for la, p in reached), key=lambda found: found[0])
    return (
        "the gradient was too large, or not finite, in that step; with the present weights its largest value is "
        f"{size:.3g}, in {parameter.name} of layer '{inner.label}'"
    )


def largest(array: Any) -> float:
    """The largest absolute value."""
    return float(np.abs(host(array)).max(initial=0.0))


def calls_of(model: Model, graph: Graph, x: Any) -> list[tuple[Layer, Any]]:
    """The calls of one forward pass with the random numbers of the batch's step."""
    assert model.stream is not None
    model.stream.advance()
    graph.root = model
    try:
        return model.trace(x)
    finally:
        graph.root = None


def bad_rows(array: Any, rows: Rows) -> str:
    """Which rows hold NaN or infinity; empty where none does."""
    values = host(array)
    if values.dtype.kind != "f":
        return ""
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if finite.all():
        return ""
    bad = np.flatnonzero(~finite)
    first = rows.start + bad[0] if isinstance(rows, slice) else rows[bad[0]]
    return f"in {len(bad)} of the {len(finite)} rows of the batch (the first is row {first} of the data)"
