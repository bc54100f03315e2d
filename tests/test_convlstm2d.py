"""ConvLSTM2D: one convolution at a time, PyTorch, masks that skip, states that go on, dropout, models and errors."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tinynn import Graph, Input, Model, Sequential, ops
from tinynn import layers as L
from tinynn.compat import keras
from tinynn.layers.conv2d import Convolve2D
from tinynn.layers.images import window_on

BACKENDS = ["reference", "cpu"]


@pytest.fixture(autouse=True)
def seed() -> None:
    nn.set_seed(1)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(np.float64)


def run(layer: Any, x: np.ndarray, dtype: str = "float64", **options: Any) -> Any:
    return layer(Graph(dtype=dtype).tensor(x), **options)


# -- step by step ----------------------------------------------------------------------------------------------------


def unrolled(layer: L.ConvLSTM2D, x: Any, weights: list[Any], h: Any, c: Any) -> list[Any]:
    """The layer written with one convolution at a time; the outputs of all steps."""
    W, U, b = weights
    H, outputs = layer.filters, []
    for t in range(x.shape[1]):
        given = window_on(*x.shape[2:4], layer.kernel_size, layer.strides, layer.padding, layer.dilation_rate)
        around = window_on(*h.shape[1:3], layer.kernel_size, (1, 1), "same")
        z = Convolve2D(given)(x[:, t], W, b) + Convolve2D(around)(h, U)
        i, f, n, o = (z[..., k * H : (k + 1) * H] for k in range(4))
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(n)
        h = ops.sigmoid(o) * ops.tanh(c)
        outputs.append(h)
    return outputs


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same"},
        {"padding": "valid", "strides": (2, 1)},
        {"padding": "same", "kernel_size": (2, 5)},
        {"padding": "same", "dilation_rate": 2},
    ],
    ids=str,
)
def test_one_node_is_what_the_convolutions_one_by_one_are(options: dict[str, Any], backend: str) -> None:
    layer = L.ConvLSTM2D(3, **{"kernel_size": 3, "return_sequences": True, **options})
    shape = layer.ensure_built((4, 6, 7, 2))
    values = [numbers(*p.shape, seed=k) / 3 for k, p in enumerate(layer.parameters())]
    layer.set_weights(values)
    arrays = [numbers(2, 4, 6, 7, 2, seed=7), numbers(2, *shape[1:], seed=8), numbers(2, *shape[1:], seed=9)]
    results = []
    for by_hand in (False, True):
        graph = Graph(dtype="float64", backend=backend)
        x, h, c = (graph.tensor(a, requires_grad=True) for a in arrays)
        if by_hand:
            weights = [graph.tensor(p.numpy(), requires_grad=True) for p in layer.parameters()]
            y = ops.stack(unrolled(layer, x, weights, h, c), axis=1)
        else:
            y = layer(x, initial_state=[h, c])
        graph.backward((y * numbers(*y.shape, seed=10)).sum())
        gradients = [w.grad for w in (weights if by_hand else layer.parameters())]
        results.append([y.numpy(), x.grad, h.grad, c.grad, *gradients])
    for k, (got, want) in enumerate(zip(*results, strict=True)):
        close = 1e-10 if k < 4 else 1e-6  # parameters, and so their gradients, are float32
        np.testing.assert_allclose(got, want, rtol=0, atol=close * np.abs(want).max())


def test_oracle_torch() -> None:
    torch = pytest.importorskip("torch")
    layer = L.ConvLSTM2D(4, (3, 5), padding="same", return_sequences=True)
    layer.ensure_built((5, 6, 6, 3))
    layer.set_weights([numbers(*p.shape, seed=k) / 4 for k, p in enumerate(layer.parameters())])
    x = numbers(2, 5, 6, 6, 3)
    W, U, b = (torch.tensor(p.numpy().astype(np.float64)) for p in layer.parameters())
    W, U = W.permute(3, 2, 0, 1), U.permute(3, 2, 0, 1)
    frames = torch.tensor(x, requires_grad=True)
    h = c = torch.zeros(2, 4, 6, 6, dtype=torch.float64)
    steps = []
    for t in range(5):
        z = torch.nn.functional.conv2d(frames[:, t].permute(0, 3, 1, 2), W, b, padding="same")
        z = z + torch.nn.functional.conv2d(h, U, padding="same")
        i, f, n, o = z.chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(n)
        h = torch.sigmoid(o) * torch.tanh(c)
        steps.append(h.permute(0, 2, 3, 1))
    want = torch.stack(steps, 1)
    dy = numbers(*want.shape, seed=3)
    (want * torch.tensor(dy)).sum().backward()
    graph = Graph(dtype="float64")
    leaf = graph.tensor(x, requires_grad=True)
    y = layer(leaf)
    graph.backward((y * dy).sum())
    np.testing.assert_allclose(y.numpy(), want.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(leaf.grad, frames.grad.numpy(), atol=1e-10)


# -- masks, states, dropout ------------------------------------------------------------------------------------------


def test_steps_that_do_not_count_might_as_well_not_be_there() -> None:
    layer, x = L.ConvLSTM2D(2, 3, padding="same"), numbers(1, 5, 4, 4, 1)
    mask = np.array([[False, True, True, False, True]])
    np.testing.assert_array_equal(run(layer, x, mask=mask).numpy(), run(layer, x[:, mask[0]]).numpy())


def test_nothing_counts() -> None:
    layer, x = L.ConvLSTM2D(2, 3, return_state=True), numbers(2, 3, 4, 4, 1)
    states = [numbers(2, 2, 2, 2, seed=k) for k in (1, 2)]
    y, h, c = run(layer, x, mask=np.zeros((2, 3), bool), initial_state=states)
    np.testing.assert_array_equal(h.numpy(), states[0])
    np.testing.assert_array_equal(c.numpy(), states[1])
    np.testing.assert_array_equal(y.numpy(), states[0])


def test_a_film_in_pieces_is_the_whole_film() -> None:
    layer = L.ConvLSTM2D(3, 3, padding="same", return_sequences=True, stateful=True)
    x = numbers(2, 6, 5, 4, 2)
    whole = run(layer, x, "float32").numpy()
    layer.reset_states()
    pieces = [run(layer, x[:, a:b], "float32").numpy() for a, b in ((0, 1), (1, 4), (4, 6))]
    assert np.concatenate(pieces, axis=1).tobytes() == whole.tobytes()


def test_backwards_is_forwards_on_the_film_turned_around() -> None:
    forth = L.ConvLSTM2D(2, 3, return_sequences=True)
    back = L.ConvLSTM2D(2, 3, return_sequences=True, go_backwards=True)
    x = numbers(2, 4, 4, 5, 1)
    run(back, x)
    run(forth, x)
    back.set_weights(forth.get_weights())
    np.testing.assert_array_equal(run(back, x).numpy(), run(forth, x[:, ::-1]).numpy())


def test_dropout_keeps_the_same_values_at_every_step() -> None:
    layer = L.ConvLSTM2D(2, 1, dropout=0.5, return_sequences=True, use_bias=False)
    layer.ensure_built((3, 20, 20, 1))
    W, U = np.full((1, 1, 1, 8), 1.0), np.zeros((1, 1, 2, 8))
    layer.set_weights([W, U])
    graph = Graph(training=True)
    y = layer(graph.tensor(np.ones((1, 3, 20, 20, 1)))).numpy()
    dropped = y == 0
    assert 0.3 < dropped.mean() < 0.7
    assert (dropped == dropped[:, :1]).all()
    assert (run(layer, np.ones((1, 3, 20, 20, 1))).numpy() != 0).all()


def test_recurrent_dropout_is_drawn_once_and_only_in_training() -> None:
    layer, x = L.ConvLSTM2D(2, 3, recurrent_dropout=0.5, seed=3), numbers(2, 1, 5, 5, 1)
    training = {"training": True}
    np.testing.assert_array_equal(run(layer, x).numpy(), run(layer, x, **training).numpy())  # no state to drop yet
    longer = numbers(2, 4, 5, 5, 1)
    assert np.abs(run(layer, longer).numpy() - run(layer, longer, **training).numpy()).max() > 1e-3


# -- in a model ------------------------------------------------------------------------------------------------------


def test_learns_which_way_a_dot_moves() -> None:
    rng = np.random.default_rng(0)
    x, right = np.zeros((64, 4, 8, 8, 1), np.float32), rng.integers(0, 2, 64)
    for n, (row, way) in enumerate(zip(rng.integers(0, 8, 64), right, strict=True)):
        for t in range(4):
            x[n, t, row, 1 + t if way else 7 - t] = 1  # both end in the same column
    model = Sequential(
        [
            L.ConvLSTM2D(4, 3, padding="same", input_shape=(None, 8, 8, 1)),
            L.Flatten(),
            L.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=nn.optim.Adam(0.01), loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(x, right, batch_size=16, epochs=20, verbose=0)
    assert model.evaluate(x, right, verbose=0)[1] > 0.95


def test_keras_next_frame_network() -> None:
    """The layers of Keras's example of next frames; sequences of any length."""
    inp = Input(shape=(None, 10, 10, 1))
    x = L.ConvLSTM2D(8, kernel_size=(5, 5), padding="same", return_sequences=True, activation="relu")(inp)
    x = L.BatchNormalization()(x)
    x = L.ConvLSTM2D(8, kernel_size=(1, 1), padding="same", return_sequences=True, activation="relu")(x)
    model = Model(inp, x)
    assert model.output_shape == (None, 10, 10, 8)
    assert model.predict(numbers(2, 3, 10, 10, 1), verbose=0).shape == (2, 3, 10, 10, 8)
    assert model.predict(numbers(2, 5, 10, 10, 1), verbose=0).shape == (2, 5, 10, 10, 8)


