"""Batch normalization of x (M, C) over M: y = gamma (x - mean) rstd + beta; all others (C,), gamma and beta or None.

Sums run in float64, because the mean of many float32 numbers far from zero would lose the digits that the variance
needs. Source: S. Ioffe, C. Szegedy, "Batch normalization", 2015.
"""

from __future__ import annotations

import numpy as np

from tinynn.typing import Array


def forward(
    y: Array,
    mean: Array,
    variance: Array,
    rstd: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float,
) -> None:
    m = np.mean(x, axis=0, dtype=np.float64)
    centred = x - m
    v = np.mean(centred * centred, axis=0)
    r = 1.0 / np.sqrt(v + epsilon)
    mean[...], variance[...], rstd[...] = m, v, r
    y[...] = affine(centred * r, gamma, beta)


def inference(
    y: Array, x: Array, mean: Array, variance: Array, gamma: Array | None, beta: Array | None, epsilon: float
) -> None:
    y[...] = affine((x - mean) / np.sqrt(variance + epsilon), gamma, beta)


def affine(xhat: Array, gamma: Array | None, beta: Array | None) -> Array:
    """gamma xhat + beta"""
    if gamma is not None:
        xhat = xhat * gamma
    return xhat if beta is None else xhat + beta


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
    """mean and rstd depend on x too, hence the two means that are subtracted."""
    xhat = (x - mean) * rstd
    s = np.sum(dy, axis=0, dtype=np.float64)
    t = np.sum(dy * xhat, axis=0, dtype=np.float64)
    if dx is not None:
        scale = rstd if gamma is None else gamma * rstd
        dx[...] = scale * (dy - s / x.shape[0] - xhat * (t / x.shape[0]))
    write(dgamma, t)
    write(dbeta, s)


def inference_backward(
    dx: Array | None,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
) -> None:
    """mean and rstd are constants."""
    write(dgamma, np.sum(dy * ((x - mean) * rstd), axis=0, dtype=np.float64))
    write(dbeta, np.sum(dy, axis=0, dtype=np.float64))
    if dx is not None:
        dx[...] = dy * (rstd if gamma is None else gamma * rstd)


def write(out: Array | None, value: Array) -> None:
    if out is not None:
        out[...] = value


def update(moving: Array, batch: Array, momentum: float, scale: Array | None = None) -> None:
    wanted = np.isfinite(batch) if scale is None else np.isfinite(batch) & (scale != 0)
    moving[...] = np.where(wanted, momentum * moving + (1.0 - momentum) * batch, moving)
