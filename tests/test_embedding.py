"""Embedding: masks, frozen and pretrained tables, ids that a table does not have, and memory; PyTorch as an oracle."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tinynn import Graph, Input, Model, Sequential
from tinynn import layers as L

WORDS, FEATURES, STEPS, ROWS = 20, 6, 9, 16
rng = np.random.default_rng(3)
IDS = rng.integers(1, WORDS, (ROWS, STEPS))
IDS[:, 6:] = 0
Y = rng.standard_normal(ROWS).astype("float32")


def classifier(*first: Any, loss: str = "mse") -> Sequential:
    nn.set_seed(1)
    model = Sequential([*first, L.GlobalAveragePooling1D(), L.Dense(1)])
    model.compile("sgd", loss)
    return model


# -- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_embedding_is_pytorchs(backend: str) -> None:
    torch = pytest.importorskip("torch")
    layer = L.Embedding(WORDS, FEATURES)
    layer.ensure_built((STEPS,))
    layer.embeddings.dtype = np.dtype("float64")
    layer.embeddings.assign(rng.standard_normal((WORDS, FEATURES)))
    graph = Graph(backend=backend, dtype="float64")
    y = layer(graph.tensor(IDS, dtype="int32"))
    dy = rng.standard_normal(y.shape)
    theirs = torch.nn.Embedding(WORDS, FEATURES, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight[:] = torch.tensor(layer.embeddings.numpy())
    torch_y = theirs(torch.tensor(IDS))
    torch_y.backward(torch.tensor(dy))
    np.testing.assert_allclose(y.numpy(), torch_y.detach().numpy(), rtol=1e-10)
    graph.backward(y, gradient=dy)
    np.testing.assert_allclose(layer.embeddings.grad, theirs.weight.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 3, 4)])
def test_ids_may_have_any_shape(shape: tuple[int, ...]) -> None:
    layer, ids = L.Embedding(WORDS, FEATURES), rng.integers(0, WORDS, shape)
    y = layer(Graph().tensor(ids, dtype="int32"))
    np.testing.assert_array_equal(y.numpy(), layer.embeddings.numpy()[ids])
    assert layer.output_shape == (*shape[1:], FEATURES)


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "bool", "float32", "float64"])
def test_ids_may_be_any_whole_numbers(dtype: str) -> None:
    model = Sequential([L.Embedding(2, 3, input_shape=(4,))])
    ids = rng.integers(0, 2, (5, 4)).astype(dtype)
    np.testing.assert_array_equal(model.predict(ids), model.get_weights()[0][ids.astype(int)])
    np.testing.assert_array_equal(model(model.graph().tensor(ids)).numpy(), model.get_weights()[0][ids.astype(int)])


def test_no_rows_and_no_steps_are_defined() -> None:
    layer = L.Embedding(4, 3, input_shape=(None,))
    for shape in ((0, 5), (2, 0)):
        graph = Graph()
        y = layer(graph.tensor(np.zeros(shape), dtype="int32"))
        assert y.shape == (*shape, 3)
        graph.backward(y, gradient=np.zeros(y.shape))
        assert not np.any(layer.embeddings.grad)


def test_the_constraint_and_the_regularizers_act_on_the_table() -> None:
    model = classifier(L.Embedding(WORDS, FEATURES, embeddings_constraint="unit_norm", embeddings_regularizer="l2"))
    before = model.evaluate(IDS, Y, verbose=0)
    assert before > float(((model.predict(IDS)[:, 0] - Y) ** 2).mean())
    model.fit(IDS, Y, verbose=0)
    np.testing.assert_allclose(np.linalg.norm(model.get_weights()[0], axis=0), 1, rtol=1e-5)
    graph = Graph()
    y = L.Embedding(WORDS, FEATURES, activity_regularizer="l1")(graph.tensor(IDS, dtype="int32"))
    assert float(graph.losses[0].data) == pytest.approx(0.01 * np.abs(y.numpy()).sum() / ROWS, rel=1e-5)


# -- masks -----------------------------------------------------------------------------------------------------------


def test_the_mask_says_where_ids_are_not_zero() -> None:
    graph = Graph()
    x = graph.tensor(IDS, dtype="int32")
    assert L.Embedding(WORDS, FEATURES)(x).mask is None
    y = L.Embedding(WORDS, FEATURES, mask_zero=True)(x)
    np.testing.assert_array_equal(y.mask, IDS != 0)
    pooled = L.GlobalAveragePooling1D()(y)
    assert pooled.mask is None
    np.testing.assert_allclose(pooled.numpy(), y.numpy()[:, :6].mean(axis=1), rtol=1e-5, atol=1e-7)


def test_padding_changes_nothing_where_the_mask_is_used() -> None:
    model = classifier(L.Embedding(WORDS, FEATURES, mask_zero=True, input_shape=(None,)))
    np.testing.assert_allclose(model.predict(IDS), model.predict(IDS[:, :6]), rtol=1e-6)
    longer = np.pad(IDS, ((0, 0), (0, 40)))
    np.testing.assert_allclose(model.predict(IDS), model.predict(longer), rtol=1e-6)


def test_a_sequence_of_padding_alone_has_mean_zero_and_no_gradient() -> None:
    layer, graph = L.Embedding(WORDS, FEATURES, mask_zero=True), Graph()
    y = L.GlobalAveragePooling1D()(layer(graph.tensor(np.zeros((2, 4)), dtype="int32")))
    assert not y.numpy().any()
    graph.backward(y.sum())
    assert not np.any(layer.embeddings.grad)


def test_the_row_of_padding_is_not_trained_where_it_is_masked() -> None:
    model = classifier(L.Embedding(WORDS, FEATURES, mask_zero=True))
    model.predict(IDS)
    before = model.get_weights()[0]
    model.fit(IDS, Y, verbose=0)
    after = model.get_weights()[0]
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[np.unique(IDS[IDS > 0])] != before[np.unique(IDS[IDS > 0])]).any(axis=1).all()


# -- pretrained and frozen -------------------------------------------------------------------------------------------

VECTORS = rng.standard_normal((WORDS, FEATURES)).astype("float32")


@pytest.mark.parametrize("given", [VECTORS, [VECTORS], VECTORS.tolist(), VECTORS.astype("float64")])
def test_a_table_may_be_given(given: Any) -> None:
    layer = L.Embedding(WORDS, FEATURES, weights=given)
    np.testing.assert_array_equal(layer(Graph().tensor(IDS, dtype="int32")).numpy(), VECTORS[IDS])
    assert layer.config()["weights"] is None
    nn.set_seed(2)
    model = classifier(L.Embedding(WORDS, FEATURES, weights=given, input_shape=(STEPS,)))
    np.testing.assert_array_equal(model.get_weights()[0], VECTORS)
    model.fit(IDS, Y, verbose=0)
    assert (model.get_weights()[0] != VECTORS).any()
    assert (np.asarray(given[0] if isinstance(given, list) and len(given) == 1 else given) == VECTORS).all()


def test_a_frozen_table_stays_and_has_no_gradient() -> None:
    model = classifier(L.Embedding(WORDS, FEATURES, weights=VECTORS, trainable=False, input_shape=(STEPS,)))
    model.fit(IDS, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], VECTORS)
    layer = model.layers[0]
    assert layer.embeddings.grad is None
    assert model.optimizer.variables[0].size <= 2 * sum(v.size for v in model.trainable_weights) + 64
    graph = Graph()
    y = layer(graph.tensor(IDS, dtype="int32"))
    assert not y.requires_grad
    assert not graph.tape


def test_a_table_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'words'.*\(input_dim, output_dim\) = \(20, 6\), got \(6, 20\)"):
        L.Embedding(WORDS, FEATURES, weights=VECTORS.T, name="words")


# -- ids that are none -----------------------------------------------------------------------------------------------

BAD = {
    "too large": (np.where(IDS[3, 2] == IDS, WORDS, IDS), IndexError, ["'words'", "0 to 19", "got 20", "input_dim=21"]),
    "negative": (np.where(IDS[3, 2] == IDS, -1, IDS), IndexError, ["'words'", "got -1", "begin with 0"]),
    "fractions": (IDS + 0.5, ValueError, ["'words'", "whole numbers", "vocabulary"]),
    "not a number": (np.where(IDS == 0, np.nan, IDS), ValueError, ["'words'", "whole numbers", "nan"]),
}


def table(**base: Any) -> L.Embedding:
    return L.Embedding(WORDS, FEATURES, name="words", **base)


def through_a_model() -> Model:
    x = Input((STEPS,))
    inner = Sequential([Sequential([table(input_shape=(STEPS,))]), L.Dense(3)])
    model = Model(x, L.Dense(1)(L.GlobalMaxPooling1D()(inner(x))))
    model.compile("sgd", "mse")
    return model


def with_positions() -> Sequential:
    model = classifier(L.TokenAndPositionEmbedding(WORDS, STEPS, FEATURES, input_shape=(STEPS,)))
    model.layers[0].token_embedding.name = "words"
    return model


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("make", [lambda: classifier(table()), through_a_model, with_positions])
def test_ids_are_checked_before_the_first_step(bad: str, make: Any) -> None:
    model = make()
    model.fit(IDS, Y, verbose=0)
    ids, kind, words = BAD[bad]
    before = [w.tobytes() for w in model.get_weights()]
    calls = [
        lambda: model.fit(ids, Y, verbose=0, batch_size=2),
        lambda: model.fit(IDS, Y, verbose=0, validation_data=(ids, Y)),
        lambda: model.train_on_batch(ids, Y),
        lambda: model.evaluate(ids, Y, verbose=0),
        lambda: model.predict(ids),
    ]
    for call in calls:
        with pytest.raises(kind) as caught:
            call()
        assert all(word in str(caught.value) for word in words), str(caught.value)
    assert before == [w.tobytes() for w in model.get_weights()]


def test_ids_of_every_step_are_checked() -> None:
    model = Sequential([L.TimeDistributed(table(), input_shape=(4, STEPS)), L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    sentences = np.repeat(IDS[:, None], 4, axis=1)
    model.fit(sentences, Y, verbose=0)
    before = model.get_weights()[0].tobytes()
    sentences[-1, -1, -1] = WORDS
    with pytest.raises(IndexError, match="'words'.*got 20"):
        model.fit(sentences, Y, batch_size=2, verbose=0)
    assert model.get_weights()[0].tobytes() == before


@pytest.mark.parametrize("bad", BAD)
def test_ids_are_checked_in_graphs_by_hand(bad: str) -> None:
    ids, kind, words = BAD[bad]
    graph = Graph(dtype="float64")
    with pytest.raises(kind) as caught:
        table()(graph.tensor(ids))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_table_behind_a_layer_of_ones_own_is_checked_in_its_step() -> None:
    class Shifted(nn.Layer):
        def __init__(self, **base: Any):
            super().__init__(**base)
            self.words = table()

        def forward(self, x: Any) -> Any:
            return self.words(x + 1)

    model = classifier(Shifted())
    model.fit(np.minimum(IDS, WORDS - 2), Y, verbose=0)
    with pytest.raises(IndexError, match="got 20"):
        model.predict(np.full_like(IDS, WORDS - 1))


def test_two_inputs_are_no_ids() -> None:
    with pytest.raises(ValueError, match="one input of ids, got a list of 2"):
        L.Embedding(4, 3)([Input((5,)), Input((5,))])


@pytest.mark.parametrize("sizes", [(0, 3), (3, 0), (2.5, 3), (3, True)])
def test_sizes_are_positive_integers(sizes: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="positive integer"):
        L.Embedding(*sizes)


# -- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_a_gradient_is_written_where_the_optimizer_reads_it(backend: str) -> None:
    words, features = 50_000, 20
    layer = L.Embedding(words, features)
    graph = Graph(backend=backend)
    x = graph.tensor(IDS, dtype="int32")
    layer.ensure_built((STEPS,))
    nn.optim.SGD(0.1).build(layer.parameters(), graph.backend)
    graph.backward(layer(x).sum())  # kernels are compiled, which takes memory too
    y = layer(x)
    tracemalloc.start()
    graph.backward(y, gradient=np.ones(y.shape))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert layer.embeddings.grad is layer.embeddings.slot
    assert peak < words * features * 4 / 10
    used = np.bincount(IDS.reshape(-1), minlength=words)
    np.testing.assert_array_equal(layer.embeddings.grad, np.repeat(used[:, None], features, axis=1))


def test_a_model_of_words_learns() -> None:
    ids = np.random.default_rng(0).integers(0, 40, (300, 8))
    labels = (ids[:, 0] > 100) + (np.isin(ids, [3, 17, 29]).any(axis=1))
    nn.set_seed(4)
    model = Sequential([L.Embedding(40, 8), L.GlobalMaxPooling1D(), L.Dense(1, activation="sigmoid")])
    model.compile(nn.optim.Adam(0.05), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(ids, labels, epochs=12, verbose=0)
    assert history.history["accuracy"][-1] > 0.98


def test_old_listings_name_the_batch() -> None:
    model = Sequential(
        [L.Embedding(9, 4, batch_input_shape=(2, None)), L.GRU(3, return_sequences=True, stateful=True), L.Dense(9)]
    )
    assert model.output_shape == (None, 9)
    layer = model.layers[0]
    assert layer.config() == L.Embedding(**layer.config()).config() and layer.input_shape == (None,)
