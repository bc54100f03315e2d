"""Masks on their way through layers, wrappers, losses and metrics; the other side is a loop over unpadded rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tinynn import Graph, Input, Model, Sequential, gradcheck, ops
from tinynn import layers as L

N, T, F = 5, 6, 3
LENGTHS = np.array([6, 3, 1, 4, 2])
MASK = np.arange(T) < LENGTHS[:, None]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def padded(value: float = 0.0) -> np.ndarray:
    x = numbers(N, T, F)
    x[~MASK] = value
    return x


def called(layer: Any, x: np.ndarray, mask: Any = None) -> Any:
    graph = Graph()
    return layer(graph.tensor(x), mask=mask) if mask is not None else layer(graph.tensor(x))


# -- Masking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_masking_marks_steps_of_one_value(value: float) -> None:
    x = padded(value)
    x[0, 2, 1] = value  # one feature alone is no padding
    y = called(L.Masking(value), x)
    np.testing.assert_array_equal(y.mask, MASK)
    np.testing.assert_array_equal(y.numpy(), np.where(MASK[..., None], x, 0))
    front = called(L.Masking(value), x[:, ::-1].copy())
    np.testing.assert_array_equal(front.mask, MASK[:, ::-1])


def test_masking_passes_the_gradient_of_steps_that_count() -> None:
    graph = Graph()
    x = graph.tensor(padded(-1.0), requires_grad=True)
    graph.backward(ops.sum(L.Masking(-1.0)(x) * 2.0))
    np.testing.assert_array_equal(x.grad, np.where(MASK[..., None], 2, 0) * np.ones_like(x.data))


def test_masking_adds_to_a_mask_that_is_there() -> None:
    given = np.ones((N, T), bool)
    given[0, 0] = False
    y = called(L.Masking(), padded(), mask=given)
    np.testing.assert_array_equal(y.mask, MASK & given)


def test_masking_refuses_what_has_no_steps() -> None:
    with pytest.raises(ValueError, match=r"x\[\.\.\., None\]"):
        L.Masking().ensure_built((5,))
    with pytest.raises(TypeError, match="mask_value"):
        L.Masking("zero")  # type: ignore[arg-type]
    layer = L.Masking(-1.0, input_shape=(T, F), name="m")
    assert L.Masking(**layer.config()).config() == layer.config()


# -- on the way --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        L.Dense(4),
        L.Dense(4, activation="softmax"),
        L.Dropout(0.5),
        L.Activation("relu"),
        L.LayerNormalization(),
        L.BatchNormalization(),
        L.SpatialDropout1D(0.5),
        L.LSTM(4, return_sequences=True),
        L.GRU(4, return_sequences=True),
        L.RNN(L.SimpleRNNCell(4), return_sequences=True),
        L.Bidirectional(L.LSTM(4, return_sequences=True)),
        L.TimeDistributed(L.Dense(4)),
        L.TimeDistributed(L.LayerNormalization()),
        L.PReLU(shared_axes=[1]),
        Sequential([L.Dense(4), L.SimpleRNN(2, return_sequences=True)]),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_layers_over_steps_hand_the_mask_on(layer: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(called(layer, padded(), MASK).mask, MASK)


@pytest.mark.parametrize(
    "layer", [L.LSTM(4), L.GRU(4), L.SimpleRNN(4), L.RNN(L.LSTMCell(4)), L.Bidirectional(L.GRU(4))], ids=repr
)
def test_the_last_output_has_no_mask(layer: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert called(layer, padded(), MASK).mask is None


def test_states_get_no_mask_even_where_their_shape_would_fit() -> None:
    y, h, c = called(L.LSTM(T, return_sequences=True, return_state=True), padded(), MASK)
    np.testing.assert_array_equal(y.mask, MASK)
    assert h.mask is None
    assert c.mask is None
    a, b = called(L.Bidirectional(L.GRU(4, return_sequences=True), merge_mode=None), padded(), MASK)
    np.testing.assert_array_equal(a.mask, MASK)
    np.testing.assert_array_equal(b.mask, MASK)


def test_outputs_that_come_backwards_have_their_mask_turned_around() -> None:
    layer = L.SimpleRNN(4, return_sequences=True, go_backwards=True)
    np.testing.assert_array_equal(called(layer, padded(), MASK).mask, MASK[:, ::-1])


def test_a_layer_that_cannot_keep_the_mask_says_so_once() -> None:
    model = Sequential([L.Masking(input_shape=(T, F)), L.Flatten(), L.Dense(1)])
    with pytest.warns(UserWarning, match="layer 'flatten' drops the mask"):
        model.predict(padded())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(padded())


def test_a_mask_of_words_inside_sentences_goes_to_the_layer_inside() -> None:
    """(N, T, W, F): N texts of T sentences of W words."""
    x, words = numbers(2, 3, 4, F), np.ones((2, 3, 4), bool)
    words[0, 1, 2:] = False
    words[1, 2] = False  # a sentence of padding
    lstm = L.LSTM(5)
    y = called(L.TimeDistributed(lstm), x, words)
    np.testing.assert_array_equal(y.mask, words.any(axis=-1))
    for i in range(2):
        one = called(lstm, x[i], words[i]).numpy()
        np.testing.assert_allclose(y.numpy()[i], one, rtol=1e-5, atol=1e-6)
    inner = called(L.TimeDistributed(L.LSTM(5, return_sequences=True)), x, words)
    np.testing.assert_array_equal(inner.mask, words)


# -- against a loop over the unpadded rows -----------------------------------------------------------------------------


def stack(kind: str) -> Sequential:
    nn.set_seed(3)
    recurrent = {
        "lstm": lambda: [L.LSTM(5, return_sequences=True), L.LSTM(4)],
        "gru": lambda: [L.GRU(5, return_sequences=True), L.Dropout(0.1), L.GRU(4)],
        "rnn": lambda: [L.Dense(4, activation="tanh"), L.SimpleRNN(4)],
        "bidirectional": lambda: [L.Bidirectional(L.LSTM(3, return_sequences=True)), L.Bidirectional(L.GRU(2))],
        "timedistributed": lambda: [L.TimeDistributed(L.Dense(4)), L.LSTM(3, return_sequences=True), L.LSTM(3)],
        "cells": lambda: [L.RNN([L.LSTMCell(3), L.GRUCell(4)])],
        "backwards": lambda: [L.GRU(4, go_backwards=True)],
    }[kind]()
    return Sequential([Input((None, F)), L.Masking(), *recurrent, L.Dense(2)])


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn", "bidirectional", "timedistributed", "cells", "backwards"])
@pytest.mark.parametrize("side", ["behind", "in front"])
def test_padding_changes_nothing(kind: str, side: str) -> None:
    model, x = stack(kind), padded()
    if side == "in front":
        x = np.stack([np.roll(row, T - n, axis=0) for row, n in zip(x, LENGTHS, strict=True)])
    together = model.predict(x)
    for i, n in enumerate(LENGTHS):
        row = x[i : i + 1, :n] if side == "behind" else x[i : i + 1, T - n :]
        np.testing.assert_allclose(together[i : i + 1], model.predict(row), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "sparse_categorical_crossentropy", "binary_crossentropy"])
def test_losses_and_metrics_count_only_steps_that_count(loss: str) -> None:
    nn.set_seed(4)
    units, activation = {"mse": (2, None), "binary_crossentropy": (2, "sigmoid")}.get(loss, (3, "softmax"))
    model = Sequential(
        [
            Input((None, F)),
            L.Masking(),
            L.LSTM(5, return_sequences=True),
            L.TimeDistributed(L.Dense(units, activation=activation)),
        ]
    )
    metric = {"mse": "mae", "binary_crossentropy": "binary_accuracy"}.get(loss, "accuracy")
    model.compile(nn.optim.SGD(0.1), loss, metrics=[metric])
    rng = np.random.default_rng(0)
    y: Any = numbers(N, T, 2, seed=5)
    if loss != "mse":
        y = rng.integers(0, 3, (N, T)) if units == 3 else rng.integers(0, 2, (N, T, 2)).astype("float32")
    x = padded()
    got = model.evaluate(x, y, verbose=0)
    # every step that counts, once: the rows one by one, weighted by their lengths
    rows = [model.evaluate(x[i : i + 1, :n], y[i : i + 1, :n], verbose=0) for i, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(got, np.average(rows, axis=0, weights=LENGTHS), rtol=1e-5)
    # what stands in the padding does not matter for training either
    other = y.copy()
    other[~MASK] = 1 - other[~MASK] if loss == "binary_crossentropy" else 0
    start = model.get_weights()
    model.fit(x, y, epochs=2, batch_size=N, verbose=0)
    first = model.get_weights()
    model.set_weights(start)
    model.fit(x, other, epochs=2, batch_size=N, shuffle=False, verbose=0)
    for a, b in zip(first, model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_masks_pass_the_gradient_check() -> None:
    model = Sequential(
        [Input((T, F)), L.Masking(), L.Bidirectional(L.GRU(2, return_sequences=True)), L.LSTM(3), L.Dense(1)]
    )
    model.compile("sgd", "mse")
    gradcheck.check(model, padded(), numbers(N, 1), verbose=0)


def test_masks_go_along_in_functional_models() -> None:
    nn.set_seed(5)
    symbol = Input((None, F))
    x = L.Masking()(symbol)
    y, state = L.GRU(4, return_sequences=True, return_state=True)(x)
    z = L.GRU(4)(L.add([y, L.Dense(4)(x)]), initial_state=state)
    model = Model(symbol, L.Dense(1)(z))
    together = model.predict(padded())
    for i, n in enumerate(LENGTHS):
        np.testing.assert_allclose(together[i : i + 1], model.predict(padded()[i : i + 1, :n]), rtol=1e-4, atol=1e-6)


def test_all_masked_rows_are_harmless_in_training() -> None:
    nn.set_seed(6)
    x = padded()
    x[2] = 0
    model = Sequential([L.Masking(input_shape=(T, F)), L.LSTM(4), L.Dense(1)])
    model.compile("adam", "mse")
    losses = model.fit(x, numbers(N, 1), epochs=3, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    np.testing.assert_allclose(model.predict(x)[2], model.layers[2].get_weights()[1], rtol=1e-5)  # h = 0: the bias


# -- TimeDistributed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (lambda: L.Dense(4, activation="relu"), (T, F)),
        (lambda: L.Conv2D(2, 3, padding="same"), (3, 5, 6, 2)),
        (lambda: L.Flatten(), (T, 2, 3)),
        (lambda: L.LSTM(4), (3, 4, 2)),
        (lambda: Sequential([L.Flatten(), L.Dense(2)]), (T, 2, 3)),
        (lambda: L.BatchNormalization(), (T, F)),
    ],
)
def test_time_distributed_is_the_layer_at_every_step(layer: Any, shape: tuple[int, ...]) -> None:
    x, inner = numbers(2, *shape), layer()
    outer = L.TimeDistributed(inner)
    y = called(outer, x).numpy()
    assert y.shape[1:] == outer.output_shape
    for t in range(shape[0]):
        np.testing.assert_allclose(y[:, t], called(inner, x[:, t]).numpy(), rtol=1e-4, atol=1e-5)
    gradcheck.check(L.TimeDistributed(inner), x, verbose=0)


def test_time_distributed_softmax_is_seen_by_its_loss() -> None:
    """A probability of 1e-60 has a finite loss where the loss works on the logits."""
    model = Sequential([L.TimeDistributed(L.Dense(2, activation="softmax"), input_shape=(1, 1))])
    model.set_weights([np.array([[70.0, -70.0]]), np.zeros(2)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    loss = model.evaluate(np.ones((1, 1, 1), "float32"), np.array([[1]]), verbose=0)
    assert abs(loss - 140) < 1e-3


# -- layers of one's own, written Keras's way --------------------------------------------------------------------------


class Words(L.Layer):
    """The guide's embedding: makes a mask of its own."""

    input_dtype = "int32"

    def build(self, input_shape: Any) -> Any:
        self.table = self.add_weight((9, F), "random_normal")

    def forward(self, x: Any) -> Any:
        return x.graph.parameter(self.table)[x.data]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return inputs.data != 0


