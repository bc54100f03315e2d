"""The matrix product of the cpu backend: numbers against float64 NumPy, memory outside C, and the same bytes."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import tinynn as nn
from tinynn.backends.cpu import threads
from tinynn.backends.cpu.gemm import column_sums, gemm
from tinynn.backends.cpu.simd import BLOCK, BLOCKS

GUARD = 123456.0
EXAMPLES = int(os.environ.get("TINYNN_TEST_EXAMPLES", "150"))
quick = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))

# Around the sizes where the code changes its mind: lanes, panels, register blocks, pieces of the depth.
edges = [0, 1, 2, 3, 5, 10, 12, 13, 15, 16, 17, 24, 31, 32, 33, 48, 63, 65, 100, 130]
short = st.one_of(st.sampled_from(edges), st.integers(1, 140))
deep = st.one_of(short, st.sampled_from([255, 256, 257, 300, 784, 1025]))


@pytest.fixture(autouse=True)
def restore_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


def matrix(rng, rows, columns, pad=0, dtype=np.float32):
    """A matrix whose rows are `columns + pad` numbers apart, with guards in between."""
    whole = np.full((rows + 2, columns + pad), GUARD, dtype)
    view = whole[1 : rows + 1, :columns]
    view[...] = rng.standard_normal((rows, columns))
    return whole, view


def check(m, n, k, transpose_a=False, transpose_b=False, bias=False, accumulate=False, pad=0, dtype=np.float32):
    rng = np.random.default_rng(m * 7 + n * 5 + k)
    _, a = matrix(rng, *((k, m) if transpose_a else (m, k)), pad, dtype)
    _, b = matrix(rng, *((n, k) if transpose_b else (k, n)), pad, dtype)
    whole, c = matrix(rng, m, n, pad, dtype)
    shift = rng.standard_normal(n).astype(dtype) if bias else None
    op_a, op_b = (a.T if transpose_a else a).astype(np.float64), (b.T if transpose_b else b).astype(np.float64)
    expected = op_a @ op_b
    size = np.abs(op_a) @ np.abs(op_b) + 1  # the scale of rounding errors
    for extra in ([shift] if bias else []) + ([c.astype(np.float64)] if accumulate else []):
        expected = expected + extra
        size = size + np.abs(extra)
    inputs = a.tobytes(), b.tobytes()
    gemm(c, a, b, transpose_a, transpose_b, shift, accumulate)
    assert inputs == (a.tobytes(), b.tobytes())
    tolerance = np.finfo(dtype).eps * (4 + k**0.5)
    assert np.all(np.abs(c - expected) <= tolerance * size)
    outside = whole.copy()
    outside[1 : m + 1, :n] = GUARD
    assert np.all(outside == GUARD), "wrote outside C"


@quick
@given(short, short, deep, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, 1, 16]))
@example(1, 1, 1, False, False, True, True, 0)
@example(100, 10, 784, False, False, True, False, 0)
@example(784, 10, 100, True, False, False, True, 3)
@example(257, 300, 600, True, True, True, False, 0)
@example(500, 1, 300, True, False, False, False, 0)
@example(1, 500, 300, False, False, True, False, 1)
def test_float32(m, n, k, transpose_a, transpose_b, bias, accumulate, pad):
    check(m, n, k, transpose_a, transpose_b, bias, accumulate, pad)


@settings(quick, max_examples=30)
@given(short, short, short, st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([0, 3]))
def test_float64(m, n, k, transpose_a, transpose_b, bias, accumulate, pad):
    check(m, n, k, transpose_a, transpose_b, bias, accumulate, pad, np.float64)


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_empty(shape, accumulate):
    check(*shape, bias=True, accumulate=accumulate)


def test_read_only_and_oddly_strided_inputs():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((60, 60)).astype(np.float32) for _ in range(2))
    a.flags.writeable = False
    for left, right in ((a, b), (a.T, b), (a[:, ::2], b[::2].T[:, ::-1].T), (a[::-1], b.T)):
        c = np.zeros((len(left), right.shape[1] * 2), np.float32)[:, ::2]
        with np.errstate(all="ignore"):
            gemm(c, left, right)
        np.testing.assert_allclose(c, left.astype(float) @ right, atol=1e-4)


@quick
@given(short, short, short, st.booleans(), st.booleans(), st.sampled_from([0, 1]))
@example(100, 10, 784, True, False, 0)
@example(128, 512, 784, True, False, 0)
@example(60, 40, 1100, True, False, 1)
@example(784, 10, 100, True, True, 0)
def test_floor_is_relu_of_the_whole_sum(m, n, k, bias, transpose_a, pad):
    rng = np.random.default_rng(m + n + k)
    _, a = matrix(rng, *((k, m) if transpose_a else (m, k)))
    _, b = matrix(rng, k, n)
    shift = rng.standard_normal(n).astype(np.float32) if bias else None
    _, plain = matrix(rng, m, n, pad)
    whole, floored = matrix(rng, m, n, pad)
    if m * k:
        a[(0, 0)] = np.nan
    gemm(plain, a, b, transpose_a, False, shift)
    gemm(floored, a, b, transpose_a, False, shift, floor=True)
    np.testing.assert_array_equal(floored, np.maximum(plain, 0))
    assert np.all(whole[:, n:] == GUARD)


def test_nan_in_c_is_overwritten():
    c = np.full((70, 70), np.nan, np.float32)
    gemm(c, np.ones((70, 5), np.float32), np.ones((5, 70), np.float32))
    assert np.all(c == 5)


SHAPES = [(100, 10, 784, 0), (784, 10, 100, 1), (130, 300, 257, 0), (300, 65, 1100, 1), (5000, 13, 40, 0)]


@pytest.mark.parametrize(("m", "n", "k", "transpose_a"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bytes_for_every_number_of_threads(m, n, k, transpose_a, dtype):
    rng = np.random.default_rng(1)
    a = rng.standard_normal((k, m) if transpose_a else (m, k)).astype(dtype)
    b = rng.standard_normal((k, n)).astype(dtype)
    seen = set()
    for count in (1, 2, 3, 2, 1):
        threads.set_num_threads(count)
        c, total = np.empty((m, n), dtype), np.empty(a.shape[1], dtype)
        gemm(c, a, b, bool(transpose_a))
        column_sums(total, a)
        seen.add(c.tobytes() + total.tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("n", [1, 10, 40])
def test_a_row_does_not_depend_on_the_others(n):
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((500, 300)).astype(np.float32), rng.standard_normal((300, n)).astype(np.float32)
    c, one = np.empty((500, n), np.float32), np.empty((1, n), np.float32)
    gemm(c, a, b)
    for row in (0, 7, 499):
        gemm(one, a[row : row + 1], b)
        assert one.tobytes() == c[row].tobytes()


def test_two_python_threads_at_once():
    rng = np.random.default_rng(2)
    jobs = []
    for m, n, k in ((200, 130, 300), (64, 20, 33), (300, 70, 500), (100, 10, 784)):
        a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
        c = np.empty((m, n), np.float32)
        gemm(c, a, b)
        jobs.append((a, b, c.tobytes()))
    wrong = []

    def work(order):
        for i in range(200):
            a, b, expected = jobs[(i * order) % len(jobs)]
            c = np.empty((len(a), b.shape[1]), np.float32)
            gemm(c, a, b)
            if c.tobytes() != expected:
                wrong.append(i)

    workers = [threading.Thread(target=work, args=(order,)) for order in (1, 3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


@pytest.mark.skipif("TINYNN_SIMD" in os.environ, reason="once is enough")
def test_threads_that_come_at_once_for_the_first_product(tmp_path):
    program = """
