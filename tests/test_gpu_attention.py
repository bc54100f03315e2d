"""Attention on the gpu backend: rows of every length, masks, dropout, layouts, NaN, and the same bytes twice."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest

from tests.cuda.standin import gpu_backend
from tinynn.backends.reference import attention as reference

GPU: Any = gpu_backend()
gpu: Any = importlib.import_module("tinynn.backends.gpu.attention")
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")

LENGTHS = [1, 2, 31, 32, 33, 64, 65, 256, 257, 1024, 1025, 1600]
"""Scores of a row: two, eight or 32 of a lane, and a block."""


class Problem:
    """Arrays of one call, on the host."""

    def __init__(
        self, sizes: tuple[int, ...], dtype: Any = "float64", mask: Any = None, keep: bool = False, seed: int = 0
    ):
        N, T, S, A, D, E = sizes
        rng = np.random.default_rng(seed)
        self.dtype = dtype

        def draw(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(dtype)

        self.q, self.k, self.v, self.dy = draw(N, T, A, D), draw(N, S, A, D), draw(N, S, A, E), draw(N, T, A, E)
        self.mask: Any = None if mask is None else rng.random(mask) < 0.7
        self.keep = 2 * (rng.random((N, A, T, S)) < 0.5).astype(dtype) if keep else None
        self.scale, self.p_shape = 0.7, (N, A, T, S)

    def on_gpu(self, causal: bool = False, wanted: str = "qkv") -> list[Any]:
        """y, p, then dq, dk, dv."""
        return self.run(GPU.attention, GPU.asarray, GPU.empty, GPU.to_numpy, causal, wanted)

    def expected(self, causal: bool = False, wanted: str = "qkv") -> list[Any]:
        return self.run(reference, lambda x, dtype: x, np.empty, np.array, causal, wanted)

    def run(self, row: Any, put: Any, empty: Any, get: Any, causal: bool, wanted: str) -> list[Any]:
        def device(x: Any) -> Any:
            return None if x is None else put(x, x.dtype)

        q, k, v, dy, mask, keep = map(device, (self.q, self.k, self.v, self.dy, self.mask, self.keep))
        y, p = empty(self.dy.shape, self.dtype), empty(self.p_shape, self.dtype)
        row.forward(y, p, q, k, v, mask, keep, self.scale, causal)
        results = [get(y), get(p)]
        gradients = [
            empty(x.shape, self.dtype) if name in wanted else None
            for name, x in zip("qkv", (self.q, self.k, self.v), strict=True)
        ]
        row.backward(*gradients, dy, p, q, k, v, keep, self.scale, causal)
        for array, before in zip((q, k, v, dy), (self.q, self.k, self.v, self.dy), strict=True):
            np.testing.assert_array_equal(get(array), before, "an input was overwritten")
        return [*results, *(None if g is None else get(g) for g in gradients)]


def agree(got: list[Any], want: list[Any], tolerance: float) -> None:
    for name, a, b in zip(("y", "p", "dq", "dk", "dv"), got, want, strict=True):
        assert (a is None) == (b is None), name
        if a is not None:
            assert a.shape == b.shape
            error = np.abs(a - b).max(initial=0) / max(np.abs(b).max(initial=0), 1e-2)
            assert error <= tolerance, f"{name}: {error:.1e}"


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("S", LENGTHS)
def test_rows_of_every_length(S: int, keep: bool, causal: bool) -> None:
    problem = Problem((1, 3, S, 2, 3, 4), keep=keep, mask=(1, 1, 3, S) if keep else None)
    agree(problem.on_gpu(causal), problem.expected(causal), 1e-12)


@pytest.mark.parametrize(
    "sizes",
    [(2, 3, 4, 3, 33, 65), (1, 33, 33, 1, 32, 31), (1, 65, 34, 2, 3, 4), (3, 1, 5, 2, 40, 1), (1, 1, 1, 1, 1, 1)],
    ids=str,
)
def test_tiles_of_the_layouts(sizes: tuple[int, ...]) -> None:
    problem = Problem(sizes)
    agree(problem.on_gpu(), problem.expected(), 1e-12)


@pytest.mark.parametrize("S", [70, 1030])
def test_blocks_go_on_in_strides(S: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "MOST_BLOCKS", 2)
    problem = Problem((2, 7, S, 2, 33, 40), keep=True, mask=(2, 1, 7, S))
    for _ in range(2):
        agree(problem.on_gpu(), problem.expected(), 1e-12)


@pytest.mark.parametrize("T", [40, 1030])
def test_float32(T: int) -> None:
    problem = Problem((1, 20, T, 2, 16, 16), "float32", keep=True)
    agree(problem.on_gpu(), problem.expected(), 2e-5)


@pytest.mark.parametrize("bits", range(16))
def test_masks_of_every_shape(bits: int) -> None:
    N, T, S, A = 2, 3, 5, 2
    shape = tuple(1 if bits >> i & 1 else n for i, n in enumerate((N, A, T, S)))
    problem = Problem((N, T, S, A, 2, 3), mask=shape)
    for causal in (False, True):
        got, want = problem.on_gpu(causal), problem.expected(causal)
        agree(got, want, 1e-12)
        assert ((got[1] == 0) == (want[1] == 0)).all()


@pytest.mark.parametrize("S", [6, 1100])
def test_queries_without_keys_get_zeros(S: int) -> None:
    problem = Problem((1, 3, S, 1, 2, 2), mask=(1, 1, 3, S))
    problem.mask[:, :, 1] = False
    got = problem.on_gpu()
    agree(got, problem.expected(), 1e-12)
    assert not got[0][:, 1].any()
    assert not got[1][:, :, 1].any()
    assert not got[2][:, 1].any()


@pytest.mark.parametrize("wanted", ["", "q", "k", "v", "qk", "qv", "kv"])
@pytest.mark.parametrize("keep", [False, True])
def test_gradients_that_nobody_wants(wanted: str, keep: bool) -> None:
    problem = Problem((2, 3, 4, 2, 3, 2), keep=keep)
    agree(problem.on_gpu(wanted=wanted), problem.expected(wanted=wanted), 1e-12)


@pytest.mark.parametrize(
    "sizes",
    [(0, 2, 3, 2, 2, 2), (2, 0, 3, 2, 2, 2), (2, 3, 0, 2, 2, 2), (2, 3, 2, 2, 0, 2), (2, 3, 2, 2, 2, 0)],
    ids=str,
)
def test_axes_of_no_size(sizes: tuple[int, ...]) -> None:
    got = Problem(sizes).on_gpu()
    for array in got:
        assert np.isfinite(array).all()
    if sizes[2]:
        agree(got, Problem(sizes).expected(), 1e-12)
    else:
        assert not got[0].any()
        assert not got[2].any()


@np.errstate(invalid="ignore")
def nan_where_the_reference_has_it(problem: Problem) -> None:
    for got, want in zip(problem.on_gpu(), problem.expected(), strict=True):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(want))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("S", [5, 70, 1030])
def test_what_is_not_finite_stays_in_its_rows(S: int, bad: float) -> None:
    problem = Problem((1, 3, S, 1, 2, 2), "float32", mask=(1, 1, 1, S))
    problem.q[0, 1, 0, 0] = bad
    nan_where_the_reference_has_it(problem)
    problem.mask[..., 2] = False
    problem.k[0, 2] = problem.v[0, 2] = bad
    nan_where_the_reference_has_it(problem)


@pytest.mark.parametrize("S", [70, 1030])
def test_the_same_bytes_twice(S: int) -> None:
    problem = Problem((2, 5, S, 2, 3, 33), "float32", mask=(2, 1, 1, S), keep=True)
    first = [a.tobytes() for a in problem.on_gpu(True) if a is not None]
    for _ in range(2):
        assert [a.tobytes() for a in problem.on_gpu(True) if a is not None] == first


def test_dropout_leaves_p_itself() -> None:
    with_keep, without = Problem((1, 4, 40, 1, 3, 3), keep=True), Problem((1, 4, 40, 1, 3, 3))
    assert with_keep.on_gpu()[1].tobytes() == without.on_gpu()[1].tobytes()
