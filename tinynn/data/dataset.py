"""Dataset: examples on their way into a model, from arrays, folders, CSV files or generators."""

from __future__ import annotations

import copy
import operator
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np

from tinynn.data import orders
from tinynn.data.csvfile import CSVTable
from tinynn.data.folder import FolderRows, listed
from tinynn.data.mapping import checked_seed, mapping
from tinynn.data.pipeline import Plan
from tinynn.data.rows import ArrayRows, CachedBatches, CachedRows, GeneratorRows, LateRows, Rows, Stream, each
from tinynn.data.source import Batch, Spec
from tinynn.typing import ArrayLike


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
        self._begin(Plan(ArrayRows(x, y, sample_weight)))

    def _begin(self, plan: Plan) -> None:
        self._plan = plan
        self._passes = 0
        self._waited = self._spent = 0.0

    @classmethod
    def from_rows(cls, base: Rows | Stream) -> Dataset:
        """Examples from an object that fetches them by number, or that reads them in order (see `data.rows`)."""
        dataset = cls.__new__(cls)
        dataset._begin(Plan(base))
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
        dataset._begin(replace(self._plan, **changes))
        return dataset

    def _rows(self, what: str) -> Rows:
        """The rows, where they are single and have numbers."""
        if self._plan.batched:
            raise ValueError(f"{what} rows before they are cut into batches: dataset.{what}(...), then .batch(...)")
        if not isinstance(self._plan.base, Rows):
            raise ValueError(f"a generator can only be read in order: write .cache().{what}(...), which keeps its rows")
        return self._plan.base

    def shuffle(self, seed: int | None = None) -> Dataset:
        """All rows in random order, another one in every epoch; by default drawn from the seed of `set_seed`."""
        self._rows("shuffle")
        plan = self._plan
        step = orders.Shuffle(checked_seed(seed), f"shuffle/{plan.drawing}")
        return self._with(drawing=plan.drawing + 1, orders=(*plan.orders, step))

    def batch(self, n: int, drop_last: bool = False) -> Dataset:
        """Batches of n rows; the last may be smaller, or is left out."""
        if self._plan.batched:
            raise ValueError("these are batches already")
        return self._with(size=whole("n", n, 1), drop_last=bool(drop_last))

    def map(
        self, function: Callable[..., Any], workers: int = 0, rows: bool = False, seed: int | None = None
    ) -> Dataset:
        """function(x, y) of every batch, or with `rows` of every row; it returns x, (x, y) or (x, y, sample_weight).

        A function of x alone leaves y as it is. A parameter named `rng` gets a `numpy.random.Generator` that follows
        from (seed, epoch, batch), so that the result does not depend on who computes it.

        workers: threads that compute ahead (for functions that release Python's lock, as NumPy's do, or that wait)
        """
        plan = self._plan
        step = mapping(function, rows, checked_seed(seed), f"map/{plan.drawing}")
        workers = max(plan.workers, whole("workers", workers, 0))
        return self._with(drawing=plan.drawing + 1, maps=(*plan.maps, step), workers=workers)

    def cache(self) -> Dataset:
        """Keep in memory what was computed so far: rows before `batch`, whole batches after it.

        Random numbers before this step are those of the first epoch, in every epoch.
        """
        plan = self._plan
        if plan.shuffled:
            raise ValueError("cache before shuffle: what is kept has one order, in every epoch")
        base: Rows | Stream
        if plan.batched:
            base = CachedBatches(lambda: plan.epoch(0, 0), plan.steps)
        elif plan.by_number:
            base = CachedRows(plan.rows or 0, plan.block)
        else:
            base = LateRows(plan.everything)
        kept = copy.copy(self)
        kept._begin(Plan(base, drawing=plan.drawing))
        return kept

    def prefetch(self, n: int = 2) -> Dataset:
        """Compute up to n batches ahead, in a thread, while the model is busy with those before."""
        return self._with(ahead=whole("n", n, 0))

    def take(self, n: int) -> Dataset:
        """The first n rows; after `batch` the first n batches."""
        plan, n = self._plan, whole("n", n, 0)
        if not plan.batched:
            return self._with(orders=(*plan.orders, orders.Part(0, n)))
        return self._with(stop=min(plan.stop, plan.first + n))

    def skip(self, n: int) -> Dataset:
        """All but the first n rows; after `batch` all but the first n batches."""
        plan, n = self._plan, whole("n", n, 0)
        if not plan.batched:
            return self._with(orders=(*plan.orders, orders.Part(n, None)))
        return self._with(first=min(plan.first + n, plan.stop))

    def pick(self, rows: ArrayLike) -> Dataset:
        """The rows of these numbers, in this order."""
        self._rows("pick")
        numbers, count = np.asarray(rows), self.rows or 0
        if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
            raise ValueError(f"rows is a list of numbers; got {numbers.dtype} of shape {numbers.shape}")
        if numbers.size and not -count <= numbers.min() <= numbers.max() < count:
            raise IndexError(f"the rows are 0 to {count - 1}; got {numbers.min()} to {numbers.max()}")
        return self._with(orders=(*self._plan.orders, orders.Pick(numbers)))

    def split(self, fractions: Any, stratified: bool | None = None, seed: int | None = None) -> tuple[Dataset, ...]:
        """Data sets of random rows: `train, validation, test = dataset.split((0.8, 0.1, 0.1))`, or `.split(0.8)`.

        stratified: every part has its share of each class, to within a row. None: where y is labels (whole numbers,
                    or one-hot rows)
        """
        base, plan = self._rows("split"), self._plan
        if plan.shuffled:
            raise ValueError(
                "split before shuffle: the order changes in every epoch, and rows would change from one part to another"
            )
        classes = None
        if stratified is not False:
            classes = orders.classes_of(base.labels())
            if classes is None and stratified:
                raise ValueError("stratified=True needs y to be labels: whole numbers, or one-hot rows")
        rows = orders.rows_of_epoch(len(base), plan.orders, 0)
        if classes is not None and rows is not None:
            classes = classes[rows]
        chosen = orders.parts(plan.rows or 0, fractions, classes, checked_seed(seed))
        return tuple(self._with(orders=(*plan.orders, orders.Pick(part))) for part in chosen)

    # -- what a Source tells -------------------------------------------------------------------------------------------

    @property
    def batch_size(self) -> int | None:
        """Rows of a batch; None while rows are single, and where a generator gives batches."""
        return self._plan.size

    @property
    def rows(self) -> int | None:
        """Examples in an epoch; None where only reading tells."""
        return self._plan.rows

    @property
    def steps(self) -> int | None:
        """Batches in an epoch; None where only reading tells."""
        return self._plan.steps

    @property
    def spec(self) -> Spec:
        """Shapes and dtypes of the batches, found by sending the first rows through the functions of `map`."""
        return self._plan.spec

    @property
    def file_paths(self) -> list[str] | None:
        """The file of each row, in the order before any shuffle, where they come from a folder."""
        base = self._plan.base
        if not isinstance(base, FolderRows):
            return None
        unshuffled = tuple(step for step in self._plan.orders if not isinstance(step, orders.Shuffle))
        rows = orders.rows_of_epoch(len(base), unshuffled, 0)
        return [str(base.paths[i]) for i in (range(len(base)) if rows is None else rows)]

    @property
    def waited(self) -> float:
        """The share of the latest pass that its consumer spent waiting for batches."""
        return self._waited / self._spent if self._spent else 0.0

    def __len__(self) -> int:
        """Batches in an epoch, or rows where they are not yet cut into batches; TypeError where nobody knows."""
        length = self.steps if self._plan.batched else self.rows
        if length is None:
            raise TypeError("nobody knows the length of this data set before it was read")
        return length

    # -- reading -------------------------------------------------------------------------------------------------------

    def epoch(self, number: int, first: int = 0) -> Generator[Batch, None, None]:
        """The batches (x, y, weights) of epoch `number` from batch `first` on; ValueError for single rows."""
        if not self._plan.batched:
            raise ValueError("rows have to be cut into batches: dataset.batch(32)")
        return self._clocked(self._plan.epoch(operator.index(number), whole("first", first, 0)))

    def __iter__(self) -> Iterator[Any]:
        """One pass, and with each the next epoch: x, (x, y) or (x, y, weights) of every batch, or of every row."""
        number, self._passes = self._passes, self._passes + 1
        batched = self._plan.batched
        source = self if batched else self.batch(1)
        with closing(source.epoch(number)) as batches:
            for batch in batches:
                x, y, w = batch if batched else (each(operator.itemgetter(0), part) for part in batch)
                yield x if y is None else (x, y) if w is None else (x, y, w)

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
        if not self._plan.batched:
            return f"<Dataset of {rows}>"
        steps = "batches" if self.steps is None else f"{self.steps} batches"
        return f"<Dataset of {rows} in {steps}>"


def whole(name: str, value: int, least: int) -> int:
    """A whole number, at least so large, or ValueError."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise ValueError(f"{name} is a whole number, at least {least}; got {value!r}")
    return operator.index(value)
