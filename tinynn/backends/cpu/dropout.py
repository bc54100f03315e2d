"""Dropout and noise from Philox4x32-10: element e takes word e % 4 of the block (e // 4, step, substream, call).

The words of several blocks are computed side by side, one array per word, so that the rounds become vector code; every
element depends on its number alone, so tasks of any size give the same bytes. Source: see ``tinynn/philox.py``.
"""

import math

import numpy as np
from numba import njit, prange

from tinynn.backends.cpu import threads
from tinynn.backends.reference.dropout import threshold

BLOCKS = 128
"""Philox blocks computed together; an element of work is four words."""
RUN = 4 * BLOCKS * 16
"""Elements of a task."""
PARALLEL_FROM = 100_000
"""Elements; below, one thread is faster than telling others."""

M0, M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
W0, W1 = np.uint32(0x9E3779B9), np.uint32(0xBB67AE85)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@njit(cache=True, nogil=True, error_model="numpy")
def as_words(seed, stream, step, substream, call):
    """Key and counter as 32-bit words."""
    return (np.uint32(seed), np.uint32(stream)), (step[0], np.uint32(substream), np.uint32(call))


@njit(cache=True, nogil=True, error_model="numpy")
def words(out, first, key, counter):
    """out (4, BLOCKS) uint32: the words of the blocks first, first + 1, ...; counter is (step, substream, call)."""
    a, b, c, d = out[0], out[1], out[2], out[3]
    start = np.uint32(first)
    for i in range(BLOCKS):
        c0, c1 = start + np.uint32(i), counter[0]
        c2, c3 = counter[1], counter[2]
        k0, k1 = key[0], key[1]
        for _ in range(10):
            p0, p1 = np.uint64(c0) * M0, np.uint64(c2) * M1
            c0, c1 = np.uint32(p1 >> HALF) ^ c1 ^ k0, np.uint32(p1 & LOW)
            c2, c3 = np.uint32(p0 >> HALF) ^ c3 ^ k1, np.uint32(p0 & LOW)
            k0, k1 = np.uint32(k0 + W0), np.uint32(k1 + W1)
        a[i], b[i], c[i], d[i] = c0, c1, c2, c3


