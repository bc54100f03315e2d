"""Optimizers: one update of flat arrays w by gradients g, for each rule. Formulas in ``backends/base.py``.

The ``..._pass`` functions do the work in one pass, in the dtype of the weights; what depends on the step alone is
computed in float64 before. Large arrays are cut into chunks of a fixed size, one task each; as every element is
computed alone, and sums are made chunk by chunk in any case, the number of threads changes no byte. Slots decay towards
denormals, which some processors compute very slowly: every pass takes and leaves them as 0.
"""

import math

import numpy as np
from numba import prange

from tinynn.backends.cpu import threads
from tinynn.backends.cpu.simd import compiled
from tinynn.backends.cpu.vectors import flush_denormals, restore_denormals

CHUNK = 1 << 14
"""Elements of a task, and of a partial sum."""
PARALLEL_FROM = 200_000
"""Elements; below, one thread is faster than telling others."""
MOMENTUM_DECAY = 0.96
"""Of Nadam's schedule of momenta."""

ITERATIONS, LEARNING_RATE, SQUARES, SCALE, SKIPPED, FIRST_SKIPPED, CALLS, PRODUCT = range(8)
"""``base.State``, in this module because Numba's cache does not see a change in another."""

# contract: a b + c in one rounding. reassoc, for sums alone: several accumulators in the registers.
EXACT = {"contract"}
SUM = {"contract", "reassoc", "nsz"}


def parallel(w):
    return threads.worth_it(w.size, PARALLEL_FROM) and threads.workers() > 1


# -- norms and clipping ------------------------------------------------------------------------------------------------


@compiled(fastmath=SUM)
def sum_of_squares(g):
    """In float64, so that no float32 gradient overflows."""
    denormals = flush_denormals()
    total = 0.0
    for i in range(g.size):
        x = np.float64(g[i])
        total += x * x
    restore_denormals(denormals)
    return total


