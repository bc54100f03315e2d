"""Plan: where rows come from and what happens to them, and the jobs that make the batches of an epoch."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial

from tinynn.data import orders
from tinynn.data.ahead import Job, in_threads, one_by_one
from tinynn.data.mapping import Mapping
from tinynn.data.rows import BLOCK, Places, Rows, Stream, joined, spec_of, stacked
from tinynn.data.source import Batch, Spec

PROBE = 2
"""Rows that are read, and sent through the functions of `map`, to know what batches look like."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a Dataset does.

    orders:      which rows, in which order
    size:        rows of a batch; None while rows are single, and where the base gives whole batches
    first, stop: which of the batches
    maps:        what happens to each batch
    workers, ahead: threads, and how many batches they may be ahead
    drawing:     steps so far that draw random numbers: each has a stream of its own
    """

    base: Rows | Stream
    orders: tuple[orders.Order, ...] = ()
    size: int | None = None
    drop_last: bool = False
    first: int = 0
    stop: int = sys.maxsize
    maps: tuple[Mapping, ...] = ()
    workers: int = 0
    ahead: int = 0
    drawing: int = 0

    @property
    def by_number(self) -> bool:
        """Whether rows can be fetched in any order."""
        return isinstance(self.base, Rows)

    @property
    def shuffled(self) -> bool:
        return any(isinstance(step, orders.Shuffle) for step in self.orders)

    @property
    def batched(self) -> bool:
        return self.size is not None or (not isinstance(self.base, Rows) and self.base.batched)

    # -- how much there is ---------------------------------------------------------------------------------------------

    @property
    def count(self) -> int | None:
        """Rows before they are cut into batches; None where only reading tells."""
        if isinstance(self.base, Rows):
            return orders.count_of_epoch(len(self.base), self.orders)
        if self.base.batched or self.base.count is None:
            return None
        return orders.count_of_epoch(self.base.count, self.orders)

    @property
    def rows(self) -> int | None:
        """Examples in an epoch; None where only reading tells."""
        count, size = self.count, self.size
        if count is None or size is None:
            return count
        end = count - count % size if self.drop_last else count
        return max(min(end, self.stop * size) - self.first * size, 0)

    @property
    def steps(self) -> int | None:
        """Batches in an epoch; None where only reading tells."""
        if isinstance(self.base, Rows) or not self.base.batched:
            count, size = self.count, self.size
            if count is None or size is None:
                return None
            total = count // size if self.drop_last else -(-count // size)
        elif self.base.count is None:
            return None
        else:
            total = self.base.count
        return max(min(total, self.stop) - self.first, 0)

    @cached_property
    def spec(self) -> Spec:
        """Shapes and dtypes of the batches, found by sending the first rows through the functions of `map`."""
        if isinstance(self.base, Rows):
            if not len(self.base):
                raise ValueError("the data set has no rows, so nobody knows their shape")
            batch = self.base.fetch(slice(0, PROBE))
        else:
            with closing(iter(self.base)) as stream:
                first = list(itertools.islice(stream, 1))
            if not first:
                raise ValueError("the generator gave nothing, so nobody knows the shape of its rows")
            batch = first[0] if self.base.batched else stacked(first)
        return spec_of(self.mapped(batch, 0, 0))

    # -- the batches of an epoch ---------------------------------------------------------------------------------------

    def epoch(self, number: int, first: int) -> Generator[Batch, None, None]:
        """The batches of an epoch, from one of them on."""
        jobs = self.jobs(number, first)
        if self.workers or self.ahead:
            return in_threads(jobs, max(self.workers, 1), max(self.ahead, self.workers))
        return one_by_one(jobs)

    def jobs(self, number: int, first: int) -> Generator[Job[Batch], None, None]:
        """What is to be done for each batch, by any thread."""
        first += self.first
        size, base = self.size, self.base
        if isinstance(base, Rows):
            if size is None:
                return
            order = orders.rows_of_epoch(len(base), self.orders, number)
            count = len(base) if order is None else len(order)
            for k in range(first, self.first + (self.steps or 0)):
                rows = slice(k * size, min((k + 1) * size, count))
                yield partial(self.fetched, rows if order is None else order[rows], number, k)
            return
        with closing(iter(base)) as stream:
            if size is None:
                for k, batch in enumerate(itertools.islice(stream, first, self.stop), first):
                    yield partial(self.mapped, batch, number, k)
                return
            ordered = itertools.islice(self.parts(stream), first * size, None)
            for k in range(first, self.stop):
                group = list(itertools.islice(ordered, size))
                if not group or (self.drop_last and len(group) < size):
                    return
                yield partial(self.together, group, number, k)

    def parts(self, stream: Iterator[Batch]) -> Iterator[Batch]:
        """The rows of a stream that were taken."""
        for part in self.orders:
            if isinstance(part, orders.Part):
                stream = itertools.islice(stream, part.start, part.stop)
        return stream

    def fetched(self, rows: Places, number: int, place: int) -> Batch:
        return self.mapped(self.base.fetch(rows), number, place)  # type: ignore[union-attr]

    def together(self, rows: list[Batch], number: int, place: int) -> Batch:
        return self.mapped(stacked(rows), number, place)

    def mapped(self, batch: Batch, number: int, place: int) -> Batch:
        for function in self.maps:
            batch = function(batch, number, place)
        return batch

    # -- for caches ----------------------------------------------------------------------------------------------------

    def block(self, block: int, rows: slice) -> Batch:
        """Some rows, with what the functions of `map` make of them."""
        order = orders.rows_of_epoch(len(self.base), self.orders, 0)  # type: ignore[arg-type]
        return self.fetched(rows if order is None else order[rows], 0, block)

    def everything(self) -> Batch:
        """All rows of a stream."""
        plan = Plan(self.base, self.orders, BLOCK, maps=self.maps)
        batches = list(plan.epoch(0, 0))
        if not batches:
            raise ValueError("the generator gave no rows")
        return joined(batches)
