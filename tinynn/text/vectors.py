"""Texts as vectors: which words occur, and one column for each token."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tinynn.text.vocabulary import Vocabulary


def bag_of_words(
    texts: str | Iterable[str | Iterable[str]],
    vocabulary: Vocabulary | Iterable[str],
    binary: bool = True,
    dtype: DTypeLike = "float32",
) -> NDArray[Any]:
    """Which tokens of the vocabulary each text holds (N, tokens): 1 where one occurs, or how often (binary=False).

    The order of words is lost. `vocabulary` may be a plain list of words; one text gives one row (tokens,). Words that
    are not in the vocabulary count for its unknown token, or not at all where it has none.

    >>> vocabulary = ["perro", "gato", "mi", "tu", "simpatico", "ladrador", "es", "era"]
    >>> bag_of_words("mi perro es ladrador", vocabulary).astype(int)
    array([1, 0, 1, 0, 0, 1, 1, 0])
    >>> bag_of_words(["mi gato es mi gato", "tu vaca"], vocabulary, binary=False).astype(int)
    array([[0, 2, 2, 0, 0, 0, 1, 0],
           [0, 0, 0, 1, 0, 0, 0, 0]])
    """
    if not isinstance(vocabulary, Vocabulary):
        vocabulary = Vocabulary(vocabulary, by="words")
    if isinstance(texts, str):
        return bag_of_words([texts], vocabulary, binary, dtype).reshape(-1)
    kept = [_known(vocabulary, text) for text in texts]
    bags = np.zeros((len(kept), len(vocabulary)), dtype)
    for bag, ids in zip(bags, kept, strict=True):
        if binary:
            bag[ids] = 1
        else:
            np.add.at(bag, ids, 1)
    return bags


def _known(vocabulary: Vocabulary, text: str | Iterable[str]) -> NDArray[np.int32]:
    tokens = vocabulary.split(text)
    return vocabulary.encode(tokens if vocabulary.unknown is not None else [t for t in tokens if t in vocabulary])


def one_hot(ids: ArrayLike, size: int, dtype: DTypeLike = "float32") -> NDArray[Any]:
    """ids (...) -> (..., size): 1 in the column of the id, else 0.

    >>> one_hot([2, 0], 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)

    Raises TypeError for ids that are not whole numbers, IndexError for one that is not in 0 .. size - 1.
    """
    places = np.asarray(ids)
    if places.size and places.dtype.kind not in "iu":
        raise TypeError(f"one_hot expects whole numbers, got {places.dtype}; for a text write vocabulary.encode(text)")
    wrong = (places < 0) | (places >= size)
    if wrong.any():
        raise IndexError(
            f"id {places[wrong].flat[0]} is not one of 0 to {size - 1}, the columns of one_hot(ids, {size})"
        )
    rows = np.zeros((places.size, size), dtype)
    rows[np.arange(places.size), places.reshape(-1).astype(np.intp)] = 1
    return rows.reshape(*places.shape, size)
