"""Resampling of images by affine maps of their coordinates: one launch, whatever the matrices are."""

from __future__ import annotations

from tinynn.backends.base import Fill
from tinynn.backends.gpu.cuda import THREADS, Source, ceil_div, contiguous
from tinynn.typing import Array

SOURCE = Source("resample", options=("--fmad=false",))
MOST_BLOCKS = 65535
"""Along each axis of a grid."""
NAMES = {"B": "bytes", "f": "floats"}


def affine(out: Array, images: Array, matrices: Array, fill: Fill, value: float, order: int) -> None:
    """out[n, i, j] = images[n] at the point (r, c), with (r, c) = matrices[n] (i, j, 1)

    out (N, OH, OW, C) and images (N, H, W, C), both uint8, both float32, or float32 from uint8; matrices (N, 2, 3).
    """
    if out.size:
        kernel = f"affine_{NAMES[images.dtype.char]}_to_{NAMES[out.dtype.char]}"
        N, H, W, C = images.shape
        OH, OW = out.shape[1:3]
        grid = min(ceil_div(OH * OW, THREADS), MOST_BLOCKS), min(N, MOST_BLOCKS)
        matrices = contiguous(matrices.astype("float64", copy=False))
        constants = int(fill), float(value), int(order)
        SOURCE.launch(kernel, grid, THREADS, matrices, out, contiguous(images), *constants, N, H, W, C, OH, OW)
