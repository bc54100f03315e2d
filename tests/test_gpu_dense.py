"""Dense on the gpu: bias and activation in place, and gradients, on sizes that reach every edge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.standin import gpu_backend
from tinynn import backends
from tinynn.activation import Activation
from tinynn.backends.gpu import dense as row
from tinynn.backends.gpu.columns import column_sums

GPU: Any = gpu_backend()
REFERENCE = backends.get("reference")
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
KINDS = [Activation.LINEAR, Activation.RELU, Activation.LEAKY_RELU, Activation.TANH, Activation.SIGMOID]
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")


def numbers(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got: Any, want: np.ndarray, dtype: str) -> None:
    got = GPU.to_numpy(got)
    assert got.dtype == dtype and got.shape == want.shape
    if want.size:
        assert np.abs(got - want).max() <= TOLERANCE[dtype] * np.abs(want).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 7, 5), (5, 3, 1), (6, 4, 12), (3, 2, 33), (70, 3, 8), (0, 3, 4)], ids=str
)
@pytest.mark.parametrize("bias", [True, False])
def test_forward(shape: tuple[int, int, int], bias: bool, dtype: str) -> None:
    N, K, M = shape
    x, W, b = numbers(N, K, dtype=dtype), numbers(K, M, seed=1, dtype=dtype), numbers(M, seed=2, dtype=dtype)
    for kind in KINDS:
        y, want = GPU.empty((N, M), dtype), np.empty((N, M))
        arrays = [GPU.asarray(a, dtype) for a in (x, W)]
        GPU.dense.forward(y, *arrays, GPU.asarray(b, dtype) if bias else None, kind)
        REFERENCE.dense.forward(
            want, *(a.astype("float64") for a in (x, W)), b.astype("float64") if bias else None, kind
        )
        close(y, want, dtype)


@pytest.mark.parametrize("columns", [1, 4, 7, 12, 33])
@pytest.mark.parametrize("first", [(0, 0), (0, 1), (1, 0)], ids=["both-aligned", "bias-not", "output-not"])
def test_a_thread_goes_through_columns(columns: int, first: tuple[int, int]) -> None:
    """Pieces of four need an address that is a multiple of 16; others go one by one. 32 threads do it all."""
    y, b = numbers(41, columns), numbers(columns, seed=1)
    output, bias = (
        GPU.asarray(np.append(np.zeros(skip), x), "float32")[skip:].reshape(x.shape)
        for skip, x in zip(first, (y, b), strict=True)
    )
    row.SOURCE.launch("bias_activation", 1, 32, output, bias, 0, 0.0, columns, y.size)
    close(output, y + b, "float32")


def check_backward(M: int, N: int, dtype: str, kind: Activation) -> None:
    x, W = numbers(M, 2, dtype=dtype), numbers(2, N, seed=1, dtype=dtype)
    dy, y = numbers(M, N, seed=2, dtype=dtype), np.tanh(numbers(M, N, seed=3, dtype=dtype))
    shapes = {"dx": x.shape, "dW": W.shape, "db": (N,)}
    want = {name: np.empty(shape) for name, shape in shapes.items()}
    dz = dy.astype("float64")
    REFERENCE.dense.backward(*want.values(), dz, *(a.astype("float64") for a in (x, W, y)), kind)
    got = {name: GPU.empty(shape, dtype) for name, shape in shapes.items()}
    gradient, *rest = (GPU.asarray(a, dtype) for a in (dy, x, W, y))
    GPU.dense.backward(*got.values(), gradient, *rest, kind)
    for name in shapes:
        close(got[name], want[name], dtype)
    close(gradient, dz, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 40), (3, 1), (5, 2), (7, 3), (17, 31), (64, 32), (65, 33), (255, 10), (0, 4), (4, 0)],
    ids=str,
)
def test_backward(shape: tuple[int, int], dtype: str) -> None:
    for kind in KINDS:
        check_backward(*shape, dtype, kind)


def test_what_nobody_wants_is_not_written() -> None:
    x, W, dy, y = (GPU.asarray(numbers(*s), "float32") for s in ((6, 2), (2, 4), (6, 4), (6, 4)))
    db = GPU.empty((4,), "float32")
    GPU.dense.backward(None, None, None, dy, x, W, y, Activation.RELU)
    GPU.dense.backward(None, None, db, dy, x, W, y, Activation.LINEAR)
    close(db, np.where(numbers(6, 4) > 0, numbers(6, 4), 0).sum(0), "float32")


def test_nan_and_infinity_go_where_the_reference_has_them() -> None:
    dy, y = numbers(9, 5, dtype="float32"), numbers(9, 5, seed=1, dtype="float32")
    dy[2, 1], dy[3, 2], y[4, 3], dy[4, 3] = np.nan, np.inf, np.nan, 2.0
    for kind in (Activation.LINEAR, Activation.RELU, Activation.TANH):
        want, db = np.empty(5, "float32"), GPU.empty((5,), "float32")
        expected, gradient = dy.copy(), GPU.asarray(dy, "float32")
        REFERENCE.dense.backward(None, None, want, expected, dy, dy, y, kind)
        column_sums(db, gradient, GPU.asarray(y, "float32"), kind)
        np.testing.assert_allclose(GPU.to_numpy(db), want, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(GPU.to_numpy(gradient), expected, rtol=1e-6)
