"""Products by cuBLAS on the card, or by the stand-in's: how matrices lie, and that a recorded step may ask for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests import device
from tests.cuda.standin import gpu_backend
from tests.device import DeviceArray
from tinynn import layers as L
from tinynn import ops
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.blas import laid_out, matmul

GPU: Any = gpu_backend()
pytestmark = pytest.mark.skipif(GPU is None, reason="no card, and no C++ compiler for the emulator")

RNG = np.random.default_rng(0)
LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "whole": lambda x: x,
    "transposed": lambda x: GPU.asarray(GPU.to_numpy(x).T.copy(), x.dtype).T,
    "part of rows": lambda x: wider(x)[:, 1:-2],
    "part of columns": lambda x: wider(x.T)[:, 1:-2].T,
    "every second": lambda x: wider(wider(x), 2)[:, ::2][:, 1:-2] if x.shape[1] > 1 else x,
}
SIZES = [(1, 1, 1), (5, 3, 4), (1, 7, 6), (6, 7, 1), (6, 1, 5), (33, 70, 18)]


def wider(x: Any, times: int = 1) -> Any:
    """An array whose middle columns (or every second one) are those of x."""
    host = GPU.to_numpy(x)
    around = np.full((host.shape[0], times * host.shape[1] + (3 if times == 1 else 0)), np.nan, host.dtype)
    around[:, 1:-2] = host if times == 1 else np.nan
    if times == 2:
        around[:, ::2] = host
    return GPU.asarray(around, x.dtype)


def given(shape: tuple[int, ...], dtype: str) -> Any:
    return GPU.asarray(RNG.standard_normal(shape), dtype)


def close(got: Any, a: Any, b: Any) -> None:
    a, b = (GPU.to_numpy(x).astype("float64") for x in (a, b))
    tolerance = (1e-12 if got.dtype == np.float64 else 1e-5) * max(a.shape[-1], 1)
    np.testing.assert_allclose(GPU.to_numpy(got), a @ b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
def test_however_matrices_lie(left: str, right: str, dtype: str) -> None:
    for M, K, N in SIZES:
        a, b = LAYOUTS[left](given((M, K), dtype)), LAYOUTS[right](given((K, N), dtype))
        close(matmul(a, b), a, b)
        out = wider(given((M, N), dtype))
        matmul(a, b, out=out[:, 1:-2])
        close(out[:, 1:-2], a, b)
        assert np.isnan(GPU.to_numpy(out)[:, [0, -2, -1]]).all()  # what stands beside it is left alone


def test_transposed_matrices_are_not_copied() -> None:
    x = given((5, 3), "float32")
    for view in (x, x.T, x[:, 1:], x[1:].T, x[:1], x[:, :1], x[:, :1].T):
        assert laid_out(view)[0] is view
    assert laid_out(x[:, ::2])[0] is not x


@pytest.mark.parametrize("shapes", [((2, 3, 4, 5), (2, 3, 5, 6)), ((7, 1, 5), (7, 5, 1))])
def test_stacks(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    a, b = (given(shape, "float32") for shape in shapes)
    close(matmul(a, b), a, b)
    turned = b.swapaxes(-1, -2).copy().swapaxes(-1, -2)
    close(matmul(a, turned), a, b)


def test_nothing_to_add_up_is_zero_and_nothing_to_write_is_nothing() -> None:
    out = given((2, 3), "float32")
    matmul(given((2, 0), "float32"), given((0, 3), "float32"), out=out)
    assert not GPU.to_numpy(out).any()
    assert matmul(given((0, 4), "float32"), given((4, 3), "float32")).shape == (0, 3)


def test_what_out_held_does_not_matter() -> None:
    a, b, out = given((4, 5), "float32"), given((5, 6), "float32"), GPU.asarray(np.full((4, 6), np.nan), "float32")
    close(matmul(a, b, out=out), a, b)


def test_a_recorded_step_multiplies() -> None:
    a, b, out = given((4, 5), "float32"), given((5, 6), "float32"), GPU.zeros((4, 6), "float32")

    def step() -> None:
        matmul(a, b, out=out)

    replay = cuda.record(step)
    assert not GPU.to_numpy(out).any()  # recorded, not executed
    a[...] = 2 * a
    replay()
    close(out, a, b)


@pytest.mark.skipif(GPU is None or GPU.array_type is not DeviceArray, reason="what the stand-in refuses, as CuPy does")
def test_cupy_refuses_products_and_joins_of_many_while_a_step_is_recorded() -> None:
    x = given((3, 3), "float32")
    with pytest.raises(NotImplementedError, match="cuBLAS API during stream capture"):
        cuda.record(lambda: np.matmul(x, x))  # type: ignore[arg-type, return-value]
    with pytest.raises(RuntimeError, match="more than 8 arrays"):
        cuda.record(lambda: np.concatenate([x] * 9))  # type: ignore[arg-type, return-value]
    assert device.TAPE is None


def test_many_arrays_are_joined_in_a_recorded_step() -> None:
    def run(jit: bool) -> Any:
        nn.set_seed(1)
        inputs = nn.Input((4,))
        parts = [L.Dense(2)(inputs) for _ in range(70)]
        model = nn.Model(inputs, L.Dense(1)(L.concatenate(parts)), backend=GPU)
        model.compile("sgd", "mse", jit=jit)
        x = np.random.default_rng(1).standard_normal((6, 4)).astype("float32")
        model.fit(x, x[:, :1], batch_size=2, epochs=2, verbose=0)
        return model

    got, want = run(True), run(False)
    for a, b in zip(got.variables(), want.variables(), strict=True):
        assert GPU.to_numpy(a.data).tobytes() == GPU.to_numpy(b.data).tobytes()


@pytest.mark.parametrize("backend", ["cpu", GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("count", [8, 9, 65])
def test_joining_many_is_joining(count: int, axis: int, backend: Any) -> None:
    arrays = [RNG.standard_normal((2, 3)).astype("float32") for _ in range(count)]
    graph = nn.Graph(backend=backend, dtype="float32")
    for join, want in ((ops.concatenate, np.concatenate), (ops.stack, np.stack)):
        got = join([graph.tensor(graph.backend.asarray(a, "float32")) for a in arrays], axis=axis)
        np.testing.assert_array_equal(graph.backend.to_numpy(got.data), want(arrays, axis=axis))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((4,), (4,)),
        ((4,), (4, 3)),
        ((2, 4), (4,)),
        ((5, 2, 4), (4, 3)),
        ((2, 4), (5, 4, 3)),
        ((5, 1, 2, 4), (6, 4, 3)),
        ((5, 2, 4), (4,)),
        ((0, 2, 4), (4, 3)),
    ],
    ids=str,
)
def test_the_backends_product_is_numpys(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(left), rng.standard_normal(right)
    z = GPU.matmul(GPU.asarray(x, "float64"), GPU.asarray(y, "float64"))
    want = np.asarray(x @ y)
    assert z.shape == want.shape
    np.testing.assert_allclose(GPU.to_numpy(z), want, rtol=1e-12, atol=1e-12)
