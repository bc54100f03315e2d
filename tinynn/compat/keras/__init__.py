"""Keras's top level, as far as this library has it."""

from tinynn import (
    Input,
    Model,
    Sequential,
    callbacks,
    constraints,
    initializers,
    losses,
    metrics,
    optimizers,
    regularizers,
)

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "callbacks",
    "constraints",
    "initializers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
]
