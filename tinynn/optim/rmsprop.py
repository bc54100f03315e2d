"""RMSprop: steps divided by a running mean of the gradient's size.

The update itself is a kernel: ``backends/reference/optimizers.py``, with the formula beside each.
"""

from __future__ import annotations

from typing import Any

from tinynn.config import fraction
from tinynn.optim.base import Optimizer, Segment, checked_epsilon


class RMSprop(Optimizer):
    """v = rho v + (1 - rho) g^2, d = lr g / sqrt(v + epsilon), w = w - d: epsilon inside the root, as in Keras.

    momentum: velocity = momentum velocity + d, w = w - velocity
    centered: v minus the square of a running mean of g stands for v, an estimate of the gradient's variance

    Tieleman and Hinton, Coursera lecture 6.5, 2012.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float | None = 1e-7,
        centered: bool = False,
        weight_decay: float | None = None,
        **base: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **base)
        label = type(self).__name__
        self.rho = fraction(rho, "rho", label)
        self.momentum = fraction(momentum, "momentum", label)
        self.epsilon = checked_epsilon(epsilon, self)
        self.centered = bool(centered)
        wanted = {"v": True, "velocity": self.momentum > 0, "mean": self.centered}
        self.slots = tuple(name for name, want in wanted.items() if want)

    def update(self, kernels: Any, segment: Segment) -> None:
        slots = dict(zip(self.slots, segment.slots, strict=True))
        kernels.rmsprop(
            segment.w,
            slots["v"],
            slots.get("velocity"),
            slots.get("mean"),
            segment.g,
            self.state,
            self.rho,
            self.momentum,
            self.epsilon,
            segment.weight_decay,
        )
