"""Batch normalization of x (M, C) over M, in two passes over x forward and two backward.

A row of few channels would not fill a register, so k rows are read as one row of k C *lanes* (k = 1 for many channels),
whose statistics are put together at the end. Rows are summed in pieces that stay in the first cache; a piece gives its
mean and its squares around that mean, so nothing cancels, and pieces are merged in float64:

    mean += delta n' / (n + n'),  M2 += M2' + delta^2 n n' / (n + n'),  delta = mean' - mean

Source: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for sample variances", 1979.
"""

import numpy as np
from numba import njit, prange

from tinynn.backends.cpu import threads

LANES = 256
"""Least width of a row; k is the smallest power of two that reaches it."""
COLUMNS = 1024
"""Greatest width of a piece."""
PIECE = 8192
"""Elements in a piece: 32 KiB of float32."""
TASKS = 32
"""Greatest number of tasks along the rows. The cut depends on the shape alone: same bytes for every thread count."""
PARALLEL_FROM = 200_000
"""Elements; below, one thread is faster than telling others."""

FAST = {"contract", "reassoc", "nsz"}


# -- cutting ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def fold(M, C):
    """How many rows are read as one."""
    k = 1
    while k * C < LANES and 2 * k <= M:
        k *= 2
    return k


@njit(cache=True, nogil=True, error_model="numpy")
def grid(rows, width):
    """(tasks along the rows, tasks along the lanes, rows of a piece) for rows of this width."""
    piece = max(PIECE // min(width, COLUMNS), 8)
    pieces = (rows + piece - 1) // piece
    return min(pieces, TASKS), (width + COLUMNS - 1) // COLUMNS, piece


@njit(cache=True, nogil=True, error_model="numpy")
def tile(values, k, dtype_like):
    """k copies of a statistic, one after the other, in the dtype of the data."""
    C = values.size
    tiled = np.empty(k * C, dtype_like.dtype)
    for i in range(k):
        for c in range(C):
            tiled[i * C + c] = values[c]
    return tiled


# -- statistics ------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def add_rows(total, flat, start, width, rows):
    """total += the sum of rows; four at a time."""
    n = total.size
    i = 0
    while i + 4 <= rows:
        p = start + i * width
        r0, r1 = flat[p : p + n], flat[p + width : p + width + n]
        r2, r3 = flat[p + 2 * width : p + 2 * width + n], flat[p + 3 * width : p + 3 * width + n]
        for j in range(n):
            total[j] += (r0[j] + r1[j]) + (r2[j] + r3[j])
        i += 4
    while i < rows:
        p = start + i * width
        r0 = flat[p : p + n]
        for j in range(n):
            total[j] += r0[j]
        i += 1


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def add_deviations(first, second, around, flat, start, width, rows):
    """first += d, second += d^2 with d = row - around; two rows at a time."""
    n = first.size
    i = 0
    while i + 2 <= rows:
        p = start + i * width
        r0, r1 = flat[p : p + n], flat[p + width : p + width + n]
        for j in range(n):
            d0, d1 = r0[j] - around[j], r1[j] - around[j]
            first[j] += d0 + d1
            second[j] += d0 * d0 + d1 * d1
        i += 2
    if i < rows:
        p = start + i * width
        r0 = flat[p : p + n]
        for j in range(n):
            d0 = r0[j] - around[j]
            first[j] += d0
            second[j] += d0 * d0


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def moments_task(task, means, squares, flat, rows, width):
    """Mean and sum of squared deviations of each lane over the rows of one task."""
    tasks, blocks, piece = grid(rows, width)
    t, block = task // blocks, task % blocks
    pieces = (rows + piece - 1) // piece
    first_row, last_row = t * pieces // tasks * piece, min((t + 1) * pieces // tasks * piece, rows)
    lane = block * COLUMNS
    n = min(COLUMNS, width - lane)
    mean, M2 = means[t, lane : lane + n], squares[t, lane : lane + n]
    around, first, second = np.empty(n, flat.dtype), np.empty(n, flat.dtype), np.empty(n, flat.dtype)
    seen = 0
    for i in range(first_row, last_row, piece):
        count = min(piece, last_row - i)
        start = i * width + lane
        around[:] = 0
        add_rows(around, flat, start, width, count)
        for j in range(n):
            around[j] /= count
        first[:] = 0
        second[:] = 0
        add_deviations(first, second, around, flat, start, width, count)
        share = np.float64(count) / np.float64(seen + count)
        if seen == 0:
            mean[:] = 0.0
            M2[:] = 0.0
        for j in range(n):
            a = np.float64(first[j])
            delta = np.float64(around[j]) + a / count - mean[j]
            mean[j] += delta * share
            M2[j] += (np.float64(second[j]) - a * a / count) + delta * delta * share * seen
        seen += count


@njit(cache=True, nogil=True, error_model="numpy")
def merge_lanes(mean, M2, seen, means, squares, rows, width):
    """Merge what the tasks found into the float64 mean and M2 of each channel, in a fixed order; returns the count."""
    C = mean.size
    tasks, _, piece = grid(rows, width)
    pieces = (rows + piece - 1) // piece
    for t in range(tasks):
        count = min((t + 1) * pieces // tasks * piece, rows) - t * pieces // tasks * piece
        for lane in range(0, width, C):
            share = np.float64(count) / np.float64(seen + count)
            for c in range(C):
                delta = means[t, lane + c] - mean[c]
                mean[c] += delta * share
                M2[c] += squares[t, lane + c] + delta * delta * share * seen
            seen += count
    return seen


@njit(cache=True, nogil=True, error_model="numpy")
def finish(mean, variance, rstd, shift, means, squares, x, k, beta, gamma, epsilon):
    """The statistics of each channel, and the shift that makes up for the rounding of the mean."""
    M, C = x.shape
    m, M2 = np.zeros(C), np.zeros(C)
    rows = M // k
    seen = merge_lanes(m, M2, 0, means, squares, rows, k * C)
    rest = M - rows * k
    if rest:
        flat = x[rows * k :].reshape(-1)
        tasks, blocks, _ = grid(rest, C)
        rest_means, rest_squares = np.empty((tasks, C)), np.empty((tasks, C))
        for task in range(tasks * blocks):
            moments_task(task, rest_means, rest_squares, flat, rest, C)
        merge_lanes(m, M2, seen, rest_means, rest_squares, rest, C)
    for c in range(C):
        v = M2[c] / M
        r = 1.0 / np.sqrt(v + epsilon)
        mean[c], variance[c], rstd[c] = m[c], v, r
        shift[c] = beta[c] - (m[c] - np.float64(mean[c])) * r * gamma[c]


# -- elementwise passes ----------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def normalize_rows(y, x, mean, scale, shift):
    """y = (x - mean) scale + shift for flat runs of whole rows; the last row may be short."""
    width = mean.size
    for p in range(0, x.size, width):
        x_row, y_row = x[p : p + width], y[p : p + width]
        for j in range(x_row.size):
            y_row[j] = (x_row[j] - mean[j]) * scale[j] + shift[j]


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def gradient_rows(dx, dy, x, mean, p, q, r):
    """dx = p dy + q (x - mean) + r"""
    width = mean.size
    for i in range(0, x.size, width):
        x_row, dy_row, dx_row = x[i : i + width], dy[i : i + width], dx[i : i + width]
        for j in range(x_row.size):
            dx_row[j] = p[j] * dy_row[j] + (q[j] * (x_row[j] - mean[j]) + r[j])


@njit(cache=True, nogil=True, error_model="numpy")
def run_length(width):
    """Elements of a task of an elementwise pass: whole rows."""
    return max(4 * PIECE // width, 1) * width


@njit(cache=True, nogil=True, error_model="numpy")
def normalize_serial(y, x, mean, scale, shift):
    k = fold(*x.shape)
    normalize_rows(y.reshape(-1), x.reshape(-1), tile(mean, k, x), tile(scale, k, x), tile(shift, k, x))


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def normalize_parallel(y, x, mean, scale, shift):
    k = fold(*x.shape)
    mean, scale, shift = tile(mean, k, x), tile(scale, k, x), tile(shift, k, x)
    flat_x, flat_y = x.reshape(-1), y.reshape(-1)
    run = run_length(mean.size)
    for task in prange((flat_x.size + run - 1) // run):
        p = task * run
        normalize_rows(flat_y[p : p + run], flat_x[p : p + run], mean, scale, shift)


# -- forward ---------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy")
def forward_serial(y, mean, variance, rstd, x, gamma, beta, epsilon):
    M, C = x.shape
    k = fold(M, C)
    rows, width = M // k, k * C
    flat = x[: rows * k].reshape(-1)
    tasks, blocks, _ = grid(rows, width)
    means, squares = np.empty((tasks, width)), np.empty((tasks, width))
    for task in range(tasks * blocks):
        moments_task(task, means, squares, flat, rows, width)
    shift = np.empty(C)
    finish(mean, variance, rstd, shift, means, squares, x, k, beta, gamma, epsilon)
    normalize_serial(y, x, mean, rstd * gamma, shift)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def moments_parallel(means, squares, flat, rows, width, count):
    for task in prange(count):
        moments_task(task, means, squares, flat, rows, width)


@njit(cache=True, nogil=True, error_model="numpy")
def forward_parallel(y, mean, variance, rstd, x, gamma, beta, epsilon):
    M, C = x.shape
    k = fold(M, C)
    rows, width = M // k, k * C
    flat = x[: rows * k].reshape(-1)
    tasks, blocks, _ = grid(rows, width)
    means, squares = np.empty((tasks, width)), np.empty((tasks, width))
    moments_parallel(means, squares, flat, rows, width, tasks * blocks)
    shift = np.empty(C)
    finish(mean, variance, rstd, shift, means, squares, x, k, beta, gamma, epsilon)
    normalize_parallel(y, x, mean, rstd * gamma, shift)


# -- backward --------------------------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
def sums_task(task, sums, products, dy, x, mean, rows, width):
    """Sums of dy and of dy (x - mean) of each lane over the rows of one task, pieces in float64."""
    tasks, blocks, piece = grid(rows, width)
    t, block = task // blocks, task % blocks
    pieces = (rows + piece - 1) // piece
    first_row, last_row = t * pieces // tasks * piece, min((t + 1) * pieces // tasks * piece, rows)
    lane = block * COLUMNS
    n = min(COLUMNS, width - lane)
    total, product, centre = sums[t, lane : lane + n], products[t, lane : lane + n], mean[lane : lane + n]
    total[:] = 0.0
    product[:] = 0.0
    a, b = np.empty(n, x.dtype), np.empty(n, x.dtype)
    for i in range(first_row, last_row, piece):
        a[:] = 0
        b[:] = 0
        for row in range(i, min(i + piece, last_row)):
            p = row * width + lane
            dy_row, x_row = dy[p : p + n], x[p : p + n]
            for j in range(n):
                a[j] += dy_row[j]
                b[j] += dy_row[j] * (x_row[j] - centre[j])
        for j in range(n):
            total[j] += a[j]
            product[j] += b[j]


@njit(cache=True, nogil=True, error_model="numpy")
def finish_sums(s, t, sums, products, dy, x, mean, k):
    """s = sum dy and t = sum dy (x - mean) of each channel, in a fixed order."""
    M, C = x.shape
    rows = M // k
    s[:] = 0.0
    t[:] = 0.0
    for i in range(sums.shape[0]):
        for lane in range(0, k * C, C):
            for c in range(C):
                s[c] += sums[i, lane + c]
                t[c] += products[i, lane + c]
    for i in range(rows * k, M):
        for c in range(C):
            s[c] += dy[i, c]
            t[c] += np.float64(dy[i, c]) * (x[i, c] - mean[c])


@njit(cache=True, nogil=True, error_model="numpy")
def sums_serial(s, t, dy, x, mean):
    M, C = x.shape
    k = fold(M, C)
    rows, width = M // k, k * C
    tasks, blocks, _ = grid(rows, width)
    sums, products, centre = np.empty((tasks, width)), np.empty((tasks, width)), tile(mean, k, x)
    flat_dy, flat_x = dy.reshape(-1), x.reshape(-1)
    for task in range(tasks * blocks):
        sums_task(task, sums, products, flat_dy, flat_x, centre, rows, width)
    finish_sums(s, t, sums, products, dy, x, mean, k)


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def sums_parallel(s, t, dy, x, mean):
    M, C = x.shape
    k = fold(M, C)
    rows, width = M // k, k * C
    tasks, blocks, _ = grid(rows, width)
    sums, products, centre = np.empty((tasks, width)), np.empty((tasks, width)), tile(mean, k, x)
    flat_dy, flat_x = dy.reshape(-1), x.reshape(-1)
    for task in prange(tasks * blocks):
        sums_task(task, sums, products, flat_dy, flat_x, centre, rows, width)
    finish_sums(s, t, sums, products, dy, x, mean, k)


@njit(cache=True, nogil=True, error_model="numpy")
def factors(p, q, r, dgamma, dbeta, s, t, rstd, gamma, M, given):
    """dgamma, dbeta, and dx = p dy + q (x - mean) + r; with given statistics q = r = 0."""
    for c in range(p.size):
        scale = np.float64(rstd[c]) * gamma[c]
        dgamma[c] = t[c] * rstd[c]
        dbeta[c] = s[c]
        p[c] = scale
        q[c] = 0.0 if given else -scale * rstd[c] * rstd[c] * t[c] / M
        r[c] = 0.0 if given else -scale * s[c] / M


@njit(cache=True, nogil=True, error_model="numpy")
def gradient_serial(dx, dy, x, mean, p, q, r):
    k = fold(*x.shape)
    gradient_rows(dx.reshape(-1), dy.reshape(-1), x.reshape(-1), tile(mean, k, x), tile(p, k, x), tile(q, k, x),
                  tile(r, k, x))  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def gradient_parallel(dx, dy, x, mean, p, q, r):
    k = fold(*x.shape)
    mean, p, q, r = tile(mean, k, x), tile(p, k, x), tile(q, k, x), tile(r, k, x)
    flat_dx, flat_dy, flat_x = dx.reshape(-1), dy.reshape(-1), x.reshape(-1)
    run = run_length(mean.size)
    for task in prange((flat_x.size + run - 1) // run):
        i = task * run
        gradient_rows(flat_dx[i : i + run], flat_dy[i : i + run], flat_x[i : i + run], mean, p, q, r)


@njit(cache=True, nogil=True, error_model="numpy")
def backward_serial(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, given):
    M, C = x.shape
    s, t, p, q, r = np.empty(C), np.empty(C), np.empty(C), np.empty(C), np.empty(C)
    sums_serial(s, t, dy, x, mean)
    factors(p, q, r, dgamma, dbeta, s, t, rstd, gamma, M, given)
    if dx.size:
        gradient_serial(dx, dy, x, mean, p, q, r)


@njit(cache=True, nogil=True, error_model="numpy")
def backward_parallel(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, given):
    M, C = x.shape
    s, t, p, q, r = np.empty(C), np.empty(C), np.empty(C), np.empty(C), np.empty(C)
    sums_parallel(s, t, dy, x, mean)
    factors(p, q, r, dgamma, dbeta, s, t, rstd, gamma, M, given)
    if dx.size:
        gradient_parallel(dx, dy, x, mean, p, q, r)


# -- the row's public functions --------------------------------------------------------------------------------------


def forward(y, mean, variance, rstd, x, gamma, beta, epsilon):
    x = np.ascontiguousarray(x)
    gamma = np.ones_like(mean) if gamma is None else np.ascontiguousarray(gamma)
    beta = np.zeros_like(mean) if beta is None else np.ascontiguousarray(beta)
    if not threads.worth_it(x.size, PARALLEL_FROM):
        forward_serial(y, mean, variance, rstd, x, gamma, beta, epsilon)
        return
    threads.workers()
    with threads.parallel_region():
        forward_parallel(y, mean, variance, rstd, x, gamma, beta, epsilon)


def inference(y, x, mean, variance, gamma, beta, epsilon):
    x = np.ascontiguousarray(x)
    mean, scale = np.ascontiguousarray(mean), np.ascontiguousarray(1.0 / np.sqrt(variance + epsilon))
    if gamma is not None:
        scale = scale * gamma
    shift = np.zeros_like(mean) if beta is None else np.ascontiguousarray(beta)
    if not threads.worth_it(x.size, PARALLEL_FROM):
        normalize_serial(y, x, mean, scale, shift)
        return
    threads.workers()
    with threads.parallel_region():
        normalize_parallel(y, x, mean, scale, shift)


def backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, given=False):
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    dx = np.empty((0, 0), x.dtype) if dx is None else dx
    dgamma = np.empty_like(mean) if dgamma is None else dgamma
    dbeta = np.empty_like(mean) if dbeta is None else dbeta
    gamma = np.ones_like(mean) if gamma is None else np.ascontiguousarray(gamma)
    if not threads.worth_it(x.size, PARALLEL_FROM):
        backward_serial(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, given)
        return
    threads.workers()
    with threads.parallel_region():
        backward_parallel(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, given)


def inference_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, given=True)


ALWAYS = np.ones(1)


def update(moving, batch, momentum, scale=None):
    """moving = momentum moving + (1 - momentum) batch; stays where batch is not finite, or scale is 0."""
    follow(moving, batch, momentum, ALWAYS if scale is None else scale)


@njit(cache=True, nogil=True, error_model="numpy")
def follow(moving, batch, momentum, scale):
    if scale[0] == 0:
        return
    for c in range(moving.size):
        if np.isfinite(batch[c]):
            moving[c] = momentum * moving[c] + (1.0 - momentum) * batch[c]
