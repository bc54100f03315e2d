"""Tensor: an array, the graph it lives in, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinynn import ops
from tinynn.function import UNOPENED
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.function import Function
    from tinynn.graph import Graph
    from tinynn.parameter import Variable


class Tensor:
    """A value of a graph. Operators and methods are Functions of ``tinynn.ops``; their gradients are written by hand.

    data:          the array, on the graph's backend; nobody writes to it
    grad:          the gradient of the last ``backward``, for a leaf that wants one (and interior nodes on request)
    requires_grad: whether backward shall reach it
    function:      the Function that made it, as long as the tape holds it
    """

    __slots__ = ("data", "function", "grad", "graph", "name", "parameter", "pending", "position", "requires_grad")

    def __init__(
        self,
        data: Array,
        graph: Graph,
        requires_grad: bool = False,
        parameter: Variable | None = None,
        name: str | None = None,
    ):
        self.data = data
        self.graph = graph
        self.requires_grad = requires_grad
        self.parameter: Any = parameter
        self.name = name
        self.grad: Array | None = None
        self.function: Function | None = None
        self.pending: Array | None = None
        self.position = UNOPENED

    def backward(self) -> None:
        """Give every leaf that this scalar depends on its gradient: ``graph.backward(self)``."""
        self.graph.backward(self)

    # -- shape -------------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Shape:
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        return len(self.data.shape)

    @property
    def size(self) -> int:
        return int(self.data.size)

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def T(self) -> Tensor:
        return ops.transpose(self)

    def __len__(self) -> int:
        if not self.data.shape:
            raise TypeError("len() of a tensor without axes")
        return int(self.data.shape[0])

    def __float__(self) -> float:
        return float(self.data)

    def numpy(self) -> Any:
        """A copy of the value as a NumPy array."""
        return self.graph.backend.to_numpy(self.data).copy()

    def __repr__(self) -> str:
        made = f", made by {type(self.function).__name__}" if self.function is not None else ""
        wants = ", requires_grad" if self.requires_grad else ""
        return f"Tensor({self.graph.backend.to_numpy(self.data)!r}{wants}{made})"

    # -- operators ---------------------------------------------------------------------------------------------------

    __array_ufunc__ = None
    """NumPy hands ``array + tensor`` to us instead of taking the tensor apart."""

    def __add__(self, other: Any) -> Tensor:
        return ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ops.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ops.power(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return ops.matmul(other, self)

    def __neg__(self) -> Tensor:
        return ops.negative(self)

    def __abs__(self) -> Tensor:
        return ops.absolute(self)

    def __getitem__(self, index: Any) -> Tensor:
        return ops.getitem(self, index)

    # -- methods -----------------------------------------------------------------------------------------------------

    def sum(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return ops.sum(self, axis, keepdims)

    def mean(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return ops.mean(self, axis, keepdims)

    def max(self, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        return ops.max(self, axis, keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        return ops.reshape(self, *shape)

    def transpose(self, *axes: Any) -> Tensor:
        return ops.transpose(self, *axes)

    def exp(self) -> Tensor:
        return ops.exp(self)

    def log(self) -> Tensor:
        return ops.log(self)

    def sqrt(self) -> Tensor:
        return ops.sqrt(self)

    def tanh(self) -> Tensor:
        return ops.tanh(self)

    def sigmoid(self) -> Tensor:
        return ops.sigmoid(self)

    def relu(self) -> Tensor:
        return ops.relu(self)
