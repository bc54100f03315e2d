"""Optimizers: worked examples, PyTorch's trajectories, the kernels of each backend, and the flat buffer."""

import json
import math
import signal
import threading

import numpy as np
import pytest

from tests.device import DeviceArray, device_backend, to_numpy
from tinynn import backends, optim, schedules
from tinynn.backends.base import State
from tinynn.backends.cpu import optimizers as cpu
from tinynn.backends.cpu import threads
from tinynn.backends.reference import optimizers as reference
from tinynn.constraints import MaxNorm
from tinynn.graph import Graph
from tinynn.parameter import Parameter

ALL = {
    "sgd": lambda **k: optim.SGD(0.1, **k),
    "momentum": lambda **k: optim.SGD(0.1, momentum=0.9, **k),
    "nesterov": lambda **k: optim.SGD(0.1, momentum=0.9, nesterov=True, **k),
    "adam": lambda **k: optim.Adam(0.1, **k),
    "amsgrad": lambda **k: optim.Adam(0.1, amsgrad=True, **k),
    "adamw": lambda **k: optim.AdamW(0.1, **k),
    "nadam": lambda **k: optim.Nadam(0.1, **k),
    "adamax": lambda **k: optim.Adamax(0.1, **k),
    "rmsprop": lambda **k: optim.RMSprop(0.1, **k),
    "rmsprop, momentum": lambda **k: optim.RMSprop(0.1, momentum=0.9, **k),
    "rmsprop, centered": lambda **k: optim.RMSprop(0.1, centered=True, **k),
    "rmsprop, both": lambda **k: optim.RMSprop(0.1, momentum=0.9, centered=True, **k),
    "adagrad": lambda **k: optim.Adagrad(0.1, **k),
    "adadelta": lambda **k: optim.Adadelta(0.1, **k),
}


def parameter(value, dtype="float64", **kwargs):
    value = np.asarray(value, dtype)
    p = Parameter(value.shape, "zeros", dtype=dtype, **kwargs)
    p.assign(value)
    return p


def give(p, gradient):
    """What a backward does at its end."""
    p.receive(np.array(gradient, p.dtype).reshape(p.shape))


