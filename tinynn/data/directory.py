"""Keras's functions that make data sets: from a folder of images, and by cutting one in two."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinynn.data.dataset import Dataset
from tinynn.data.mapping import STREAM, checked_seed
from tinynn.errors import unknown
from tinynn.random import Generator, substream

LABEL_MODES = ("int", "categorical", "binary", None)


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    crop_to_aspect_ratio: bool = False,
) -> Any:
    """Batches of images (N, H, W, C) float32, 0 to 255, in folders, a class for each sub-folder; Keras's arguments.

    label_mode: "int" gives numbers of classes, "categorical" one-hot rows, "binary" a column of 0 and 1, None no labels
    subset:     "training" or "validation" with `validation_split` (the same seed for both!), or "both" for a pair

    `Dataset.from_folder` is the same in steps; batch_size=None leaves the rows single.
    """
    if label_mode not in LABEL_MODES:
        raise unknown("label_mode", label_mode, [str(mode) for mode in LABEL_MODES])
    if label_mode is None:
        labels = None
    rows = Dataset.from_folder(
        directory, image_size, color_mode, labels, class_names, interpolation, crop_to_aspect_ratio, dtype="float32"
    )
    names = rows.class_names
    if label_mode == "binary" and names is not None and len(names) != 2:
        raise ValueError(f"label_mode='binary' needs two classes; {directory} has {len(names)}")

    def encode(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if label_mode == "binary":
            return x, y.astype(np.float32).reshape(-1, 1)
        return x, np.eye(len(names or ()), dtype=np.float32)[y]

    if label_mode in ("categorical", "binary") and labels is not None:
        rows = rows.map(encode)
    if (subset is None) != (validation_split is None) or subset not in (None, "training", "validation", "both"):
        raise ValueError("validation_split=0.2 and subset='training', 'validation' or 'both' belong together")
    if validation_split is None:
        return finished(rows, shuffle, seed, batch_size)
    if seed is None and shuffle and subset != "both":
        raise ValueError("give seed=...: without one the two subsets would be drawn anew, and share images")
    parts = split_dataset(rows, right_size=validation_split, shuffle=shuffle, seed=seed)
    pair = tuple(finished(part, shuffle, seed, batch_size) for part in parts)
    return pair if subset == "both" else pair[subset == "validation"]


def finished(rows: Dataset, shuffle: bool, seed: int | None, batch_size: int | None) -> Dataset:
    if shuffle:
        rows = rows.shuffle(seed)
    return rows if batch_size is None else rows.batch(batch_size)


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Dataset, Dataset]:
    """(left, right): the first rows of a data set, or of an array or (x, y), and the others.

    Sizes are fractions below 1 or numbers of rows; one of them is enough. shuffle: random rows for each part.
    `Dataset.split` cuts in more parts, and keeps classes in proportion.
    """
    if not isinstance(dataset, Dataset):
        dataset = Dataset(*dataset) if isinstance(dataset, tuple) else Dataset(dataset)
    count = dataset.rows
    if count is None:
        raise ValueError("nobody knows how many rows this data set has: write .cache() before")
    if left_size is None and right_size is None:
        raise ValueError("give left_size or right_size")
    left, right = (_rows(name, s, count) for name, s in (("left_size", left_size), ("right_size", right_size)))
    cut = count - (right or 0) if left is None else left
    end = count if right is None else cut + right
    if not 0 < cut < end <= count:
        raise ValueError(f"{count} rows cannot be cut into {left_size} and {right_size}")
    if not shuffle:
        return dataset.take(cut), dataset.skip(cut).take(end - cut)
    order = Generator((checked_seed(seed), STREAM), substream("split")).permutation(count)
    return dataset.pick(np.sort(order[:cut])), dataset.pick(np.sort(order[cut:end]))


def _rows(name: str, size: float | None, count: int) -> int | None:
    if size is None:
        return None
    if isinstance(size, float) and 0 < size < 1:
        return round(size * count)
    if isinstance(size, (int, np.integer)) and not isinstance(size, bool) and 0 < size < count:
        return int(size)
    raise ValueError(f"{name} is a fraction below 1, or a number of rows from 1 to {count - 1}; got {size!r}")
