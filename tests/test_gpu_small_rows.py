"""Dropout, embedding, merges and resampling on the gpu, on sizes that reach every edge of their kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.cuda.standin import gpu_backend
from tinynn import backends
from tinynn.backends.base import Fill
from tinynn.backends.gpu import embedding as table
from tinynn.philox import random_bits

GPU: Any = gpu_backend()
REFERENCE, CPU = backends.get("reference"), backends.get("cpu")
pytestmark = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")
every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def on_card(x: np.ndarray, first: int | bool = 0) -> Any:
    """The array on the card; with first = 1 at an address that is no multiple of 16 bytes."""
    flat = np.append(np.zeros(int(first), x.dtype), x)
    return GPU.asarray(flat, x.dtype)[first:].reshape(x.shape)


def same(got: Any, want: np.ndarray) -> None:
    got = GPU.to_numpy(got)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(got, want)


# -- dropout ---------------------------------------------------------------------------------------------------------

SIZES = [0, 1, 3, 4, 5, 1023, 1025]
DRAWS = [((0, 0), 0, 0, 0), ((7, 3), 5, 0xDEADBEEF, 2), ((2**32 - 1, 2**32 - 1), 2**32 - 1, 2**32 - 1, 2**31)]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("key", "step", "substream", "call"), DRAWS)
def test_the_mask_is_the_cpus_bit_for_bit(n: int, key: Any, step: int, substream: int, call: int) -> None:
    x, steps = np.ones(n, "float32"), np.array([step], "uint32")
    words = random_bits(n, key, step, substream, call)
    for rate in (0.0, 0.25, 0.5, 1 - 1e-12):
        y, mask = GPU.empty((n,), "float32"), GPU.empty((n,), np.bool_)
        GPU.dropout.forward(y, mask, on_card(x), rate, key, GPU.asarray(steps, "uint32"), substream, call)
        same(mask, words >= rate * 2.0**32)
        cpu_y, cpu_mask = np.empty_like(x), np.empty(n, np.bool_)
        CPU.dropout.forward(cpu_y, cpu_mask, x, rate, key, steps, substream, call)
        same(mask, cpu_mask)
        same(y, cpu_y)


def test_every_bit_of_the_words() -> None:
    """A rate for each word: just at it, the word is kept; just above, it is dropped."""
    key, substream, call, n = (11, 12), 13, 14, 10
    words, step = random_bits(n, key, 9, substream, call), GPU.asarray(np.array([9]), "uint32")
    for e in range(n):
        for above in (0, 1):
            y, mask = GPU.empty((n,), "float32"), GPU.empty((n,), np.bool_)
            rate = (int(words[e]) + above) / 2**32
            GPU.dropout.forward(y, mask, on_card(np.ones(n, "float32")), rate, key, step, substream, call)
            assert GPU.to_numpy(mask)[e] == (above == 0)


@pytest.mark.filterwarnings("ignore:invalid value")
@every_dtype
@pytest.mark.parametrize("first", [0, 1])
def test_dropout_forward_and_backward(first: int, dtype: str) -> None:
    x, step = numbers(3, 7, 11, dtype=dtype), np.array([4], "uint32")
    x[0, 0, :4] = np.nan, np.inf, -np.inf, -0.0
    want, want_mask = np.empty_like(x), np.empty(x.shape, np.bool_)
    REFERENCE.dropout.forward(want, want_mask, x, 0.3, (1, 2), step, 3, 4)
    y, mask = on_card(np.zeros_like(x), first), on_card(np.zeros(x.shape, np.bool_), first)
    GPU.dropout.forward(y, mask, on_card(x, first), 0.3, (1, 2), GPU.asarray(step, "uint32"), 3, 4)
    same(mask, want_mask)
    np.testing.assert_allclose(GPU.to_numpy(y), want, rtol=1e-6)
    dy = on_card(x, first)
    dx = on_card(np.zeros_like(x), first)
    GPU.dropout.backward(dx, dy, mask, 0.3)
    same(dx, GPU.to_numpy(y))
    GPU.dropout.backward(dy, dy, mask, 0.3)
    same(dy, GPU.to_numpy(y))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6, 1027])
def test_noise_agrees(n: int) -> None:
    step = np.array([4], "uint32")
    for dtype, tolerance in (("float32", 2e-6), ("float64", 1e-12)):
        want, got = np.empty(n), GPU.empty((n,), dtype)
        REFERENCE.dropout.normal(want, 0.7, (1, 2**32 - 1), step, 3, 4)
        GPU.dropout.normal(got, 0.7, (1, 2**32 - 1), GPU.asarray(step, "uint32"), 3, 4)
        assert np.abs(GPU.to_numpy(got) - want).max() <= tolerance * np.abs(want).max()


def test_the_smallest_and_largest_words_become_good_noise() -> None:
    """The formula in float32 where float32 has fewest digits; in the kernel, words are a hash, so it is copied here."""
    from tests.cuda import emulator
    from tests.cuda.standin import StandIn

    if emulator.compiler() is None:
        pytest.skip("no C++ compiler")
    from tinynn.backends.gpu import dropout

    code = dropout.SOURCE.text() + (
        '\nextern "C" __global__ void pairs(real* z, const unsigned* u, const unsigned* v, Size n) {'
        " EACH(i, n) box_muller(z[2 * i], z[2 * i + 1], u[i], v[i], 1); }"
    )
    kernel = emulator.Module(code=code, options=dropout.SOURCE.compiler_options("f")).get_function("pairs")
    edges = np.array(
        [0, 1, 2, 255, 2**24 + 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2**17, 2**32 - 2**8, 2**32 - 2, 2**32 - 1]
    )
    u, v = (a.ravel().astype("uint32") for a in np.meshgrid(edges, edges))
    z = StandIn.empty(2 * u.size, "float32")
    kernel((1,), (64,), (z, StandIn.asarray(u), StandIn.asarray(v), u.size))
    radius, angle = np.sqrt(-2 * np.log1p(-(2.0**32 - 1 - u) / 2**32)), 2 * np.pi * (v / 2**32)
    radius[u == 0] = np.sqrt(-2 * np.log(2.0**-32))
    want = np.stack((radius * np.cos(angle), radius * np.sin(angle)), 1)
    error = np.abs(z.get().reshape(-1, 2) - want).max(1)
    assert (error <= 1e-6 * radius).all()


# -- embedding -------------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (5, 3, 2), (9, 70, 4), (6, 33, 7), (300, 40, 64), (4, 3, 1030), (3, 0, 4)]
)
@pytest.mark.parametrize("first", [0, 1])
def test_rows_are_gathered(shape: tuple[int, int, int], first: int, dtype: str) -> None:
    V, M, D = shape
    W, ids = numbers(V, D, dtype=dtype), np.random.default_rng(1).integers(0, V, M)
    for kind in ("int32", "int64"):
        y = on_card(np.zeros((M, D), dtype), first)
        GPU.embedding.forward(y, on_card(W, first), GPU.asarray(ids, kind))
        same(y, W[ids])


def scattered(dy: np.ndarray, ids: np.ndarray, V: int, kind: str = "int32") -> Any:
    dW = GPU.empty((V, dy.shape[1]), dy.dtype)
    GPU.embedding.backward(dW, GPU.asarray(dy, dy.dtype), GPU.asarray(ids, kind))
    return dW


def in_order(dy: np.ndarray, ids: np.ndarray, V: int) -> np.ndarray:
    dW = np.zeros((V, dy.shape[1]), dy.dtype)
    REFERENCE.embedding.backward(dW, dy, ids)
    return dW


@pytest.mark.parametrize(
    ("V", "M", "D"),
    [(1, 1, 1), (1, 65, 3), (2, 64, 33), (3, 0, 4), (256, 300, 5), (257, 300, 5), (70_000, 50, 2), (9, 31, 65)],
)
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_gradients_are_added_in_order(V: int, M: int, D: int, kind: str) -> None:
    """The same bytes as one row after the other."""
    dy, ids = numbers(M, D), np.random.default_rng(1).integers(0, V, M)
    same(scattered(dy, ids, V, kind), in_order(dy, ids, V))


@pytest.mark.parametrize("V", [200, 1000])
def test_several_tiles(V: int) -> None:
    M = 2 * table.TILE + 77
    dy, ids = numbers(M, 2), np.random.default_rng(1).integers(0, V, M)
    ids[::3] = V - 1  # a frequent word
    dW = scattered(dy, ids, V)
    same(dW, in_order(dy, ids, V))
    same(scattered(dy, ids, V), GPU.to_numpy(dW))


@pytest.mark.parametrize("M", [1, 31, 32, 33, 63, 64, 96, 255, 256, 257])
def test_long_runs(M: int) -> None:
    dy = numbers(M, 5)
    dy[0] = -0.0
    for ids in (np.zeros(M, int), np.full(M, 2), np.arange(M) // 32 % 3, np.sort(np.arange(M) % 3)):
        same(scattered(dy, ids, 3), in_order(dy, ids, 3))


@pytest.mark.parametrize("V", [3, 2**8, 2**8 + 1, 2**16 + 1, 2**24 + 1])
def test_places_are_sorted_stably(V: int) -> None:
    ids = np.random.default_rng(2).integers(0, V, table.TILE + 300)
    ids[::2] = np.random.default_rng(3).choice([0, V - 1, V // 2, V // 3], ids[::2].shape)
    np.testing.assert_array_equal(sorted_places(ids, V), np.argsort(ids, kind="stable"))
    np.testing.assert_array_equal(sorted_places(ids[:100], V), np.argsort(ids[:100], kind="stable"))


def sorted_places(ids: np.ndarray, V: int) -> np.ndarray:
    """By the row's own function; the table has V rows of nothing."""
    order = table.sorted_places(GPU.asarray(ids, "int32"), GPU.empty((V, 0), "float32"))
    return np.asarray(GPU.to_numpy(order))


