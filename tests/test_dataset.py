"""Dataset: the same bytes for any workers, errors that reach the user, threads that end, data larger than memory."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynn as nn
from tinynn import utils
from tinynn.data import Augmentation, Dataset, Source
from tinynn.data.source import Field

ROOT = Path(__file__).parent.parent
X = np.arange(40, dtype=np.float32).reshape(20, 2)
Y = np.arange(20) % 4


def rows_seen(dataset: Dataset, number: int = 0) -> list[int]:
    """The rows that an epoch gives, in their order."""
    return [int(v) // 2 for x, _, _ in dataset.epoch(number) for v in x[:, 0]]


def digest(batches: Any) -> str:
    total = hashlib.sha256()
    for batch in batches:
        for part in batch:
            total.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
    return total.hexdigest()


def no_threads() -> bool:
    return not [t for t in threading.enumerate() if t.name.startswith("tinynn-data")]


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    yield
    assert no_threads()


def noisy(workers: int = 0, ahead: int = 0) -> Dataset:
    dataset = Dataset(X, Y).shuffle(seed=3).batch(3)
    dataset = dataset.map(lambda x, y, rng: (x + rng.normal(size=x.shape), y), workers=workers, seed=5)
    dataset = dataset.map(lambda x, rng: x * rng.random(), seed=5)
    return dataset.prefetch(ahead) if ahead else dataset


# -- order and bytes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "ahead"), [(0, 1), (0, 5), (1, 0), (3, 0), (2, 9)])
def test_workers_change_nothing(workers: int, ahead: int) -> None:
    expected = list(noisy().epoch(4))
    assert digest(noisy(workers, ahead).epoch(4)) == digest(expected)
    assert digest(noisy(workers, ahead).epoch(4, first=5)) == digest(expected[5:])
    assert digest(noisy(workers, ahead).epoch(5)) != digest(expected)


def test_another_process_has_the_same_bytes() -> None:
    code = "from tests.test_dataset import digest, noisy; print(digest(noisy(2, 3).epoch(6)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(noisy().epoch(6))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 25), st.integers(1, 9), st.booleans(), st.booleans(),
    st.integers(0, 4), st.integers(0, 12), st.integers(0, 3), st.integers(0, 3),
)  # fmt: skip
def test_chains_are_those_of_lists(
    count: int, size: int, drop: bool, shuffled: bool, skip: int, take: int, skip_batches: int, take_batches: int
) -> None:
    dataset, rows = Dataset(np.arange(count)), list(range(count))
    if shuffled:
        dataset = dataset.shuffle(seed=1)
        rows = [int(v) for v in dataset.batch(count).epoch(2).__next__()[0]]
    dataset, rows = dataset.skip(skip).take(take), rows[skip:][:take]
    batches = [rows[i : i + size] for i in range(0, len(rows), size)]
    batches = [b for b in batches if len(b) == size or not drop]
    dataset, batches = dataset.batch(size, drop_last=drop).skip(skip_batches), batches[skip_batches:]
    dataset, batches = dataset.take(take_batches), batches[:take_batches]
    found = [x.tolist() for x, _, _ in dataset.epoch(2)]
    assert found == batches
    assert (dataset.steps, dataset.rows) == (len(batches), sum(map(len, batches)))
    assert [x.tolist() for x, _, _ in dataset.epoch(2, first=1)] == batches[1:]

    def rows_in_order() -> Any:
        yield from range(count)

    if not shuffled:
        streamed = Dataset.from_generator(rows_in_order).skip(skip).take(take).batch(size, drop).skip(skip_batches)
        assert [x.tolist() for x, _, _ in streamed.take(take_batches).epoch(0)] == batches


def test_shuffles_are_new_in_every_epoch_and_follow_from_the_seed() -> None:
    dataset = Dataset(X, Y).shuffle(seed=1).batch(6)
    orders = [rows_seen(dataset, number) for number in range(3)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert rows_seen(dataset, 1) == orders[1]
    assert rows_seen(Dataset(X, Y).shuffle(seed=2).batch(6)) != orders[0]
    by_hand = [[int(v) // 2 for x, _ in dataset for v in x[:, 0]] for _ in range(2)]
    assert by_hand == orders[:2]  # each pass is the next epoch
    for (x, y), (a, b) in zip(dataset, dataset, strict=True):  # rows and labels stay together
        np.testing.assert_array_equal(x[:, 0] // 2 % 4, y)
        np.testing.assert_array_equal(a[:, 0] // 2 % 4, b)


def test_a_chain_changes_nothing_before_it() -> None:
    first = Dataset(X, Y)
    batched = first.batch(4)
    assert first.batch_size is None
    assert [len(x) for x, _ in batched.take(2)] == [4, 4]
    assert len(batched) == 5
    (x, _), before = next(iter(batched)), X.copy()
    x += 1
    list(batched.map(lambda x: np.add(x, 1, out=x)))
    np.testing.assert_array_equal(X, before)


def test_what_a_source_tells() -> None:
    dataset = Dataset((X, X[:, :1]), Y, sample_weight=np.ones(20)).batch(8)
    assert isinstance(dataset, Source)
    assert dataset.spec.x == (Field((2,), np.dtype("float32")), Field((1,), np.dtype("float32")))
    assert (dataset.spec.y, dataset.spec.weights) == (Field((), Y.dtype), Field((), np.dtype("float64")))
    (a, b), y, weights = next(iter(dataset))
    assert (a.shape, b.shape, y.shape, weights.shape) == ((8, 2), (8, 1), (8,), (8,))
    assert "20 rows in 3 batches" in repr(dataset)
    mapped = dataset.map(lambda x, y: (x[0].astype("float64")[:, None], None))
    assert mapped.spec.x == Field((1, 2), np.dtype("float64"))
    assert mapped.spec.y is None
    row = next(iter(Dataset(X, Y)))
    assert (row[0].tolist(), row[1]) == ([0, 1], 0)
    assert len(Dataset(X)) == 20


def test_functions_of_batches_and_rows() -> None:
    assert rows_seen(Dataset(X, Y).batch(20).map(lambda x: x[::-1])) == list(range(20))[::-1]
    by_row = Dataset(X, Y).batch(6).map(lambda x, y: (x.sum(), -y), rows=True)
    np.testing.assert_array_equal(np.concatenate([x for x, _ in by_row]), X.sum(1))
    np.testing.assert_array_equal(np.concatenate([y for _, y in by_row]), -Y)
    x, y, w = next(iter(Dataset(X, Y).batch(4).map(lambda x, y: (x, y, np.ones(4)))))
    assert w.tolist() == [1] * 4
    x, y = next(iter(Dataset(X).batch(4).map(lambda x: (x, x))))  # an autoencoder's labels
    np.testing.assert_array_equal(x, y)
    np.testing.assert_allclose(next(iter(Dataset(X + 1).batch(4).map(np.log))), np.log(X[:4] + 1), rtol=1e-6)
    weighted = Dataset(X, Y, sample_weight=Y).batch(4).map(lambda x, y: (x, y))
    assert next(iter(weighted))[2].tolist() == [0, 1, 2, 3]


def test_cache_computes_once() -> None:
    calls: list[int] = []

    def slow(x: Any, rng: np.random.Generator) -> Any:
        calls.append(len(x))
        return x + rng.random()

    kept = Dataset(X, Y).map(slow, seed=1).cache().shuffle(seed=1).batch(5)
    first = [list(kept.epoch(0)) for _ in range(3)]
    assert sum(calls) <= 24  # once, and two rows to see their shape
    assert digest(first[0]) == digest(first[2])
    again = Dataset(X, Y).map(slow, seed=1).cache().shuffle(seed=1).batch(5)
    assert digest(again.epoch(0)) == digest(first[0])
    calls.clear()
    batches = Dataset(X, Y).batch(5).map(slow, seed=1).cache()
    assert batches.steps == 4
    assert digest(batches.epoch(0)) == digest(batches.epoch(1))
    assert sum(calls) == 20
    x = next(iter(batches))[0]
    x += 1
    assert next(iter(batches))[0].tobytes() != x.tobytes()
    with pytest.raises(ValueError, match="cache before shuffle"):
        Dataset(X).shuffle().cache()


def test_a_large_cache_is_filled_by_blocks() -> None:
    calls: list[int] = []
    dataset = Dataset(np.arange(1000.0)).map(lambda x: calls.append(len(x)) or x * 2).cache()
    assert next(iter(dataset.skip(600).batch(3))).tolist() == [1200, 1202, 1204]
    assert sum(calls) == 256
    everything = dataset.shuffle(1).batch(100).map(lambda x: x, workers=3)
    assert sorted(v for x, _, _ in everything.epoch(0) for v in x) == list(range(0, 2000, 2))
    assert sum(calls) == 1000


def test_waiting_is_counted() -> None:
    idle = Dataset(X).batch(2).map(lambda x: time.sleep(0.01) or x)
    list(idle.epoch(0))
    assert idle.waited > 0.9
    ahead = Dataset(X).batch(2).map(lambda x: time.sleep(0.002) or x).prefetch(4)
    for _ in ahead.epoch(0):
        time.sleep(0.02)
    assert ahead.waited < 0.5


# -- parts -------------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(30, 300), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.5), (0.6, 0.25, 0.15)]), st.integers(0, 9))
def test_parts_keep_classes_in_proportion(count: int, fractions: tuple[float, ...], seed: int) -> None:
    y = np.random.default_rng(seed).choice(3, count, p=[0.6, 0.3, 0.1])
    parts = [np.concatenate([x for x, _ in part.batch(64)]) for part in Dataset(np.arange(count), y).split(fractions)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    for share, part in zip(fractions, parts, strict=True):
        assert abs(len(part) - share * count) <= 1
        for k in range(3):
            assert abs((y[part] == k).sum() - share * (y == k).sum()) <= 2


def test_split() -> None:
    train, rest = Dataset(X, Y).split(0.7, seed=1)
    assert (train.rows, rest.rows) == (14, 6)
    assert rows_seen(train.batch(20)) == rows_seen(Dataset(X, Y).split(0.7, seed=1)[0].batch(20))
    assert rows_seen(train.batch(20)) != rows_seen(Dataset(X, Y).split(0.7, seed=2)[0].batch(20))
    hot = Dataset(X, np.eye(4)[Y]).split(0.5, seed=1)[0].batch(20)
    assert np.concatenate([y for _, y in hot]).sum(0).tolist() == pytest.approx([2.5] * 4, abs=1)
    plain = Dataset(X, X[:, 0] / 3).split((0.5, 0.5))
    assert [part.rows for part in plain] == [10, 10]
    for bad in ((0.5, 0.4), 1.5, (0.5,), (1.0, 0.0)):
        with pytest.raises(ValueError, match="fractions"):
            Dataset(X, Y).split(bad)
    with pytest.raises(ValueError, match="split before shuffle"):
        Dataset(X).shuffle().split(0.5)
    with pytest.raises(ValueError, match="labels"):
        Dataset(X, X[:, 0] / 3).split(0.5, stratified=True)
    with pytest.raises(ValueError, match="would be empty"):
        Dataset(X[:3]).split((0.9, 0.1))


def test_split_dataset_of_keras() -> None:
    left, right = utils.split_dataset((X, Y), left_size=0.75)
    assert (rows_seen(left.batch(20)), right.rows) == (list(range(15)), 5)
    left, right = utils.split_dataset(X, right_size=4, shuffle=True, seed=1)
    assert sorted(rows_seen(left.batch(20)) + rows_seen(right.batch(20))) == list(range(20))
    with pytest.raises(ValueError, match="right_size"):
        utils.split_dataset(X, right_size=30)
    with pytest.raises(IndexError, match="0 to 19"):
        Dataset(X).pick([20])


# -- what goes wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dataset(X, Y[:3]), ValueError, "x has 20, y has 3"),
        (lambda: Dataset(None), ValueError, "x is None"),
        (lambda: Dataset(["a", "b"]), TypeError, "expects numbers"),
        (lambda: Dataset(3.0), ValueError, "single number"),
        (lambda: Dataset(X).batch(0), ValueError, "at least 1; got 0"),
        (lambda: Dataset(X).batch(2.5), ValueError, "whole number"),
        (lambda: Dataset(X).batch(2).batch(2), ValueError, "batches already"),
        (lambda: Dataset(X).batch(2).shuffle(), ValueError, "shuffle rows before"),
        (lambda: Dataset(X).shuffle(seed=-1), ValueError, "seed"),
        (lambda: Dataset(X).epoch(0), ValueError, r"dataset\.batch\(32\)"),
        (lambda: Dataset(X).map(3), TypeError, "function of a batch"),
        (lambda: Dataset(X).map(lambda a, b, c: a), ValueError, "3 parameters"),
        (lambda: list(Dataset(X).batch(2).map(lambda x, y: x)), ValueError, "has no y"),
        (lambda: list(Dataset(X).batch(4).map(lambda x: x[:3])), ValueError, "batch of 4 rows and gave x of shape"),
        (lambda: list(Dataset(X).batch(4).map(lambda x: "text")), TypeError, "expects numbers"),
        (lambda: Dataset(X[:0]).batch(2).spec, ValueError, "no rows"),
        (lambda: Dataset.from_generator(iter([1])), TypeError, "without"),
        (lambda: Dataset.from_generator(lambda: [1]).shuffle(), ValueError, r"\.cache\(\)\.shuffle"),
        (lambda: len(Dataset.from_generator(lambda: [1])), TypeError, "nobody knows"),
        (lambda: Dataset.from_generator(lambda: iter(())).batch(1).spec, ValueError, "gave nothing"),
        (lambda: list(Dataset.from_generator(lambda: [(1, 2, 3, 4)]).batch(1)), ValueError, "tuple of 4"),
        (lambda: list(Dataset.from_generator(lambda: [[1], [1, 2]]).batch(2)), ValueError, "one shape"),
    ],
)
def test_mistakes_are_explained(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


class Odd(Exception):
    pass


def raises_at(value: float) -> Any:
    def guilty_function(x: Any) -> Any:
        if (x >= value).any():
            raise Odd("from the user's function")
        return x

    return guilty_function


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_an_exception_in_a_worker_reaches_the_user(workers: int) -> None:
    dataset, seen = Dataset(np.arange(40.0)).batch(2).map(raises_at(10), workers=workers), 0
    with pytest.raises(Odd, match="user's function") as caught:
        for _ in dataset.epoch(0):
            seen += 1
    assert seen == 5  # what came before it has been delivered
    assert "guilty_function" in {frame.name for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert no_threads()


@pytest.mark.parametrize("steps", [{}, {"ahead": 3}, {"workers": 2}])
def test_an_exception_in_a_generator_reaches_the_user(steps: dict[str, int]) -> None:
    closed = []

    def guilty_generator() -> Any:
        try:
            yield from (np.float32(v) for v in range(5))
            raise Odd("from the generator")
        finally:
            closed.append(True)

    dataset = Dataset.from_generator(guilty_generator).batch(2).map(lambda x: x, workers=steps.get("workers", 0))
    dataset = dataset.prefetch(steps.get("ahead", 0))
    seen = []
    with pytest.raises(Odd) as caught:
        seen.extend(x.tolist() for x, _, _ in dataset.epoch(0))
    assert "guilty_generator" in {frame.name for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert closed == [True]


def test_generators() -> None:
    def pairs() -> Any:
        for i in range(7):
            yield [i, i], i % 2, 0.5

    dataset = Dataset.from_generator(pairs, rows=7).batch(3).prefetch(2)
    assert (dataset.rows, dataset.steps) == (7, 3)
    assert dataset.spec.x == Field((2,), np.dtype("int64"))
    assert [len(x) for x, _, _ in dataset] == [3, 3, 1]
    assert digest(dataset.epoch(0)) == digest(dataset.epoch(5))
    shuffled = Dataset.from_generator(pairs).cache().shuffle(seed=1).batch(7)
    assert sorted(next(iter(shuffled))[0][:, 0].tolist()) == list(range(7))

    def batches() -> Any:
        while True:
            yield X[:4], Y[:4]

    endless = Dataset.from_generator(batches, batched=True)
    assert endless.steps is None
    assert [len(x) for x, _ in endless.take(3)] == [4] * 3
    early = Dataset.from_generator(pairs, rows=9).batch(3).prefetch(1)
    with pytest.raises(ValueError, match="ended early: it gave 7 of the 9"):
        list(early.epoch(0))


def test_closing_stops_the_threads_and_the_generator() -> None:
    closed, read = [], []

    def rows() -> Any:
        try:
            for i in range(10**9):
                read.append(i)
                yield float(i)
        finally:
            closed.append(True)

    batches = Dataset.from_generator(rows).batch(2).map(lambda x: x, workers=2).prefetch(3).epoch(0)
    next(batches)
    assert not no_threads()
    batches.close()
    assert no_threads()
    assert closed == [True]
    assert len(read) <= 2 * (1 + 3 + 2)  # the queue is bounded
    for _ in noisy(2, 4):
        break  # a loop that is left
    del _
    assert no_threads()


def test_prefetch_reads_at_most_so_far_ahead() -> None:
    read: list[int] = []
    batches = Dataset(np.arange(100)).batch(1).map(lambda x: read.append(1) or x).prefetch(3).epoch(0)
    for k in range(1, 6):
        next(batches)
        time.sleep(0.02)
        assert len(read) <= k + 3
    batches.close()


INTERRUPTED = """
import sys, threading, time
import numpy as np
from tinynn.data import Dataset

