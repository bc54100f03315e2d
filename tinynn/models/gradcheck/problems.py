"""What a gradient check looks at: a Function, a Layer or a model as terms whose sum is differentiated."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn import ops
from tinynn.backends import Backend
from tinynn.function import Function
from tinynn.graph import Graph
from tinynn.layers.base import Layer
from tinynn.layers.recurrent import Recurrent
from tinynn.models import door
from tinynn.parameter import Parameter, Variable
from tinynn.tensor import Tensor
from tinynn.typing import Array


@dataclass(frozen=True)
class Leaf:
    """An array whose gradient is checked, in float64 on the host: an input, or the copy of a parameter."""

    layer: str
    name: str
    value: np.ndarray
    variable: Variable | None = None


class CheckGraph(Graph):
    """A float64 graph in which parameters have the values of ``values``.

    Their tensors are leaves of their own: no gradient reaches the parameters, and no value is rounded to float32.
    """

    def __init__(self, values: Mapping[int, Array], **options: Any):
        super().__init__(dtype="float64", **options)
        self.values = values

    def parameter(self, variable: Variable) -> Tensor:
        tensor = self._parameters.get(id(variable))
        if tensor is None:
            given = self.values.get(id(variable))
            data = variable.data.astype(self.dtype) if given is None else self.backend.asarray(given, self.dtype)
            tensor = self.tensor(data, requires_grad=given is not None, name=variable.name)
            self._parameters[id(variable)] = tensor
        return tensor


Evaluation = tuple[Tensor, list[Tensor], list[Tensor | None]]
"""What one forward pass leaves: the main output, further scalars of the loss, and the tensor of each leaf."""


class Problem:
    """A loss = sum(weight * output) + scalars, as a function of its leaves."""

    def __init__(
        self,
        leaves: list[Leaf],
        run: Callable[[CheckGraph, list[np.ndarray]], Evaluation],
        owner: Layer | None,
        sizes: Mapping[int, str],
        seed: int,
        **options: Any,
    ):
        self.leaves, self.run, self.sizes, self.options = leaves, run, sizes, options
        self.state = State(owner)
        self.rng = np.random.default_rng(seed)
        self.weight: np.ndarray | None = None
        """dL/doutput: random, because the gradient of a plain sum hides mistakes (a softmax has none)."""

    def evaluate(self, values: list[np.ndarray], gradients: bool) -> Evaluation:
        """One forward pass from the same state as every other."""
        self.state.restore()
        variables = {
            id(leaf.variable): v for leaf, v in zip(self.leaves, values, strict=True) if leaf.variable is not None
        }
        return self.run(CheckGraph(variables, gradients=gradients, **self.options), values)

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.weight is None:
            self.weight = self.rng.standard_normal(shape) if shape else np.ones(())
        return self.weight

    def terms(self, i: int, value: np.ndarray) -> np.ndarray:
        """The terms of the loss with leaf i at ``value``."""
        values = [value if j == i else leaf.value for j, leaf in enumerate(self.leaves)]
        output, scalars, _ = self.evaluate(values, gradients=False)
        arrays = [output.numpy() * self.weights(output.shape), *(s.numpy() for s in scalars)]
        return np.concatenate([a.ravel() for a in arrays])

    def gradients(self) -> list[np.ndarray | None]:
        """What backward says, for each leaf; None where nothing came."""
        output, scalars, tensors = self.evaluate([leaf.value for leaf in self.leaves], gradients=True)
        graph, weight = output.graph, self.weights(output.shape)
        if scalars:
            total = (output * graph.tensor(weight)).sum() if output.shape else output
            for scalar in scalars:
                total = total + scalar
            output = total
        if output.requires_grad:
            graph.backward(output, gradient=None if scalars else weight)
        return [None if t is None or t.grad is None else graph.backend.to_numpy(t.grad) for t in tensors]

    def counts(self) -> Mapping[int, str]:
        return self.sizes

    def restore(self) -> None:
        self.state.restore()


class State:
    """Whatever a forward pass may change in layers: running statistics, carried states, steps of random streams."""

    def __init__(self, owner: Layer | None):
        layers = [] if owner is None else list(layers_of(owner))
        streams = [layer.stream for layer in layers if layer.stream is not None]
        buffers = [v for layer in layers for v in layer.variables() if not isinstance(v, Parameter)]
        self.carried = [(layer, layer._states) for layer in layers if isinstance(layer, Recurrent)]
        self.steps = {id(s): (s, s.step.copy()) for s in streams}
        self.buffers = {id(b): (b, b.data.copy()) for b in buffers}

    def restore(self) -> None:
        for stream, step in self.steps.values():
            stream.step[...] = step
        for buffer, data in self.buffers.values():
            buffer.data[...] = data
        for layer, states in self.carried:
            layer._states = states


def layers_of(layer: Layer) -> Iterator[Layer]:
    """A layer and all layers inside it, at any depth."""
    yield layer
    for inner in layer.layers_inside():
        yield from layers_of(inner)


# -- the kinds of target ---------------------------------------------------------------------------------------------


def problem_of(target: Any, batch: Sequence[Any], training: bool, backend: str | Backend | None, seed: int) -> Problem:
    """The problem of a Function, a callable of tensors, a Layer or a compiled model."""
    if backend is None and isinstance(target, Layer):
        backend = getattr(target, "backend", None)  # a model's own
    if hasattr(target, "total_loss") and len(batch) != 1:  # with an input alone, a model is a layer
        return of_model(target, batch, seed, training=training, backend=backend)
    if isinstance(target, Layer):
        return of_layer(target, batch, seed, training=training, backend=backend)
    if isinstance(target, Function) or callable(target):
        return of_function(target, batch, seed, training=training, backend=backend)
    raise TypeError(
        f"gradcheck.check expects a Function, a Layer or a compiled model, got {type(target).__name__}: "
        "for example gradcheck.check(model, x[:4], y[:4])"
    )


def of_function(target: Any, batch: Sequence[Any], seed: int, **options: Any) -> Problem:
    """The floating-point arrays of the batch are the leaves; integer ones (labels) are passed as they are."""
    arrays = [np.asarray(x) for x in batch]
    free = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    leaves = [Leaf("", name, arrays[i].astype(np.float64)) for i, name in zip(free, names(target, free), strict=True)]
    make = maker(target)

    def run(graph: CheckGraph, values: list[np.ndarray]) -> Evaluation:
        opened = dict(zip(free, (graph.tensor(v, requires_grad=True) for v in values), strict=True))
        inputs = [opened[i] if i in opened else graph.tensor(x, dtype=str(x.dtype)) for i, x in enumerate(arrays)]
        return make()(*inputs), list(graph.losses), list(opened.values())

    return Problem(leaves, run, None, sizes_of([leaf.value for leaf in leaves]), seed, **options)


def maker(target: Any) -> Callable[[], Any]:
    """Something that makes a fresh callable per evaluation, because a Function is the memory of one call."""
    if isinstance(target, Function):
        return lambda: copy.copy(target)
    if isinstance(target, type):
        return target
    free = [p for p in inspect.signature(target).parameters.values() if p.default is p.empty]
    return (lambda: target) if free else target  # a factory takes nothing, an operation takes tensors


def names(target: Any, positions: Sequence[int]) -> list[str]:
    """The names of forward's arguments, else input 0, input 1, ..."""
    kind = target if isinstance(target, type) else type(target)
    known: list[str] = []
    if issubclass(kind, Function):
        arguments = list(inspect.signature(kind.forward).parameters.values())[2:]
        known = [a.name for a in arguments if a.kind is a.POSITIONAL_OR_KEYWORD]
    return [known[i] if i < len(known) else f"input {i}" for i in positions]


