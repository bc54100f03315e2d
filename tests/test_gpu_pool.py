"""Pooling and fused convolution blocks of the gpu backend against the reference: any window, NaN, ties, every None."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.cuda.standin import gpu_backend
from tinynn import backends
from tinynn.activation import Activation
from tinynn.backends.base import Block
from tinynn.window import Window

GPU = gpu_backend()
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")
REFERENCE = backends.get("reference")


def host(backend: Any, array: Any) -> Any:
    return None if array is None else backend.to_numpy(array)


def filled(backend: Any, shape: Any, dtype: Any) -> Any:
    """Memory that nobody wrote yet: NaN, or the largest byte."""
    value = np.nan if np.dtype(dtype).kind == "f" else 77
    return backend.asarray(np.full(shape, value, dtype), dtype)


def draw(rng: np.random.Generator, shape: Any, dtype: str) -> np.ndarray:
    """Ties, NaN and infinities among numbers."""
    x = rng.integers(-3, 4, shape).astype(dtype)
    strange = rng.random(shape)
    x[strange < 0.06], x[strange < 0.04], x[strange < 0.02] = np.nan, -np.inf, np.inf
    return x


def pool(backend: Any, shape: tuple[int, ...], window: Window, dtype: str, place_dtype: Any = np.uint8) -> list[Any]:
    """All four kernels on the same numbers."""
    rng = np.random.default_rng(0)
    N, rows, columns, C = shape
    outputs = (N, *window.output(rows, columns), C)
    numbers, gradients = draw(rng, shape, dtype), rng.standard_normal(outputs).astype(dtype)
    x, dy = backend.asarray(numbers, dtype), backend.asarray(gradients, dtype)
    finite = backend.asarray(np.nan_to_num(numbers, nan=0.5, posinf=2, neginf=-2), dtype)
    y, alone, mean = (filled(backend, outputs, dtype) for _ in range(3))
    dx, dmean = filled(backend, shape, dtype), filled(backend, shape, dtype)
    place = filled(backend, outputs, place_dtype)
    kernels = backend.pool2d
    kernels.max_forward(y, place, x, window)
    kernels.max_forward(alone, None, x, window)
    kernels.max_backward(dx, dy, place, window)
    kernels.average_forward(mean, finite, window)
    kernels.average_backward(dmean, dy, window)
    return [host(backend, a) for a in (y, place, alone, dx, mean, dmean)]


def agree(shape: tuple[int, ...], window: Window, dtype: str, place_dtype: Any = np.uint8) -> None:
    got, want = pool(GPU, shape, window, dtype, place_dtype), pool(REFERENCE, shape, window, dtype, place_dtype)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    for a, b in zip(got[:3], want[:3], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(got[3:], want[3:], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=8 * tolerance)


pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
padding = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.integers(1, 3), pair, st.sampled_from([1, 3, 4, 12, 33, 36]), pair, pair, pair, padding, padding, st.booleans()
)
@example(2, (1, 1), 16, (2, 2), (2, 2), (1, 1), (0, 1), (0, 1), False)
@example(2, (2, 2), 16, (3, 2), (3, 2), (2, 3), (1, 0), (0, 0), True)
def test_any_window(
    N: int, size: Any, C: int, kernel: Any, strides: Any, dilation: Any, rows: Any, columns: Any, double: bool
) -> None:
    # A window that saw nothing but padding would have no largest number, and no mean.
    around = tuple(p % kernel[0] for p in rows), tuple(p % kernel[1] for p in columns)
    window = Window(kernel, strides, around, dilation)  # type: ignore[arg-type]
    shape = (N, size[0] + window.extent[0] - 1, size[1] + window.extent[1] - 1, C)
    agree(shape, window, "float64" if double else "float32")


def test_windows_of_more_places_than_a_byte() -> None:
    agree((1, 19, 17, 4), Window((17, 16)), "float32", np.int32)
    agree((1, 20, 18, 3), Window((10, 9), (2, 3), dilation=(2, 2)), "float64", np.int32)


@pytest.mark.parametrize("C", [1, 8])
def test_many_runs_of_pixels(C: int) -> None:
    """Blocks that begin in the middle of an image."""
    agree((23, 17, 15, C), Window((2, 2), (2, 2)), "float32")


def test_a_window_of_padding_alone_has_no_gradient() -> None:
    window = Window((2, 2), (2, 2), ((2, 0), (0, 0)))
    x, dy = GPU.asarray(np.ones((1, 2, 2, 4)), "float32"), GPU.asarray(np.ones((1, 2, 1, 4)), "float32")
    y, place = filled(GPU, (1, 2, 1, 4), "float32"), filled(GPU, (1, 2, 1, 4), np.uint8)
    dx = filled(GPU, x.shape, "float32")
    GPU.pool2d.max_forward(y, place, x, window)
    GPU.pool2d.max_backward(dx, dy, place, window)
    np.testing.assert_array_equal(host(GPU, y)[0, :, 0], [[-np.inf] * 4, [1] * 4])
    np.testing.assert_array_equal(host(GPU, dx)[0, :, :, 0], [[1, 0], [0, 0]])


# -- blocks ------------------------------------------------------------------------------------------------------------


def run_block(
    backend: Any, shape: tuple[int, ...], O: int, made: Block, dtype: str, vectors: str, wanted: bool = True
) -> dict[str, Any]:
    """One forward and backward pass; ``vectors``: which of b, gamma and beta there are."""
    rng = np.random.default_rng(shape[1] * 100 + O)
    fan_in = made.window.size[0] * made.window.size[1] * shape[3]
    draws = {
        "x": rng.standard_normal(shape),
        "W": rng.standard_normal((*made.window.size, shape[3], O)) / np.sqrt(fan_in),
        "b": rng.standard_normal(O),
        "gamma": rng.standard_normal(O),
        "beta": rng.standard_normal(O),
    }
    given = {
        name: backend.asarray(array.astype("float32"), dtype) if name in ("x", "W") or name in vectors.split() else None
        for name, array in draws.items()
    }
    sides = made.window.output(shape[1], shape[2])
    pooled = sides if made.pool is None else made.pool.output(*sides)
    z = filled(backend, (shape[0], *pooled, O), dtype)
    y = mean = variance = rstd = place = None
    if made.epsilon is not None:
        y = filled(backend, (shape[0], *sides, O), dtype)
        mean, variance, rstd = (filled(backend, O, dtype) for _ in range(3))
    if made.pool is not None:
        place = filled(backend, z.shape, np.uint8 if made.pool.size[0] * made.pool.size[1] <= 256 else np.int32)
    x, W, b, gamma, beta = given.values()
    kernels = backend.convblock
    kernels.forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, made)
    dz = backend.asarray(rng.standard_normal(z.shape).astype("float32"), dtype)
    slots = {
        f"d{name}": None if array is None or not wanted else filled(backend, array.shape, dtype)
        for name, array in given.items()
    }
    slots["dW"] = filled(backend, W.shape, dtype)
    kept = host(backend, z)
    kernels.backward(*slots.values(), dz, x, W, z, place, y, mean, rstd, gamma, made)
    np.testing.assert_array_equal(host(backend, z), kept)
    everything = {"z": z, "place": place, "mean": mean, "variance": variance, "rstd": rstd, **slots}
    return {name: host(backend, array) for name, array in everything.items()}


HALF, OVERLAPPING = Window((2, 2), (2, 2)), Window((3, 3), (2, 2), ((0, 1), (1, 1)))
APART = Window((2, 2), (3, 3), ((1, 0), (0, 1)), (2, 1))
SAME = Window((3, 3), padding=((1, 1), (1, 1)))
KINDS = [Activation.LINEAR, Activation.RELU, Activation.LEAKY_RELU, Activation.TANH]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("pool", [None, HALF, OVERLAPPING, APART], ids=["no-pool", "half", "overlapping", "apart"])
@pytest.mark.parametrize("norm", [True, False], ids=["norm", "no-norm"])
@pytest.mark.parametrize(("shape", "O"), [((3, 7, 6, 4), 8), ((2, 6, 9, 3), 5)], ids=["packs", "single"])
def test_blocks(shape: Any, O: int, norm: bool, pool: Window | None, dtype: str) -> None:
    for i, kind in enumerate(KINDS):
        made = Block(SAME, 1, kind, pool, 0.1 if norm else None)
        vectors = ["gamma beta", "gamma", "beta b", ""][i] if norm else ["b", ""][i % 2]
        for wanted in (True, False) if i == 1 else (True,):
            got = run_block(GPU, shape, O, made, dtype, vectors, wanted)
            want = run_block(REFERENCE, shape, O, made, "float64", vectors, wanted)
            compare(got, want, 2e-5 if dtype == "float32" else 1e-11, norm)


def compare(got: dict[str, Any], want: dict[str, Any], tolerance: float, norm: bool) -> None:
    for name, right in want.items():
        if right is None:
            assert got[name] is None
        elif name == "place":
            np.testing.assert_array_equal(got[name], right)
        elif not (name == "db" and norm):  # which is 0
            error = np.abs(got[name] - right).max()
            assert error <= tolerance * np.abs(right).max(), f"{name}: {error:.2e} of {np.abs(right).max():.2e}"


@pytest.mark.parametrize("pool", [None, OVERLAPPING], ids=["no-pool", "overlapping"])
def test_blocks_of_several_runs(pool: Window | None) -> None:
    made, shape = Block(Window((1, 1)), 1, Activation.RELU, pool, 1e-3), (5, 41, 39, 2)
    got = [run_block(GPU, shape, 4, made, "float32", "gamma beta") for _ in range(3)]
    compare(got[0], run_block(REFERENCE, shape, 4, made, "float64", "gamma beta"), 2e-5, True)
    for again in got[1:]:
        for name, array in got[0].items():
            assert array is None or array.tobytes() == again[name].tobytes()


def test_a_channel_that_is_not_finite_spoils_itself_alone() -> None:
    """NaN in all that comes after, and in no other channel."""
    rng = np.random.default_rng(0)
    x = GPU.asarray(rng.standard_normal((2, 6, 6, 4)), "float32")
    weights = rng.standard_normal((1, 1, 4, 8)).astype("float32")
    weights[0, 0, 1, 3] = np.nan
    z, y = filled(GPU, (2, 3, 3, 8), "float32"), filled(GPU, (2, 6, 6, 8), "float32")
    place, statistics = filled(GPU, z.shape, np.uint8), [filled(GPU, 8, "float32") for _ in range(3)]
    made = Block(Window((1, 1)), 1, Activation.RELU, HALF, 1e-3)
    GPU.convblock.forward(z, place, y, *statistics, x, GPU.asarray(weights, "float32"), None, None, None, made)
    assert (np.isnan(host(GPU, z)) == (np.arange(8) == 3)).all()
    assert (host(GPU, place)[..., 3] == 0).all()
