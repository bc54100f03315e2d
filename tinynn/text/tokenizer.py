"""Old Keras's Tokenizer, which many listings begin with."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinynn.text.vocabulary import FILTERS, words

Text = str | list[str]
MODES = ("binary", "count", "freq", "tfidf")


class Tokenizer:
    """Words of texts and their numbers, from 1 by frequency; 0 is left for padding. Arguments and names are Keras's.

    num_words:  only numbers below this are given out, so the num_words - 1 most frequent words
    filters, lower, split: as in `words`
    char_level: characters instead of words
    oov_token:  takes number 1, and stands for every word that is unknown or too rare; without one these are left out

    A text may also be a list of tokens. After `fit_on_texts`: `word_index` {word: number} of all words, `index_word`
    {number: word}, `word_counts` {word: how often}, `word_docs` {word: in how many texts}, `document_count`.

    >>> tokenizer = Tokenizer(oov_token="?")
    >>> tokenizer.fit_on_texts(["The cat sat.", "The dog."])
    >>> tokenizer.word_index
    {'?': 1, 'the': 2, 'cat': 3, 'sat': 4, 'dog': 5}
    >>> tokenizer.texts_to_sequences(["the cow sat"]), tokenizer.sequences_to_texts([[2, 5]])
    ([[2, 1, 4]], ['the dog'])
    >>> tokenizer.texts_to_matrix(["the dog, the cat"], mode="count").astype(int)
    array([[0, 0, 2, 1, 0, 1]])
    """

    def __init__(
        self,
        num_words: int | None = None,
        filters: str = FILTERS,
        lower: bool = True,
        split: str = " ",
        char_level: bool = False,
        oov_token: str | None = None,
    ):
        self.num_words, self.filters, self.lower, self.split = num_words, filters, lower, split
        self.char_level, self.oov_token = char_level, oov_token
        self.document_count = 0
        self.word_counts: Counter[str] = Counter()
        self.word_docs: Counter[str] = Counter()
        self.index_docs: Counter[int] = Counter()
        self.word_index: dict[str, int] = {}
        self.index_word: dict[int, str] = {}

    def fit_on_texts(self, texts: Iterable[Text]) -> None:
        """Count the words of some more texts, and number all words anew."""
        for tokens in self._tokens(texts):
            self.document_count += 1
            self.word_counts.update(tokens)
            self.word_docs.update(set(tokens))
        ranked = [word for word, _ in self.word_counts.most_common() if word != self.oov_token]
        if self.oov_token is not None:
            ranked.insert(0, self.oov_token)
        self.word_index = {word: i for i, word in enumerate(ranked, 1)}
        self.index_word = {i: word for word, i in self.word_index.items()}
        self.index_docs = Counter({self.word_index[word]: count for word, count in self.word_docs.items()})

    def fit_on_sequences(self, sequences: Iterable[Sequence[int]]) -> None:
        """Count in how many sequences each number occurs: enough for `sequences_to_matrix` with tfidf."""
        for sequence in sequences:
            self.document_count += 1
            self.index_docs.update(set(sequence))

    def texts_to_sequences(self, texts: Iterable[Text]) -> list[list[int]]:
        """The numbers of the words of every text; unknown and too rare ones become oov_token's, or are left out."""
        numbers = ([self.word_index.get(token) for token in tokens] for tokens in self._tokens(texts))
        return [self._given_out(row) for row in numbers]

    def sequences_to_texts(self, sequences: Iterable[Iterable[int]]) -> list[str]:
        """The words of every sequence, with a space between."""
        known = ([i if i in self.index_word else None for i in row] for row in sequences)
        return [" ".join(self.index_word[i] for i in self._given_out(row)) for row in known]

    def texts_to_matrix(self, texts: Iterable[Text], mode: str = "binary") -> NDArray[np.float64]:
        """One row for every text, one column for every number; see `sequences_to_matrix`."""
        return self.sequences_to_matrix(self.texts_to_sequences(texts), mode)

    def sequences_to_matrix(self, sequences: Iterable[Sequence[int]], mode: str = "binary") -> NDArray[np.float64]:
        """(N, num_words): what each sequence holds of each number, where it occurs c times in n.

        mode: "binary" 1, "count" c, "freq" c / n, "tfidf" (1 + log c) log(1 + texts / (1 + texts that have it)).
        Numbers that are too large for a column are left out. num_words None: all words, and column 0.
        """
        if mode not in MODES:
            raise ValueError(f"mode is one of {', '.join(MODES)}; got {mode!r}")
        if not self.num_words and not self.word_index:
            raise ValueError("how many columns? Write Tokenizer(num_words=...), or call fit_on_texts first")
        if mode == "tfidf" and not self.document_count:
            raise ValueError("tfidf needs to know how many texts have each word: call fit_on_texts first")
        rows = list(sequences)
        size = self.num_words or len(self.word_index) + 1
        matrix = np.zeros((len(rows), size))
        for row, sequence in zip(matrix, rows, strict=True):
            for i, count in Counter(sequence).items():
                if i < size:
                    row[i] = self._weight(mode, i, count, len(sequence))
        return matrix

    def get_config(self) -> dict[str, Any]:
        """Arguments and counts; the dictionaries as JSON texts, as Keras has them."""
        counts = ("word_counts", "word_docs", "index_docs", "index_word", "word_index")
        arguments = ("num_words", "filters", "lower", "split", "char_level", "oov_token", "document_count")
        config = {name: getattr(self, name) for name in arguments}
        return config | {name: json.dumps(getattr(self, name)) for name in counts}

    def to_json(self, **kwargs: Any) -> str:
        """All of it as one text; `tokenizer_from_json` makes an equal tokenizer of it."""
        return json.dumps({"class_name": "Tokenizer", "config": self.get_config()}, **kwargs)

    def _tokens(self, texts: Iterable[Text]) -> Iterable[list[str]]:
        if isinstance(texts, str):
            raise TypeError("a Tokenizer takes a list of texts; for one text write [text]")
        for text in texts:
            if isinstance(text, str) and not self.char_level:
                yield words(text, self.filters, self.lower, self.split)
            else:
                yield [token.lower() for token in text] if self.lower else list(text)

    def _given_out(self, numbers: Iterable[int | None]) -> list[int]:
        """Numbers below num_words; None and others become that of oov_token, or go."""
        limit = self.num_words or np.inf
        other = None if self.oov_token is None else self.word_index.get(self.oov_token)
        kept = (i if i is not None and i < limit else other for i in numbers)
        return [i for i in kept if i is not None]

    def _weight(self, mode: str, i: int, count: int, length: int) -> float:
        if mode == "tfidf":
            return float((1 + np.log(count)) * np.log(1 + self.document_count / (1 + self.index_docs[i])))
        return {"binary": 1.0, "count": float(count), "freq": count / length}[mode]


