"""Tensor: an array, the graph it lives in, and its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

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
    mask:          which steps of a sequence count, a bool array (N, T), or None: layers hand it on, operations do not
    """

    __slots__ = (
        "data",
        "function",
        "grad",
        "graph",
        "mask",
        "name",
        "parameter",
        "pending",
        "position",
        "requires_grad",
    )

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
        self.mask: Array | None = None

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

    __array_priority__ = 1000
    """CuPy hands ``array + tensor`` to us instead of taking the tensor apart."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **arguments: Any) -> Any:
        """``array + tensor`` is ours; TypeError for any other of NumPy's functions, which would lose the gradient."""
        operator = OPERATORS.get(ufunc)
        if operator is not None and "out" in arguments:
            raise TypeError("an array cannot take a Tensor in place: write a = a + t instead of a += t")
        if operator is None or method != "__call__" or arguments:
            raise without_gradient(ufunc.__name__)
        return operator(*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        """What NumPy asks before ``np.mean(tensor)`` and the like: TypeError that names ours."""
        if function in (np.shape, np.ndim, np.size) and len(args) == 1 and not kwargs:
            return getattr(args[0], function.__name__)
        raise without_gradient(function.__name__)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """``np.asarray(tensor)``: a copy of the value, as ``numpy()`` gives it; the gradient ends there."""
        if copy is False:
            raise ValueError("the value of a Tensor can only be had as a copy: leave out copy=False")
        value: np.ndarray = self.numpy()
        return value if dtype is None else value.astype(dtype, copy=False)

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


OPERATORS: dict[Any, Any] = {
    np.add: ops.add,
    np.subtract: ops.subtract,
    np.multiply: ops.multiply,
    np.divide: ops.divide,
    np.power: ops.power,
    np.matmul: ops.matmul,
}
"""What NumPy calls for an operator between an array on the left and a tensor on the right."""

OTHER_NAMES = {
    "abs": "absolute",
    "amax": "max",
    "amin": "min",
    "average": "mean",
    "dot": "matmul",
    "float_power": "power",
    "hstack": "concatenate",
    "swapaxes": "transpose",
    "vstack": "concatenate",
}
"""NumPy's names of what ``ops`` calls by another."""


def without_gradient(name: str) -> TypeError:
    """The error for a NumPy function that is called with a tensor."""
    ours = OTHER_NAMES.get(name, name)
    has = ours in ops.__all__
    write = f"write ops.{ours}(...), with `from tinynn import ops`" if has else "tinynn.ops has no such function"
    return TypeError(
        f"np.{name} does not take a Tensor, because the gradient would be lost: {write}; where only the value is "
        f"wanted write np.{name}(x.numpy())"
    )
