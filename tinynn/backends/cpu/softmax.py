"""Softmax and the cross-entropies of logits: rows x (N, C), labels (N,), one loss per row (N,).

Rows are taken in blocks that stay in the cache: subtract the maximum, exponentiate the whole block as one long vector
(ten classes would not fill a register), then divide and take the loss. Arithmetic inside is float64 for both dtypes.
"""

import math

import numpy as np
from numba import njit, prange

from tinynn.backends.cpu import threads

BLOCK = 2048
"""Elements that are exponentiated together."""
PARALLEL_FROM = 200_000
"""Elements; below, one thread is faster than telling others."""

LOG2_E = math.log2(math.e)
LN2_HIGH, LN2_LOW = 0.6931471805599453, 2.3190468138462996e-17
ROUNDER = 1.5 * 2.0**52
"""Adding it leaves the nearest integer in the low bits of the sum."""

# exp_ must not be reassociated: (t + ROUNDER) - ROUNDER is not t. Its callers may.
EXACT = {"contract"}
FAST = {"contract", "reassoc", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy", fastmath=EXACT)
def exp_(x):
    """exp(x) for x <= 0, to one unit in the last place, in a form that the compiler turns into vectors.

    exp(x) = 2**n exp(r) with n = round(x / ln 2), |r| <= ln 2 / 2, and Taylor's polynomial (next term: 4e-18).
    """
    x = np.float64(x)
    clipped = -708.0 if x < -708.0 else x  # NaN passes
    t = clipped * LOG2_E + ROUNDER
    n = t - ROUNDER
    r = clipped - n * LN2_HIGH - n * LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    power = (np.float64(t).view(np.int64) + np.int64(1023)) << np.int64(52)
    y = p * np.int64(power).view(np.float64)
    return 0.0 if x < -708.0 else y


@njit(cache=True, nogil=True, error_model="numpy", fastmath=EXACT)
def log1p_(z):
    """log(1 + z) for 0 <= z <= 1: 2 artanh(s), s = z / (2 + z) <= 1/3, by its power series (next term: 2e-19)."""
    s = z / (2.0 + z)
    q = s * s
    p = 1.0 / 37.0
    p = p * q + 1.0 / 35.0
    p = p * q + 1.0 / 33.0
    p = p * q + 1.0 / 31.0
    p = p * q + 1.0 / 29.0
    p = p * q + 1.0 / 27.0
    p = p * q + 1.0 / 25.0
    p = p * q + 1.0 / 23.0
    p = p * q + 1.0 / 21.0
    p = p * q + 1.0 / 19.0
    p = p * q + 1.0 / 17.0
    p = p * q + 1.0 / 15.0
    p = p * q + 1.0 / 13.0
    p = p * q + 1.0 / 11.0
    p = p * q + 1.0 / 9.0
    p = p * q + 1.0 / 7.0
    p = p * q + 1.0 / 5.0
    p = p * q + 1.0 / 3.0
    return 2.0 * s * (p * q + 1.0)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def largest(row):
    """The maximum; four at a time, so that each comparison need not wait for the one before."""
    a = b = c = d = row[0]
    for k in range(len(row) // 4):
        v, w, x, y = row[4 * k], row[4 * k + 1], row[4 * k + 2], row[4 * k + 3]
        a = v if v > a else a
        b = w if w > b else b
        c = x if x > c else c
        d = y if y > d else d
    for k in range(len(row) // 4 * 4, len(row)):
        a = row[k] if row[k] > a else a
    a = b if b > a else a
    c = d if d > c else c
    return c if c > a else a


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def exponentials(p, x, maxima):
    """p = exp(x - max), maxima = max, for one block of rows."""
    n, classes = x.shape
    for i in range(n):
        m = largest(x[i])
        maxima[i] = m
        for c in range(classes):
            p[i, c] = x[i, c] - m
    flat = p.reshape(-1)
    for k in range(flat.size):
        flat[k] = exp_(flat[k])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def normalise(row):
    """row /= its sum, which is returned."""
    total = 0.0
    for c in range(len(row)):
        total += row[c]
    scale = 1.0 / total
    for c in range(len(row)):
        row[c] = row[c] * scale
    return total


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def forward_rows(y, x):
    n, classes = x.shape
    step = max(1, BLOCK // max(classes, 1))
    maxima = np.empty(step, x.dtype)
    for lo in range(0, n, step):
        block = y[lo : lo + step]
        exponentials(block, x[lo : lo + step], maxima)
        for i in range(len(block)):
            normalise(block[i])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def backward_rows(dx, dy, y):
    n, classes = y.shape
    for i in range(n):
        inner = 0.0
        for c in range(classes):
            inner += dy[i, c] * y[i, c]
        for c in range(classes):
            dx[i, c] = y[i, c] * (dy[i, c] - inner)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def cross_entropy_rows(rows, p, x, target):
    """The loss is sum_c target (log sum exp(x - max) - (x - max)); until it is there, rows holds the maxima."""
    n, classes = x.shape
    step = max(1, BLOCK // max(classes, 1))
    for lo in range(0, n, step):
        block = p[lo : lo + step]
        exponentials(block, x[lo : lo + step], rows[lo : lo + step])
        for j in range(len(block)):
            i = lo + j
            log_total = math.log(normalise(block[j]))
            m = rows[i]
            loss = 0.0
            for c in range(classes):
                loss += target[i, c] * (log_total - (x[i, c] - m))
            rows[i] = loss


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def cross_entropy_backward_rows(dx, drows, p, target):
    n, classes = p.shape
    for i in range(n):
        total = 0.0
        for c in range(classes):
            total += target[i, c]
        d = drows[i]
        for c in range(classes):
            dx[i, c] = d * (p[i, c] * total - target[i, c])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sparse_cross_entropy_rows(rows, p, x, labels):
    n, classes = x.shape
    step = max(1, BLOCK // max(classes, 1))
    for lo in range(0, n, step):
        block = p[lo : lo + step]
        exponentials(block, x[lo : lo + step], rows[lo : lo + step])
        for j in range(len(block)):
            i = lo + j
            log_total = math.log(normalise(block[j]))
            label = labels[i]
            if label < 0:
                rows[i] = 0.0
            elif label < classes:
                rows[i] = log_total - (x[i, label] - rows[i])
            else:  # refused at the border; here it must not read beyond the row
                rows[i] = np.nan


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sparse_cross_entropy_backward_rows(dx, drows, p, labels):
    n, classes = p.shape
    for i in range(n):
        label = labels[i]
        if label < 0:
            dx[i, :] = 0.0
            continue
        d = drows[i]
        for c in range(classes):
            dx[i, c] = d * p[i, c]
        if label < classes:
            dx[i, label] -= d
        else:
            dx[i, :] = np.nan


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def binary_cross_entropy_flat(loss, x, target):
    for k in range(x.size):
        v = np.float64(x[k])
        loss[k] = max(v, 0.0) - v * target[k] + log1p_(exp_(-abs(v)))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def binary_cross_entropy_backward_flat(dx, dloss, x, target):
    for k in range(x.size):
        v = np.float64(x[k])
        z = exp_(-abs(v))
        s = (z if v < 0.0 else 1.0) / (1.0 + z)
        dx[k] = dloss[k] * (s - target[k])


# -- the same over several threads: a row belongs to one task, so the number of workers changes no byte ---------------


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def forward_parallel(y, x, workers):
    n = len(x)
    for worker in prange(workers):
        w = np.int64(worker)
        lo, hi = w * n // workers, (w + 1) * n // workers
        forward_rows(y[lo:hi], x[lo:hi])


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def cross_entropy_parallel(rows, p, x, target, workers):
    n = len(x)
    for worker in prange(workers):
        w = np.int64(worker)
        lo, hi = w * n // workers, (w + 1) * n // workers
        cross_entropy_rows(rows[lo:hi], p[lo:hi], x[lo:hi], target[lo:hi])


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def sparse_cross_entropy_parallel(rows, p, x, labels, workers):
    n = len(x)
    for worker in prange(workers):
        w = np.int64(worker)
        lo, hi = w * n // workers, (w + 1) * n // workers
        sparse_cross_entropy_rows(rows[lo:hi], p[lo:hi], x[lo:hi], labels[lo:hi])


# -- the protocol ------------------------------------------------------------------------------------------------------


def wide(x: np.ndarray) -> bool:
    """Whether several threads pay."""
    return x.size >= PARALLEL_FROM and threads.get_num_threads() > 1


def forward(y, x) -> None:
    """y = softmax(x)"""
    if not x.flags.c_contiguous:
        x = np.ascontiguousarray(x)
    if wide(x):
        with threads.parallel_region():
            forward_parallel(y, x, threads.workers())
    else:
        forward_rows(y, x)


def backward(dx, dy, y) -> None:
    """dx = y (dy - sum(dy y))"""
    backward_rows(dx, np.ascontiguousarray(dy), np.ascontiguousarray(y))


def cross_entropy(rows, p, x, target) -> None:
    """rows = -sum_c target log softmax(x), p = softmax(x)"""
    x, target = np.ascontiguousarray(x), np.ascontiguousarray(target)
    if wide(x):
        with threads.parallel_region():
            cross_entropy_parallel(rows, p, x, target, threads.workers())
    else:
        cross_entropy_rows(rows, p, x, target)


def cross_entropy_backward(dx, drows, p, target) -> None:
    """dx = drows (p sum(target) - target)"""
    cross_entropy_backward_rows(dx, np.ascontiguousarray(drows), p, np.ascontiguousarray(target))


def sparse_cross_entropy(rows, p, x, labels) -> None:
    """rows = -log softmax(x)[label], 0 for a negative label"""
    x, labels = np.ascontiguousarray(x), np.ascontiguousarray(labels)
    if wide(x):
        with threads.parallel_region():
            sparse_cross_entropy_parallel(rows, p, x, labels, threads.workers())
    else:
        sparse_cross_entropy_rows(rows, p, x, labels)


def sparse_cross_entropy_backward(dx, drows, p, labels) -> None:
    """dx = drows (p - onehot(label)), 0 for a negative label"""
    sparse_cross_entropy_backward_rows(dx, np.ascontiguousarray(drows), p, np.ascontiguousarray(labels))


def binary_cross_entropy(loss, x, target) -> None:
    """loss = max(x, 0) - x target + log(1 + exp(-|x|))"""
    x, target = np.ascontiguousarray(x), np.ascontiguousarray(target)
    binary_cross_entropy_flat(loss.reshape(-1), x.reshape(-1), target.reshape(-1))


def binary_cross_entropy_backward(dx, dloss, x, target) -> None:
    """dx = dloss (sigmoid(x) - target)"""
    x, target = np.ascontiguousarray(x), np.ascontiguousarray(target)
    dloss = np.ascontiguousarray(dloss)
    binary_cross_entropy_backward_flat(dx.reshape(-1), dloss.reshape(-1), x.reshape(-1), target.reshape(-1))
