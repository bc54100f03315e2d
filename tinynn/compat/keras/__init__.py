"""Keras's top level, as far as this library has it: ``from tinynn.compat import keras``."""

from typing import TYPE_CHECKING

from tinynn.compat.keras import (
    activations,
    applications,
    callbacks,
    constraints,
    datasets,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    preprocessing,
    regularizers,
    utils,
)
from tinynn.errors import no_attribute
from tinynn.layers import Input
from tinynn.models import Model, Sequential

__all__ = [
    "Input",
    "Model",
    "Sequential",
    "activations",
    "applications",
    "callbacks",
    "constraints",
    "datasets",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "preprocessing",
    "regularizers",
    "utils",
]

if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
