"""tinynn: neural networks from scratch, readable and fast, on NumPy and Numba (CPU) or CuPy (NVIDIA GPUs).

>>> import tinynn as nn
>>> from tinynn import Sequential, layers as L
>>> model = Sequential([L.Dense(10, activation="softmax", input_shape=(784,))])
>>> model.count_params()
7850

Top-down: ``models`` train ``layers``, which are made of hand-differentiated Functions (``ops`` and the layers' own
files), which a ``Graph`` runs on one of the ``backends``.
"""

import importlib
from typing import TYPE_CHECKING

from tinynn import (
    activations,
    constraints,
    data,
    initializers,
    layers,
    losses,
    metrics,
    ops,
    optim,
    random,
    regularizers,
    schedules,
    utils,
)
from tinynn.backends import get_num_threads, set_num_threads
from tinynn.errors import no_attribute
from tinynn.function import Function
from tinynn.graph import Graph
from tinynn.layers import Input, Layer
from tinynn.models import Model, Sequential, callbacks
from tinynn.parameter import Buffer, Parameter
from tinynn.random import set_seed
from tinynn.tensor import Tensor

__version__ = "0.1.0"

optimizers = optim
"""Keras's name for ``optim``."""

__all__ = [
    "Buffer",
    "Function",
    "Graph",
    "Input",
    "Layer",
    "Model",
    "Parameter",
    "Sequential",
    "Tensor",
    "activations",
    "applications",
    "callbacks",
    "constraints",
    "data",
    "datasets",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "ops",
    "optim",
    "optimizers",
    "plots",
    "random",
    "regularizers",
    "schedules",
    "set_num_threads",
    "set_seed",
    "text",
    "utils",
]

LAZY = {
    "applications": "tinynn.applications",
    "datasets": "tinynn.datasets",
    "gradcheck": "tinynn.models.gradcheck",
    "plots": "tinynn.plots",
    "text": "tinynn.text",
}
"""Imported at their first use: a script that has its own data should not wait for them."""

if TYPE_CHECKING:
    from tinynn import applications, datasets, plots, text
    from tinynn.models import gradcheck, load_model
else:

    def __getattr__(name):
        if name == "load_model":
            return importlib.import_module("tinynn.models.saving").load_model
        if name in LAZY:
            return importlib.import_module(LAZY[name])
        raise no_attribute(__name__, name, __all__)
