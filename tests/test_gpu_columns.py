"""Column sums on the gpu: in one run of rows or several, in packs or one by one, with an activation's derivative."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from tests.cuda.standin import gpu_backend
from tinynn import backends
from tinynn.activation import RECURRENT, Activation
from tinynn.backends.gpu import columns
from tinynn.backends.gpu.channels import THREADS, pack_of
from tinynn.backends.gpu.columns import column_sums

GPU: Any = gpu_backend()
REFERENCE = backends.get("reference")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
KINDS = [kind for kind in Activation if kind in RECURRENT or kind is Activation.SELU]
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def moved(x: np.ndarray, dtype: str, by: int) -> Any:
    """The array on the card, beginning ``by`` numbers behind an address of 16 bytes."""
    return GPU.asarray(np.append(np.zeros(by), x), dtype)[by:].reshape(x.shape)


def check(M: int, C: int, dtype: str, kind: Activation | None = None) -> None:
    x, y = numbers(M, C), np.tanh(numbers(M, C, seed=1))
    x, y = x.astype(dtype).astype("float64"), y.astype(dtype).astype("float64")
    sums, dz, given = GPU.empty((C,), dtype), GPU.asarray(x, dtype), GPU.asarray(y, dtype)
    column_sums(sums, dz, *(() if kind is None else (given, kind)))
    want = x.copy()
    REFERENCE.activation.backward(want, x, x, y, kind or Activation.LINEAR)
    assert np.abs(GPU.to_numpy(dz) - want).max() <= TOLERANCE[dtype] * np.abs(want).max()
    error = np.abs(GPU.to_numpy(sums) - want.sum(0)).max()
    assert error <= TOLERANCE[dtype] * max(np.abs(want.sum(0)).max(), 1)


SHAPES = [(1, 1), (1, 40), (3, 1), (5, 2), (3, 2100), (17, 31), (64, 32), (65, 33), (255, 10), (9, 260), (700, 36)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums(shape: tuple[int, int], dtype: str) -> None:
    check(*shape, dtype)
    check(*shape, dtype, Activation.LINEAR)
    check(*shape, dtype, Activation.RELU)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_derivative_that_follows_from_y(kind: Activation, dtype: str) -> None:
    check(11, 12, dtype, kind)
    check(11, 7, dtype, kind)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)], ids=str)
def test_nothing(shape: tuple[int, int]) -> None:
    sums = GPU.empty(shape[1:], "float32")
    column_sums(sums, GPU.empty(shape, "float32"))
    assert (GPU.to_numpy(sums) == 0).all()


@pytest.mark.parametrize(
    ("shape", "launches"),
    [((256, 32), 1), ((257, 32), 2), ((8192, 1), 1), ((8193, 1), 2), ((1000, 65), 2), ((3333, 7), 2), ((300, 2100), 2)],
    ids=str,
)
def test_many_rows_are_cut_into_runs(shape: tuple[int, int], launches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    launch = columns.SOURCE.launch
    monkeypatch.setattr(columns.SOURCE, "launch", lambda *args: (seen.append(args[1]), launch(*args)))
    check(*shape, "float32", Activation.RELU)
    assert len(seen) == launches
    assert seen[-1][1] == 1 and (launches == 1 or seen[0][1] > 1)


@pytest.mark.parametrize("itemsize", [4, 8])
def test_runs_cover_all_rows_and_threads_have_some(itemsize: int) -> None:
    for M, C in itertools.product((1, 3, 31, 256, 257, 5000, 10**7, 2**33), (1, 3, 4, 32, 100, 2048, 10**6)):
        grid, width, rows = columns.runs_of(M, C, itemsize)
        assert grid[0] * width >= C and grid[1] * rows >= M > (grid[1] - 1) * rows
        assert grid[1] <= columns.MOST_RUNS and grid[0] * grid[1] <= max(columns.MOST_BLOCKS, grid[0])
        lanes = width // pack_of(C, itemsize)
        assert 1 <= lanes <= THREADS and THREADS % lanes == 0
        assert grid[0] == 1 or THREADS // lanes < 2 * M  # at most every second thread of a column has no row


@pytest.mark.parametrize("shape", [(70, 12), (600, 8), (9, 5)], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_follow_from_the_shape(shape: tuple[int, int], dtype: str) -> None:
    """Not from the order of threads, and not from where an array begins."""
    x, y, found = numbers(*shape), numbers(*shape, seed=1), set()
    for by in (0, 0, 1, 2, 3):
        sums, plain = moved(numbers(shape[1]), dtype, by), moved(numbers(shape[1]), dtype, by)
        dz = GPU.asarray(x, dtype)
        column_sums(plain, moved(x, dtype, by))
        column_sums(sums, dz, moved(y, dtype, by), Activation.TANH)
        found.add(b"".join(GPU.to_numpy(a).tobytes() for a in (sums, plain, dz)))
    assert len(found) == 1


def test_sums_over_all_axes_but_the_last() -> None:
    x, sums = numbers(3, 4, 5, 8), GPU.empty((8,), "float64")
    column_sums(sums, GPU.asarray(x, "float64"))
    np.testing.assert_allclose(GPU.to_numpy(sums), x.sum((0, 1, 2)), rtol=1e-12)