class Halves(L.Layer):
    """The guide's TemporalSplit: two outputs, each with its part of the mask."""

    def forward(self, x: Any) -> Any:
        return [x[:, :3], x[:, 3:]]

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if mask is None else [mask[:, :3], mask[:, 3:]]


def test_compute_mask_written_as_in_keras_makes_and_cuts_masks() -> None:
    ids = np.where(MASK, 1 + np.arange(T), 0)
    graph = Graph()
    y = Words()(graph.tensor(ids, dtype="int32"))
    np.testing.assert_array_equal(y.mask, MASK)
    first, second = Halves()(y)
    np.testing.assert_array_equal(first.mask, MASK[:, :3])
    np.testing.assert_array_equal(second.mask, MASK[:, 3:])
    assert all(z.mask is None for z in Halves()(graph.tensor(padded())))

    model = Sequential([Input((None,)), Words(), L.LSTM(4)])
    whole = model.predict(ids)
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(whole[row], model.predict(ids[row : row + 1, :length])[0], rtol=1e-5, atol=1e-6)


def test_a_mask_that_does_not_fit_is_refused() -> None:
    class Wrong(Halves):
        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return mask

    with pytest.raises(ValueError, match=r"'wrong' expects a mask of the leading axes .* got shape \(5, 6\)"):
        called(Wrong(), padded(), MASK)

    class One(Halves):
        def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
            return [mask]

    with pytest.raises(ValueError, match="has 2 outputs, but compute_mask returned 1 masks"):
        called(One(), padded(), MASK)


