"""Batch normalization of x (M, C) over M: y = gamma (x - mean) rstd + beta; all others (C,), gamma and beta or None.

Forward is two launches, backward too: one reads the rows and leaves a part of the sums for each run of rows, the other
adds the parts up, in a fixed order, and goes over the numbers. Moments are those of x - x[0], merged by Chan's formula,
so that float32 is enough. Sources: S. Ioffe, C. Szegedy, "Batch normalization", 2015; T. Chan, G. Golub, R. LeVeque,
"Updating formulae and a pairwise algorithm for computing sample variances", 1979.
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.channels import THREADS, cut, cut_for_sums
from tinynn.backends.gpu.cuda import Source, contiguous, given
from tinynn.typing import Array

SOURCE = Source("batchnorm", "activations", "packs", "channels", "moments")
LINEAR = NUMBER[Activation.LINEAR], 0.0


def forward(
    y: Array,
    mean: Array,
    variance: Array,
    rstd: Array,
    x: Array,
    gamma: Array | None,
    beta: Array | None,
    epsilon: float,
    activation: Activation = Activation.LINEAR,
) -> None:
    """y = gamma (x - mean) rstd + beta of the batch's mean and biased variance; rstd = 1 / sqrt(variance + epsilon)

    A convolution's block adds its activation.
    """
    M, C = x.shape
    if not x.size:
        for statistic in (mean, variance, rstd):
            statistic.fill(float("nan"))
        return
    x = contiguous(x)
    parts, runs, part_rows = moments(x)
    grid, width, rows = cut(M, C, x.itemsize)
    SOURCE.launch(
        "batchnorm_forward", grid, THREADS, y, mean, variance, rstd, x, given(gamma), given(beta), parts, runs,
        part_rows, float(epsilon), NUMBER[activation], alpha_of(activation), width, rows, M, C,
    )  # fmt: skip


def moments(x: Array) -> tuple[Array, int, int]:
    """The parts (runs, 2, C) of each run of rows: the mean of x - x[0], the sum of squares about it; runs, and rows."""
    M, C = x.shape
    grid, width, rows = cut_for_sums(M, C, x.itemsize)
    parts = cuda.cupy.empty((grid[1], 2, C), x.dtype)
    SOURCE.launch("batchnorm_moments", grid, THREADS, parts, x, width, rows, M, C)
    return parts, grid[1], rows


def inference(
    y: Array, x: Array, mean: Array, variance: Array, gamma: Array | None, beta: Array | None, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta"""
    M, C = x.shape
    if not x.size:
        return
    grid, width, rows = cut(M, C, x.itemsize)
    SOURCE.launch(
        "batchnorm_inference", grid, THREADS, y, contiguous(x), contiguous(mean), contiguous(variance), given(gamma),
        given(beta), float(epsilon), width, rows, M, C,
    )  # fmt: skip


def backward(
    dx: Array | None,
    dgamma: Array | None,
    dbeta: Array | None,
    dy: Array,
    x: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
    z: Array | None = None,
    activation: Activation = Activation.LINEAR,
    constant: bool = False,
) -> None:
    """dx = gamma rstd (dy - mean(dy) - xhat mean(dy xhat)), dgamma = sum dy xhat, dbeta = sum dy. dx may be dy.

    A convolution's block has an activation: dy is the gradient of its output z. constant: of mean and rstd, which then
    do not follow x.
    """
    M, C = x.shape
    if not x.size:
        for gradient in (dgamma, dbeta):
            if gradient is not None:
                gradient.fill(0)
        return
    dy, x, mean, rstd = map(contiguous, (dy, x, mean, rstd))
    kind, alpha = NUMBER[activation], alpha_of(activation)
    parts, runs = None, 0
    if not constant or dgamma is not None or dbeta is not None:
        grid, width, rows = cut_for_sums(M, C, x.itemsize)
        runs = grid[1]
        parts = cuda.cupy.empty((runs, 2, C), x.dtype)
        SOURCE.launch(
            "batchnorm_sums", grid, THREADS, parts, dy, z, x, mean, rstd, kind, alpha, width, rows, M, C
        )  # fmt: skip
    grid, width, rows = cut(M, C, x.itemsize)
    if dx is None:
        grid = (grid[0], 1)
    SOURCE.launch(
        "batchnorm_backward", grid, THREADS, dy, dx, dgamma, dbeta, z, x, mean, rstd, given(gamma), parts, runs,
        constant, kind, alpha, width, rows, M, C,
    )  # fmt: skip


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
    """The same with given statistics: dx = gamma rstd dy. dx may be dy."""
    if dx is not None or dgamma is not None or dbeta is not None:
        backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma, constant=True)


def update(moving: Array, batch: Array, momentum: float, scale: Array | None = None) -> None:
    """moving = momentum moving + (1 - momentum) batch, where batch is finite and scale (one element or None) not 0."""
    batch = contiguous(batch.astype(moving.dtype, copy=False))
    scale = None if scale is None else scale.astype("float64", copy=False)
    SOURCE.each("batchnorm_update", moving.size, moving, batch, scale, float(momentum))
