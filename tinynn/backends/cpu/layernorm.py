"""Layer normalization of the rows of x (M, F): each row is read from memory once forward and once backward.

A row's mean is taken first and its squares around that mean, so nothing cancels; what the float32 mean lost by rounding
is put back through the mean of the deviations. dgamma and dbeta are summed in pieces of rows, pieces in float64, where
tasks are pieces in a row. Float64, which is for checks, goes to the reference.
"""

import numpy as np
from numba import types

from tinynn.backends.reference import layernorm as reference

from . import tasks
from .images import DOUBLE, FLOAT, LANES, add_sums, zero_row
from .microkernel import call_block, load_float, make_load_ints, store_float
from .moments import IN, NO_ROWS, OUT, X, Y, given
from .simd import compiled, entry_point, with_signature
from .tasks import ENTRY, HANDS, NUMBER
from .vectors import (
    broadcast,
    flush_denormals,
    load,
    load_double,
    load_part,
    multiply_add,
    restore_denormals,
    store,
    store_part,
    sum_lanes,
)

STEP = LANES * FLOAT
PIECE = 32
"""Rows whose dgamma and dbeta are summed in float32."""
TASKS = 32
"""Greatest number of tasks. Tasks depend on the shape alone: same bytes for every thread count."""
SERIAL_BELOW = 200_000
"""Numbers below which one thread is faster than telling others."""
load_job = make_load_ints(12)


