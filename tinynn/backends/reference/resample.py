"""Resampling of images, in array functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.backends.base import EDGE, Fill
from tinynn.typing import Array


def affine(out: Array, images: Array, matrices: Array, fill: Fill, value: float, order: int) -> None:
    N, H, W, _ = images.shape
    OH, OW = out.shape[1:3]
    m = matrices.reshape(N, 6, 1, 1)
    i, j = np.arange(OH, dtype=np.float64, like=m).reshape(1, OH, 1), np.arange(OW, dtype=np.float64, like=m)
    r = (m[:, 0] * i + m[:, 2]) + m[:, 1] * j
    c = (m[:, 3] * i + m[:, 5]) + m[:, 4] * j
    outside = (r < -EDGE) | (r > H - 1 + EDGE) | (c < -EDGE) | (c > W - 1 + EDGE)
    whole = np.all(matrices == np.rint(matrices), axis=(1, 2)).reshape(N, 1, 1)
    nearest = whole if order == 1 else np.ones_like(whole)
    first_r, first_c = (np.floor(np.where(nearest, v + 0.5, v)) for v in (r, c))
    at = [np.clip(v, -(2.0**30), 2.0**30).astype(np.int64) for v in (first_r, first_c)]
    n = np.arange(N, like=m).reshape(N, 1, 1)
    corners = [
        images[n, index(at[0] + a, H, fill), index(at[1] + b, W, fill)] for a in (0, 1) for b in (0, 1)
    ]  # each (N, OH, OW, C)
    fr, fc = ((v - first).astype(np.float32)[..., None] for v, first in ((r, first_r), (c, first_c)))
    a, b, d, e = (corner.astype(np.float32) for corner in corners)
    top, bottom = a + fc * (b - a), d + fc * (e - d)
    result = np.where(nearest[..., None], a, top + fr * (bottom - top))
    if fill == Fill.CONSTANT:
        result = np.where(outside[..., None], np.float32(value), result)
    out[...] = np.floor(result + np.float32(0.5)).astype(out.dtype) if out.dtype.kind == "u" else result


def index(k: Array, n: int, fill: Fill) -> Any:
    """The place in 0 .. n-1 whose value stands for place k."""
    if fill == Fill.REFLECT:
        k = k % (2 * n)
        return np.minimum(k, 2 * n - 1 - k)
    return k % n if fill == Fill.WRAP else np.clip(k, 0, n - 1)
