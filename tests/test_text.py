"""nn.text: vocabularies, Keras's Tokenizer, counts, n-gram models, skip-grams, and drawing the next token."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as nn
from tinynn.compat.keras.preprocessing.text import one_hot as hashed_words
from tinynn.compat.keras.preprocessing.text import text_to_word_sequence
from tinynn.text import (
    NGram,
    Tokenizer,
    Vocabulary,
    bag_of_words,
    hashing_trick,
    make_sampling_table,
    ngrams,
    one_hot,
    sample,
    skipgrams,
    tokenizer_from_json,
    words,
)

TEXTS = ["The cat sat on the mat.", "The dog sat!", "A cat & a dog"]

# -- words and vocabularies -------------------------------------------------------------------------------------------


def test_words_are_split_as_keras_splits_them():
    assert words("It's 9 o'clock,\tisn't\nit?") == ["it's", "9", "o'clock", "isn't", "it"]
    assert words("A-b C", filters="", lower=False) == ["A-b", "C"]
    assert words("a,b;c", filters=";", split=",") == ["a", "b", "c"]
    assert words(" ... ") == []
    assert text_to_word_sequence is words
    with pytest.raises(TypeError, match=r"\[words\(t\) for t in texts\]"):
        words(["a", "b"])


def test_padding_is_0_and_unknown_1():
    vocabulary = Vocabulary.from_words(TEXTS)
    assert vocabulary.tokens == ["[PAD]", "[UNK]", "the", "cat", "sat", "dog", "a", "on", "mat"]
    assert (vocabulary.padding, vocabulary.unknown, vocabulary.by) == ("[PAD]", "[UNK]", "words")
    assert vocabulary.encode("The COW sat.").tolist() == [2, 1, 4]
    assert vocabulary.decode([0, 0, 2, 1, 4]) == "the [UNK] sat"
    assert Vocabulary.from_words(TEXTS, padding=None).encode("the cow").tolist() == [1, 0]
    assert Vocabulary.from_words(TEXTS, padding=None, unknown=None).encode("the mat").tolist() == [0, 6]
    letters = Vocabulary.from_characters("hello", padding="_", unknown="?")
    assert letters.tokens == ["_", "?", "e", "h", "l", "o"]
    assert letters.decode(letters.encode("hole!")) == "hole?"


def test_frequent_words_come_first_and_rare_ones_go():
    assert Vocabulary.from_words(TEXTS, max_tokens=5).tokens[2:] == ["the", "cat", "sat"]
    assert Vocabulary.from_words(TEXTS, min_count=2).tokens[2:] == ["the", "cat", "sat", "dog", "a"]
    assert Vocabulary.from_words(TEXTS, max_tokens=3, min_count=2).tokens[2:] == ["the"]
    assert Vocabulary.from_words("one text alone").tokens[2:] == ["one", "text", "alone"]
    assert Vocabulary.from_words([["New York", "Rome"], ["Rome"]]).tokens[2:] == ["Rome", "New York"]


def test_a_text_is_taken_by_characters_or_by_words():
    assert Vocabulary("abc").by == "characters"
    assert Vocabulary(["ab", "c"]).by == "words"
    assert Vocabulary("abc", by="words").encode("c a").tolist() == [2, 0]
    assert Vocabulary("abc").encode(["c", "a"]).tolist() == [2, 0]
    assert Vocabulary("abc").encode("").shape == (0,)
    assert "a" in Vocabulary("abc")
    assert "d" not in Vocabulary("abc")


@given(st.text(min_size=1))
def test_characters_come_back(text):
    vocabulary = Vocabulary.from_characters(text)
    ids = vocabulary.encode(text)
    assert ids.dtype == np.int32
    assert vocabulary.decode(ids) == text
    assert sorted(set(ids.tolist())) == list(range(len(vocabulary)))


@pytest.mark.parametrize("vocabulary", [Vocabulary.from_words(TEXTS), Vocabulary.from_characters("añ\n", "", "?")])
def test_a_vocabulary_goes_through_json(vocabulary):
    again = Vocabulary(**json.loads(json.dumps(vocabulary.config())))
    assert again == vocabulary
    assert (again.tokens, again.ids) == (vocabulary.tokens, vocabulary.ids)
    assert again != Vocabulary("xyz")


def test_an_unknown_token_is_named_with_its_place_and_the_remedy():
    with pytest.raises(LookupError, match=r"token 'ñ' at place 4 .* 5 characters: .*unknown='\[UNK\]'"):
        Vocabulary("espax").encode("españa")
    with pytest.raises(LookupError, match="token 'cow' at place 1 .* words"):
        Vocabulary.from_words(TEXTS, unknown=None).encode("the cow")
    with pytest.raises(IndexError, match="id 9 at place 1 is not one of 0 to 8"):
        Vocabulary.from_words(TEXTS).decode([1, 9])
    with pytest.raises(IndexError, match="id -1 at place 0"):
        Vocabulary("abc").decode(np.array([-1]))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Vocabulary(["a", "b", "a"]), ValueError, "'a' stands twice in the vocabulary, as 0 and as 2"),
        (lambda: Vocabulary(["a"], padding="a"), ValueError, "'a' stands twice"),
        (lambda: Vocabulary(["a", 3]), TypeError, "token 1 is 3"),
        (lambda: Vocabulary("ab", by="lines"), ValueError, "by is 'characters' or 'words'; got 'lines'"),
        (lambda: Vocabulary.from_words(TEXTS, max_tokens=2), ValueError, "no room"),
        (lambda: Vocabulary("ab").decode([[0, 1], [1, 0]]), TypeError, r"decode\(row\) for row in ids"),
        (lambda: Vocabulary("ab").decode([0.5]), TypeError, "whole numbers"),
    ],
)
def test_what_is_no_vocabulary_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


# -- bags and columns -------------------------------------------------------------------------------------------------

PETS = ("perro", "gato", "mi", "tu", "simpatico", "ladrador", "es", "era")


def test_the_bag_of_the_course():
    np.testing.assert_array_equal(bag_of_words("mi perro es ladrador", PETS), [1, 0, 1, 0, 0, 1, 1, 0])
    bags = bag_of_words(["Mi perro, mi gato", "vaca", ["tu", "tu"]], Vocabulary(PETS), binary=False)
    np.testing.assert_array_equal(bags, [[1, 1, 2, 0, 0, 0, 0, 0], [0] * 8, [0, 0, 0, 2, 0, 0, 0, 0]])
    assert bags.dtype == np.float32
    known = Vocabulary(PETS, unknown="?")
    np.testing.assert_array_equal(bag_of_words("vaca vaca perro", known, binary=False)[:2], [2, 1])
    assert bag_of_words([], PETS).shape == (0, 8)


def test_one_column_for_each_id():
    np.testing.assert_array_equal(one_hot([[2, 0], [1, 1]], 3), np.eye(3)[[[2, 0], [1, 1]]])
    assert one_hot(np.array([[2]]), 3).shape == (1, 1, 3), "unlike to_categorical no axis is dropped"
    assert one_hot([], 3).shape == (0, 3)
    assert one_hot(2, 3, "float64").tolist() == [0, 0, 1]
    for wrong in ([3], [-1]):
        with pytest.raises(IndexError, match=f"id {wrong[0]} is not one of 0 to 2"):
            one_hot(wrong, 3)
    with pytest.raises(TypeError, match=r"vocabulary.encode\(text\)"):
        one_hot(["a"], 3)


# -- Keras's Tokenizer; the numbers are Keras's -----------------------------------------------------------------------


def test_word_index_and_sequences():
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.word_index == {"the": 1, "cat": 2, "sat": 3, "dog": 4, "a": 5, "on": 6, "mat": 7}
    assert list(tokenizer.word_counts.items())[:3] == [("the", 3), ("cat", 2), ("sat", 2)]
    assert (tokenizer.document_count, tokenizer.word_docs["the"], tokenizer.index_docs[2]) == (3, 2, 2)
    assert tokenizer.texts_to_sequences(["The cow sat", ["CAT", "sat"], ""]) == [[1, 3], [2, 3], []]
    assert tokenizer.sequences_to_texts([[1, 2, 99], []]) == ["the cat", ""]
    assert tokenizer.index_word[7] == "mat"


def test_num_words_and_oov_token():
    tokenizer = Tokenizer(num_words=4, oov_token="<OOV>")
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.word_index["<OOV>"] == 1
    assert len(tokenizer.word_index) == 8, "the index has all words, num_words or not"
    assert tokenizer.texts_to_sequences(["the cat sat on a cow"]) == [[2, 3, 1, 1, 1, 1]]
    assert tokenizer.sequences_to_texts([[2, 7, 50]]) == ["the <OOV> <OOV>"]
    tokenizer = Tokenizer(num_words=3)
    tokenizer.fit_on_texts(TEXTS)
    assert tokenizer.texts_to_sequences(["the cat sat on a cow"]) == [[1, 2]]


def test_characters_as_tokens():
    tokenizer = Tokenizer(char_level=True)
    tokenizer.fit_on_texts(["Hello"])
    assert tokenizer.word_index == {"l": 1, "h": 2, "e": 3, "o": 4}
    assert tokenizer.texts_to_sequences(["hole"]) == [[2, 4, 1, 3]]


def test_matrices():
    tokenizer = Tokenizer()
    tokenizer.fit_on_texts(["a b b", "a c"])
    assert tokenizer.word_index == {"a": 1, "b": 2, "c": 3}
    rows = {mode: tokenizer.texts_to_matrix(["b b a", "d"], mode) for mode in ("binary", "count", "freq", "tfidf")}
    np.testing.assert_array_equal(rows["binary"], [[0, 1, 1, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(rows["count"], [[0, 1, 2, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(rows["freq"], [[0, 1 / 3, 2 / 3, 0], [0, 0, 0, 0]])
    a, b = math.log(1 + 2 / 3), (1 + math.log(2)) * math.log(1 + 2 / 2)
    np.testing.assert_allclose(rows["tfidf"], [[0, a, b, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(Tokenizer(num_words=3).sequences_to_matrix([[2, 5, 2]], "count"), [[0, 0, 2]])


def test_a_tokenizer_goes_through_json():
    tokenizer = Tokenizer(num_words=5, oov_token="?", lower=False)
    tokenizer.fit_on_texts(TEXTS)
    again = tokenizer_from_json(tokenizer.to_json())
    assert vars(again) == vars(tokenizer)
    np.testing.assert_array_equal(again.texts_to_matrix(TEXTS, "tfidf"), tokenizer.texts_to_matrix(TEXTS, "tfidf"))


def test_what_a_tokenizer_refuses():
    with pytest.raises(TypeError, match=r"write \[text\]"):
        Tokenizer().fit_on_texts("one text")
    with pytest.raises(ValueError, match="binary, count, freq, tfidf; got 'mean'"):
        Tokenizer(num_words=4).sequences_to_matrix([[1]], "mean")
    with pytest.raises(ValueError, match="fit_on_texts"):
        Tokenizer().sequences_to_matrix([[1]])
    with pytest.raises(ValueError, match="tfidf"):
        Tokenizer(num_words=4).sequences_to_matrix([[1]], "tfidf")


def test_words_by_hashing_are_the_same_in_every_run():
    assert hashing_trick("The cat and the dog", 50) == hashed_words("the cat and the dog", 50) == [43, 32, 14, 43, 2]
    assert hashing_trick("a bb ccc", 3, hash_function=len) == [2, 1, 2]
    with pytest.raises(ValueError, match="at least 2"):
        hashing_trick("a", 1)
    with pytest.raises(ValueError, match="'sha'"):
        hashing_trick("a", 9, hash_function="sha")


# -- n-grams ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 5))
def test_ngrams_are_counted(row, n):
    counts = ngrams(row, n)
    assert sum(counts.values()) == max(0, len(row) - n + 1)
    for gram in counts:
        assert counts[gram] == sum(tuple(row[i : i + n]) == gram for i in range(len(row)))


def naive(row, n, smoothing, size, context):
    """p(x | context) by the formula, counting anew for every length."""
    p = np.full(size, 1 / size)
    for k in range(min(n - 1, len(context)) + 1):
        c = tuple(context[len(context) - k :])
        follow = np.array([sum(tuple(row[i : i + k + 1]) == (*c, x) for i in range(len(row) - k)) for x in range(size)])
        if follow.sum():
            p = (follow + smoothing * p) / (follow.sum() + smoothing)
    return p


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=20),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.5, 3.0]),
    st.lists(st.integers(0, 3), max_size=5),
)
def test_an_ngram_model_counts(row, n, smoothing, context):
    model = NGram(n, smoothing).fit(row, size=4)
    p = model.probabilities(context)
    np.testing.assert_allclose(p, naive(row, n, smoothing, 4, context), atol=1e-12)
    np.testing.assert_allclose(p.sum(), 1)


def test_nats_are_those_of_the_probabilities():
    random = np.random.default_rng(0)
    row, held_out = random.integers(0, 5, 300), random.integers(0, 5, 50)
    model = NGram(3, 2.0).fit(row, size=6)
    p = [model.probabilities(held_out[:t])[held_out[t]] for t in range(50)]
    assert model.nats(held_out) == pytest.approx(-np.mean(np.log(p)), rel=1e-12)
    assert NGram(1, 0).fit([0, 1]).nats([0, 1, 1]) == pytest.approx(math.log(2))
    assert NGram(1, 0).fit([0, 1], size=3).nats([0, 2]) == math.inf
    assert NGram(2).fit([0, 1, 0, 1, 0, 1]).nats([0, 1]) < NGram(1).fit([0, 1, 0, 1, 0, 1]).nats([0, 1])


def test_an_ngram_model_writes():
    vocabulary = Vocabulary.from_characters("abc")
    model = NGram(2, 0).fit(vocabulary.encode("abcabcabca"))
    assert vocabulary.decode(model.sample(7, vocabulary.encode("b"))) == "cabcabc"
    assert model.sample(0).shape == (0,)
    one, other = NGram(1).fit([0, 1, 2]).sample(50, rng=3), NGram(1).fit([0, 1, 2]).sample(50, rng=3)
    np.testing.assert_array_equal(one, other)
    assert set(one) == {0, 1, 2}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: NGram(0), ValueError, "n is at least 1"),
        (lambda: NGram(2, -1), ValueError, "smoothing"),
        (lambda: NGram(2, math.nan), ValueError, "smoothing"),
        (lambda: NGram(2).probabilities([0]), RuntimeError, r"fit\(ids\)"),
        (lambda: NGram(2).fit([]), ValueError, "no ids to count"),
        (lambda: NGram(2).fit([0, 1]).nats([]), ValueError, "no ids"),
        (lambda: NGram(2).fit([0, 3], size=3), IndexError, "id 3 at place 1 is not one of 0 to 2"),
        (lambda: NGram(2).fit([0, 1]).nats([0, 2]), IndexError, "id 2 at place 1"),
        (lambda: NGram(2).fit([0, 1]).probabilities([-1]), IndexError, "id -1"),
        (lambda: NGram(2).fit("ab"), TypeError, "whole numbers"),
        (lambda: NGram(2).fit([[0, 1]]), TypeError, r"\(1, 2\)"),
        (lambda: ngrams("ab", 0), ValueError, "at least 1"),
    ],
)
def test_what_an_ngram_model_refuses(call, error, message):
    with pytest.raises(error, match=message):
        call()


# -- drawing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.25, 1.0, 3.0])
def test_draws_have_the_frequencies_of_the_formula(temperature):
    p = np.array([0.5, 0.0, 0.3, 0.2])
    q = np.where(p > 0, p ** (1 / temperature), 0)
    drawn = sample(np.tile(p, (20_000, 1)), temperature, rng=5)
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 20_000, q / q.sum(), atol=0.015)


def test_the_cold_limit_and_one_draw():
    assert sample([0.2, 0.5, 0.3], 0) == 1
    assert sample([0.2, 0.5, 0.3], 1e-9) == 1
    assert isinstance(sample([0.2, 0.8]), int)
    assert sample([0, 0, 7.0]) == 2, "a sum of 1 is not asked for"
    assert sample(np.eye(3, dtype=np.float32)[[2, 0]]).tolist() == [2, 0]
    assert sample([1e-300, 0.0], 0.1) == 0, "powers do not vanish"


def test_draws_repeat_with_the_seed():
    p = np.full(1000, 1e-3)
    nn.set_seed(5)
    first = [sample(p) for _ in range(5)]
    assert len(set(first)) > 1
    nn.set_seed(5)
    assert [sample(p) for _ in range(5)] == first
    assert sample(p, rng=7) == sample(p, rng=7)
    generator = np.random.default_rng(7)
    assert sample(p, rng=generator) == sample(p, rng=7) != sample(p, rng=generator)


@pytest.mark.parametrize("p", [[-1.0, 2.0], [0.0, 0.0], [math.nan, 1], [math.inf, 1], [], 0.5, np.ones((2, 2, 2))])
def test_what_are_no_probabilities(p):
    with pytest.raises(ValueError, match="probabilities"):
        sample(p)


@pytest.mark.parametrize("temperature", [-1.0, math.nan])
def test_what_is_no_temperature(temperature):
    with pytest.raises(ValueError, match="temperature"):
        sample([1.0], temperature)


# -- skip-grams -------------------------------------------------------------------------------------------------------


def near(sequence, window_size):
    """All couples, by loops; 0 is no word."""
    return [
        [a, b]
        for i, a in enumerate(sequence)
        for j, b in enumerate(sequence)
        if i != j and abs(i - j) <= window_size and a and b
    ]


@given(st.lists(st.integers(0, 6), max_size=12), st.integers(1, 5))
def test_true_couples_come_in_the_order_of_the_text(sequence, window_size):
    couples, labels = skipgrams(sequence, 7, window_size, negative_samples=0, shuffle=False)
    assert couples.tolist() == near(sequence, window_size)
    assert labels.tolist() == [1] * len(couples)


def test_random_couples():
    sequence = np.random.default_rng(0).integers(1, 50, 400)
    couples, labels = skipgrams(sequence, 50, 2, negative_samples=2.5, seed=1)
    assert len(couples) == len(labels) == len(near(sequence, 2)) * 3.5
    true, random = couples[labels == 1], couples[labels == 0]
    assert sorted(true.tolist()) == sorted(near(sequence, 2))
    assert set(random[:, 1]) == set(range(1, 50)), "any word but 0"
    ours, theirs = np.bincount(random[:, 0]), np.bincount(true[:, 0])
    assert ((2 * theirs <= ours) & (ours <= 3 * theirs)).all(), "first words as often as in true couples, over again"
    assert 0 < labels[:100].mean() < 1, "shuffled"
    again = skipgrams(sequence, 50, 2, negative_samples=2.5, seed=1)
    np.testing.assert_array_equal(again[0], couples)
    assert not np.array_equal(skipgrams(sequence, 50, 2, negative_samples=2.5, seed=2)[0], couples)
    np.testing.assert_array_equal(
        skipgrams([1, 2], 3, 1, 1.0, shuffle=False, categorical=True)[1][[0, -1]], np.eye(2)[::-1]
    )


def test_frequent_words_are_looked_at_less_often():
    table = make_sampling_table(100)
    # Keras's numbers
    np.testing.assert_allclose(
        table[:4], [0.0031522478751942504, 0.0031522478751942504, 0.0054759726939176976, 0.007415564097374219]
    )
    assert make_sampling_table(10**6)[-1] == 1
    couples, _ = skipgrams([1, 2] * 2000, 3, 1, 0, sampling_table=[1, 0.1, 0.5], seed=0)
    share = np.bincount(couples[:, 0]) / 4000
    np.testing.assert_allclose(share, [0, 0.1, 0.5], atol=0.05)


def test_what_skipgrams_refuse():
    with pytest.raises(IndexError, match="id 7 is not one of 0 to 6"):
        skipgrams([1, 7], 7)
    with pytest.raises(IndexError, match="id -1"):
        skipgrams([-1], 7)
    with pytest.raises(ValueError, match="window_size"):
        skipgrams([1], 7, window_size=0)
    with pytest.raises(ValueError, match="negative_samples"):
        skipgrams([1], 7, negative_samples=-1)
    with pytest.raises(TypeError, match="call it for each text"):
        skipgrams([[1, 2]], 7)
    with pytest.raises(ValueError, match="size"):
        make_sampling_table(0)


def test_text_is_there_without_being_imported():
    assert nn.text.Vocabulary is Vocabulary
