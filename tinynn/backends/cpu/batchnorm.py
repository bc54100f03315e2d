"""Batch normalization on the CPU: two passes over the numbers forward, two backward; see channels.py.

Forward: the moments of all blocks, merged; then y = (x - mean) scale + shift. Backward: the sums of dy and of
dy (x - mean); then dx = scale dy + q (x - mean) + r. Float64, which is for checks, goes to the reference.
"""

import numpy as np
from numba import njit, types

from tinynn.backends.reference import batchnorm as reference

from . import tasks
from .channels import (
    FLOAT,
    MOST_LANES,
    SERIAL_BELOW,
    counts_of,
    cut,
    gradient_tasks,
    keep,
    make_job,
    moments_tasks,
    norm_tasks,
    spread,
    sums_tasks,
)
from .microkernel import call_block
from .moments import IN, NO_ROWS, OUT, X, Y, begin_gradient, factors, given, merge
from .simd import compiled, with_signature
from .tasks import HANDS, NUMBER


@with_signature(Y, OUT, OUT, OUT, X, IN, IN, types.float64, NUMBER, NUMBER, *HANDS)
@compiled()
def forward_whole(
    y, mean, variance, rstd, x, gamma, beta, epsilon, moments, normalize, do, work, stride, workers, plan
):
    counts, k = counts_of(*x.shape), cut(*x.shape)[0]
    results = np.empty((2, counts.size, mean.size))
    norm, wide = np.empty((3, mean.size), np.float32), np.empty((3, k * mean.size), np.float32)
    job, count = make_job(x, x, y, norm, wide, results)
    call_block(do, moments, count, np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
    merge(norm, mean, variance, rstd, results[0], results[1], counts, gamma, beta, epsilon)
    spread(wide, norm)
    call_block(do, normalize, count, np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
    keep(job, norm, wide, results)


@with_signature(Y, OUT, OUT, X, X, IN, IN, IN, types.boolean, NUMBER, NUMBER, *HANDS)
@compiled()
def backward_whole(
    dx, dgamma, dbeta, dy, x, mean, rstd, gamma, constant, sum_up, last, do, work, stride, workers, plan
):
    """dx of nothing, dgamma, dbeta: not wanted. last: what makes dx, of dy alone where statistics are given."""
    k, _, rest, _, blocks = cut(*x.shape)
    results = np.zeros((2, blocks * k + (rest > 0), mean.size))
    norm, wide = np.empty((5, mean.size), np.float32), np.empty((5, k * mean.size), np.float32)
    begin_gradient(norm, mean, rstd, gamma)
    spread(wide, norm)
    job, count = make_job(x, dy, dx, norm, wide, results)
    if dgamma.size or dbeta.size or not constant:
        call_block(do, sum_up, count, np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
        factors(norm, dgamma, dbeta, results[0], results[1], rstd, x.shape[0])
    if dx.size:
        if constant:
            for c in range(mean.size):
                norm[0, c] = norm[2, c] = 0.0
            job[0] = job[1]
        spread(wide, norm)
        call_block(do, last, count, np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
    keep(job, norm, wide, results)


@with_signature(Y, X, IN, IN, IN, IN, types.float64, NUMBER, *HANDS)
@compiled()
def inference_whole(y, x, mean, variance, gamma, beta, epsilon, normalize, do, work, stride, workers, plan):
    k = cut(*x.shape)[0]
    norm, wide = np.empty((3, mean.size), np.float32), np.empty((3, k * mean.size), np.float32)
    for c in range(mean.size):
        scale = 1.0 / np.sqrt(variance[c] + epsilon)
        norm[0, c] = mean[c]
        norm[1, c] = scale * gamma[c] if gamma.size else scale
        norm[2, c] = beta[c] if beta.size else 0.0
    spread(wide, norm)
    results = np.empty((2, 0, 0))
    job, count = make_job(x, x, y, norm, wide, results)
    call_block(do, normalize, count, np.int64(job.ctypes.data), work, stride, workers, plan, 0, 0)
    keep(job, norm, wide, results)


# -- the row's public functions ----------------------------------------------------------------------------------------


def in_vectors(x):
    return x.dtype == np.float32 and x.size > 0


def run(kernel, x, *arguments):
    tasks.hand_out(kernel, 3 * FLOAT * max(x.shape[1], MOST_LANES), x.size < SERIAL_BELOW, *arguments)


def forward(y, mean, variance, rstd, x, gamma, beta, epsilon):
    if not in_vectors(x):
        reference.forward(y, mean, variance, rstd, x, gamma, beta, epsilon)
        return
    run(forward_whole(), x, y, mean, variance, rstd, np.ascontiguousarray(x), given(gamma), given(beta), epsilon,
        moments_tasks(), norm_tasks())  # fmt: skip


def inference(y, x, mean, variance, gamma, beta, epsilon):
    if not in_vectors(x):
        reference.inference(y, x, mean, variance, gamma, beta, epsilon)
        return
    run(inference_whole(), x, y, np.ascontiguousarray(x), mean, variance, given(gamma), given(beta), epsilon,
        norm_tasks())  # fmt: skip


def backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    if not in_vectors(x):
        reference.backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        return
    run_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, False, gradient_tasks())


def inference_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma):
    if not in_vectors(x):
        reference.inference_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        return
    run_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, True, norm_tasks())


def run_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, constant, last):
    run(backward_whole(), x, NO_ROWS if dx is None else dx, given(dgamma), given(dbeta), np.ascontiguousarray(dy),
        np.ascontiguousarray(x), mean, rstd, given(gamma), constant, sums_tasks(), last)  # fmt: skip


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