@njit(cache=True, nogil=True, error_model="numpy")
def forward_run(y, mask, x, first, last, limit, scale, key, counter):
    """Elements first .. last - 1; first is a multiple of four."""
    out = np.empty((4, BLOCKS), np.uint32)
    flat = np.empty(4 * BLOCKS, np.uint32)
    zero = x.dtype.type(0)
    for start in range(first, last, 4 * BLOCKS):
        words(out, start // 4, key, counter)
        for i in range(BLOCKS):
            for w in range(4):
                flat[4 * i + w] = out[w, i]
        n = min(4 * BLOCKS, last - start)
        x_run, y_run, mask_run = x[start : start + n], y[start : start + n], mask[start : start + n]
        for e in range(n):
            keep = flat[e] >= limit
            mask_run[e] = keep
            y_run[e] = x_run[e] * (scale if keep else zero)


@njit(cache=True, nogil=True, error_model="numpy")
def forward_serial(y, mask, x, limit, scale, seed, stream, step, substream, call):
    key, counter = as_words(seed, stream, step, substream, call)
    forward_run(y, mask, x, 0, x.size, limit, scale, key, counter)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def forward_parallel(y, mask, x, limit, scale, seed, stream, step, substream, call):
    key, counter = as_words(seed, stream, step, substream, call)
    for task in prange((x.size + RUN - 1) // RUN):
        forward_run(y, mask, x, task * RUN, min((task + 1) * RUN, x.size), limit, scale, key, counter)


@njit(cache=True, nogil=True, error_model="numpy")
def backward_serial(dx, dy, mask, scale):
    zero = dy.dtype.type(0)
    for e in range(dy.size):
        dx[e] = dy[e] * (scale if mask[e] else zero)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def backward_parallel(dx, dy, mask, scale):
    for task in prange((dy.size + 4 * RUN - 1) // (4 * RUN)):
        start = task * 4 * RUN
        stop = min(start + 4 * RUN, dy.size)
        backward_serial(dx[start:stop], dy[start:stop], mask[start:stop], scale)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def log_(u):
    """log(u) of a normal number u > 0: u = 2**n m, log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| <= 0.172.

    Written out, so that the compiler turns it into vectors; the next term of the series is below 1e-17.
    """
    bits = np.float64(u).view(np.int64)
    n = (bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)  # the bits of sqrt(1/2): m is in [sqrt(1/2), sqrt(2))
    m = np.int64(bits - (n << np.int64(52))).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    q = s * s
    p = 1.0 / 21.0
    p = p * q + 1.0 / 19.0
    p = p * q + 1.0 / 17.0
    p = p * q + 1.0 / 15.0
    p = p * q + 1.0 / 13.0
    p = p * q + 1.0 / 11.0
    p = p * q + 1.0 / 9.0
    p = p * q + 1.0 / 7.0
    p = p * q + 1.0 / 5.0
    p = p * q + 1.0 / 3.0
    return np.float64(n) * math.log(2.0) + 2.0 * s * (p * q + 1.0)


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def turn(word):
    """(cos, sin) of word / 2**32 of a full turn: quarter turns off, then Taylor's series on [-pi/4, pi/4]."""
    quarter = (np.int64(word) + np.int64(1 << 29)) >> np.int64(30)
    r = np.float64(np.int64(word) - (quarter << np.int64(30))) * (2.0 * math.pi * 2.0**-32)
    q = r * r
    s = 1.0 / 355687428096000.0
    s = s * q - 1.0 / 1307674368000.0
    s = s * q + 1.0 / 6227020800.0
    s = s * q - 1.0 / 39916800.0
    s = s * q + 1.0 / 362880.0
    s = s * q - 1.0 / 5040.0
    s = s * q + 1.0 / 120.0
    s = s * q - 1.0 / 6.0
    s = r + r * q * s
    c = 1.0 / 20922789888000.0
    c = c * q - 1.0 / 87178291200.0
    c = c * q + 1.0 / 479001600.0
    c = c * q - 1.0 / 3628800.0
    c = c * q + 1.0 / 40320.0
    c = c * q - 1.0 / 720.0
    c = c * q + 1.0 / 24.0
    c = c * q - 0.5
    c = c * q + 1.0
    odd, low = quarter & 1, (quarter & 2) != 0
    cosine, sine = (s if odd else c), (c if odd else s)
    minus = low != (odd != 0)
    return -cosine if minus else cosine, -sine if low else sine


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def box_muller(even, odd, u, v, stddev):
    """even, odd = stddev sqrt(-2 ln u1) (cos, sin)(2 pi u2), with u1 = (u + 1) / 2**32 and u2 = v / 2**32"""
    for i in range(u.size):
        radius = stddev * math.sqrt(max(-2.0 * log_((np.float64(u[i]) + 1.0) * 2.0**-32), 0.0))
        cosine, sine = turn(v[i])
        even[i] = radius * cosine
        odd[i] = radius * sine


@njit(cache=True, nogil=True, error_model="numpy")
def normal_run(z, first, last, stddev, key, counter):
    """Elements first .. last - 1, in float64; first is a multiple of four."""
    out, noise = np.empty((4, BLOCKS), np.uint32), np.empty((4, BLOCKS))
    flat = np.empty(4 * BLOCKS)
    for start in range(first, last, 4 * BLOCKS):
        words(out, start // 4, key, counter)
        box_muller(noise[0], noise[1], out[0], out[1], stddev)
        box_muller(noise[2], noise[3], out[2], out[3], stddev)
        for i in range(BLOCKS):
            for w in range(4):
                flat[4 * i + w] = noise[w, i]
        n = min(4 * BLOCKS, last - start)
        run = z[start : start + n]
        for e in range(n):
            run[e] = flat[e]


@njit(cache=True, nogil=True, error_model="numpy")
def normal_serial(z, stddev, seed, stream, step, substream, call):
    key, counter = as_words(seed, stream, step, substream, call)
    normal_run(z, 0, z.size, stddev, key, counter)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def normal_parallel(z, stddev, seed, stream, step, substream, call):
    key, counter = as_words(seed, stream, step, substream, call)
    for task in prange((z.size + RUN - 1) // RUN):
        normal_run(z, task * RUN, min((task + 1) * RUN, z.size), stddev, key, counter)


# -- the row's public functions --------------------------------------------------------------------------------------


def forward(y, mask, x, rate, key, step, substream, call):
    x = np.ascontiguousarray(x).reshape(-1)
    scale = x.dtype.type(1.0 / (1.0 - rate))
    arguments = y.reshape(-1), mask.reshape(-1), x, np.uint64(threshold(rate)), scale
    if not threads.worth_it(x.size, PARALLEL_FROM):
        forward_serial(*arguments, *key, step, substream, call)
        return
    threads.workers()
    with threads.parallel_region():
        forward_parallel(*arguments, *key, step, substream, call)


def backward(dx, dy, mask, rate):
    dy = np.ascontiguousarray(dy).reshape(-1)
    arguments = dx.reshape(-1), dy, mask.reshape(-1), dy.dtype.type(1.0 / (1.0 - rate))
    if not threads.worth_it(dy.size, PARALLEL_FROM):
        backward_serial(*arguments)
        return
    threads.workers()
    with threads.parallel_region():
        backward_parallel(*arguments)


def normal(out, stddev, key, step, substream, call):
    z = out.reshape(-1)
    if not threads.worth_it(z.size, PARALLEL_FROM):
        normal_serial(z, float(stddev), *key, step, substream, call)
        return
    threads.workers()
    with threads.parallel_region():
        normal_parallel(z, float(stddev), *key, step, substream, call)
