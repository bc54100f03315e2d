"""Data sets for text and time series: what the published files hold, and what is said of files that are not those."""

import hashlib
import lzma
import re

import numpy as np
import pytest

from tinynn.datasets import (
    air_pollution,
    airline_passengers,
    california_housing,
    daily_temperatures,
    imdb,
    movie_snippets,
    names,
    republic,
    sentences,
    shakespeare,
    sms_spam,
    sunspots,
    textfile,
)
from tinynn.text import words


@pytest.fixture
def published(data_folder, monkeypatch):
    """A function that skips the test where a folder is not among the data sets."""

    def need(folder):
        if not (data_folder / folder).is_dir():
            pytest.skip(f"no {folder} in {data_folder}")
        monkeypatch.setenv("TINYNN_DATA", str(data_folder))

    return need


# -- the published files ----------------------------------------------------------------------------------------------


def test_shakespeare(published):
    published("text")
    text = shakespeare.load_data()
    assert (len(text), len(set(text)), text.count("\n")) == (1_115_394, 65, 40_000)
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    train, held_out = shakespeare.load_data(split=0.1)
    assert train + held_out == text
    assert len(train) == 1_003_854


def test_republic(published):
    published("text")
    text = republic.load_data()
    assert text.startswith("THE REPUBLIC\n\nBy Plato\n")
    assert text.endswith("the pilgrimage of a thousand years which we have\nbeen describing.\n")
    assert "Gutenberg" not in text
    dialogue = republic.load_data(introduction=False)
    assert dialogue.startswith("BOOK I.\n\nI went down yesterday to the Piraeus with Glaucon the son of Ariston,")
    assert text.endswith(dialogue[8:])
    assert all(f"\nBOOK {number}.\n" in "\n" + dialogue for number in ("I", "IV", "X"))


def test_imdb_texts(published):
    published("sentiment")
    (train, y_train), (test, y_test) = imdb.load_texts()
    assert (len(train), y_train.sum(), len(test), y_test.sum()) == (2499, 1249, 2499, 1249)
    assert train[0].startswith("Story of a man who has unnatural feelings for a pig.")
    assert y_train[:4].tolist() == [0, 1, 0, 1]
    assert not any("<br />" in text or "\t" in text for text in train + test)


def test_imdb_sequences(published):
    published("sentiment")
    index = imdb.get_word_index()
    assert list(index)[:5] == ["the", "and", "a", "of", "to"]
    assert sorted(index.values()) == list(range(1, len(index) + 1))
    (x, y), (x_test, _) = imdb.load_data(num_words=1000)
    assert (len(x), len(x_test), y.sum()) == (2499, 2499, 1249)
    assert {row[0] for row in x + x_test} == {1}
    assert {i for row in x + x_test for i in row} == {1, 2, *range(4, 1000)}
    # one review, word by word, as Keras's documentation decodes it
    texts = imdb.load_texts()[0][0]
    order = np.arange(2499)
    np.random.RandomState(113).shuffle(order)
    word_of = {i + 3: word for word, i in index.items()} | {2: "?"}
    expected = [w if index[w] + 3 < 1000 else "?" for w in words(texts[order[0]])]
    assert [word_of[i] for i in x[0][1:]] == expected


def test_imdb_options_mean_what_they_mean_in_keras(monkeypatch):
    two = (["a a b", "a c c c c"], np.array([0, 1])), (["b d c", "a"], np.array([1, 0]))
    monkeypatch.setattr(imdb, "load_texts", lambda folder=None: two)
    assert imdb.get_word_index() == {"c": 1, "a": 2, "b": 3}
    load = imdb.load_data

    def rows(**options):
        (x, y), (x_test, y_test) = load(**options)
        return sorted(x), x_test[int(np.argmax(y_test))]

    assert rows() == ([[1, 5, 4, 4, 4, 4], [1, 5, 5, 6]], [1, 6, 4])
    assert rows(num_words=6)[0] == [[1, 5, 4, 4, 4, 4], [1, 5, 5, 2]]
    assert rows(num_words=6, oov_char=None)[0] == [[1, 5, 4, 4, 4, 4], [1, 5, 5]]
    assert rows(start_char=None, index_from=0)[0] == [[2, 1, 1, 1, 1], [2, 2, 3]]
    assert rows(skip_top=5)[0] == [[2, 5, 2, 2, 2, 2], [2, 5, 5, 6]]
    assert rows(maxlen=5)[0] == [[1, 5, 5, 6]]
    with pytest.raises(ValueError, match="maxlen=2"):
        load(maxlen=2)


