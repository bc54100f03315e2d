"""Function: the contract of one differentiable operation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor

UNOPENED, SPENT = -1, -2
"""``tensor.position`` where it is no place on a tape: a leaf that is not used yet; a result whose tape is emptied."""


class Function:
    """One fused operation with a hand-written derivative: y = f(x1, x2, ...).

    A subclass writes ``forward`` and ``backward`` side by side. Constants go to the constructor, differentiable inputs
    to the call; an instance is the memory of one call and is used once. ``forward`` keeps what ``backward`` will need
    in ``self.saved``. The multiplication gate of the courses is

    >>> class Multiply(Function):
    ...     def forward(self, graph, x, y):
    ...         self.saved = x, y
    ...         return x * y
    ...     def backward(self, graph, dz):
    ...         x, y = self.saved
    ...         return dz * y, dz * x

    and ``Multiply()(x, y)`` applies it to two tensors.

    The rules of ``backward``: it returns one gradient per input, each an array of its input's shape that nobody else
    holds (two inputs never receive the same array), or None where there is none. ``dy`` belongs to the function: it may
    be overwritten, or passed on once. The inputs and the output of ``forward`` are never overwritten.

    A Function with several results returns a tuple from ``forward``; ``backward(graph, dy1, dy2, ...)`` then gets one
    gradient for each, None for a result that nobody used.
    """

    saved: Any = None
    inputs: Sequence[Tensor] = ()
    output: Any = None
    """The Tensor (or tuple of them) that this call made, as long as the tape holds it."""

    keeps_input = False
    """True where a loss may ask for this function's input (the logits) even in a graph without gradients."""

    def forward(self, graph: Graph, *arrays: Array) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no forward(graph, *arrays)")

    def backward(self, graph: Graph, *dy: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no backward(graph, dy)")

    def __call__(self, *inputs: Any) -> Tensor:
        """Apply to tensors; plain numbers and arrays among them become constants of the same graph."""
        for x in inputs:
            graph: Graph | None = getattr(x, "graph", None)
            if graph is not None:
                return graph.apply(self, *inputs)
        kinds = ", ".join(type(x).__name__ for x in inputs)
        raise TypeError(
            f"{type(self).__name__} expects at least one Tensor, got {kinds}: open one with graph.tensor(x)"
        )

    def needs(self, i: int) -> bool:
        """Whether anybody needs the gradient of input i."""
        return self.inputs[i].requires_grad

    def release(self) -> None:
        """Forget the call, so that its arrays can be recycled while backward still runs."""
        self.saved, self.inputs = None, ()
        output, self.output = self.output, None
        if type(output) is tuple:
            for tensor in output:
                tensor.function, tensor.pending, tensor.position = None, None, SPENT
        elif output is not None:
            output.function, output.pending, output.position = None, None, SPENT
