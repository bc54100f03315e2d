"""Attention: PyTorch as an oracle, masks from all sides, tensors and symbols, dropout, positions, bad input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests.device import device_backend
from tinynn import Graph, Input, Model
from tinynn import layers as L

N, T, S, F, HEADS, SIZE = 3, 5, 7, 12, 3, 4
rng = np.random.default_rng(8)
QUERY, VALUE, KEY = rng.standard_normal((N, T, F)), rng.standard_normal((N, S, F)), rng.standard_normal((N, S, F))
KEYS_SEEN = rng.random((N, S)) < 0.6
KEYS_SEEN[:, 0] = True
PAIRS = rng.random((N, T, S)) < 0.6
PAIRS[:, :, 1] = True


def graph64(**more: Any) -> Graph:
    return Graph(dtype="float64", **more)


def tensors(graph: Graph, *arrays: np.ndarray) -> list[Any]:
    return [graph.tensor(a, requires_grad=True) for a in arrays]


def random_weights(layer: Any, *shapes: Any, dtype: str = "float64") -> None:
    """Weights whose biases are not 0, in float64 with gradients of that precision."""
    layer.ensure_built(list(shapes))
    for v in layer.variables():
        v.dtype = np.dtype(dtype)
        v.assign(rng.standard_normal(v.shape) / 2)


def torch_heads(torch: Any, layer: Any) -> Any:
    """PyTorch's layer with our weights: rows of the projections lie the other way round."""
    theirs = torch.nn.MultiheadAttention(F, HEADS, batch_first=True, dtype=torch.float64)
    w = [torch.tensor(a.astype("float64")) for a in layer.get_weights()]
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([w[i].reshape(F, -1).T for i in (0, 2, 4)]))
        theirs.in_proj_bias.copy_(torch.cat([w[i].reshape(-1) for i in (1, 3, 5)]))
        theirs.out_proj.weight.copy_(w[6].reshape(-1, F).T)
        theirs.out_proj.bias.copy_(w[7])
    return theirs


# -- MultiHeadAttention ----------------------------------------------------------------------------------------------

OPTIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "plain": ({}, None),
    "keys": ({"value_mask": KEYS_SEEN}, ~KEYS_SEEN[:, None, :].repeat(T, axis=1)),
    "pairs": ({"attention_mask": PAIRS}, ~PAIRS),
    "pairs for all": ({"attention_mask": PAIRS[0]}, ~PAIRS[:1].repeat(N, axis=0)),
    "causal": ({"use_causal_mask": True}, ~np.tri(T, S, dtype=bool)[None].repeat(N, axis=0)),
    "both": ({"value_mask": KEYS_SEEN, "use_causal_mask": True}, ~(KEYS_SEEN[:, None] & np.tri(T, S, dtype=bool))),
}


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("option", OPTIONS)
def test_heads_are_pytorchs(option: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    options, hidden = OPTIONS[option]
    layer = L.MultiHeadAttention(HEADS, SIZE)
    random_weights(layer, (T, F), (S, F), (S, F))
    graph = graph64(backend=backend)
    x = tensors(graph, QUERY, VALUE, KEY)
    y, p = layer(*x, return_attention_scores=True, **options)
    np.testing.assert_allclose(layer(*x, **options).numpy(), y.numpy(), rtol=1e-12)
    theirs = torch_heads(torch, layer)
    torch_x = [torch.tensor(a, requires_grad=True) for a in (QUERY, VALUE, KEY)]
    mask = None if hidden is None else torch.tensor(hidden).repeat_interleave(HEADS, dim=0)
    query, value, key = torch_x
    torch_y, torch_p = theirs(query, key, value, attn_mask=mask, average_attn_weights=False)
    np.testing.assert_allclose(y.numpy(), torch_y.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(p.numpy(), torch_p.detach().numpy(), rtol=1e-10, atol=1e-10)
    dy, dp = rng.standard_normal(y.shape), rng.standard_normal(p.shape)
    (torch_y * torch.tensor(dy)).sum().add((torch_p * torch.tensor(dp)).sum()).backward()
    graph.backward((y * dy).sum() + (p * dp).sum())
    for ours, other in zip(x, torch_x, strict=True):
        np.testing.assert_allclose(ours.grad, other.grad.numpy(), rtol=1e-10, atol=1e-10)
    got = [v.grad for v in layer.parameters()]
    want = [
        *theirs.in_proj_weight.grad.numpy().reshape(3, HEADS, SIZE, F).transpose(0, 3, 1, 2),
        *theirs.in_proj_bias.grad.numpy().reshape(3, HEADS, SIZE),
        theirs.out_proj.weight.grad.numpy().T.reshape(HEADS, SIZE, F),
        theirs.out_proj.bias.grad.numpy(),
    ]
    for i, k in enumerate((0, 2, 4, 1, 3, 5, 6, 7)):
        np.testing.assert_allclose(got[k], want[i], rtol=1e-10, atol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize("causal", [False, True])
def test_a_step_of_self_attention_is_pytorchs_in_float32(causal: bool) -> None:
    torch = pytest.importorskip("torch")
    layer = L.MultiHeadAttention(HEADS, SIZE)
    random_weights(layer, (150, F), (150, F), dtype="float32")
    x = rng.standard_normal((2, 150, F)).astype("float32")
    graph = Graph()
    ours = graph.tensor(x, requires_grad=True)
    y = layer(ours, ours, use_causal_mask=causal)
    theirs = torch_heads(torch, layer).float()
    other = torch.tensor(x, requires_grad=True)
    hidden = ~torch.tril(torch.ones(150, 150, dtype=torch.bool)) if causal else None
    torch_y, _ = theirs(other, other, other, attn_mask=hidden)
    dy = rng.standard_normal(y.shape).astype("float32")
    graph.backward(y, gradient=dy)
    torch_y.backward(torch.tensor(dy))
    np.testing.assert_allclose(y.numpy(), torch_y.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours.grad, other.grad.numpy(), rtol=1e-4, atol=2e-5)


def test_weights_have_keras_names_and_shapes() -> None:
    layer = L.MultiHeadAttention(HEADS, SIZE, value_dim=5, output_shape=6)
    assert layer.ensure_built([(T, F), (S, 8), (S, 9)]) == (T, 6)
    shapes = {name.split("/", 1)[1]: v.shape for name, v in layer.named_variables().items()}
    assert shapes == {
        "query/kernel": (F, HEADS, SIZE),
        "query/bias": (HEADS, SIZE),
        "key/kernel": (9, HEADS, SIZE),
        "key/bias": (HEADS, SIZE),
        "value/kernel": (8, HEADS, 5),
        "value/bias": (HEADS, 5),
        "attention_output/kernel": (HEADS, 5, 6),
        "attention_output/bias": (6,),
    }
    plain = L.MultiHeadAttention(HEADS, SIZE, use_bias=False, output_shape=(2, 3))
    assert plain.ensure_built([(T, F), (S, F)]) == (T, 2, 3)
    assert len(plain.parameters()) == 4


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_masks_that_came_with_tensors_count(backend: str) -> None:
    layer = L.MultiHeadAttention(HEADS, SIZE)
    graph = graph64(backend=backend)
    ids = np.where(KEYS_SEEN, rng.integers(1, 9, (N, S)), 0)
    words = L.Embedding(9, F, mask_zero=True)(graph.tensor(ids, dtype="int32"))
    y = layer(words, words)
    np.testing.assert_array_equal(y.mask, KEYS_SEEN)
    bare = graph.tensor(words.numpy())
    pairs = KEYS_SEEN[:, :, None] & KEYS_SEEN[:, None, :]
    np.testing.assert_allclose(y.numpy(), layer(bare, bare, attention_mask=pairs).numpy(), rtol=1e-12)
    of_value = layer(bare, words)
    assert of_value.mask is None
    given = layer(bare, bare, value_mask=KEYS_SEEN)
    np.testing.assert_allclose(of_value.numpy(), given.numpy(), rtol=1e-12)
    np.testing.assert_allclose(layer(bare, bare, words).numpy(), given.numpy(), rtol=1e-12)
    same = layer(bare, bare, query_mask=KEYS_SEEN)
    np.testing.assert_array_equal(same.mask, KEYS_SEEN)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_hidden_has_no_influence(dtype: str) -> None:
    layer = L.MultiHeadAttention(HEADS, SIZE)
    other = np.where(KEYS_SEEN[:, :, None], VALUE, 7.0)
    results = []
    for value in (VALUE, other):
        graph = Graph(dtype=dtype)
        q, v = tensors(graph, QUERY, value)
        y = layer(q, v, value_mask=KEYS_SEEN)
        graph.backward(y.sum())
        results.append((y.numpy(), q.grad))
        assert not v.grad[~KEYS_SEEN].any()
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_causal_step_does_not_see_what_comes_later() -> None:
    layer, graph = L.MultiHeadAttention(HEADS, SIZE), Graph()
    x = QUERY.copy()
    y = layer(*tensors(graph, x, x), use_causal_mask=True).numpy()
    x[:, 3:] += 1
    z = layer(*tensors(graph, x, x), use_causal_mask=True).numpy()
    np.testing.assert_array_equal(y[:, :3], z[:, :3])
    assert (y[:, 3:] != z[:, 3:]).any(axis=-1).all()


def test_a_query_that_may_look_nowhere_gets_zeros() -> None:
    layer = L.MultiHeadAttention(HEADS, SIZE)
    random_weights(layer, (T, F), (S, F))
    nowhere = PAIRS & (np.arange(T) != 2)[:, None]
    for dtype in ("float32", "float64"):
        graph = Graph(dtype=dtype)
        q, v = tensors(graph, QUERY, VALUE)
        y, p = layer(q, v, attention_mask=nowhere, return_attention_scores=True)
        bias = layer.attention_output.bias.numpy()
        np.testing.assert_allclose(y.numpy()[:, 2], np.broadcast_to(bias, (N, F)), rtol=1e-6)
        assert not p.numpy()[:, :, 2].any()
        graph.backward(y.sum())
        assert not q.grad[:, 2].any()
        assert np.isfinite(v.grad).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_a_number_comes_through(value: float) -> None:
    layer, x = L.MultiHeadAttention(HEADS, SIZE), QUERY.astype("float32")
    x[1, 2, 3] = value
    graph = Graph()
    with np.errstate(invalid="ignore"):
        y = layer(graph.tensor(x), graph.tensor(x)).numpy()
    assert np.isnan(y[1]).all()
    assert np.isfinite(y[[0, 2]]).all()


# -- calls -----------------------------------------------------------------------------------------------------------


def test_a_list_is_the_same_call() -> None:
    layer, graph = L.MultiHeadAttention(HEADS, SIZE), Graph()
    q, v, k = tensors(graph, QUERY, VALUE, KEY)
    np.testing.assert_array_equal(layer(q, v, k).numpy(), layer([q, v, k]).numpy())
    np.testing.assert_array_equal(layer(q, v).numpy(), layer([q, v, v]).numpy())
    layer.ensure_built([(3, F), (9, F)])  # of other lengths


def test_symbols_are_calls_written_down() -> None:
    nn.set_seed(3)
    x = Input((T, F))
    layer = L.MultiHeadAttention(HEADS, SIZE)
    y, p = layer(x, x, return_attention_scores=True, use_causal_mask=True)
    assert (y.shape, p.shape) == ((T, F), (HEADS, T, T))
    model = Model(x, [L.LayerNormalization()(L.add([x, y])), p])
    graph = Graph()
    outputs = model(graph.tensor(QUERY))
    direct, scores = layer(*tensors(graph, QUERY, QUERY), return_attention_scores=True, use_causal_mask=True)
    np.testing.assert_array_equal(outputs[1].numpy(), scores.numpy())
    assert outputs[0].shape == direct.shape
    assert layer(x, x, attention_mask=np.eye(T, dtype=bool)).shape == (T, F)
    with pytest.raises(TypeError, match="masks come with their tensors"):
        layer(x, x, attention_mask=Input((T, T)))


def test_a_small_transformer_learns_to_look_back() -> None:
    """The answer at each step is the token before, which only attention and positions can find."""
    nn.set_seed(2)
    ids = np.random.default_rng(4).integers(1, 6, (200, 8))
    x = Input((None,), dtype="int32")
    h = L.TokenAndPositionEmbedding(6, 8, 16, mask_zero=True)(x)
    h = L.add([h, L.MultiHeadAttention(2, 8)(h, h, use_causal_mask=True)])
    model = Model(x, L.Dense(6, activation="softmax")(L.LayerNormalization()(h)))
    model.compile(nn.optim.Adam(0.02), "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = np.concatenate([ids[:, :1], ids[:, :-1]], axis=1)
    history = model.fit(ids, before, epochs=25, verbose=0)
    assert history.history["accuracy"][-1] > 0.98


def test_dropout_follows_the_seed_and_rests_in_prediction() -> None:
    layer = L.MultiHeadAttention(HEADS, SIZE, dropout=0.5, seed=7)
    graph = Graph(training=True)
    x = tensors(graph, QUERY, VALUE)
    y, p = layer(*x, return_attention_scores=True)
    np.testing.assert_allclose(p.numpy().sum(axis=-1), 1, rtol=1e-5)  # those before dropout
    assert (y.numpy() != layer(*x, training=False).numpy()).any()
    again = L.MultiHeadAttention(HEADS, SIZE, dropout=0.5, seed=7)
    again.ensure_built([(T, F), (S, F)])
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(*tensors(Graph(training=True), QUERY, VALUE)).numpy(), y.numpy())
    np.testing.assert_array_equal(layer(*x, training=False).numpy(), again(*tensors(Graph(), QUERY, VALUE)).numpy())


def test_dropout_keeps_the_mean() -> None:
    layer = L.MultiHeadAttention(2, 3, dropout=0.3)
    x = np.repeat(rng.standard_normal((1, 4, 6)), 4000, axis=0)
    y = layer(*tensors(Graph(training=True), x, x)).numpy().mean(axis=0)
    np.testing.assert_allclose(y, layer(*tensors(Graph(), x[:1], x[:1])).numpy()[0], atol=0.05)


@pytest.mark.parametrize(
    "layer",
    [
        L.MultiHeadAttention(2, 3, value_dim=4, dropout=0.1, output_shape=5, attention_axes=(1,), seed=1),
        L.MultiHeadAttention(2, 3, use_bias=False, kernel_regularizer="l2", kernel_initializer="he_normal"),
        L.Attention(use_scale=True, score_mode="concat", dropout=0.2),
        L.AdditiveAttention(use_scale=False),
    ],
    ids=repr,
)
def test_a_config_makes_an_equal_layer(layer: Any) -> None:
    copy = type(layer)(**json.loads(json.dumps(layer.config())))
    assert json.dumps(copy.config()) == json.dumps(layer.config())
    nn.set_seed(5)
    a = layer(tensors(Graph(training=True), QUERY, VALUE)).numpy()
    nn.set_seed(5)
    np.testing.assert_array_equal(a, copy(tensors(Graph(training=True), QUERY, VALUE)).numpy())


def test_penalties_of_the_projections_count() -> None:
    graph = Graph()
    layer = L.MultiHeadAttention(HEADS, SIZE, activity_regularizer="l2", kernel_regularizer="l1")
    layer(*tensors(graph, QUERY, VALUE))
    assert len(graph.losses) == 4  # queries, keys, values and outputs, as in Keras
    assert sum(p.regularizer is not None for p in layer.parameters()) == 4


# -- one head --------------------------------------------------------------------------------------------------------


def softmax_rows(scores: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    p = np.exp(scores - scores.max(axis=-1, keepdims=True)) * allowed
    return p / np.maximum(p.sum(axis=-1, keepdims=True), 1e-300)


SCORES = {
    "dot": (lambda: L.Attention(), lambda q, k, w: q @ k.swapaxes(1, 2)),
    "scaled": (lambda: L.Attention(use_scale=True), lambda q, k, w: w[0] * (q @ k.swapaxes(1, 2))),
    "concat": (
        lambda: L.Attention(score_mode="concat"),
        lambda q, k, w: w[0] * np.tanh(q[:, :, None] + k[:, None]).sum(axis=-1),
    ),
    "concat scaled": (
        lambda: L.Attention(True, "concat"),
        lambda q, k, w: w[1] * np.tanh(w[0] * (q[:, :, None] + k[:, None])).sum(axis=-1),
    ),
    "additive": (lambda: L.AdditiveAttention(), lambda q, k, w: np.tanh(q[:, :, None] + k[:, None]) @ w[0]),
    "additive plain": (lambda: L.AdditiveAttention(False), lambda q, k, w: np.tanh(q[:, :, None] + k[:, None]).sum(-1)),
}


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("score", SCORES)
def test_one_head_is_its_formula(score: str, causal: bool) -> None:
    make, formula = SCORES[score]
    layer = make()
    random_weights(layer, (T, F), (S, F), (S, F))
    weights = [w.astype("float64") for w in layer.get_weights()]
    graph = graph64()
    x = tensors(graph, QUERY, VALUE, KEY)
    queries = rng.random((N, T)) < 0.7
    y, p = layer(x, mask=[queries, KEYS_SEEN], return_attention_scores=True, use_causal_mask=causal)
    allowed = np.broadcast_to(KEYS_SEEN[:, None], (N, T, S)) & (np.tri(T, S, dtype=bool) if causal else True)
    want = softmax_rows(formula(QUERY, KEY, weights), allowed)
    np.testing.assert_allclose(p.numpy(), want, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(y.numpy(), (want @ VALUE) * queries[:, :, None], rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(y.mask, queries)


@pytest.mark.parametrize("score", SCORES)
def test_gradients_of_one_head(score: str) -> None:
    layer = SCORES[score][0]()
    random_weights(layer, (T, F), (S, F), (S, F))

    def apply(q: Any, v: Any, k: Any) -> Any:
        y, p = layer([q, v, k], mask=[None, KEYS_SEEN], return_attention_scores=True, use_causal_mask=True)
        return (y * y).sum() + (p * p).sum()

    rows = nn.gradcheck.check(apply, QUERY, VALUE, KEY, verbose=0)
    assert max(row.error for row in rows) < 1e-7


def test_masks_that_came_with_tensors_count_in_one_head() -> None:
    graph = graph64()
    ids = np.where(KEYS_SEEN, rng.integers(1, 9, (N, S)), 0)
    words = L.Embedding(9, F, mask_zero=True)(graph.tensor(ids, dtype="int32"))
    bare = graph.tensor(words.numpy())
    for layer in (L.Attention(), L.AdditiveAttention()):
        y = layer([words, words])
        np.testing.assert_array_equal(y.mask, KEYS_SEEN)
        np.testing.assert_array_equal(y.numpy(), layer([bare, bare], mask=[KEYS_SEEN, KEYS_SEEN]).numpy())
        assert not y.numpy()[~KEYS_SEEN].any()
        assert layer([bare, words]).mask is None


def test_one_head_drops_probabilities_in_training() -> None:
    for layer in (L.Attention(dropout=0.5, seed=3), L.AdditiveAttention(dropout=0.5, seed=3)):
        x = tensors(Graph(training=True), QUERY, VALUE)
        y, p = layer(x, return_attention_scores=True)
        np.testing.assert_allclose(y.numpy(), p.numpy() @ VALUE.astype("float32"), rtol=1e-4, atol=1e-5)
        share = (p.numpy() == 0).mean()
        assert 0.3 < share < 0.7
        assert (layer(x, training=False).numpy() != y.numpy()).any()


def test_symbols_of_one_head() -> None:
    q, v = Input((T, F)), Input((S, F))
    assert L.Attention()([q, v]).shape == (T, F)
    y, p = L.AdditiveAttention()([q, v], return_attention_scores=True)
    assert (y.shape, p.shape) == ((T, F), (T, S))


# -- on a device -----------------------------------------------------------------------------------------------------

ON_DEVICE: dict[str, tuple[Any, Any]] = {
    "heads": (
        lambda: L.MultiHeadAttention(2, 3, dropout=0.3),
        lambda layer, x: layer(x, x, query_mask=KEYS_SEEN[:, :T], attention_mask=PAIRS[:, :, :T], use_causal_mask=True),
    ),
    "scores": (lambda: L.MultiHeadAttention(2, 3), lambda layer, x: ops_sum(layer(x, x, return_attention_scores=True))),
    "dots": (lambda: L.Attention(True, dropout=0.3), lambda layer, x: layer([x, x], mask=[None, KEYS_SEEN[:, :T]])),
    "sums": (lambda: L.AdditiveAttention(), lambda layer, x: layer([x, x], use_causal_mask=True)),
    "places": (lambda: L.PositionEmbedding(9), lambda layer, x: layer(x) + x),
    "sines": (lambda: L.SinePositionEncoding(), lambda layer, x: layer(x) * x),
    "conv1d": (lambda: L.Conv1D(3, 2, padding="causal"), lambda layer, x: layer(x)),
    "pool": (lambda: L.MaxPooling1D(2, padding="same"), lambda layer, x: layer(x)),
}


def ops_sum(results: Any) -> Any:
    return results[0].sum() + (results[1] * results[1]).sum()


@pytest.mark.parametrize("name", ON_DEVICE)
def test_layers_run_on_a_device(name: str) -> None:
    make, call = ON_DEVICE[name]
    results = []
    for backend in (device_backend(), "reference", "cpu"):
        nn.set_seed(1)
        graph = Graph(training=True, backend=backend)
        x = graph.tensor(QUERY, requires_grad=True)
        y = call(make(), x)
        graph.backward((y * y).sum())
        results.append([graph.backend.to_numpy(a).copy() for a in (y.data, x.grad)])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_words_run_on_a_device() -> None:
    ids = rng.integers(0, 9, (N, T))
    results = []
    for backend in (device_backend(), "reference", "cpu"):
        nn.set_seed(1)
        graph = Graph(training=True, backend=backend)
        layer = L.TokenAndPositionEmbedding(9, 6, 4, mask_zero=True)
        y = L.GlobalAveragePooling1D()(layer(graph.tensor(ids, dtype="int32")))
        graph.backward((y * y).sum())
        results.append([graph.backend.to_numpy(a).copy() for a in (y.data, *(p.grad for p in layer.parameters()))])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


# -- positions -------------------------------------------------------------------------------------------------------


def test_learned_positions_are_the_same_in_every_row() -> None:
    layer, graph = L.PositionEmbedding(8), Graph()
    y = layer(graph.tensor(QUERY))
    table = layer.position_embeddings
    assert table.shape == (8, F)
    np.testing.assert_array_equal(y.numpy(), np.broadcast_to(table.numpy()[:T], QUERY.shape))
    graph.backward(y, gradient=QUERY)
    np.testing.assert_allclose(table.grad[:T], QUERY.sum(axis=0), rtol=1e-5, atol=1e-6)
    assert not table.grad[T:].any()
    with pytest.raises(ValueError, match="sequence_length=8 and gets 9 steps"):
        layer(Graph().tensor(np.zeros((1, 9, F))))
    with pytest.raises(ValueError, match="sequence_length=4 and gets 5 steps"):
        L.PositionEmbedding(4)(Input((5, F)))


def test_sines_are_those_of_the_formula() -> None:
    layer = L.SinePositionEncoding(max_wavelength=100)
    for steps in (3, 6, 4):
        y = layer(graph64().tensor(np.zeros((2, steps, 5)))).numpy()
        for t in range(steps):
            for i in range(5):
                angle = t / 100 ** (2 * (i // 2) / 5)
                assert y[1, t, i] == pytest.approx(np.cos(angle) if i % 2 else np.sin(angle), abs=1e-12)


def test_tokens_and_positions_are_added() -> None:
    layer, ids = L.TokenAndPositionEmbedding(9, 6, 4, mask_zero=True), rng.integers(0, 9, (2, 5))
    y = layer(Graph().tensor(ids, dtype="int32"))
    tokens, places = layer.get_weights()
    np.testing.assert_allclose(y.numpy(), tokens[ids] + places[:5], rtol=1e-6)
    np.testing.assert_array_equal(y.mask, ids != 0)
    names = [name.split("/", 1)[1] for name in layer.named_variables()]
    assert names == ["token_embedding/embeddings", "position_embedding/position_embeddings"]
    with pytest.raises(IndexError, match="token_embedding.*input_dim=9"):
        layer(Graph().tensor(ids + 5, dtype="int32"))


# -- bad input -------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Any, type[Exception], list[str]]] = {
    "no value": (lambda x: L.MultiHeadAttention(2, 3)(x), ValueError, ["query and a value", "mha(x, x)"]),
    "four axes": (
        lambda x: L.MultiHeadAttention(2, 3)(*[x.reshape(N, T, 2, F // 2)] * 2),
        ValueError,
        ["sequences", "(None, steps, features)"],
    ),
    "mask of another size": (
        lambda x: L.MultiHeadAttention(2, 3)(x, x, attention_mask=np.ones((T, T + 1))),
        ValueError,
        ["attention_mask", f"({N}, {T}, {T})", f"({T}, {T})"],
    ),
    "query_mask of another size": (
        lambda x: L.MultiHeadAttention(2, 3)(x, x, query_mask=np.ones((N, T + 1))),
        ValueError,
        ["query_mask", f"({N}, {T})"],
    ),
    "value and key of two lengths": (
        lambda x: L.MultiHeadAttention(2, 3)(x, x, x[:, :2]),
        ValueError,
        ["equally many steps"],
    ),
    "axes": (lambda x: L.MultiHeadAttention(2, 3, attention_axes=(1, 2)), ValueError, ["attention_axes=None"]),
    "heads": (lambda x: L.MultiHeadAttention(0, 3), ValueError, ["num_heads", "positive integer"]),
    "no list": (lambda x: L.Attention()(x), ValueError, ["[query, value]"]),
    "masks not in a list": (lambda x: L.Attention()([x, x], mask=np.ones((N, T))), ValueError, ["[query_mask, value"]),
    "features": (lambda x: L.Attention()([x, x[:, :, :2]]), ValueError, ["equally many features"]),
    "score mode": (lambda x: L.Attention(score_mode="dots"), ValueError, ["score_mode", "dot"]),
    "dropout": (lambda x: L.AdditiveAttention(dropout=1.0), ValueError, ["dropout"]),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused(bad: str) -> None:
    call, kind, words = BAD[bad]
    with pytest.raises(kind) as caught:
        call(Graph().tensor(QUERY))
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("shape", [(2, 0, 4), (0, 3, 4)])
def test_without_steps_or_rows_there_is_nothing_to_see(shape: Any, backend: str) -> None:
    graph = Graph(backend=backend, training=True)
    x, some = graph.tensor(np.zeros(shape), requires_grad=True), graph.tensor(np.ones((shape[0], 3, 4)))
    results = L.Attention()([some, x]), L.Attention()([x, x]), L.MultiHeadAttention(2, 3)(some, x)
    for y in results:
        assert y.shape[0] == shape[0] and (y.numpy() == 0).all()
    total = nn.ops.sum(results[0]) + nn.ops.sum(results[1]) + nn.ops.sum(results[2])
    graph.backward(total)


def test_a_mask_of_numbers_is_that_of_bools() -> None:
    graph = Graph()
    x = graph.tensor(np.random.default_rng(0).standard_normal((2, 5, 4)))
    right = L.Attention()([x, x], mask=[None, np.arange(5) < [[3], [4]]]).numpy()
    x.mask = (np.arange(5) < [[3], [4]]).astype(np.int32)
    found = L.Attention()([graph.tensor(x.numpy()), x]).numpy()
    np.testing.assert_array_equal(found, right)
