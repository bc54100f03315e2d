"""A convolution and what follows it, as one: z = pool(activation(norm(conv(x)))).

x (N, H, W, C), y (N, OH, OW, O) what the convolution gives, z (N, rows, columns, O). Besides the convolution, forward
is two launches with a norm (the moments of y; then all that follows, on each number of y once) and one with a pool
alone; backward is two with a norm (its sums; then the gradient of y) and one with a pool alone. The activation comes
after the pool: it rises, so that they change places, and it has fewer numbers to act on.
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.base import Block
from tinynn.backends.gpu import batchnorm, conv2d, cuda, pool2d
from tinynn.backends.gpu.activation import NUMBER, alpha_of
from tinynn.backends.gpu.channels import THREADS, cut, cut_for_sums
from tinynn.backends.gpu.cuda import Source, contiguous, given
from tinynn.backends.gpu.pool2d import arguments_of, places_of
from tinynn.typing import Array

SOURCE = Source("convblock", "activations", "packs", "channels", "moments", "windows")


def forward(
    z: Array,
    place: Array | None,
    y: Array | None,
    mean: Array | None,
    variance: Array | None,
    rstd: Array | None,
    x: Array,
    W: Array,
    b: Array | None,
    gamma: Array | None,
    beta: Array | None,
    block: Block,
) -> None:
    """y = conv(x); mean, variance, rstd of its rows; z = f(pool(gamma (y - mean) rstd + beta)). No norm: y is None."""
    kind = block.activation
    if y is not None:
        conv2d.forward(y, x, W, b, block.window, block.groups, Activation.LINEAR, block.fast)
        if block.pool is None:
            batchnorm.forward(rows(z), mean, variance, rstd, rows(y), gamma, beta, block.epsilon, kind)
        else:
            normalize_and_pool(z, place, y, mean, variance, rstd, gamma, beta, block)
    elif block.pool is None:
        conv2d.forward(z, x, W, b, block.window, block.groups, kind, block.fast)
    else:
        v = between(x, W, block)
        conv2d.forward(v, x, W, b, block.window, block.groups, Activation.LINEAR, block.fast)
        pool2d.max_forward(z, place, v, block.pool, kind)


def normalize_and_pool(
    z: Array,
    place: Array | None,
    y: Array,
    mean: Array,
    variance: Array,
    rstd: Array,
    gamma: Array | None,
    beta: Array | None,
    block: Block,
) -> None:
    """z = f(pool(gamma (y - mean) rstd + beta)), with the statistics of y, which are outputs too"""
    if not z.size:
        batchnorm.forward(rows(y), mean, variance, rstd, rows(y), gamma, beta, block.epsilon)
        return
    M, C = rows(y).shape
    outputs = rows(z).shape[0]
    parts, runs, part_rows = batchnorm.moments(rows(y))
    grid, width, run = cut(outputs, C, y.itemsize)
    SOURCE.launch(
        "convblock_forward", grid, THREADS, z, *places_of(place), mean, variance, rstd, y, given(gamma), given(beta),
        parts, runs, part_rows, float(block.epsilon), NUMBER[block.activation], alpha_of(block.activation),
        *arguments_of(block.pool, y, z), width, run, M, outputs, C,
    )  # fmt: skip


def backward(
    dx: Array | None,
    dW: Array | None,
    db: Array | None,
    dgamma: Array | None,
    dbeta: Array | None,
    dz: Array,
    x: Array,
    W: Array,
    z: Array,
    place: Array | None,
    y: Array | None,
    mean: Array | None,
    rstd: Array | None,
    gamma: Array | None,
    block: Block,
) -> None:
    """dz f'(z) goes to the largest of each window, through the norm and through the convolution. dz is overwritten."""
    kind, dz = block.activation, contiguous(dz)
    if y is None and block.pool is None:
        conv2d.backward(dx, dW, db, dz, x, W, z, block.window, block.groups, kind, block.fast)
        return
    if block.pool is None:
        dy = dz
        batchnorm.backward(rows(dy), dgamma, dbeta, rows(dz), rows(y), mean, rstd, gamma, rows(z), kind)
    else:
        dy = between(x, W, block)
        if y is None:
            pool2d.max_backward(dy, dz, place, block.pool, z, kind)
        else:
            back_to_convolution(dy, dgamma, dbeta, dz, z, place, y, mean, rstd, gamma, block)
    conv2d.backward(dx, dW, db, dy, x, W, dy, block.window, block.groups, Activation.LINEAR, block.fast)


def back_to_convolution(
    dy: Array,
    dgamma: Array | None,
    dbeta: Array | None,
    dz: Array,
    z: Array,
    place: Array,
    y: Array,
    mean: Array,
    rstd: Array,
    gamma: Array | None,
    block: Block,
) -> None:
    """The gradient of y through activation, pool and norm, and those of gamma and beta"""
    if not z.size:
        batchnorm.backward(rows(dy), dgamma, dbeta, rows(dy), rows(y), mean, rstd, gamma)
        return
    M, C = rows(y).shape
    outputs = rows(z).shape[0]
    kind, alpha, window = NUMBER[block.activation], alpha_of(block.activation), arguments_of(block.pool, y, z)
    places = places_of(place)
    grid, width, run = cut_for_sums(outputs, C, y.itemsize)
    runs = grid[1]
    parts = cuda.cupy.empty((runs, 2, C), y.dtype)
    SOURCE.launch(
        "convblock_sums", grid, THREADS, parts, dz, z, *places, y, mean, rstd, kind, alpha, *window, width, run,
        outputs, C,
    )  # fmt: skip
    grid, width, run = cut(M, C, y.itemsize)
    SOURCE.launch(
        "convblock_backward", grid, THREADS, dy, dgamma, dbeta, dz, z, *places, y, mean, rstd, given(gamma), parts,
        runs, kind, alpha, *window, width, run, M, C,
    )  # fmt: skip


def between(x: Array, W: Array, block: Block) -> Array:
    """An array for what the convolution gives: (N, OH, OW, O)."""
    shape = (x.shape[0], *block.window.output(x.shape[1], x.shape[2]), W.shape[3])
    return cuda.cupy.empty(shape, W.dtype)


def rows(array: Array) -> Array:
    """(N, OH, OW, O) as (N OH OW, O)."""
    return array.reshape(-1, array.shape[3])
