"""Records: a graph as a plain list of what was computed, for printing and for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tinynn.function import Function
from tinynn.tensor import Tensor
from tinynn.typing import Array


@dataclass(frozen=True)
class Record:
    """One node: its number, what made it, the numbers of its inputs, its value and, after backward, its gradient."""

    index: int
    operation: str
    inputs: tuple[int, ...]
    tensor: Tensor | None
    value: Array
    gradient: Array | None = None

    def with_gradient(self) -> Record:
        """The same record with the gradient that backward left in the tensor, and free of the tensor."""
        return replace(self, gradient=None if self.tensor is None else self.tensor.grad, tensor=None)

    def __str__(self) -> str:
        made = f"{self.operation}({', '.join(f'#{i}' for i in self.inputs)})" if self.inputs else self.operation
        gradient = "" if self.gradient is None else f"  gradient {brief(self.gradient)}"
        return f"#{self.index:<3} {made:<24} value {brief(self.value)}{gradient}"


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

    def add(tensor: Tensor, operation: str, inputs: tuple[int, ...]) -> None:
        numbers[id(tensor)] = len(result)
        result.append(Record(len(result), operation, inputs, tensor, tensor.data, tensor.grad))

    for function in tape:
        for x in function.inputs:
            if id(x) not in numbers:
                add(x, x.name or ("input" if x.requires_grad else "constant"), ())
        assert function.output is not None
        add(function.output, type(function).__name__, tuple(numbers[id(x)] for x in function.inputs))
    return result
