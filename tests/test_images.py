"""What happens to a block of images around a convolution, in vectors, against plain NumPy; and nothing outside it."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tinynn.activation import Activation
from tinynn.backends.cpu import images
from tinynn.backends.cpu.simd import BLOCK, BLOCKS

GUARD = 77
ALPHA = np.float32(0.25)
RECOMPUTED = [Activation.LINEAR, Activation.RELU, Activation.LEAKY_RELU]
CHANNELS = [1, 3, 5, 16, 17, 32, 65]
every_width = pytest.mark.parametrize("C", CHANNELS)
every_kind = pytest.mark.parametrize("kind", images.KINDS, ids=str)


class Images:
    """An array (N, H, W, C) inside of larger memory, and what stands around it."""

    def __init__(self, values, pad=3, dtype=np.float32):
        values = np.asarray(values, dtype)
        N, H, W, C = values.shape
        self.whole = np.full((N, H + 2, (W + 2) * C + pad), GUARD, dtype)
        self.array = np.lib.stride_tricks.as_strided(
            self.whole[:, 1:, C:], values.shape, (*self.whole.strides[:2], C * self.whole.itemsize, self.whole.itemsize)
        )
        self.array[...] = values

    @classmethod
    def empty(cls, *shape, dtype=np.float32):
        return cls(np.full(shape, GUARD - 1), dtype=dtype)

    @property
    def at(self):
        return self.array.ctypes.data, *self.array.strides[:2]

    def untouched(self):
        around = self.whole.copy()
        N, H, W, C = self.array.shape
        around[:, 1 : H + 1, C : (W + 1) * C] = GUARD
        return bool((around == GUARD).all())


def draw(seed, *shape, ties=False, nan=False):
    rng = np.random.default_rng(seed)
    x = rng.integers(-2, 3, shape).astype(np.float32) if ties else rng.standard_normal(shape).astype(np.float32)
    if nan:
        x[rng.random(shape) < 0.1] = np.nan
        x[rng.random(shape) < 0.1] = -np.inf
    return x


def f(x, kind):
    forms = {
        Activation.LINEAR: lambda: x,
        Activation.RELU: lambda: np.maximum(x, 0),
        Activation.LEAKY_RELU: lambda: np.where(x > 0, x, ALPHA * x),
        Activation.TANH: lambda: np.tanh(x),
    }
    return forms[kind]()


def derivative(z, kind):
    forms = {
        Activation.LINEAR: lambda: np.ones_like(z),
        Activation.RELU: lambda: (z > 0).astype(z.dtype),
        Activation.LEAKY_RELU: lambda: np.where(z > 0, 1, ALPHA).astype(z.dtype),
        Activation.TANH: lambda: 1 - z * z,
    }
    return forms[kind]()


def windows(x, window, outputs, filled):
    """(N, OH, OW, C, KH KW): what each window sees, `filled` outside."""
    KH, KW, SH, SW, top, left = window
    padded = np.pad(x, ((0, 0), (top, KH), (left, KW), (0, 0)), constant_values=filled)
    seen = np.empty((x.shape[0], *outputs, x.shape[3], KH * KW), x.dtype)
    for i in range(outputs[0]):
        for j in range(outputs[1]):
            part = padded[:, i * SH : i * SH + KH, j * SW : j * SW + KW]
            seen[:, i, j] = part.reshape(len(x), KH * KW, -1).transpose(0, 2, 1)
    return seen


def pool(x, window, outputs):
    """The largest of each window and its place, inside the image; NaN is the largest, the first counts."""
    seen, inside = windows(x, window, outputs, -np.inf), windows(np.ones_like(x), window, outputs, 0)
    rank = np.where(inside == 1, np.nan_to_num(seen, nan=1e30, neginf=-1e30), -np.inf)
    place = np.argmax(rank, axis=-1)
    return np.take_along_axis(seen, place[..., None], -1)[..., 0], place


def scatter(g, place, window, shape):
    """Every gradient at its place, summed."""
    KH, KW, SH, SW, top, left = window
    padded = np.zeros((shape[0], shape[1] + KH + top, shape[2] + KW + left, shape[3]))
    for (n, i, j, c), value in np.ndenumerate(g):
        a, b = divmod(int(place[n, i, j, c]), KW)
        padded[n, i * SH + a, j * SW + b, c] += value
    return padded[:, top : top + shape[1], left : left + shape[2]]


def close(got, want, tolerance=1e-5):
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)


# window, rows and columns of the input, of the output
POOLS = [
    ((2, 2, 2, 2, 0, 0), (4, 6), (2, 3)),
    ((2, 2, 2, 2, 0, 0), (5, 7), (2, 3)),
    ((2, 2, 2, 2, 0, 0), (3, 5), (2, 3)),  # hangs over the edge
    ((3, 3, 2, 2, 0, 0), (7, 5), (3, 2)),
    ((3, 2, 1, 3, 1, 1), (4, 5), (4, 2)),
]
every_pool = pytest.mark.parametrize(("window", "inputs", "outputs"), POOLS)


@every_width
@pytest.mark.parametrize("borders", [(1, 1, 1, 1), (0, 2, 1, 0), (3, 0, 0, 5), (0, 0, 0, 0)])
def test_padding(C, borders):
    x = Images(draw(0, 2, 3, 5, C))
    top, bottom, left, right = borders
    y = Images.empty(2, 3 + top + bottom, 5 + left + right, C)
    images.pad_block(*x.at, *y.at, 2, 3, 5, C, *borders)
    np.testing.assert_array_equal(y.array, np.pad(x.array, ((0, 0), (top, bottom), (left, right), (0, 0))))
    assert x.untouched() and y.untouched()


@every_width
@every_kind
def test_activation(C, kind):
    y = Images(3 * draw(1, 2, 3, 5, C, nan=True))
    want = f(y.array.copy(), kind)
    images.activate_block(*y.at, 2, 3, 5, C, images.KINDS[kind], ALPHA)
    close(y.array, want, 1e-6)
    assert y.untouched()


def test_tanh_has_the_digits_of_float32():
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(-9, 9, 100_000), rng.standard_normal(100_000) * 1e-3, [0, -0.0, 1e30, -np.inf]])
    y = Images(x.reshape(1, 1, 1, -1))
    want = np.tanh(y.array.astype(np.float64))
    images.activate_block(*y.at, 1, 1, 1, x.size, images.TANH, ALPHA)
    assert np.all(np.abs(y.array - want) <= 5e-7 * np.abs(want))


@every_width
@every_kind
def test_gradient_of_the_activation(C, kind):
    z, dz, dy = Images(f(draw(3, 2, 3, 5, C, ties=True), kind)), Images(draw(4, 2, 3, 5, C)), Images.empty(2, 3, 5, C)
    images.gradient_block(*dz.at, *z.at, 0, 0, 0, *dy.at, 2, 3, 5, C, 0, images.KINDS[kind], ALPHA)
    close(dy.array, dz.array * derivative(z.array, kind), 1e-6)
    assert dy.untouched()
    images.gradient_block(*dz.at, *z.at, 0, 0, 0, *dz.at, 2, 3, 5, C, 0, images.KINDS[kind], ALPHA)
    np.testing.assert_array_equal(dz.array, dy.array)


def normalization(C):
    """mean, scale, shift, q, r"""
    return np.random.default_rng(C).standard_normal((5, C)).astype(np.float32)


def normed(y, norm):
    return (y - norm[0]) * norm[1] + norm[2]


@every_width
@every_kind
def test_norm(C, kind):
    y, z, norm = Images(draw(5, 2, 3, 5, C, nan=True)), Images.empty(2, 3, 5, C), normalization(C)
    images.norm_block(*y.at, *z.at, 2, 3, 5, C, norm.ctypes.data, images.KINDS[kind], ALPHA)
    close(z.array, f(normed(y.array, norm), kind))
    assert z.untouched()


@every_width
@pytest.mark.parametrize(
    ("kind", "recomputed"), [*[(k, False) for k in images.KINDS], *[(k, True) for k in RECOMPUTED]]
)
def test_gradient_of_the_norm(C, kind, recomputed):
    y, dz, dy, norm = (
        Images(draw(6, 2, 3, 5, C)),
        Images(draw(7, 2, 3, 5, C)),
        Images.empty(2, 3, 5, C),
        normalization(C),
    )
    z, sums = Images.empty(2, 3, 5, C), np.ones((3, C), np.float32)
    code = images.KINDS[kind]
    images.norm_block(*y.at, *z.at, 2, 3, 5, C, norm.ctypes.data, code, ALPHA)
    result = (0, 0, 0) if recomputed else z.at
    images.gradient_block(*dz.at, *result, *y.at, *dy.at, 2, 3, 5, C, norm.ctypes.data, code, ALPHA)
    images.norm_sums_block(*dz.at, *result, *y.at, 2, 3, 5, C, norm.ctypes.data, code, ALPHA, sums.ctypes.data)
    mean, scale, _, q, r = norm
    g = dz.array * derivative(z.array, kind)
    close(dy.array, scale * g + q * (y.array - mean) + r)
    close(sums, [1 + g.sum((0, 1, 2)), 1 + (g * (y.array - mean)).sum((0, 1, 2)), np.ones(C)])
    assert dy.untouched()


@every_width
@every_pool
@pytest.mark.parametrize("values", ["normal", "ties", "nan"])
def test_pool(C, window, inputs, outputs, values):
    y = Images(draw(8, 2, *inputs, C, ties=values != "normal", nan=values == "nan"))
    z, place = Images.empty(2, *outputs, C), Images.empty(2, *outputs, C, dtype=np.uint8)
    sizes = 2, *outputs, *inputs, C, *window
    images.pool_block(*y.at, *z.at, *place.at, *sizes, 0, images.LINEAR, ALPHA)
    want, want_place = pool(y.array, window, outputs)
    np.testing.assert_array_equal(z.array, want)
    np.testing.assert_array_equal(place.array, want_place)
    images.pool_block(*y.at, *z.at, 0, 0, 0, *sizes, 0, images.RELU, ALPHA)
    np.testing.assert_array_equal(z.array, np.maximum(want, 0))
    assert z.untouched() and place.untouched()


@every_width
@every_kind
@every_pool
def test_pool_after_norm_and_its_gradients(C, kind, window, inputs, outputs):
    code, norm = images.KINDS[kind], normalization(C)
    y, z, place = (
        Images(draw(9, 2, *inputs, C)),
        Images.empty(2, *outputs, C),
        Images.empty(2, *outputs, C, dtype=np.uint8),
    )
    images.pool_block(*y.at, *z.at, *place.at, 2, *outputs, *inputs, C, *window, norm.ctypes.data, code, ALPHA)
    largest, _ = pool(normed(y.array, norm), window, outputs)
    close(z.array, f(largest, kind))
    seen = windows(y.array, window, outputs, np.nan)
    of_place = np.take_along_axis(seen, place.array[..., None].astype(int), -1)[..., 0]
    close(normed(of_place, norm), largest)
    assert z.untouched() and place.untouched()

    dz, dy, sums = Images(draw(10, 2, *outputs, C)), Images.empty(2, *inputs, C), np.ones((3, C), np.float32)
    parts = *dz.at, *z.at, *place.at
    g = dz.array * derivative(z.array, kind)
    at_place = scatter(g, place.array, window, y.array.shape)
    images.unpool_block(*parts, 0, 0, 0, *dy.at, 2, *inputs, *outputs, C, *window, 0, code, ALPHA)
    close(dy.array, at_place)
    mean, scale, _, q, r = norm
    images.unpool_block(*parts, *y.at, *dy.at, 2, *inputs, *outputs, C, *window, norm.ctypes.data, code, ALPHA)
    close(dy.array, scale * at_place + q * (y.array - mean) + r)
    images.pooled_sums_block(
        *parts, *y.at, 2, *outputs, *inputs, C, *window, norm.ctypes.data, code, ALPHA, sums.ctypes.data
    )
    close(sums, [1 + g.sum((0, 1, 2)), 1 + (g * (of_place - mean)).sum((0, 1, 2)), np.ones(C)])
    assert dy.untouched()


@every_width
def test_channel_sums(C):
    y, sums, totals = Images(draw(11, 2, 3, 7, C)), np.ones(C + 1, np.float32), np.ones(C + 1)
    images.channel_sums_block(*y.at, 2, 3, 7, C, sums.ctypes.data)
    want = y.array.sum((0, 1, 2), np.float64) + 1
    close(sums, [*want, 1])
    images.add_sums(totals.ctypes.data, sums.ctypes.data, C)
    close(totals, [*(1 + want), 1])
    np.testing.assert_array_equal(sums, [*np.zeros(C), 1])


@every_width
def test_moments(C):
    """Blocks far from zero, merged: what float64 gives."""
    y = 1000 + 3 * np.arange(C) + draw(12, 6, 5, 7, C)
    y[0, 0] += 50  # the first row, which the pivot is taken from, is unlike the others
    mean, M2, work = np.empty((2, C)), np.empty((2, C)), np.full(3 * C + 1, GUARD, np.float32)
    seen = 0
    for first, last in ((0, 2), (2, 3), (3, 6)):
        block = Images(y[first:last])
        count = (last - first) * 35
        images.moments_block(
            *block.at, last - first, 5, 7, C, mean[1:].ctypes.data, M2[1:].ctypes.data, work.ctypes.data
        )
        images.merge_moments(mean.ctypes.data, M2.ctypes.data, seen, mean[1:].ctypes.data, M2[1:].ctypes.data, count, C)
        seen += count
    exact = y.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(mean[0], exact.mean((0, 1, 2)), rtol=1e-8)
    np.testing.assert_allclose(M2[0], exact.var((0, 1, 2)) * seen, rtol=1e-5)
    assert work[-1] == GUARD


@pytest.mark.parametrize("width", sorted(set(BLOCKS) - {BLOCK.lanes * 32}))
def test_other_vector_widths(width):
    """The same tests in a process that was told to use another vector width."""
    if "TINYNN_SIMD" in os.environ:
        pytest.skip("this is such a process")
    environment = dict(os.environ, TINYNN_SIMD=str(width))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr
