"""Dense on the CPU beyond the table's sizes: batches whose sums come in pieces, products that threads share."""

import numpy as np
import pytest

from tinynn.activation import Activation
from tinynn.backends.cpu import dense, threads
from tinynn.backends.reference import dense as reference

KINDS = [Activation.LINEAR, Activation.RELU, Activation.TANH]


@pytest.fixture(autouse=True)
def restore_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def gradients(kernels, arrays, kind, wanted, dtype):
    x, W, y, dy = (a.astype(dtype) for a in arrays)
    shapes = x.shape, W.shape, (W.shape[1],)
    found = [np.full(shape, np.nan, dtype) if want else None for shape, want in zip(shapes, wanted, strict=True)]
    kernels.backward(*found, dy, x, W, y, kind)
    return [g for g in found if g is not None]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", [(1, 1, 1), (0, 1, 1), (1, 0, 0), (0, 0, 1), (1, 1, 0)])
@pytest.mark.parametrize("shape", [(128, 200, 140), (1300, 33, 40), (700, 20, 301), (2, 3, 1)])
def test_gradients(shape, wanted, kind):
    N, I, O = shape
    rng = np.random.default_rng(N)
    x, W = rng.standard_normal((N, I), dtype=np.float32), rng.standard_normal((I, O), dtype=np.float32)
    y, dy = np.empty((N, O), np.float32), rng.standard_normal((N, O), dtype=np.float32)
    dense.forward(y, x, W, None, kind)
    expected = gradients(reference, (x, W, y, dy), kind, wanted, np.float64)
    seen = set()
    for count in (1, 2, 3):
        threads.set_num_threads(count)
        found = gradients(dense, (x, W, y, dy), kind, wanted, np.float32)
        seen.add(b"".join(g.tobytes() for g in found))
        for g, e in zip(found, expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=0, atol=2e-6 * max(np.abs(e).max(), 1) * 4)
    assert len(seen) == 1


def test_no_rows_give_gradients_of_zero():
    x, W, y = np.ones((0, 4), np.float32), np.ones((4, 3), np.float32), np.ones((0, 3), np.float32)
    found = gradients(dense, (x, W, y, y.copy()), Activation.RELU, (1, 1, 1), np.float32)
    assert [g.shape for g in found] == [(0, 4), (4, 3), (3,)]
    assert all((g == 0).all() for g in found)


def test_nan_passes_the_relu_both_ways():
    x, W = np.array([[np.nan, -1, 2]], np.float32), np.eye(3, dtype=np.float32)
    y, dy = np.empty((1, 3), np.float32), np.ones((1, 3), np.float32)
    with np.errstate(invalid="ignore"):
        dense.forward(y, x, W, None, Activation.RELU)
    assert np.isnan(y).all()  # NaN times 0 is NaN
    y = np.array([[np.nan, 0, 2]], np.float32)
    (db,) = gradients(dense, (np.ones((1, 3)), W, y, dy), Activation.RELU, (0, 0, 1), np.float32)
    np.testing.assert_array_equal(db, [1, 0, 1])
