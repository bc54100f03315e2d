"""The recurrent rows on the CPU beyond the table's sizes: odd sizes, all options, threads, chunks, long sequences."""

import numpy as np
import pytest

from tinynn.activation import Activation
from tinynn.backends.cpu import gru, lstm, rnn, threads
from tinynn.backends.reference import gru as reference_gru
from tinynn.backends.reference import lstm as reference_lstm
from tinynn.backends.reference import rnn as reference_rnn

TANH, SIGMOID, RELU, LINEAR = Activation.TANH, Activation.SIGMOID, Activation.RELU, Activation.LINEAR
ROWS = {
    "rnn": (rnn, reference_rnn, 1, TANH),
    "rnn-relu": (rnn, reference_rnn, 1, RELU),
    "rnn-linear": (rnn, reference_rnn, 1, LINEAR),
    "lstm": (lstm, reference_lstm, 4, None),
    "gru": (gru, reference_gru, 3, True),
    "gru-classic": (gru, reference_gru, 3, False),
}
SIZES = [  # N, T, F, H
    *[(1, 1, 1, 1), (2, 3, 7, 5), (3, 2, 33, 17), (4, 7, 1, 33), (5, 4, 3, 16), (6, 1, 65, 31), (7, 3, 16, 65)],
    *[(8, 2, 31, 48), (9, 6, 12, 24), (64, 3, 20, 32), (37, 5, 64, 15)],
]
OPTIONS = {
    "all": {"bias", "state", "mask", "factor", "dh", "dlast"},
    "bare": {"dlast"},
    "backwards": {"bias", "backwards", "dh"},
    "backwards-mask": {"bias", "backwards", "mask", "dh", "dlast"},
    "factor": {"factor", "state", "dh"},
    "mask": {"mask", "dlast", "bias"},
}


@pytest.fixture(autouse=True)
def restore_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


class Problem:
    """Arrays for a row, drawn in float32; what the options leave out is None."""

    def __init__(self, name, N, T, F, H, options, seed=0):
        self.kernels, self.reference, gates, self.special = ROWS[name]
        self.name, self.options, self.sizes, self.G = name.split("-")[0], options, (N, T, F, H), gates * H
        rng = np.random.default_rng(seed)

        def draw(*shape, scale=1.0, when=True):
            values = (scale * rng.standard_normal(shape)).astype(np.float32)
            return values if when else None

        lstm, after = self.name == "lstm", self.name == "gru" and self.special
        self.x, self.W = draw(N, T, F), draw(F, self.G, scale=F**-0.5)
        self.U, self.b = draw(H, self.G, scale=0.7 * H**-0.5), draw(self.G, when="bias" in options)
        self.bu = draw(self.G, when="bias" in options and after)
        self.h0, self.c0 = draw(N, H, when="state" in options), draw(N, H, when="state" in options and lstm)
        self.dh, self.dlast = draw(N, T, H, when="dh" in options), draw(N, H, when="dlast" in options)
        self.dclast = draw(N, H, when="dlast" in options and lstm)
        self.mask = rng.random((N, T)) < 0.6 if "mask" in options else None
        kept = (rng.random((N, H)) < 0.7).astype(np.float32) / np.float32(0.7)
        self.r = kept if "factor" in options else None

    def cut(self, steps):
        """The same over some steps only."""
        part = object.__new__(Problem)
        vars(part).update(vars(self))
        part.x, part.sizes = self.x[:, steps], (self.sizes[0], steps.stop - steps.start, *self.sizes[2:])
        part.mask = None if self.mask is None else self.mask[:, steps]
        return part

    def forward(self, kernels, dtype=np.float32):
        """The states, and what backward wants of them."""
        (N, T, _, H), G, back = self.sizes, self.G, "backwards" in self.options
        x, W, U, b, bu, h0, c0, r = self.of(dtype, "x W U b bu h0 c0 r")
        h = np.full((N, T, H), np.nan, dtype)
        if self.name == "rnn":
            kernels.forward(h, x, W, U, b, h0, self.mask, r, self.special, back)
            return [h]
        gates, more = np.full((N, T, G), np.nan, dtype), np.full_like(h, np.nan)
        if self.name == "lstm":
            kernels.forward(h, more, gates, x, W, U, b, h0, c0, self.mask, r, TANH, SIGMOID, back)
        else:
            args = x, W, U, b, bu, h0, self.mask, r, TANH, SIGMOID, self.special, back
            kernels.forward(h, gates, more, *args)
        return [h, more, gates]

    def backward(self, kernels, states, dtype=np.float32, wanted=()):
        """All gradients, or those with these names."""
        (N, _, _, H), back = self.sizes, "backwards" in self.options
        x, W, U, bu, h0, c0, r = self.of(dtype, "x W U bu h0 c0 r")
        dh, dlast, dclast = self.of(dtype, "dh dlast dclast")
        shapes = {"dx": x.shape, "dW": W.shape, "dU": U.shape, "db": W.shape[1:], "dh0": (N, H)}
        if self.name == "lstm":
            shapes["dc0"] = N, H
        if self.name == "gru" and self.special:
            shapes["dbu"] = W.shape[1:]
        d = {name: np.full(shape, np.nan, dtype) for name, shape in shapes.items() if not wanted or name in wanted}
        results = [d.get(name) for name in ("dx", "dW", "dU", "db")]
        h, *rest = [a.copy() for a in states]
        if self.name == "rnn":
            kernels.backward(*results, d.get("dh0"), dh, dlast, x, W, U, h, h0, self.mask, r, self.special, back)
        elif self.name == "lstm":
            args = dh, dlast, dclast, x, W, U, h, *rest, h0, c0, self.mask, r, TANH, SIGMOID, back
            kernels.backward(*results, d.get("dh0"), d.get("dc0"), *args)
        else:
            inner, gates = rest
            args = x, W, U, bu, h, gates, inner, h0, self.mask, r, TANH, SIGMOID, self.special, back
            kernels.backward(*results, d.get("dbu"), d.get("dh0"), dh, dlast, *args)
        return d

    def of(self, dtype, names):
        return [None if a is None else a.astype(dtype) for a in (getattr(self, name) for name in names.split())]


