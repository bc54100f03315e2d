"""pad_sequences and windows over a series: Keras's numbers, straightforward loops, and what fit makes of them."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import tinynn as nn
from tinynn import Sequential
from tinynn import layers as L
from tinynn.compat.keras.preprocessing import sequence as keras_sequence
from tinynn.compat.keras.preprocessing.sequence import TimeseriesGenerator
from tinynn.data import Windows
from tinynn.utils import pad_sequences, timeseries_dataset_from_array

# -- pad_sequences ----------------------------------------------------------------------------------------------------

SEQUENCES = [[1], [2, 3], [4, 5, 6]]
KERAS = [
    ({}, [[0, 0, 1], [0, 2, 3], [4, 5, 6]]),
    ({"value": -1}, [[-1, -1, 1], [-1, 2, 3], [4, 5, 6]]),
    ({"padding": "post"}, [[1, 0, 0], [2, 3, 0], [4, 5, 6]]),
    ({"maxlen": 2}, [[0, 1], [2, 3], [5, 6]]),
    ({"maxlen": 2, "truncating": "post"}, [[0, 1], [2, 3], [4, 5]]),
    ({"maxlen": 4, "padding": "post", "truncating": "post"}, [[1, 0, 0, 0], [2, 3, 0, 0], [4, 5, 6, 0]]),
]


@pytest.mark.parametrize(("options", "expected"), KERAS)
def test_padding_has_keras_numbers(options, expected):
    padded = pad_sequences(SEQUENCES, **options)
    np.testing.assert_array_equal(padded, expected)
    assert padded.dtype == np.int32


@given(
    st.lists(st.lists(st.integers(-9, 9), max_size=6), min_size=1, max_size=5),
    st.none() | st.integers(1, 8),
    st.sampled_from(["pre", "post"]),
    st.sampled_from(["pre", "post"]),
)
def test_padding_is_what_lists_say(sequences, maxlen, padding, truncating):
    size = max(map(len, sequences)) if maxlen is None else maxlen
    rows = []
    for s in sequences:
        s = s[max(0, len(s) - size) :] if truncating == "pre" else s[:size]
        fill = [7] * (size - len(s))
        rows.append(fill + s if padding == "pre" else s + fill)
    padded = pad_sequences(sequences, maxlen, "float64", padding, truncating, 7)
    np.testing.assert_array_equal(padded, np.array(rows, "float64").reshape(len(sequences), size))
    assert padded.dtype == np.float64


def test_vectors_texts_and_arrays_are_padded():
    vectors = pad_sequences([[[1, 2]], [], [[3, 4], [5, 6]]], dtype="float32")
    np.testing.assert_array_equal(vectors, [[[0, 0], [1, 2]], [[0, 0], [0, 0]], [[3, 4], [5, 6]]])
    texts = pad_sequences([["a"], ["b", "c"]], dtype=object, value="-")
    assert texts.tolist() == [["-", "a"], ["b", "c"]]
    np.testing.assert_array_equal(pad_sequences(np.arange(4).reshape(2, 2), 3), [[0, 0, 1], [0, 2, 3]])
    np.testing.assert_array_equal(pad_sequences((np.arange(3), range(1)), padding="post"), [[0, 1, 2], [0, 0, 0]])
    assert pad_sequences([], maxlen=3).shape == (0, 3)
    assert pad_sequences([[], []]).shape == (2, 0)
    assert pad_sequences([[1.7, 2.2]], dtype="int32").tolist() == [[1, 2]], "as in Keras: cut, not rounded"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: pad_sequences([[1]], padding="left"), "padding is 'pre'.*'left'"),
        (lambda: pad_sequences([[1]], truncating="end"), "truncating is 'pre'.*'end'"),
        (lambda: pad_sequences([[1]], maxlen=0), "maxlen is a positive"),
        (lambda: pad_sequences([]), "no sequences"),
        (lambda: pad_sequences([1, 2, 3]), r"element 0 is 1; .*\[sequence\]"),
        (lambda: pad_sequences(5), "list of sequences; got int"),
        (lambda: pad_sequences("text"), "got str"),
        (lambda: pad_sequences(iter([[1]])), "list of sequences"),
        (lambda: pad_sequences([[1]], value="-"), "dtype=object"),
        (lambda: pad_sequences([[[1, 2]], [[1, 2, 3]]]), r"sequence 1 has elements of shape \(3,\)"),
    ],
)
def test_what_cannot_be_padded(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- timeseries_dataset_from_array ------------------------------------------------------------------------------------


def loop(data, targets, length, stride=1, rate=1, start=None, end=None):
    """Keras's arithmetic, one window at a time."""
    start, end = start or 0, len(data) if end is None else end
    count = end - start - (length - 1) * rate
    if targets is not None:
        count = min(count, len(targets))
    x = [[data[start + i + k * rate] for k in range(length)] for i in range(0, count, stride)]
    return x, None if targets is None else [targets[start + i] for i in range(0, count, stride)]