def random(shape, seed=0, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# -- worked examples: f(x) = x^2 / 2 from x = 1, learning rate 0.1 -----------------------------------------------------


def trace(optimizer, read=lambda w, optimizer: w):
    p = parameter([[1.0]])
    optimizer.build([p])
    result = []
    for _ in range(3):
        g = Graph(dtype="float64")
        x = g.parameter(p)
        g.backward((x * x * 0.5).sum())
        optimizer.step()
        result.append(read(p.data.item(), optimizer))
    return result


def before_looking_ahead(w, optimizer):
    return w - 0.9 * optimizer.variables[1].item()


TEXTBOOK = {
    "SGD": (lambda: optim.SGD(0.1), [0.9, 0.81, 0.729], 1e-12),
    "momentum": (lambda: optim.SGD(0.1, 0.9), [0.9, 0.72, 0.486], 1e-12),
    "AdaGrad": (
        lambda: optim.Adagrad(0.1, initial_accumulator_value=0),
        [0.90000001, 0.833103541, 0.780456199],
        1e-6,
    ),
    "RMSProp": (lambda: optim.RMSprop(0.1), [0.683772334, 0.498870739, 0.369180696], 1e-6),
    "Adam": (lambda: optim.Adam(0.1), [0.90000001, 0.800412248, 0.701586303], 1e-6),
}


@pytest.mark.parametrize("name", TEXTBOOK)
def test_textbook_traces(name):
    make, expected, tolerance = TEXTBOOK[name]
    np.testing.assert_allclose(trace(make()), expected, rtol=0, atol=tolerance)


def test_nesterov_in_the_textbooks_form_and_in_kerass():
    def make():
        return optim.SGD(0.1, 0.9, nesterov=True)

    np.testing.assert_allclose(trace(make(), before_looking_ahead), [0.9, 0.729, 0.51759], rtol=1e-12)
    np.testing.assert_allclose(trace(make()), [0.81, 0.5751, 0.32732], rtol=0, atol=5e-6)


def test_kerass_adagrad():
    assert trace(optim.Adagrad(0.1))[0] == pytest.approx(0.90465, abs=5e-6)


# -- formulas, in plain float64 loops ----------------------------------------------------------------------------------


def plain(name, w, gradients, lr=0.1):
    """The documented formula, number by number."""
    m = v = s = 0.0
    v = {"adagrad": 0.1}.get(name, v)
    mean, product = 0.0, 1.0
    path = []
    for t, g in enumerate(gradients, 1):
        if name == "sgd":
            w = w - lr * g
        elif name in ("momentum", "nesterov"):
            v = 0.9 * v - lr * g
            w = w + (0.9 * v - lr * g if name == "nesterov" else v)
        elif name in ("adam", "amsgrad", "adamw"):
            w = w - lr * 0.004 * w if name == "adamw" else w
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            s = np.maximum(s, v) if name == "amsgrad" else v
            w = w - lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(s) + 1e-7)
        elif name == "nadam":
            m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
            u, after = (0.9 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
            product *= u
            n = after * m / (1 - product * after) + (1 - u) * g / (1 - product)
            w = w - lr * n / (np.sqrt(v / (1 - 0.999**t)) + 1e-7)
        elif name == "adamax":
            m, v = 0.9 * m + 0.1 * g, np.maximum(0.999 * v, np.abs(g))
            w = w - lr / (1 - 0.9**t) * m / (v + 1e-7)
        elif name.startswith("rmsprop"):
            v, mean = 0.9 * v + 0.1 * g * g, 0.9 * mean + 0.1 * g
            spread = v - mean * mean if name in ("rmsprop, centered", "rmsprop, both") else v
            s = (0.9 * s if name in ("rmsprop, momentum", "rmsprop, both") else 0) + lr * g / np.sqrt(spread + 1e-7)
            w = w - s
        elif name == "adagrad":
            v = v + g * g
            w = w - lr * g / np.sqrt(v + 1e-7)
        elif name == "adadelta":
            v = 0.95 * v + 0.05 * g * g
            step = np.sqrt(s + 1e-7) / np.sqrt(v + 1e-7) * g
            s = 0.95 * s + 0.05 * step * step
            w = w - lr * step
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("backend", ["cpu", "reference", "device"])
@pytest.mark.parametrize("name", ALL)
def test_fifty_steps_of_the_formula(name, backend):
    optimizer = ALL[name]()
    p = Parameter((3, 5), "zeros", dtype="float64")
    p.backend = device_backend() if backend == "device" else None
    w = random((3, 5))
    p.assign(w)
    optimizer.build([p], p.backend or backend)
    gradients = random((50, 3, 5), seed=1)
    for g, expected in zip(gradients, plain(name, w, gradients), strict=True):
        p.receive(DeviceArray(g.copy()) if backend == "device" else g.copy())
        optimizer.step()
        np.testing.assert_allclose(to_numpy(p.data), expected, rtol=1e-11, atol=1e-12)
    assert optimizer.iterations == 50
    assert p.data.dtype == np.float64


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def oracle(torch, name):
    """(our optimizer, PyTorch's); the numbers that differ by default are made equal."""
    o = torch.optim
    return {
        "sgd": (optim.SGD(0.1), lambda p: o.SGD(p, 0.1)),
        "momentum": (optim.SGD(0.1, 0.9), lambda p: o.SGD(p, 0.1, 0.9)),
        "nesterov": (optim.SGD(0.1, 0.9, nesterov=True), lambda p: o.SGD(p, 0.1, 0.9, nesterov=True)),
        "adam": (optim.Adam(0.1), lambda p: o.Adam(p, 0.1)),
        "amsgrad": (optim.Adam(0.1, amsgrad=True), lambda p: o.Adam(p, 0.1, amsgrad=True)),
        "adamw": (optim.AdamW(0.1, weight_decay=0.2), lambda p: o.AdamW(p, 0.1, weight_decay=0.2)),
        "nadam": (optim.Nadam(0.1), lambda p: o.NAdam(p, 0.1, eps=1e-7, momentum_decay=1)),
        "adamax": (optim.Adamax(0.1, epsilon=1e-30), lambda p: o.Adamax(p, 0.1, eps=1e-30)),
        "adagrad": (
            optim.Adagrad(0.1, epsilon=1e-30),
            lambda p: o.Adagrad(p, 0.1, initial_accumulator_value=0.1, eps=1e-30),
        ),
        "rmsprop": (optim.RMSprop(0.1, epsilon=1e-30), lambda p: o.RMSprop(p, 0.1, alpha=0.9, eps=1e-30)),
        "adadelta": (optim.Adadelta(0.1), lambda p: o.Adadelta(p, 0.1, rho=0.95, eps=1e-7)),
    }[name]


@pytest.mark.parametrize(
    "name",
    ["sgd", "momentum", "nesterov", "adam", "amsgrad", "adamw", "nadam", "adamax", "adagrad", "rmsprop", "adadelta"],
)
def test_fifty_steps_as_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, make = oracle(torch, name)
    w, gradients = random((4, 6)), random((50, 4, 6), seed=1)
    theirs = torch.tensor(w, requires_grad=True)
    peer = make([theirs])
    p = parameter(w)
    ours.build([p])
    for t, g in enumerate(gradients, 1):
        if name in ("adam", "amsgrad", "adamw"):
            ours.epsilon = 1e-8 * math.sqrt(1 - 0.999**t)
        theirs.grad = torch.tensor(g)
        peer.step()
        give(p, g)
        ours.step()
        rtol = 1e-6 if name == "nadam" else 1e-10  # PyTorch keeps Nadam's product in float32
        np.testing.assert_allclose(p.data, theirs.detach().numpy(), rtol=rtol, atol=1e-12)


# -- kernels -----------------------------------------------------------------------------------------------------------

BETAS = (0.9, 0.999, 1e-7, 0.01)
KERNELS = {  # name: (number of arrays before g, call)
    "sgd": (1, lambda k, a, g, s: k.sgd(*a, g, s, 0.01)),
    "momentum": (2, lambda k, a, g, s: k.momentum(*a, g, s, 0.9, False, 0.01)),
    "nesterov": (2, lambda k, a, g, s: k.momentum(*a, g, s, 0.9, True, 0.01)),
    "adam": (3, lambda k, a, g, s: k.adam(*a, None, g, s, *BETAS)),
    "amsgrad": (4, lambda k, a, g, s: k.adam(*a, g, s, *BETAS)),
    "nadam": (3, lambda k, a, g, s: k.nadam(*a, g, s, *BETAS)),
    "adamax": (3, lambda k, a, g, s: k.adamax(*a, g, s, *BETAS)),
    "rmsprop": (2, lambda k, a, g, s: k.rmsprop(*a, None, None, g, s, 0.9, 0.0, 1e-7, 0.01)),
    "rmsprop, momentum": (3, lambda k, a, g, s: k.rmsprop(*a, None, g, s, 0.9, 0.8, 1e-7, 0.01)),
    "rmsprop, centered": (3, lambda k, a, g, s: k.rmsprop(*a[:2], None, a[2], g, s, 0.9, 0.0, 1e-7, 0.01)),
    "rmsprop, both": (4, lambda k, a, g, s: k.rmsprop(*a, g, s, 0.9, 0.8, 1e-7, 0.01)),
    "adagrad": (2, lambda k, a, g, s: k.adagrad(*a, g, s, 1e-7, 0.01)),
    "adadelta": (3, lambda k, a, g, s: k.adadelta(*a, g, s, 0.95, 1e-7, 0.01)),
}
LARGE = cpu.PARALLEL_FROM + 12_345


def fresh_state(lr=0.01):
    state = np.zeros(len(State))
    state[State.LEARNING_RATE], state[State.FIRST_SKIPPED], state[State.PRODUCT] = lr, -1, 1
    return state


def one_step(kernels, name, arrays, g, state, global_clipnorm=math.inf):
    state[State.SQUARES] = 0
    kernels.square_sum(state, g)
    kernels.begin(state, global_clipnorm)
    if name == "nadam":
        kernels.nadam_begin(state, 0.9)
    KERNELS[name][1](kernels, arrays, g, state)


def arrays_for(name, n, dtype):
    """Weights, and slots that are positive and fall from one to the next, as v and the square of a mean do."""
    count = KERNELS[name][0]
    return [random(n, 0, dtype), *((np.abs(random(n, 1, dtype)) + dtype(0.5)) / dtype(2**i) for i in range(count - 1))]


# Large float64 arrays for one rule only: every parallel kernel takes a second or two to compile.
LARGE_CASES = [(name, np.float32) for name in KERNELS] + [("adam", np.float64)]
SMALL_CASES = [(name, dtype, n) for name in KERNELS for dtype in (np.float32, np.float64) for n in (0, 1, 7, 33, 1001)]


@pytest.mark.parametrize(("name", "dtype", "n"), SMALL_CASES + [(*case, LARGE) for case in LARGE_CASES])
def test_cpu_as_reference(name, dtype, n):
    results = []
    for kernels in (cpu, reference):
        arrays, state = arrays_for(name, n, dtype), fresh_state()
        for i in range(2):
            g = random(n, 9 + i, dtype) * dtype(0.5)
            before = g.copy()
            one_step(kernels, name, arrays, g, state, global_clipnorm=2.0)
            np.testing.assert_array_equal(g, before, "g must stay readable")
        assert all(a.dtype == dtype for a in arrays)
        results.append([*arrays, state])
    eps = np.finfo(dtype).eps
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=100 * eps, atol=20 * eps)


