"""Adadelta: steps in the units of the weights, from running means of both gradients and steps.

The update itself is a kernel: ``backends/reference/optimizers.py``, with the formula beside each.
"""

from __future__ import annotations

from typing import Any

from tinynn.config import fraction
from tinynn.optim.base import Optimizer, Segment, checked_epsilon


class Adadelta(Optimizer):
    """v = rho v + (1 - rho) g^2, s = sqrt((d + epsilon) / (v + epsilon)) g, d = rho d + (1 - rho) s^2, w = w - lr s

    The paper has lr = 1 (and so has PyTorch); Keras's default is 0.001. Zeiler, 2012.
    """

    slots = ("v", "d")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float | None = 1e-7,
        weight_decay: float | None = None,
        **base: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **base)
        self.rho = fraction(rho, "rho", type(self).__name__)
        self.epsilon = checked_epsilon(epsilon, self)

    def update(self, kernels: Any, segment: Segment) -> None:
        w, g = segment.w, segment.g
        kernels.adadelta(w, *segment.slots, g, self.state, self.rho, self.epsilon, segment.weight_decay)