def test_nan_reaches_its_own_row_only() -> None:
    dy, ids = numbers(40, 3), np.arange(40) % 4
    dy[7, 1] = np.nan
    got = GPU.to_numpy(scattered(dy, ids, 5))
    assert np.isnan(got[3, 1]) and np.isnan(got).sum() == 1 and (got[4] == 0).all()


def test_each_array_may_begin_anywhere() -> None:
    """Pieces of 16 bytes are moved only where all arrays allow it; the emulator reports one that is not aligned."""
    W, ids, x = numbers(5, 8), np.arange(7) % 5, numbers(19)
    kept, step = np.arange(19) % 3 > 0, GPU.asarray(np.array([4]), "uint32")
    for k in range(4):
        first = [i == k for i in range(4)]
        y = on_card(np.zeros((7, 8), "float32"), first[0])
        GPU.embedding.forward(y, on_card(W, first[1]), GPU.asarray(ids, "int32"))
        same(y, W[ids])
        y = on_card(np.zeros_like(x), first[0])
        GPU.merge.relu_sum(y, on_card(x, first[1]), on_card(x, first[2]))
        same(y, np.maximum(x + x, 0))
        da, db, dy, y = (on_card(x, f) for f in first)
        GPU.merge.relu_sum_backward(da, db, dy, y)
        same(da, np.maximum(x, 0))
        same(db, np.maximum(x, 0))
        dx, dy, mask = on_card(x, first[0]), on_card(x, first[1]), on_card(kept, first[2])
        GPU.dropout.backward(dx, dy, mask, 0.5)
        same(dx, x * kept * 2)
        y, mask = on_card(x, first[0]), on_card(kept, first[2])
        GPU.dropout.forward(y, mask, on_card(x, first[1]), 0.5, (1, 2), step, 3, 4)
        same(y, x * GPU.to_numpy(mask) * 2)


