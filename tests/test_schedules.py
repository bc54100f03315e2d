"""Schedules against Keras's formulas, written here as plain Python, and over device arrays."""

import math

import numpy as np
import pytest

from tests.device import DeviceArray, to_numpy
from tinynn import optim
from tinynn import schedules as S

STEPS = [0, 1, 2, 5, 9, 10, 11, 20, 29, 30, 31, 50, 70, 99, 100, 101, 150, 1000]


def exponential(step, staircase=False):
    p = step / 30
    return 0.5 * 0.9 ** (math.floor(p) if staircase else p)


def inverse(step, staircase=False):
    p = step / 30
    return 0.5 / (1 + 0.9 * (math.floor(p) if staircase else p))


def piecewise(step):
    return 1.0 if step <= 10 else 0.5 if step <= 30 else 0.1


def polynomial(step, power=1.0, cycle=False):
    n = 30
    if cycle:
        n = 30 * (1 if step == 0 else math.ceil(step / 30))
    else:
        step = min(step, 30)
    return (0.5 - 0.01) * (1 - step / n) ** power + 0.01


def cosine(step, alpha=0.0):
    return 0.5 * ((1 - alpha) * 0.5 * (1 + math.cos(math.pi * min(step, 100) / 100)) + alpha)


def warm_cosine(step):
    if step < 20:
        return (0.8 - 0.1) * (step / 20) + 0.1
    return 0.8 * ((1 - 0.1) * 0.5 * (1 + math.cos(math.pi * min(step - 20, 100) / 100)) + 0.1)


def restarts(step, t_mul=2.0, m_mul=1.0, alpha=0.0):
    """Period by period, instead of Keras's logarithm."""
    length, height = 10.0, 1.0
    while step >= length - 1e-9:
        step, length, height = step - length, length * t_mul, height * m_mul
    return 0.5 * ((1 - alpha) * 0.5 * height * (1 + math.cos(math.pi * step / length)) + alpha)


def warmup(step):
    return 0.1 + (0.5 - 0.1) * step / 20 if step < 20 else exponential(step - 20)


CASES = {
    "constant": (S.Constant(0.1), lambda step: 0.1),
    "exponential": (S.ExponentialDecay(0.5, 30, 0.9), exponential),
    "staircase": (S.ExponentialDecay(0.5, 30, 0.9, staircase=True), lambda s: exponential(s, True)),
    "inverse": (S.InverseTimeDecay(0.5, 30, 0.9), inverse),
    "inverse staircase": (S.InverseTimeDecay(0.5, 30, 0.9, True), lambda s: inverse(s, True)),
    "piecewise": (S.PiecewiseConstantDecay([10, 30], [1.0, 0.5, 0.1]), piecewise),
    "polynomial": (S.PolynomialDecay(0.5, 30, 0.01), polynomial),
    "polynomial, power": (S.PolynomialDecay(0.5, 30, 0.01, power=0.5), lambda s: polynomial(s, 0.5)),
    "polynomial, cycle": (S.PolynomialDecay(0.5, 30, 0.01, cycle=True), lambda s: polynomial(s, cycle=True)),
    "cosine": (S.CosineDecay(0.5, 100), cosine),
    "cosine, alpha": (S.CosineDecay(0.5, 100, alpha=0.2), lambda s: cosine(s, 0.2)),
    "cosine, warm": (S.CosineDecay(0.1, 100, 0.1, warmup_target=0.8, warmup_steps=20), warm_cosine),
    "restarts": (S.CosineDecayRestarts(0.5, 10), restarts),
    "restarts, 1": (S.CosineDecayRestarts(0.5, 10, t_mul=1.0, m_mul=0.9), lambda s: restarts(s, 1.0, 0.9)),
    "restarts, 3": (S.CosineDecayRestarts(0.5, 10, 3.0, 0.5, 0.1), lambda s: restarts(s, 3.0, 0.5, 0.1)),
    "warm-up": (S.LinearWarmup(S.ExponentialDecay(0.5, 30, 0.9), 20, start=0.1), warmup),
}


@pytest.mark.parametrize("name", CASES)
def test_formula(name):
    schedule, expected = CASES[name]
    for step in STEPS:
        value = schedule(step)
        assert type(value) is float
        assert value == pytest.approx(expected(step), rel=1e-12, abs=1e-12), step
        assert type(schedule(np.float64(step))) is float


@pytest.mark.parametrize("name", CASES)
def test_arrays_and_device_arrays(name):
    schedule, expected = CASES[name]
    steps = np.array(STEPS, np.float64)
    want = [expected(s) for s in STEPS]
    np.testing.assert_allclose(np.broadcast_to(schedule(steps), steps.shape), want, rtol=1e-12, atol=1e-12)
    on_device = schedule(DeviceArray(steps))
    np.testing.assert_allclose(np.broadcast_to(to_numpy(on_device), steps.shape), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_config(name):
    schedule, _ = CASES[name]
    again = S.get({"class": type(schedule).__name__, "config": schedule.config()}, "SGD")
    assert type(again) is type(schedule)
    assert again.config() == schedule.config()
    assert [again(s) for s in STEPS] == [schedule(s) for s in STEPS]


def test_every_restart_begins_at_the_top():
    """log(243) / log(3) is less than 5: the step of the restart must not fall into the period before."""
    schedule = S.CosineDecayRestarts(1.0, 2, t_mul=3.0)
    for i in range(12):
        assert schedule(3**i - 1) == pytest.approx(1.0, abs=1e-12)
        if i:
            assert schedule(3**i - 2) < 0.7


def test_get():
    assert S.get(0.1, "SGD")(7) == 0.1
    assert S.get(np.float32(0.5), "SGD")(7) == 0.5

    def half(step):
        return 0.5**step

    assert S.get(half, "SGD") is half
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="Adam expects learning_rate >= 0"):
            S.get(wrong, "Adam")
    for strange in ("fast", "0.1", None, True):
        with pytest.raises(TypeError, match="Adam expects a number or a schedule as learning_rate"):
            S.get(strange, "Adam")
    with pytest.raises(TypeError, match="write its arguments"):
        S.get(S.CosineDecay, "SGD")


REFUSED = [
    (lambda: S.ExponentialDecay(-1, 10, 0.9), "ExponentialDecay expects initial_learning_rate >= 0"),
    (lambda: S.ExponentialDecay(1, 0, 0.9), "ExponentialDecay expects decay_steps > 0"),
    (lambda: S.InverseTimeDecay(1, 10, -1), "InverseTimeDecay expects decay_rate >= 0"),
    (lambda: S.PiecewiseConstantDecay([1, 2], [1, 2]), "one value more than boundaries"),
    (lambda: S.PiecewiseConstantDecay([2, 1], [1, 2, 3]), "increasing order"),
    (lambda: S.PolynomialDecay(1, 10, -1), "PolynomialDecay expects end_learning_rate >= 0"),
    (lambda: S.CosineDecay(1, -10), "CosineDecay expects decay_steps > 0"),
    (lambda: S.CosineDecayRestarts(1, 10, 0.5), "CosineDecayRestarts expects t_mul >= 1"),
    (lambda: S.LinearWarmup(-1, 10), "LinearWarmup expects learning_rate >= 0"),
    (lambda: S.LinearWarmup(0.1, 0), "LinearWarmup expects warmup_steps"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_kerass_path():
    assert optim.schedules.CosineDecay is S.CosineDecay
