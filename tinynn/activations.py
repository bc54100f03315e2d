"""Activations as functions of a tensor, under Keras's names: ``activations.relu(x)``, ``activations.get("relu")``.

A layer takes one of them as ``activation=activations.relu``, which is the same as ``activation="relu"``. Their formulas
and derivatives stand in ``ops/activations.py`` and ``backends/reference/activation.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tinynn import ops
from tinynn.activation import Activation
from tinynn.errors import no_attribute, unknown
from tinynn.ops import log_softmax, relu, sigmoid, softmax, tanh

if TYPE_CHECKING:
    from tinynn.tensor import Tensor

__all__ = [
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


def linear(x: Tensor) -> Tensor:
    """x"""
    return x


def leaky_relu(x: Tensor, negative_slope: float = 0.2) -> Tensor:
    """x for x > 0, else negative_slope x"""
    return ops.activate(x, Activation.LEAKY_RELU, negative_slope)


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x for x > 0, else alpha (exp(x) - 1)"""
    return ops.activate(x, Activation.ELU, alpha)


def selu(x: Tensor) -> Tensor:
    """1.0507 x for x > 0, else 1.0507 * 1.6733 (exp(x) - 1)"""
    return ops.activate(x, Activation.SELU)


def gelu(x: Tensor) -> Tensor:
    """x times the standard normal distribution function of x"""
    return ops.activate(x, Activation.GELU)


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x))"""
    return ops.activate(x, Activation.SOFTPLUS)


def softsign(x: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return ops.activate(x, Activation.SOFTSIGN)


def swish(x: Tensor) -> Tensor:
    """x sigmoid(x)"""
    return ops.activate(x, Activation.SWISH)


def hard_sigmoid(x: Tensor) -> Tensor:
    """The sigmoid as three straight lines: x / 6 + 1 / 2, cut to [0, 1]"""
    return ops.activate(x, Activation.HARD_SIGMOID)


def exponential(x: Tensor) -> Tensor:
    """exp(x)"""
    return ops.activate(x, Activation.EXPONENTIAL)


silu = swish

FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        *(
            elu,
            exponential,
            gelu,
            hard_sigmoid,
            leaky_relu,
            linear,
            log_softmax,
            relu,
            selu,
            sigmoid,
            softmax,
            softplus,
        ),
        *(softsign, swish, tanh),
    )
}
ALIASES = {"silu": "swish", "exp": "exponential"}


def get(identifier: Any) -> Callable[..., Tensor]:
    """The function of a name, any callable of a tensor as it is, or None for ``linear``.

    Raises ValueError for a name that is not known, TypeError for what is none of these.
    """
    if identifier is None:
        return linear
    if isinstance(identifier, str):
        name = ALIASES.get(identifier, str(identifier))
        if name not in FUNCTIONS:
            raise unknown("activation", identifier, [*FUNCTIONS, *ALIASES])
        return FUNCTIONS[name]
    if not callable(identifier):
        raise TypeError(f"an activation is a name such as 'relu' or a callable of a tensor, got {identifier!r}")
    return identifier  # type: ignore[no-any-return]


def name_of(function: Any) -> str | None:
    """The name of one of these functions, None for any other object."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) and FUNCTIONS.get(name) is function else None


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