def test_forward_may_ask_for_mask_and_mode() -> None:
    seen: list[Any] = []

    class Mean(L.Layer):
        def forward(self, x: Any, training: bool, mask: Any = None) -> Any:
            seen.append((training, mask))
            if mask is None:
                return ops.mean(x, axis=1)
            return ops.sum(x * mask[..., None], axis=1) / mask.sum(axis=1, keepdims=True)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = called(Mean(), padded(7.0), MASK)
    np.testing.assert_allclose(y.numpy()[1], padded()[1, :3].mean(axis=0), rtol=1e-5)
    assert y.mask is None

    model = Sequential([L.Masking(input_shape=(T, F)), Mean(), L.Dense(1)])
    model.compile("sgd", "mse")
    seen.clear()
    model.fit(padded(), np.ones((N, 1)), shuffle=False, verbose=0)
    model.predict(padded())
    assert [training for training, _ in seen] == [True, False]
    np.testing.assert_array_equal(seen[0][1], MASK)
    seen.clear()
    Mean()(Graph().tensor(padded()), training=True)
    assert seen[-1] == (True, None)

    class Both(L.Layer):
        def forward(self, x: Any, mask: Any = None) -> Any:
            seen.append(mask)
            return x[0] + x[1]

    graph = Graph()
    masked = graph.tensor(padded())
    masked.mask = MASK
    Both()([masked, graph.tensor(padded())])
    assert seen[-1][0] is MASK and seen[-1][1] is None


