"""Every layer of the library comes back from disk as it was; a layer that is missing here fails the first test."""

import numpy as np
import pytest

import tinynn as nn
from tinynn import Input, Model, layers
from tinynn import layers as L

ALIASES = {f"{kind}Pool{n}D" for kind in ("Avg", "Max", "GlobalAvg", "GlobalMax") for n in (1, 2)}
IMAGE, STEPS, ROW, IDS, FILM = (8, 8, 4), (6, 4), (4,), (6,), (3, 5, 5, 2)

# name: (the layer, shapes of its inputs); several shapes: called with a list
CASES = {
    "Activation": (lambda: L.Activation("softsign"), [ROW]),
    "Add": (L.Add, [ROW, ROW]),
    "AdditiveAttention": (lambda: L.AdditiveAttention(use_scale=True), [STEPS, STEPS]),
    "Attention": (lambda: L.Attention(use_scale=True, score_mode="concat"), [STEPS, STEPS]),
    "Average": (L.Average, [ROW, ROW]),
    "AveragePooling1D": (lambda: L.AveragePooling1D(2), [STEPS]),
    "AveragePooling2D": (lambda: L.AveragePooling2D(3, strides=2, padding="same"), [IMAGE]),
    "BatchNormalization": (lambda: L.BatchNormalization(momentum=0.8, center=False), [ROW]),
    "Bidirectional": (lambda: L.Bidirectional(L.GRU(3, return_sequences=True, reset_after=False), "sum"), [STEPS]),
    "Concatenate": (lambda: L.Concatenate(axis=1), [STEPS, STEPS]),
    "Conv1D": (lambda: L.Conv1D(5, 3, padding="causal", dilation_rate=2, activation="relu"), [STEPS]),
    "Conv2D": (lambda: L.Conv2D(6, (3, 2), strides=(2, 1), padding="same", groups=2, use_bias=False), [IMAGE]),
    "ConvLSTM2D": (lambda: L.ConvLSTM2D(3, 3, padding="same", return_sequences=True), [FILM]),
    "Cropping2D": (lambda: L.Cropping2D(((1, 2), (0, 3))), [IMAGE]),
    "Dense": (
        lambda: L.Dense(5, "elu", kernel_regularizer=nn.regularizers.L1L2(0.1, 0.2), kernel_constraint="max_norm"),
        [ROW],
    ),
    "Dropout": (lambda: L.Dropout(0.3, noise_shape=(None, 1), seed=5), [ROW]),
    "ELU": (lambda: L.ELU(0.7), [ROW]),
    "Embedding": (lambda: L.Embedding(9, 3, mask_zero=True), [IDS]),
    "Flatten": (L.Flatten, [IMAGE]),
    "GRU": (lambda: L.GRU(3, return_sequences=True, go_backwards=True, dropout=0.2), [STEPS]),
    "GaussianDropout": (lambda: L.GaussianDropout(0.2), [ROW]),
    "GaussianNoise": (lambda: L.GaussianNoise(0.2), [ROW]),
    "GlobalAveragePooling1D": (L.GlobalAveragePooling1D, [STEPS]),
    "GlobalAveragePooling2D": (lambda: L.GlobalAveragePooling2D(keepdims=True), [IMAGE]),
    "GlobalMaxPooling1D": (L.GlobalMaxPooling1D, [STEPS]),
    "GlobalMaxPooling2D": (L.GlobalMaxPooling2D, [IMAGE]),
    "LSTM": (
        lambda: L.LSTM(3, unit_forget_bias=False, recurrent_dropout=0.1, recurrent_activation="hard_sigmoid"),
        [STEPS],
    ),
    "LayerNormalization": (lambda: L.LayerNormalization(epsilon=1e-4), [STEPS]),
    "LeakyReLU": (lambda: L.LeakyReLU(negative_slope=0.05), [ROW]),
    "Masking": (lambda: L.Masking(1.5), [STEPS]),
    "MaxPooling1D": (lambda: L.MaxPooling1D(2, padding="same"), [STEPS]),
    "MaxPooling2D": (lambda: L.MaxPooling2D(2, strides=1), [IMAGE]),
    "Maximum": (L.Maximum, [ROW, ROW]),
    "Maxout": (lambda: L.Maxout(2), [ROW]),
    "Minimum": (L.Minimum, [ROW, ROW]),
    "Multiply": (L.Multiply, [ROW, ROW]),
    "Normalization": (lambda: L.Normalization(mean=[1.0, 2, 3, 4], variance=2.0), [ROW]),
    "PReLU": (lambda: L.PReLU(shared_axes=[1]), [STEPS]),
    "PaddedShortcut": (lambda: L.PaddedShortcut(8, 2), [IMAGE]),
    "Permute": (lambda: L.Permute((2, 1)), [STEPS]),
    "PositionEmbedding": (lambda: L.PositionEmbedding(7), [STEPS]),
    "RNN": (lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True), [STEPS]),
    "ReLU": (lambda: L.ReLU(max_value=1.0), [ROW]),
    "RepeatVector": (lambda: L.RepeatVector(3), [ROW]),
    "Reshape": (lambda: L.Reshape((2, -1)), [ROW]),
    "SimpleRNN": (lambda: L.SimpleRNN(3, activation="relu"), [STEPS]),
    "SinePositionEncoding": (L.SinePositionEncoding, [STEPS]),
    "Softmax": (lambda: L.Softmax(axis=1), [STEPS]),
    "SpatialDropout1D": (lambda: L.SpatialDropout1D(0.2), [STEPS]),
    "SpatialDropout2D": (lambda: L.SpatialDropout2D(0.2), [IMAGE]),
    "Subtract": (L.Subtract, [ROW, ROW]),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(3, activation="tanh")), [STEPS]),
    "TokenAndPositionEmbedding": (lambda: L.TokenAndPositionEmbedding(9, 6, 4), [IDS]),
    "UpSampling2D": (lambda: L.UpSampling2D((2, 3)), [IMAGE]),
    "ZeroPadding2D": (lambda: L.ZeroPadding2D(((1, 0), (2, 1))), [IMAGE]),
}
SPECIAL = {
    "Lambda": "cannot be saved, and says so (test_saving.py)",
    "MultiHeadAttention": "has a call of its own, below",
    "InputLayer": "is Input",
    "LSTMCell": "inside RNN, above",
    "GRUCell": "inside RNN, above",
    "SimpleRNNCell": "like the other cells",
    "StackedRNNCells": "inside RNN, above",
    "Layer": "the base",
}


