"""The graph of layer calls behind ``Model(inputs, outputs)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def run(order: Sequence[Symbol], inputs: Sequence[Symbol], tensors: Sequence[Tensor], visit: Visit = None) -> Values:
    """Make all calls in order; ``visit(layer, output)`` sees each. Returns the value of every symbol, by its id."""
    values: Values = {id(s): t for s, t in zip(inputs, tensors, strict=True)}
    for symbol in order:
        arguments = [values[id(s)] for s in symbol.inputs]
        if symbol.layer is None:  # one of several results
            values[id(symbol)] = arguments[0][symbol.index]
            continue
        values[id(symbol)] = symbol.layer(arguments if symbol.takes_list else arguments[0])
        if visit is not None:
            visit(symbol.layer, values[id(symbol)])
    return values
