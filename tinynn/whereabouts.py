"""Which layer a Function belongs to, for the messages of errors that come out of a kernel."""

from __future__ import annotations

from collections.abc import Sequence

from tinynn.function import Function
from tinynn.tensor import Tensor


def place(function: Function, inputs: Sequence[Tensor], way: str) -> str:
    """``layer 'conv2d_1' (Convolve2D forward, inputs (32, 8, 8, 3), (3, 3, 3, 16))``, as far as it can be told."""
    shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
    what = f"{type(function).__name__} {way}, inputs {shapes}"
    own, before = path_of(inputs), path_before(inputs)
    if own is not None:
        return f"layer '{own}' ({what})"
    return what if before is None else f"{what}, behind layer '{before}'"


def path_of(inputs: Sequence[Tensor]) -> str | None:
    """The layer whose parameter is among the inputs."""
    for x in inputs:
        if x.parameter is not None and x.parameter.name:
            name: str = x.parameter.name
            return name.rpartition("/")[0] or name
    return None


def path_before(inputs: Sequence[Tensor]) -> str | None:
    """The nearest layer with parameters from which these tensors come."""
    seen: set[int] = set()
    row = list(inputs)
    while row:
        functions = [x.function for x in row if x.function is not None and id(x.function) not in seen]
        for function in functions:
            seen.add(id(function))
            if (path := path_of(function.inputs)) is not None:
                return path
        row = [x for function in functions for x in function.inputs]
    return None
