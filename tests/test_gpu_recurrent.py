"""The recurrent rows on the card (or emulated): every tile and its edges, all options, NaN, the same bytes twice."""

import importlib

import numpy as np
import pytest

from tests.cuda.standin import gpu_backend
from tests.test_recurrent_engine import OPTIONS, ROWS, SIGMOID, TANH, Problem
from tinynn.activation import RECURRENT, Activation
from tinynn.backends.gpu import recurrent
from tinynn.backends.reference import gru as reference_gru
from tinynn.backends.reference import lstm as reference_lstm
from tinynn.backends.reference import rnn as reference_rnn

pytestmark = pytest.mark.skipif(gpu_backend() is None, reason="neither a card nor a C++ compiler")

SIZES = {"small": 0, "middle": 1, "large": 2}
KINDS = "rnn", "lstm", "gru", "gru-classic"


class OnDevice:
    """A row of the gpu backend for NumPy arrays, which are copied there and back."""

    def __init__(self, name: str):
        self.row = importlib.import_module(f"tinynn.backends.gpu.{name}")
        self.asarray = gpu_backend().asarray

    def forward(self, *args):
        self.call("forward", args)

    def backward(self, *args):
        self.call("backward", args)

    def call(self, function, args):
        there = [self.asarray(a, a.dtype) if isinstance(a, np.ndarray) else a for a in args]
        getattr(self.row, function)(*there)
        for here, moved in zip(args, there, strict=True):
            if isinstance(here, np.ndarray):
                here[...] = gpu_backend().to_numpy(moved)


def on_device(monkeypatch, name, size):
    """The row, with tiles of this size alone."""
    kernels = OnDevice(name.split("-")[0])
    monkeypatch.setattr(kernels.row, "SIZES", [kernels.row.SIZES[SIZES[size]]])
    return kernels


def close(found, expected, dtype):
    tolerance = (1e-12 if dtype == np.float64 else 2e-5) * max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def agrees(kernels, problem, dtype):
    states = problem.forward(kernels, dtype)
    expected = problem.forward(problem.reference, np.float64)
    for found, right in zip(states, expected, strict=True):
        close(found, right, dtype)
    right = problem.backward(problem.reference, expected, np.float64)
    for gradient, found in problem.backward(kernels, states, dtype).items():
        close(found, right[gradient], dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_tiles_and_their_edges(monkeypatch, name, size, dtype):
    kernels = on_device(monkeypatch, name, size)
    if dtype == np.float64 and size != "small" and name != "lstm":
        pytest.skip("the same product as lstm's; a build of each takes seconds")
    # whole blocks and several chunks; sizes that no 16 bytes divide; one more than a tile; almost nothing
    for i, sizes in enumerate([(8, 2, 8, 160), (9, 3, 3, 37), (65, 2, 2, 33), (1, 1, 1, 1)]):
        if i < 3 or size == "small":
            agrees(kernels, Problem(name, *sizes, OPTIONS["all"] if i else {"dh"}, seed=i), dtype)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ROWS)
def test_options(name, options):
    agrees(OnDevice(name.split("-")[0]), Problem(name, 5, 4, 3, 11, OPTIONS[options]), np.float64)


