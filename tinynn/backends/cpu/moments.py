"""From moments of parts to the statistics of a channel, and from sums over parts to the factors of its gradient.

``norm`` (5, C) float32 is what images.py reads: mean, scale, shift, q and r of each channel. gamma, beta, dgamma and
dbeta are empty where there is none. Sums are made in float64 and in order.
"""

import numpy as np
from numba import types

from .simd import compiled

# What kernels of a normalization are called with: vectors of channels, and rows.
IN = types.Array(types.float32, 1, "A", readonly=True, aligned=False)
OUT = types.Array(types.float32, 1, "A", aligned=False)
X = types.Array(types.float32, 2, "C", readonly=True, aligned=False)
Y = types.Array(types.float32, 2, "C", aligned=False)
NOTHING, NO_ROWS = np.zeros(0, np.float32), np.zeros((0, 0), np.float32)


def given(array):
    """An array for a kernel: an empty one for None."""
    return NOTHING if array is None else array


@compiled()
def merge(norm, mean, variance, rstd, means, squares, counts, gamma, beta, epsilon):
    """Mean and variance of the moments (parts, C) of so many numbers each, and the norm's mean, scale and shift.

    With m = sum n_i m_i / n: M2 = sum of M2_i + n_i (m_i - m)^2. The shift makes up for the rounding of the mean.
    """
    parts, C = means.shape
    n = 0.0
    for i in range(parts):
        n += counts[i]
    for c in range(C):
        m = M2 = 0.0
        for i in range(parts):
            m += counts[i] * means[i, c]
        m /= n
        for i in range(parts):
            d = means[i, c] - m
            M2 += squares[i, c] + counts[i] * d * d
        v = M2 / n if M2 > 0.0 or M2 != M2 else 0.0  # not below 0 by rounding; NaN stays
        r = 1.0 / np.sqrt(v + epsilon)
        scale = r * gamma[c] if gamma.size else r
        shift = np.float64(beta[c]) if beta.size else 0.0
        mean[c], variance[c], rstd[c] = m, v, r
        norm[0, c] = m
        norm[1, c] = scale
        norm[2, c] = shift - (m - np.float64(mean[c])) * scale


@compiled()
def begin_gradient(norm, mean, rstd, gamma):
    """The norm's mean and scale, zeros for the rest."""
    for c in range(mean.size):
        norm[0, c] = mean[c]
        norm[1, c] = rstd[c] * gamma[c] if gamma.size else rstd[c]
        norm[2, c] = norm[3, c] = norm[4, c] = 0.0


@compiled()
def factors(norm, dgamma, dbeta, sums, products, rstd, M):
    """dgamma, dbeta, and the norm's q and r, of the sums (parts, C) of g and of g (y - mean); M numbers in all."""
    for c in range(sums.shape[1]):
        s = t = 0.0
        for i in range(sums.shape[0]):
            s += sums[i, c]
            t += products[i, c]
        scale, r = np.float64(norm[1, c]), np.float64(rstd[c])
        if dgamma.size:
            dgamma[c] = t * r
        if dbeta.size:
            dbeta[c] = s
        norm[3, c] = -scale * r * r * t / M
        norm[4, c] = -scale * s / M
