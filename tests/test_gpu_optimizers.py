"""Optimizers on the gpu backend: twenty steps as the reference, skipped steps, sizes and places of every path."""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np
import pytest

from tests import test_optimizers
from tests.cuda.standin import gpu_backend
from tinynn import backends, optim
from tinynn.backends.base import State
from tinynn.backends.reference import optimizers as reference
from tinynn.parameter import Parameter

shared: Any = test_optimizers
ALL, KERNELS = shared.ALL, shared.KERNELS
arrays_for, fresh_state, one_step = shared.arrays_for, shared.fresh_state, shared.one_step
GPU: Any = gpu_backend()
gpu: Any = importlib.import_module("tinynn.backends.gpu.optimizers")
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")

RTOL = {"float32": 2e-5, "float64": 1e-12}
CLIPPING = {
    "": {},
    "clipvalue": {"clipvalue": 0.5},
    "clipnorm": {"clipnorm": 1.0},
    "global_clipnorm": {"global_clipnorm": 2.0},
}


def on_gpu(arrays: list[np.ndarray], offset: int = 0) -> list[Any]:
    """Device arrays that begin ``offset`` elements after a place of 256 bytes, with NaN around."""
    result = []
    for x in arrays:
        wide = GPU.asarray(np.concatenate([np.full(offset, np.nan), x, np.full(3, np.nan)]), x.dtype)
        result.append(wide[offset : offset + x.size])
    return result


def close(got: Any, want: np.ndarray, tolerance: float) -> None:
    got = GPU.to_numpy(got)
    assert got.dtype == want.dtype
    assert np.isfinite(want).all()
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * np.abs(want).max(initial=1e-3))


# -- whole optimizers --------------------------------------------------------------------------------------------------

SHAPES = [(5, 7), (7,), (3, 3, 2), ()]


def twenty_steps(name: str, dtype: str, backend: Any, options: dict[str, Any]) -> tuple[list[Any], optim.Optimizer]:
    rng = np.random.default_rng(3)
    ps = []
    for shape in SHAPES:
        p = Parameter(shape, "zeros", dtype=dtype)
        p.backend = backend
        p.assign(rng.standard_normal(shape))
        ps.append(p)
    optimizer = ALL[name](**options)
    optimizer.build(ps, backend)
    for step in range(20):
        for p in ps:
            g = rng.standard_normal(p.shape).astype(dtype)
            if step == 9 and p is ps[2]:
                g[1, 2, 0] = np.nan
            p.receive(backend.asarray(g, dtype))
        optimizer.step()
    return [*(p.data for p in ps), *optimizer.variables], optimizer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("clipping", CLIPPING)
@pytest.mark.parametrize("name", ALL)
def test_twenty_steps_as_the_reference(name: str, clipping: str, dtype: str) -> None:
    options = {"weight_decay": 0.05, **CLIPPING[clipping]}
    got, optimizer = twenty_steps(name, dtype, GPU, options)
    want, _ = twenty_steps(name, dtype, backends.get("reference"), options)
    assert (optimizer.iterations, optimizer.skipped) == (19, 1)
    for a, b in zip(got, want, strict=True):
        close(a, b, RTOL[dtype])


def test_the_states_layout() -> None:
    text = (gpu.cuda.FOLDER / "optimizer_state.cuh").read_text()
    assert f"enum State {{ {', '.join(entry.name for entry in State)} }};" in text


# -- the rules ---------------------------------------------------------------------------------------------------------


def two_steps(name: str, n: int, dtype: str, offset: int = 0) -> tuple[list[Any], list[np.ndarray]]:
    """Arrays and state after two steps: on the gpu, and of the reference."""
    host, host_state = arrays_for(name, n, np.dtype(dtype).type), fresh_state()
    arrays, state = on_gpu(host, offset), GPU.asarray(host_state, "float64")
    rng = np.random.default_rng(8)
    for _ in range(2):
        g = rng.standard_normal(n).astype(dtype)
        (on,) = on_gpu([g], offset)
        one_step(GPU.optimizers, name, arrays, on, state, global_clipnorm=2.0)
        one_step(reference, name, host, g.copy(), host_state, global_clipnorm=2.0)
        np.testing.assert_array_equal(GPU.to_numpy(on), g, "g must stay readable")
    return [*arrays, state], [*host, host_state]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KERNELS)
def test_sizes_and_places(name: str, dtype: str) -> None:
    for n, offset in ((1, 0), (3, 1), (4, 0), (5, 16), (7, 4), (1026, 0), (1026, 1), (1030, 16)):
        got, want = two_steps(name, n, dtype, offset)
        for a, b in zip(got, want, strict=True):
            close(a, b, RTOL[dtype])


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("name", ["adam", "rmsprop, both"])
def test_blocks_go_on_in_strides(name: str, offset: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "MOST_BLOCKS", 2)
    got, want = two_steps(name, 5003, "float32", offset)
    for a, b in zip(got, want, strict=True):
        close(a, b, 2e-5)


@pytest.mark.parametrize("name", KERNELS)
def test_nothing_to_do(name: str) -> None:
    got, want = two_steps(name, 0, "float32")
    close(got[-1], want[-1], 1e-15)


