"""Numbers too small for a normalized float32 count as 0 in kernels that ask for it, and nowhere else."""

import platform

import numpy as np
import pytest

from tinynn.backends.base import State
from tinynn.backends.cpu import batchnorm, optimizers, threads

pytestmark = pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="x86 alone has the switch"
)
TINY = np.float32(1e-41)
PARALLEL = optimizers.PARALLEL_FROM + 1000


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"], autouse=True)
def some_threads(request):
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield
    threads.set_num_threads(before)


def numpy_still_computes_denormals():
    small = np.full(64, 1e-38, np.float32)
    return bool((small * np.float32(1e-3) > 0).all() and (np.full(64, TINY) + np.float32(0) > 0).all())


def ready():
    state = np.zeros(len(State))
    state[State.LEARNING_RATE], state[State.SCALE], state[State.ITERATIONS], state[State.PRODUCT] = 0.1, 1, 1, 0.9
    return state


RULES = {
    "momentum": lambda w, a, b, g, s: optimizers.momentum(w, a, g, s, 0.99, False, 0.0),
    "nesterov": lambda w, a, b, g, s: optimizers.momentum(w, a, g, s, 0.99, True, 0.0),
    "adam": lambda w, a, b, g, s: optimizers.adam(w, a, b, None, g, s, 0.9, 0.999, 1e-7, 0.0),
    "amsgrad": lambda w, a, b, g, s: optimizers.adam(w, a, b, b.copy(), g, s, 0.9, 0.999, 1e-7, 0.0),
    "nadam": lambda w, a, b, g, s: optimizers.nadam(w, a, b, g, s, 0.9, 0.999, 1e-7, 0.0),
    "adamax": lambda w, a, b, g, s: optimizers.adamax(w, a, b, g, s, 0.9, 0.999, 1e-7, 0.0),
    "rmsprop": lambda w, a, b, g, s: optimizers.rmsprop(w, a, b, None, g, s, 0.9, 0.9, 1e-7, 0.0),
    "adadelta": lambda w, a, b, g, s: optimizers.adadelta(w, a, b, g, s, 0.9, 1e-7, 0.0),
}


@pytest.mark.parametrize("size", [37, PARALLEL])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_denormal_slot_becomes_zero(rule, size):
    w, first, second, g = (
        np.ones(size, np.float32),
        np.full(size, TINY),
        np.full(size, TINY),
        np.zeros(size, np.float32),
    )
    rule(w, first, second, g, ready())
    assert not first.any()
    assert (w == 1).all()
    assert numpy_still_computes_denormals()


def test_a_skipped_step_changes_no_byte():
    v, state = np.full(5, TINY), ready()
    state[State.SCALE] = 0
    optimizers.momentum(np.ones(5, np.float32), v, np.zeros(5, np.float32), state, 0.99, False, 0.0)
    assert (v == TINY).all() and numpy_still_computes_denormals()


def test_norms_take_denormal_gradients_for_zero():
    for size in (37, PARALLEL):
        state, g = np.zeros(len(State)), np.full(size, TINY)
        optimizers.square_sum(state, g)
        assert state[State.SQUARES] == 0
        clipped = np.ones_like(g)
        optimizers.clip_norm(clipped, g, 1.0)
        assert not clipped.any()
        assert numpy_still_computes_denormals()


@pytest.mark.parametrize("rows", [37, 70_001])
def test_batch_normalization_gives_the_setting_back(rows):
    x, mean, rstd = np.full((rows, 3), TINY), np.zeros(3, np.float32), np.ones(3, np.float32)
    y = np.ones_like(x)
    batchnorm.inference(y, x, mean, rstd, None, None, 1e-3)
    assert not y.any()
    batchnorm.backward(y, None, None, x.copy(), x, mean, rstd, None)
    assert not y.any()
    assert numpy_still_computes_denormals()
