"""Merges: y = max(a + b, 0), the end of a residual block; arrays of one shape."""

from __future__ import annotations

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import activation as activations
from tinynn.typing import Array


def relu_sum(y: Array, a: Array, b: Array) -> None:
    np.add(a, b, out=y)
    activations.forward(y, y, Activation.RELU)


def relu_sum_backward(da: Array | None, db: Array | None, dy: Array, y: Array) -> None:
    for dx in (db, da):  # da may be dy
        if dx is not None:
            activations.backward(dx, dy, None, y, Activation.RELU)
