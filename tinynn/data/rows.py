"""Where examples come from: rows that can be fetched by their number, or a stream that is read in order."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tinynn.data.arrays import host_array
from tinynn.data.source import Batch, Field, Spec

Places = slice | np.ndarray
BLOCK = 256
"""Rows that a cache fills at a time."""


@runtime_checkable
class Rows(Protocol):
    """Examples by their number; any thread may fetch, and what it gets is its own to write to."""

    def __len__(self) -> int: ...

    def fetch(self, places: Places) -> Batch:
        """(x, y, weights) of these rows."""
        ...

    def labels(self) -> Any:
        """All of y, or None."""
        ...


def each(function: Callable[..., Any], value: Any, *more: Any) -> Any:
    """function(array, *more) of an array, of every array of a tuple, or None of None."""
    if value is None:
        return None
    return tuple(function(v, *more) for v in value) if isinstance(value, tuple) else function(value, *more)


def spec_of(batch: Batch) -> Spec:
    """What batches look like, from one of them."""

    def field(array: np.ndarray) -> Field:
        return Field(array.shape[1:], array.dtype)

    return Spec(*(each(field, part) for part in batch))


def length_of(value: Any) -> int:
    """How many rows an array has, or every array of a tuple."""
    return len(value[0] if isinstance(value, tuple) else value)


class ArrayRows:
    """Rows of arrays (or tuples of arrays), which may be memory maps: only the rows asked for are read."""

    def __init__(self, x: Any, y: Any = None, weights: Any = None):
        given = {"x": x, "y": y, "sample_weight": weights}
        self.parts = tuple(each(host_array, v, name) for name, v in given.items())
        if x is None or (isinstance(x, tuple) and not x):
            raise ValueError("a Dataset is made of x, and where there are some y and sample_weight; x is None")
        counts = {}
        for name, part in zip(given, self.parts, strict=True):
            for i, array in enumerate(part if isinstance(part, tuple) else () if part is None else (part,)):
                label = f"{name}[{i}]" if isinstance(part, tuple) else name
                if array.ndim == 0:
                    raise ValueError(f"{label} has one row for each example; got a single number")
                counts[label] = len(array)
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} has {n}" for name, n in counts.items())
            raise ValueError(f"all arrays need the same number of rows, one for each example: {listed}")
        self.count = next(iter(counts.values()))

    def __len__(self) -> int:
        return self.count

    def fetch(self, places: Places) -> Batch:
        x, y, weights = (each(lambda a: np.array(a[places], order="C"), part) for part in self.parts)
        return x, y, weights

    def labels(self) -> Any:
        return self.parts[1]


class CachedRows:
    """What other rows give, computed when it is first needed, block by block, and kept."""

    def __init__(self, count: int, compute: Callable[[int, slice], Batch]):
        """compute(block, places): the rows of a block, the same whenever it is called."""
        self.count, self.compute = count, compute
        self.kept: Batch | None = None
        self.filled = np.zeros(-(-count // BLOCK), np.bool_)
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return self.count

    def fetch(self, places: Places) -> Batch:
        numbers = np.arange(self.count)[places]
        blocks = np.unique(numbers // BLOCK)
        if not self.filled[blocks].all():
            with self.lock:
                for block in blocks[~self.filled[blocks]]:
                    self.fill(int(block))
        x, y, weights = (each(lambda a: np.array(a[places], order="C"), part) for part in self.kept or ())
        return x, y, weights

    def labels(self) -> Any:
        return self.fetch(slice(None))[1]

    def fill(self, block: int) -> None:
        rows = slice(block * BLOCK, min((block + 1) * BLOCK, self.count))
        batch = self.compute(block, rows)
        if self.kept is None:
            empty = [each(lambda a: np.empty((self.count, *a.shape[1:]), a.dtype), part) for part in batch]
            self.kept = (empty[0], empty[1], empty[2])
        for kept, new in zip(self.kept, batch, strict=True):
            pairs = zip(kept, new, strict=True) if isinstance(new, tuple) else () if new is None else ((kept, new),)
            for target, values in pairs:
                if values.shape[1:] != target.shape[1:] or values.dtype != target.dtype:
                    raise ValueError(
                        f"a cache needs rows of one shape and dtype; got {values.dtype} {values.shape[1:]} after "
                        f"{target.dtype} {target.shape[1:]}"
                    )
                target[rows] = values
        self.filled[block] = True


class LateRows:
    """The rows of a stream, read to its end when somebody asks, and kept."""

    def __init__(self, read: Callable[[], Batch]):
        self.read = read
        self.kept: ArrayRows | None = None
        self.lock = threading.Lock()

    def rows(self) -> ArrayRows:
        with self.lock:
            if self.kept is None:
                self.kept = ArrayRows(*self.read())
        return self.kept

    def __len__(self) -> int:
        return len(self.rows())

    def fetch(self, places: Places) -> Batch:
        return self.rows().fetch(places)

    def labels(self) -> Any:
        return self.rows().labels()


class Stream(Protocol):
    """What can only be read in order: rows, or whole batches; `count` says how many of these where it is known."""

    batched: bool
    count: int | None

    def __iter__(self) -> Generator[Batch, None, None]: ...


class CachedBatches:
    """The batches of one pass, kept in memory; a pass that was not finished is begun again."""

    batched = True

    def __init__(self, read: Callable[[], Iterator[Batch]], count: int | None):
        self.read, self.count = read, count
        self.kept: list[Batch] | None = None
        self.lock = threading.Lock()

    def __iter__(self) -> Generator[Batch, None, None]:
        with self.lock:
            if self.kept is None:
                self.kept = list(self.read())
                self.count = len(self.kept)
        for batch in self.kept:
            x, y, weights = (each(np.array, part) for part in batch)
            yield x, y, weights


class GeneratorRows:
    """What a generator yields: x, (x, y) or (x, y, weight) for each row, or for each batch where it is `batched`.

    function() begins it anew for every epoch.
    """

    def __init__(self, function: Callable[[], Any], batched: bool = False, promised: int | None = None):
        self.function, self.batched, self.count = function, batched, promised

    def __iter__(self) -> Generator[Batch, None, None]:
        """The rows, or batches, as arrays; ValueError where there are fewer than promised."""
        count, iterator = 0, iter(self.function())
        try:
            for item in iterator:
                yield triple(item)
                count += 1
                if count == self.count:
                    return
        finally:
            if hasattr(iterator, "close"):
                iterator.close()
        if self.count is not None:
            raise ValueError(
                f"the generator ended early: it gave {count} of the {self.count} that from_generator was promised"
            )


def triple(item: Any) -> Batch:
    """(x, y, weights) of what a generator or a function gave: x, (x, y) or (x, y, weights)."""
    parts = item if isinstance(item, tuple) else (item,)
    if not 1 <= len(parts) <= 3 or parts[0] is None:
        raise ValueError(
            f"expected x, (x, y) or (x, y, sample_weight), got a tuple of {len(parts)}; several inputs are a tuple in "
            "the place of x: ((a, b), y)"
        )
    filled = [*parts, None, None][:3]
    x, y, w = (each(plain, p, n) for p, n in zip(filled, ("x", "y", "sample_weight"), strict=True))
    return x, y, w


def plain(value: Any, name: str) -> np.ndarray:
    """An array; Python's floats become float32."""
    array = host_array(value, name)
    if array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic)):
        array = array.astype(np.float32)
    return array


def stacked(rows: list[Batch]) -> Batch:
    """Rows as one batch; ValueError where their shapes differ."""

    def stack(parts: list[Any], name: str) -> Any:
        if parts[0] is None:
            return None
        if isinstance(parts[0], tuple):
            return tuple(stack(list(arrays), name) for arrays in zip(*parts, strict=True))
        shapes = {p.shape for p in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"the rows of a batch need one shape; {name} has {', '.join(map(str, sorted(shapes)))}: pad them, or "
                "batch(1)"
            )
        return np.stack(parts)

    x, y, w = (stack([row[i] for row in rows], name) for i, name in enumerate(("x", "y", "sample_weight")))
    return x, y, w


def joined(batches: list[Batch]) -> Batch:
    """Batches one after the other, as one."""

    def join(parts: list[Any]) -> Any:
        if parts[0] is None:
            return None
        if isinstance(parts[0], tuple):
            return tuple(join(list(arrays)) for arrays in zip(*parts, strict=True))
        return np.concatenate(parts)

    x, y, w = (join([batch[i] for batch in batches]) for i in range(3))
    return x, y, w
