"""The graph of layer calls behind ``Model(inputs, outputs)``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tinynn.layers.base import Layer, Symbol
from tinynn.tensor import Tensor

Visit = Callable[[Layer, Any], None] | None
Values = dict[int, Any]


def call_order(inputs: Sequence[Symbol], outputs: Sequence[Symbol]) -> list[Symbol]:
    """Every symbol between inputs and outputs, each after what it is made of; no recursion, so depth does not matter.

    ValueError names an input that the outputs need and the caller did not list.
    """
    done: dict[int, Symbol] = {id(s): s for s in inputs}
    order: list[Symbol] = []
    stack = [(s, False) for s in reversed(outputs)]
    while stack:
        symbol, expanded = stack.pop()
        if id(symbol) in done:
            continue
        if symbol.layer is None and not symbol.inputs:
            raise ValueError(
                f"Model(inputs, outputs): the outputs depend on {symbol!r}, which is not among the inputs: add it"
            )
        if expanded:
            done[id(symbol)] = symbol
            order.append(symbol)
        else:
            stack.append((symbol, True))
            stack.extend((s, False) for s in reversed(symbol.inputs))
    return order


def layers_of(order: Sequence[Symbol]) -> list[Layer]:
    """The layers called, each once, in the order of their first call."""
    return list(dict.fromkeys(symbol.layer for symbol in order if symbol.layer is not None))


class Step:
    """What makes the value of a symbol: the call of its layer, or of several layers at once, which end in it."""

    def __init__(self, symbol: Symbol, first: Symbol | None = None, call: Callable[..., Any] | None = None):
        self.symbol, self.call = symbol, call or symbol.layer
        self.first = first or symbol
        """The call whose inputs are needed."""


def run(steps: Iterable[Step], inputs: Sequence[Symbol], tensors: Sequence[Tensor], visit: Visit = None) -> Values:
    """Make all calls in order; ``visit(layer, output)`` sees each. Returns the values of the symbols, by their ids."""
    values: Values = {id(s): t for s, t in zip(inputs, tensors, strict=True)}
    for step in steps:
        symbol = step.symbol
        arguments = [values[id(s)] for s in step.first.inputs]
        if step.call is None:  # one of several results
            values[id(symbol)] = arguments[0][symbol.index]
            continue
        value = arguments if step.first.takes_list else arguments[0]
        values[id(symbol)] = step.call(value, **symbol.options) if symbol.options else step.call(value)
        if visit is not None and symbol.layer is not None:
            visit(symbol.layer, values[id(symbol)])
    return values
