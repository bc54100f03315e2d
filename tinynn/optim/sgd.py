"""SGD: gradient descent, with momentum and Nesterov's momentum.

The update itself is a kernel: ``backends/reference/optimizers.py``, with the formula beside each.
"""

from __future__ import annotations

from typing import Any

from tinynn.config import fraction
from tinynn.optim.base import Optimizer, Segment


class SGD(Optimizer):
    """w = w - lr g; with momentum v = momentum v - lr g, w = w + v; with Nesterov w = w + momentum v - lr g.

    The learning rate is inside the velocity, as in Keras. Nesterov's weights are those at the point that is looked
    ahead to: the textbook's trajectory is ``w - momentum v``. Without momentum there is no velocity. For
    ``weight_decay``, clipping and the other arguments see ``Optimizer``. Sutskever et al., ICML 2013.
    """

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = None,
        **base: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **base)
        self.momentum = fraction(momentum, "momentum", type(self).__name__)
        self.nesterov = bool(nesterov)
        self.slots = ("velocity",) if self.momentum else ()

    def update(self, kernels: Any, segment: Segment) -> None:
        w, g, state = segment.w, segment.g, self.state
        if self.momentum:
            kernels.momentum(w, *segment.slots, g, state, self.momentum, self.nesterov, segment.weight_decay)
        else:
            kernels.sgd(w, g, state, segment.weight_decay)
