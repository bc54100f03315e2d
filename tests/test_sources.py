"""Batches in the place of arrays: Sources, generators, iterables and indexed batches in fit, evaluate and predict."""

import re
import threading
import traceback

import numpy as np
import pytest

import tinynn as nn
from tests.test_resuming import Stop, stopping_at
from tests.test_saving import X, Y, everything, stack
from tinynn import Input, Model, Sequential, callbacks
from tinynn import layers as L
from tinynn.data import Dataset, TimeseriesGenerator, Windows
from tinynn.data.source import Field, Source, Spec

BATCH = 10


class Own:
    """A Source with a shuffle of its own; notes what was asked of it."""

    def __init__(self, x=X, y=Y, size=BATCH, known=True, fail_at=None, seed=5):
        self.x, self.y, self.size, self.fail_at, self.seed = x, y, size, fail_at, seed
        self.spec = Spec(Field(x.shape[1:], x.dtype), Field(y.shape[1:], y.dtype))
        self.rows = len(x) if known else None
        self.steps = -(-len(x) // size) if known else None
        self.asked, self.open = [], 0

    def epoch(self, number, first=0):
        self.asked.append((number, first))
        self.open += 1
        order = np.random.default_rng([self.seed, number]).permutation(len(self.x))
        noise = np.random.default_rng([self.seed, number, 1]).standard_normal(self.x.shape).astype("float32")
        try:
            for k in range(first, -(-len(self.x) // self.size)):
                if (number, k) == self.fail_at:
                    raise ZeroDivisionError("on purpose")
                rows = order[k * self.size : (k + 1) * self.size]
                yield self.x[rows] + 0.1 * noise[rows], self.y[rows], None
        finally:
            self.open -= 1


def batches(x=X, y=Y, size=BATCH):
    for start in range(0, len(x), size):
        yield x[start : start + size], y[start : start + size]


def endless():
    while True:
        yield from batches()


class Sequence:
    """Batches by number, as Keras's PyDataset."""

    def __init__(self):
        self.ends = 0

    def __len__(self):
        return 5

    def __getitem__(self, k):
        rows = slice(k * BATCH, (k + 1) * BATCH)
        return X[rows], Y[rows]

    def on_epoch_end(self):
        self.ends += 1


class Loader:
    """Begins anew with every pass, as PyTorch's DataLoader; batches are lists."""

    def __iter__(self):
        return map(list, batches())


def in_order(**options):
    model = stack()
    return model, model.fit(X, Y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, **options).history


# -- the same numbers as arrays ----------------------------------------------------------------------------------------

KINDS = {
    "source": lambda: Dataset(X, Y).batch(BATCH),
    "threads": lambda: Dataset(X, Y).batch(BATCH).map(lambda x, y: (x, y), workers=2).prefetch(2),
    "generator": endless,
    "iterable": Loader,
    "by number": Sequence,
    "of unknown length": lambda: Dataset.from_generator(batches, batched=True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_train_as_their_arrays_do(kind):
    expected, history = in_order(validation_data=(X, Y))
    model = stack()
    options = {"steps_per_epoch": 5, "validation_steps": 5} if kind == "generator" else {}
    made = model.fit(KINDS[kind](), epochs=2, shuffle=False, validation_data=KINDS[kind](), verbose=0, **options)
    names = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert {name: pytest.approx(made.history[name], rel=1e-6) for name in names} == history
    assert everything(model)[0] == everything(expected)[0]
    ends = {"steps": 5} if kind == "generator" else {}
    assert model.evaluate(KINDS[kind](), verbose=0, **ends) == expected.evaluate(X, Y, batch_size=BATCH, verbose=0)
    np.testing.assert_array_equal(model.predict(KINDS[kind](), **ends), expected.predict(X))


def test_several_inputs_and_outputs_in_batches():
    def made():
        nn.set_seed(2)
        a, b = Input((4,), name="a"), Input((2,), name="b")
        h = L.Concatenate()([a, b])
        model = Model([a, b], [L.Dense(1, name="u")(h), L.Dense(3, activation="softmax", name="v")(h)])
        model.compile("sgd", ["mse", "sparse_categorical_crossentropy"], metrics={"v": ["accuracy"]})
        return model

    a, b, u, w = X[:, :4], X[:, 4:], X.sum(1), np.linspace(0, 1, len(X))

    def by_name():
        for i in range(0, len(X), 16):
            rows = slice(i, i + 16)
            yield {"b": b[rows], "a": a[rows]}, {"v": Y[rows], "u": u[rows]}, {"u": w[rows]}

    arrays, generator, dataset = made(), made(), made()
    options = {"epochs": 1, "verbose": 0}
    history = arrays.fit([a, b], [u, Y], 16, sample_weight={"u": w}, shuffle=False, **options).history
    assert generator.fit(by_name(), **options).history == history
    assert everything(generator)[0] == everything(arrays)[0]
    plain = dataset.fit(Dataset((a, b), (u, Y)).batch(16), **options).history
    assert plain == made().fit([a, b], [u, Y], 16, shuffle=False, **options).history
    first, second = dataset.predict(Dataset((a, b)).batch(7))
    np.testing.assert_array_equal(first, dataset.predict([a, b])[0])
    np.testing.assert_array_equal(second, dataset.predict([a, b])[1])


def test_class_weights_count_in_batches():
    weights = {0: 2.0, 2: 0.5}
    one, history = in_order(class_weight=weights)
    other = stack()
    assert other.fit(Dataset(X, Y).batch(BATCH), epochs=2, class_weight=weights, verbose=0).history == history
    assert everything(one)[0] == everything(other)[0]


def test_every_epoch_has_a_number_of_its_own():
    source = Own()
    model = stack()
    model.fit(source, epochs=2, verbose=0)
    model.fit(source, epochs=1, steps_per_epoch=2, verbose=0)
    model.evaluate(source, verbose=0)
    assert source.asked == [(0, 0), (1, 0), (2, 0), (0, 0)] and source.open == 0
    assert isinstance(source, Source)


def test_a_source_shorter_than_the_epoch_begins_anew():
    source = Own()
    model = stack()
    model.fit(source, epochs=2, steps_per_epoch=12, verbose=0)
    assert source.asked == [(number, 0) for number in range(6)]
    assert model.optimizer.iterations == 24


def test_by_number_batches_are_shuffled_and_told_of_the_end():
    seen = []

    class Noted(Sequence):
        def __getitem__(self, k):
            seen.append(k)
            return super().__getitem__(k)

    sequence = Noted()
    stack().fit(sequence, epochs=3, verbose=0)
    orders = [tuple(seen[k : k + 5]) for k in (1, 6, 11)]  # after one look ahead
    assert all(sorted(order) == list(range(5)) for order in orders) and len(set(orders)) > 1
    stack().fit(sequence, epochs=1, steps_per_epoch=3, verbose=0)
    assert sequence.ends == 4


def test_a_generator_goes_on_where_it_was():
    taken = []

    def noted():
        for k, batch in enumerate(endless()):
            taken.append(k)
            yield batch

    generator = noted()
    model = stack()
    model.fit(generator, steps_per_epoch=3, epochs=2, verbose=0)
    assert taken == list(range(6))
    model.fit(generator, steps_per_epoch=2, epochs=1, verbose=0)
    assert taken == list(range(8))
    next(generator)  # it is the user's, and still open


def test_epochs_of_unknown_length_show_their_number(capsys):
    model = stack()
    model.fit(batches(), verbose=2)
    assert "5/5 - " in capsys.readouterr().out
    history = model.fit(Dataset.from_generator(batches, batched=True), epochs=2, verbose=1).params
    assert history["steps"] is None and capsys.readouterr().out.count("5/5 - ") == 2


def test_windows_are_a_source():
    series = np.arange(40.0, dtype="float32")
    windows = Windows(np.stack([series[i : i + 3] for i in range(30)]), series[:30], 8, shuffle=True, seed=3)
    assert isinstance(windows, Source) and (windows.rows, windows.steps) == (30, 4)
    assert windows.spec == Spec(Field((3,), np.dtype("float32")), Field((), np.dtype("float32")))
    whole, again = list(windows.epoch(2)), list(windows.epoch(2, 1))
    assert sorted(np.concatenate([y for _, y, _ in whole])) == list(range(30))
    for (x, y, _), (p, q, _) in zip(whole[1:], again, strict=True):
        np.testing.assert_array_equal(x, p)
        np.testing.assert_array_equal(y, q)
    assert not np.array_equal(whole[0][1], next(iter(windows.epoch(3)))[1])
    old = TimeseriesGenerator(series[:, None], series, length=3, batch_size=8)
    assert [x.shape for x, _, _ in old.epoch(0)] == [a.shape for a, _ in old]


def test_a_model_without_shapes_is_built_by_what_a_source_tells():
    model = Sequential([L.Dense(4, activation="relu"), L.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="3 outputs"):
        model.fit(Own(y=np.zeros((len(X), 4, 2), "float32")), verbose=0)
    assert not model.built
    model.fit(Own(), verbose=0)
    assert model.built_for == (6,)


# -- resumed -----------------------------------------------------------------------------------------------------------


def run(make, folder=None, stop=None, save_freq=1, **options):
    model = stack()
    many = [callbacks.BackupAndRestore(folder, save_freq=save_freq)] if folder is not None else []
    many.append(stopping_at(stop or 10**6))
    history = model.fit(make(), epochs=3, callbacks=many, verbose=0, **options).history
    return model, history


RESUMED = {
    "own shuffle": (Own, {}),
    "unknown length": (lambda: Own(known=False), {}),
    "longer than a pass": (Own, {"steps_per_epoch": 8}),
    "shorter than a pass": (Own, {"steps_per_epoch": 3}),
    "threads": (lambda: Dataset(X, Y).shuffle(seed=4).batch(BATCH).map(jitter, workers=2).prefetch(3), {}),
    "generator": (endless, {"steps_per_epoch": 4}),
    "by number": (Sequence, {}),
}


def jitter(x, y, rng):
    return x + rng.standard_normal(x.shape).astype(x.dtype), y


@pytest.mark.parametrize("kind", RESUMED)
@pytest.mark.parametrize("save_freq", ["epoch", 1, 3])
def test_runs_over_sources_are_resumed_byte_for_byte(tmp_path, kind, save_freq):
    make, options = RESUMED[kind]
    whole, expected = run(make, **options)
    for stop in (1, 3, 5, 7):
        folder = tmp_path / str(stop)
        with pytest.raises(Stop):
            run(make, folder, stop, save_freq, **options)
        again, history = run(make, folder, None, save_freq, **options)
        assert history == expected
        assert everything(again) == everything(whole)


def test_a_validation_generator_goes_on_too(tmp_path):
    def noisy():
        rng = np.random.default_rng(1)
        while True:
            yield X + rng.standard_normal(X.shape).astype("float32"), Y

    def once(folder=None, stop=None):
        return run(Own, folder, stop, validation_data=noisy(), validation_steps=2)[1]

    expected = once()
    assert len(set(expected["val_loss"])) == 3
    with pytest.raises(Stop):
        once(tmp_path, 8)
    assert once(tmp_path) == expected


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def changing(at, change):
    """Endless batches, of which one is changed."""
    for k, (x, y) in enumerate(endless()):
        yield change(x, y) if k == at else (x, y)


BAD_BATCHES = {
    "shape": (
        lambda x, y: (x[:, :4], y),
        ValueError,
        "layer 'dense' expects batch 3's x of shape (None, 6), got (10, 4)",
    ),
    "rows": (lambda x, y: (x, y[:4]), ValueError, "batch 3's y expects one row for each of the 10 rows of x, got 4"),
    "label": (lambda x, y: (x, y + 1), ValueError, "batch 3's y (output of 'dense_1')"),
    "text": (lambda x, y: (x.astype(str), y), TypeError, "batch 3's x expects numbers"),
    "no labels": (lambda x, y: x, ValueError, "batch 3's y is missing"),
    "none": (lambda x, y: None, ValueError, "got None"),
    "too much": (lambda x, y: (x, y, y, y), ValueError, "a batch is x, (x, y) or (x, y, sample_weight), got 4 things"),
    "weights": (lambda x, y: (x, y, np.ones(3)), ValueError, "batch 3's sample_weight expects shape (10,)"),
    "empty": (lambda x, y: (x[:0], y[:0]), ValueError, "batch 3's x is empty"),
}


@pytest.mark.parametrize("change, kind, words", BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_bad_batch_is_refused_and_the_weights_are_those_of_the_step_before(change, kind, words):
    model, good = stack(), stack()
    with pytest.raises(kind) as caught:
        model.fit(changing(3, change), steps_per_epoch=10, verbose=0)
    assert words in str(caught.value)
    good.fit(endless(), steps_per_epoch=3, verbose=0)
    assert everything(model)[0] == everything(good)[0]
    model.fit(Own(), verbose=0)


def test_an_error_of_a_generator_comes_with_its_own_traceback():
    def failing():
        yield from batches()
        raise ZeroDivisionError("on purpose")

    model, good = stack(), stack()
    with pytest.raises(ZeroDivisionError) as caught:
        model.fit(failing(), verbose=0)
    assert "failing" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    good.fit(batches(), verbose=0)
    assert everything(model)[0] == everything(good)[0]


def test_an_error_of_a_worker_leaves_no_thread():
    def broken(x, y):
        raise ZeroDivisionError("on purpose")

    def bad(x, y):
        return (x, y) if (x[0] != X[20]).any() else broken(x, y)

    before = threading.active_count()
    source = Dataset(X, Y).batch(BATCH).map(bad, workers=2).prefetch(2)
    with pytest.raises(ZeroDivisionError) as caught:
        stack().fit(source, verbose=0)
    assert "broken" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert threading.active_count() == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_source_is_closed_whatever_stops_the_run(error):
    def fail(batch, logs):
        if batch == 1:
            raise error

    source = Own()
    with pytest.raises(error):
        stack().fit(source, callbacks=callbacks.LambdaCallback(on_train_batch_end=fail), verbose=0)
    assert source.open == 0
    with pytest.raises(ZeroDivisionError):
        stack().fit(Own(fail_at=(1, 2)), epochs=2, verbose=0)


REFUSED = {
    "y beside it": (lambda m: m.fit(Own(), Y), "leave y out"),
    "batch_size": (lambda m: m.fit(Own(), batch_size=3), "batch_size does not go with data in batches (Own)"),
    "sample_weight": (lambda m: m.fit(Own(), sample_weight=np.ones(48)), "third part of each batch"),
    "validation_split": (lambda m: m.fit(Own(), validation_split=0.5), "Dataset.split"),
    "a function": (lambda m: m.fit(batches), "write batches(), or data.Dataset.from_generator(batches, batched=True)"),
    "read twice": (lambda m: m.fit(batches(), epochs=2), "say steps_per_epoch=..."),
    "validated twice": (lambda m: m.fit(Own(), epochs=2, validation_data=batches()), "say validation_steps=..."),
    "nothing": (lambda m: m.fit(iter(())), "this generator gives nothing"),
    "nothing by number": (lambda m: m.fit(Loaded([])), "x is empty"),
    "shape": (lambda m: m.fit(Own(X[:, :4])), "layer 'dense' expects x of shape (None, 6)"),
    "labels": (lambda m: m.fit(Own(y=np.eye(3)[Y])), "sparse_categorical_crossentropy expects y"),
    "text": (lambda m: m.fit(Own(X.astype(str))), "x expects numbers"),
    "without labels": (lambda m: m.fit(Dataset(X).batch(4)), "y is missing: the batches of Dataset must be (x, y)"),
    "validation": (lambda m: m.fit(X, Y, validation_data=Own(X[:, :4])), "validation x of shape (None, 6)"),
    "validation arrays": (lambda m: m.fit(Own(), validation_data=X), "validation_data expects (x, y)"),
    "class_weight": (lambda m: m.fit(Own(), class_weight=[1, 2]), "class_weight expects a dict"),
    "evaluate": (lambda m: m.evaluate(Own(), batch_size=3), "batch_size does not go"),
    "steps": (lambda m: m.evaluate(Own(), steps=0), "steps expects an integer >= 1"),
    "predict": (lambda m: m.predict(Own(X[:, :4])), "layer 'dense' expects x of shape (None, 6)"),
}


class Loaded:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, k):
        return self.items[k]


@pytest.mark.parametrize("call, words", REFUSED.values(), ids=REFUSED)
def test_refused_before_the_first_step(call, words):
    model = stack()
    before = everything(model)
    with pytest.raises((ValueError, TypeError)) as caught:
        call(model)
    assert words in str(caught.value)
    assert everything(model) == before


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m: m.fit(batches(), steps_per_epoch=9, verbose=0), "data ended after 5 batches, but there shall be 9"),
        (lambda m: m.fit(Short(), verbose=0), "data ended after 5 batches, but there shall be 7 batches in each pass"),
        (lambda m: m.fit(Own(), validation_data=batches(), validation_steps=9, verbose=0), "validation data ended"),
        (lambda m: m.evaluate(batches(), steps=9, verbose=0), "data ended after 5 batches"),
    ],
)
def test_data_that_end_early_say_so(call, words):
    model = stack()
    with pytest.raises(ValueError, match=re.escape(words)):
        call(model)
    assert all(np.isfinite(w).all() for w in model.get_weights())


class Short(Own):
    """Promises more than it has."""

    def __init__(self):
        super().__init__()
        self.steps = 7


@pytest.mark.parametrize("make", [Own, endless], ids=["source", "generator"])
def test_numbers_that_are_not_finite_are_named_with_their_batch(make, monkeypatch):
    bad = X.copy()
    bad[25, 2] = np.nan
    if make is Own:
        source, place = Own(bad), r"batch \d.*input of layer 'dense'.*\(the first is row \d of the batch\)"
    else:
        source = changing(7, lambda x, y: (np.where(x == x[3, 2], np.nan, x), y))
        place = r"batch 7.*input of layer 'dense'.*\(the first is row 3 of the batch\)"
    model = stack()
    with pytest.raises(ValueError, match=place):
        model.fit(source, steps_per_epoch=None if make is Own else 10, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())
    if make is Own:
        assert source.open == 0


def test_rows_in_unusual_containers_are_still_rows():
    from collections import deque

    model = Sequential([L.Dense(1, input_shape=(1,))])
    model.compile("sgd", "mse")
    model.fit(range(8), range(8), verbose=0)
    assert model.predict(range(8)).shape == (8, 1)
    assert model.predict(deque([1.0, 2.0])).shape == (2, 1)
