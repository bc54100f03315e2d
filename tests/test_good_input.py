"""What must simply work, with the right numbers: every kind of array that people have."""

import warnings

import numpy as np
import pandas as pd
import pytest

import tinynn as nn
from tinynn import Sequential
from tinynn import layers as L

N, FEATURES = 40, 4
rng = np.random.default_rng(2)
X = rng.integers(0, 9, (N, FEATURES)).astype("float32")
Y = (X.sum(axis=1) > 16).astype("int64")


def trained(x, y, **fit):
    """The losses of a small training run from fixed weights."""
    nn.set_seed(11)
    model = Sequential([L.Dense(6, activation="tanh", input_shape=(FEATURES,)), L.Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, batch_size=16, epochs=3, verbose=0, **fit)
    return model, history.history["loss"]


def memory_map(tmp_path):
    array = np.memmap(tmp_path / "x.bin", "float32", "w+", shape=X.shape)
    array[:] = X
    array.flush()
    return np.memmap(tmp_path / "x.bin", "float32", "r", shape=X.shape)


def read_only():
    array = X.copy()
    array.flags.writeable = False
    return array


KINDS = {
    "lists": lambda _: X.tolist(),
    "float16": lambda _: X.astype("float16"),
    "float64": lambda _: X.astype("float64"),
    "int8": lambda _: X.astype("int8"),
    "uint8": lambda _: X.astype("uint8"),
    "int64": lambda _: X.astype("int64"),
    "read-only": lambda _: read_only(),
    "Fortran order": lambda _: np.asfortranarray(X),
    "strided": lambda _: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "negative strides": lambda _: X[::-1, ::-1].copy()[::-1, ::-1],
    "big-endian": lambda _: X.astype(">f4"),
    "memory map": memory_map,
    "data frame": lambda _: pd.DataFrame(X, columns=list("abcd")),
    "integer frame": lambda _: pd.DataFrame(X.astype(int), columns=list("abcd")),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_kind_of_array_gives_the_same_numbers(kind, shuffle, tmp_path):
    x = KINDS[kind](tmp_path)
    model, losses = trained(x, Y, shuffle=shuffle)
    reference, expected = trained(X, Y, shuffle=shuffle)
    assert losses == expected
    assert np.array_equal(model.predict(x), reference.predict(X))
    assert model.evaluate(x, Y, verbose=0) == reference.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize(
    "labels",
    [Y.tolist(), Y.astype(bool), Y.astype("float64"), Y[:, None], Y.astype(">i2"), pd.Series(Y), Y.astype("u1")],
)
def test_every_kind_of_labels(labels):
    assert trained(X, labels)[1] == trained(X, Y)[1]


def test_bool_features():
    assert trained(X > 4, Y)[1] == trained((X > 4).astype("float32"), Y)[1]


def test_inputs_are_never_written_to():
    x, y = X.copy(), Y.copy()
    trained(x, y)
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_epochs_zero():
    nn.set_seed(1)
    model = Sequential([L.Dense(2, activation="softmax", input_shape=(FEATURES,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_weights()
    history = model.fit(X, Y, epochs=0)
    assert history.history == {}
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_initial_epoch_counts_on():
    model, _ = trained(X, Y)
    history = model.fit(X, Y, initial_epoch=3, epochs=5, verbose=0)
    assert history.epoch == [3, 4]
    assert len(history.history["loss"]) == 2


def test_a_class_weight_that_leaves_a_class_out_gives_it_weight_one():
    a = trained(X, Y, class_weight={1: 3.0})[1]
    b = trained(X, Y, sample_weight=np.where(Y == 1, 3.0, 1.0))[1]
    assert a == b
    assert a != trained(X, Y)[1]


def test_class_and_sample_weights_multiply_and_divide_by_n():
    nn.set_seed(4)
    model = Sequential([L.Dense(1, input_shape=(FEATURES,))])
    model.compile("sgd", "mse")
    weights = rng.random(N).astype("float32")
    error = (model.predict(X)[:, 0] - Y) ** 2
    assert model.evaluate(X, Y, sample_weight=weights, verbose=0) == pytest.approx((weights * error).mean(), rel=1e-4)


def test_one_row_and_a_batch_larger_than_the_data():
    trained(X[:1], Y[:1])
    nn.set_seed(1)
    model = Sequential([L.Dense(2, activation="softmax", input_shape=(FEATURES,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert len(model.fit(X, Y, batch_size=1000, epochs=1, verbose=0).history["loss"]) == 1


def test_validation_split_takes_the_last_rows_and_warns_when_sorted():
    order = np.argsort(Y, kind="stable")
    with pytest.warns(UserWarning, match="look sorted"):
        trained(X[order], Y[order], validation_split=0.2)
    model, _ = trained(X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = model.fit(X, Y, validation_split=0.25, epochs=1, verbose=0)
    assert history.history["val_loss"][0] == pytest.approx(model.evaluate(X[30:], Y[30:], verbose=0)[0], rel=1e-5)


def test_validation_freq():
    model, _ = trained(X, Y)
    history = model.fit(X, Y, validation_data=(X, Y), validation_freq=2, epochs=5, verbose=0).history
    assert len(history["loss"]) == 5
    assert len(history["val_loss"]) == 2
    history = model.fit(X, Y, validation_data=(X, Y), validation_freq=[1, 4, 5], epochs=5, verbose=0).history
    assert len(history["val_loss"]) == 3


def test_steps_per_epoch():
    model, _ = trained(X, Y)
    before = model.optimizer.iterations
    model.fit(X, Y, batch_size=10, steps_per_epoch=2, epochs=3, verbose=0)
    assert model.optimizer.iterations == before + 6
