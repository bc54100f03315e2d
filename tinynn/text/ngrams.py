"""Language models by counting: what usually follows these characters, or words?

Sources: C. Shannon, "A Mathematical Theory of Communication", 1948, section 3; D. MacKay, L. Peto, "A Hierarchical
Dirichlet Language Model", 1995, for the smoothing.
"""

from __future__ import annotations

import operator
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.random import host_generator
from tinynn.text.sampling import sample


def ngrams(tokens: Iterable[Hashable], n: int) -> Counter[tuple[Any, ...]]:
    """How often each n tokens in a row occur.

    >>> ngrams("banana", 2)
    Counter({('a', 'n'): 2, ('n', 'a'): 2, ('b', 'a'): 1})
    """
    n = operator.index(n)
    if n < 1:
        raise ValueError(f"n is how many tokens in a row are counted, at least 1; got {n}")
    row = list(tokens)
    return Counter(zip(*(row[start:] for start in range(n)), strict=False))


class NGram:
    """A model that has counted which token follows which n - 1 others.

    With c the tokens before, c' the same without the first of them, and N(.) the counts

        p(x | c) = (N(c x) + s p(x | c')) / (N(c) + s)

    and so on down to p(x | nothing), where 1 / size stands for what would be shorter still. `smoothing` s is the weight
    of the shorter memory: a context seen less than s times hardly counts (10 suits a million characters from n = 5 on,
    1 a short text). With s = 0 the shorter memory speaks only where a context never occurred, and what never followed
    has probability 0. For n = 1 this is additive smoothing.

    >>> model = NGram(2, smoothing=0).fit([0, 1, 0, 1, 0, 2])
    >>> model.probabilities([0])
    array([0.        , 0.66666667, 0.33333333])
    """

    def __init__(self, n: int, smoothing: float = 10.0):
        if operator.index(n) < 1:
            raise ValueError(f"n is at least 1 (1 looks at no context at all); got {n}")
        if not 0 <= smoothing < np.inf:
            raise ValueError(f"smoothing is a finite number >= 0; got {smoothing}")
        self.n, self.smoothing = n, smoothing
        self.size = 0
        self.followers: dict[tuple[int, ...], dict[int, int]] = {}
        self.totals: dict[tuple[int, ...], int] = {}

    def fit(self, ids: ArrayLike, size: int | None = None) -> NGram:
        """Count ids (T,), from 0; `size` is how many tokens there are, by default the largest id + 1."""
        row = _row(ids)
        if not row:
            raise ValueError("there are no ids to count")
        self.size = max(row) + 1 if size is None else operator.index(size)
        self._refuse_outside(row)
        followers: dict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for k in range(1, min(self.n, len(row)) + 1):
            for gram, count in ngrams(row, k).items():
                followers[gram[:-1]][gram[-1]] = count
        self.followers = dict(followers)
        self.totals = {context: sum(counts.values()) for context, counts in followers.items()}
        return self

    def probabilities(self, context: ArrayLike = ()) -> NDArray[np.float64]:
        """p (size,) of every token after `context`, of which the last n - 1 tokens count."""
        before = self._context(_row(context))
        p = np.full(self.size, 1 / self.size)
        for shorter in _suffixes(before):
            total = self.totals.get(shorter, 0)
            if total:
                p *= self.smoothing
                counts = self.followers[shorter]
                p[list(counts)] += list(counts.values())
                p /= total + self.smoothing
        return p

    def nats(self, ids: ArrayLike) -> float:
        """Mean of -log p(token | those before it) over ids (T,): nats per token, inf where one has probability 0."""
        row = _row(ids)
        self._context(row)
        if not row:
            raise ValueError("there are no ids to judge")
        p = np.array([self._probability(row[i], tuple(row[max(0, i - self.n + 1) : i])) for i in range(len(row))])
        with np.errstate(divide="ignore"):
            return float(-np.log(p).mean())

    def sample(
        self,
        length: int,
        prompt: ArrayLike = (),
        temperature: float = 1.0,
        rng: np.random.Generator | int | None = None,
    ) -> NDArray[np.int64]:
        """So many ids (length,) as the model would go on after `prompt`, each drawn by `sample`."""
        rng, row = host_generator(rng), _row(prompt)
        start = len(row)
        for _ in range(operator.index(length)):
            row.append(int(sample(self.probabilities(row[-(self.n - 1) :] if self.n > 1 else ()), temperature, rng)))
        return np.array(row[start:], np.int64)

    def _probability(self, x: int, before: tuple[int, ...]) -> float:
        """One element of `probabilities`."""
        p = 1 / self.size
        for shorter in _suffixes(before):
            total = self.totals.get(shorter)
            if total:
                p = (self.followers[shorter].get(x, 0) + self.smoothing * p) / (total + self.smoothing)
        return p

    def _context(self, row: Sequence[int]) -> tuple[int, ...]:
        if not self.size:
            raise RuntimeError("this model has counted nothing yet: call fit(ids)")
        self._refuse_outside(row)
        return tuple(row[max(0, len(row) - self.n + 1) :])

    def _refuse_outside(self, row: Sequence[int]) -> None:
        for place, i in enumerate(row):
            if not 0 <= i < self.size:
                raise IndexError(f"id {i} at place {place} is not one of 0 to {self.size - 1}")


def _suffixes(context: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """Nothing, the last token, the last two, ..., all."""
    return (context[start:] for start in range(len(context), -1, -1))


def _row(ids: ArrayLike) -> list[int]:
    array = np.asarray(ids)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise TypeError(f"expected whole numbers in one row (T,), got {array.dtype} of shape {array.shape}")
    row: list[int] = array.tolist()
    return row
