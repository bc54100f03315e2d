"""Batch and layer normalization of the gpu backend against the reference: sizes that reach all parts of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.standin import gpu_backend
from tinynn import backends

GPU = gpu_backend()
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")
REFERENCE = backends.get("reference")
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


def to_card(array: np.ndarray | None) -> Any:
    return None if array is None else GPU.asarray(array, array.dtype)


def guarded(shape: Any, dtype: str) -> Any:
    """Uninitialised memory of the card, full of NaN."""
    return GPU.asarray(np.full(shape, np.nan), dtype)


def draw(M: int, C: int, dtype: str, mean: float = 0.3, affine: bool = True) -> tuple[Any, ...]:
    rng = np.random.default_rng(M * 1000 + C)
    x = (rng.standard_normal((M, C)) + mean).astype(dtype)
    dy = (rng.standard_normal((M, C)) + 0.1).astype(dtype)
    gamma = rng.standard_normal(C).astype(dtype) if affine else None
    beta = rng.standard_normal(C).astype(dtype) if affine else None
    return x, dy, gamma, beta


def agree(got: Any, want: np.ndarray, tolerance: float) -> None:
    got = GPU.to_numpy(got)
    assert (np.isnan(got) == np.isnan(want)).all()
    finite = np.isfinite(want)
    error, largest = np.abs(got[finite] - want[finite]).max(initial=0), np.abs(want[finite]).max(initial=0.1)
    assert error <= tolerance * largest, f"{error:.2e} off, largest {largest:.2e}"


# -- batch normalization -----------------------------------------------------------------------------------------------

SHAPES = [(1, 1), (2, 1), (5, 2), (1, 7), (33, 4), (700, 3), (2049, 16), (257, 36), (9, 129), (40, 260), (6001, 1)]
"""Packs and single numbers; a tile and part of one; one run of rows and many, the last one short or of one row."""


def batch_norm(kernels: Any, put: Any, empty: Any, arrays: Any, backward: str = "backward") -> list[Any]:
    x, dy, gamma, beta = map(put, arrays)
    M, C = x.shape
    y, dx = empty((M, C)), empty((M, C))
    mean, variance, rstd, dgamma, dbeta = (empty(C) for _ in range(5))
    kernels.forward(y, mean, variance, rstd, x, gamma, beta, 1e-3)
    getattr(kernels, backward)(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
    return [y, mean, variance, rstd, dx, dgamma, dbeta]


def on_card(arrays: Any, backward: str = "backward") -> list[Any]:
    dtype = str(arrays[0].dtype)
    return batch_norm(GPU.batchnorm, to_card, lambda shape: guarded(shape, dtype), arrays, backward)


def on_host(arrays: Any, backward: str = "backward") -> list[Any]:
    wide = [None if a is None else a.astype("float64") for a in arrays]
    return batch_norm(REFERENCE.batchnorm, lambda a: a, np.empty, wide, backward)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_batch_normalization(shape: tuple[int, int], dtype: str) -> None:
    for affine in (True, False) if shape[0] < 300 else (True,):
        arrays = draw(*shape, dtype, affine=affine)
        for backward in ("backward", "inference_backward"):
            for got, want in zip(on_card(arrays, backward), on_host(arrays, backward), strict=True):
                agree(got, want, TOLERANCE[dtype])


@pytest.mark.parametrize("shape", [(2049, 16), (530, 3), (65, 70)], ids=str)
def test_digits_far_from_zero_are_kept(shape: tuple[int, int]) -> None:
    arrays = draw(*shape, "float32", mean=1000)
    arrays[0][0] += 40  # the origin of the sums is far from all others
    for i, (got, want) in enumerate(zip(on_card(arrays), on_host(arrays), strict=True)):
        agree(got, want, 2e-5 if i != 5 else 2e-4)  # dgamma: the mean that backward gets is rounded to float32


def test_large_numbers_do_not_overflow() -> None:
    arrays = draw(700, 4, "float32")
    arrays[0][:] += np.array([1e30, 0, -1e25, 1e20], "float32")  # which swallow all digits: constants
    arrays[0][350:, 1] += 1e15
    got = on_card(arrays)
    for i, array in enumerate(on_host(arrays)):
        agree(got[i], array, 2e-5 if i != 5 else np.inf)


@pytest.mark.parametrize("shape", [(2049, 16), (530, 3)], ids=str)
def test_batch_normalization_gives_the_same_bytes(shape: tuple[int, int]) -> None:
    arrays = draw(*shape, "float32")
    first = [GPU.to_numpy(a).tobytes() for a in on_card(arrays)]
    for _ in range(3):
        assert [GPU.to_numpy(a).tobytes() for a in on_card(arrays)] == first


def test_what_is_not_wanted_is_not_written() -> None:
    arrays = draw(70, 12, "float32")
    want = on_host(arrays)
    x, dy, gamma, _ = map(to_card, arrays)
    mean, rstd = (to_card(want[i].astype("float32")) for i in (1, 3))
    kernels = GPU.batchnorm
    for wanted in range(8):
        dx = guarded((70, 12), "float32") if wanted & 1 else None
        dgamma, dbeta = (guarded(12, "float32") if wanted & bit else None for bit in (2, 4))
        kernels.backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        for got, right in zip((dx, dgamma, dbeta), want[4:], strict=True):
            if got is not None:
                agree(got, right, 2e-5)
        kernels.inference_backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        if dx is not None:
            agree(dx, arrays[1] * (arrays[2] * want[3]), 2e-5)
    kernels.backward(dy, None, None, dy, x, mean, rstd, gamma)  # in place
    agree(dy, want[4], 2e-5)


def test_misaligned_arrays_are_read_one_by_one() -> None:
    arrays = draw(37, 8, "float32")
    flat = GPU.asarray(np.concatenate([np.zeros(1, "float32"), arrays[0].ravel()]), "float32")
    x, y = flat[1:].reshape(37, 8), guarded((37, 8), "float32")
    statistics = [guarded(8, "float32") for _ in range(3)]
    GPU.batchnorm.forward(y, *statistics, x, to_card(arrays[2]), to_card(arrays[3]), 1e-3)
    agree(y, on_host(arrays)[0], 2e-5)
    GPU.layernorm.forward(y, guarded(37, "float32"), guarded(37, "float32"), x, None, None, 1e-3)
    want = np.empty((37, 8))
    REFERENCE.layernorm.forward(want, np.empty(37), np.empty(37), arrays[0].astype("float64"), None, None, 1e-3)
    agree(y, want, 2e-5)


@pytest.mark.parametrize("strange", [np.nan, np.inf])
@pytest.mark.parametrize("row", [0, 21])
def test_numbers_that_are_not_finite_spoil_their_channel_alone(strange: float, row: int) -> None:
    arrays = draw(40, 6, "float32")
    arrays[0][row, 2] = strange
    with np.errstate(invalid="ignore"):
        want = on_host(arrays)
    got = on_card(arrays)
    for i in (0, 2, 3, 4, 5, 6):
        agree(got[i], want[i], 2e-5)
    assert not np.isfinite(GPU.to_numpy(got[1])[2])


@pytest.mark.parametrize("shape", [(1, 1), (70, 12), (33, 5), (3, 70)], ids=str)
def test_given_statistics(shape: tuple[int, int]) -> None:
    x, _, gamma, beta = draw(*shape, "float32")
    rng = np.random.default_rng(1)
    mean, variance = rng.standard_normal(shape[1]).astype("float32"), rng.random(shape[1]).astype("float32")
    for g, b in ((gamma, beta), (None, beta), (gamma, None), (None, None)):
        y, want = guarded(shape, "float32"), np.empty(shape)
        GPU.batchnorm.inference(y, *map(to_card, (x, mean, variance, g, b)), 1e-3)
        REFERENCE.batchnorm.inference(want, x, mean, variance, g, b, 1e-3)
        agree(y, want, 2e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [None, 0.0, 0.5])
def test_running_statistics_follow_what_is_finite(dtype: str, scale: float | None) -> None:
    moving, batch = np.arange(5.0).astype(dtype), np.array([1, np.nan, np.inf, -np.inf, 7], "float32")
    got, want = to_card(moving), moving.copy()
    GPU.batchnorm.update(got, to_card(batch), 0.9, None if scale is None else to_card(np.array([scale])))
    REFERENCE.batchnorm.update(want, batch.astype(dtype), 0.9, None if scale is None else np.array([scale]))
    np.testing.assert_allclose(GPU.to_numpy(got), want, rtol=1e-6)


def test_no_rows() -> None:
    empty, vector = guarded((0, 3), "float32"), [guarded(3, "float32") for _ in range(5)]
    GPU.batchnorm.forward(empty, *vector[:3], empty, None, None, 1e-3)
    GPU.batchnorm.backward(empty, vector[3], vector[4], empty, empty, vector[0], vector[2], None)
    assert np.isnan(GPU.to_numpy(vector[0])).all()
    assert (GPU.to_numpy(vector[3]) == 0).all()
    GPU.layernorm.forward(empty, guarded(0, "float32"), guarded(0, "float32"), empty, None, None, 1e-3)


# -- layer normalization -----------------------------------------------------------------------------------------------

ROWS = [(1, 1), (3, 2), (1, 7), (70, 13), (5, 64), (33, 36), (2, 257), (3, 260), (2, 1028), (1, 8200), (2, 2081)]
"""Teams of one thread, of part of a warp, of a warp and of the block, single numbers and packs; rows longer than a team
holds in registers."""


def layer_norm(kernels: Any, put: Any, empty: Any, arrays: Any) -> list[Any]:
    x, dy, gamma, beta = map(put, arrays)
    M, F = x.shape
    y, dx, mean, rstd, dgamma, dbeta = empty((M, F)), empty((M, F)), empty(M), empty(M), empty(F), empty(F)
    kernels.forward(y, mean, rstd, x, gamma, beta, 1e-3)
    kernels.backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
    in_place = put(arrays[1].copy())
    kernels.backward(in_place, None, None, in_place, x, mean, rstd, gamma)
    return [y, mean, rstd, dx, dgamma, dbeta, in_place]


def rows_on_card(arrays: Any) -> list[Any]:
    dtype = str(arrays[0].dtype)
    return layer_norm(GPU.layernorm, to_card, lambda shape: guarded(shape, dtype), arrays)


def rows_on_host(arrays: Any) -> list[Any]:
    wide = [None if a is None else a.astype("float64") for a in arrays]
    return layer_norm(REFERENCE.layernorm, lambda a: a, np.empty, wide)


@pytest.mark.parametrize("shape", ROWS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_layer_normalization(shape: tuple[int, int], dtype: str) -> None:
    for affine in (True, False):
        arrays = draw(*shape, dtype, affine=affine)
        for got, want in zip(rows_on_card(arrays), rows_on_host(arrays), strict=True):
            agree(got, want, TOLERANCE[dtype])


def test_rows_far_from_zero_keep_their_digits() -> None:
    arrays = draw(5, 300, "float32", mean=1000)
    for i, (got, want) in enumerate(zip(rows_on_card(arrays), rows_on_host(arrays), strict=True)):
        agree(got, want, 2e-5 if i < 3 else 2e-4)  # backward gets a mean that is rounded to float32


def test_a_row_that_is_not_finite_spoils_itself_alone() -> None:
    arrays = draw(9, 20, "float32")
    arrays[0][4, 0], arrays[0][6, 3] = np.inf, np.nan
    with np.errstate(invalid="ignore"):
        want = rows_on_host(arrays)
    got = rows_on_card(arrays)
    for i in (0, 2, 3, 4, 5, 6):
        agree(got[i], want[i], 2e-5)


def test_layer_normalization_gives_the_same_bytes() -> None:
    arrays = draw(300, 36, "float32")
    first = [GPU.to_numpy(a).tobytes() for a in rows_on_card(arrays)]
    for _ in range(3):
        assert [GPU.to_numpy(a).tobytes() for a in rows_on_card(arrays)] == first


def test_what_is_not_wanted_of_a_layer_norm_is_not_written() -> None:
    arrays = draw(70, 12, "float32")
    want = rows_on_host(arrays)
    x, dy, gamma, _ = map(to_card, arrays)
    mean, rstd = (to_card(want[i].astype("float32")) for i in (1, 2))
    for wanted in range(8):
        dx = guarded((70, 12), "float32") if wanted & 1 else None
        dgamma, dbeta = (guarded(12, "float32") if wanted & bit else None for bit in (2, 4))
        GPU.layernorm.backward(dx, dgamma, dbeta, dy, x, mean, rstd, gamma)
        for got, right in zip((dx, dgamma, dbeta), want[3:6], strict=True):
            if got is not None:
                agree(got, right, 2e-5)
