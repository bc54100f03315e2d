"""Python's own ways to give batches, as a Source: generators, iterables, and objects with a length and an index."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, MutableSequence
from typing import Any

import numpy as np

from tinynn.data.arrays import host_array
from tinynn.data.source import Batch, Field, Source, Spec

END = object()
Permutation = Callable[[int, int], np.ndarray]
"""(number, n): the order of n batches in this epoch."""


class Loader:
    """What begins anew with every ``iter(...)``: a loader, an object with ``__iter__``. Its order is its own affair."""

    rows: int | None = None
    once = False
    """Whether what was read is gone."""

    def __init__(self, batches: Any):
        self.batches = batches
        self.spec = spec_of(first_of(iter(batches), "this iterable"))

    @property
    def steps(self) -> int | None:
        return len(self.batches) if hasattr(self.batches, "__len__") else None

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one pass; those before ``first`` are read and dropped."""
        yield from map(as_batch, itertools.islice(iter(self.batches), first, None))


class Indexed(Loader):
    """Batches by number, such as Keras's ``PyDataset``: ``len(batches)``, ``batches[k]``, ``on_epoch_end()`` if any."""

    def __init__(self, batches: Any, first: Any, permutation: Permutation | None = None):
        """first: batch 0; permutation: of the batches in each epoch, None takes them as they lie."""
        self.batches, self.permutation = batches, permutation
        self.spec = spec_of(as_batch(first))

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        n = len(self.batches)
        order = range(n) if self.permutation is None else self.permutation(number, n)
        try:
            for k in order[first:]:
                yield as_batch(self.batches[int(k)])
        except GeneratorExit:  # enough for this epoch
            pass
        if hasattr(self.batches, "on_epoch_end"):
            self.batches.on_epoch_end()


class Once(Loader):
    """A generator: read in order, and only once. The first batch is read ahead, to know what they look like.

    per_epoch: how many batches make an epoch; None for all there are
    base:      the number of the first epoch
    """

    once = True
    steps: int | None = None

    def __init__(self, batches: Iterator[Any], per_epoch: int | None = None, base: int = 0):
        first = next(batches, END)
        if first is END:
            raise ValueError(
                "this generator gives nothing (any more): it can be read once only, so make a new one for every call"
            )
        self.batches, self.per_epoch, self.base = itertools.chain([first], batches), per_epoch, base
        self.spec = spec_of(as_batch(first))
        self.taken = 0

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Go on where it stands; a run that is taken up reads and drops what it had before."""
        wanted = (number - self.base) * (self.per_epoch or 0) + first
        while self.taken < wanted:
            self.taken += 1
            next(self.batches, None)
        while (item := next(self.batches, END)) is not END:
            self.taken += 1
            yield as_batch(item)


def source_of(
    x: Any, per_epoch: int | None = None, base: int = 0, permutation: Permutation | None = None
) -> Source | None:
    """A Source of batches, where x is one or can be read as one; None where it is data in arrays.

    per_epoch, base: of a generator; permutation: of batches by number
    """
    if isinstance(x, Source):
        return x
    if x is None or isinstance(x, (np.ndarray, np.generic, list, tuple, Mapping, str, bytes, int, float)):
        return None
    if hasattr(x, "__array__") or hasattr(x, "columns"):
        return None
    if hasattr(x, "__next__"):
        return Once(x, per_epoch, base)
    if inspect.isgeneratorfunction(x):
        raise TypeError(
            f"{x.__name__} is a function that makes a generator: write {x.__name__}(), or "
            f"data.Dataset.from_generator({x.__name__}, batched=True), which begins anew in every epoch"
        )
    if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        if len(x) == 0 or isinstance(x, (range, MutableSequence)):
            return None  # rows in an unusual container
        first = x[0]
        batch = isinstance(first, (tuple, list, Mapping)) or getattr(first, "ndim", 0) > 0
        return Indexed(x, first, permutation) if batch else None
    return Loader(x) if hasattr(x, "__iter__") else None


def first_of(batches: Iterator[Any], what: str) -> Batch:
    """The first batch; ValueError where there is none."""
    item = next(batches, END)
    if item is END:
        raise ValueError(f"{what} gives no batches")
    return as_batch(item)


def as_batch(item: Any) -> Batch:
    """(x, y, weights) of what was yielded: x, (x,), (x, y) or (x, y, weights), a list as good as a tuple."""
    parts = tuple(item) if isinstance(item, (tuple, list)) else (item,)
    if not 1 <= len(parts) <= 3 or parts[0] is None:
        got = "None" if item is None else f"{len(parts)} things" if len(parts) != 1 else "nothing for x"
        raise ValueError(
            f"a batch is x, (x, y) or (x, y, sample_weight), got {got}; several inputs are a tuple or dict in the "
            "place of x, as in ((a, b), y)"
        )
    x, y, weights = [*parts, None, None][:3]
    return x, y, weights


def spec_of(batch: Batch) -> Spec:
    """What batches look like, from one of them."""

    def field(value: Any, what: str) -> Any:
        if isinstance(value, Mapping):
            return {name: field(part, f"{what}[{name!r}]") for name, part in value.items()}
        if isinstance(value, (tuple, list)) and any(hasattr(part, "shape") or part is None for part in value):
            return tuple(None if part is None else field(part, what) for part in value)
        array = host_array(value, f"the first batch's {what}")
        if array.ndim == 0:
            raise ValueError(f"the first batch's {what} is a single number: a batch has an axis of rows")
        return Field(array.shape[1:], array.dtype)

    x, y, weights = batch
    return Spec(
        field(x, "x"), None if y is None else field(y, "y"), None if weights is None else field(weights, "weights")
    )
