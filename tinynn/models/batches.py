"""Batches on their way to the backend: cut from arrays, or read from a Source."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends import gather
from tinynn.data import Arrays
from tinynn.data.arrays import Rows, fetch, rows_of
from tinynn.data.source import Batch, Source
from tinynn.graph import Graph
from tinynn.models import door
from tinynn.models.options import checked_steps
from tinynn.models.weighting import with_class_weights
from tinynn.tensor import Tensor
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.models.model import Model

WEIGHT_DTYPE = np.dtype("float32")

quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore")
"""Decorates what runs batches: numbers that are not finite are found and named, so NumPy need not warn of them too."""


class Feed:
    """What an epoch is made of. ``begin``; then ``advance`` to each batch, and call to have it; at the end ``close``.

    rows, steps, batch_size: of an epoch, None where nobody knows
    passes:   how many numbers an epoch takes (a Source that is shorter than an epoch begins anew)
    once:     whether a batch that was taken is gone
    """

    rows: int | None
    steps: int | None
    batch_size: int | None = None
    passes = 1
    once = False
    data: Arrays
    place: Rows

    def __init__(self, model: Model):
        self.model, self.backend = model, model.backend
        self.dtypes = door.input_dtypes(model)
        self.staging = self.backend.staging and self.backend.staging()

    def hold(self, data: Arrays) -> None:
        """What batches are cut from."""
        self.data = data
        self.many_x, self.many_y = isinstance(data.x, tuple), isinstance(data.y, tuple)
        self.label_dtypes = [label_dtype(y) for y in (data.y if isinstance(data.y, tuple) else (data.y,))]

    def __call__(self, graph: Graph) -> tuple[Any, Any, Any]:
        """x as a tensor of the graph, or a list of them; y and weights as arrays, or lists of them."""
        data, fetch = self.data, self.fetch
        if self.staging is not None:
            self.staging.turn()
            self.filled = 0
        x: Any
        y: Any = data.y
        w: Any = data.weights
        if self.many_x:
            x = [Tensor(fetch(a, dtype), graph) for a, dtype in zip(data.x, self.dtypes, strict=True)]
        else:
            x = Tensor(fetch(data.x, self.dtypes[0]), graph)
        if self.many_y:
            y = [None if a is None else fetch(a, dtype) for a, dtype in zip(y, self.label_dtypes, strict=True)]
            w = w and [None if a is None else fetch(a, WEIGHT_DTYPE) for a in w]
        elif y is not None:
            y = fetch(y, self.label_dtypes[0])
            w = None if w is None else fetch(w, WEIGHT_DTYPE)
        return x, y, w

    @property
    def height(self) -> int:
        """How many rows this batch has."""
        first = self.data.x[0] if self.many_x else self.data.x
        rows = self.place
        return len(range(*rows.indices(len(first)))) if isinstance(rows, slice) else len(rows)

    def fetch(self, array: Any, dtype: Any) -> Array:
        """The rows of this batch on the backend; a device copies them while it computes with the batch before."""
        if self.staging is None:
            return fetch(array, self.place, self.backend, dtype)
        rows, self.filled = self.place, self.filled + 1
        shape = (self.height, *array.shape[1:])
        return self.staging.put(self.filled, shape, dtype, lambda out: gather(out, array, rows))

    def first(self, graph: Graph, rows: int) -> tuple[Any, Any, Any]:
        """The first rows of this batch, as another batch."""
        whole, begin = self.place, self.place.start or 0 if isinstance(self.place, slice) else 0
        self.place = slice(begin, begin + rows) if isinstance(whole, slice) else whole[:rows]
        try:
            return self(graph)
        finally:
            self.place = whole

    def begin(self, number: int, first: int = 0) -> None:
        """Epoch ``number``, from batch ``first`` on."""
        raise NotImplementedError

    def advance(self) -> bool:
        """Go to the next batch; False where the epoch has come to its end."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of what is held, threads included."""

    def again(self, number: int, batch: int) -> Feed:
        """A feed that stands at this batch, for a second look."""
        if self.once:
            return self  # which still holds it
        feed = copy.copy(self)
        feed.begin(number, batch)
        feed.advance()
        return feed

    def row(self, i: int) -> str:
        """What row i of the batch is called in messages."""
        raise NotImplementedError