import threading
import numpy as np
from tinynn.backends.cpu.gemm import column_sums, gemm

failed = []

def first(size):
    try:
        a, c, total = np.ones((size, size), np.float32), np.empty((size, size), np.float32), np.empty(size, np.float32)
        gemm(c, a, a)
        column_sums(total, a)
        assert (c == size).all() and (total == size).all()
    except BaseException as error:
        failed.append(error)

workers = [threading.Thread(target=first, args=(size,)) for size in (10, 100, 10, 100)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
assert not failed, failed
"""
    environment = dict(os.environ, NUMBA_CACHE_DIR=str(tmp_path))
    result = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@settings(quick, max_examples=60)
@given(st.one_of(deep, st.just(3000)), short, st.sampled_from([0, 1, 16]))
@example(40_000, 33, 0)
@example(1, 1000, 0)
@example(20_000, 1, 0)
def test_column_sums(rows, columns, pad):
    rng = np.random.default_rng(rows + columns)
    _, a = matrix(rng, rows, columns, pad)
    out = np.full(columns + 32, GUARD, np.float32)
    column_sums(out[:columns], a)
    expected = a.astype(np.float64).sum(0)
    size = np.abs(a).astype(np.float64).sum(0)
    assert np.all(np.abs(out[:columns] - expected) <= np.finfo(np.float32).eps * (4 + rows**0.5) * size)
    assert np.all(out[columns:] == GUARD)


@pytest.mark.parametrize("width", sorted(set(BLOCKS) - {BLOCK.lanes * 32}))
def test_other_vector_widths(width):
    """The same tests, fewer examples, in a process that was told to use another vector width."""
    if "TINYNN_SIMD" in os.environ:
        pytest.skip("this is such a process")
    environment = dict(os.environ, TINYNN_SIMD=str(width), TINYNN_TEST_EXAMPLES="60")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", __file__]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_number_of_threads_is_public():
    nn.set_num_threads(3)
    assert nn.get_num_threads() == threads.get_num_threads() == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, True, 10**6])
def test_number_of_threads_is_checked(value):
    with pytest.raises(ValueError, match="set_num_threads"):
        nn.set_num_threads(value)


@pytest.mark.parametrize(("name", "value"), [("TINYNN_SIMD", "1024"), ("TINYNN_NUM_THREADS", "many")])
def test_settings_are_checked(name, value):
    command = [sys.executable, "-c", "import tinynn.backends.cpu.gemm"]
    result = subprocess.run(command, env=dict(os.environ, **{name: value}), capture_output=True, text=True)
    assert name in result.stderr.splitlines()[-1]
