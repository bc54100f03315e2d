"""A convolution and what follows it, as one: activation, pooling or the moments of a norm while a block is hot.

Without a norm the outputs of the convolution never leave the cache: they are pooled at once, and backwards dy is made
from the pooled result, block by block, beside the gradients that it gives. With one they are written once, and read
once to be normalized, activated and pooled; backwards they are read for two sums per channel, and to make dy.
"""

import functools

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import convblock as reference

from . import conv2d, follow
from .conv2d import FLOAT, Convolution
from .layout import Layout
from .moments import begin_gradient, factors, given, merge


def forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, block):
    """z = pool(activation(norm(conv(x))))"""
    if z.itemsize != FLOAT or x.size == 0 or (place is not None and place.itemsize != 1):
        reference.forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, block)
        return
    activation = block.activation
    if block.epsilon is None and block.pool is None:
        conv2d.forward(z, x, W, b, block.window, block.groups, activation, block.fast)
        return
    if block.epsilon is None:
        call = Convolution(x, W, block.window, block.groups, block.fast, block.pool)
        call.forward(None, b, after=after(call, block), follow=call.follow(activation, z=z, place=place))
        return
    call = Convolution(x, W, block.window, block.groups, block.fast)
    cut = call.cut
    means, squares = np.empty((2, cut.blocks * cut.strips, call.O))
    list_of_moments = call.follow(activation, means=means.ctypes.data, squares=squares.ctypes.data)
    call.forward(y, b, after=follow.moments_after, follow=list_of_moments)
    norm = np.empty((5, call.O), np.float32)
    merge(norm, mean, variance, rstd, means, squares, pixels(cut, call.N, call.OH, call.OW), given(gamma), given(beta),
          block.epsilon)  # fmt: skip
    call.pool = block.pool
    list_of_outputs = call.follow(activation, y=y, z=z, place=place, norm=norm.ctypes.data)
    call.again(after(call, block), cut.blocks, list_of_outputs, y)


def after(call, block):
    """What makes z of a block of outputs."""
    if block.pool is None:
        return follow.norm_after
    fast = call.pairs() and block.activation in (Activation.LINEAR, Activation.RELU)
    return follow.pairs_after if fast else follow.pool_after


def backward(dx, dW, db, dgamma, dbeta, dz, x, W, z, place, y, mean, rstd, gamma, block):
    """The gradients; dz stays as it was."""
    if z.itemsize != FLOAT or x.size == 0 or (place is not None and place.itemsize != 1):
        reference.backward(dx, dW, db, dgamma, dbeta, dz, x, W, z, place, y, mean, rstd, gamma, block)
        return
    call = Convolution(x, W, block.window, block.groups, block.fast, block.pool)
    arrays = {"y": y, "z": np.ascontiguousarray(z), "dz": np.ascontiguousarray(dz), "place": place}
    before = follow.gradient_before
    if block.pool is not None:
        before = follow.pairs_before if call.pairs() else follow.unpool_before
    norm = np.empty((5, call.O), np.float32)
    if block.epsilon is not None:
        begin_gradient(norm, mean, rstd, given(gamma))
        sums, pieces = np.zeros((call.cut.pieces, 2, call.O)), call.cut.pieces
        list_of_sums = call.follow(block.activation, **arrays, norm=norm.ctypes.data, sums=sums.ctypes.data)
        add_up = follow.norm_sums if block.pool is None else follow.pooled_sums
        call.again(add_up, pieces, list_of_sums, y, scratch=2 * call.O)
        factors(norm, given(dgamma), given(dbeta), sums[:, 0], sums[:, 1], rstd, y.size // call.O)
    address = 0 if block.epsilon is None else norm.ctypes.data
    call.backward(dx, dW, db, before=before, follow=call.follow(block.activation, **arrays, norm=address))


@functools.lru_cache(256)
def pixels(cut: Layout, N: int, OH: int, OW: int) -> np.ndarray:
    """How many outputs each task of the forward pass makes, per channel."""
    counts = [
        min(cut.per_block, N - k * cut.per_block) * min(cut.strip_rows, OH - i * cut.strip_rows) * OW
        for k in range(cut.blocks)
        for i in range(cut.strips)
    ]
    return np.array(counts, np.float64)
