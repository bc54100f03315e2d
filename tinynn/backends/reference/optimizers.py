"""Optimizers: one update of flat arrays w by gradients g, for each rule. Formulas in ``backends/base.py``.

What depends on the step alone stands in ``state`` and is computed as arrays of one element: nothing is read back.
"""

from __future__ import annotations

import numpy as np

from tinynn.backends.base import State
from tinynn.typing import Array

MOMENTUM_DECAY = 0.96
"""Of Nadam's schedule of momenta, as in Keras. Dozat, "Incorporating Nesterov momentum into Adam", 2016."""

QUIET = np.errstate(all="ignore")
"""For steps that are skipped: their values overflow or are not numbers, are computed all the same, and dropped."""


@QUIET
def square_sum(state: Array, g: Array) -> None:
    """SQUARES += sum g^2, in float64"""
    state[State.SQUARES] += np.sum(np.square(g, dtype=np.float64))


def clip(clipped: Array, g: Array, value: float) -> None:
    """clipped = min(max(g, -value), value)"""
    np.clip(g, -value, value, out=clipped)


@QUIET
def clip_norm(clipped: Array, g: Array, norm: float) -> None:
    """clipped = g norm / max(|g|, norm)"""
    length = np.sqrt(np.sum(np.square(g, dtype=np.float64)))
    np.multiply(g, (norm / np.maximum(length, norm)).astype(g.dtype), out=clipped)


@QUIET
def begin(state: Array, global_clipnorm: float, limit: float = np.inf) -> None:
    squares, rate = state[State.SQUARES], state[State.LEARNING_RATE]
    finite = np.isfinite(squares) & (squares <= limit) & np.isfinite(rate) & (rate >= 0)
    scale = global_clipnorm / np.maximum(np.sqrt(squares), global_clipnorm) if global_clipnorm < np.inf else 1.0
    first = state[State.FIRST_SKIPPED]
    state[State.SCALE] = np.where(finite, scale, 0.0)
    state[State.FIRST_SKIPPED] = np.where(finite | (first >= 0), first, state[State.CALLS])
    state[State.ITERATIONS] += finite
    state[State.SKIPPED] += ~finite
    state[State.CALLS] += 1


def of(state: Array, index: State) -> Array:
    """One number of the state, as an array of one element."""
    return state[index : index + 1]


def gradient(g: Array, state: Array) -> Array:
    """scale g"""
    return g * of(state, State.SCALE).astype(g.dtype)


def store(state: Array, *pairs: tuple[Array, Array]) -> None:
    """Each (array, new value), unless the step is skipped."""
    go = of(state, State.SCALE) > 0
    for array, value in pairs:
        array[...] = np.where(go, value, array)


def shrunk(w: Array, state: Array, weight_decay: float) -> Array:
    """w (1 - lr weight_decay)"""
    return w * (1.0 - of(state, State.LEARNING_RATE) * weight_decay).astype(w.dtype)


def rate(w: Array, state: Array) -> Array:
    """lr in the dtype of the weights"""
    return of(state, State.LEARNING_RATE).astype(w.dtype)


@QUIET
def sgd(w: Array, g: Array, state: Array, weight_decay: float) -> None:
    """w = w - lr g, after w = w - lr weight_decay w as in all rules"""
    g = gradient(g, state)
    store(state, (w, shrunk(w, state, weight_decay) - rate(w, state) * g))


@QUIET
def momentum(w: Array, v: Array, g: Array, state: Array, momentum: float, nesterov: bool, weight_decay: float) -> None:
    """v = momentum v - lr g, w = w + v; with Nesterov w = w + momentum v - lr g"""
    step = rate(w, state) * gradient(g, state)
    new_v = momentum * v - step
    change = momentum * new_v - step if nesterov else new_v
    store(state, (w, shrunk(w, state, weight_decay) + change), (v, new_v))