def test_the_shape_of_a_layer_without_build_is_found() -> None:
    class Last(L.Layer):
        def forward(self, x: Any) -> Any:
            return x[:, -1]

    model = Sequential([Input((None, F)), L.LSTM(4, return_sequences=True), Last(), L.Dense(2)])
    assert model.output_shape == (2,)
    assert Last()(Input((T, F))).shape == (F,)


def test_a_weight_for_every_step_is_a_mask_with_shares():
    """What Keras takes as sample_weight (N, T), the old sample_weight_mode="temporal"."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 4, 3)), rng.standard_normal((6, 4, 2))
    weights = rng.integers(0, 3, (6, 4)) / 2

    def model():
        nn.set_seed(1)
        net = Sequential([L.Dense(2, input_shape=(4, 3))])
        net.compile("sgd", "mse", weighted_metrics=["mae"])
        return net

    loss, error = model().evaluate(x, y, sample_weight=weights, verbose=0)
    differences = model().predict(x) - y
    np.testing.assert_allclose(loss, (weights * (differences**2).mean(-1)).sum() / weights.size, rtol=1e-5)
    np.testing.assert_allclose(error, (weights * np.abs(differences).mean(-1)).sum() / weights.sum(), rtol=1e-5)
    net = model()
    net.fit(x, y, sample_weight=weights, verbose=0)
    for wrong in ((6, 3), (5, 4), (6, 4, 2)):
        with pytest.raises(ValueError, match=r"expects shape \(6,\), one weight per row, or \(6, 4\), one per step"):
            net.fit(x, y, sample_weight=np.ones(wrong), verbose=0)