def tokenizer_from_json(text: str) -> Tokenizer:
    """The tokenizer of a text that `to_json` made."""
    config = dict(json.loads(text)["config"])
    tokenizer = Tokenizer(
        *(config[name] for name in ("num_words", "filters", "lower", "split", "char_level", "oov_token"))
    )
    tokenizer.document_count = config["document_count"]
    tokenizer.word_counts = Counter(json.loads(config["word_counts"]))
    tokenizer.word_docs = Counter(json.loads(config["word_docs"]))
    tokenizer.word_index = json.loads(config["word_index"])
    tokenizer.index_word = {int(i): word for i, word in json.loads(config["index_word"]).items()}
    tokenizer.index_docs = Counter({int(i): count for i, count in json.loads(config["index_docs"]).items()})
    return tokenizer


def hashing_trick(
    text: str,
    n: int,
    hash_function: Callable[[str], int] | str | None = None,
    filters: str = FILTERS,
    lower: bool = True,
    split: str = " ",
) -> list[int]:
    """The words of a text as numbers 1 .. n - 1 without a vocabulary: hash(word) mod (n - 1) + 1; some words share one.

    The hash is MD5, the same in every run (Keras's default, Python's own, is another one in each), or a function.

    >>> hashing_trick("the cat and the dog", 50)
    [43, 32, 14, 43, 2]
    """
    if n < 2:
        raise ValueError(f"n is at least 2, for numbers 1 to n - 1; got {n}")
    if hash_function is None or hash_function == "md5":
        hash_function = _md5
    if not callable(hash_function):
        raise ValueError(f"hash_function is a function, 'md5' or None; got {hash_function!r}")
    return [hash_function(word) % (n - 1) + 1 for word in words(text, filters, lower, split)]


def _md5(word: str) -> int:
    return int(hashlib.md5(word.encode(), usedforsecurity=False).hexdigest(), 16)