def test_sentences(published):
    published("sentiment/uci_sentences")
    texts, labels = sentences.load_data()
    assert (len(texts), labels.sum()) == (3000, 1500)
    assert (texts[2], labels[2]) == ("Great for the jawbone.", 1)
    texts, labels = sentences.load_data("yelp")
    assert (len(texts), labels.sum(), texts[0]) == (1000, 500, "Wow... Loved this place.")
    assert sentences.load_data(["imdb", "yelp"])[0][1000:] == texts
    with pytest.raises(ValueError, match="amazon, imdb, yelp; got 'ebay'"):
        sentences.load_data("ebay")


def test_names(published):
    published("names")
    given_names = names.load_data()
    assert len(given_names) == 32_033
    assert given_names[:3] == ["emma", "olivia", "ava"]
    assert all(re.fullmatch("[a-z]{2,15}", name) for name in given_names)
    assert len(given_names) - len(set(given_names)) == 2539


@pytest.mark.parametrize(
    ("module", "months", "first", "last", "unit"),
    [
        (airline_passengers, 144, ("1949-01", 112), ("1960-12", 432), "M"),
        (daily_temperatures, 3650, ("1981-01-01", 20.7), ("1990-12-31", 13.0), "D"),
        (sunspots, 2820, ("1749-01", 58.0), ("1983-12", 33.4), "M"),
    ],
)
def test_series(module, months, first, last, unit, published):
    published("timeseries")
    times, values = module.load_data()
    assert times.shape == values.shape == (months,)
    assert (times.dtype, values.dtype) == (np.dtype(f"datetime64[{unit}]"), np.float32)
    assert (str(times[0]), values[0]) == (first[0], np.float32(first[1]))
    assert (str(times[-1]), values[-1]) == (last[0], np.float32(last[1]))
    assert (np.diff(times.astype(int)) >= 1).all()