def public_layers():
    everything = {name: getattr(layers, name) for name in layers.__all__ if name not in ALIASES}
    return {name for name, value in everything.items() if isinstance(value, type) and issubclass(value, L.Layer)}


def test_no_layer_is_missing():
    assert public_layers() - set(SPECIAL) == set(CASES)


def there_and_back(model, arrays, path):
    """Predictions of a model and of what comes back, on tensors."""
    model.save(path)
    loaded = nn.load_model(path)
    assert loaded.to_json() == model.to_json()
    assert list(loaded.named_variables()) == list(model.named_variables())

    def run(m):
        g = nn.Graph()
        inputs = [g.tensor(a, dtype="int32" if a.dtype.kind == "i" else None) for a in arrays]
        out = m(inputs if len(inputs) > 1 else inputs[0])
        return [y.numpy() for y in (out if isinstance(out, list) else [out])]

    for mine, theirs in zip(run(model), run(loaded), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def drawn(shapes):
    rng = np.random.default_rng(0)
    ids = [shape == IDS for shape in shapes]
    return [
        rng.integers(0, 9, (2, *s)) if i else rng.standard_normal((2, *s)).astype("float32")
        for s, i in zip(shapes, ids, strict=True)
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_layer_comes_back(tmp_path, name):
    make, shapes = CASES[name]
    symbols = [Input(shape, dtype="int32" if shape == IDS else None) for shape in shapes]
    output = make()(symbols if len(symbols) > 1 else symbols[0])
    there_and_back(Model(symbols, output), drawn(shapes), tmp_path / "model.tinynn")


def test_attention_with_options_of_its_call(tmp_path):
    q, v = Input(STEPS), Input((5, 4))
    mha = L.MultiHeadAttention(2, 3, value_dim=2, dropout=0.1)
    mask = np.tril(np.ones((6, 5), bool))
    y, scores = mha(q, v, attention_mask=mask, return_attention_scores=True)
    again = mha(q, q, use_causal_mask=True)
    there_and_back(Model([q, v], [y, scores, again]), drawn([STEPS, (5, 4)]), tmp_path / "model.tinynn")


def test_an_encoder_and_a_decoder(tmp_path):
    """States go from one layer to the other."""
    source, target = Input(STEPS), Input((3, 2))
    _, h, c = L.LSTM(5, return_state=True)(source)
    y = L.LSTM(5, return_sequences=True)(target, initial_state=[h, c])
    model = Model([source, target], L.TimeDistributed(L.Dense(2, activation="softmax"))(y))
    there_and_back(model, drawn([STEPS, (3, 2)]), tmp_path / "model.tinynn")
