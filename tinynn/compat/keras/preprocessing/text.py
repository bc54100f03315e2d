"""keras.preprocessing.text, where one_hot gives the words of a text numbers by hashing."""

from tinynn.text import Tokenizer, hashing_trick, tokenizer_from_json
from tinynn.text import hashing_trick as one_hot
from tinynn.text import words as text_to_word_sequence

__all__ = ["Tokenizer", "hashing_trick", "one_hot", "text_to_word_sequence", "tokenizer_from_json"]
