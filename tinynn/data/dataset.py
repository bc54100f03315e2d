"""Dataset: examples on their way into a model, from arrays, folders, CSV files or generators."""

from __future__ import annotations

import copy
import itertools
import operator
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from functools import cached_property, partial
from typing import Any

import numpy as np

from tinynn.data import orders
from tinynn.data.ahead import Job, in_threads, one_by_one
from tinynn.data.csvfile import CSVTable
from tinynn.data.folder import FolderRows, listed
from tinynn.data.mapping import Mapping, checked_seed, mapping
from tinynn.data.rows import (
    BLOCK,
    ArrayRows,
    CachedBatches,
    CachedRows,
    GeneratorRows,
    LateRows,
    Places,
    Rows,
    Stream,
    each,
    joined,
    spec_of,
    stacked,
)
from tinynn.data.source import Batch, Spec
from tinynn.typing import ArrayLike

PROBE = 2
"""Rows that are read, and sent through the functions of `map`, to know what batches look like."""


class Dataset:
    """Examples in batches, made by a chain of steps; each step gives a new Dataset and changes nothing in the old one.

    >>> x, y = np.arange(6.0), np.array([0, 1, 0, 1, 0, 1])
    >>> dataset = Dataset(x, y).shuffle(seed=1).batch(4).map(lambda x, y: (x / 10, y))
    >>> for a, b in dataset:
    ...     print(a, b)
    [0.  0.5 0.1 0.3] [0 1 1 1]
    [0.2 0.4] [0 0]

    `fit`, `evaluate` and `predict` take it in place of x and y: model.fit(dataset). Whatever is random follows from its
    seed, the number of the epoch and the place in it: any number of workers gives the same bytes.

    x, y:          one row for each example: arrays, or tuples of arrays; memory maps stay on the disk but for the rows
                   of a batch
    sample_weight: what each example counts, or None
    """

    class_names: list[str] | None = None
    """The names of classes 0, 1, ..., where a folder or a file told them."""

    def __init__(self, x: Any, y: Any = None, sample_weight: ArrayLike | None = None):
        self._begin(ArrayRows(x, y, sample_weight))

    def _begin(self, base: Rows | Stream) -> None:
        self._base = base
        self._orders: tuple[orders.Order, ...] = ()
        self._maps: tuple[Mapping, ...] = ()
        self.batch_size: int | None = None
        self._drop_last = False
        self._first, self._stop = 0, sys.maxsize  # which batches
        self._workers = self._ahead = self._passes = 0
        self._drawing = 0  # steps so far that draw random numbers: each has a stream of its own
        self._waited = self._spent = 0.0

    @classmethod
    def from_rows(cls, base: Rows | Stream) -> Dataset:
        """Examples from an object that fetches them by number, or that reads them in order (see `data.rows`)."""
        dataset = cls.__new__(cls)
        dataset._begin(base)
        return dataset

    @classmethod
    def from_arrays(cls, x: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Dataset:
        """The same as Dataset(x, y, sample_weight)."""
        return cls(x, y, sample_weight)

    @classmethod
    def from_generator(cls, function: Callable[[], Any], rows: int | None = None, batched: bool = False) -> Dataset:
        """What a generator yields: x, (x, y) or (x, y, sample_weight), row by row.

        function: called without arguments for every epoch; what it returns is read in order, by one thread at a time
        rows:     how many rows it gives, where that is known; fewer are an error
        batched:  it yields whole batches (rows then counts these)
        """
        if not callable(function):
            raise TypeError(
                "from_generator expects a function that returns a fresh generator for every epoch, such as the "
                f"generator function itself without (); got {type(function).__name__}"
            )
        return cls.from_rows(GeneratorRows(function, batched, None if rows is None else whole("rows", rows, 1)))

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        image_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        labels: Any = "inferred",
        class_names: Sequence[str] | None = None,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        dtype: str = "uint8",
    ) -> Dataset:
        """Images (H, W, C) in folders, read by Pillow when a batch needs them; their values are 0 to 255.

        labels:      "inferred": a class for each sub-folder, numbered in the order of `class_names` (default: of the
                     alphabet); None, or a label for each file in the order of the names
        color_mode:  "rgb", "rgba" or "grayscale"
        image_size:  (height, width), to which images of other sizes are stretched, or cut and stretched

        ValueError, with the path, for a class without images, and when it is read for an image that is damaged.
        """
        files, y, names = listed(path, labels, class_names)
        dataset = cls.from_rows(
            FolderRows(files, y, image_size, color_mode, interpolation, crop_to_aspect_ratio, dtype)
        )
        dataset.class_names = names
        return dataset

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        target: str | int | None = None,
        columns: Sequence[str | int] | None = None,
        header: bool = True,
        delimiter: str = ",",
        class_names: Any = None,
        missing: float | None = None,
    ) -> Dataset:
        """Rows of numbers from a CSV file: x (D,) float32, and y from the column `target`, by its name or number.

        columns:     those of x; by default all but the target
        header:      the first row has the names of the columns
        class_names: the target is text: a list of the classes, or "inferred" for those that occur
        missing:     the number for empty cells, which otherwise are an error

        y is int64 where it is whole numbers or classes, else float32. ValueError, with path and line, for rows of other
        lengths and for text where a number was expected.
        """
        table = CSVTable(path, target, columns, header, delimiter, class_names, missing)
        dataset = cls(table.x, table.y)
        dataset.class_names = table.class_names
        return dataset

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _with(self, **changes: Any) -> Dataset:
        dataset = copy.copy(self)
        dataset.__dict__.pop("spec", None)
        dataset._passes, dataset._waited, dataset._spent = 0, 0.0, 0.0
        vars(dataset).update(changes)
        return dataset

    def shuffle(self, seed: int | None = None) -> Dataset:
        """All rows in random order, another one in every epoch; by default drawn from the seed of `set_seed`."""
        if self._batched:
            raise ValueError("shuffle rows before they are cut into batches: dataset.shuffle(...).batch(...)")
        if not isinstance(self._base, Rows):
            raise ValueError("a generator can only be read in order: write .cache().shuffle(...), which keeps its rows")
        step = orders.Shuffle(checked_seed(seed), f"shuffle/{self._drawing}")
        return self._with(_drawing=self._drawing + 1, _orders=(*self._orders, step))

    def batch(self, n: int, drop_last: bool = False) -> Dataset:
        """Batches of n rows; the last may be smaller, or is left out."""
        if self._batched:
            raise ValueError("these are batches already")
        return self._with(batch_size=whole("n", n, 1), _drop_last=bool(drop_last))

    def map(
        self, function: Callable[..., Any], workers: int = 0, rows: bool = False, seed: int | None = None
    ) -> Dataset:
        """function(x, y) of every batch, or with `rows` of every row; it returns x, (x, y) or (x, y, sample_weight).

        A function of x alone leaves y as it is. A parameter named `rng` gets a `numpy.random.Generator` that follows
        from (seed, epoch, batch), so that the result does not depend on who computes it.

        workers: threads that compute ahead (for functions that release Python's lock, as NumPy's do, or that wait)
        """
        step = mapping(function, rows, checked_seed(seed), f"map/{self._drawing}")
        workers = max(self._workers, whole("workers", workers, 0))
        return self._with(_drawing=self._drawing + 1, _maps=(*self._maps, step), _workers=workers)

    def cache(self) -> Dataset:
        """Keep in memory what was computed so far: rows before `batch`, whole batches after it.

        Random numbers before this step are those of the first epoch, in every epoch.
        """
        if any(isinstance(step, orders.Shuffle) for step in self._orders):
            raise ValueError("cache before shuffle: what is kept has one order, in every epoch")
        base: Rows | Stream
        if self._batched:
            base = CachedBatches(lambda: self.epoch(0), self.steps)
        elif isinstance(self._base, Rows):
            base = CachedRows(self.rows or 0, self._block)
        else:
            base = LateRows(self._everything)
        kept = self._with(_base=base, _orders=(), _maps=(), _workers=0, _ahead=0)
        kept.batch_size, kept._drop_last, kept._first, kept._stop = None, False, 0, sys.maxsize
        return kept

    def prefetch(self, n: int = 2) -> Dataset:
        """Compute up to n batches ahead, in a thread, while the model is busy with those before."""
        return self._with(_ahead=whole("n", n, 0))

    def take(self, n: int) -> Dataset:
        """The first n rows; after `batch` the first n batches."""
        return self._part(0, whole("n", n, 0))

    def skip(self, n: int) -> Dataset:
        """All but the first n rows; after `batch` all but the first n batches."""
        return self._part(whole("n", n, 0), None)

    def _part(self, start: int, stop: int | None) -> Dataset:
        if not self._batched:
            return self._with(_orders=(*self._orders, orders.Part(start, stop)))
        if stop is not None:
            return self._with(_stop=min(self._stop, self._first + stop))
        return self._with(_first=min(self._first + start, self._stop))

    def pick(self, rows: ArrayLike) -> Dataset:
        """The rows of these numbers, in this order."""
        if self._batched or not isinstance(self._base, Rows):
            raise ValueError("pick rows before they are cut into batches (those of a generator after .cache())")
        numbers, count = np.asarray(rows), self.rows or 0
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ValueError(f"rows is a list of numbers; got {numbers.dtype} of shape {numbers.shape}")
        if numbers.size and not -count <= numbers.min() <= numbers.max() < count:
            raise IndexError(f"the rows are 0 to {count - 1}; got {numbers.min()} to {numbers.max()}")
        return self._with(_orders=(*self._orders, orders.Pick(numbers)))

    def split(self, fractions: Any, stratified: bool | None = None, seed: int | None = None) -> tuple[Dataset, ...]:
        """Data sets of random rows: `train, validation, test = dataset.split((0.8, 0.1, 0.1))`, or `.split(0.8)`.

        stratified: every part has its share of each class, to within a row. None: where y is labels (whole numbers,
                    or one-hot rows)
        """
        if self._batched or not isinstance(self._base, Rows):
            raise ValueError("split rows before they are cut into batches (those of a generator after .cache())")
        if any(isinstance(step, orders.Shuffle) for step in self._orders):
            raise ValueError(
                "split before shuffle: the order changes in every epoch, and rows would change from one part to another"
            )
        rows = orders.rows_of_epoch(len(self._base), self._orders, 0)
        classes = None
        if stratified is not False:
            classes = orders.classes_of(self._base.labels())
            if classes is None and stratified:
                raise ValueError("stratified=True needs y to be labels: whole numbers, or one-hot rows")
        if classes is not None and rows is not None:
            classes = classes[rows]
        chosen = orders.parts(self.rows or 0, fractions, classes, checked_seed(seed))
        return tuple(self._with(_orders=(*self._orders, orders.Pick(part))) for part in chosen)

    # -- what a Source tells -------------------------------------------------------------------------------------------

    @property
    def _batched(self) -> bool:
        return self.batch_size is not None or (not isinstance(self._base, Rows) and self._base.batched)

    @property
    def _count(self) -> int | None:
        """Rows before they are cut into batches; None where only reading tells."""
        if isinstance(self._base, Rows):
            return orders.count_of_epoch(len(self._base), self._orders)
        if self._base.batched or self._base.count is None:
            return None
        return orders.count_of_epoch(self._base.count, self._orders)

    @property
    def rows(self) -> int | None:
        """Examples in an epoch; None where only reading tells."""
        count, size = self._count, self.batch_size
        if count is None or size is None:
            return count
        end = count - count % size if self._drop_last else count
        return max(min(end, self._stop * size) - self._first * size, 0)

    @property
    def steps(self) -> int | None:
        """Batches in an epoch; None where only reading tells."""
        if isinstance(self._base, Rows) or not self._base.batched:
            count, size = self._count, self.batch_size
            if count is None or size is None:
                return None
            total = count // size if self._drop_last else -(-count // size)
        elif self._base.count is None:
            return None
        else:
            total = self._base.count
        return max(min(total, self._stop) - self._first, 0)

    @cached_property
    def spec(self) -> Spec:
        """Shapes and dtypes of the batches, found by sending the first rows through the functions of `map`."""
        if isinstance(self._base, Rows):
            if not len(self._base):
                raise ValueError("the data set has no rows, so nobody knows their shape")
            batch = self._base.fetch(slice(0, PROBE))
        else:
            with closing(iter(self._base)) as stream:
                first = list(itertools.islice(stream, 1))
            if not first:
                raise ValueError("the generator gave nothing, so nobody knows the shape of its rows")
            batch = first[0] if self._base.batched else stacked(first)
        return spec_of(self._mapped(batch, 0, 0))

    @property
    def file_paths(self) -> list[str] | None:
        """The file of each row, in the order before any shuffle, where they come from a folder."""
        if not isinstance(self._base, FolderRows):
            return None
        unshuffled = tuple(step for step in self._orders if not isinstance(step, orders.Shuffle))
        rows = orders.rows_of_epoch(len(self._base), unshuffled, 0)
        return [str(self._base.paths[i]) for i in (range(len(self._base)) if rows is None else rows)]

    @property
    def waited(self) -> float:
        """The share of the latest pass that its consumer spent waiting for batches."""
        return self._waited / self._spent if self._spent else 0.0

    def __len__(self) -> int:
        """Batches in an epoch, or rows where they are not yet cut into batches; TypeError where nobody knows."""
        length = self.steps if self._batched else self.rows
        if length is None:
            raise TypeError("nobody knows the length of this data set before it was read")
        return length

    # -- reading -------------------------------------------------------------------------------------------------------

    def epoch(self, number: int, first: int = 0) -> Generator[Batch, None, None]:
        """The batches (x, y, weights) of epoch `number` from batch `first` on; ValueError for single rows."""
        if not self._batched:
            raise ValueError("rows have to be cut into batches: dataset.batch(32)")
        jobs = self._jobs(operator.index(number), whole("first", first, 0))
        if self._workers or self._ahead:
            return self._clocked(in_threads(jobs, max(self._workers, 1), max(self._ahead, self._workers)))
        return self._clocked(one_by_one(jobs))

    def __iter__(self) -> Iterator[Any]:
        """One pass, and with each the next epoch: x, (x, y) or (x, y, weights) of every batch, or of every row."""
        number, self._passes = self._passes, self._passes + 1
        source = self if self._batched else self.batch(1)
        with closing(source.epoch(number)) as batches:
            for batch in batches:
                parts = batch if self._batched else tuple(each(lambda array: array[0], part) for part in batch)
                yield parts[0] if parts[1] is None else parts[:2] if parts[2] is None else parts

    def _jobs(self, number: int, first: int) -> Generator[Job[Batch], None, None]:
        """What is to be done for each batch, by any thread."""
        first += self._first
        size = self.batch_size
        if isinstance(self._base, Rows) and size is not None:
            order = orders.rows_of_epoch(len(self._base), self._orders, number)
            count = len(self._base) if order is None else len(order)
            for k in range(first, self._first + (self.steps or 0)):
                rows = slice(k * size, min((k + 1) * size, count))
                yield partial(self._fetched, rows if order is None else order[rows], number, k)
        elif not isinstance(self._base, Rows):
            with closing(iter(self._base)) as stream:
                if size is None:
                    for k, batch in enumerate(itertools.islice(stream, first, self._stop), first):
                        yield partial(self._mapped, batch, number, k)
                    return
                ordered = self._rows_in_order(stream, first * size)
                for k in range(first, self._stop):
                    group = list(itertools.islice(ordered, size))
                    if not group or (self._drop_last and len(group) < size):
                        return
                    yield partial(self._joined, group, number, k)

    def _rows_in_order(self, stream: Iterator[Batch], first: int) -> Iterator[Batch]:
        """The rows of a stream that were taken, from the first on."""
        for part in self._orders:
            if isinstance(part, orders.Part):
                stream = itertools.islice(stream, part.start, part.stop)
        return itertools.islice(stream, first, None)

    def _fetched(self, rows: Places, number: int, place: int) -> Batch:
        return self._mapped(self._base.fetch(rows), number, place)  # type: ignore[union-attr]

    def _joined(self, rows: list[Batch], number: int, place: int) -> Batch:
        return self._mapped(stacked(rows), number, place)

    def _mapped(self, batch: Batch, number: int, place: int) -> Batch:
        for function in self._maps:
            batch = function(batch, number, place)
        return batch

    def _block(self, block: int, rows: slice) -> Batch:
        """Some rows for a cache, with what the functions of `map` make of them."""
        order = orders.rows_of_epoch(len(self._base), self._orders, 0)  # type: ignore[arg-type]
        return self._fetched(rows if order is None else order[rows], 0, block)

    def _everything(self) -> Batch:
        """All rows of a stream."""
        batches = list(self.batch(BLOCK).epoch(0))
        if not batches:
            raise ValueError("the generator gave no rows")
        return joined(batches)

    def _clocked(self, batches: Generator[Batch, None, None]) -> Generator[Batch, None, None]:
        """The same batches, and how long their consumer waited."""
        self._waited = self._spent = 0.0
        start = time.perf_counter()
        with closing(batches):
            while True:
                asked = time.perf_counter()
                batch = next(batches, None)
                now = time.perf_counter()
                self._waited, self._spent = self._waited + now - asked, now - start
                if batch is None:
                    return
                yield batch

    def __repr__(self) -> str:
        rows = "rows" if self.rows is None else f"{self.rows} rows"
        if not self._batched:
            return f"<Dataset of {rows}>"
        steps = "batches" if self.steps is None else f"{self.steps} batches"
        return f"<Dataset of {rows} in {steps}>"


def whole(name: str, value: int, least: int) -> int:
    """A whole number, at least so large, or ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise ValueError(f"{name} is a whole number, at least {least}; got {value!r}")
    return operator.index(value)
