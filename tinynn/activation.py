"""The names of the activations, and which of them a kernel may fuse.

The formulas stand beside their derivatives in ``backends/reference/activation.py``.
"""

from __future__ import annotations

from enum import StrEnum

from tinynn.errors import unknown


class Activation(StrEnum):
    """An elementwise nonlinearity; the values are Keras's names."""

    __hash__ = str.__hash__  # that of the value, which it equals; an Enum's own would take longer than the look-up

    LINEAR = "linear"
    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    SELU = "selu"
    GELU = "gelu"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTPLUS = "softplus"
    SOFTSIGN = "softsign"
    SWISH = "swish"
    HARD_SIGMOID = "hard_sigmoid"
    EXPONENTIAL = "exponential"


DEFAULT_ALPHA = {Activation.LEAKY_RELU: 0.2, Activation.ELU: 1.0}
"""The slope (leaky relu) or the scale (elu) of the two activations that have one, as Keras 3 has them."""

FUSED = frozenset({Activation.LINEAR, Activation.RELU, Activation.LEAKY_RELU, Activation.TANH})
"""What Dense and Conv may apply inside their own kernel: the derivative is a cheap function of the output.

The sigmoid would qualify, but a loss wants to find its logits, so it stays a node of its own."""


def activation(name: str) -> Activation:
    """The activation of that name; ValueError names the nearest known one."""
    try:
        return Activation({"silu": "swish", "exp": "exponential"}.get(name, name))
    except ValueError:
        raise unknown("activation", name, [*Activation, "softmax"]) from None


RECURRENT = FUSED | {Activation.SIGMOID, Activation.HARD_SIGMOID, Activation.ELU, Activation.EXPONENTIAL}
"""What a recurrent kernel may apply: the derivative is a function of the output."""
