"""A convolution and what follows it, as one: z = pool(activation(norm(conv(x)))), made of the kernels of its parts.

x (N, H, W, C), y and v (N, OH, OW, O): what the convolution gives, and what of it is left after the norm;
z (N, rows, columns, O): v itself, or pooled, then activated. An activation that rises commutes with max pooling.
"""

from __future__ import annotations

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.base import Block
from tinynn.backends.reference import activation as activations
from tinynn.backends.reference import batchnorm, conv2d, pool2d
from tinynn.typing import Array


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
    v = between(x, W, block) if block.pool is not None else z
    if y is None:
        conv2d.forward(v, x, W, b, block.window, block.groups, Activation.LINEAR, block.fast)
    else:
        assert mean is not None and variance is not None and rstd is not None and block.epsilon is not None
        conv2d.forward(y, x, W, b, block.window, block.groups, Activation.LINEAR, block.fast)
        batchnorm.forward(rows(v), mean, variance, rstd, rows(y), gamma, beta, block.epsilon)
    if block.pool is not None:
        pool2d.max_forward(z, place, v, block.pool)
    activations.forward(z, z, block.activation)


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
    """dz f'(z), then to its place in dv, back through the norm to dy, and through the convolution:

    activation is one whose derivative follows from z, so the largest of each window is all that has to be known.
    """
    dy = between(x, W, block)  # dv first
    if block.pool is None:
        activations.backward(dy, dz, None, z, block.activation)
    else:
        assert place is not None
        activations.backward(dz, dz, None, z, block.activation)
        pool2d.max_backward(dy, dz, place, block.pool)
    if y is not None:
        assert mean is not None and rstd is not None
        batchnorm.backward(rows(dy), dgamma, dbeta, rows(dy), rows(y), mean, rstd, gamma)
    conv2d.backward(dx, dW, db, dy, x, W, dy, block.window, block.groups, Activation.LINEAR, block.fast)


def between(x: Array, W: Array, block: Block) -> Array:
    """An array for what the convolution gives: (N, OH, OW, O)."""
    shape = (x.shape[0], *block.window.output(x.shape[1], x.shape[2]), W.shape[3])
    return np.empty_like(W, shape=shape, order="C")


def rows(array: Array) -> Array:
    """(N, OH, OW, O) as (N OH OW, O)."""
    return array.reshape(-1, array.shape[3])
