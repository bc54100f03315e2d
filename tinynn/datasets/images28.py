"""The four files that MNIST and its relatives have in common, read from one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets import idx

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]

CLASSES = 10


def read_folder(folder: Path) -> tuple[Split, Split]:
    """((x_train, y_train), (x_test, y_test)) with 60,000 and 10,000 rows; each file may be gzipped or plain.

    Raises ValueError or OSError, naming the file, when one is missing, damaged, or does not hold what its name says.
    """
    return _split(folder, "train", 60_000), _split(folder, "t10k", 10_000)


def _split(folder: Path, name: str, rows: int) -> Split:
    images = _read(folder, f"{name}-images-idx3-ubyte", (rows, 28, 28))
    labels = _read(folder, f"{name}-labels-idx1-ubyte", (rows,), below=CLASSES)
    return images, labels


def _read(folder: Path, name: str, shape: tuple[int, ...], below: int = 256) -> NDArray[Any]:
    zipped, plain = folder / f"{name}.gz", folder / name
    if not zipped.exists() and not plain.exists():
        raise FileNotFoundError(f"{zipped} is missing (nor is {plain.name} there); expected all four files in {folder}")
    path = zipped if zipped.exists() else plain
    values = idx.read(path, shape)
    if values.dtype != np.uint8:
        raise ValueError(f"{path} holds {values.dtype} values; expected uint8")
    if values.max() >= below:
        row = int(np.argmax(values >= below))
        raise ValueError(f"{path} is not a label file: label {values[row]} in row {row}; expected 0 to {below - 1}")
    return values
