"""From text to tokens to numbers and back: what every network for text begins with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILTERS = '!"#$%&()*+,-./:;<=>?@[\\]^_`{|}~\t\n'
"""Characters that separate words, as in Keras: all punctuation but the apostrophe."""

BY = ("characters", "words")


def words(text: str, filters: str = FILTERS, lower: bool = True, split: str = " ") -> list[str]:
    """The words of a text: lower case, every character of `filters` a separator (Keras's text_to_word_sequence).

    >>> words("Don't panic: it's only text!")
    ["don't", 'panic', "it's", 'only', 'text']
    """
    if not isinstance(text, str):
        raise TypeError(f"words expects a text, got {type(text).__name__}; for several write [words(t) for t in texts]")
    if lower:
        text = text.lower()
    text = text.translate({ord(character): split for character in filters})
    return [word for word in text.split(split) if word]


class Vocabulary:
    """Tokens and their numbers.

    ids are given in this order: `padding` (0, where there is one), `unknown` (1, after a padding), then `tokens` in
    their order. A token that is not among them gets the id of `unknown`, or is refused where there is none.

    by: what `encode` makes of a text, its "characters" or its "words" (of function `words`); by default characters
        where every token is a single one.

    >>> letters = Vocabulary.from_characters("hello")
    >>> letters.tokens, letters.encode("hole").tolist(), letters.decode([1, 0, 2, 2])
    (['e', 'h', 'l', 'o'], [1, 3, 2, 0], 'hell')
    >>> vocabulary = Vocabulary.from_words(["the cat and the dog", "The dog sleeps."], max_tokens=5)
    >>> vocabulary.tokens
    ['[PAD]', '[UNK]', 'the', 'dog', 'cat']
    >>> vocabulary.encode("The dog and the cow").tolist()
    [2, 3, 1, 2, 1]

    Attributes: `tokens` (list: id -> token), `ids` (dict: token -> id), `padding`, `unknown`, `by`.
    """

    def __init__(
        self,
        tokens: Iterable[str],
        padding: str | None = None,
        unknown: str | None = None,
        by: str | None = None,
    ):
        plain = list(tokens)
        self.padding, self.unknown = padding, unknown
        self.tokens = [token for token in (padding, unknown) if token is not None] + plain
        self.ids: dict[str, int] = {}
        for i, token in enumerate(self.tokens):
            if not isinstance(token, str):
                raise TypeError(f"a token is a text; token {i} is {token!r}")
            if token in self.ids:
                raise ValueError(f"token {token!r} stands twice in the vocabulary, as {self.ids[token]} and as {i}")
            self.ids[token] = i
        if by not in (None, *BY):
            raise ValueError(f"by is 'characters' or 'words'; got {by!r}")
        self.by = by or ("characters" if all(len(token) == 1 for token in plain) else "words")

    @classmethod
    def from_characters(cls, text: str, padding: str | None = None, unknown: str | None = None) -> Vocabulary:
        """The distinct characters of a text, sorted."""
        if not isinstance(text, str):
            text = "".join(text)
        return cls(sorted(set(text) - {padding, unknown}), padding, unknown, by="characters")

    @classmethod
    def from_words(
        cls,
        texts: str | Iterable[str | Iterable[str]],
        max_tokens: int | None = None,
        min_count: int = 1,
        padding: str | None = "[PAD]",
        unknown: str | None = "[UNK]",
    ) -> Vocabulary:
        """The words of some texts (or lists of tokens), the most frequent first, equals as they first occur.

        max_tokens: the size of the vocabulary, padding and unknown included
        min_count:  words that occur more rarely are left out
        """
        counts: Counter[str] = Counter()
        for text in [texts] if isinstance(texts, str) else texts:
            counts.update(words(text) if isinstance(text, str) else text)
        special = [token for token in (padding, unknown) if token is not None]
        room = None if max_tokens is None else max_tokens - len(special)
        if room is not None and room < 1:
            raise ValueError(f"max_tokens={max_tokens} leaves no room beside {special} for a single word")
        frequent = (word for word, count in counts.most_common() if count >= min_count and word not in special)
        return cls(list(frequent)[:room], padding, unknown, by="words")

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, token: object) -> bool:
        return token in self.ids

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.config() == other.config()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self.tokens[:6])) + (", ..." if len(self) > 6 else "")
        return f"<Vocabulary of {len(self)} {self.by}: {shown}>"

    def split(self, text: str | Iterable[str]) -> list[str]:
        """The tokens of a text; a list of tokens is taken as it is."""
        if isinstance(text, str):
            return list(text) if self.by == "characters" else words(text)
        return list(text)

    def encode(self, text: str | Iterable[str]) -> NDArray[np.int32]:
        """The ids (T,) of a text or of a list of tokens.

        Raises LookupError for a token that is not in the vocabulary, where there is no `unknown` for it.
        """
        tokens = self.split(text)
        if self.unknown is not None:
            unknown = self.ids[self.unknown]
            return np.array([self.ids.get(token, unknown) for token in tokens], np.int32)
        try:
            return np.array([self.ids[token] for token in tokens], np.int32)
        except KeyError:
            place = next(i for i, token in enumerate(tokens) if token not in self.ids)
        raise LookupError(
            f"token {tokens[place]!r} at place {place} is not in this vocabulary of {len(self)} {self.by}: leave it "
            "out of the text, build the vocabulary from a text that has it, or give it an unknown token, as in "
            "Vocabulary(..., unknown='[UNK]')"
        )

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids (T,), without padding; words with a space between. Raises IndexError for ids out of range."""
        numbers = np.asarray(ids if hasattr(ids, "__len__") else list(ids))
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise TypeError(
                f"decode expects whole numbers in one row, got {numbers.dtype} of shape {numbers.shape}; for several "
                "rows write [vocabulary.decode(row) for row in ids]"
            )
        wrong = (numbers < 0) | (numbers >= len(self))
        if wrong.any():
            place = int(np.argmax(wrong))
            raise IndexError(f"id {numbers[place]} at place {place} is not one of 0 to {len(self) - 1}")
        tokens = (self.tokens[i] for i in numbers)
        return ("" if self.by == "characters" else " ").join(t for t in tokens if t != self.padding)

    def config(self) -> dict[str, Any]:
        """All that makes this vocabulary, in a form that JSON can keep: Vocabulary(**config) is an equal one."""
        special = sum(token is not None for token in (self.padding, self.unknown))
        return {"tokens": self.tokens[special:], "padding": self.padding, "unknown": self.unknown, "by": self.by}