class ArrayFeed(Feed):
    """Batches of arrays in host memory, as they lie or in a new order for each epoch."""

    def __init__(self, model: Model, data: Arrays, batch_size: int, steps: int | None = None, shuffle: bool = False):
        super().__init__(model)
        self.hold(data)
        self.rows = self.total = len(data)
        self.batch_size = self.size = batch_size
        self.steps = self.count = checked_steps(steps, self.total, batch_size)
        self.shuffle = shuffle
        self.order: np.ndarray | None = None
        self.next = 0

    def renew(self, data: Arrays) -> None:
        """Other data, as one batch."""
        self.hold(data)
        self.rows = self.total = self.batch_size = self.size = len(data)

    def begin(self, number: int, first: int = 0) -> None:
        self.order, self.next = None, first
        if self.shuffle:
            generator = self.model.stream.generator("shuffle", number)  # type: ignore[union-attr]
            self.order = generator.permutation(self.total)

    def advance(self) -> bool:
        batch = self.next
        if batch >= self.count:
            return False
        self.place = rows_of(self.order, batch, self.size, self.total)
        self.next = batch + 1
        return True

    def row(self, i: int) -> str:
        return f"row {self.place.start + i if isinstance(self.place, slice) else self.place[i]} of the data"


class SourceFeed(Feed):
    """Batches of a Source, each checked on the host before it is computed with.

    steps:   how many make an epoch; None for all. A Source that knows its length begins anew where it is shorter
    targets: whether the batches must have y
    """

    def __init__(
        self,
        model: Model,
        source: Source,
        steps: int | None = None,
        class_weight: dict[int, float] | None = None,
        targets: bool = True,
        prefix: str = "",
    ):
        super().__init__(model)
        self.source, self.class_weight, self.targets, self.prefix = source, class_weight, targets, prefix
        self.steps = source.steps if steps is None else steps
        self.rows = source.rows if self.steps == source.steps else None
        self.once = getattr(source, "once", False)
        if source.steps and self.steps:
            self.passes = -(-self.steps // source.steps)
        self.iterator: Iterator[Batch] | None = None
        self.place = slice(None)
        self.number = self.next = self.read = 0

    def begin(self, number: int, first: int = 0) -> None:
        self.next, self.number = first, number
        if self.source.steps:
            passes, first = divmod(first, self.source.steps)
            self.number += passes
        self.open(first)

    def open(self, first: int = 0) -> None:
        """Begin a pass."""
        self.iterator, self.read = iter(self.source.epoch(self.number, first)), first

    def advance(self) -> bool:
        if self.next == self.steps:
            return False
        self.data = None  # type: ignore[assignment]  # so that two batches never live at once
        batch = self.taken()
        if batch is None:
            return False
        what = f"{self.prefix}batch {self.next}'s "
        x, y, w = batch
        if self.targets:
            data = with_class_weights(door.checked_arrays(self.model, x, y, w, what), self.class_weight, quiet=True)
        else:
            data = Arrays(door.checked_features(self.model, x, f"{what}x"))
        self.hold(data)
        self.next += 1
        return True

    def taken(self) -> Batch | None:
        """The next batch; None at the end of an epoch of unknown length, ValueError where it ends too early."""
        assert self.iterator is not None
        batch = next(self.iterator, None)
        known = self.source.steps
        if batch is None and known and self.read == known and self.steps is not None:
            self.close()
            self.number += 1
            self.open()
            batch = next(self.iterator, None)
        if batch is not None:
            self.read += 1
            return batch
        if self.steps is None and self.next:
            return None
        if self.steps is None:
            raise ValueError(f"{self.prefix}data end before the first batch")
        wanted = f"{known} batches in each pass" if known else f"{self.steps} for each epoch (steps)"
        raise ValueError(
            f"{self.prefix}data ended after {self.read if known else self.next} batches, but there shall be {wanted}. "
            "The weights are those of the last step. Give more batches or take fewer steps, or use a "
            "data.Dataset, which begins anew in every epoch"
        )

    def close(self) -> None:
        """Stops the threads of the Source."""
        iterator, self.iterator = self.iterator, None
        if hasattr(iterator, "close"):
            iterator.close()  # type: ignore[union-attr]

    def row(self, i: int) -> str:
        return f"row {i} of the batch"


def label_dtype(y: np.ndarray | None) -> np.dtype[Any]:
    """What labels are converted to: class numbers stay whole."""
    return y.dtype if y is not None and y.dtype.kind == "i" else np.dtype("float32")