def test_states_from_one_film_to_another() -> None:
    film, other = Input(shape=(3, 6, 6, 1)), Input(shape=(2, 6, 6, 1))
    _, h, c = L.ConvLSTM2D(2, 3, padding="same", return_state=True)(film)
    y = L.ConvLSTM2D(2, 3, padding="same")(other, initial_state=[h, c])
    graph = Graph()
    films = [graph.tensor(numbers(4, T, 6, 6, 1)) for T in (3, 2)]
    assert Model([film, other], y)(films).shape == (4, 6, 6, 2)


def test_config_goes_there_and_back() -> None:
    layer = L.ConvLSTM2D(4, (3, 5), padding="same", activation="relu", return_sequences=True, recurrent_dropout=0.1)
    config = json.loads(json.dumps(layer.config()))
    assert L.ConvLSTM2D(**config).config() == layer.config()
    assert config["filters"] == 4 and config["kernel_size"] == [3, 5] and "units" not in config


def test_old_import() -> None:
    assert keras.layers.convolutional_recurrent.ConvLSTM2D is L.ConvLSTM2D


# -- errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"filters": 0}, ValueError, ["filters", "0"]),
        ({"kernel_size": (3, 3, 3)}, ValueError, ["kernel_size", "(rows, columns)"]),
        ({"padding": "full"}, ValueError, ["padding", "full", "same"]),
        ({"padding": 1}, ValueError, ["padding", "1", "same"]),
        ({"data_format": "channels_first"}, ValueError, ["channels_first", "np.moveaxis(x, 2, -1)"]),
        ({"strides": 2, "dilation_rate": 2}, ValueError, ["strides=(2, 2)", "dilation_rate=(2, 2)"]),
        ({"activation": "softmax"}, ValueError, ["activation", "softmax"]),
        ({"dropout": 1.5}, ValueError, ["dropout", "1.5"]),
        ({"filter": 3}, TypeError, ["filter", "filters"]),
    ],
    ids=str,
)
def test_wrong_arguments(options: dict[str, Any], kind: type[Exception], words: list[str]) -> None:
    with pytest.raises(kind) as caught:
        L.ConvLSTM2D(**{"filters": 2, "kernel_size": 3, "name": "film", **options})
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2, 5, 8, 8), ["'film'", "(None, steps, rows, columns, channels)", "(None, 5, 8, 8)", "x[..., None]"]),
        ((2, 5, 8), ["'film'", "LSTM"]),
        ((2, 5, 2, 8, 1), ["'film'", "kernel_size=(3, 3)", "2 x 8", "padding='same'"]),
        ((2, 0, 8, 8, 1), ["'film'", "at least one step"]),
    ],
    ids=str,
)
def test_wrong_inputs(shape: tuple[int, ...], words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        run(L.ConvLSTM2D(2, 3, name="film"), np.zeros(shape))
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_another_size_than_the_first() -> None:
    layer = L.ConvLSTM2D(2, 3, name="film")
    run(layer, numbers(1, 2, 5, 5, 1))
    with pytest.raises(ValueError, match=r"'film' was built for .*\(None, None, 5, 5, 1\).*6"):
        run(layer, numbers(1, 2, 6, 6, 1))


def test_a_mask_or_states_that_do_not_fit() -> None:
    layer, x = L.ConvLSTM2D(2, 3, name="film", padding="same"), numbers(2, 3, 4, 4, 1)
    with pytest.raises(ValueError, match="film"):
        run(layer, x, mask=np.ones((2, 4), bool))
    with pytest.raises(ValueError, match=r"'film' expects 2 initial states"):
        run(layer, x, initial_state=[numbers(2, 4, 4, 2)])
    with pytest.raises(ValueError, match=r"'film'.*\(None, 4, 4, 2\)"):
        run(layer, x, initial_state=[numbers(2, 4, 5, 2), numbers(2, 4, 5, 2)])


def test_channels_first_films_are_noticed() -> None:
    with pytest.warns(UserWarning, match=r"channels came first.*np.moveaxis\(x, 2, -1\)"):
        L.ConvLSTM2D(2, 3).ensure_built((5, 3, 16, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        L.ConvLSTM2D(2, 3).ensure_built((5, 16, 16, 3))
