"""A convolution and what follows it, as one: activation, pooling or the moments of a norm while a block is hot.

Without a norm the outputs of the convolution never leave the cache: they are pooled at once, and backwards dy is made
from the pooled result, block by block, beside the gradients that it gives. With one they are written once, and read
once to be normalized, activated and pooled; backwards they are read for two sums per channel, and to make dy.
"""

import functools

import numpy as np
from numba import njit

from tinynn.activation import Activation
from tinynn.backends.reference import convblock as reference

from . import tasks
from .blocks import NORM, job, norm_sums_tasks, normalize_tasks
from .conv2d import FLOAT, SERIAL_BELOW, Convolution, images
from .images import KINDS
from .layout import Layout


def forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, block):
    """z = pool(activation(norm(conv(x))))"""
    if z.itemsize != FLOAT or x.size == 0 or (place is not None and place.itemsize != 1):
        reference.forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, block)
        return
    pool = block.pool
    call = Convolution(x, W, block.window, block.groups, block.fast, pool if block.epsilon is None else None)
    if block.epsilon is None:
        target, pooled = (None, z) if pool is not None else (z, None)
        call.forward(target, b, block.activation, pooled, place)
        return
    cut = call.cut
    means, squares = np.empty((2, cut.blocks * cut.strips, call.O))
    call.forward(y, b, Activation.LINEAR, moments=(means, squares))
    norm = np.empty((5, call.O), np.float32)
    ones, zeros = np.ones_like(mean), np.zeros_like(mean)
    merge(norm, mean, variance, rstd, means, squares, pixels(cut, call.N, call.OH, call.OW),
          ones if gamma is None else gamma, zeros if beta is None else beta, block.epsilon)  # fmt: skip
    call.pool = pool
    run(
        normalize_tasks, cut.blocks, norm_fields(call, y, norm, block) | call.pooling(z, place) | images("z", z), y.size
    )


def backward(dx, dW, db, dgamma, dbeta, dz, x, W, z, place, y, mean, rstd, gamma, block):
    """The gradients; dz stays as it was."""
    if z.itemsize != FLOAT or x.size == 0 or (place is not None and place.itemsize != 1):
        reference.backward(dx, dW, db, dgamma, dbeta, dz, x, W, z, place, y, mean, rstd, gamma, block)
        return
    call = Convolution(x, W, block.window, block.groups, block.fast, block.pool)
    dz, z = np.ascontiguousarray(dz), np.ascontiguousarray(z)
    source = {
        "fresh": 1,
        "kind": KINDS[block.activation],
        **images("dz", dz),
        **call.pooling(z, place),
        **images("z", z),
    }
    if block.epsilon is not None:
        cut = call.cut
        norm = np.zeros((5, call.O), np.float32)
        scale = rstd if gamma is None else rstd * gamma
        norm[0], norm[1] = mean, scale
        sums = np.zeros((cut.pieces, 2, call.O))
        fields = norm_fields(call, y, norm, block) | images("dz", dz) | call.pooling(z, place) | images("z", z)
        run(norm_sums_tasks, cut.pieces, fields | {"pieces": cut.pieces, "sums": sums.ctypes.data}, y.size)
        factors(norm, dgamma, dbeta, sums.sum(axis=0), rstd, scale, y.size // call.O)
        source |= {"norm": norm.ctypes.data, **images("y", y)}
    call.backward(dx, dW, db, source)


def norm_fields(call, y, norm, block):
    """The fields that both passes over the outputs of the convolution want."""
    cut = call.cut
    return {
        "images": call.N, "per_block": cut.per_block, "blocks": cut.blocks, "OH": call.OH, "OW": call.OW, "O": call.O,
        "norm": norm.ctypes.data, "kind": KINDS[block.activation], **images("y", y),
    }  # fmt: skip


def run(function, count, fields, size):
    O = fields["O"]
    tasks.run(function(), count, job(NORM, fields), 2 * O * FLOAT + 64, serial=size < SERIAL_BELOW)


@functools.lru_cache(256)
def pixels(cut: Layout, N: int, OH: int, OW: int) -> np.ndarray:
    """How many outputs each task of the forward pass makes, per channel."""
    counts = [
        min(cut.per_block, N - k * cut.per_block) * min(cut.strip_rows, OH - i * cut.strip_rows) * OW
        for k in range(cut.blocks)
        for i in range(cut.strips)
    ]
    return np.array(counts, np.float64)


@njit(cache=True, nogil=True, error_model="numpy")
def merge(norm, mean, variance, rstd, means, squares, counts, gamma, beta, epsilon):
    """Mean and variance of all tasks' moments, in order, and the norm that images.py reads: mean, scale, shift.

    With m = sum n_i m_i / n: M2 = sum of M2_i + n_i (m_i - m)^2. The shift makes up for the rounding of the mean.
    """
    n = counts.sum()
    for c in range(mean.size):
        m = 0.0
        for k in range(counts.size):
            m += counts[k] * means[k, c]
        m /= n
        M2 = 0.0
        for k in range(counts.size):
            d = means[k, c] - m
            M2 += squares[k, c] + counts[k] * d * d
        v = M2 / n
        r = 1.0 / np.sqrt(v + epsilon)
        mean[c], variance[c], rstd[c] = m, v, r
        norm[0, c] = m
        norm[1, c] = r * gamma[c]
        norm[2, c] = beta[c] - (m - np.float64(mean[c])) * r * gamma[c]


def factors(norm, dgamma, dbeta, sums, rstd, scale, M):
    """dgamma, dbeta, and q and r of dy = scale g + q (y - mean) + r, from the sums of g and of g (y - mean)."""
    s, t = sums
    if dgamma is not None:
        dgamma[...] = t * rstd
    if dbeta is not None:
        dbeta[...] = s
    norm[3] = -(scale * np.square(rstd, dtype=np.float64)) * t / M
    norm[4] = -scale * s / M
