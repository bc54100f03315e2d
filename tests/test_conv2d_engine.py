"""Convolutions on the CPU at sizes where blocks, pieces, strips and threads come in; the table has the small ones."""

import numpy as np
import pytest

from tinynn.activation import Activation
from tinynn.backends import get
from tinynn.backends.base import Block
from tinynn.backends.cpu import convblock, threads
from tinynn.backends.cpu.layout import layout
from tinynn.backends.cpu.winograd import F23, F25, F43
from tinynn.backends.reference import activation as activations
from tinynn.backends.reference import batchnorm as norms
from tinynn.backends.reference import conv2d as reference
from tinynn.backends.reference import pool2d as pools
from tinynn.window import Window

CPU = get("cpu").conv2d
ONE = ((1, 1), (1, 1))
PAIRS = Window((2, 2), (2, 2))
OVERLAPPING = Window((3, 3), (2, 2), ((0, 1), (0, 1)))

# images, kernel, filters, window; the last two are cut into strips.
SHAPES = {
    "winograd": ((40, 16, 16, 32), 48, Window((3, 3), padding=ONE)),
    "winograd_odd": ((33, 9, 7, 16), 32, Window((3, 3), padding=ONE)),
    "winograd_valid": ((20, 12, 12, 32), 16, Window((3, 3))),
    "winograd_two_tiles": ((30, 8, 8, 16), 32, Window((3, 3))),
    "winograd_for_inputs": ((90, 1, 1, 16), 32, Window((3, 3), padding=((2, 2), (1, 1)))),
    "winograd_5x5": ((30, 9, 11, 32), 16, Window((5, 5), padding=((2, 2), (2, 2)))),
    "direct_valid": ((20, 12, 12, 32), 64, Window((5, 5))),
    "direct_few_channels": ((30, 18, 18, 3), 20, Window((3, 3), padding=ONE)),
    "strided": ((20, 15, 16, 16), 32, Window((3, 3), (2, 2), ONE)),
    "tiny_images": ((200, 2, 2, 32), 32, Window((3, 3), padding=ONE)),
    "one_large": ((1, 130, 128, 16), 16, Window((3, 3), padding=ONE)),
    "large_strided": ((2, 161, 150, 8), 16, Window((5, 5), (2, 3), ((2, 2), (1, 2)))),
}
FAST = ["winograd", "winograd_two_tiles", "winograd_5x5", "direct_valid"]
"""Where fast math makes a difference; in "direct_valid" the gradient of the inputs stays direct."""


def draw(*shape, seed=0):
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def problem(name):
    images, filters, window = SHAPES[name]
    x, W, b = draw(*images), draw(*window.size, images[3], filters), draw(filters)
    W /= np.sqrt(W[..., 0].size)
    y_shape = images[0], *window.output(*images[1:3]), filters
    return x, W, b, draw(*y_shape, seed=1), window


def doubles(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


def close(found, expected, tolerance):
    assert np.abs(found - expected).max() <= tolerance * max(np.abs(expected).max(), 1e-3)


@pytest.mark.parametrize("activation", [Activation.LINEAR, Activation.RELU, Activation.TANH])
@pytest.mark.parametrize("name", SHAPES)
def test_large_convolutions_agree_with_the_reference(name, activation):
    x, W, b, dy, window = problem(name)
    y, grads = np.empty_like(dy), [np.empty_like(a) for a in (x, W, b)]
    CPU.forward(y, x, W, b, window, 1, activation, False)
    CPU.backward(*grads, dy.copy(), x, W, y, window, 1, activation, False)
    known, expected = np.empty(y.shape), [np.empty(a.shape) for a in (x, W, b)]
    reference.forward(known, *doubles(x, W, b), window, 1, activation, False)
    reference.backward(*expected, *doubles(dy, x, W, y), window, 1, activation, False)
    close(y, known, 5e-6)
    for found, gradient in zip(grads, expected, strict=True):
        close(found, gradient, 5e-6)


def test_each_algorithm_is_met():
    """What the names above promise."""
    cuts = {name: layout(*s[0], s[1], s[2], 1, False, 1) for name, s in SHAPES.items()}
    assert {name for name, cut in cuts.items() if cut.variant is F23} >= {"winograd", "winograd_odd", "one_large"}
    assert {name for name, cut in cuts.items() if not cut.variant} >= {"direct_valid", "strided", "large_strided"}
    assert {name for name, cut in cuts.items() if cut.strips > 1} == {"one_large", "large_strided"}
    assert cuts["winograd"].pieces > 1
    assert cuts["tiny_images"].per_block > 1
    assert not cuts["direct_valid"].copies


def test_the_gradient_of_the_inputs_has_an_algorithm_of_its_own():
    def chosen(name, fast):
        images, filters, window = SHAPES[name]
        cut = layout(*images, filters, window, 1, fast, 1)
        return cut.variant, cut.inputs_variant

    assert chosen("winograd", False) == (F23, F23)
    assert chosen("winograd", True) == (F43, F43)
    assert chosen("winograd_two_tiles", True) == (F23, F43)
    assert chosen("winograd_for_inputs", False) == (None, F23)
    assert chosen("winograd_5x5", False) == (None, None)
    assert chosen("winograd_5x5", True) == (F25, F25)
    assert chosen("direct_valid", True) == (F25, None)


@pytest.mark.parametrize("name", FAST)
def test_fast_math_rounds_more_and_is_close(name):
    x, W, b, dy, window = problem(name)
    y, exact = np.empty_like(dy), np.empty(dy.shape)
    CPU.forward(y, x, W, b, window, 1, Activation.LINEAR, True)
    reference.forward(exact, *doubles(x, W, b), window, 1, Activation.LINEAR, False)
    close(y, exact, 1e-4)
    grads, expected = [np.empty_like(a) for a in (x, W, b)], [np.empty(a.shape) for a in (x, W, b)]
    CPU.backward(*grads, dy.copy(), x, W, y, window, 1, Activation.LINEAR, True)
    reference.backward(*expected, *doubles(dy, x, W, y), window, 1, Activation.LINEAR, False)
    for found, gradient in zip(grads, expected, strict=True):
        close(found, gradient, 1e-4)


def fused(x, W, b, window, activation, norm, pool, fast=False):
    """The results of a block, forward and backward, by the cpu backend."""
    block = Block(window, 1, activation, pool, 1e-3 if norm else None, fast)
    y_shape = x.shape[0], *window.output(*x.shape[1:3]), W.shape[3]
    z_shape = y_shape if pool is None else (x.shape[0], *pool.output(*y_shape[1:3]), W.shape[3])
    z, place = np.empty(z_shape, np.float32), None if pool is None else np.empty(z_shape, np.uint8)
    gamma, beta = (1 + draw(W.shape[3], seed=2) / 4, draw(W.shape[3], seed=3)) if norm else (None, None)
    y = np.empty(y_shape, np.float32) if norm else None
    mean, variance, rstd = (np.empty_like(b) for _ in range(3)) if norm else (None, None, None)
    convblock.forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, block)
    dx, dW, db = np.empty_like(x), np.empty_like(W), np.empty_like(b)
    dgamma, dbeta = (np.empty_like(b), np.empty_like(b)) if norm else (None, None)
    dz = draw(*z_shape, seed=4)
    convblock.backward(dx, dW, db, dgamma, dbeta, dz.copy(), x, W, z, place, y, mean, rstd, gamma, block)
    found = {"z": z, "mean": mean, "variance": variance, "dx": dx, "dW": dW, "db": db, "dgamma": dgamma, "dbeta": dbeta}
    return found, gamma, beta, dz


def unfused(x, W, b, gamma, beta, window, activation, pool, dz):
    """The same, step by step, by the reference in float64."""
    x, W, b, gamma, beta, dz = doubles(x, W, b, gamma, beta, dz)
    channels = W.shape[3]
    y = np.empty((x.shape[0], *window.output(*x.shape[1:3]), channels))
    reference.forward(y, x, W, b, window, 1, Activation.LINEAR, False)
    v, rows = y, (-1, channels)
    mean, variance, rstd, dgamma, dbeta = np.empty((5, channels)) if gamma is not None else (None,) * 5
    if gamma is not None:
        v = np.empty_like(y)
        norms.forward(v.reshape(rows), mean, variance, rstd, y.reshape(rows), gamma, beta, 1e-3)
    f = np.empty_like(v)
    activations.forward(f, v, activation)
    z, df = f, dz
    if pool is not None:
        z, place, df = np.empty_like(dz), np.empty(dz.shape, np.uint8), np.empty_like(f)
        pools.max_forward(z, place, f, pool)
        pools.max_backward(df, dz, place, pool)
    dy = np.empty_like(f)
    activations.backward(dy, df, None, f, activation)
    if gamma is not None:
        norms.backward(dy.reshape(rows), dgamma, dbeta, dy.reshape(rows), y.reshape(rows), mean, rstd, gamma)
    dx, dW, db = np.empty_like(x), np.empty_like(W), np.empty_like(b)
    reference.backward(dx, dW, db, dy, x, W, y, window, 1, Activation.LINEAR, False)
    return {"z": z, "mean": mean, "variance": variance, "dx": dx, "dW": dW, "db": db, "dgamma": dgamma, "dbeta": dbeta}