def of_layer(layer: Layer, batch: Sequence[Any], seed: int, **options: Any) -> Problem:
    """The inputs and the trainable parameters of a layer; its penalties count as part of the loss."""
    if len(batch) != 1:
        raise ValueError(f"gradcheck.check expects one input for layer '{layer.label}' (or a list), got {len(batch)}")
    several = isinstance(batch[0], (list, tuple)) and all(isinstance(x, np.ndarray) for x in batch[0])
    arrays = [np.asarray(x) for x in (batch[0] if several else [batch[0]])]
    free = [i for i, x in enumerate(arrays) if x.dtype.kind == "f"]
    call_once(layer, arrays, several, options)
    parameters = [p for p in layer.trainable_weights if isinstance(p, Parameter)]
    leaves = [Leaf(layer.label, f"input {i}" if several else "input", arrays[i].astype(np.float64)) for i in free]
    leaves += parameter_leaves(parameters)

    def run(graph: CheckGraph, values: list[np.ndarray]) -> Evaluation:
        opened = dict(zip(free, (graph.tensor(v, requires_grad=True) for v in values[: len(free)]), strict=True))
        inputs = [opened[i] if i in opened else graph.tensor(x) for i, x in enumerate(arrays)]
        output = joined(layer(inputs if several else inputs[0]))
        used = [graph.parameter(p) for p in parameters]
        penalties = [p.regularizer(graph.parameter(p)) for p in parameters if p.regularizer is not None]
        return output, [*graph.losses, *penalties], [*opened.values(), *used]

    return Problem(leaves, run, layer, sizes_of(arrays), seed, **options)


