"""Keras's top level, as far as this library has it."""

from tinynn import constraints, initializers, losses, metrics, regularizers
from tinynn import optim as optimizers
from tinynn.layers import Input
from tinynn.models import Model, Sequential, callbacks

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
