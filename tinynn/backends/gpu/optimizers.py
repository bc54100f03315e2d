"""Optimizers: one update of flat arrays w by gradients g, one launch for each rule. Formulas in ``backends/base.py``.

The kernels read what depends on the step from ``state``, and return at once where the step is skipped. Sums of squares
are made in float64, in parts whose number follows from the size alone.
"""

from __future__ import annotations

import math
from typing import Any

from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.cuda import THREADS, Source, ceil_div, contiguous, power_of_two
from tinynn.typing import Array

SOURCE = Source("optimizers", "packs", "optimizer_state")
STATE = Source("optimizer_state", "optimizer_state")
"""What works on the state alone: of float64, and so not compiled with the rules."""

MOST_BLOCKS = 2048
"""Of a rule; each begins with some operations in float64, so there are not many more than a large card has places."""

ONE_BLOCK = 1 << 14
"""Elements that one block sums up as soon as several blocks and a second launch would."""
SUMMED_BY_THREAD = 8
MOST_PARTS = 1024


# -- norms and clipping ------------------------------------------------------------------------------------------------


def square_sum(state: Array, g: Array) -> None:
    """SQUARES += sum g^2, in float64"""
    g = contiguous(g)
    if 0 < g.size <= ONE_BLOCK:
        SOURCE.launch("square_sum", 1, threads_of_one_block(g.size), g, None, state, g.size)
    elif g.size:
        parts = square_parts(g)
        STATE.launch("add_squares", 1, THREADS, state, parts, parts.size)


def threads_of_one_block(n: int) -> int:
    return power_of_two(ceil_div(n, SUMMED_BY_THREAD), 32, 1024)


def square_parts(g: Array) -> Array:
    """Sums of squares of the parts of g; their number follows from the size."""
    blocks = min(ceil_div(g.size, THREADS * SUMMED_BY_THREAD), MOST_PARTS)
    parts = cuda.cupy.empty(blocks, "float64")
    SOURCE.launch("square_sum", blocks, THREADS, g, parts, None, g.size)
    return parts


def clip(clipped: Array, g: Array, value: float) -> None:
    """clipped = min(max(g, -value), value)"""
    over("clip", clipped.size, clipped, contiguous(g), float(value))


def clip_norm(clipped: Array, g: Array, norm: float) -> None:
    """clipped = g norm / max(|g|, norm)"""
    g = contiguous(g)
    if 0 < g.size <= ONE_BLOCK:
        SOURCE.launch("clip_norm", 1, threads_of_one_block(g.size), clipped, g, None, 0, float(norm), g.size)
    elif g.size:
        parts = square_parts(g)
        over("clip_norm", g.size, clipped, g, parts, parts.size, float(norm))


def begin(state: Array, global_clipnorm: float, limit: float = math.inf) -> None:
    """SCALE and ITERATIONS of this step, or SCALE = 0 and a skip that is counted."""
    STATE.launch("begin", 1, 32, state, float(global_clipnorm), float(limit))


# -- the rules ---------------------------------------------------------------------------------------------------------


def over(kernel: str, n: int, *args: Any) -> None:
    """Launch a rule over n elements."""
    SOURCE.by_fours(kernel, n, *args, most=MOST_BLOCKS)


def sgd(w: Array, g: Array, state: Array, weight_decay: float) -> None:
    """w = w - lr g, after w = w - lr weight_decay w as in all rules"""
    over("sgd", w.size, w, contiguous(g), state, float(weight_decay))


def momentum(w: Array, v: Array, g: Array, state: Array, momentum: float, nesterov: bool, weight_decay: float) -> None:
    """v = momentum v - lr g, w = w + v; with Nesterov w = w + momentum v - lr g"""
    over("momentum", w.size, w, v, contiguous(g), state, float(momentum), bool(nesterov), float(weight_decay))


def adam(
    w: Array,
    m: Array,
    v: Array,
    largest: Array | None,
    g: Array,
    state: Array,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """m = m + (1 - beta1) (g - m), v = v + (1 - beta2) (g^2 - v), w = w - a m / (sqrt(v) + epsilon)

    with a = lr sqrt(1 - beta2^t) / (1 - beta1^t); AMSGrad divides by the root of the largest v so far.
    """
    numbers = map(float, (beta1, beta2, epsilon, weight_decay))
    over("adam", w.size, w, m, v, largest, contiguous(g), state, *numbers)


def nadam_begin(state: Array, beta1: float) -> None:
    """PRODUCT *= u(t), with u(t) = beta1 (1 - 0.96^t / 2)"""
    STATE.launch("nadam_begin", 1, 32, state, float(beta1))


def nadam(
    w: Array,
    m: Array,
    v: Array,
    g: Array,
    state: Array,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """m and v as in Adam, w = w - lr n / (sqrt(v / (1 - beta2^t)) + epsilon)

    with n = u(t + 1) m / (1 - PRODUCT u(t + 1)) + (1 - u(t)) g / (1 - PRODUCT).
    """
    numbers = map(float, (beta1, beta2, epsilon, weight_decay))
    over("nadam", w.size, w, m, v, contiguous(g), state, *numbers)


def adamax(
    w: Array,
    m: Array,
    u: Array,
    g: Array,
    state: Array,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """m = m + (1 - beta1) (g - m), u = max(beta2 u, |g|), w = w - lr / (1 - beta1^t) m / (u + epsilon)"""
    numbers = map(float, (beta1, beta2, epsilon, weight_decay))
    over("adamax", w.size, w, m, u, contiguous(g), state, *numbers)


def rmsprop(
    w: Array,
    v: Array,
    velocity: Array | None,
    mean: Array | None,
    g: Array,
    state: Array,
    rho: float,
    momentum: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """v = rho v + (1 - rho) g^2, step = lr g / sqrt(v + epsilon), w = w - step

    centered: mean = rho mean + (1 - rho) g, and v - mean^2 stands for v in the step
    momentum: velocity = momentum velocity + step, w = w - velocity
    """
    numbers = map(float, (rho, momentum, epsilon, weight_decay))
    over("rmsprop", w.size, w, v, velocity, mean, contiguous(g), state, *numbers)


def adagrad(w: Array, v: Array, g: Array, state: Array, epsilon: float, weight_decay: float) -> None:
    """v = v + g^2, w = w - lr g / sqrt(v + epsilon)"""
    over("adagrad", w.size, w, v, contiguous(g), state, float(epsilon), float(weight_decay))


def adadelta(
    w: Array, v: Array, d: Array, g: Array, state: Array, rho: float, epsilon: float, weight_decay: float
) -> None:
    """v = rho v + (1 - rho) g^2, s = sqrt((d + epsilon) / (v + epsilon)) g, d = rho d + (1 - rho) s^2, w = w - lr s"""
    over("adadelta", w.size, w, v, d, contiguous(g), state, *map(float, (rho, epsilon, weight_decay)))
