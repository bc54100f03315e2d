"""Fusion: layers in a row that one Function computes faster. Layers, names, weights and numbers stay as they are.

Conv2D -> [BatchNormalization] -> [activation] -> [MaxPooling2D] is one block (``layers/convblock.py``), as far as
nobody else looks at what is between; so is Add -> relu, the end of a residual block (``layers/merge.py``); and a hidden
sigmoid is part of its Dense layer. Only graphs with ``fuse`` run blocks: those of fit, evaluate and predict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast

from tinynn.activation import DEFAULT_ALPHA
from tinynn.activation import Activation as Kind
from tinynn.backends.base import Block
from tinynn.layers.activation import Activation, LeakyReLU, ReLU
from tinynn.layers.base import Layer, Symbol
from tinynn.layers.batchnorm import BatchNormalization
from tinynn.layers.conv2d import Conv2D
from tinynn.layers.convblock import ConvBlock
from tinynn.layers.dense import Dense
from tinynn.layers.images import window_on
from tinynn.layers.merge import Add, ReluSum
from tinynn.layers.pooling import MaxPooling2D
from tinynn.models.functional import Step
from tinynn.tensor import Tensor
from tinynn.typing import Array

T = TypeVar("T", bound=Layer)
LONGEST = 4
"""Layers in a block."""


class Chain:
    """Layers in a row that are one block when they are called."""

    def __init__(
        self,
        layers: Sequence[Layer],
        conv: Conv2D,
        norm: BatchNormalization | None,
        kind: Kind,
        pool: MaxPooling2D | None,
    ):
        self.layers, self.conv, self.norm, self.kind, self.pool = tuple(layers), conv, norm, kind, pool

    def __call__(self, x: Tensor) -> Tensor:
        graph, conv, norm = x.graph, self.conv, self.norm
        shape = x.shape[1:]
        for layer in self.layers:  # which may refuse it
            shape = layer.ensure_built(shape)
        W = graph.parameter(conv.kernel)
        b = graph.parameter(conv.bias) if conv.use_bias else None
        if norm is None:
            return self.block(x, W, b)
        gamma = graph.parameter(norm.gamma) if norm.scale else None
        beta = graph.parameter(norm.beta) if norm.center else None
        if norm.takes_batch(graph):
            return self.block(x, W, b, gamma, beta, norm)
        if any(t is not None and t.requires_grad for t in (x, W, b, gamma, beta)):
            for layer in self.layers:  # through statistics that are given, one by one
                x = layer(x)
            return x
        return self.block(x, *self.folded(W, b, gamma, beta))

    def block(
        self,
        x: Tensor,
        W: Tensor | Array,
        b: Tensor | Array | None,
        gamma: Tensor | None = None,
        beta: Tensor | None = None,
        norm: BatchNormalization | None = None,
    ) -> Tensor:
        """One Function; with a norm, which takes the batch's statistics, or without."""
        graph, conv, pool = x.graph, self.conv, self.pool
        window = window_on(x.shape[1], x.shape[2], conv.kernel_size, conv.strides, conv.padding, conv.dilation_rate)
        sides = window.output(x.shape[1], x.shape[2])
        block = Block(
            window,
            conv.groups,
            self.kind,
            None if pool is None else window_on(*sides, pool.pool_size, pool.strides, pool.padding),
            None if norm is None else norm.epsilon,
            graph.fast_math,
        )
        inputs = [t for t in (x, W, b, gamma, beta) if t is not None]
        wanted = any(isinstance(t, Tensor) and t.requires_grad for t in inputs)
        function = ConvBlock(block, b is not None, gamma is not None, beta is not None, wanted)
        z = function(*inputs)
        if norm is not None:
            graph.update(partial(norm.follow, graph.backend.batchnorm, function.mean, function.variance))
        return z

    def folded(self, W: Tensor, b: Tensor | None, gamma: Tensor | None, beta: Tensor | None) -> tuple[Array, Array]:
        """The weights and the bias of a convolution that normalizes by given statistics:

        W s and (b - mean) s + beta with s = gamma / sqrt(variance + epsilon).
        """
        graph, norm = W.graph, self.norm
        assert norm is not None
        mean, variance = graph.parameter(norm.moving_mean).data, graph.parameter(norm.moving_variance).data
        s = (variance + norm.epsilon) ** -0.5
        if gamma is not None:
            s = s * gamma.data
        shift = -mean * s if b is None else (b.data - mean) * s
        return W.data * s, shift if beta is None else shift + beta.data


class Join:
    """Add and the relu behind it."""

    def __init__(self, layers: Sequence[Layer]):
        self.layers = tuple(layers)

    def __call__(self, tensors: Sequence[Tensor]) -> Tensor:
        add, relu = self.layers
        if len(tensors) != 2 or tensors[0].shape != tensors[1].shape:
            y: Tensor = relu(add(tensors))
            return y
        relu.ensure_built(add.ensure_built([t.shape[1:] for t in tensors]))
        y = ReluSum()(*tensors)
        add.carry_mask(tensors, y)
        return y


