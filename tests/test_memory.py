"""The CPU backend's pool of memory: blocks come back at once, never too early, and do not pile up."""

import gc
import random
import signal
import threading
import weakref

import numpy as np
import pytest

from tinynn import Sequential, layers
from tinynn.backends.cpu import memory
from tinynn.backends.cpu.memory import SMALL, Pool, rounded

FLOAT = np.dtype("float32")


@pytest.fixture
def fresh(monkeypatch):
    """The sizes of the blocks that were asked of the system so far; ``clear()`` it to count anew."""
    sizes = []
    original = memory.new_block
    monkeypatch.setattr(memory, "new_block", lambda size: sizes.append(size) or original(size))
    return sizes


def address(array):
    return array.ctypes.data


def numbers(pool):
    """(in use, free) after a recount of both; what the pool keeps account of must agree."""
    pool.collect()
    assert pool.used_bytes == sum(size for _, size, _ in pool.leases.values())
    assert pool.free_bytes == sum(size * len(blocks) for size, blocks in pool.free.items())
    return pool.used_bytes, pool.free_bytes


@pytest.mark.parametrize("shape", [(100, 100), (SMALL,), (3, 1, 70_001), (1 << 22,)])
@pytest.mark.parametrize("dtype", ["float32", np.dtype("float64"), np.uint8])
def test_arrays_are_as_asked_for(shape, dtype):
    pool = Pool()
    for _ in range(3):
        a = pool.empty(shape, dtype)
        assert (a.shape, a.dtype) == (shape, np.dtype(dtype))
        assert a.flags.c_contiguous
        assert a.flags.writeable
        assert a.nbytes < SMALL or address(a) % 64 == 0
        a[...] = 1
        assert (a == 1).all()