def test_the_examples_of_keras():
    dataset = timeseries_dataset_from_array(np.arange(100), None, 10, sequence_stride=3, sampling_rate=2, end_index=99)
    x, y = dataset.arrays()
    assert y is None
    np.testing.assert_array_equal(x[0], [0, 2, 4, 6, 8, 10, 12, 14, 16, 18])
    np.testing.assert_array_equal(x[1], [3, 5, 7, 9, 11, 13, 15, 17, 19, 21])
    np.testing.assert_array_equal(x[-1], [78, 80, 82, 84, 86, 88, 90, 92, 94, 96])
    data = np.arange(15)
    dataset = timeseries_dataset_from_array(data[:-10], data[10:], sequence_length=3)
    ((x, y),) = dataset
    np.testing.assert_array_equal(x, [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    np.testing.assert_array_equal(y, [10, 11, 12])


@given(st.data(), st.integers(2, 30), st.sampled_from([(), (1,), (2, 3)]))
def test_windows_are_those_of_a_loop(draw, total, features):
    number = lambda low, high: draw.draw(st.integers(low, high))  # noqa: E731
    data = np.random.default_rng(total).normal(size=(total, *features))
    length, rate, stride = number(1, 6), number(1, min(3, total - 1)), number(1, min(4, total - 1))
    start = number(0, total - 1)
    end = draw.draw(st.none() | st.integers(start + 1, total))
    targets = draw.draw(st.sampled_from([None, -data, np.arange(total)]))
    expected, aims = loop(data, targets, length, stride, rate, start, end)
    assume(expected)
    batch_size = number(1, 5)
    dataset = timeseries_dataset_from_array(
        data, targets, length, stride, rate, batch_size=batch_size, start_index=start, end_index=end
    )
    x, y = dataset.arrays()
    np.testing.assert_array_equal(x, expected)
    assert np.shares_memory(x, data), "a view"
    batches = list(dataset)
    assert len(batches) == len(dataset) == -(-len(x) // batch_size)
    inputs = batches if targets is None else [b[0] for b in batches]
    np.testing.assert_array_equal(np.concatenate(inputs), expected)
    assert all(b.flags.c_contiguous and b.flags.writeable and not np.shares_memory(b, data) for b in inputs)
    if targets is not None:
        np.testing.assert_array_equal(y, aims)
        np.testing.assert_array_equal(np.concatenate([b[1] for b in batches]), aims)


def test_fewer_targets_than_windows():
    x, y = timeseries_dataset_from_array(np.arange(10), np.arange(4), 3).arrays()
    np.testing.assert_array_equal(x[:, 0], y)
    assert len(x) == 4
    x, y = timeseries_dataset_from_array(np.arange(10), np.arange(6), 3, start_index=2, sequence_stride=2).arrays()
    np.testing.assert_array_equal(x[:, 0], y)
    assert y.tolist() == [2, 4]


def test_shuffling_gives_every_window_once_and_each_pass_its_order():
    series = np.arange(50)
    dataset = timeseries_dataset_from_array(series, series, 4, batch_size=8, shuffle=True, seed=3)
    first, second = (np.concatenate([y for _, y in dataset]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(47))
    assert first.tolist() != second.tolist() != sorted(second)
    for x, y in dataset:
        np.testing.assert_array_equal(x, y[:, None] + np.arange(4))
    again = timeseries_dataset_from_array(series, series, 4, batch_size=8, shuffle=True, seed=3)
    np.testing.assert_array_equal(np.concatenate([y for _, y in again]), first)
    np.testing.assert_array_equal(dataset.arrays()[1], np.arange(47), "arrays() keeps the order of time")
    orders = []
    for _ in range(2):
        nn.set_seed(8)
        orders.append(next(iter(timeseries_dataset_from_array(series, series, 4, shuffle=True)))[1].tolist())
    assert orders[0] == orders[1]


def test_single_windows_and_single_batches():
    dataset = timeseries_dataset_from_array(np.arange(5), np.arange(5), 2, batch_size=None)
    assert len(dataset) == 4
    assert [(x.tolist(), int(y)) for x, y in dataset] == [([0, 1], 0), ([1, 2], 1), ([2, 3], 2), ([3, 4], 3)]
    dataset = timeseries_dataset_from_array(np.arange(5), None, 2, batch_size=3)
    assert dataset[1].tolist() == dataset[-1].tolist() == [[3, 4]]
    with pytest.raises(IndexError, match="batch 2 is not one of 2"):
        dataset[2]
    assert repr(dataset) == "<4 windows (2,) in 2 batches>"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_length": 0}, "sequence_length is a whole number, at least 1; got 0"),
        ({"sequence_stride": 0}, "sequence_stride"),
        ({"sequence_stride": 10}, "sequence_stride is a whole number, from 1 to 9"),
        ({"sampling_rate": 0}, "sampling_rate"),
        ({"sampling_rate": 10}, "sampling_rate"),
        ({"start_index": -1}, "start_index"),
        ({"start_index": 10}, "start_index is a whole number, from 0 to 9"),
        ({"end_index": 11}, "end_index"),
        ({"end_index": 0}, "end_index"),
        ({"start_index": 5, "end_index": 5}, "end_index is a whole number, from 6 to 10"),
        ({"batch_size": 0}, "batch_size"),
        ({"sequence_length": 11}, "a window of 11 rows, 1 apart, spans 11 rows; data has 10 from 0 to 10"),
        ({"sequence_length": 5, "sampling_rate": 3}, "a window of 5 rows, 3 apart, spans 13 rows"),
        ({"start_index": 8}, "data has 2 from 8 to 10"),
        ({"targets": np.arange(3), "start_index": 3}, "targets needs a row for each window, from row 3 on"),
        ({"data": 5.0}, "a single number"),
    ],
)
def test_windows_that_cannot_be(options, message):
    options = {"data": np.arange(10), "targets": None, "sequence_length": 3} | options
    with pytest.raises(ValueError, match=message):
        timeseries_dataset_from_array(**options)


def test_windows_over_what_holds_no_numbers():
    with pytest.raises(TypeError, match="data expects numbers"):
        timeseries_dataset_from_array(["a", "b"], None, 1)
    with pytest.raises(TypeError, match="targets expects numbers"):
        timeseries_dataset_from_array([1, 2], ["a", "b"], 1)


# -- old Keras's generator --------------------------------------------------------------------------------------------


def test_the_old_generator_has_keras_numbers():
    data = np.arange(50)[:, None]
    generator = TimeseriesGenerator(data, data, length=10, sampling_rate=2, batch_size=2)
    assert len(generator) == 20
    x, y = generator[0]
    np.testing.assert_array_equal(x[:, :, 0], [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]])
    np.testing.assert_array_equal(y, [[10], [11]])
    series = np.arange(10)
    x, y = TimeseriesGenerator(series, -series, 3, stride=2, start_index=1, end_index=8, reverse=True)[0]
    np.testing.assert_array_equal(x, [[3, 2, 1], [5, 4, 3], [7, 6, 5]])
    np.testing.assert_array_equal(y, [-4, -6, -8])
    assert keras_sequence.pad_sequences is pad_sequences


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 10}, "length is a whole number, from 1 to 9"),
        ({"targets": np.arange(9)}, r"got \(10,\) and \(9,\)"),
        ({"start_index": 7}, "start_index is a whole number, from 0 to 6"),
        ({"end_index": 10}, "end_index"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_what_the_old_generator_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        TimeseriesGenerator(**{"data": np.arange(10), "targets": np.arange(10), "length": 3} | options)


# -- in fit, evaluate, predict ----------------------------------------------------------------------------------------


def small_model():
    nn.set_seed(2)
    model = Sequential([L.Flatten(input_shape=(8, 1)), L.Dense(4, activation="tanh"), L.Dense(1)])
    model.compile("adam", "mse")
    return model


@pytest.fixture
def wave():
    series = np.sin(np.arange(300) / 5)[:, None].astype("float32")
    return timeseries_dataset_from_array(series[:-8], series[8:], 8, batch_size=50, shuffle=True)


def test_a_model_learns_from_windows_as_from_their_arrays(wave):
    one, other = small_model(), small_model()
    x, y = wave.arrays()
    history = one.fit(wave, epochs=2, verbose=0, validation_data=wave)
    expected = other.fit(x.copy(), y, batch_size=50, epochs=2, verbose=0, validation_data=(x, y))
    assert history.history == expected.history
    assert history.params["batch_size"] == 50
    assert history.params["steps"] == len(wave) == 6
    assert one.evaluate(wave, verbose=0) == other.evaluate(x, y, batch_size=50, verbose=0)
    np.testing.assert_array_equal(one.predict(wave), other.predict(x.copy(), batch_size=50))


def test_windows_decide_whether_they_are_shuffled(wave):
    in_time = Windows(wave.inputs, wave.targets, 50)
    x, y = in_time.arrays()
    one, other = small_model(), small_model()
    history = one.fit(in_time, epochs=2, verbose=0)
    assert history.history == other.fit(x, y, batch_size=50, epochs=2, shuffle=False, verbose=0).history
    shuffled = small_model().fit(wave, epochs=2, verbose=0)
    assert shuffled.history["loss"] != history.history["loss"]


def test_what_fit_says_of_windows(wave):
    model = small_model()
    with pytest.raises(ValueError, match="leave y out"):
        model.fit(wave, wave.targets)
    with pytest.raises(ValueError, match="leave y out"):
        model.evaluate(wave, wave.targets)
    bare = Windows(wave.inputs, None)
    with pytest.raises(ValueError, match="y is missing"):
        model.fit(bare)
    with pytest.raises(ValueError, match="batch_size"):
        model.fit(wave, batch_size=0)
    assert model.predict(bare).shape == (285, 1)