class Hidden:
    """A Dense layer whose sigmoid is part of its kernel: another Dense reads it, so no loss looks for its logits."""

    def __init__(self, layer: Dense):
        self.layers, self.layer = (layer,), layer

    def __call__(self, x: Tensor) -> Tensor:
        layer = self.layer
        if x.data.shape[1:] != layer.built_for:
            layer.ensure_built(x.shape[1:])
        y = layer.compute(x, Kind.SIGMOID)
        y.mask = x.mask
        return y


def block(layers: Sequence[Layer]) -> Chain | Join | Hidden | None:
    """The longest block that some layers in a row begin with; None where they begin with none."""
    if len(layers) > 1 and type(layers[0]) is Add and kind_of(layers[1]) is Kind.RELU:
        return Join(layers[:2])
    return chain(layers) or hidden(layers)


def chain(layers: Sequence[Layer]) -> Chain | None:
    rest = list(layers)
    conv = take(rest, Conv2D)
    if conv is None or conv.function.fused is None or conv.activity_regularizer is not None:
        return None
    kind, norm = conv.function.fused, None
    if kind is Kind.LINEAR:
        norm = take(rest, BatchNormalization, lambda layer: layer.axis in (-1, 3))
        if rest and (follows := kind_of(rest[0])) is not None:
            kind = follows
            rest.pop(0)
    pool = take(rest, MaxPooling2D)
    found = layers[: len(layers) - len(rest)]
    return Chain(found, conv, norm, kind, pool) if len(found) > 1 else None


def hidden(layers: Sequence[Layer]) -> Hidden | None:
    """What some layers in a row begin with, if it is that."""
    if len(layers) < 2 or type(layers[0]) is not Dense or type(layers[1]) is not Dense:
        return None
    return Hidden(layers[0]) if layers[0].activation == "sigmoid" else None


def take(rest: list[Layer], kind: type[T], fits: Callable[[T], bool] = lambda layer: True) -> T | None:
    """The first layer, taken off, where it is of this very class (an heir may compute something else) and fits."""
    if not rest or type(rest[0]) is not kind or not fits(rest[0]):
        return None
    return cast(T, rest.pop(0))


def kind_of(layer: Layer) -> Kind | None:
    """The activation that a layer is, where a block can have it; None otherwise. Leaky relu has one slope there."""
    if type(layer) is Activation:
        return layer.function.fused
    if type(layer) is LeakyReLU or (type(layer) is ReLU and layer.max_value is None and layer.threshold == 0):
        return {0: Kind.RELU, DEFAULT_ALPHA[Kind.LEAKY_RELU]: Kind.LEAKY_RELU}.get(layer.negative_slope)
    return None


# -- the plan of a model ---------------------------------------------------------------------------------------------


class Plan:
    """What a model calls, one after the other: layers, and blocks in the place of layers."""

    def __init__(self, steps: Sequence[Any]):
        self.steps = steps

    @property
    def chains(self) -> list[tuple[Layer, ...]]:
        """The layers of every block."""
        calls = [step.call if isinstance(step, Step) else step for step in self.steps]
        return [call.layers for call in calls if isinstance(call, (Chain, Join))]


def of_stack(stack: Sequence[Layer]) -> Plan:
    """Of layers each fed by the one before."""
    calls: list[Callable[[Any], Any]] = []
    i = 0
    while i < len(stack):
        found = block(stack[i : i + LONGEST])
        calls.append(found or stack[i])
        i += len(found.layers) if found else 1
    return Plan(calls)


def of_calls(order: Sequence[Symbol], outputs: Sequence[Symbol]) -> Plan:
    """Of the functional form. A block ends where its result has several readers, or its next layer several calls."""
    uses = Counter(id(s) for symbol in order for s in symbol.inputs) + Counter(map(id, outputs))
    reader = {id(s): symbol for symbol in order for s in symbol.inputs}
    calls = Counter(id(symbol.layer) for symbol in order)

    def row(symbol: Symbol | None) -> Iterator[Symbol]:
        """A call and those behind it, as long as each is the only one of its layer, and the next its only reader."""
        while symbol is not None and symbol.layer is not None and calls[id(symbol.layer)] == 1 and not symbol.options:
            yield symbol
            symbol = reader.get(id(symbol)) if uses[id(symbol)] == 1 else None

    steps = {id(symbol): Step(symbol) for symbol in order}
    for symbol in order:
        symbols = list(islice(row(symbol), LONGEST))
        found = block([s.layer for s in symbols if s.layer is not None])
        if found is not None:
            *inside, last = symbols[: len(found.layers)]
            for s in inside:
                del steps[id(s)]
            steps[id(last)] = Step(last, symbol, found)
    return Plan(list(steps.values()))
