"""Adagrad: steps divided by the size of all gradients so far.

The update itself is a kernel: ``backends/reference/optimizers.py``, with the formula beside each.
"""

from __future__ import annotations

from typing import Any

from tinynn.config import at_least
from tinynn.optim.base import Optimizer, Segment, checked_epsilon


class Adagrad(Optimizer):
    """v = v + g^2, w = w - lr g / sqrt(v + epsilon), where v begins at ``initial_accumulator_value``.

    Keras begins at 0.1, the textbooks at 0. Duchi, Hazan and Singer, JMLR 2011.
    """

    slots = ("v",)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float | None = 1e-7,
        weight_decay: float | None = None,
        **base: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **base)
        label = type(self).__name__
        self.initial_accumulator_value = at_least(initial_accumulator_value, 0, "initial_accumulator_value", label)
        self.epsilon = checked_epsilon(epsilon, self)
        self.slot_start = self.initial_accumulator_value

    def update(self, kernels: Any, segment: Segment) -> None:
        kernels.adagrad(segment.w, *segment.slots, segment.g, self.state, self.epsilon, segment.weight_decay)
