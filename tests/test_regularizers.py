"""Regularizers (penalty and gradient) and constraints, on the host and on device arrays."""

import numpy as np
import pytest

from tests.device import DeviceArray, device_backend, to_numpy
from tinynn import constraints as C
from tinynn import regularizers as R
from tinynn.graph import Graph
from tinynn.parameter import Parameter

W = np.array([[1.0, -2.0, 0.0], [0.5, 3.0, -0.25]])

PENALTIES = {
    "l1": (R.L1(0.1), lambda w: 0.1 * np.abs(w).sum(), lambda w: 0.1 * np.sign(w)),
    "l2": (R.L2(0.3), lambda w: 0.3 * (w * w).sum(), lambda w: 0.6 * w),
    "l1_l2": (
        R.L1L2(0.1, 0.3),
        lambda w: 0.1 * np.abs(w).sum() + 0.3 * (w * w).sum(),
        lambda w: 0.1 * np.sign(w) + 0.6 * w,
    ),
}


@pytest.mark.parametrize("backend", ["cpu", "reference", "device"])
@pytest.mark.parametrize("name", PENALTIES)
def test_penalty_and_gradient(name, backend):
    regularizer, value, gradient = PENALTIES[name]
    g = Graph(dtype="float64", backend=device_backend() if backend == "device" else backend)
    w = g.tensor(W, requires_grad=True)
    loss = regularizer(w) * 3.0
    assert loss.shape == ()
    np.testing.assert_allclose(to_numpy(loss.data), 3 * value(W), rtol=1e-14)
    g.backward(loss)
    np.testing.assert_allclose(to_numpy(w.grad), 3 * gradient(W), rtol=1e-14)


@pytest.mark.parametrize("name", PENALTIES)
def test_central_differences(name):
    regularizer, _, _ = PENALTIES[name]
    rng = np.random.default_rng(0)
    w = rng.uniform(0.5, 1.5, (3, 4)) * rng.choice([-1.0, 1.0], (3, 4))

    def penalty(w):
        return float(regularizer(Graph(dtype="float64").tensor(w)).data)

    g = Graph(dtype="float64")
    x = g.tensor(w, requires_grad=True)
    regularizer(x).backward()
    for i in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[i] = 1e-5
        assert (penalty(w + step) - penalty(w - step)) / 2e-5 == pytest.approx(x.grad[i], rel=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_parameters_penalty_adds_to_its_gradient(dtype):
    p = Parameter((2, 3), "ones", regularizer=R.get("l2"), dtype=dtype)
    g = Graph(dtype=dtype)
    w = g.parameter(p)
    ((w * 2.0).sum() + p.regularizer(w)).backward()
    np.testing.assert_allclose(p.grad, np.full((2, 3), 2.02), rtol=1e-6)
    assert p.grad.dtype == dtype


def test_defaults_names_and_configs():
    assert (R.l1().l1, R.l2().l2, R.L1().l1, R.L2().l2) == (0.01,) * 4
    assert R.l1_l2().config() == {"l1": 0.01, "l2": 0.01}
    assert R.L1L2().config() == {"l1": 0.0, "l2": 0.0}
    assert R.get("l1_l2").config() == {"l1": 0.01, "l2": 0.01}
    assert R.get(None) is None
    for name in ("l1", "l2", "L1", "L2", "L1L2", R.L2, R.L2(0.5)):
        r = R.get(name)
        again = R.get({"class": type(r).__name__, "config": r.config()})
        assert (type(again), again.config()) == (type(r), r.config())

    def own(x):
        return x.sum()

    assert R.get(own) is own


def columns(w):
    return np.sqrt((w * w).sum(axis=0, keepdims=True))


CONSTRAINTS = {
    "max_norm": (C.MaxNorm(), lambda w: w * np.minimum(columns(w), 2) / (1e-7 + columns(w))),
    "unit_norm": (C.UnitNorm(), lambda w: w / (1e-7 + columns(w))),
    "non_neg": (C.NonNeg(), lambda w: w * (w >= 0)),
    "min_max_norm": (
        C.MinMaxNorm(0.5, 1.5, 0.5),
        lambda w: w * (0.5 * np.clip(columns(w), 0.5, 1.5) + 0.5 * columns(w)) / (1e-7 + columns(w)),
    ),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraint(name):
    constraint, expected = CONSTRAINTS[name]
    np.testing.assert_allclose(constraint(W), expected(W), rtol=1e-14, atol=0)
    np.testing.assert_allclose(to_numpy(constraint(DeviceArray(W.copy()))), expected(W), rtol=1e-14, atol=0)
    assert constraint(W.astype("float32")).dtype == np.float32
    again = C.get({"class": type(constraint).__name__, "config": constraint.config()})
    np.testing.assert_array_equal(again(W), constraint(W))
    assert type(C.get(name)) is type(constraint)


def test_constraint_axes_and_zeros():
    w = np.random.default_rng(0).standard_normal((3, 3, 4, 5))
    np.testing.assert_allclose(np.square(C.UnitNorm(axis=[0, 1, 2])(w)).sum(axis=(0, 1, 2)), np.ones(5), rtol=1e-6)
    assert np.isfinite(C.MaxNorm()(np.zeros((2, 2)))).all()
    assert C.get(None) is None
    assert C.get("max_norm").config() == {"max_value": 2.0, "axis": 0}


REFUSED = [
    (lambda: R.L1(-1), ValueError, "L1 expects l1 >= 0, got -1"),
    (lambda: R.L2(float("nan")), ValueError, "L2 expects l2 >= 0"),
    (lambda: R.get("l3"), ValueError, "unknown regularizer 'l3'"),
    (lambda: R.get(0.01), TypeError, "L2"),
    (lambda: C.MaxNorm(-1), ValueError, "MaxNorm expects max_value >= 0"),
    (lambda: C.MinMaxNorm(2, 1), ValueError, "MinMaxNorm expects max_value >= 2"),
    (lambda: C.MinMaxNorm(rate=0), ValueError, "0 < rate <= 1"),
    (lambda: C.get("maxnrm"), ValueError, "did you mean 'max_norm'"),
    (lambda: C.get(2), TypeError, "MaxNorm"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