def joined(output: Any) -> Tensor:
    """Several results as one vector."""
    if isinstance(output, (list, tuple)):
        return ops.concatenate([ops.reshape(y, (-1,)) for y in output])
    result: Tensor = output
    return result


def of_model(model: Any, batch: Sequence[Any], seed: int, **options: Any) -> Problem:
    """The trainable parameters of a compiled model, through its loss and its penalties."""
    if getattr(model, "loss", None) is None:
        raise RuntimeError(
            "gradcheck.check expects a compiled model: call model.compile(loss=..., optimizer=...) first"
        )
    if len(batch) not in (2, 3):
        raise ValueError(
            f"gradcheck.check(model, x, y) expects x, y and perhaps sample_weight, got {len(batch)} arrays"
        )
    x, *rest = batch
    if hasattr(model.loss, "check"):
        rest[0] = model.loss.check(rest[0], model.output_shape, "y")
    several = isinstance(x, (list, tuple)) and all(isinstance(part, np.ndarray) for part in x)
    arrays = [np.asarray(part) for part in (x if several else [x])]
    call_once(model, arrays, several, options)
    model._ready()
    if model.compiled.several:
        rest[0] = door.checked_labels(model, rest[0], len(arrays[0]))
        rest[1:] = [door.sample_weights(model, w, len(arrays[0]), "sample_weight") for w in rest[1:]]
    frozen = model.compiled.frozen
    options["frozen"] = frozen
    parameters = [p for p in model.parameters() if id(p) not in frozen]
    leaves = parameter_leaves(parameters)

    def run(graph: CheckGraph, values: list[np.ndarray]) -> Evaluation:
        tensors = [graph.tensor(a) for a in arrays]
        loss = model.total_loss(graph, tensors if several else tensors[0], *rest)
        return loss, [], [graph.parameter(p) for p in parameters]

    others = [np.asarray(a) for r in rest for a in (r if isinstance(r, tuple) else [r]) if a is not None]
    return Problem(leaves, run, model, sizes_of([*arrays, *others]), seed, **options)


def call_once(layer: Layer, arrays: Sequence[np.ndarray], several: bool, options: Mapping[str, Any]) -> None:
    """Let a layer build what it builds at its first call, and check the shapes."""
    state = State(layer)
    graph = CheckGraph({}, gradients=False, **{**options, "training": False})
    tensors = [graph.tensor(a) for a in arrays]
    try:
        layer(tensors if several else tensors[0])
    finally:
        state.restore()


def parameter_leaves(parameters: Sequence[Parameter]) -> list[Leaf]:
    """A float64 copy of each parameter, under the layer's path and its own name."""
    leaves = []
    for p in parameters:
        layer, _, name = (p.name or "parameter").rpartition("/")
        leaves.append(Leaf(layer, name, p.numpy().astype(np.float64), p))
    return leaves


def sizes_of(arrays: Sequence[np.ndarray]) -> dict[int, str]:
    """The numbers that a mean may divide by, each with a name."""
    sizes: dict[int, str] = {}
    for array in arrays:
        sizes.setdefault(int(array.size), "the number of elements")
        for axis, n in enumerate(array.shape):
            sizes.setdefault(int(n), f"axis {axis}")
    if arrays and arrays[0].ndim:
        sizes[int(arrays[0].shape[0])] = "the batch"
        sizes.setdefault(int(arrays[0].size // max(arrays[0].shape[0], 1)), "the elements of a row")
    return sizes