@QUIET
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
    t, g = of(state, State.ITERATIONS), gradient(g, state)
    a = of(state, State.LEARNING_RATE) * np.sqrt(1.0 - beta2**t) / (1.0 - beta1**t)
    new_m = m + (1.0 - beta1) * (g - m)
    new_v = v + (1.0 - beta2) * (g * g - v)
    second = new_v if largest is None else np.maximum(largest, new_v)
    new_w = shrunk(w, state, weight_decay) - a.astype(w.dtype) * new_m / (np.sqrt(second) + epsilon)
    store(state, (w, new_w), (m, new_m), (v, new_v))
    if largest is not None:
        store(state, (largest, second))


def nadam_begin(state: Array, beta1: float) -> None:
    """PRODUCT *= u(t), with u(t) = beta1 (1 - 0.96^t / 2)"""
    u = beta1 * (1.0 - 0.5 * MOMENTUM_DECAY ** state[State.ITERATIONS])
    state[State.PRODUCT] *= np.where(state[State.SCALE] > 0, u, 1.0)


@QUIET
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
    t, product, g = of(state, State.ITERATIONS), of(state, State.PRODUCT), gradient(g, state)
    u, next_u = (beta1 * (1.0 - 0.5 * MOMENTUM_DECAY ** (t + i)) for i in (0.0, 1.0))
    of_m = (next_u / (1.0 - product * next_u)).astype(w.dtype)
    of_g = ((1.0 - u) / (1.0 - product)).astype(w.dtype)
    of_v = (1.0 / (1.0 - beta2**t)).astype(w.dtype)
    new_m = m + (1.0 - beta1) * (g - m)
    new_v = v + (1.0 - beta2) * (g * g - v)
    step = rate(w, state) * (of_m * new_m + of_g * g) / (np.sqrt(of_v * new_v) + epsilon)
    store(state, (w, shrunk(w, state, weight_decay) - step), (m, new_m), (v, new_v))


@QUIET
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
    g = gradient(g, state)
    a = (of(state, State.LEARNING_RATE) / (1.0 - beta1 ** of(state, State.ITERATIONS))).astype(w.dtype)
    new_m = m + (1.0 - beta1) * (g - m)
    new_u = np.maximum(beta2 * u, np.abs(g))
    store(state, (w, shrunk(w, state, weight_decay) - a * new_m / (new_u + epsilon)), (m, new_m), (u, new_u))


@QUIET
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
    g = gradient(g, state)
    new_v = rho * v + (1.0 - rho) * (g * g)
    changes = [(v, new_v)]
    spread = new_v
    if mean is not None:
        new_mean = rho * mean + (1.0 - rho) * g
        spread = np.maximum(new_v - new_mean * new_mean, 0)
        changes.append((mean, new_mean))
    step = rate(w, state) * g / np.sqrt(spread + epsilon)
    if velocity is not None:
        step = momentum * velocity + step
        changes.append((velocity, step))
    store(state, (w, shrunk(w, state, weight_decay) - step), *changes)


@QUIET
def adagrad(w: Array, v: Array, g: Array, state: Array, epsilon: float, weight_decay: float) -> None:
    """v = v + g^2, w = w - lr g / sqrt(v + epsilon)"""
    g = gradient(g, state)
    new_v = v + g * g
    step = rate(w, state) * g / np.sqrt(new_v + epsilon)
    store(state, (w, shrunk(w, state, weight_decay) - step), (v, new_v))


@QUIET
def adadelta(
    w: Array, v: Array, d: Array, g: Array, state: Array, rho: float, epsilon: float, weight_decay: float
) -> None:
    """v = rho v + (1 - rho) g^2, s = sqrt((d + epsilon) / (v + epsilon)) g, d = rho d + (1 - rho) s^2, w = w - lr s"""
    g = gradient(g, state)
    new_v = rho * v + (1.0 - rho) * (g * g)
    step = np.sqrt((d + epsilon) / (new_v + epsilon)) * g
    new_d = rho * d + (1.0 - rho) * (step * step)
    store(state, (w, shrunk(w, state, weight_decay) - rate(w, state) * step), (v, new_v), (d, new_d))
