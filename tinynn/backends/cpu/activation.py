"""Activations: y = f(x) and dx = dy f'(x), one pass over the numbers, for float32 and float64.

A kernel is compiled when its activation is first used. Exponentials are a polynomial that the compiler turns into
vectors, in float64 arithmetic for both dtypes, and so are the logarithm of softplus and the error function. Relu of
large arrays, which is all reading and writing, has tasks of its own.
"""

import functools
import math

import numpy as np
from numba import njit, prange, types

from tinynn.activation import DEFAULT_ALPHA, FUSED, Activation
from tinynn.backends.cpu import simd, tasks, threads
from tinynn.backends.cpu.microkernel import make_load_ints, take
from tinynn.backends.cpu.tasks import ENTRY, start_counting
from tinynn.backends.cpu.vectors import broadcast, load, load_part, select_at_most, store, store_part

FLOAT, LANES = 4, simd.BLOCK.lanes
PIECE = 1 << 15
"""Elements of one task."""
PARALLEL_FROM = 200_000
"""Elements; below, one thread is faster than telling others."""

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
SQRT_HALF = math.sqrt(0.5)
NORMAL_DENSITY = 1 / math.sqrt(2 * math.pi)

LOG2_E = math.log2(math.e)
LN2_HIGH, LN2_LOW = 0.6931471805599453, 2.3190468138462996e-17
ROUNDER = 1.5 * 2.0**52
"""Adding it leaves the nearest integer in the low bits of the sum."""

load_job = make_load_ints(4)


def forward(y, x, kind, alpha=None):
    """y = f(x); y may be x. alpha is the slope of leaky relu or the scale of elu, None for the default."""
    if kind is Activation.LINEAR:
        if y is not x:
            y[...] = x
        return
    if kind is Activation.RELU and in_tasks(y):
        x = np.ascontiguousarray(x, y.dtype)
        run_relu(y, x, x)
        return
    alpha = float(DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else alpha)
    known = None if x is y else np.ascontiguousarray(x, y.dtype).reshape(-1)
    run(KERNELS[kind][0], y.reshape(-1), known, alpha)


def backward(dx, dy, x, y, kind, alpha=None):
    """dx = dy f'(x); dx may be dy. x may be None for the kinds in FUSED."""
    if kind is Activation.RELU and in_tasks(dx):
        run_relu(dx, np.ascontiguousarray(dy, dx.dtype), np.ascontiguousarray(y, dx.dtype))
        return
    if dx is not dy:
        dx[...] = dy
    if kind is Activation.LINEAR:
        return
    alpha = float(DEFAULT_ALPHA.get(kind, 0.0) if alpha is None else alpha)
    known = y if kind in FROM_OUTPUT else x
    run(KERNELS[kind][1], dx.reshape(-1), np.ascontiguousarray(known, dx.dtype).reshape(-1), alpha)


def in_tasks(out):
    return out.size >= PARALLEL_FROM and out.dtype == np.float32


