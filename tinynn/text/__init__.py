"""Text on its way into a network: words and characters as numbers, counts, windows, and the way back."""

from tinynn.text.ngrams import NGram, ngrams
from tinynn.text.sampling import sample
from tinynn.text.skipgrams import make_sampling_table, skipgrams
from tinynn.text.tokenizer import Tokenizer, hashing_trick, tokenizer_from_json
from tinynn.text.vectors import bag_of_words, one_hot
from tinynn.text.vocabulary import FILTERS, Vocabulary, words

__all__ = [
    "FILTERS",
    "NGram",
    "Tokenizer",
    "Vocabulary",
    "bag_of_words",
    "hashing_trick",
    "make_sampling_table",
    "ngrams",
    "one_hot",
    "sample",
    "skipgrams",
    "tokenizer_from_json",
    "words",
]