# -- merge -----------------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 1027])
@pytest.mark.parametrize("first", [0, 1])
def test_relu_of_a_sum(n: int, first: int, dtype: str) -> None:
    a, b = numbers(n, dtype=dtype), numbers(n, seed=1, dtype=dtype)
    a[:3] = np.array([np.nan, np.inf, -np.inf])[:n]
    want, y = np.empty_like(a), on_card(np.zeros_like(a), first)
    REFERENCE.merge.relu_sum(want, a, b)
    GPU.merge.relu_sum(y, on_card(a, first), on_card(b, first))
    same(y, want)
    dy = numbers(n, seed=2, dtype=dtype)
    expected = np.where(want <= 0, 0, dy)
    for wanted in ((True, True), (True, False), (False, True), (False, False)):
        da, db = (on_card(np.zeros_like(a), first) if want else None for want in wanted)
        GPU.merge.relu_sum_backward(da, db, on_card(dy, first), y)
        for gradient in (da, db):
            if gradient is not None:
                same(gradient, expected)
    gradient, db = on_card(dy, first), on_card(np.zeros_like(a))
    GPU.merge.relu_sum_backward(gradient, db, gradient, y)
    same(gradient, expected)
    same(db, expected)


# -- resample --------------------------------------------------------------------------------------------------------

