"""Elementary Functions: arithmetic, elementary functions, reductions, shapes, indexing, products, activations.

Each file holds Functions, forward and backward side by side on bare arrays, and below them the small functions that
apply them: ``ops.add(x, y)`` is what ``x + y`` means for tensors. Plain numbers and arrays may stand wherever another
operand is a tensor.
"""

from typing import TYPE_CHECKING

from tinynn.errors import no_attribute
from tinynn.ops.activations import activate, log_softmax, relu, sigmoid, softmax, tanh
from tinynn.ops.arithmetic import add, divide, maximum, minimum, multiply, negative, power, subtract
from tinynn.ops.elementary import absolute, clip, exp, log, sqrt, square, where
from tinynn.ops.indexing import getitem
from tinynn.ops.joining import concatenate, stack
from tinynn.ops.products import matmul
from tinynn.ops.reductions import max, mean, min, sum
from tinynn.ops.shape import broadcast_to, expand_dims, reshape, squeeze, transpose

__all__ = [
    "absolute",
    "activate",
    "add",
    "broadcast_to",
    "clip",
    "concatenate",
    "divide",
    "exp",
    "expand_dims",
    "getitem",
    "log",
    "log_softmax",
    "matmul",
    "max",
    "maximum",
    "mean",
    "min",
    "minimum",
    "multiply",
    "negative",
    "power",
    "relu",
    "reshape",
    "sigmoid",
    "softmax",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "subtract",
    "sum",
    "tanh",
    "transpose",
    "where",
]


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