@pytest.mark.parametrize("n", [33, 1026])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", KERNELS)
def test_a_gradient_that_is_not_finite_changes_no_byte(name: str, bad: float, n: int) -> None:
    host = arrays_for(name, n, np.float32)
    arrays, state = on_gpu(host), GPU.asarray(fresh_state(), "float64")
    g = np.random.default_rng(0).standard_normal(n).astype("float32")
    g[n // 2] = bad
    (on,) = on_gpu([g])
    one_step(GPU.optimizers, name, arrays, on, state, global_clipnorm=2.0)
    one_step(GPU.optimizers, name, arrays, on, state)
    assert [GPU.to_numpy(a).tobytes() for a in arrays] == [a.tobytes() for a in host]
    state = GPU.to_numpy(state)
    assert (state[State.ITERATIONS], state[State.SKIPPED], state[State.CALLS]) == (0, 2, 2)
    assert (state[State.FIRST_SKIPPED], state[State.SCALE], state[State.PRODUCT]) == (0, 0, 1)


@pytest.mark.parametrize(
    ("squares", "rate", "clipnorm", "limit"),
    [
        (4.0, 0.1, math.inf, math.inf),
        (4.0, 0.1, 1.0, math.inf),
        (4.0, 0.1, 3, math.inf),
        (0.0, 0.0, 1.0, math.inf),
        (4.0, 0.1, math.inf, 4.0),
        (4.1, 0.1, math.inf, 4.0),
        (math.inf, 0.1, 1.0, math.inf),
        (math.nan, 0.1, math.inf, math.inf),
        (4.0, -0.1, math.inf, math.inf),
        (4.0, math.nan, math.inf, math.inf),
        (4.0, math.inf, math.inf, math.inf),
    ],
)
def test_what_begins_a_step(squares: float, rate: float, clipnorm: float, limit: float) -> None:
    states: list[Any] = []
    for kernels, put in ((GPU.optimizers, GPU.asarray), (reference, np.array)):
        state = fresh_state(rate)
        state[[State.ITERATIONS, State.SQUARES, State.CALLS, State.PRODUCT]] = 6, squares, 7, 0.5
        state = put(state, "float64")
        for _ in range(2):
            kernels.begin(state, clipnorm, limit)
            kernels.nadam_begin(state, 0.9)
        states.append(GPU.to_numpy(state))
    np.testing.assert_allclose(states[0], states[1], rtol=1e-14)


# -- norms and clipping ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("n", [1, 5, 4096, gpu.ONE_BLOCK, gpu.ONE_BLOCK + 1, 50_001])
def test_sums_of_squares(n: int, offset: int) -> None:
    g = np.random.default_rng(1).standard_normal(n).astype("float32")
    (on,) = on_gpu([g], offset)
    expected = 1 + math.fsum(float(x) ** 2 for x in g)
    bytes_of = set()
    for _ in range(3):
        state = GPU.asarray(np.ones(len(State)), "float64")
        GPU.optimizers.square_sum(state, on)
        bytes_of.add(GPU.to_numpy(state).tobytes())
        assert GPU.to_numpy(state)[State.SQUARES] == pytest.approx(expected, rel=1e-13)
    assert len(bytes_of) == 1
    assert (np.delete(GPU.to_numpy(state), State.SQUARES) == 1).all()


@pytest.mark.parametrize("n", [7, gpu.ONE_BLOCK + 1])
def test_squares_that_float32_cannot_hold(n: int) -> None:
    for value in (1e25, 1e-30, np.nan, np.inf):
        (on,) = on_gpu([np.full(n, value, "float32")])
        state = GPU.asarray(np.zeros(len(State)), "float64")
        GPU.optimizers.square_sum(state, on)
        expected = n * float(np.float32(value)) ** 2
        assert GPU.to_numpy(state)[State.SQUARES] == pytest.approx(expected, rel=1e-12, nan_ok=True)


def test_many_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "ONE_BLOCK", 0)
    monkeypatch.setattr(gpu, "SUMMED_BY_THREAD", 1)
    monkeypatch.setattr(gpu, "MOST_PARTS", 301)
    (on,) = on_gpu([np.ones(90_000, "float32")])
    state = GPU.asarray(np.zeros(len(State)), "float64")
    GPU.optimizers.square_sum(state, on)
    assert GPU.to_numpy(state)[State.SQUARES] == 90_000


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("n", [0, 1, 6, 1001, gpu.ONE_BLOCK + 3])
def test_clipping(n: int, offset: int, in_place: bool, dtype: str) -> None:
    g = np.random.default_rng(2).standard_normal(n).astype(dtype)
    for kernel, value in (("clip", 0.5), ("clip", 1), ("clip_norm", 0.25), ("clip_norm", 1e6), ("clip_norm", 1)):
        (on,) = on_gpu([g], offset)
        clipped = on if in_place else on_gpu([np.full(n, np.nan, dtype)], offset)[0]
        getattr(GPU.optimizers, kernel)(clipped, on, value)
        expected = np.empty_like(g)
        getattr(reference, kernel)(expected, g, value)
        np.testing.assert_allclose(GPU.to_numpy(clipped), expected, rtol=1e-6 if dtype == "float32" else 1e-14)
        if not in_place:
            np.testing.assert_array_equal(GPU.to_numpy(on), g)


@pytest.mark.parametrize("n", [6, gpu.ONE_BLOCK + 1])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30])
def test_clipping_what_is_not_finite(bad: float, n: int) -> None:
    g = np.linspace(-2, 2, n, dtype="float32")
    g[2] = bad
    for kernel, value in (("clip", 0.5), ("clip_norm", 3.0)):
        (on,), (clipped,) = on_gpu([g]), on_gpu([np.zeros_like(g)])
        getattr(GPU.optimizers, kernel)(clipped, on, value)
        expected = np.empty_like(g)
        getattr(reference, kernel)(expected, g, value)
        np.testing.assert_allclose(GPU.to_numpy(clipped), expected, rtol=1e-6, atol=1e-30)
