"""Where a number that is not finite came from: the batch is run again, layer by layer."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import host
from tinynn.layers.base import Layer

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.models.batches import Feed
    from tinynn.models.model import Model


def not_finite_error(model: Model, feed: Feed, batch: int, step: Any, learning_rate: float) -> ValueError:
    """The error for a step that was skipped.

    feed: stands at its batch; step: the random counter with which it began

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
            what = first_not_finite(model, feed)
        finally:
            stream.step[...] = counter
    return ValueError(
        f"training stopped in batch {batch}: {what}. The weights are those of the last good step. "
        "Look at the data with np.isfinite, or try a smaller learning rate or clipnorm=1.0"
    )


def memory_error(model: Model, feed: Feed, error: MemoryError, training: bool) -> MemoryError:
    """The error for a batch that does not fit into memory, with the largest half, quarter, ... of it that does: tried.

    feed: stands at its batch. The random counter and running statistics are left as they were.
    """
    let_go(error)
    whole, text = feed.height, str(error).rstrip(".")
    rows = whole
    while rows > 1:
        rows //= 2
        if fits(model, feed, rows, training):
            return MemoryError(
                f"{text}. A batch of {whole} rows does not fit into memory, one of {rows} does: use batch_size={rows}"
            )
    return MemoryError(f"{text}. Not even a batch of one row fits into memory: the model has to become smaller")


def let_go(error: BaseException | None) -> None:
    """Forget the arrays of the step that failed, which the frames of its error still hold."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def fits(model: Model, feed: Feed, rows: int, training: bool) -> bool:
    """Whether a step on so many rows finds its memory; nothing is changed by it."""
    stream = model.stream
    assert stream is not None
    counter = stream.step.copy()
    graph = model.graph(training=training, gradients=training, fuse=True)
    graph.updates = []
    try:
        x, y, w = feed.first(graph, rows)
        if training:
            graph.backward(model.forward_pass(graph, x, y, w)[0])
        elif y is None:
            model(x)
        else:
            model.forward_pass(graph, x, y, w)
    except MemoryError as error:
        let_go(error)
        return False
    finally:
        graph.reset()
        stream.step[...] = counter
    return True


def first_not_finite(model: Model, feed: Feed) -> str:
    """Forward layer by layer, then labels and loss, then the gradients from the last layer to the first."""
    graph = model.graph(training=True)
    graph.updates = []  # running statistics stay as they are
    x, y, w = feed(graph)
    several = isinstance(x, list)
    for name, tensor in zip(model.input_names, x if several else [x], strict=True):
        if bad := bad_rows(tensor.data, feed):
            where = f"input '{name}'" if several else f"input of layer '{model.first_name}'"
            return f"the {where} holds values that are not finite (as {tensor.dtype}), {bad}"
    calls, prediction = calls_of(model, graph, x)
    for layer, output in calls:
        results = output if isinstance(output, (list, tuple)) else [output]
        if bad := next(filter(None, (bad_rows(y.data, feed) for y in results)), ""):
            return f"layer '{layer.label}' is the first whose output is not finite, {bad}"
    compiled = model.compiled
    assert compiled is not None
    several = compiled.several
    names = [f"output '{output.name}'" for output in compiled.outputs] if several else [named(model)]
    for name, target in zip(names, y if several else [y], strict=True):
        if target is not None and (bad := bad_rows(target, feed)):
            return f"the labels y for the {name} hold values that are not finite, {bad}"
    return wrong_in_loss(model, graph, names, prediction, y, w)


def named(model: Model) -> str:
    """The only output, for messages."""
    return f"output of layer '{model.last_name}'"


def wrong_in_loss(model: Model, graph: Graph, names: list[str], prediction: Any, y: Any, w: Any) -> str:
    """The loss, the penalties, and then the gradients."""
    compiled = model.compiled
    assert compiled is not None
    loss, parts = compiled.loss_of(y, prediction, w)
    trained = [name for name, output in zip(names, compiled.outputs, strict=True) if output.loss is not None]
    for name, part in zip(trained, [loss.data] if parts is None else parts, strict=True):
        if not np.isfinite(host(part)).all():
            return f"the loss on the {name} is not finite, although output and labels are"
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


def calls_of(model: Model, graph: Graph, x: Any) -> tuple[list[tuple[Layer, Any]], Any]:
    """The calls of one forward pass with the random numbers of the batch's step, and what they come to."""
    assert model.stream is not None
    model.stream.advance()
    graph.root = model
    calls: list[tuple[Layer, Any]] = []
    try:
        if not model.own_forward:
            return calls, model.run(x, lambda layer, output: calls.append((layer, output)))
        y = model.forward(x)
        return [(model, y)], y
    finally:
        graph.root = None


def bad_rows(array: Any, feed: Feed) -> str:
    """Which rows of the feed's batch hold NaN or infinity; empty where none does."""
    values = host(array)
    if values.dtype.kind != "f":
        return ""
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if finite.all():
        return ""
    bad = np.flatnonzero(~finite)
    return f"in {len(bad)} of the {len(finite)} rows of the batch (the first is {feed.row(int(bad[0]))})"