def close(found, expected, tolerance=1e-5):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ROWS)
def test_agreement_with_the_reference(name, options):
    for i, sizes in enumerate(SIZES):
        problem = Problem(name, *sizes, OPTIONS[options], seed=i)
        states = problem.forward(problem.kernels)
        expected = problem.forward(problem.reference, np.float64)
        for found, right in zip(states, expected, strict=True):
            close(found, right)
        right = problem.backward(problem.reference, expected, np.float64)
        for gradient, found in problem.backward(problem.kernels, states).items():
            close(found, right[gradient])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru-classic"])
def test_a_gradient_does_not_depend_on_which_others_are_wanted(name):
    problem = Problem(name, 6, 4, 9, 18, OPTIONS["all"])
    states = problem.forward(problem.kernels)
    whole = problem.backward(problem.kernels, states)
    for gradient in whole:
        (found,) = problem.backward(problem.kernels, states, wanted={gradient}).values()
        np.testing.assert_array_equal(found, whole[gradient])


@pytest.mark.parametrize("sizes", [(64, 6, 40, 72), (9, 12, 33, 64), (1, 3, 5, 40)])
@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru-classic"])
def test_any_number_of_threads_gives_the_same_bytes(name, sizes):
    problem, seen = Problem(name, *sizes, OPTIONS["all"]), set()
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        states = problem.forward(problem.kernels)
        gradients = problem.backward(problem.kernels, states)
        seen.add(b"".join(a.tobytes() for a in (*states, *gradients.values())))
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru-classic"])
def test_chunks_with_carried_state_and_rows_by_themselves_give_the_same_bytes(name):
    problem = Problem(name, 13, 11, 21, 37, {"bias", "state", "mask", "factor"})
    whole = problem.forward(problem.kernels)
    h0, c0 = problem.h0, problem.c0
    for steps in (slice(0, 1), slice(1, 6), slice(6, 11)):
        part = problem.cut(steps)
        part.h0, part.c0 = h0, c0
        states = part.forward(problem.kernels)
        for found, right in zip(states, whole, strict=True):
            np.testing.assert_array_equal(found, right[:, steps])
        h0, c0 = states[0][:, -1], states[1][:, -1] if name == "lstm" else None
    for n in range(13):
        alone = problem.cut(slice(0, 11))
        alone.sizes = 1, *problem.sizes[1:]
        for array in ("x", "h0", "c0", "mask", "r"):
            value = getattr(problem, array)
            setattr(alone, array, None if value is None else value[n : n + 1])
        np.testing.assert_array_equal(alone.forward(problem.kernels)[0][0], whole[0][n])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru-classic"])
def test_a_thousand_steps(name):
    problem = Problem(name, 2, 1000, 3, 20, OPTIONS["all"])
    states = problem.forward(problem.kernels)
    expected = problem.forward(problem.reference, np.float64)
    for found, right in zip(states, expected, strict=True):
        close(found, right, 1e-4)
    right = problem.backward(problem.reference, expected, np.float64)
    for gradient, found in problem.backward(problem.kernels, states).items():
        close(found, right[gradient], 1e-4)


