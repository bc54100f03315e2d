"""The cpu kernels of pooling against the reference: any window and padding, strips, threads, NaN and infinities."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinynn.backends.cpu import pool2d, threads
from tinynn.backends.reference import pool2d as reference
from tinynn.window import Window

pair = st.tuples(st.integers(1, 4), st.integers(1, 4))
padding = st.tuples(st.integers(0, 3), st.integers(0, 3))
GUARD = -77.0


def draw(rng, shape, dtype):
    """Ties, NaN and infinities among numbers."""
    x = rng.integers(-3, 4, shape).astype(dtype)
    strange = rng.random(shape)
    x[strange < 0.06], x[strange < 0.04], x[strange < 0.02] = np.nan, -np.inf, np.inf
    return x


def guarded(shape, dtype):
    """A contiguous array with a guard before and behind it."""
    size = int(np.prod(shape))
    whole = np.full(size + 128, GUARD, dtype)
    return whole, whole[64 : 64 + size].reshape(shape)


def run(kernels, shape, window, dtype):
    """All four kernels on the same numbers; the bytes outside of the outputs are looked at."""
    rng = np.random.default_rng(0)
    N, rows, columns, C = shape
    outputs = (N, *window.output(rows, columns), C)
    x, dy = draw(rng, shape, dtype), rng.standard_normal(outputs).astype(dtype)
    held = [guarded(outputs, dtype), guarded(shape, dtype), guarded(outputs, dtype), guarded(shape, dtype)]
    (_, y), (_, dx), (_, mean), (_, dmean) = held
    place = np.full(outputs, 255, np.uint8)
    kernels.max_forward(y, place, x, window)
    kernels.max_backward(dx, dy, place, window)
    kernels.average_forward(mean, np.nan_to_num(x, nan=0.5, posinf=2, neginf=-2), window)
    kernels.average_backward(dmean, dy, window)
    for whole, _ in held:
        assert (whole[:64] == GUARD).all() and (whole[-64:] == GUARD).all(), "wrote outside"
    alone = np.empty_like(y)
    kernels.max_forward(alone, None, x, window)
    np.testing.assert_array_equal(alone, y)
    return y, place, dx, mean, dmean


def agree(shape, window, dtype):
    got, want = run(pool2d, shape, window, dtype), run(reference, shape, window, dtype)
    for a, b in zip(got[:2], want[:2], strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(got[2:], want[2:], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 3), pair, st.sampled_from([1, 3, 5, 16, 33]), pair, pair, padding, padding, st.booleans())
@example(2, (1, 1), 16, (2, 2), (2, 2), (0, 1), (0, 1), False)
@example(2, (2, 2), 16, (2, 2), (2, 2), (1, 0), (0, 0), False)
def test_any_window(N, size, C, kernel, strides, rows, columns, double):
    # A window that saw nothing but padding would have no largest number, and no mean.
    around = tuple(p % kernel[0] for p in rows), tuple(p % kernel[1] for p in columns)
    window = Window(kernel, strides, around)
    rows_in, columns_in = size[0] + 3, size[1] + 3  # no smaller than the kernel
    agree((N, rows_in, columns_in, C), window, np.float64 if double else np.float32)


WINDOWS = [
    Window((2, 2), (2, 2)),
    Window((3, 3), (2, 2), ((0, 1), (1, 1))),
    Window((3, 3), (1, 1), ((1, 1), (1, 1))),
    Window((2, 2), (2, 2), ((1, 0), (0, 0))),
    Window((5, 2), (3, 4)),
]


@pytest.mark.parametrize("window", WINDOWS, ids=lambda w: f"{w.size}-{w.strides}-{w.padding}")
@pytest.mark.parametrize("shape", [(3, 41, 57, 32), (1, 130, 150, 17)])
def test_large_images_in_strips_by_several_threads(window, shape):
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            threads.set_num_threads(count)
            results.append(run(pool2d, shape, window, np.float32))
    finally:
        threads.set_num_threads(before)
    for other in results[1:]:
        assert all(a.tobytes() == b.tobytes() for a, b in zip(results[0], other, strict=True))
    agree(shape, window, np.float32)


def test_windows_of_nothing_but_padding():
    """-inf, and nobody gets a gradient."""
    window, x = Window((2, 2), (2, 2), ((2, 2), (0, 0))), np.ones((1, 2, 2, 3), np.float32)
    for dtype in (np.float32, np.float64):
        y, place, dx = np.empty((1, 3, 1, 3), dtype), np.empty((1, 3, 1, 3), np.uint8), np.empty((1, 2, 2, 3), dtype)
        pool2d.max_forward(y, place, x.astype(dtype), window)
        np.testing.assert_array_equal(y[0, :, 0, 0], [-np.inf, 1, -np.inf])
        pool2d.max_backward(dx, np.ones_like(y), place, window)
        np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 0], [0, 0]])