@pytest.mark.parametrize("activation", [Activation.RELU, Activation.TANH, Activation.LINEAR])
@pytest.mark.parametrize("pool", [None, PAIRS, OVERLAPPING], ids=["", "pairs", "overlapping"])
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "plain"])
@pytest.mark.parametrize("name", ["winograd", "direct_valid", "winograd_odd", "one_large"])
def test_blocks_agree_with_their_parts(name, norm, pool, activation):
    agree(name, norm, pool, activation, False, 2e-5)


@pytest.mark.parametrize("pool", [None, PAIRS, OVERLAPPING], ids=["", "pairs", "overlapping"])
@pytest.mark.parametrize("name", FAST)
def test_blocks_agree_in_fast_math(name, pool):
    agree(name, False, pool, Activation.TANH, True, 2e-4)


def agree(name, norm, pool, activation, fast, tolerance):
    """A block, and its parts one by one."""
    x, W, b, _, window = problem(name)
    found, gamma, beta, dz = fused(x, W, b, window, activation, norm, pool, fast)
    expected = unfused(x, W, b, gamma, beta, window, activation, pool, dz)
    if norm:
        # The bias before a norm changes nothing; what is left of its gradient is rounding, beside sums of this size.
        assert np.abs(found.pop("db")).max() <= 1e-5 * np.abs(dz).sum(axis=(0, 1, 2)).max()
        expected.pop("db")
    for key, value in expected.items():
        if value is not None:
            close(found[key], value, tolerance)


@pytest.fixture
def with_threads():
    before = threads.get_num_threads()
    yield threads.set_num_threads
    threads.set_num_threads(before)


def results(name, fast):
    x, W, b, dy, window = problem(name)
    y, grads = np.empty_like(dy), [np.empty_like(a) for a in (x, W, b)]
    CPU.forward(y, x, W, b, window, 1, Activation.RELU, fast)
    CPU.backward(*grads, dy.copy(), x, W, y, window, 1, Activation.RELU, fast)
    return [y, *grads, *(a for a in fused(x, W, b, window, Activation.RELU, True, PAIRS, fast)[0].values())]


@pytest.mark.parametrize("fast", [False, True], ids=["", "fast"])
@pytest.mark.parametrize("name", SHAPES)
def test_any_number_of_threads_gives_the_same_bytes(name, fast, with_threads):
    found = []
    for count in (1, 2, 3):
        with_threads(count)
        found.append([a.tobytes() for a in results(name, fast)])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("fast", [False, True], ids=["", "fast"])
@pytest.mark.parametrize("name", ["winograd", "direct_valid", "tiny_images", "strided"])
def test_a_prediction_does_not_depend_on_its_batch(name, fast):
    x, W, b, dy, window = problem(name)
    whole = np.empty_like(dy)
    CPU.forward(whole, x, W, b, window, 1, Activation.RELU, fast)
    for rows in (slice(0, 1), slice(3, 10)):
        part = np.empty_like(dy[rows])
        CPU.forward(part, x[rows], W, b, window, 1, Activation.RELU, fast)
        assert part.tobytes() == whole[rows].tobytes()


@pytest.mark.parametrize("fast", [False, True], ids=["", "fast"])
@pytest.mark.parametrize("name", ["winograd", "direct_valid", "direct_few_channels"])
def test_nan_and_infinity_survive(name, fast):
    x, W, b, dy, window = problem(name)
    x[1, 4, 4, 0], x[2, 5, 5, 1] = np.nan, np.inf
    y = np.empty_like(dy)
    CPU.forward(y, x, W, b, window, 1, Activation.RELU, fast)
    assert np.isnan(y[1]).any()
    assert not np.isfinite(y[2]).all()
    assert np.isfinite(y[3:]).all()


@pytest.mark.parametrize("name", ["winograd_odd", "winograd_5x5", "winograd_two_tiles", "winograd_for_inputs"])
def test_memory_around_the_results_is_left_alone(name):
    """Blocks hang over edges inside scratch memory only."""
    x, W, b, dy, window = problem(name)
    guard, room = np.float32(7.25), 1024
    for fast in (False, True):
        memory = np.full(dy.size + 2 * room, guard, np.float32)
        CPU.forward(memory[room:-room].reshape(dy.shape), x, W, b, window, 1, Activation.LINEAR, fast)
        assert (memory[:room] == guard).all()
        assert (memory[-room:] == guard).all()
        memory = np.full(x.size + 2 * room, guard, np.float32)
        dx = memory[room:-room].reshape(x.shape)
        CPU.backward(dx, np.empty_like(W), np.empty_like(b), dy.copy(), x, W, dy, window, 1, Activation.LINEAR, fast)
        assert (memory[:room] == guard).all()
        assert (memory[-room:] == guard).all()