def run_relu(out, values, known):
    """out = values where known > 0 or NaN, else 0."""
    job = np.array([out.ctypes.data, values.ctypes.data, known.ctypes.data, out.size], np.int64)
    tasks.run(relu_tasks(), -(-out.size // PIECE), job, 0)


def run(kernel, out, known, alpha):
    """kernel(out, known, alpha), in pieces on several threads where it is worth the call."""
    if not threads.worth_it(out.size, PARALLEL_FROM):
        kernel(out, known, alpha)
        return
    in_pieces = parallel(out.dtype.char, known is None)
    with threads.parallel_region():
        in_pieces(kernel, out, known, alpha, threads.workers(), tasks.workspace.plan)


@functools.cache
def parallel(char, in_place):
    """The parallel loop of a dtype for all kernels: they come as a pointer, so it is not compiled again for each."""
    array = {"f": types.float32, "d": types.float64}[char][::1]
    known = types.none if in_place else types.Array(array.dtype, 1, "C", readonly=True)
    kernel = types.FunctionType(types.void(array, known, types.float64))
    function = pieces_in_place if in_place else pieces
    function.disable_compile(False)
    function.compile((kernel, array, known, types.float64, types.int64, types.int64))
    function.disable_compile()
    return function


@simd.compiled(parallel=True)
def pieces(kernel, out, known, alpha, workers, plan):
    counter = start_counting(plan)
    for _ in prange(workers):
        while True:
            begin = take(counter, PIECE)
            if begin >= out.size:
                break
            end = min(begin + PIECE, out.size)
            kernel(out[begin:end], known[begin:end], alpha)


@simd.compiled(parallel=True)
def pieces_in_place(kernel, out, known, alpha, workers, plan):
    counter = start_counting(plan)
    for _ in prange(workers):
        while True:
            begin = take(counter, PIECE)
            if begin >= out.size:
                break
            end = min(begin + PIECE, out.size)
            kernel(out[begin:end], None, alpha)


@simd.entry_point(ENTRY)
def relu_tasks(first, last, job, work):
    """No arithmetic, so denormals cost nothing and stay."""
    out, values, known, size = load_job(job)
    zero, step, end = broadcast(0.0), LANES * FLOAT, min(last * PIECE, size) * FLOAT
    p = first * PIECE * FLOAT
    for _ in range((end - p) // (4 * step)):
        a, b, c, d = load(known + p), load(known + p + step), load(known + p + 2 * step), load(known + p + 3 * step)
        e, f, g, h = a, b, c, d
        if values != known:
            e, f = load(values + p), load(values + p + step)
            g, h = load(values + p + 2 * step), load(values + p + 3 * step)
        store(select_at_most(a, zero, zero, e), out + p)
        store(select_at_most(b, zero, zero, f), out + p + step)
        store(select_at_most(c, zero, zero, g), out + p + 2 * step)
        store(select_at_most(d, zero, zero, h), out + p + 3 * step)
        p += 4 * step
    while p < end:
        lanes = (end - p) // FLOAT
        store_part(
            select_at_most(load_part(known + p, lanes), zero, zero, load_part(values + p, lanes)), out + p, lanes
        )
        p += step


# -- the exponential -------------------------------------------------------------------------------------------------

# Nothing here may be reassociated: (t + ROUNDER) - ROUNDER is not t.
compiled = njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})


@compiled
def scale_and_rest(t):
    """2**n and q with exp(t) = 2**n (1 + q) for -708 <= t <= 0: n = round(t / ln 2), Taylor's polynomial for q."""
    shifted = t * LOG2_E + ROUNDER
    n = shifted - ROUNDER
    r = t - n * LN2_HIGH - n * LN2_LOW
    q = 1.0 / 6227020800.0
    q = q * r + 1.0 / 479001600.0
    q = q * r + 1.0 / 39916800.0
    q = q * r + 1.0 / 3628800.0
    q = q * r + 1.0 / 362880.0
    q = q * r + 1.0 / 40320.0
    q = q * r + 1.0 / 5040.0
    q = q * r + 1.0 / 720.0
    q = q * r + 1.0 / 120.0
    q = q * r + 1.0 / 24.0
    q = q * r + 1.0 / 6.0
    q = q * r + 0.5
    q = q * r + 1.0
    bits = (np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    return np.int64(bits).view(np.float64), q * r


@compiled
def exp_(t):
    """exp(t) for t <= 0; NaN passes."""
    scale, q = scale_and_rest(-708.0 if t < -708.0 else t)
    return 0.0 if t < -708.0 else scale + scale * q


@compiled
def expm1_(t):
    """exp(t) - 1 for t <= 0, with all digits near 0 as well; NaN passes."""
    scale, q = scale_and_rest(-708.0 if t < -708.0 else t)
    return scale * q + (scale - 1.0)


@compiled
def log1p_(z):
    """log(1 + z) for 0 <= z <= 1 as 2 artanh(s) = 2 (s + s^3/3 + s^5/5 + ...) with s = z / (2 + z) <= 1/3."""
    s = z / (2.0 + z)
    s2 = s * s
    p = 1.0 / 33.0
    p = p * s2 + 1.0 / 31.0
    p = p * s2 + 1.0 / 29.0
    p = p * s2 + 1.0 / 27.0
    p = p * s2 + 1.0 / 25.0
    p = p * s2 + 1.0 / 23.0
    p = p * s2 + 1.0 / 21.0
    p = p * s2 + 1.0 / 19.0
    p = p * s2 + 1.0 / 17.0
    p = p * s2 + 1.0 / 15.0
    p = p * s2 + 1.0 / 13.0
    p = p * s2 + 1.0 / 11.0
    p = p * s2 + 1.0 / 9.0
    p = p * s2 + 1.0 / 7.0
    p = p * s2 + 1.0 / 5.0
    p = p * s2 + 1.0 / 3.0
    return 2.0 * (s + s * s2 * p)


@njit(inline="always")  # too large for LLVM to inline by itself, and a loop with a call in it has no vectors
def erf_(x):
    """The error function after Cody (1969), as in the reference: one rational function near 0, another one beyond."""
    size = abs(x)
    size = 6.0 if size > 6.0 else size  # NaN passes
    small = 0.5 if size > 0.5 else size
    z = small * small
    p = 0.18577770618460315
    p = p * z + 3.1611237438705655
    p = p * z + 113.86415415105016
    p = p * z + 377.485237685302
    p = p * z + 3209.3775891384694
    q = 1.0
    q = q * z + 23.601290952344122
    q = q * z + 244.02463793444417
    q = q * z + 1282.6165260773723
    q = q * z + 2844.236833439171
    near = small * p / q
    p = 2.1531153547440383e-08
    p = p * size + 0.5641884969886701
    p = p * size + 8.883149794388377
    p = p * size + 66.11919063714163
    p = p * size + 298.6351381974001
    p = p * size + 881.952221241769
    p = p * size + 1712.0476126340707
    p = p * size + 2051.0783778260716
    p = p * size + 1230.3393547979972
    q = 1.0
    q = q * size + 15.744926110709835
    q = q * size + 117.6939508913125
    q = q * size + 537.1811018620099
    q = q * size + 1621.3895745666903
    q = q * size + 3290.7992357334597
    q = q * size + 4362.619090143247
    q = q * size + 3439.3676741437216
    q = q * size + 1230.3393548037495
    far = 1.0 - exp_(-size * size) * (p / q)
    return math.copysign(near if size < 0.46875 else far, x)


@compiled
def sigmoid_(x):
    """1 / (1 + exp(-x))"""
    e = exp_(-abs(np.float64(x)))
    return (e if x < 0 else 1.0) / (1.0 + e)


# -- one activation after the other: y = f(x), then dx *= f' ---------------------------------------------------------


# In place x is None: a loop over two names of one array would not become vectors, for fear that they overlap by half.


@compiled
def source(y, x):
    """The array to read: x, or y in place. Decided by the type, when the kernel is compiled."""
    if x is None:
        return y
    else:
        return x


@compiled
def relu(y, x, alpha):
    x = source(y, x)
    zero = y.dtype.type(0)
    for i in range(y.size):
        y[i] = zero if x[i] <= zero else x[i]


@compiled
def relu_backward(dx, y, alpha):
    zero = dx.dtype.type(0)
    for i in range(dx.size):
        dx[i] = zero if y[i] <= zero else dx[i]


@compiled
def leaky_relu(y, x, alpha):
    x = source(y, x)
    zero, slope = y.dtype.type(0), y.dtype.type(alpha)
    for i in range(y.size):
        y[i] = x[i] if x[i] > zero else slope * x[i]


@compiled
def leaky_relu_backward(dx, y, alpha):
    zero, slope = dx.dtype.type(0), dx.dtype.type(alpha)
    for i in range(dx.size):
        dx[i] = dx[i] if y[i] > zero else slope * dx[i]


@compiled
def elu(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        v = np.float64(x[i])
        below = alpha * expm1_(v if v <= 0.0 else 0.0 * v)
        y[i] = v if v > 0.0 else below


@compiled
def elu_backward(dx, y, alpha):
    zero, one, a = dx.dtype.type(0), dx.dtype.type(1), dx.dtype.type(alpha)
    for i in range(dx.size):
        dx[i] *= one if y[i] > zero else y[i] + a


@compiled
def selu(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        v = np.float64(x[i])
        below = SELU_ALPHA * expm1_(v if v <= 0.0 else 0.0 * v)
        y[i] = SELU_SCALE * (v if v > 0.0 else below)


@compiled
def selu_backward(dx, y, alpha):
    zero, above, a = dx.dtype.type(0), dx.dtype.type(SELU_SCALE), dx.dtype.type(SELU_SCALE * SELU_ALPHA)
    for i in range(dx.size):
        dx[i] *= above if y[i] > zero else y[i] + a


@compiled
def gelu(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        v = np.float64(x[i])
        y[i] = 0.5 * v * (1.0 + erf_(v * SQRT_HALF))


@compiled
def gelu_backward(dx, x, alpha):
    for i in range(dx.size):
        v = np.float64(x[i])
        share = 0.5 * (1.0 + erf_(v * SQRT_HALF))
        dx[i] = dx[i] * (share + v * NORMAL_DENSITY * exp_(-0.5 * v * v))


@compiled
def sigmoid(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        y[i] = sigmoid_(x[i])


@compiled
def sigmoid_backward(dx, y, alpha):
    one = dx.dtype.type(1)
    for i in range(dx.size):
        dx[i] *= y[i] * (one - y[i])


@compiled
def tanh(y, x, alpha):
    """(1 - exp(-2 |x|)) / (1 + exp(-2 |x|)), with the sign of x"""
    x = source(y, x)
    for i in range(y.size):
        v = np.float64(x[i])
        e = expm1_(-2.0 * abs(v))
        y[i] = math.copysign(e / (e + 2.0), v)


@compiled
def tanh_backward(dx, y, alpha):
    one = dx.dtype.type(1)
    for i in range(dx.size):
        dx[i] *= one - y[i] * y[i]


@compiled
def softplus(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        v = np.float64(x[i])
        y[i] = (0.0 if v <= 0.0 else v) + log1p_(exp_(-abs(v)))


@compiled
def softplus_backward(dx, x, alpha):
    for i in range(dx.size):
        dx[i] = dx[i] * sigmoid_(x[i])


@compiled
def softsign(y, x, alpha):
    x = source(y, x)
    one = y.dtype.type(1)
    for i in range(y.size):
        y[i] = x[i] / (one + abs(x[i]))


@compiled
def softsign_backward(dx, x, alpha):
    one = dx.dtype.type(1)
    for i in range(dx.size):
        d = one + abs(x[i])
        dx[i] = dx[i] / (d * d)


@compiled
def swish(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        y[i] = x[i] * sigmoid_(x[i])


@compiled
def swish_backward(dx, x, alpha):
    for i in range(dx.size):
        s = sigmoid_(x[i])
        dx[i] = dx[i] * (s * (1.0 + x[i] * (1.0 - s)))


@compiled
def hard_sigmoid(y, x, alpha):
    x = source(y, x)
    zero, three, six = y.dtype.type(0), y.dtype.type(3), y.dtype.type(6)
    for i in range(y.size):
        v = x[i] + three
        v = zero if v <= zero else v
        y[i] = (six if v >= six else v) / six


@compiled
def hard_sigmoid_backward(dx, y, alpha):
    zero, one, six = dx.dtype.type(0), dx.dtype.type(1), dx.dtype.type(6)
    for i in range(dx.size):
        dx[i] = zero if y[i] <= zero or y[i] >= one else dx[i] / six


@compiled
def exponential(y, x, alpha):
    x = source(y, x)
    for i in range(y.size):
        y[i] = math.exp(x[i])


@compiled
def exponential_backward(dx, y, alpha):
    for i in range(dx.size):
        dx[i] *= y[i]


KERNELS = {
    Activation.RELU: (relu, relu_backward),
    Activation.LEAKY_RELU: (leaky_relu, leaky_relu_backward),
    Activation.ELU: (elu, elu_backward),
    Activation.SELU: (selu, selu_backward),
    Activation.GELU: (gelu, gelu_backward),
    Activation.SIGMOID: (sigmoid, sigmoid_backward),
    Activation.TANH: (tanh, tanh_backward),
    Activation.SOFTPLUS: (softplus, softplus_backward),
    Activation.SOFTSIGN: (softsign, softsign_backward),
    Activation.SWISH: (swish, swish_backward),
    Activation.HARD_SIGMOID: (hard_sigmoid, hard_sigmoid_backward),
    Activation.EXPONENTIAL: (exponential, exponential_backward),
}

FROM_OUTPUT = FUSED | {
    Activation.ELU,
    Activation.SELU,
    Activation.SIGMOID,
    Activation.HARD_SIGMOID,
    Activation.EXPONENTIAL,
}
"""Whose derivative is a function of y; the others want x."""
