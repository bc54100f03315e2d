"""Source: what fit, evaluate and predict read, batch by batch, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from tinynn.typing import Shape

Batch = tuple[Any, Any, Any]
"""(x, y, weights): NumPy arrays in host memory; x and y may be tuples of arrays, y and weights None."""


@dataclass(frozen=True)
class Field:
    """One array of a batch: the shape of a row (None for an open size) and the dtype."""

    shape: Shape
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Spec:
    """What the batches of a source look like; tuples of fields where a batch has tuples of arrays."""

    x: Field | tuple[Field, ...]
    y: Field | tuple[Field, ...] | None = None
    weights: Field | None = None


@runtime_checkable
class Source(Protocol):
    """Batches for fit, evaluate and predict.

    spec:  shapes and dtypes, known before the first batch is read
    rows:  examples in an epoch, None where only reading tells
    steps: batches in an epoch, None where only reading tells
    """

    @property
    def spec(self) -> Spec: ...

    @property
    def rows(self) -> int | None: ...

    @property
    def steps(self) -> int | None: ...

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """The batches of epoch ``number`` from batch ``first`` on.

        Shuffles and augmentation follow from the source's seed, the number and the place alone: the same call gives the
        same bytes in any process, with any number of workers. Closing the iterator stops its threads.
        """
        ...