@compiled()
def squares_of_chunks(g):
    total = 0.0
    for c in range((g.size + CHUNK - 1) // CHUNK):
        total += sum_of_squares(g[c * CHUNK : (c + 1) * CHUNK])
    return total


@compiled(parallel=True)
def squares_of_chunks_parallel(g):
    chunks = (g.size + CHUNK - 1) // CHUNK
    parts = np.empty(chunks)
    for c in prange(chunks):
        parts[c] = sum_of_squares(g[c * CHUNK : (c + 1) * CHUNK])
    total = 0.0
    for c in range(chunks):
        total += parts[c]
    return total


@compiled()
def square_sum_serial(state, g):
    state[SQUARES] += squares_of_chunks(g)


def square_sum(state, g):
    if parallel(g):
        with threads.parallel_region():
            state[SQUARES] += squares_of_chunks_parallel(g)
    else:
        square_sum_serial(state, g)


@compiled(fastmath=EXACT)
def clip(clipped, g, value):
    most = g.dtype.type(value)
    for i in range(g.size):
        x = g[i]
        x = most if x > most else x
        clipped[i] = -most if x < -most else x


@compiled(fastmath=EXACT)
def clip_norm(clipped, g, norm):
    length = math.sqrt(squares_of_chunks(g))
    factor = g.dtype.type(1.0 if length <= norm else norm / length)
    denormals = flush_denormals()
    for i in range(g.size):
        clipped[i] = factor * g[i]
    restore_denormals(denormals)


@compiled()
def begin(state, global_clipnorm, limit=np.inf):
    squares, rate = state[SQUARES], state[LEARNING_RATE]
    if math.isfinite(squares) and squares <= limit and math.isfinite(rate) and rate >= 0.0:
        length = math.sqrt(squares)
        state[SCALE] = global_clipnorm / length if length > global_clipnorm else 1.0
        state[ITERATIONS] += 1.0
    else:
        state[SCALE] = 0.0
        state[SKIPPED] += 1.0
        if state[FIRST_SKIPPED] < 0.0:
            state[FIRST_SKIPPED] = state[CALLS]
    state[CALLS] += 1.0


# -- SGD ---------------------------------------------------------------------------------------------------------------


@compiled(fastmath=EXACT)
def sgd_pass(w, g, state, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    lr = state[LEARNING_RATE]
    rate = w.dtype.type(lr * state[SCALE])
    keep = w.dtype.type(1.0 - lr * weight_decay)
    for i in range(w.size):
        w[i] = keep * w[i] - rate * g[i]
    restore_denormals(denormals)


@compiled(parallel=True)
def sgd_parallel(w, g, state, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        sgd_pass(w[part], g[part], state, weight_decay)


def sgd(w, g, state, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            sgd_parallel(w, g, state, weight_decay)
    else:
        sgd_pass(w, g, state, weight_decay)


@compiled(fastmath=EXACT)
def momentum_pass(w, v, g, state, momentum, nesterov, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    lr = state[LEARNING_RATE]
    rate = w.dtype.type(lr * state[SCALE])
    keep = w.dtype.type(1.0 - lr * weight_decay)
    mu = w.dtype.type(momentum)
    if nesterov:
        for i in range(w.size):
            step = rate * g[i]
            new_v = mu * v[i] - step
            v[i] = new_v
            w[i] = keep * w[i] + (mu * new_v - step)
    else:
        for i in range(w.size):
            new_v = mu * v[i] - rate * g[i]
            v[i] = new_v
            w[i] = keep * w[i] + new_v
    restore_denormals(denormals)


@compiled(parallel=True)
def momentum_parallel(w, v, g, state, momentum, nesterov, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        momentum_pass(w[part], v[part], g[part], state, momentum, nesterov, weight_decay)


def momentum(w, v, g, state, momentum, nesterov, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            momentum_parallel(w, v, g, state, momentum, nesterov, weight_decay)
    else:
        momentum_pass(w, v, g, state, momentum, nesterov, weight_decay)


# -- Adam and its relatives --------------------------------------------------------------------------------------------


@compiled(fastmath=EXACT)
def adam_pass(w, m, v, g, state, beta1, beta2, epsilon, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    t, lr = state[ITERATIONS], state[LEARNING_RATE]
    a = number(lr * math.sqrt(1.0 - beta2**t) / (1.0 - beta1**t))
    scale, keep = number(state[SCALE]), number(1.0 - lr * weight_decay)
    c1, c2, eps = number(1.0 - beta1), number(1.0 - beta2), number(epsilon)
    for i in range(w.size):
        x = scale * g[i]
        new_m = m[i] + c1 * (x - m[i])
        new_v = v[i] + c2 * (x * x - v[i])
        m[i] = new_m
        v[i] = new_v
        w[i] = keep * w[i] - a * new_m / (math.sqrt(new_v) + eps)
    restore_denormals(denormals)


@compiled(parallel=True)
def adam_parallel(w, m, v, g, state, beta1, beta2, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        adam_pass(w[part], m[part], v[part], g[part], state, beta1, beta2, epsilon, weight_decay)


@compiled(fastmath=EXACT)
def amsgrad_pass(w, m, v, largest, g, state, beta1, beta2, epsilon, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    t, lr = state[ITERATIONS], state[LEARNING_RATE]
    a = number(lr * math.sqrt(1.0 - beta2**t) / (1.0 - beta1**t))
    scale, keep = number(state[SCALE]), number(1.0 - lr * weight_decay)
    c1, c2, eps = number(1.0 - beta1), number(1.0 - beta2), number(epsilon)
    for i in range(w.size):
        x = scale * g[i]
        new_m = m[i] + c1 * (x - m[i])
        new_v = v[i] + c2 * (x * x - v[i])
        most = largest[i] if largest[i] > new_v else new_v
        m[i] = new_m
        v[i] = new_v
        largest[i] = most
        w[i] = keep * w[i] - a * new_m / (math.sqrt(most) + eps)
    restore_denormals(denormals)


@compiled(parallel=True)
def amsgrad_parallel(w, m, v, largest, g, state, beta1, beta2, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        amsgrad_pass(w[part], m[part], v[part], largest[part], g[part], state, beta1, beta2, epsilon, weight_decay)


def adam(w, m, v, largest, g, state, beta1, beta2, epsilon, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            if largest is None:
                adam_parallel(w, m, v, g, state, beta1, beta2, epsilon, weight_decay)
            else:
                amsgrad_parallel(w, m, v, largest, g, state, beta1, beta2, epsilon, weight_decay)
    elif largest is None:
        adam_pass(w, m, v, g, state, beta1, beta2, epsilon, weight_decay)
    else:
        amsgrad_pass(w, m, v, largest, g, state, beta1, beta2, epsilon, weight_decay)


@compiled()
def nadam_begin(state, beta1):
    if state[SCALE] != 0.0:
        state[PRODUCT] *= beta1 * (1.0 - 0.5 * MOMENTUM_DECAY ** state[ITERATIONS])


@compiled(fastmath=EXACT)
def nadam_pass(w, m, v, g, state, beta1, beta2, epsilon, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    t, lr, product = state[ITERATIONS], state[LEARNING_RATE], state[PRODUCT]
    u = beta1 * (1.0 - 0.5 * MOMENTUM_DECAY**t)
    next_u = beta1 * (1.0 - 0.5 * MOMENTUM_DECAY ** (t + 1.0))
    of_m = number(lr * next_u / (1.0 - product * next_u))
    of_g = number(lr * (1.0 - u) / (1.0 - product))
    of_v = number(1.0 / (1.0 - beta2**t))
    scale, keep = number(state[SCALE]), number(1.0 - lr * weight_decay)
    c1, c2, eps = number(1.0 - beta1), number(1.0 - beta2), number(epsilon)
    for i in range(w.size):
        x = scale * g[i]
        new_m = m[i] + c1 * (x - m[i])
        new_v = v[i] + c2 * (x * x - v[i])
        m[i] = new_m
        v[i] = new_v
        w[i] = keep * w[i] - (of_m * new_m + of_g * x) / (math.sqrt(of_v * new_v) + eps)
    restore_denormals(denormals)


@compiled(parallel=True)
def nadam_parallel(w, m, v, g, state, beta1, beta2, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        nadam_pass(w[part], m[part], v[part], g[part], state, beta1, beta2, epsilon, weight_decay)


def nadam(w, m, v, g, state, beta1, beta2, epsilon, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            nadam_parallel(w, m, v, g, state, beta1, beta2, epsilon, weight_decay)
    else:
        nadam_pass(w, m, v, g, state, beta1, beta2, epsilon, weight_decay)


@compiled(fastmath=EXACT)
def adamax_pass(w, m, u, g, state, beta1, beta2, epsilon, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    lr = state[LEARNING_RATE]
    a = number(lr / (1.0 - beta1 ** state[ITERATIONS]))
    scale, keep = number(state[SCALE]), number(1.0 - lr * weight_decay)
    c1, b2, eps = number(1.0 - beta1), number(beta2), number(epsilon)
    for i in range(w.size):
        x = scale * g[i]
        new_m = m[i] + c1 * (x - m[i])
        old, size = b2 * u[i], abs(x)
        new_u = old if old > size else size
        m[i] = new_m
        u[i] = new_u
        w[i] = keep * w[i] - a * new_m / (new_u + eps)
    restore_denormals(denormals)


@compiled(parallel=True)
def adamax_parallel(w, m, u, g, state, beta1, beta2, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        adamax_pass(w[part], m[part], u[part], g[part], state, beta1, beta2, epsilon, weight_decay)


def adamax(w, m, u, g, state, beta1, beta2, epsilon, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            adamax_parallel(w, m, u, g, state, beta1, beta2, epsilon, weight_decay)
    else:
        adamax_pass(w, m, u, g, state, beta1, beta2, epsilon, weight_decay)


# -- RMSprop, Adagrad, Adadelta ----------------------------------------------------------------------------------------


@compiled(fastmath=EXACT)
def rmsprop_pass(w, v, velocity, mean, g, state, rho, momentum, epsilon, weight_decay):
    """``velocity`` and ``mean`` are arrays of size 0 where they are not wanted."""
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    lr = state[LEARNING_RATE]
    rate, scale, keep = number(lr), number(state[SCALE]), number(1.0 - lr * weight_decay)
    old, new, mu, eps, zero = number(rho), number(1.0 - rho), number(momentum), number(epsilon), number(0.0)
    if mean.size == 0 and velocity.size == 0:
        for i in range(w.size):
            x = scale * g[i]
            v[i] = old * v[i] + new * (x * x)
            w[i] = keep * w[i] - rate * x / math.sqrt(v[i] + eps)
    elif mean.size == 0:
        for i in range(w.size):
            x = scale * g[i]
            v[i] = old * v[i] + new * (x * x)
            velocity[i] = mu * velocity[i] + rate * x / math.sqrt(v[i] + eps)
            w[i] = keep * w[i] - velocity[i]
    elif velocity.size == 0:
        for i in range(w.size):
            x = scale * g[i]
            v[i] = old * v[i] + new * (x * x)
            mean[i] = old * mean[i] + new * x
            spread = v[i] - mean[i] * mean[i]
            w[i] = keep * w[i] - rate * x / math.sqrt((spread if spread > zero else zero) + eps)
    else:
        for i in range(w.size):
            x = scale * g[i]
            v[i] = old * v[i] + new * (x * x)
            mean[i] = old * mean[i] + new * x
            spread = v[i] - mean[i] * mean[i]
            velocity[i] = mu * velocity[i] + rate * x / math.sqrt((spread if spread > zero else zero) + eps)
            w[i] = keep * w[i] - velocity[i]
    restore_denormals(denormals)


@compiled(parallel=True)
def rmsprop_parallel(w, v, velocity, mean, g, state, rho, momentum, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        rmsprop_pass(w[part], v[part], velocity[part], mean[part], g[part], state, rho, momentum, epsilon, weight_decay)


def rmsprop(w, v, velocity, mean, g, state, rho, momentum, epsilon, weight_decay):
    velocity = w[:0] if velocity is None else velocity
    mean = w[:0] if mean is None else mean
    if parallel(w):
        with threads.parallel_region():
            rmsprop_parallel(w, v, velocity, mean, g, state, rho, momentum, epsilon, weight_decay)
    else:
        rmsprop_pass(w, v, velocity, mean, g, state, rho, momentum, epsilon, weight_decay)


@compiled(fastmath=EXACT)
def adagrad_pass(w, v, g, state, epsilon, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    lr = state[LEARNING_RATE]
    rate, scale, keep, eps = number(lr), number(state[SCALE]), number(1.0 - lr * weight_decay), number(epsilon)
    for i in range(w.size):
        x = scale * g[i]
        new_v = v[i] + x * x
        v[i] = new_v
        w[i] = keep * w[i] - rate * x / math.sqrt(new_v + eps)
    restore_denormals(denormals)


@compiled(parallel=True)
def adagrad_parallel(w, v, g, state, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        adagrad_pass(w[part], v[part], g[part], state, epsilon, weight_decay)


def adagrad(w, v, g, state, epsilon, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            adagrad_parallel(w, v, g, state, epsilon, weight_decay)
    else:
        adagrad_pass(w, v, g, state, epsilon, weight_decay)


@compiled(fastmath=EXACT)
def adadelta_pass(w, v, d, g, state, rho, epsilon, weight_decay):
    if state[SCALE] == 0.0:
        return
    denormals = flush_denormals()
    number = w.dtype.type
    lr = state[LEARNING_RATE]
    rate, scale, keep = number(lr), number(state[SCALE]), number(1.0 - lr * weight_decay)
    old, new, eps = number(rho), number(1.0 - rho), number(epsilon)
    for i in range(w.size):
        x = scale * g[i]
        new_v = old * v[i] + new * (x * x)
        step = math.sqrt((d[i] + eps) / (new_v + eps)) * x
        v[i] = new_v
        d[i] = old * d[i] + new * (step * step)
        w[i] = keep * w[i] - rate * step
    restore_denormals(denormals)


@compiled(parallel=True)
def adadelta_parallel(w, v, d, g, state, rho, epsilon, weight_decay):
    for c in prange((w.size + CHUNK - 1) // CHUNK):
        part = slice(c * CHUNK, (c + 1) * CHUNK)
        adadelta_pass(w[part], v[part], d[part], g[part], state, rho, epsilon, weight_decay)


def adadelta(w, v, d, g, state, rho, epsilon, weight_decay):
    if parallel(w):
        with threads.parallel_region():
            adadelta_parallel(w, v, d, g, state, rho, epsilon, weight_decay)
    else:
        adadelta_pass(w, v, d, g, state, rho, epsilon, weight_decay)
