"""CIFAR-10: 60,000 colour photographs of 32 x 32 pixels in ten classes.

Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009 (with V. Nair and G. Hinton).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets import pickles, source
from tinynn.datasets.images28 import Split
from tinynn.datasets.packed import CHUNK, opened, read_exactly, read_up_to

class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

MIRRORS = (
    "https://www.cs.toronto.edu/~kriz",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
)
SHA256 = {"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"}

BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
ROWS = 10_000
PIXELS = 3 * 32 * 32
RECORD = 1 + PIXELS
"""Bytes of an image in the binary version: its label, then 1024 red, 1024 green, 1024 blue values, row by row."""
LARGEST_PICKLE = 100_000_000

FOLDERS = ("", "cifar-10-batches-bin", "cifar-10-batches-py")
ENDINGS = (".bin", ".bin.gz", ".bin.xz", "", ".gz", ".xz")
ARCHIVES = ("cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")


def load_data(folder: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """((x_train, y_train), (x_test, y_test)), all uint8; images (50000, 32, 32, 3) and (10000, ...).

    They come from `folder`, else from `cifar10/` under TINYNN_DATA when that is there, else from the cache folder,
    which is filled from the network (170 MB) where needed. A folder holds the six files of the binary version (plain,
    .gz or .xz) or those of the Python version, which are read without unpickling, or an official archive of either.
    Labels are a column (N, 1), as in Keras; label k means `class_names[k]`.

    Raises ValueError or OSError, naming the file, when one is missing, damaged or cannot be downloaded.
    """
    if folder is not None:
        return read_folder(Path(folder))
    return read_folder(source.given("cifar10") or source.cached("cifar10", SHA256, MIRRORS))


def read_folder(folder: Path) -> tuple[Split, Split]:
    """Both parts from one folder; the six files are unpacked side by side."""
    archive = next((folder / name for name in ARCHIVES if (folder / name).exists()), None)
    if archive is not None and not any(found(folder, name) for name in BATCHES):
        batches = read_archive(archive)
    else:
        with ThreadPoolExecutor(min(len(BATCHES), os.cpu_count() or 1)) as pool:
            batches = dict(zip(BATCHES, pool.map(lambda name: read_batch(folder, name), BATCHES), strict=True))
    train, test = [batches[name] for name in BATCHES[:5]], batches[BATCHES[5]]
    return (np.concatenate([x for x, _ in train]), np.concatenate([y for _, y in train])), test


def found(folder: Path, name: str) -> Path | None:
    """The file of a batch, under the first of the names it may have."""
    places = (folder / inner / f"{name}{ending}" for inner in FOLDERS for ending in ENDINGS)
    return next((path for path in places if path.exists()), None)


def read_batch(folder: Path, name: str) -> Split:
    """The images and labels of one of the six files."""
    path = found(folder, name)
    if path is None:
        raise FileNotFoundError(
            f"{folder / name}.bin is missing (nor is there {name}.bin.gz, {name}.bin.xz, {name}); expected all six "
            f"files in {folder}, or {' or '.join(ARCHIVES)}"
        )
    with opened(path, "a batch of CIFAR-10") as file:
        return read_file(file, path, binary=".bin" in path.suffixes)


def read_archive(path: Path) -> dict[str, Split]:
    """All six files of an official archive, straight from it: nothing is written to the disk."""
    try:
        with opened(path, "an archive of CIFAR-10") as file, tarfile.open(fileobj=file, mode="r|") as archive:
            batches = dict(members(archive, path))
            read_up_to(file, CHUNK)  # to its end, where gzip compares its checksum
    except tarfile.TarError as error:
        raise ValueError(f"{path} is a truncated or damaged tar archive ({error}); fetch it again") from error
    for name in BATCHES:
        if name not in batches:
            raise ValueError(f"{path} has no member {name}: it is cut short, or not an archive of CIFAR-10")
    return batches


def members(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, Split]]:
    for member in archive:
        name, _, ending = member.name.rpartition("/")[2].partition(".")
        if name in BATCHES and ending in ("", "bin") and member.isfile():
            file = cast(BinaryIO, archive.extractfile(member))
            yield name, read_file(file, f"{path}, member {member.name}", binary=ending == "bin")


def read_file(file: BinaryIO, path: Path | str, binary: bool) -> Split:
    if binary:
        records = np.frombuffer(read_exactly(file, ROWS * RECORD, path, "a batch"), np.uint8).reshape(ROWS, RECORD)
        return images(records[:, 1:]), labels(records[:, 0], path)
    content = read_up_to(file, LARGEST_PICKLE + 1)
    if len(content) > LARGEST_PICKLE:
        raise ValueError(f"{path} is too long: a batch of the Python version has 31 MB")
    return from_pickle(pickles.loads(content, path), path)


def from_pickle(batch: Any, path: Path | str) -> Split:
    """The Python version: a dict with `data` (10000, 3072) and a list of labels; its keys are bytes or texts."""
    batch = batch if isinstance(batch, dict) else {}
    named = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in batch.items()}
    x, y = named.get("data"), named.get("labels")
    if not isinstance(x, np.ndarray) or x.shape != (ROWS, PIXELS) or x.dtype != np.uint8:
        raise ValueError(f"{path} is not a batch of CIFAR-10: expected `data`, uint8 of shape {(ROWS, PIXELS)}")
    if not isinstance(y, list) or len(y) != ROWS or not all(type(label) is int for label in y):
        raise ValueError(f"{path} is not a batch of CIFAR-10: expected `labels`, a list of {ROWS} integers")
    return images(x), labels(np.array(y, object), path)


def images(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, 3072), one plane of each colour -> (N, 32, 32, 3)."""
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def labels(values: NDArray[Any], path: Path | str) -> NDArray[np.uint8]:
    """A column of labels, once they are known to be some."""
    wrong = (values < 0) | (values >= len(class_names))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{path} is not a batch of CIFAR-10: the label in row {row} is not one of 0 to 9")
    return values.astype(np.uint8).reshape(-1, 1)
