"""Layer normalization of the rows of x (M, F): each row is read from memory once forward and once backward.

A row's mean is taken first and its squares around that mean, so nothing cancels; what the float32 mean lost by rounding
is put back through the mean of the deviations. dgamma and dbeta are summed in pieces of rows, pieces in float64.
"""

import numpy as np
from numba import njit, prange

from tinynn.backends.cpu import threads

PIECE = 32
"""Rows whose dgamma and dbeta are summed in the dtype of the data."""
TASKS = 32
"""Greatest number of tasks. Tasks depend on the shape alone: same bytes for every thread count."""
PARALLEL_FROM = 200_000
"""Elements; below, one thread is faster than telling others."""

FAST = {"contract", "reassoc", "nsz"}


@njit(cache=True, nogil=True, error_model="numpy")
def bounds(task, M):
    """(number of tasks, first row, last row + 1) of a task: whole pieces."""
    pieces = (M + PIECE - 1) // PIECE
    tasks = min(pieces, TASKS)
    return tasks, task * pieces // tasks * PIECE, min((task + 1) * pieces // tasks * PIECE, M)


# -- forward ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def forward_row(out, row, gamma, beta, epsilon):
    """Normalise one row; returns its mean and rstd in float64."""
    F = row.size
    total = row.dtype.type(0)
    for j in range(F):
        total += row[j]
    around = row.dtype.type(total / F)
    first = second = row.dtype.type(0)
    for j in range(F):
        d = row[j] - around
        first += d
        second += d * d
    a = np.float64(first) / F
    variance = np.float64(second) / F - a * a
    r = 1.0 / np.sqrt(variance + epsilon)
    scale, shift = row.dtype.type(r), row.dtype.type(-a * r)
    for j in range(F):
        out[j] = ((row[j] - around) * scale + shift) * gamma[j] + beta[j]
    return around + a, r


@njit(cache=True, nogil=True, error_model="numpy")
def forward_serial(y, mean, rstd, x, gamma, beta, epsilon):
    for i in range(x.shape[0]):
        mean[i], rstd[i] = forward_row(y[i], x[i], gamma, beta, epsilon)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def forward_parallel(y, mean, rstd, x, gamma, beta, epsilon):
    tasks = bounds(0, x.shape[0])[0]
    for task in prange(tasks):
        _, first, last = bounds(task, x.shape[0])
        for i in range(first, last):
            mean[i], rstd[i] = forward_row(y[i], x[i], gamma, beta, epsilon)


# -- backward --------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def backward_row(dx_row, dy_row, x_row, m, r, gamma, a, b):
    """dx of one row (which may be dy's memory); b += dy and a += dy xhat."""
    F = x_row.size
    s = t = x_row.dtype.type(0)
    for j in range(F):
        xhat = (x_row[j] - m) * r
        dy = dy_row[j]
        b[j] += dy
        a[j] += dy * xhat
        g = dy * gamma[j]
        s += g
        t += g * xhat
    s = x_row.dtype.type(s / F)
    t = x_row.dtype.type(t / F)
    if dx_row.size:
        for j in range(F):
            xhat = (x_row[j] - m) * r
            dx_row[j] = r * (dy_row[j] * gamma[j] - s - xhat * t)


@njit(cache=True, nogil=True, error_model="numpy")
def backward_task(task, sums, dx, dy, x, mean, rstd, gamma):
    """The rows of one task; sums[task] gets their dgamma and dbeta in float64."""
    M, F = x.shape
    _, first, last = bounds(task, M)
    total = sums[task]
    total[:] = 0.0
    a, b = np.empty(F, x.dtype), np.empty(F, x.dtype)
    for start in range(first, last, PIECE):
        a[:] = 0
        b[:] = 0
        for i in range(start, min(start + PIECE, last)):
            dx_row = dx[i] if dx.size else dx.reshape(-1)
            backward_row(dx_row, dy[i], x[i], mean[i], rstd[i], gamma, a, b)
        for j in range(F):
            total[0, j] += a[j]
            total[1, j] += b[j]


@njit(cache=True, nogil=True, error_model="numpy")
def finish(dgamma, dbeta, sums):
    """Add the tasks' sums in a fixed order."""
    for i in range(1, sums.shape[0]):
        sums[0] += sums[i]
    for j in range(dgamma.size):
        dgamma[j], dbeta[j] = sums[0, 0, j], sums[0, 1, j]


@njit(cache=True, nogil=True, error_model="numpy")
def backward_serial(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    tasks = bounds(0, x.shape[0])[0]
    sums = np.empty((tasks, 2, x.shape[1]))
    for task in range(tasks):
        backward_task(task, sums, dx, dy, x, mean, rstd, gamma)
    finish(dgamma, dbeta, sums)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def backward_parallel(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    tasks = bounds(0, x.shape[0])[0]
    sums = np.empty((tasks, 2, x.shape[1]))
    for task in prange(tasks):
        backward_task(task, sums, dx, dy, x, mean, rstd, gamma)
    finish(dgamma, dbeta, sums)


# -- the row's public functions --------------------------------------------------------------------------------------


def forward(y, mean, rstd, x, gamma, beta, epsilon):
    x = np.ascontiguousarray(x)
    gamma = np.ones(x.shape[1], x.dtype) if gamma is None else np.ascontiguousarray(gamma)
    beta = np.zeros(x.shape[1], x.dtype) if beta is None else np.ascontiguousarray(beta)
    if not threads.worth_it(x.size, PARALLEL_FROM):
        forward_serial(y, mean, rstd, x, gamma, beta, epsilon)
        return
    threads.workers()
    with threads.parallel_region():
        forward_parallel(y, mean, rstd, x, gamma, beta, epsilon)


def backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    F = x.shape[1]
    dx = np.empty((0, F), x.dtype) if dx is None else dx
    dgamma = np.empty(F, x.dtype) if dgamma is None else dgamma
    dbeta = np.empty(F, x.dtype) if dbeta is None else dbeta
    gamma = np.ones(F, x.dtype) if gamma is None else np.ascontiguousarray(gamma)
    if not threads.worth_it(x.size, PARALLEL_FROM):
        backward_serial(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        return
    threads.workers()
    with threads.parallel_region():
        backward_parallel(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