def test_small_arrays_are_numpys():
    pool = Pool()
    for shape in ((), (0,), (0, 1 << 30), (SMALL // 4 - 1,)):
        assert pool.empty(shape, FLOAT).base is None
    assert numbers(pool) == (0, 0)


def test_sizes_waste_at_most_a_quarter():
    sizes = sorted({rounded(n) for n in range(SMALL, 4 * SMALL)})
    assert sizes == [SMALL * 2**k * (4 + i) // 4 for k in (0, 1) for i in range(4)] + [4 * SMALL]
    assert all(n <= rounded(n) <= 1.25 * n for n in range(SMALL, 1 << 20, 97))


def test_a_block_is_reused_at_once(fresh):
    pool = Pool()
    a = pool.empty((100, 100), FLOAT)
    before = address(a)
    del a
    b = pool.empty((99, 101), FLOAT)
    assert address(b) == before, "nearly the same size"
    assert len(fresh) == 1
    c = pool.empty((100, 100), FLOAT)
    assert address(c) != before
    assert numbers(pool) == (2 * rounded(40_000), 0)


VIEWS = {
    "slice": lambda a: a[10:],
    "transposed": lambda a: a.T,
    "reshaped": lambda a: a.reshape(-1),
    "dtype": lambda a: a.view(np.uint8),
    "reversed": lambda a: a[::-1],
    "newaxis": lambda a: a[None],
    "broadcast": lambda a: np.broadcast_to(a, (2, *a.shape)),
    "strided": lambda a: np.lib.stride_tricks.as_strided(a, a.shape, a.strides),
    "memoryview": lambda a: np.asarray(memoryview(a)),
    "frombuffer": lambda a: np.frombuffer(a, np.uint8),
    "subclass": lambda a: a.view(np.ma.MaskedArray),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_of_a_view_of_a_view_keeps_the_block(name):
    pool = Pool()
    a = pool.empty((128, 128), FLOAT)
    before = address(a)
    a[...] = 7
    view = VIEWS[name](a)
    del a
    view = view[:]
    view = view[..., :100]
    others = [pool.empty((128, 128), FLOAT) for _ in range(3)]
    for other in others:
        assert address(other) != before
        other[...] = 0
    kept = np.array(view)
    assert (kept.view(FLOAT) == 7).all() if kept.dtype == np.uint8 else (kept == 7).all()
    del view
    gc.collect()
    assert address(pool.empty((128, 128), FLOAT)) == before, "handed back when the last view died"


def test_base_is_the_lowest_array():
    """NumPy lets a view's base skip arrays whose base is an array: below the leased one there must be none."""
    a = Pool().empty((128, 128), FLOAT)
    assert not isinstance(a.base, np.ndarray)
    assert a[1:][1:].T.base is a


def step(pool, batch, widths=(64, 96, 128, 160)):
    """What a training step asks for: results that live until the backward, and a gradient at a time."""
    kept = [pool.empty((batch, width), FLOAT) for width in widths]
    for a in reversed(kept):
        gradient = pool.empty(a.shape, FLOAT)
        gradient[...] = 0


def test_a_smaller_batch_is_kept_too(fresh):
    """Blocks of sizes that are no longer asked for make room."""
    pool = Pool()
    step(pool, 256)
    most = pool.peak_bytes
    for batch in (256, 100, 210, 150, 180, 256, 120):
        for i in range(5):
            fresh.clear()
            step(pool, batch)
            assert numbers(pool)[1] <= 2 * most
            assert not fresh or i < 2, f"step {i} of batch {batch}"
    assert pool.peak_bytes == most
    assert pool.free_bytes > most, "sizes have to make room in this test"


def test_the_oldest_go_first(fresh):
    pool = Pool()
    sizes = [(1 + i) * SMALL for i in range(4)]
    everything = [pool.empty((size,), np.uint8) for size in sizes]
    while everything:
        del everything[0]
        pool.collect()
        pool.count += 1
    assert numbers(pool) == (0, 10 * SMALL)
    for size in (5 * SMALL, 6 * SMALL):
        pool.empty((size,), np.uint8)
    assert numbers(pool) == (0, 20 * SMALL), "twice what was in use at once"
    assert sorted(size // SMALL for size, blocks in pool.free.items() if blocks) == [2, 3, 4, 5, 6]


def test_what_a_large_phase_left_is_given_back():
    pool = Pool(period=100)
    large = [pool.empty((1 << 20,), np.uint8) for _ in range(8)]
    watched = [weakref.ref(a) for a in large]
    del large
    assert not any(w() is not None for w in watched)
    assert numbers(pool) == (0, 8 << 20)
    for _ in range(99 - 8):
        pool.empty((SMALL,), np.uint8)
    assert numbers(pool)[1] > 7 << 20, "not yet"
    for _ in range(200):
        pool.empty((SMALL,), np.uint8)
    assert numbers(pool) == (0, SMALL)
    assert pool.peak_bytes == pool.last_peak_bytes == SMALL


def test_a_steady_loop_is_not_disturbed_by_periods(fresh):
    pool = Pool(period=20)
    for _ in range(3):
        step(pool, 256)
    fresh.clear()
    for _ in range(50):
        step(pool, 256)
    assert not fresh


def test_clear_gives_back_what_is_free():
    pool = Pool()
    a, b = pool.empty((SMALL,), np.uint8), pool.empty((2 * SMALL,), np.uint8)
    del b
    pool.clear()
    assert numbers(pool) == (SMALL, 0)
    assert pool.peak_bytes == SMALL
    del a
    assert numbers(pool) == (0, SMALL)


def test_no_memory_takes_from_what_is_free(monkeypatch):
    pool = Pool()
    pool.empty((4 * SMALL,), np.uint8)
    original = memory.new_block

    def scarce(size):
        if pool.free_bytes:
            raise MemoryError
        return original(size)

    monkeypatch.setattr(memory, "new_block", scarce)
    a = pool.empty((5 * SMALL,), np.uint8)
    assert numbers(pool) == (5 * SMALL, 0)
    del a
    with pytest.raises(MemoryError):
        Pool().empty((1 << 60,), np.uint8)
    assert numbers(pool) == (0, 5 * SMALL)


def test_threads_allocate_and_free():
    """Every array keeps what its thread wrote, and the account is right at the end."""
    pool, wrong, shared = Pool(period=50), [], [None] * 16

    def work(number):
        rng = random.Random(number)
        held = []
        for i in range(1500):
            a = pool.empty((rng.randrange(SMALL, 3 * SMALL),), np.uint8)
            mark = (number * 37 + i) % 251
            a[::1024] = mark
            held.append((a[5:], a[::1024], mark))
            shared[rng.randrange(16)] = a  # whose last reference another thread may drop
            if len(held) > rng.randrange(1, 8):
                view, marked, mark = held.pop(rng.randrange(len(held)))
                if not (marked == mark).all():
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert not any(t.is_alive() for t in threads)
    assert not wrong
    shared.clear()
    used, free = numbers(pool)
    assert used == 0
    assert not pool.leases
    assert 0 < free <= pool.limit()


def test_an_array_that_dies_inside_an_allocation(monkeypatch):
    """A finalizer or a signal handler may run there, which frees arrays, and asks for some."""
    pool = Pool()
    original = memory.new_block
    held = [pool.empty((SMALL,), np.uint8)]
    got = []

    def interrupted(size):
        if held:
            held.clear()
            got.append(pool.empty((SMALL,), np.uint8))
            pool.clear()
            pool.collect()
        return original(size)

    monkeypatch.setattr(memory, "new_block", interrupted)
    a = pool.empty((3 * SMALL,), np.uint8)
    assert not held
    assert address(got[0]) % 64 == 0
    assert numbers(pool) == (a.nbytes, SMALL)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this system")
def test_signal_handlers_may_allocate():
    pool, calls = Pool(), []

    def handler(number, frame):
        calls.append(pool.empty((2 * SMALL,), np.uint8).size)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for _ in range(30_000):
            pool.empty((SMALL,), np.uint8)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert calls
    assert numbers(pool)[0] == 0


# -- training ----------------------------------------------------------------------------------------------------------


def network():
    model = Sequential([layers.Dense(256, activation="relu"), layers.Dense(200, activation="tanh"), layers.Dense(10)])
    model.compile(optimizer="adam", loss="mse")
    x = np.random.default_rng(0).standard_normal((512, 300)).astype("float32")
    y = x[:, :10].copy()
    return model, x, y


def test_training_with_a_smaller_batch_asks_for_nothing(fresh):
    model, x, y = network()
    memory.pool.clear()
    for batch in (256, 100, 256, 177, 210, 100, 64, 500):
        for i in range(6):
            fresh.clear()
            model.train_on_batch(x[:batch], y[:batch])
            assert not fresh or i < 2, f"step {i} with {batch} rows"


def test_five_epochs_do_not_grow(fresh):
    model, x, y = network()
    model.fit(x, y, batch_size=96, epochs=1, validation_data=(x[:300], y[:300]), verbose=0)
    memory.pool.collect()
    used, peak = memory.pool.used_bytes, memory.pool.peak_bytes
    for _ in range(5):
        model.fit(x, y, batch_size=96, epochs=1, validation_data=(x[:300], y[:300]), verbose=0)
        gc.collect()
        memory.pool.collect()
        assert memory.pool.used_bytes <= used
        assert memory.pool.peak_bytes <= peak
        assert memory.pool.free_bytes <= memory.pool.limit()
