"""IMDB reviews, good or bad: 2,499 to learn from and 2,499 to test with, a tenth of the Large Movie Review Dataset.

Every tenth review by its number of each half (1,250 bad ones and 1,249 good ones), whole and in the writers' spelling.
Source: A. Maas et al., "Learning Word Vectors for Sentiment Analysis", ACL 2011, which asks to be cited; distributed
by Stanford without a licence text, the reviews are those of IMDb's users.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text, rows
from tinynn.text import words

Texts = tuple[list[str], NDArray[np.int64]]
Words = tuple[list[list[str]], NDArray[np.int64]]
Sequences = tuple[list[list[int]], NDArray[np.int64]]

ORIGIN = "ai.stanford.edu/~amaas/data/sentiment (here as the subset described in tinynn.datasets.imdb)"
SHA256 = {
    "imdb_subset_train.tsv.xz": "db53d3b67ebb61fd2fe067978f9e3df5924d80475d6c0ce965817ea1c448b84c",
    "imdb_subset_test.tsv.xz": "29951e8e438a229d99a995f2bbe6f9dfe78c6ed50c943b14924117155ae874d0",
}
BREAK = "<br />"


def load_texts(folder: Folder = None) -> tuple[Texts, Texts]:
    """((texts_train, y_train), (texts_test, y_test)): lists of reviews, and 1 for good, 0 for bad ones.

    Good and bad ones take turns; the reviews' line breaks (<br />) are newlines. The files come from `folder`, else
    from `sentiment/` under TINYNN_DATA. Raises FileNotFoundError where one is missing, ValueError where it is damaged.
    """
    train, test = (_read(name, folder) for name in SHA256)
    return train, test


def load_data(
    num_words: int | None = None,
    skip_top: int = 0,
    maxlen: int | None = None,
    seed: int = 113,
    start_char: int | None = 1,
    oov_char: int | None = 2,
    index_from: int = 3,
    folder: Folder = None,
) -> tuple[Sequences, Sequences]:
    """((x_train, y_train), (x_test, y_test)) with every review as a list of word numbers, as Keras has them.

    A word's number is its rank by frequency in the training half (`get_word_index`, from 1) plus `index_from`; words
    that do not occur there are skipped. 0 is left for padding.

    num_words:  numbers from here on become `oov_char` (the most frequent words stay)
    skip_top:   numbers below become `oov_char` too
    maxlen:     only reviews shorter than this, with their start mark
    seed:       of the order of the reviews
    start_char: begins every review; None for no mark
    oov_char:   stands for words left out; None drops them

    Raises what `load_texts` raises, and ValueError where `maxlen` leaves no review.
    """
    halves = [([words(text) for text in texts], labels) for texts, labels in load_texts(folder)]
    index = _ranks(halves[0][0])
    train, test = (_shuffled(_sequences(half, index, start_char, index_from), seed) for half in halves)
    if maxlen:
        train, test = _shorter(train, maxlen), _shorter(test, maxlen)
        if not (train[0] and test[0]):
            raise ValueError(f"no review is shorter than maxlen={maxlen}: allow longer ones")
    top = num_words or len(index) + index_from + 1
    return _within(train, skip_top, top, oov_char), _within(test, skip_top, top, oov_char)


def get_word_index(folder: Folder = None) -> dict[str, int]:
    """{word: its rank by frequency in the training half, from 1}; in sequences it has this plus `index_from`."""
    return _ranks([words(text) for text in load_texts(folder)[0][0]])


def _read(name: str, folder: Folder) -> Texts:
    """One file: "label TAB rating TAB id TAB text" in every line."""
    path = located(folder, "sentiment", name, ORIGIN)
    lines = rows(read_text(path, SHA256[name]), 4, path)
    texts = [text.replace(BREAK, "\n") for _, _, _, text in lines]
    return texts, np.array([int(label) for label, *_ in lines])


def _ranks(texts: list[list[str]]) -> dict[str, int]:
    counts = Counter(word for text in texts for word in text)
    return {word: rank for rank, (word, _) in enumerate(counts.most_common(), 1)}


def _sequences(half: Words, index: dict[str, int], start_char: int | None, index_from: int) -> Sequences:
    start = [] if start_char is None else [start_char]
    texts, labels = half
    return [start + [index[word] + index_from for word in text if word in index] for text in texts], labels


def _shuffled(half: Sequences, seed: int) -> Sequences:
    x, y = half
    order = np.arange(len(x))
    np.random.RandomState(seed).shuffle(order)
    return [x[i] for i in order], y[order]


def _shorter(half: Sequences, maxlen: int) -> Sequences:
    x, y = half
    kept = [i for i, sequence in enumerate(x) if len(sequence) < maxlen]
    return [x[i] for i in kept], y[kept]


def _within(half: Sequences, skip_top: int, top: int, oov_char: int | None) -> Sequences:
    """Numbers from skip_top to top - 1; others become `oov_char`, or go."""
    x, y = half
    if oov_char is None:
        return [[i for i in sequence if skip_top <= i < top] for sequence in x], y
    return [[i if skip_top <= i < top else oov_char for i in sequence] for sequence in x], y
