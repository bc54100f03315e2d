"""Matrix products, as NumPy's ``@``: vectors, matrices, and stacks of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn.activation import Activation
from tinynn.function import Function
from tinynn.ops.broadcasting import unbroadcast
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Matmul(Function):
    """z = x y: (..., M, K) (..., K, N) -> (..., M, N); a vector stands for a row on the left, a column on the right.

    dx = dz y', dy = x' dz, summed over stacks that were broadcast. Raises ValueError where the sizes do not fit.
    """

    def forward(self, graph: Graph, x: Array, y: Array) -> Array:
        if not x.ndim or not y.ndim or x.shape[-1] != y.shape[max(y.ndim - 2, 0)]:
            raise ValueError(
                f"matmul expects (..., M, K) and (..., K, N), got shapes {x.shape} and {y.shape}: "
                "transpose one of them, or use * for the product of elements"
            )
        self.saved = x, y
        self.dense = x.ndim == y.ndim == 2 and x.dtype == y.dtype == graph.dtype
        if self.dense:
            z = graph.backend.empty((x.shape[0], y.shape[1]), x.dtype)
            graph.backend.dense.forward(z, x, y, None, Activation.LINEAR)
            return z
        return graph.backend.matmul(x, y)

    def backward(self, graph: Graph, dz: Array) -> Any:
        x, y = self.saved
        if self.dense:
            dx, dy = graph.gradients(self)
            graph.backend.dense.backward(dx, dy, None, dz, x, y, dz, Activation.LINEAR)
            return dx, dy
        rows = x if x.ndim > 1 else x.reshape(1, -1)
        columns = y if y.ndim > 1 else y.reshape(-1, 1)
        dz = dz.reshape(*dz.shape[: dz.ndim - (x.ndim > 1) - (y.ndim > 1)], rows.shape[-2], columns.shape[-1])
        dx = dy = None
        if self.needs(0):
            dx = unbroadcast(graph.backend.matmul(dz, columns.swapaxes(-1, -2)), rows.shape).reshape(x.shape)
        if self.needs(1):
            dy = unbroadcast(graph.backend.matmul(rows.swapaxes(-1, -2), dz), columns.shape).reshape(y.shape)
        return dx, dy


def matmul(x: Any, y: Any) -> Tensor:
    """The matrix product x @ y."""
    return Matmul()(x, y)
