"""Activations of arrays that several threads share; small ones are in the table and in test_ops.py."""

import numpy as np
import pytest

from tinynn.activation import Activation
from tinynn.backends.cpu import activation, threads
from tinynn.backends.reference import activation as reference

KINDS = [Activation.RELU, Activation.LEAKY_RELU, Activation.TANH, Activation.SWISH]
SIZE = activation.PARALLEL_FROM + 1005  # of no vector's multiple


def numbers(seed):
    x = np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)
    x[:8] = 0.0, -0.0, np.nan, np.inf, -np.inf, 1e-41, -1e-41, np.nan
    x[-2:] = np.nan, -1.0
    return x


def results(kind, count, small=False):
    """y, y in place, dx, dx in place; ``small``: each piece by itself, as arrays of that size are done."""
    before = threads.get_num_threads()
    threads.set_num_threads(count)
    try:
        x, dy = numbers(0), numbers(1)
        y, again, dx, in_place = np.empty_like(x), x.copy(), np.empty_like(x), dy.copy()
        for part in [slice(k, k + 1000) for k in range(0, SIZE, 1000)] if small else [slice(None)]:
            activation.forward(y[part], x[part], kind)
            activation.forward(again[part], again[part], kind)
            activation.backward(dx[part], dy[part], x[part], y[part], kind)
            activation.backward(in_place[part], in_place[part], x[part], y[part], kind)
        return [y, again, dx, in_place]
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_large_arrays_have_the_bytes_of_small_ones_and_of_any_number_of_threads(kind):
    y, again, dx, in_place = (a.tobytes() for a in results(kind, 1, small=True))
    assert y == again and dx == in_place
    for count in (1, 2, 3):
        assert [a.tobytes() for a in results(kind, count)] == [y, again, dx, in_place]


def test_large_relu_is_the_reference():
    x, dy = numbers(0), numbers(1)
    y, dx = np.empty_like(x), np.empty_like(x)
    reference.forward(y, x, Activation.RELU)
    reference.backward(dx, dy, x, y, Activation.RELU)
    found = results(Activation.RELU, 2)
    np.testing.assert_array_equal(found[0], y)
    np.testing.assert_array_equal(found[2], dx)
