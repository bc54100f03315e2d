"""Dropout and noise from Philox: element e takes word e % 4 of the block (e // 4, step, substream, call).

Source: N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014 (inverted form).
"""

from __future__ import annotations

import math

import numpy as np

from tinynn.philox import philox
from tinynn.typing import Array

Key = tuple[int, int]


def words(n: int, like: Array, key: Key, step: Array, substream: int, call: int) -> Array:
    """The first n 32-bit words of a draw, as uint64 on the device of ``like``."""
    block = np.arange((n + 3) // 4, dtype=np.uint64, like=like)
    zero = block * np.uint64(0)
    counter = block, zero + step.astype(np.uint64), zero + np.uint64(substream), zero + np.uint64(call)
    return np.stack(philox(counter, key), axis=1).reshape(-1)[:n]


def threshold(rate: float) -> int:
    """word >= rate 2**32 among integers."""
    return math.ceil(rate * 2.0**32)


def forward(y: Array, mask: Array, x: Array, rate: float, key: Key, step: Array, substream: int, call: int) -> None:
    w = words(x.size, x, key, step, substream, call)
    mask[...] = (w >= np.uint64(threshold(rate))).reshape(x.shape)
    backward(y, x, mask, rate)


def backward(dx: Array, dy: Array, mask: Array, rate: float) -> None:
    np.multiply(dy, mask, out=dx)
    np.multiply(dx, 1.0 / (1.0 - rate), out=dx)


def normal(out: Array, stddev: float, key: Key, step: Array, substream: int, call: int) -> None:
    """sqrt(-2 ln u1) (cos, sin)(2 pi u2), with u1 = (w0 + 1) / 2**32 in (0, 1] and u2 = w1 / 2**32"""
    n = out.size
    pairs = words(2 * ((n + 1) // 2), out, key, step, substream, call).astype(np.float64).reshape(-1, 2)
    u1, u2 = (pairs[:, 0] + 1.0) * 2.0**-32, pairs[:, 1] * 2.0**-32
    radius, angle = stddev * np.sqrt(-2.0 * np.log(u1)), (2.0 * math.pi) * u2
    z = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=1).reshape(-1)[:n]
    out[...] = z.reshape(out.shape)
