"""Layer normalization of x (M, F) over F: y = gamma (x - mean) rstd + beta; mean, rstd (M,), gamma, beta (F,) or None.

Sums run in float64. Source: J. Ba, J. Kiros, G. Hinton, "Layer normalization", 2016.
"""

from __future__ import annotations

import numpy as np

from tinynn.typing import Array


def forward(
    y: Array, mean: Array, rstd: Array, x: Array, gamma: Array | None, beta: Array | None, epsilon: float
) -> None:
    m: Array = np.mean(x, axis=1, dtype=np.float64)
    centred = x - m[:, None]
    r: Array = 1.0 / np.sqrt(np.mean(centred * centred, axis=1) + epsilon)
    mean[...], rstd[...] = m, r
    xhat = centred * r[:, None]
    if gamma is not None:
        xhat = xhat * gamma
    y[...] = xhat if beta is None else xhat + beta


def backward(
    dx: Array | None,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
) -> None:
    xhat = (x - mean[:, None]) * rstd[:, None]
    if dgamma is not None:
        dgamma[...] = np.sum(dy * xhat, axis=0, dtype=np.float64)
    if dbeta is not None:
        dbeta[...] = np.sum(dy, axis=0, dtype=np.float64)
    if dx is not None:
        g = dy if gamma is None else dy * gamma
        s = np.mean(g, axis=1, dtype=np.float64, keepdims=True)
        t = np.mean(g * xhat, axis=1, dtype=np.float64, keepdims=True)
        dx[...] = rstd[:, None] * (g - s - xhat * t)