@pytest.mark.parametrize(("name", "dtype"), LARGE_CASES)
def test_threads_change_no_byte(name, dtype):
    before = threads.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            arrays, state = arrays_for(name, LARGE, dtype), fresh_state()
            one_step(cpu, name, arrays, random(LARGE, 9, dtype), state, global_clipnorm=2.0)
            results.append([a.tobytes() for a in [*arrays, state]])
    finally:
        threads.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("n", [33, LARGE])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kernels", [cpu, reference])
@pytest.mark.parametrize("name", KERNELS)
def test_a_gradient_that_is_not_finite_changes_no_byte(name, kernels, bad, n):
    arrays, state = arrays_for(name, n, np.float32), fresh_state()
    g = random(n, 9, "float32")
    g[n // 2] = bad
    before = [a.tobytes() for a in arrays]
    one_step(kernels, name, arrays, g, state, global_clipnorm=2.0)
    one_step(kernels, name, arrays, g, state)
    assert [a.tobytes() for a in arrays] == before
    assert (state[State.ITERATIONS], state[State.SKIPPED], state[State.CALLS]) == (0, 2, 2)
    assert (state[State.FIRST_SKIPPED], state[State.SCALE], state[State.PRODUCT]) == (0, 0, 1)
    one_step(kernels, name, arrays, np.zeros_like(g), state)
    assert (state[State.ITERATIONS], state[State.SKIPPED], state[State.FIRST_SKIPPED]) == (1, 2, 0)
    assert all(np.isfinite(a).all() for a in arrays)


@pytest.mark.parametrize("kernels", [cpu, reference])
def test_norms_and_clipping(kernels):
    g = np.array([3.0, -4.0, np.nan], "float32")
    clipped = np.empty_like(g)
    kernels.clip(clipped, g, 3.5)
    np.testing.assert_array_equal(clipped, np.array([3.0, -3.5, np.nan], "float32"))
    np.testing.assert_array_equal(g, np.array([3.0, -4.0, np.nan], "float32"))
    kernels.clip(g, g, 3.5)
    np.testing.assert_array_equal(g, clipped)
    g, clipped = np.array([3.0, -4.0]), np.empty(2)
    kernels.clip_norm(clipped, g, 6.0)
    np.testing.assert_array_equal(clipped, g)
    kernels.clip_norm(clipped, g, 2.5)
    np.testing.assert_allclose(clipped, [1.5, -2.0], rtol=1e-15)
    np.testing.assert_array_equal(g, [3.0, -4.0])
    zeros, clipped = np.zeros(3), np.ones(3)
    kernels.clip_norm(clipped, zeros, 1.0)
    assert not clipped.any()
    state = fresh_state()
    kernels.square_sum(state, np.full(4, 1e25, "float32"))
    assert state[State.SQUARES] == pytest.approx(4e50), "float32 squares would overflow"
    g = random(LARGE, dtype="float32")
    state[State.SQUARES] = 1.0
    kernels.square_sum(state, g)
    assert state[State.SQUARES] == pytest.approx(1 + math.fsum(float(x) ** 2 for x in g), rel=1e-13)


def test_the_cpu_knows_the_states_layout():
    for entry in State:
        assert getattr(cpu, entry.name) == entry


# -- the optimizer -----------------------------------------------------------------------------------------------------

SHAPES = [(7, 5), (5,), (5, 3), (3,), (1,), ()]


def parameters(dtype="float32", **kwargs):
    return [parameter(random(s, i, dtype), dtype, **kwargs) for i, s in enumerate(SHAPES)]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_building_moves_the_parameters_into_one_aligned_array(dtype, backend):
    ps = parameters(dtype)
    values = [p.numpy() for p in ps]
    optimizer = optim.Adam()
    optimizer.build(ps, backend)
    for p, value in zip(ps, values, strict=True):
        np.testing.assert_array_equal(p.data, value)
        assert p.data.dtype == dtype
        for array in (p.data, p.slot):
            assert array.ctypes.data % 64 == 0
        assert np.shares_memory(p.data, optimizer.w)
        assert np.shares_memory(p.slot, optimizer.g)
    assert all(v.ctypes.data % 64 == 0 for v in optimizer.variables[1:])
    assert [v.shape for v in optimizer.variables] == [(len(State),), *SHAPES, *SHAPES]
    assert len(optimizer._segments) == 1, "one pass"
    weights, data = optimizer.w, [p.data for p in ps]
    optimizer.build(ps)
    assert optimizer.w is weights
    assert all(p.data is d for p, d in zip(ps, data, strict=True))


def test_live_views():
    """``data`` and ``grad`` are the optimizer's arrays, before and after a step."""
    p = parameter(random((3, 2)))
    optimizer = optim.SGD(0.5)
    optimizer.build([p])
    data = p.data
    g = Graph(dtype="float64")
    x = g.parameter(p)
    g.backward((x * x).sum())
    grad, before = p.grad, p.data.copy()
    assert grad is p.slot
    optimizer.step()
    assert p.data is data
    np.testing.assert_allclose(data, before - 0.5 * grad)
    np.testing.assert_array_equal(grad, 2 * before, "the gradient can still be read")


@pytest.mark.parametrize("name", ALL)
def test_many_parameters_as_one_by_one(name):
    """The flat pass, gaps included, is the formula for each parameter."""
    together, alone = parameters("float64"), parameters("float64")
    one, many = ALL[name](), [ALL[name]() for _ in alone]
    one.build(together)
    for optimizer, p in zip(many, alone, strict=True):
        optimizer.build([p])
    for step in range(3):
        for i, (p, q) in enumerate(zip(together, alone, strict=True)):
            g = random(p.shape, 100 * step + i)
            give(p, g)
            give(q, g)
            many[i].step()
        one.step()
    for p, q in zip(together, alone, strict=True):
        np.testing.assert_allclose(p.data, q.data, rtol=1e-14)
    assert np.isfinite(one.w).all()


@pytest.mark.parametrize("name", ALL)
def test_a_parameter_that_was_not_reached_is_skipped(name):
    ps = parameters()
    optimizer = ALL[name]()
    optimizer.build(ps)
    for p in ps:
        give(p, random(p.shape))
    optimizer.step()
    skipped, reached = [ps[1], ps[4]], [ps[0], ps[2], ps[3], ps[5]]
    for size in (4.0, 5.0):
        before = [v.tobytes() for v in optimizer.variables]
        weights = [p.data.tobytes() for p in ps]
        for p in reached:
            give(p, np.full(p.shape, size))
        optimizer.step()
        after = [v.tobytes() for v in optimizer.variables]
        for i, p in enumerate(ps):
            same = [weights[i] == p.data.tobytes()]
            slots = range(1 + i, len(after), len(ps))
            same += [before[s] == after[s] for s in slots]
            assert all(same) if p in skipped else not any(same)
    assert optimizer.iterations == 3
    optimizer.step()
    assert optimizer.iterations == 3, "no backward since: nothing to do"


def test_frozen_parameters_stay_outside():
    a, b = parameter(random((2, 2))), parameter(random((2, 2)), trainable=False)
    data = b.data
    optimizer = optim.SGD(0.1)
    optimizer.build([a, b])
    assert optimizer.parameters == [a]
    g = Graph(dtype="float64")
    g.backward((g.parameter(a) @ g.parameter(b)).sum())
    optimizer.step()
    assert b.data is data
    assert b.grad is None


def test_a_parameter_of_two_optimizers():
    """One home for the value; gradients and slots for each. Both step after one backward, or each after its own."""
    a, b, c = (parameter(random((3, 3), i)) for i in range(3))
    start = [p.numpy() for p in (a, b, c)]
    first, second = optim.SGD(0.1, 0.9), optim.SGD(0.2, 0.9)
    first.build([a, b])
    second.build([b, c])
    assert np.shares_memory(b.data, first.w)
    for step in (first.step, second.step):
        for p in (a, b, c):
            give(p, np.ones((3, 3)))
        step()
    np.testing.assert_allclose(a.data, start[0] - 0.1)
    np.testing.assert_allclose(b.data, start[1] - 0.3)
    np.testing.assert_allclose(c.data, start[2] - 0.2)
    for p in (a, b, c):
        give(p, np.zeros((3, 3)))
    first.step()
    second.step()
    np.testing.assert_allclose(b.data, start[1] - 0.3 - 0.9 * 0.3)
    np.testing.assert_allclose(first.variables[2], np.full((3, 3), -0.09))
    np.testing.assert_allclose(second.variables[1], np.full((3, 3), -0.18))


def test_a_second_optimizer_for_the_same_parameters_is_one_pass_too():
    ps = parameters()
    optim.SGD(0.1).build(ps)
    later = optim.Adam()
    later.build(ps)
    assert len(later._segments) == 1
    for p in ps:
        give(p, np.ones(p.shape))
    before = [p.numpy() for p in ps]
    later.step()
    for p, value in zip(ps, before, strict=True):
        np.testing.assert_allclose(p.data, value - 0.001, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["cpu", "reference", "device"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_aligned_memory_is_the_backends_business(name, dtype):
    backend = device_backend() if name == "device" else backends.get(name)
    for size in (0, 1, 17, 10_000):
        a = backend.aligned(size, 2.5, dtype)
        assert isinstance(a, backend.array_type)
        assert (a.shape, a.dtype) == ((size,), np.dtype(dtype))
        assert (to_numpy(a) == 2.5).all()
        assert name == "device" or not size or a.ctypes.data % 64 == 0


def kernels_and_biases(layers=20, dtype="float64"):
    return [parameter(random(s, i, dtype), dtype) for i in range(layers) for s in ((4, 3), (3,))]


def test_decay_for_kernels_alone_takes_two_passes():
    ps, plain_ps = kernels_and_biases(), kernels_and_biases()
    optimizer = optim.AdamW(0.1, weight_decay=0.2)
    optimizer.build(ps)
    assert len(optimizer._segments) == 2
    assert [s.weight_decay for s in optimizer._segments] == [0.2, 0.0]
    assert optimizer.w.size == optimizer.total == 20 * (16 + 8)
    alone = [optim.AdamW(0.1, weight_decay=0.2) for _ in plain_ps]
    for one, p in zip(alone, plain_ps, strict=True):
        one.build([p])
    for i, (p, q) in enumerate(zip(ps, plain_ps, strict=True)):
        g = random(p.shape, i)
        give(p, g)
        give(q, g)
    optimizer.step()
    for one in alone:
        one.step()
    for p, q in zip(ps, plain_ps, strict=True):
        np.testing.assert_array_equal(p.data, q.data)
    assert [v.shape for v in optimizer.variables[1:]] == [p.shape for p in ps] * 2, "in the order of the parameters"
    for i, one in enumerate(alone):
        np.testing.assert_array_equal(optimizer.variables[1 + i], one.variables[1])


@pytest.mark.parametrize("first", [optim.AdamW, optim.SGD])
@pytest.mark.parametrize("second", [optim.AdamW, optim.SGD])
def test_homes_that_lie_in_another_order(first, second):
    """The second optimizer follows the home where it can, and is right where it cannot."""
    ps, qs = kernels_and_biases(5), kernels_and_biases(5)
    first().build(ps)
    later, alone = second(0.1), second(0.1)
    later.build(ps[::-1])
    alone.build(qs)
    assert later.w is None
    assert len(later._segments) == {optim.AdamW: 2, optim.SGD: 1}[second] or (first, second) == (optim.SGD, optim.AdamW)
    for i, (p, q) in enumerate(zip(ps, qs, strict=True)):
        g = random(p.shape, i)
        give(p, g)
        give(q, g)
    later.step()
    alone.step()
    for p, q in zip(ps, qs, strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_only_the_homeless_get_new_memory():
    a, b, c = (parameter(random((8, 8), i)) for i in range(3))
    optim.SGD(0.1).build([a, c])
    home = a.data
    second = optim.SGD(0.1)
    second.build([a, b, c])
    assert a.data is home
    assert (second.w.size, second.g.size) == (64, 192)
    assert np.shares_memory(b.data, second.w)
    before = [p.numpy() for p in (a, b, c)]
    for p in (a, b, c):
        give(p, np.ones((8, 8)))
    second.step()
    for p, value in zip((a, b, c), before, strict=True):
        np.testing.assert_allclose(p.data, value - 0.1)


def test_networks_trained_in_turn_keep_their_segments(monkeypatch):
    ps = kernels_and_biases(6)
    optimizer = optim.Adam()
    optimizer.build(ps)
    made, original = [], optimizer._make_segments
    monkeypatch.setattr(optimizer, "_make_segments", lambda indices: made.append(indices) or original(indices))
    for _ in range(4):
        for some in (ps[:4], ps[4:], ps[::3]):
            for p in some:
                give(p, np.ones(p.shape))
            optimizer.step()
    assert len(made) == 3
    for i in range(200):
        for p in {ps[0], ps[i % 12], ps[i // 12 % 12]}:
            give(p, np.ones(p.shape))
        optimizer.step()
    assert len(optimizer._partial) <= 64, "nor does it keep them all"


@pytest.mark.parametrize("clip", [{"clipvalue": 0.5}, {"clipnorm": 0.5}, {"global_clipnorm": 0.5}])
def test_clipping_leaves_the_gradient_as_backward_wrote_it(clip):
    ps, expected = kernels_and_biases(2), kernels_and_biases(2)
    clipped, plain_sgd, peer = optim.SGD(1.0, **clip), optim.SGD(1.0), optim.SGD(1.0)
    start = [p.numpy() for p in ps]
    plain_sgd.build(ps)
    clipped.build(ps)
    peer.build(expected)
    gradients = [random(p.shape, 50 + i) for i, p in enumerate(ps)]
    for p, q, g in zip(ps, expected, gradients, strict=True):
        give(p, g)
        give(q, g)
    clipped.step()
    changed = [p.numpy() for p in ps]
    for p, g in zip(ps, gradients, strict=True):
        np.testing.assert_array_equal(p.grad, g)
    plain_sgd.step()
    peer.step()
    for p, q, w, after in zip(ps, expected, start, changed, strict=True):
        assert not np.allclose(after - w, q.data - w), "it was clipped"
        np.testing.assert_allclose(p.data - after, q.data - w, atol=1e-14)
    own = clipped.clipped is not clipped.g
    assert own == ("global_clipnorm" not in clip), "an array of its own only where it is needed"


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------


class Interrupted(optim.AdamW):
    """Presses Ctrl-C in the middle of each update."""

    def update(self, kernels, segment):
        self.handlers.append(signal.getsignal(signal.SIGINT))
        signal.raise_signal(signal.SIGINT)
        super().update(kernels, segment)


def after_ctrl_c(ps):
    """The values after a step that was interrupted in each of its kernel calls, and the handlers it ran under."""
    optimizer = Interrupted(0.1)
    optimizer.handlers = []
    optimizer.build(ps)
    for p in ps:
        give(p, np.ones(p.shape))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        optimizer.step()
    assert signal.getsignal(signal.SIGINT) is before
    return [p.numpy() for p in ps], optimizer.handlers


def test_ctrl_c_never_leaves_half_a_step():
    ps, peers = kernels_and_biases(3), kernels_and_biases(3)
    values, handlers = after_ctrl_c(ps)
    assert len(handlers) == 2
    expected = optim.AdamW(0.1)
    expected.build(peers)
    for p in peers:
        give(p, np.ones(p.shape))
    expected.step()
    for value, p in zip(values, peers, strict=True):
        np.testing.assert_array_equal(value, p.data)


def test_ctrl_c_waits_for_the_constraint():
    values, _ = after_ctrl_c([parameter(random((4, 3)), constraint=MaxNorm(0.5))])
    assert (np.linalg.norm(values[0], axis=0) <= 0.5 + 1e-6).all()


def test_one_kernel_call_does_without_a_handler():
    p = parameter(random((4, 3)))
    before = p.numpy()
    values, handlers = after_ctrl_c([p])
    assert handlers == [signal.getsignal(signal.SIGINT)]
    np.testing.assert_array_equal(values[0], before)


def test_a_step_in_another_thread():
    """Where no handler may be set."""
    ps = kernels_and_biases(3)
    optimizer = optim.AdamW(0.1)
    optimizer.build(ps)
    for p in ps:
        give(p, np.ones(p.shape))
    thread = threading.Thread(target=optimizer.step)
    thread.start()
    thread.join()
    assert optimizer.iterations == 1
    np.testing.assert_allclose(optimizer.variables[1], 0.1)


def stepped(optimizer, gradients, values=None):
    ps = [parameter(np.zeros_like(g) if values is None else values[i]) for i, g in enumerate(gradients)]
    optimizer.build(ps)
    for p, g in zip(ps, gradients, strict=True):
        give(p, g)
    optimizer.step()
    return [p.data for p in ps]


def test_clipping_three_ways():
    g = [np.array([[3.0, -4.0]]), np.array([0.3, 0.4])]
    by_value = stepped(optim.SGD(1.0, clipvalue=0.35), g)
    np.testing.assert_allclose(by_value[0], [[-0.35, 0.35]])
    np.testing.assert_allclose(by_value[1], [-0.3, -0.35])
    by_norm = stepped(optim.SGD(1.0, clipnorm=1.0), g)
    np.testing.assert_allclose(by_norm[0], [[-0.6, 0.8]])
    np.testing.assert_allclose(by_norm[1], [-0.3, -0.4])
    together = stepped(optim.SGD(1.0, global_clipnorm=1.0), g)
    norm = math.sqrt(25.25)
    np.testing.assert_allclose(together[0], -g[0] / norm)
    np.testing.assert_allclose(together[1], -g[1] / norm)
    small = stepped(optim.SGD(1.0, global_clipnorm=6.0), g)
    np.testing.assert_array_equal(small[0], -g[0])


@pytest.mark.parametrize("clip", [{}, {"clipvalue": 1.0}, {"clipnorm": 1.0}, {"global_clipnorm": 1.0}])
@pytest.mark.parametrize("name", ALL)
def test_a_step_is_skipped_whole(name, clip):
    """Also with clipping, and with a constraint that would change the last bit."""
    ps = [parameter(random((4, 3)), "float32", constraint=MaxNorm(0.5)), parameter(random(3, 1), "float32")]
    optimizer = ALL[name](**clip)
    optimizer.build(ps)
    for p in ps:
        give(p, np.ones(p.shape))
    optimizer.step()
    arrays = [p.data for p in ps] + optimizer.variables[1:]
    before = [a.tobytes() for a in arrays]
    give(ps[0], np.ones((4, 3)))
    give(ps[1], [1.0, np.inf, np.nan])
    optimizer.step()
    assert [a.tobytes() for a in arrays] == before
    assert (optimizer.iterations, optimizer.skipped) == (1, 1)
    assert optimizer.state[State.FIRST_SKIPPED] == 1


def test_constraints_hold_after_a_step():
    p = parameter(random((4, 3)), constraint=MaxNorm(0.5))
    optimizer = optim.SGD(0.1)
    optimizer.build([p])
    give(p, np.ones((4, 3)))
    optimizer.step()
    assert (np.linalg.norm(p.data, axis=0) <= 0.5).all()


def test_weight_decay_is_for_kernels():
    zeros = [np.zeros((2, 2)), np.zeros(2), np.zeros((2, 3))]
    ones = [np.ones_like(z) for z in zeros]
    for optimizer in (optim.AdamW(0.1, weight_decay=0.5), optim.SGD(0.1, weight_decay=0.5)):
        kernel, bias, other = stepped(optimizer, zeros, ones)
        assert (kernel == 0.95).all()
        assert (other == 0.95).all()
        assert (bias == 1).all()
    everything = stepped(optim.AdamW(0.1, weight_decay=0.5, decay_biases=True), zeros, ones)
    assert all((w == 0.95).all() for w in everything)
    assert all((w == 1).all() for w in stepped(optim.Adam(0.1), zeros, ones))


def test_sgd_without_momentum_keeps_no_velocity():
    ps = parameters()
    optimizer = optim.SGD(0.1)
    optimizer.build(ps)
    assert len(optimizer.variables) == 1
    assert optimizer.slot_arrays == []


# -- learning rate -----------------------------------------------------------------------------------------------------


def test_the_learning_rate_can_be_set_and_keeps_the_state():
    optimizer = optim.SGD(learning_rate=0.1, momentum=0.5)
    assert float(optimizer.learning_rate) == 0.1
    p = parameter([0.0])
    optimizer.build([p])
    give(p, [1.0])
    optimizer.step()
    optimizer.learning_rate = 0.01
    assert optimizer.learning_rate == 0.01
    give(p, [1.0])
    optimizer.step()
    np.testing.assert_allclose(p.data, [-0.1 + (-0.05 - 0.01)])
    assert optimizer.iterations == 2
    with pytest.raises(ValueError, match="SGD expects learning_rate >= 0, got -1"):
        optimizer.learning_rate = -1
    assert optimizer.learning_rate == 0.01


def test_a_constant_learning_rate_is_written_when_it_changes():
    """So that a step that is recorded does not take it from the host."""
    p = parameter([0.0])

    def change(optimizer):
        give(p, [1.0])
        before = p.numpy()
        optimizer.step()
        return (before - p.data).item()

    optimizer = optim.SGD(0.25)
    optimizer.build([p])
    assert change(optimizer) == 0.25
    optimizer.state[State.LEARNING_RATE] = 0.5
    assert change(optimizer) == 0.5, "the step did not write"
    optimizer.learning_rate = 0.125
    assert change(optimizer) == 0.125
    optimizer.learning_rate = schedules.PiecewiseConstantDecay([3], [2.0, 1.0])
    assert change(optimizer) == 2.0
    assert change(optimizer) == 1.0
    optimizer.learning_rate = 0.25
    assert change(optimizer) == 0.25


def test_schedules_and_decay():
    schedule = schedules.PiecewiseConstantDecay([0, 1], [1.0, 0.1, 0.01])
    optimizer = optim.SGD(schedule)
    assert optimizer.schedule is schedule
    assert float(optimizer.learning_rate) == 1.0
    p = parameter([0.0])
    optimizer.build([p])
    for expected in (-1.0, -1.1, -1.11, -1.12):
        give(p, [1.0])
        optimizer.step()
        np.testing.assert_allclose(p.data, [expected])
    old = optim.SGD(lr=0.5, decay=1.0)
    assert old.learning_rate == 0.5
    q = parameter([0.0])
    old.build([q])
    for expected in (-0.5, -0.75, -0.75 - 0.5 / 3):
        give(q, [1.0])
        old.step()
        np.testing.assert_allclose(q.data, [expected])


def test_a_skipped_step_does_not_advance_the_schedule():
    optimizer = optim.SGD(schedules.PiecewiseConstantDecay([0], [1.0, 0.1]))
    p = parameter([0.0])
    optimizer.build([p])
    for g in (np.nan, 1.0):
        give(p, [g])
        optimizer.step()
    np.testing.assert_allclose(p.data, [-1.0])


# -- names, configs, refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "nadam", "adamax", "rmsprop", "adagrad", "adadelta"])
def test_names_and_configs(name):
    optimizer = optim.get(name)
    cls = type(optimizer)
    assert cls.__name__.lower() == name
    assert type(optim.get(cls.__name__)) is cls
    assert type(optim.get(cls)) is cls
    assert optim.get(optimizer) is optimizer
    assert optim.get(name) is not optimizer, "two models never share slots"
    changed = cls(learning_rate=schedules.CosineDecay(0.1, 10), weight_decay=0.1, clipnorm=2.0, name="mine")
    config = json.loads(json.dumps(changed.config()))
    again = optim.get({"class": cls.__name__, "config": config})
    assert again.config() == changed.config()
    assert again.schedule(3) == changed.schedule(3)


def test_defaults_are_kerass():
    rates = {
        "SGD": 0.01,
        **dict.fromkeys(("Adam", "AdamW", "Nadam", "Adamax", "RMSprop", "Adagrad", "Adadelta"), 0.001),
    }
    assert {name: getattr(optim, name)().learning_rate for name in rates} == rates
    adam = optim.Adam()
    assert (adam.beta_1, adam.beta_2, adam.epsilon, adam.amsgrad) == (0.9, 0.999, 1e-7, False)
    assert optim.AdamW().weight_decay == 0.004
    assert (optim.RMSprop().rho, optim.RMSprop().epsilon) == (0.9, 1e-7)
    assert optim.Adagrad().initial_accumulator_value == 0.1
    assert (optim.Adadelta().rho, optim.SGD().momentum) == (0.95, 0.0)


REFUSED = [
    (lambda: optim.SGD(-0.1), ValueError, "SGD expects learning_rate >= 0, got -0.1"),
    (lambda: optim.Adam(math.nan), ValueError, "Adam expects learning_rate >= 0, got nan"),
    (lambda: optim.SGD(lr=-1), ValueError, "SGD expects learning_rate"),
    (lambda: optim.SGD(0.1, momentum=1.1), ValueError, "SGD expects 0 <= momentum < 1, got 1.1"),
    (lambda: optim.Adam(beta_1=1), ValueError, "Adam expects 0 <= beta_1 < 1, got 1"),
    (lambda: optim.Nadam(beta_2=-0.1), ValueError, "Nadam expects 0 <= beta_2 < 1"),
    (lambda: optim.Adamax(epsilon=0), ValueError, "Adamax expects epsilon > 0"),
    (lambda: optim.RMSprop(rho=1), ValueError, "RMSprop expects 0 <= rho < 1"),
    (lambda: optim.Adagrad(initial_accumulator_value=-1), ValueError, "Adagrad expects initial_accumulator_value >= 0"),
    (lambda: optim.SGD(clipnorm=-1), ValueError, "SGD expects clipnorm > 0, got -1"),
    (lambda: optim.SGD(clipvalue=0), ValueError, "SGD expects clipvalue > 0"),
    (lambda: optim.SGD(global_clipnorm=math.nan), ValueError, "SGD expects global_clipnorm > 0"),
    (lambda: optim.SGD(clipnorm=1, clipvalue=1), ValueError, "at most one of"),
    (lambda: optim.SGD(decay=-1), ValueError, "SGD expects decay >= 0"),
    (lambda: optim.AdamW(weight_decay=-1), ValueError, "AdamW expects weight_decay >= 0"),
    (lambda: optim.get("admm"), ValueError, "did you mean 'adam"),
    (lambda: optim.get(0.1), TypeError, "optim.Adam"),
    (lambda: optim.SGD().step(), RuntimeError, "SGD.step.. before build: call optimizer.build"),
    (lambda: optim.SGD().build([parameter([1.0]), parameter([1.0], "float32")]), ValueError, "one dtype"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_refused_build_builds_nothing():
    optimizer = optim.SGD()
    with pytest.raises(ValueError, match="one dtype"):
        optimizer.build([parameter([1.0]), parameter([1.0], "float32")])
    assert not optimizer.built
    optimizer.build([parameter([1.0])])
    with pytest.raises(RuntimeError, match="use a new optimizer"):
        optimizer.build([parameter([1.0])])


class SignDescent(optim.Optimizer):
    """An optimizer as a user writes one: w = w - lr sign(g), and a count of the steps as a slot."""

    slots = ("count",)

    def __init__(self, learning_rate=0.1, **base):
        super().__init__(learning_rate, **base)

    def update(self, kernels, segment):
        go = self.state[State.SCALE] > 0
        (count,) = segment.slots
        count[...] += go
        segment.w[...] -= np.where(go, self.state[State.LEARNING_RATE] * np.sign(segment.g), 0)


def test_an_optimizer_of_ones_own():
    optimizer = SignDescent()
    assert optim.get(optimizer) is optimizer
    p = parameter([1.0, 2.0])
    optimizer.build([p])
    for g in ([3.0, -0.5], [np.nan, 1.0], [1.0, 0.0]):
        give(p, g)
        optimizer.step()
    np.testing.assert_allclose(p.data, [0.8, 2.1])
    np.testing.assert_array_equal(optimizer.variables[1], [2, 2])
    assert SignDescent(**optimizer.config()).learning_rate == 0.1
