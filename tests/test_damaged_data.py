"""A thousand damaged data files of each kind: an error with the path, or the very data; never other data."""

import gzip
import lzma
import time
import tracemalloc

import numpy as np
import pytest

from tinynn.data import Dataset
from tinynn.datasets import idx
from tinynn.datasets.packed import CHUNK, opened, read_exactly, read_up_to

VALUES = np.random.default_rng(0).integers(0, 256, (50, 6, 6)).astype(np.uint8)
IDX = bytes([0, 0, 8, 3]) + np.array(VALUES.shape, ">i4").tobytes() + VALUES.tobytes()
PACKED = {".gz": gzip.compress(IDX, mtime=1), ".xz": lzma.compress(IDX)}
READERS = {
    "idx": lambda path: idx.read(path, VALUES.shape),
    "packed": lambda path: np.frombuffer(contents(path)[16:], np.uint8).reshape(VALUES.shape),
}


def contents(path):
    with opened(path, "a data file") as file:
        data = read_exactly(file, len(IDX), path, "a data file")
        read_up_to(file, CHUNK)  # to its end, where the checksum stands
        return data


def outcome(read, path):
    """The values, or None for a proper refusal; each within a second and 200 MB."""
    tracemalloc.start()
    begin = time.perf_counter()
    try:
        return read(path)
    except (ValueError, OSError) as error:
        assert path.name in str(error)
        return None
    finally:
        assert time.perf_counter() - begin < 1
        assert tracemalloc.get_traced_memory()[1] < 200e6
        tracemalloc.stop()


@pytest.mark.parametrize(("reader", "ending"), [("idx", ".gz"), ("packed", ".xz"), ("packed", ".gz")])
def test_changed_bytes_of_packed_files(tmp_path, reader, ending):
    path, rng, whole = tmp_path / f"digits{ending}", np.random.default_rng(1), PACKED[ending]
    refused = 0
    for k in range(1000):
        data = bytearray(whole)
        data[k % len(data) if k < 500 else int(rng.integers(len(data)))] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        values = outcome(READERS[reader], path)
        refused += values is None
        assert values is None or np.array_equal(values, VALUES)  # a date in a header says nothing of the data
    assert refused > 950


@pytest.mark.parametrize(("reader", "ending"), [("idx", ".gz"), ("packed", ".xz"), ("packed", ".gz"), ("idx", "")])
def test_truncated_files(tmp_path, reader, ending):
    path, whole = tmp_path / f"digits{ending}", PACKED.get(ending, IDX)
    for length in np.random.default_rng(2).integers(0, len(whole), 1000):
        path.write_bytes(whole[:length])
        assert outcome(READERS[reader], path) is None


def test_changed_bytes_of_a_table(tmp_path):
    """Text has no checksum: a changed digit is another number, but nothing else passes for one."""
    rows = ["a,b,label", *(f"{i}.5,{i * 2},{i % 2}" for i in range(30))]
    whole, rng = "\n".join(rows).encode(), np.random.default_rng(3)
    path = tmp_path / "table.csv"
    for _ in range(1000):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(data)

        def read(path):
            (x, y), *_ = list(Dataset.from_csv(path, target="label").batch(100))
            return x

        x = outcome(read, path)
        if x is not None:
            assert x.shape[1] == 2 and len(x) in (29, 30) and np.isfinite(x).all()