@pytest.mark.parametrize("name", KINDS)
def test_what_is_chosen_by_shape(name, monkeypatch):
    monkeypatch.setattr(recurrent, "ENOUGH", 3)
    agrees(OnDevice(name.split("-")[0]), Problem(name, 33, 2, 3, 20, OPTIONS["bare"]), np.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", KINDS)
def test_the_same_bytes_twice(monkeypatch, name, size):
    kernels, problem = on_device(monkeypatch, name, size), Problem(name, 11, 3, 5, 70, OPTIONS["all"])
    first, *others = [problem.forward(kernels) for _ in range(3)]
    gradients, *more = [problem.backward(kernels, first) for _ in range(3)]
    for states in others:
        for a, b in zip(first, states, strict=True):
            np.testing.assert_array_equal(a, b)
    for again in more:
        for gradient, value in gradients.items():
            np.testing.assert_array_equal(value, again[gradient])


@pytest.mark.parametrize("name", KINDS)
def test_a_gradient_does_not_depend_on_which_others_are_wanted(name):
    kernels, problem = OnDevice(name.split("-")[0]), Problem(name, 6, 4, 9, 18, OPTIONS["all"])
    states = problem.forward(kernels)
    whole = problem.backward(kernels, states)
    for gradient in whole:
        found = problem.backward(kernels, states, wanted=(gradient,))
        np.testing.assert_array_equal(found[gradient], whole[gradient])


@pytest.mark.parametrize("name", KINDS)
def test_arrays_may_begin_anywhere(name):
    """Copies of 16 bytes are for arrays that lie right for them."""
    backend, kernels, problem = gpu_backend(), OnDevice(name.split("-")[0]), Problem(name, 3, 2, 4, 8, OPTIONS["all"])

    def moved(array, dtype):
        shifted = backend.empty((array.size + 1,), dtype)[1:]
        shifted[...] = backend.asarray(array.ravel(), dtype)
        return shifted.reshape(array.shape)

    kernels.asarray = moved
    agrees(kernels, problem, np.float32)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("options", ["mask", "backwards-mask"])
def test_what_is_masked_may_be_nan(name, options):
    kernels, problem = OnDevice(name.split("-")[0]), Problem(name, 6, 5, 4, 9, OPTIONS[options] | {"factor"})
    clean = problem.forward(kernels)
    right = problem.backward(kernels, clean)
    problem.x[~problem.mask] = np.nan
    states = problem.forward(kernels)
    np.testing.assert_array_equal(states[0], clean[0])
    for gradient, found in problem.backward(kernels, states).items():
        np.testing.assert_array_equal(found, right[gradient])


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_inf_go_where_the_reference_has_them(name, value):
    """Without a mask: in a sequence that is NaN already, the reference's skipped steps are NaN too, ours are not."""
    for array, place in [("x", (1, 1, 0)), ("U", (2, 1)), ("dlast", (2, 0))]:
        problem = Problem(name, 3, 3, 2, 5, {"bias", "dh", "dlast"})
        getattr(problem, array)[place] = value
        with np.errstate(all="ignore"):
            states, right = problem.forward(OnDevice(name.split("-")[0])), problem.forward(problem.reference)
            np.testing.assert_array_equal(np.isnan(states[0]), np.isnan(right[0]))
            expected = problem.backward(problem.reference, right)
            for gradient, found in problem.backward(OnDevice(name.split("-")[0]), states).items():
                np.testing.assert_array_equal(np.isfinite(found), np.isfinite(expected[gradient]))


@pytest.mark.parametrize("kind", sorted(RECURRENT))
def test_other_activations(kind):
    rng = np.random.default_rng(0)
    N, T, F, H = 3, 3, 2, 5
    kinds, gate = Activation(kind), Activation.HARD_SIGMOID if kind == "linear" else SIGMOID
    for name, reference, G in ("rnn", reference_rnn, 1), ("lstm", reference_lstm, 4), ("gru", reference_gru, 3):
        x, W, U = (0.3 * rng.standard_normal(shape) for shape in ((N, T, F), (F, G * H), (H, G * H)))
        dlast, results = rng.standard_normal((N, H)), []
        for kernels in reference, OnDevice(name):
            h, c = np.zeros((N, T, H)), np.zeros((N, T, H))
            gates, dx, dW, dU = np.zeros((N, T, G * H)), np.zeros_like(x), np.zeros_like(W), np.zeros_like(U)
            if name == "rnn":
                kernels.forward(h, x, W, U, None, None, None, None, kinds, False)
                kernels.backward(
                    dx, dW, dU, None, None, None, dlast, x, W, U, h, None, None, None, kinds, False
                )  # fmt: skip
            elif name == "lstm":
                kernels.forward(h, c, gates, x, W, U, None, None, None, None, None, kinds, gate, False)
                kernels.backward(
                    dx, dW, dU, None, None, None, None, dlast, None, x, W, U, h, c, gates, None, None, None, None,
                    kinds, gate, False,
                )  # fmt: skip
            else:
                kernels.forward(h, gates, c, x, W, U, None, None, None, None, None, kinds, gate, True, False)
                kernels.backward(
                    dx, dW, dU, None, None, None, None, dlast, x, W, U, None, h, gates, c, None, None, None, kinds,
                    gate, True, False,
                )  # fmt: skip
            results.append((h, dx, dW, dU))
        for right, found in zip(*results, strict=True):
            close(found, right, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_cell_of_lstm(dtype):
    backend, rng, M, H = gpu_backend(), np.random.default_rng(0), 7, 13
    z, c0, dh, dc = (rng.standard_normal((M, k * H)) for k in (4, 1, 1, 1))
    for given_c0, given_dh, given_dc, wanted in [
        (c0, dh, dc, True),
        (None, dh, None, False),
        (c0, None, dc, True),
        (None, dh, dc, False),
    ]:
        gates, h, c = z.copy(), np.zeros((M, H)), np.zeros((M, H))
        reference_lstm.cell(h, c, gates, given_c0, TANH, SIGMOID)
        there = [None if a is None else backend.asarray(a, dtype) for a in (given_c0, given_dh, given_dc)]
        of_gates, of_h, of_c = (backend.asarray(a, dtype) for a in (z, h + np.nan, c + np.nan))
        backend.lstm.cell(of_h, of_c, of_gates, there[0], TANH, SIGMOID)
        for right, found in (h, of_h), (c, of_c), (gates, of_gates):
            close(backend.to_numpy(found), right, dtype)
        dc0 = np.zeros((M, H)) if wanted else None
        reference_lstm.cell_backward(dc0, given_dh, given_dc, c, gates, given_c0, TANH, SIGMOID)
        of_dc0 = there[2] if wanted else None  # dc0 may be dc
        backend.lstm.cell_backward(of_dc0, there[1], there[2], of_c, of_gates, there[0], TANH, SIGMOID)
        close(backend.to_numpy(of_gates), gates, dtype)
        if wanted:
            close(backend.to_numpy(of_dc0), dc0, dtype)


@pytest.mark.parametrize("name", KINDS)
def test_nothing(name):
    problem = Problem(name, 0, 3, 2, 4, OPTIONS["all"])
    kernels = OnDevice(name.split("-")[0])
    states = problem.forward(kernels)
    assert all((gradient == 0).all() for gradient in problem.backward(kernels, states).values())