@pytest.mark.parametrize("name", ["rnn", "rnn-relu", "lstm", "gru", "gru-classic"])
def test_nan_stays_in_its_row_and_its_later_steps(name):
    problem = Problem(name, 5, 4, 6, 19, {"bias", "dh"})
    problem.x[2, 1, 3] = np.nan
    states = problem.forward(problem.kernels)
    assert np.isnan(states[0][2, 1:]).all()
    assert not np.isnan(np.delete(states[0], 2, axis=0)).any() and not np.isnan(states[0][2, 0]).any()
    if name == "rnn-relu":  # its derivative at NaN is 1: gradients pass, as in Dense
        return
    gradients = problem.backward(problem.kernels, states)
    assert np.isnan(gradients["dx"][2, 0]).all() and not np.isnan(np.delete(gradients["dx"], 2, axis=0)).any()
    assert np.isnan(gradients["dW"]).any() and np.isnan(gradients["dU"]).any() and np.isnan(gradients["db"]).any()


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru-classic"])
def test_where_no_step_counts_the_state_and_its_gradient_pass_through(name):
    problem = Problem(name, 3, 4, 5, 18, OPTIONS["all"])
    problem.mask[:] = False
    problem.dh = None
    states = problem.forward(problem.kernels)
    np.testing.assert_array_equal(states[0], np.broadcast_to(problem.h0[:, None], states[0].shape))
    gradients = problem.backward(problem.kernels, states)
    np.testing.assert_array_equal(gradients["dh0"], problem.dlast)
    assert all((gradients[gradient] == 0).all() for gradient in ("dx", "dW", "dU", "db"))


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_no_sequences_and_other_activations_are_the_references(name):
    problem = Problem(name, 0, 3, 4, 5, {"dh"})
    states = problem.forward(problem.kernels)
    assert states[0].shape == (0, 3, 5)
    gradients = problem.backward(problem.kernels, states)
    assert (gradients["dW"] == 0).all() and (gradients["db"] == 0).all()
    problem = Problem(name, 2, 3, 4, 5, {"dh"})
    double = problem.forward(problem.kernels, np.float64)
    for found, right in zip(double, problem.forward(problem.reference, np.float64), strict=True):
        np.testing.assert_array_equal(found, right)


@pytest.mark.parametrize("sizes", [(1, 1), (7, 5), (9, 33), (5000, 24)])
@pytest.mark.parametrize("given", ["all", "dh", "dc"])
def test_the_step_by_itself(sizes, given):
    (M, H), seen = sizes, set()
    rng = np.random.default_rng(M)
    z, c0 = rng.standard_normal((M, 4 * H), dtype=np.float32), rng.standard_normal((M, H), dtype=np.float32)
    dh, dc = rng.standard_normal((M, H), dtype=np.float32), rng.standard_normal((M, H), dtype=np.float32)
    c0, dh, dc = None if given == "dh" else c0, None if given == "dc" else dh, None if given == "dh" else dc

    def run(kernels, dtype):
        gates, old, up, more = (None if a is None else a.astype(dtype) for a in (z, c0, dh, dc))
        h, c, dc0 = (np.full((M, H), np.nan, dtype) for _ in range(3))
        kernels.cell(h, c, gates, old, TANH, SIGMOID)
        found = [h, c, gates.copy()]
        dc0 = dc0 if more is None else more  # in place
        kernels.cell_backward(dc0, up, more, c, gates, old, TANH, SIGMOID)
        return [*found, gates, dc0]

    expected = run(reference_lstm, np.float64)
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        found = run(lstm, np.float32)
        seen.add(b"".join(a.tobytes() for a in found))
        for a, right in zip(found, expected, strict=True):
            close(a, right)
    assert len(seen) == 1


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "gru-classic"])
def test_what_stands_in_a_masked_step_does_not_matter(name):
    problem = Problem(name, 5, 4, 6, 19, OPTIONS["mask"] | {"dh"})
    problem.mask[:, 2] = [True, False, True, False, False]
    states = problem.forward(problem.kernels)
    right = problem.backward(problem.kernels, states)
    problem.x[~problem.mask] = np.nan
    for kernels in (problem.kernels, problem.reference):
        states = problem.forward(kernels)
        assert not np.isnan(states[0]).any()
        for gradient, found in problem.backward(kernels, states).items():
            close(found, right[gradient])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "float32"])
def test_masks_of_numbers_are_those_of_bools(name, dtype):
    problem = Problem(name, 5, 4, 6, 19, OPTIONS["mask"])
    right = problem.forward(problem.kernels)[0]
    problem.mask = problem.mask.astype(dtype)
    np.testing.assert_array_equal(problem.forward(problem.kernels)[0], right)