KINDS = [("uint8", "uint8"), ("uint8", "float32"), ("float32", "float32")]


def images(*shape: int, dtype: str) -> np.ndarray:
    values = np.random.default_rng(0).uniform(0, 255, shape)
    return (np.rint(values) if dtype == "uint8" else values).astype(dtype)


def same_resampling(x: np.ndarray, m: np.ndarray, size: tuple[int, int], fill: Fill, kind: str, order: int) -> None:
    want, out = np.empty((len(x), *size, x.shape[3]), kind), GPU.empty((len(x), *size, x.shape[3]), kind)
    REFERENCE.resample.affine(want, x, m, fill, 4.0, order)
    GPU.resample.affine(out, GPU.asarray(x, x.dtype), GPU.asarray(m, "float64"), fill, 4.0, order)
    assert GPU.to_numpy(out).tobytes() == want.tobytes()


@pytest.mark.parametrize("kinds", KINDS)
@pytest.mark.parametrize("fill", list(Fill))
@pytest.mark.parametrize("order", [0, 1])
def test_resampling_gives_the_references_bytes(kinds: tuple[str, str], fill: Fill, order: int) -> None:
    rng = np.random.default_rng(1)
    for C in (1, 3):
        x, m = images(4, 9, 8, C, dtype=kinds[0]), rng.uniform(-1, 1, (4, 2, 3)) * (1, 1, 12)
        m[1] = np.rint(m[1] * 3)  # whole numbers
        m[2] = [[np.cos(np.pi / 2), 1.0, 0.0], [-1.0, np.cos(np.pi / 2), 7.0]]  # a quarter turn, which is not exact
        m[3] = [[0.5, 0, -1], [0, 0.5, -1.5]]  # halves
        same_resampling(x, m, (19, 17), fill, kinds[1], order)
        same_resampling(x, m, (1, 1), fill, kinds[1], order)


@pytest.mark.parametrize("fill", list(Fill))
def test_points_very_far_outside_are_the_fill_too(fill: Fill) -> None:
    x, m = images(2, 9, 8, 3, dtype="uint8"), np.random.default_rng(1).uniform(-1, 1, (2, 2, 3))
    m[:, :, 2] += [[5e9, -7e12], [-1e200, 3e10]]
    same_resampling(x, m, (6, 7), fill, "float32", 1)
    m[:] = np.nan  # nothing is read outside of the images
    out = GPU.empty((2, 6, 7, 3), "float32")
    GPU.resample.affine(out, GPU.asarray(x, x.dtype), GPU.asarray(m, "float64"), fill, 4.0, 1)


def test_images_of_one_pixel_and_of_none() -> None:
    m = np.random.default_rng(1).uniform(-2, 2, (3, 2, 3))
    for fill in Fill:
        same_resampling(images(3, 1, 1, 2, dtype="float32"), m, (3, 4), fill, "float32", 1)
        same_resampling(images(3, 5, 5, 2, dtype="float32"), m, (0, 4), fill, "float32", 1)
