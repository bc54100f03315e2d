"""Adam, AdamW, Nadam and Adamax: running means of the gradient and of its size.

The update itself is a kernel: ``backends/reference/optimizers.py``, with the formula beside each.
"""

from __future__ import annotations

from typing import Any

from tinynn.config import fraction
from tinynn.optim.base import Optimizer, Segment, checked_epsilon
from tinynn.typing import Array


class Moments(Optimizer):
    """What Adam's family shares: the decay rates of two running means, and an epsilon."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        weight_decay: float | None = None,
        **base: Any,
    ):
        super().__init__(learning_rate, weight_decay=weight_decay, **base)
        label = type(self).__name__
        self.beta_1 = fraction(beta_1, "beta_1", label)
        self.beta_2 = fraction(beta_2, "beta_2", label)
        self.epsilon = checked_epsilon(epsilon, self)


class Adam(Moments):
    """m += (1 - beta_1) (g - m), v += (1 - beta_2) (g^2 - v), w = w - a m / (sqrt(v) + epsilon)

    with a = lr sqrt(1 - beta_2^t) / (1 - beta_1^t) in step t = 1, 2, ...: the "epsilon hat" form of Kingma and Ba, ICLR
    2015, and of Keras. PyTorch adds its epsilon after the correction of v: its step t is ours with
    epsilon = eps sqrt(1 - beta_2^t). ``amsgrad`` divides by the largest v so far (Reddi et al., ICLR 2018).
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        weight_decay: float | None = None,
        **base: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, weight_decay, **base)
        self.amsgrad = bool(amsgrad)
        self.slots = ("m", "v", "largest") if self.amsgrad else ("m", "v")

    def update(self, kernels: Any, segment: Segment) -> None:
        m, v, *largest = segment.slots
        kernels.adam(
            segment.w,
            m,
            v,
            largest[0] if largest else None,
            segment.g,
            self.state,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            segment.weight_decay,
        )


class AdamW(Adam):
    """Adam after w = w - lr weight_decay w, for kernels only: biases and the scales of normalizations keep theirs.

    ``decay_biases=True`` decays everything, as Keras does. Loshchilov and Hutter, ICLR 2019.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float | None = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float | None = 1e-7,
        amsgrad: bool = False,
        **base: Any,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay, **base)


class Nadam(Moments):
    """m and v as in Adam, w = w - lr n / (sqrt(v / (1 - beta_2^t)) + epsilon)

    with n = u(t+1) m / (1 - p u(t+1)) + (1 - u(t)) g / (1 - p), where the momentum rises as
    u(t) = beta_1 (1 - 0.96^t / 2), and p = u(1) u(2) ... u(t). Dozat, 2016, in Keras's form.
    """

    slots = ("m", "v")

    def prepare(self, segments: list[Segment], loss: Array | None = None) -> None:
        super().prepare(segments, loss)
        self.backend.optimizers.nadam_begin(self.state, self.beta_1)

    def update(self, kernels: Any, segment: Segment) -> None:
        w, g, state, betas = segment.w, segment.g, self.state, (self.beta_1, self.beta_2)
        kernels.nadam(w, *segment.slots, g, state, *betas, self.epsilon, segment.weight_decay)


class Adamax(Moments):
    """m += (1 - beta_1) (g - m), u = max(beta_2 u, |g|), w = w - lr / (1 - beta_1^t) m / (u + epsilon)

    Kingma and Ba, ICLR 2015, section 7.1.
    """

    slots = ("m", "u")

    def update(self, kernels: Any, segment: Segment) -> None:
        w, g, state, betas = segment.w, segment.g, self.state, (self.beta_1, self.beta_2)
        kernels.adamax(w, *segment.slots, g, state, *betas, self.epsilon, segment.weight_decay)