def test_air_pollution(published):
    published("timeseries")
    times, values = air_pollution.load_data()
    assert (times.shape, values.shape, len(air_pollution.columns)) == ((43_824,), (43_824, 8), 8)
    assert (np.diff(times) == np.timedelta64(1, "h")).all()
    assert np.isnan(values).sum(axis=0).tolist() == [2067, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(values[24], np.float32([129, -16, -4, 1020, 2, 1.79, 0, 0]))
    assert str(times[24]) == "2010-01-02T00"
    winds = dict(zip(air_pollution.wind_directions, np.bincount(values[:, 4].astype(int)), strict=True))
    assert winds == {"NE": 4997, "NW": 14150, "SE": 15290, "cv": 9387}
    filled = air_pollution.load_data(gaps="last")[1]
    assert not np.isnan(filled).any()
    np.testing.assert_array_equal(filled[:, 1:], values[:, 1:])


def test_california_housing(published):
    published("tabular")
    x, y = california_housing.load_data()
    assert (x.shape, y.shape, len(california_housing.columns)) == ((20_640, 9), (20_640,), 9)
    assert (x.dtype, y.dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(x[0], np.float32([-122.23, 37.88, 41, 880, 129, 322, 126, 8.3252, 3]))
    assert (y[0], y.max(), (y == california_housing.HIGHEST).sum()) == (452_600, 500_001, 965)
    assert np.isnan(x).sum(axis=0).tolist() == [0, 0, 0, 0, 207, 0, 0, 0, 0]
    places = dict(zip(california_housing.ocean_proximities, np.bincount(x[:, 8].astype(int)), strict=True))
    assert places == {"<1H OCEAN": 9136, "INLAND": 6551, "ISLAND": 5, "NEAR BAY": 2290, "NEAR OCEAN": 2658}


def test_gaps_are_filled_as_asked():
    nan = np.nan
    values = np.array([nan, nan, 3, nan, nan, 9, nan], np.float32)
    assert air_pollution.filled(values, "last").tolist() == [3, 3, 3, 3, 3, 9, 9]
    assert air_pollution.filled(values, "linear").tolist() == [3, 3, 3, 5, 7, 9, 9]
    assert air_pollution.filled(values, 0).tolist() == [0, 0, 3, 0, 0, 9, 0]
    assert air_pollution.filled(values, "mark") is values
    with pytest.raises(ValueError, match="'mark', 'last', 'linear', or a number"):
        air_pollution.load_data(gaps="drop")


# -- sets that have no published checksum here ------------------------------------------------------------------------


def test_sms_spam(tmp_path):
    path = tmp_path / "SMSSpamCollection"
    lines = ["spam\tWIN a prize"] * 747 + ['ham\tsee "you'] * 4827
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    texts, labels = sms_spam.load_data(tmp_path)
    assert (len(texts), labels.sum(), texts[0], labels[0], texts[-1]) == (5574, 747, "WIN a prize", 1, 'see "you')
    path.write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(ValueError, match="has 4827 messages and 746 of spam; expected 4827 and 747"):
        sms_spam.load_data(tmp_path)
    path.write_text("label\ttext\n" + "\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: the label is 'label'"):
        sms_spam.load_data(tmp_path)
    path.write_text("ham without a tab", encoding="utf-8")
    with pytest.raises(ValueError, match="line 1, has 1 fields; expected 2"):
        sms_spam.load_data(tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"SMSSpamCollection.tsv is missing \(nor is SMSSpamCollection there\)"):
        sms_spam.load_data(tmp_path)


def test_movie_snippets(tmp_path):
    for name, word in (("pos", "good"), ("neg", "bad")):
        (tmp_path / f"rt-polarity.{name}").write_text(f"{word} film .\x85 \n" * 5331, encoding="utf-8")
    texts, labels = movie_snippets.load_data(tmp_path)
    assert (len(texts), labels.sum()) == (10_662, 5331)
    assert texts[:2] == ["bad film .", "good film ."]
    assert labels[:4].tolist() == [0, 1, 0, 1]
    (tmp_path / "rt-polarity.pos").write_text("good\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has 1 lines; expected 5331"):
        movie_snippets.load_data(tmp_path)
    (tmp_path / "rt-polarity.pos").write_bytes(b"caf\xe9\n" * 5331)
    with pytest.raises(ValueError, match="is not text in UTF-8: .* at byte 3"):
        movie_snippets.load_data(tmp_path)


# -- files that are missing or damaged --------------------------------------------------------------------------------

FILES = {
    shakespeare: ("text", "tinyshakespeare.txt"),
    republic: ("text", "republic_gutenberg1497.txt"),
    names: ("names", "makemore_names.txt"),
    imdb: ("sentiment", "imdb_subset_train.tsv.xz"),
    sms_spam: ("sentiment", "SMSSpamCollection.tsv"),
    movie_snippets: ("sentiment", "rt-polarity.neg"),
    sentences: ("sentiment/uci_sentences", "amazon_cells_labelled.txt"),
    airline_passengers: ("timeseries", "airline-passengers.csv"),
    daily_temperatures: ("timeseries", "daily-min-temperatures.csv"),
    sunspots: ("timeseries", "monthly-sunspots.csv"),
    air_pollution: ("timeseries", "pollution.csv"),
    california_housing: ("tabular", "california_housing.csv"),
}


@pytest.mark.parametrize("module", FILES, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_missing_or_damaged_file_is_named(module, tmp_path, monkeypatch):
    subfolder, name = FILES[module]
    monkeypatch.delenv("TINYNN_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=rf"{name} is not part .*TINYNN_DATA is not set.*folder `{subfolder}`"):
        module.load_data()
    monkeypatch.setenv("TINYNN_DATA", str(tmp_path))
    path = tmp_path / subfolder / name
    with pytest.raises(FileNotFoundError, match=f"{re.escape(str(path))} is missing.*published at"):
        module.load_data()
    path.parent.mkdir(parents=True)
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=re.escape(str(path))):
        module.load_data()
    path.rmdir()
    for content in (b"", b"<!DOCTYPE html>\n", b"\xff\xfe\x00", lzma.compress(b"text")[:-5]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=re.escape(str(path))):
            module.load_data()
        with pytest.raises(ValueError, match=re.escape(str(path))):
            module.load_data(folder=path.parent)


def test_another_checksum_is_shown(tmp_path):
    (tmp_path / "tinyshakespeare.txt").write_text("To be", encoding="utf-8")
    found = hashlib.sha256(b"To be").hexdigest()[:16]
    with pytest.raises(ValueError, match=rf"SHA-256 is {found}\.\.\., expected 86c4e6aa9db7c042\.\.\.; it is damaged"):
        shakespeare.load_data(folder=tmp_path)


def test_the_right_checksum_is_read(tmp_path, monkeypatch):
    content = "To be,\r\nor ñot".encode()
    monkeypatch.setattr(shakespeare, "SHA256", hashlib.sha256(content).hexdigest())
    (tmp_path / "tinyshakespeare.txt").write_bytes(content)
    assert shakespeare.load_data(folder=tmp_path) == "To be,\r\nor ñot"
    assert shakespeare.load_data(0.5, tmp_path) == ("To be,\r", "\nor ñot")


@pytest.mark.parametrize("split", [0.0, 1.0, -0.1, True, float("nan")])
def test_a_split_is_a_share(split):
    with pytest.raises(ValueError, match="0 < split < 1"):
        textfile.held_out("text", split)