def slow(x):
    time.sleep(0.05)
    return x

dataset = Dataset(np.arange(10000.0)).batch(1).map(slow, workers=3).prefetch(4)
try:
    for i, x in enumerate(dataset):
        if i == 3:
            print("running", flush=True)
        if sys.argv[1] == "computing":
            time.sleep(0.05)
except KeyboardInterrupt:
    pass
deadline = time.time() + 5
while threading.active_count() > 1 and time.time() < deadline:
    time.sleep(0.01)
print("threads", threading.active_count(), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are those of POSIX")
@pytest.mark.parametrize("at", ["waiting", "computing"])
def test_ctrl_c_leaves_no_thread(at: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, at], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "threads 1\n"), err


# -- in fit ------------------------------------------------------------------------------------------------------------


def trained(dataset: Dataset, **options: Any) -> str:
    nn.set_seed(3)
    model = nn.Sequential([nn.layers.Dense(8, activation="relu", input_shape=(2,)), nn.layers.Dense(4)])
    model.compile("adam", nn.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(dataset, epochs=3, verbose=0, **options)
    return digest([model.get_weights()])


def test_training_is_the_same_with_workers() -> None:
    plain = trained(noisy())
    assert plain == trained(noisy(3, 4))
    assert plain == trained(noisy(ahead=2), steps_per_epoch=7)
    assert plain != trained(noisy().map(lambda x: -x))


def test_a_fit_that_fails_leaves_no_thread() -> None:
    def fail(epoch: int, logs: Any) -> None:
        raise Odd("in a callback")

    with pytest.raises(Odd):
        trained(noisy(2, 3), callbacks=[nn.callbacks.LambdaCallback(on_train_batch_end=fail)])
    assert no_threads()
    with pytest.raises(Odd):
        trained(noisy(2, 3).map(raises_at(-100)))
    assert no_threads()


# -- larger than memory ------------------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
import numpy as np
import tinynn as nn
from tinynn.data import Dataset

limit, rows, width = 128 << 20, 131_072, 4096
nn.set_seed(1)
model = nn.Sequential([nn.layers.Dense(1, input_shape=(width,), kernel_initializer="zeros")])
model.compile("sgd", "mse")
model.fit(np.zeros((512, width), np.uint8), np.zeros(512), batch_size=256, verbose=0)  # compiles what there is
with open("/proc/self/status") as status:
    used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
try:
    np.ones(2 * limit, np.uint8)
    sys.exit("the limit does not hold")
except MemoryError:
    pass
x, total = np.memmap(sys.argv[1], np.uint8, "r", shape=(rows, width)), 0

def count(x, y):
    global total
    total += int(x[:, 0].sum())
    return x, y

dataset = Dataset(x, np.ones(rows)).shuffle(seed=1).batch(256).map(count).prefetch(2)
spec = dataset.spec
total = 0
history = model.fit(dataset, verbose=0)
print(total, model.layers[0].bias.numpy().tolist(), history.history["loss"])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_memory_map_four_times_larger_than_memory_trains(tmp_path: Path) -> None:
    path, rows, width = tmp_path / "x.bin", 131_072, 4096
    with open(path, "wb") as file:
        file.truncate(rows * width)  # no room on the disk: all zeros
    written = np.memmap(path, np.uint8, "r+", shape=(rows, width))
    written[::1000, 0] = 1
    written.flush()
    del written
    done = subprocess.run([sys.executable, "-c", LIMITED, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith(f"{len(range(0, rows, 1000))} [0.99"), done.stderr


def test_only_the_rows_of_a_batch_are_touched(tmp_path: Path) -> None:
    x = np.memmap(tmp_path / "x.bin", np.float32, "w+", shape=(100, 3))
    x[:] = np.arange(300).reshape(100, 3)
    batch = next(iter(Dataset(x).shuffle(seed=1).batch(4)))
    assert type(batch) is np.ndarray
    assert not np.shares_memory(batch, x)
    np.testing.assert_array_equal(batch - batch[:, :1], [[0, 1, 2]] * 4)


# -- folders -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    Image = pytest.importorskip("PIL.Image", reason="reads images with Pillow (the extra `images`)")
    for k, (name, count) in enumerate((("dogs", 4), ("cats", 6))):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            image = Image.fromarray(np.full((8, 6, 3), 100 * k + i, np.uint8))
            image.save(tmp_path / "pets" / name / f"{i}.{'png' if i else 'bmp'}")
    (tmp_path / "pets" / ".hidden").mkdir()
    (tmp_path / "pets" / "cats" / "notes.txt").write_text("not an image")
    return tmp_path / "pets"


def test_a_folder_is_a_data_set(pets: Path) -> None:
    dataset = Dataset.from_folder(pets, image_size=(8, 6))
    assert dataset.class_names == ["cats", "dogs"]
    assert dataset.rows == 10
    x, y = next(iter(dataset.batch(10)))
    assert (x.dtype, x.shape, y.tolist()) == (np.uint8, (10, 8, 6, 3), [0] * 6 + [1] * 4)
    assert x[:, 3, 3, 1].tolist() == [100, 101, 102, 103, 104, 105, 0, 1, 2, 3]
    files = dataset.file_paths
    assert files is not None and [Path(f).name for f in files[:2]] == ["0.bmp", "1.png"]
    other = Dataset.from_folder(pets, (4, 4), "grayscale", class_names=["dogs", "cats"], crop_to_aspect_ratio=True)
    x, y = next(iter(other.shuffle(seed=1).batch(10).map(lambda x: x, workers=3)))
    assert x.shape == (10, 4, 4, 1)
    np.testing.assert_array_equal(x[:, 0, 0, 0] >= 100, y == 1)
    train, test = dataset.split(0.5, seed=1)
    assert np.concatenate([y for _, y in train.batch(9)]).tolist() == [0, 0, 0, 1, 1]
    assert test.file_paths is not None and len(test.file_paths) == 5
    alone = Dataset.from_folder(pets / "cats", (8, 6), labels=None)
    assert next(iter(alone.batch(6))).shape == (6, 8, 6, 3)
    change, batched = Augmentation(rotation_range=20, horizontal_flip=True), dataset.shuffle(seed=1).batch(4)
    plain = digest(batched.map(change, seed=1).epoch(2))
    assert plain == digest(batched.prefetch(1).map(change, seed=1, workers=2).epoch(2))
    assert plain == digest(dataset.cache().shuffle(seed=1).batch(4).map(change, seed=1).epoch(2))


def test_keras_name_for_a_folder(pets: Path) -> None:
    whole = utils.image_dataset_from_directory(pets, image_size=(8, 6), shuffle=False)
    x, y = next(iter(whole))
    assert (x.dtype, x.shape, y.dtype, whole.class_names) == (np.float32, (10, 8, 6, 3), np.int32, ["cats", "dogs"])
    options: dict[str, Any] = {"image_size": (8, 6), "validation_split": 0.4, "seed": 3, "batch_size": 4}
    train = utils.image_dataset_from_directory(pets, subset="training", label_mode="categorical", **options)
    test = utils.image_dataset_from_directory(pets, subset="validation", label_mode="binary", **options)
    assert (train.rows, test.rows) == (6, 4)
    assert next(iter(train))[1].shape == (4, 2)
    assert next(iter(test))[1].shape == (4, 1)
    seen = [x[:, 0, 0, 0] for part in (train, test) for x, _ in part]
    assert len(set(np.concatenate(seen).tolist())) == 10
    both = utils.image_dataset_from_directory(pets, subset="both", label_mode=None, **options)
    assert [part.rows for part in both] == [6, 4]
    with pytest.raises(ValueError, match="belong together"):
        utils.image_dataset_from_directory(pets, subset="training")
    with pytest.raises(ValueError, match="share images"):
        utils.image_dataset_from_directory(pets, subset="training", validation_split=0.2)


def test_images_that_cannot_be_read(pets: Path) -> None:
    png = (pets / "cats" / "1.png").read_bytes()
    random = np.random.default_rng(0)
    damaged = {
        "text": b"this is no image", "nothing": b"", "half": png[: len(png) // 2], "header": png[:20],
        "noise": random.bytes(300),
    }  # fmt: skip
    bomb = bytearray(png)
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height
    damaged["bomb"] = bytes(bomb)
    for name, content in damaged.items():
        path = pets / "cats" / "4.png"
        path.write_bytes(content)
        for workers in (0, 2):
            dataset = Dataset.from_folder(pets, (8, 6)).batch(4).map(lambda x: x, workers=workers)
            with pytest.raises(ValueError, match=r"4\.png is not an image that can be read"):
                list(dataset.epoch(0))
        assert no_threads(), name
    path.unlink()
    path.mkdir()
    assert Dataset.from_folder(pets).rows == 9
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)
        with pytest.raises(ValueError, match="no plain file"):
            list(Dataset.from_folder(pets).batch(4).epoch(0))


def test_fuzzed_images(pets: Path) -> None:
    path = pets / "cats" / "1.png"
    content, random = path.read_bytes(), np.random.default_rng(1)
    rows = Dataset.from_folder(pets, (8, 6), class_names=["cats"]).pick([1]).batch(1)
    refused = 0
    for _ in range(150):
        changed = bytearray(content)
        for place in random.integers(0, len(changed), 4):
            changed[place] = random.integers(256)
        path.write_bytes(changed[: random.integers(1, len(changed) + 1)])
        try:
            list(rows.epoch(0))
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 50


def test_folders_that_hold_nothing(pets: Path, tmp_path: Path) -> None:
    (pets / "birds").mkdir()
    with pytest.raises(ValueError, match="birds holds no images"):
        Dataset.from_folder(pets)
    assert Dataset.from_folder(pets, class_names=["cats", "dogs"]).rows == 10
    with pytest.raises(ValueError, match="no sub-folder fish"):
        Dataset.from_folder(pets, class_names=["cats", "fish"])
    with pytest.raises(ValueError, match="is no folder"):
        Dataset.from_folder(tmp_path / "missing")
    with pytest.raises(ValueError, match="no sub-folders"):
        Dataset.from_folder(pets / "cats")
    with pytest.raises(ValueError, match="holds no images"):
        Dataset.from_folder(pets / "birds", labels=None)
    with pytest.raises(ValueError, match="holds 6 images"):
        Dataset.from_folder(pets / "cats", labels=[1, 2])
    for options in ({"color_mode": "cmyk"}, {"interpolation": "best"}, {"image_size": (0, 3)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Dataset.from_folder(pets / "cats", labels=None, **options)  # type: ignore[arg-type]


# -- CSV ---------------------------------------------------------------------------------------------------------------

TABLE = "age,name,height,kind\n30,Ann,1.7,a\n\n41,Bob,1.8,b\n52,Cy, 1.6 ,a\n"


def table(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "people.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_csv(tmp_path: Path) -> None:
    path = table(tmp_path, TABLE)
    dataset = Dataset.from_csv(path, target="kind", columns=["height", "age"], class_names="inferred")
    x, y = next(iter(dataset.batch(9)))
    np.testing.assert_allclose(x, [[1.7, 30], [1.8, 41], [1.6, 52]], rtol=1e-6)
    assert (x.dtype, y.tolist(), dataset.class_names) == (np.float32, [0, 1, 0], ["a", "b"])
    given = Dataset.from_csv(path, "kind", ["age"], class_names=["b", "a"])
    assert next(iter(given.batch(9)))[1].tolist() == [1, 0, 1]
    path = table(tmp_path, "1;2;0\n3;;1\n5;6;1\n")
    x, y = next(iter(Dataset.from_csv(path, target=-1, header=False, delimiter=";", missing=-1).batch(3)))
    assert (x.tolist(), y.tolist(), y.dtype) == ([[1, 2], [3, -1], [5, 6]], [0, 1, 1], np.int64)
    x, y = next(iter(Dataset.from_csv(table(tmp_path, "\ufeffa,b\n1,0.5\n2,1\n"), "b").batch(3)))
    assert (x.tolist(), y.tolist(), y.dtype) == ([[1], [2]], [0.5, 1], np.float32)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n3\n", {}, "line 3 has 1 cells, those before have 2"),
        ("a,b\n1,2\n\n3,4,5\n", {}, "line 4 has 3 cells"),
        ("a,b\n1,2\n3,x\n", {}, "line 3 has 'x' in column 'b'"),
        ("a,b\n1,2\n3,\n", {}, "line 3 has '' in column 'b'.*missing=0.0"),
        ("a,b\n1,1_000\n", {}, "line 2 has '1_000'"),
        ("a,b\n1,x\n", {"target": "b"}, "line 2 has 'x'.*class_names='inferred'"),
        ("a,b\n1,x\n", {"target": "b", "class_names": ["y"]}, "row 0 has the class 'x'"),
        ("a,b\n1,2\n", {"target": "c"}, "no column 'c'"),
        ("a,b\n1,2\n", {"target": 2}, "there is no column 2"),
        ("a,b\n", {}, "has no rows"),
        ("", {}, "has no rows"),
        (b"a,b\n1,\xff\xfe\n", {}, "not UTF-8"),
        ('a,b\n1,"2\n', {}, "line 2 is damaged"),
        ("a,b\n1,\x002\n", {}, "line 2"),
    ],
)
def test_damaged_csv(tmp_path: Path, text: str | bytes, options: dict[str, Any], message: str) -> None:
    path = table(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        Dataset.from_csv(path, **options)
    assert str(path) in str(caught.value)


def test_what_is_no_csv_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no plain file"):
        Dataset.from_csv(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"missing\.csv"):
        Dataset.from_csv(tmp_path / "missing.csv")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=60))
def test_fuzzed_csv(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "x.csv"
    path.write_bytes(b"a,b\n1,2\n" + content)
    try:
        dataset = Dataset.from_csv(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert (dataset.rows or 0) >= 1
