"""Records: a graph as a plain list of what was computed, for printing and for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinynn.function import Function
from tinynn.ops.indexing import Gather, GetItem
from tinynn.tensor import Tensor
from tinynn.typing import Array


@dataclass(frozen=True)
class Record:
    """One node: its number, what made it, the numbers of its inputs, its value and, after backward, its gradient.

    detail: what belongs behind the inputs, such as the index of ``x[1]``;  name: what the user called the tensor
    taken:  the loss that took this node's input instead of its output, so that no gradient came here
    """

    index: int
    operation: str
    inputs: tuple[int, ...]
    tensor: Tensor | None
    value: Array
    gradient: Array | None = None
    detail: str = ""
    name: str | None = None
    taken: str | None = None

    def with_gradient(self) -> Record:
        """The same record with the gradient that backward left in the tensor, and free of the tensor."""
        return replace(self, gradient=None if self.tensor is None else self.tensor.grad, tensor=None)

    def __str__(self) -> str:
        made = f"{self.operation}({', '.join(f'#{i}' for i in self.inputs)})" if self.inputs else self.operation
        named = f"{self.name} = " if self.name and self.inputs else ""
        gradient = "" if self.gradient is None else f"  gradient {brief(self.gradient)}"
        if self.taken and not gradient:
            gradient = f"  no gradient: {self.taken} takes its logits #{self.inputs[0]}"
        return f"#{self.index:<3} {named + made + self.detail:<24} value {brief(self.value)}{gradient}"


def brief(array: Array) -> str:
    """A number, or a shape with the range of its values."""
    if array.size == 1:
        return f"{float(array.reshape(())):.6g}"
    if array.size <= 6:
        return np.array2string(np.asarray(array.tolist()), precision=4, separator=", ").replace("\n", "")
    return f"{'x'.join(map(str, array.shape))} in [{float(array.min()):.4g}, {float(array.max()):.4g}]"


def records(tape: Sequence[Function]) -> list[Record]:
    """The nodes of a tape, every input before what is made of it."""
    numbers: dict[int, int] = {}
    result: list[Record] = []

    def add(tensor: Tensor, operation: str, inputs: tuple[int, ...] = (), detail: str = "", taken: Any = None) -> None:
        numbers[id(tensor)] = len(result)
        value, gradient = tensor.data, tensor.grad
        result.append(Record(len(result), operation, inputs, tensor, value, gradient, detail, tensor.name, taken))

    for function in tape:
        for x in function.inputs:
            if id(x) not in numbers:
                add(x, x.name or ("input" if x.requires_grad else "constant"))
        inputs = tuple(numbers[id(x)] for x in function.inputs)
        for output in function.output if isinstance(function.output, tuple) else (function.output,):
            add(output, type(function).__name__, inputs, index_of(function), taker_of(function, tape))
    return result


def index_of(function: Function) -> str:
    """``[1, 2:]`` for a node that indexes, nothing for any other."""
    if not isinstance(function, (GetItem, Gather)):
        return ""
    parts = function.index if isinstance(function.index, tuple) else (function.index,)
    return f"[{', '.join(map(index_part, parts))}]"


def index_part(i: Any) -> str:
    if isinstance(i, slice):
        return ":".join("" if n is None else str(n) for n in (i.start, i.stop, i.step)[: 2 if i.step is None else 3])
    if isinstance(i, np.ndarray):
        return str(i.tolist()) if i.size <= 6 else f"array of shape {i.shape}"
    return "..." if i is Ellipsis else str(i)


def taker_of(function: Function, tape: Sequence[Function]) -> str | None:
    """What took the logits below a Softmax or Sigmoid whose own output nobody used; None where nothing did."""
    if not function.keeps_input or any(x is function.output for other in tape for x in other.inputs):
        return None
    takers = (other for other in tape if other is not function and any(x is function.inputs[0] for x in other.inputs))
    return next((type(other).__name__ for other in takers), None)
