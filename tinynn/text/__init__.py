"""Text on its way into a network: words and characters as numbers, counts, windows, and the way back."""

from tinynn.text.vocabulary import FILTERS, Vocabulary, words

__all__ = ["FILTERS", "Vocabulary", "words"]
