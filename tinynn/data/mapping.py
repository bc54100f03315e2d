"""A user's function over batches, with random numbers that follow from the batch's place."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.data.rows import each, length_of, stacked, triple
from tinynn.data.source import Batch
from tinynn.random import get_seed, substream

STREAM = 0xFFFFFFFF
"""Of the process's random streams the one that data draw from; models count from 0."""


def checked_seed(seed: int | None) -> int:
    """A seed of Philox's key; by default that of the process (`set_seed`)."""
    if seed is None:
        return get_seed()
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed is a whole number from 0 to 2**32 - 1, or None for that of set_seed; got {seed!r}")
    return int(seed)


def generator_at(seed: int, path: str, number: int, batch: int) -> np.random.Generator:
    """NumPy's generator for one batch of one epoch: Philox, its key and counter made of these four."""
    key = np.array([seed << 32 | STREAM, substream(path)], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, batch, number], np.uint64)))


@dataclass(frozen=True)
class Mapping:
    """`Dataset.map`: what to call, and with what.

    rows:   call it for each row
    needed: how many of x and y it asks for
    takes_y, takes_rng: whether it has a parameter for them
    """

    function: Callable[..., Any]
    rows: bool
    seed: int
    path: str
    needed: int
    takes_y: bool
    takes_rng: bool

    def __call__(self, batch: Batch, number: int, place: int) -> Batch:
        """The batch at this place of an epoch, changed."""
        options = {"rng": generator_at(self.seed, self.path, number, place)} if self.takes_rng else {}
        count = length_of(batch[0])
        if self.rows:
            singles = [tuple(each(operator.getitem, part, i) for part in batch) for i in range(count)]
            return stacked([self.call((x, y, w), options) for x, y, w in singles])
        result = self.call(batch, options)
        for part, name in zip(result, ("x", "y", "sample_weight"), strict=True):
            each(self.check, part, name, count)
        return result

    def call(self, batch: Batch, options: dict[str, Any]) -> Batch:
        x, y, weights = batch
        if y is None and self.needed > 1:
            raise ValueError(f"map: {named(self.function)} takes x and y, and this data set has no y")
        if y is None or not self.takes_y:
            result = self.function(x, **options)
            if y is not None:  # a function of x alone leaves the labels as they are
                return triple((result,))[0], y, weights
        else:
            result = self.function(x, y, **options)
        x, y, new = triple(result)
        return x, y, weights if new is None else new

    def check(self, array: np.ndarray, name: str, count: int) -> None:
        if array.ndim == 0 or len(array) != count:
            raise ValueError(
                f"map: {named(self.function)} got a batch of {count} rows and gave {name} of shape {array.shape}; a "
                "function of batches keeps their rows (for single rows write map(function, rows=True))"
            )


def mapping(function: Callable[..., Any], rows: bool, seed: int, path: str) -> Mapping:
    """Look at a function's parameters: (x) or (x, y), each with or without rng."""
    if not callable(function):
        raise TypeError(f"map expects a function of a batch (x, y); got {function!r}")
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:  # compiled functions, such as NumPy's
        return Mapping(function, rows, seed, path, 1, False, False)
    kinds = inspect.Parameter
    places = [
        p
        for p in parameters.values()
        if p.name != "rng" and p.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    needed = sum(p.default is kinds.empty for p in places)
    endless = any(p.kind is kinds.VAR_POSITIONAL for p in parameters.values())
    if needed > 2 or not (places or endless):
        raise ValueError(
            f"map: {named(function)} has {needed} parameters; it takes x, or x and y, and where it wants "
            "random numbers a parameter named rng"
        )
    takes_y = needed == 2 or endless or any(p.name == "y" for p in places[1:])
    return Mapping(function, rows, seed, path, needed, takes_y, "rng" in parameters)


def named(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))
