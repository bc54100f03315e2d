"""Pairs of words that stand near each other, and pairs that do not: what word2vec learns from.

Source: T. Mikolov et al., "Distributed Representations of Words and Phrases and their Compositionality", 2013.
"""

from __future__ import annotations

import operator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.random import host_generator

EULER_GAMMA = 0.577
"""As Keras has it."""


def skipgrams(
    sequence: ArrayLike,
    vocabulary_size: int,
    window_size: int = 4,
    negative_samples: float = 1.0,
    shuffle: bool = True,
    categorical: bool = False,
    sampling_table: ArrayLike | None = None,
    seed: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """(couples, labels): couples (P, 2) of a word and one near it, label 1, or a random one, label 0.

    sequence:         ids of words (T,); 0 is no word and makes no couple
    window_size:      how far to the left and to the right a word is near
    negative_samples: so many random couples for each true one; their second word is drawn from 1 .. vocabulary_size - 1
    shuffle:          else the true couples come first, in the order of the text
    categorical:      labels (P, 2): [0, 1] for true couples, [1, 0] for others
    sampling_table:   probability with which word i is looked at as a first word (see `make_sampling_table`)
    seed:             of everything drawn here (Keras seeds the order only)

    Meaning and defaults are Keras's; the results are arrays, not lists.

    >>> couples, labels = skipgrams([1, 2, 0, 3], 4, window_size=1, negative_samples=0, shuffle=False)
    >>> couples.tolist(), labels.tolist()
    ([[1, 2], [2, 1]], [1, 1])
    """
    ids = np.asarray(sequence)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise TypeError(f"sequence is a row of ids (T,), got {ids.dtype} of shape {ids.shape}; call it for each text")
    if ids.size and not (ids.min() >= 0 and ids.max() < vocabulary_size):
        wrong = ids[(ids < 0) | (ids >= vocabulary_size)][0]
        raise IndexError(f"id {wrong} is not one of 0 to {vocabulary_size - 1} (vocabulary_size={vocabulary_size})")
    if operator.index(window_size) < 1 or not 0 <= negative_samples < np.inf:
        raise ValueError(f"window_size >= 1 and negative_samples >= 0; got {window_size} and {negative_samples}")
    rng = host_generator(seed)
    kept = ids > 0
    if sampling_table is not None:
        kept &= np.asarray(sampling_table)[ids] >= rng.random(len(ids))
    true = _near(ids.astype(np.int32), kept, window_size)
    random = _random_couples(true[:, 0], int(len(true) * negative_samples), vocabulary_size, rng)
    couples = np.concatenate([true, random])
    labels = np.repeat(np.array([1, 0], np.int32), [len(true), len(random)])
    if shuffle:
        order = rng.permutation(len(couples))
        couples, labels = couples[order], labels[order]
    return couples, np.stack([1 - labels, labels], axis=1) if categorical else labels


def _near(ids: NDArray[np.int32], kept: NDArray[np.bool_], window_size: int) -> NDArray[np.int32]:
    """Couples (P, 2) of every kept word with the words up to window_size away, in the order of the text."""
    first = np.flatnonzero(kept)[:, None]
    second = first + np.r_[-window_size:0, 1 : window_size + 1]
    there = (second >= 0) & (second < len(ids))
    there &= np.where(there, ids[np.where(there, second, 0)], 0) > 0 if len(ids) else there
    left = np.broadcast_to(first, second.shape)[there]
    return np.stack([ids[left], ids[second[there]]], axis=1)


def _random_couples(
    words: NDArray[np.int32], count: int, vocabulary_size: int, rng: np.random.Generator
) -> NDArray[np.int32]:
    """`count` couples: the first words in random order, over again where more are wanted, each with any word."""
    if not count:
        return np.empty((0, 2), np.int32)
    first = np.resize(rng.permutation(words), count)
    return np.stack([first, rng.integers(1, vocabulary_size, count, np.int32)], axis=1)


def make_sampling_table(size: int, sampling_factor: float = 1e-5) -> NDArray[np.float64]:
    """The probability (size,) with which the word of each rank is kept, so that frequent ones do not drown the others.

    p = min(1, sqrt(sampling_factor / f)), where a word of rank r has the frequency f that Zipf's law gives it:
    1/f = r (log r + gamma) + 1/2 - 1/(12 r). Rank 0 is treated as rank 1.

    >>> make_sampling_table(4).round(5)
    array([0.00315, 0.00315, 0.00548, 0.00742])
    """
    if operator.index(size) < 1:
        raise ValueError(f"size is the number of words, at least 1; got {size}")
    rank = np.maximum(np.arange(size), 1)
    inverse = rank * (np.log(rank) + EULER_GAMMA) + 0.5 - 1 / (12 * rank)
    return np.minimum(1.0, np.sqrt(sampling_factor * inverse))
