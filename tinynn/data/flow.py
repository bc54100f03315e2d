"""Flow: the batches that an ImageDataGenerator gives, without end when they are asked for by hand."""

from __future__ import annotations

import operator
from collections.abc import Generator
from typing import Any

import numpy as np

from tinynn.data.dataset import Dataset
from tinynn.data.source import Batch, Spec

AHEAD = 2
"""Batches that are computed while the model trains on one."""


class Flow:
    """Random images, batch by batch: straight into fit, or by hand with next(flow), which never ends.

    It is a source as `Dataset` is one: an epoch follows from the seed and its number. By hand every pass is the next
    epoch, as in Keras; flow[i] is batch i of the epoch that is under way, and `len(flow)` counts the batches.

    n, samples:      images
    classes:         the number of the class of each image, where they come from folders; class_indices by name
    filenames:       below the folder; filepaths whole
    """

    def __init__(self, dataset: Dataset, samples: int, batch_size: int):
        self.dataset, self._ahead = dataset, dataset.prefetch(AHEAD)
        self.n = self.samples = samples
        self.batch_size = batch_size
        self.batch_index = self.total_batches_seen = self._pass = 0
        self._batches: Generator[Batch, None, None] | None = None
        self.classes: np.ndarray | None = None
        self.class_indices: dict[str, int] = {}
        self.filenames: list[str] = []
        self.filepaths: list[str] = []

    @property
    def num_classes(self) -> int:
        return len(self.class_indices)

    @property
    def labels(self) -> np.ndarray | None:
        return self.classes

    @property
    def image_shape(self) -> tuple[int, ...]:
        x = self.spec.x
        return (x[0] if isinstance(x, tuple) else x).shape

    # -- a source ------------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> Spec:
        """Shapes and dtypes of the batches."""
        return self.dataset.spec

    @property
    def rows(self) -> int | None:
        """Images in an epoch."""
        return self.dataset.rows

    @property
    def steps(self) -> int | None:
        """Batches in an epoch."""
        return self.dataset.steps

    @property
    def waited(self) -> float:
        """The share of the latest epoch that its consumer spent waiting for batches."""
        return self._ahead.waited

    def epoch(self, number: int, first: int = 0) -> Generator[Batch, None, None]:
        """The batches (x, y, weights) of epoch `number` from batch `first` on, computed ahead by a thread."""
        return self._ahead.epoch(number, first)

    # -- by hand -------------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Flow:
        return self

    def __next__(self) -> Any:
        """The next batch: x, (x, y) or (x, y, weights)."""
        for _ in range(2):
            if self._batches is None:
                self._batches = self.dataset.epoch(self._pass)
            batch = next(self._batches, None)
            if batch is not None:
                self.batch_index += 1
                self.total_batches_seen += 1
                if self.batch_index == len(self):
                    self.on_epoch_end()
                return given(batch)
            self.on_epoch_end()
        raise ValueError("there are no images")

    next = __next__

    def __getitem__(self, batch: int) -> Any:
        if not 0 <= operator.index(batch) < len(self):
            raise IndexError(f"batch {batch} is not one of {len(self)}")
        batches = self.dataset.epoch(self._pass, batch)
        try:
            return given(next(batches))
        finally:
            batches.close()

    def on_epoch_end(self) -> None:
        """Go on to the next epoch: another order, other changes."""
        self._pass += 1
        self.reset()

    def reset(self) -> None:
        """Begin the epoch anew."""
        if self._batches is not None:
            self._batches.close()
        self._batches, self.batch_index = None, 0

    def __repr__(self) -> str:
        return f"<Flow of {self.n} images in {len(self)} batches>"


def given(batch: Batch) -> Any:
    """x, (x, y) or (x, y, weights), whatever there is."""
    x, y, weights = batch
    return x if y is None else (x, y) if weights is None else (x, y, weights)