@compiled()
def tasks_of(M):
    return min((M + PIECE - 1) // PIECE, TASKS)


@compiled()
def bounds(task, M):
    """(first row, last row + 1) of a task: whole pieces."""
    pieces, count = (M + PIECE - 1) // PIECE, tasks_of(M)
    return task * pieces // count * PIECE, min((task + 1) * pieces // count * PIECE, M)


# -- forward ---------------------------------------------------------------------------------------------------------


@compiled()
def row_sum(x, F):
    """In two chains."""
    s = t = broadcast(0.0)
    for _ in range(F // (2 * LANES)):
        s += load(x)
        t += load(x + STEP)
        x += 2 * STEP
    rest = F % (2 * LANES)
    if rest:
        s += load_part(x, rest)
    if rest > LANES:
        t += load_part(x + STEP, rest - LANES)
    return sum_lanes(s + t)


@compiled()
def row_deviations(x, F, around, ones):
    """The sums of d = x - around and of d^2; ones: the address of a vector of 1."""
    s = t = u = v = broadcast(0.0)
    for _ in range(F // (2 * LANES)):
        d, e = load(x) - around, load(x + STEP) - around
        s += d
        t += e
        u = multiply_add(d, d, u)
        v = multiply_add(e, e, v)
        x += 2 * STEP
    for lanes in range(F % (2 * LANES), 0, -LANES):
        d = (load_part(x, lanes) - around) * load_part(ones, lanes)
        s += d
        u = multiply_add(d, d, u)
        x += STEP
    return sum_lanes(s + t), sum_lanes(u + v)


@entry_point(ENTRY)
def forward_tasks(first, last, job, work):
    x, _, y, mean, rstd, gamma, beta, _, M, F, epsilon, _ = load_job(job)
    denormals = flush_denormals()
    store(broadcast(1.0), work)
    for i in range(bounds(first, M)[0], bounds(last - 1, M)[1]):
        row = i * F * FLOAT
        # 0.0 + makes a float64.
        m = np.float32((0.0 + row_sum(x + row, F)) / F)
        around = broadcast(m)
        s, t = row_deviations(x + row, F, around, work)
        a = (0.0 + s) / F
        r = 1.0 / np.sqrt((0.0 + t) / F - a * a + load_double(epsilon))
        store_float(np.float32(m + a), mean + i * FLOAT)
        store_float(np.float32(r), rstd + i * FLOAT)
        scale, shift = broadcast(np.float32(r)), broadcast(np.float32(-a * r))
        for p in range(0, F * FLOAT, STEP):
            lanes = F - p // FLOAT
            xhat = multiply_add(load_part(x + row + p, lanes) - around, scale, shift)
            store_part(multiply_add(xhat, load_part(gamma + p, lanes), load_part(beta + p, lanes)), y + row + p, lanes)
    restore_denormals(denormals)


# -- backward --------------------------------------------------------------------------------------------------------


@compiled()
def backward_row(dx, dy, x, F, m, r, gamma, sums):
    """dx of one row (which may be dy's memory, or 0); sums += dy xhat and dy, two rows of F."""
    s = t = broadcast(0.0)
    mean, rstd, products = broadcast(m), broadcast(r), sums + F * FLOAT
    for p in range(0, F * FLOAT, STEP):
        lanes = F - p // FLOAT
        xhat, gradient = (load_part(x + p, lanes) - mean) * rstd, load_part(dy + p, lanes)
        store_part(multiply_add(gradient, xhat, load_part(sums + p, lanes)), sums + p, lanes)
        store_part(load_part(products + p, lanes) + gradient, products + p, lanes)
        g = gradient * load_part(gamma + p, lanes)
        s += g
        t = multiply_add(g, xhat, t)
    if dx == 0:
        return
    a, b = broadcast(np.float32(sum_lanes(s) / F)), broadcast(np.float32(sum_lanes(t) / F))
    for p in range(0, F * FLOAT, STEP):
        lanes = F - p // FLOAT
        xhat = (load_part(x + p, lanes) - mean) * rstd
        g = load_part(dy + p, lanes) * load_part(gamma + p, lanes)
        store_part(rstd * (g - a - xhat * b), dx + p, lanes)


@entry_point(ENTRY)
def backward_tasks(first, last, job, work):
    """A task adds its dgamma and dbeta to a row of zeros of its own."""
    x, dy, dx, mean, rstd, gamma, _, sums, M, F, _, _ = load_job(job)
    denormals = flush_denormals()
    zero_row(work, 2 * F)
    for task in range(first, last):
        start, end = bounds(task, M)
        for i in range(start, end):
            row = i * F * FLOAT
            backward_row(dx + row if dx else 0, dy + row, x + row, F, load_float(mean + i * FLOAT),
                         load_float(rstd + i * FLOAT), gamma, work)  # fmt: skip
            if i % PIECE == PIECE - 1 or i == end - 1:
                add_sums(sums + task * 2 * F * DOUBLE, work, 2 * F)
    restore_denormals(denormals)


# -- all of them -----------------------------------------------------------------------------------------------------


@compiled()
def make_job(x, dy, out, mean, rstd, gamma, beta, sums, epsilon):
    """The list that tasks read."""
    job = np.empty(12, np.int64)
    job[0], job[1], job[2] = x.ctypes.data, dy.ctypes.data, np.int64(out.ctypes.data) if out.size else np.int64(0)
    job[3], job[4], job[5], job[6] = mean.ctypes.data, rstd.ctypes.data, gamma.ctypes.data, beta.ctypes.data
    job[7], job[8], job[9], job[10] = sums.ctypes.data, x.shape[0], x.shape[1], epsilon.ctypes.data
    return job


@compiled()
def keep(job, sums, epsilon):
    """These arrays live until here: Numba does not see that their addresses are in use."""


@with_signature(Y, OUT, OUT, X, IN, IN, types.float64, NUMBER, *HANDS)
@compiled()
def forward_whole(y, mean, rstd, x, gamma, beta, epsilon, function, do, work, stride, workers, plan):
    sums, small = np.empty((0, 2, 0)), np.full(1, epsilon)
    job = make_job(x, x, y, mean, rstd, gamma, beta, sums, small)
    call_block(do, function, tasks_of(x.shape[0]), np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
    keep(job, sums, small)


@with_signature(Y, OUT, OUT, X, X, IN, IN, IN, NUMBER, *HANDS)
@compiled()
def backward_whole(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, function, do, work, stride, workers, plan):
    count = tasks_of(x.shape[0])
    sums, small = np.zeros((count, 2, x.shape[1])), np.empty(0)
    job = make_job(x, dy, dx, mean, rstd, gamma, gamma, sums, small)
    call_block(do, function, count, np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
    for j in range(x.shape[1]):
        s = t = 0.0
        for i in range(count):
            s += sums[i, 0, j]
            t += sums[i, 1, j]
        if dgamma.size:
            dgamma[j] = s
        if dbeta.size:
            dbeta[j] = t
    keep(job, sums, small)


# -- the row's public functions --------------------------------------------------------------------------------------


def run(kernel, x, *arguments):
    tasks.hand_out(kernel, max(2 * FLOAT * x.shape[1], STEP), x.size < SERIAL_BELOW, *arguments)


def forward(y, mean, rstd, x, gamma, beta, epsilon):
    if x.dtype != np.float32 or x.size == 0:
        reference.forward(y, mean, rstd, x, gamma, beta, epsilon)
        return
    x = np.ascontiguousarray(x)
    gamma = np.ones(x.shape[1], x.dtype) if gamma is None else np.ascontiguousarray(gamma)
    beta = np.zeros(x.shape[1], x.dtype) if beta is None else np.ascontiguousarray(beta)
    run(forward_whole(), x, y, mean, rstd, x, gamma, beta, epsilon, forward_tasks())


def backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    if x.dtype != np.float32 or x.size == 0:
        reference.backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        return
    dy, x = np.ascontiguousarray(dy), np.ascontiguousarray(x)
    gamma = np.ones(x.shape[1], x.dtype) if gamma is None else np.ascontiguousarray(gamma)
    run(backward_whole(), x, NO_ROWS if dx is None else dx, given(dgamma), given(dbeta), dy, x, mean, rstd, gamma,
        backward_tasks())  # fmt: skip
