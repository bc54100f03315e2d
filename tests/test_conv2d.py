"""Conv2D: naive loops, PyTorch, the arithmetic of the courses, Keras's habits, images of any size, and errors."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as nn
from tinynn import Graph, Input, Model, Sequential
from tinynn import layers as L
from tinynn.activation import Activation
from tinynn.compat import keras
from tinynn.layers.base import Layer
from tinynn.layers.conv2d import Convolve2D
from tinynn.window import Pair, Window, same_padding

BACKENDS = ["reference", "cpu"]


@pytest.fixture(autouse=True)
def seed() -> None:
    nn.set_seed(1)


def numbers(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32).astype(dtype)


def run(layer: Layer, x: np.ndarray, backend: Any = None, **graph: Any) -> np.ndarray:
    return np.asarray(layer(Graph(backend=backend, **graph).tensor(x)).numpy())


# -- naive loops -----------------------------------------------------------------------------------------------------


def naive(
    x: np.ndarray, W: np.ndarray, b: np.ndarray, dy: np.ndarray | None, window: Window, groups: int
) -> tuple[np.ndarray, ...]:
    """The sum written down, number by number, and what each number of it says about the gradients."""
    N, H, width, C = x.shape
    KH, KW, c, filters = W.shape
    rows, columns = window.output(H, width)
    y = np.zeros((N, rows, columns, filters)) + b
    dx, dW = np.zeros(x.shape), np.zeros(W.shape)
    for n, i, j, o, u, v, k in np.ndindex(N, rows, columns, filters, KH, KW, c):
        p = i * window.strides[0] + u * window.dilation[0] - window.padding[0][0]
        q = j * window.strides[1] + v * window.dilation[1] - window.padding[1][0]
        if 0 <= p < H and 0 <= q < width:
            channel = o // (filters // groups) * c + k
            y[n, i, j, o] += x[n, p, q, channel] * W[u, v, k, o]
            if dy is not None:
                dx[n, p, q, channel] += dy[n, i, j, o] * W[u, v, k, o]
                dW[u, v, k, o] += dy[n, i, j, o] * x[n, p, q, channel]
    return (y,) if dy is None else (y, dx, dW, dy.sum(axis=(0, 1, 2)))


@st.composite
def problems(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], Window, int]:
    """Shapes of x and W, a window that fits, groups."""
    few = st.integers(1, 3)
    groups, c, o = draw(few), draw(few), draw(few)
    size, strides, dilation = (draw(st.tuples(few, few)) for _ in range(3))
    pad = st.integers(0, 2)
    padding = draw(st.tuples(st.tuples(pad, pad), st.tuples(pad, pad)))
    window = Window(size, strides, padding, dilation)
    least = [max(1, reach - sum(side)) for reach, side in zip(window.extent, padding, strict=True)]
    rows, columns = (draw(st.integers(n, n + 4)) for n in least)
    x = draw(st.integers(1, 2)), rows, columns, groups * c
    return x, (*size, c, groups * o), window, groups


@given(problems(), st.integers(0, 2**32 - 1), st.sampled_from(BACKENDS))
def test_convolution_is_that_of_naive_loops(problem: Any, seed: int, backend: str) -> None:
    x_shape, W_shape, window, groups = problem
    rng = np.random.default_rng(seed)
    x, W, b = (rng.integers(-4, 5, shape).astype(np.float64) for shape in (x_shape, W_shape, W_shape[3:]))
    dy = rng.integers(-4, 5, (x_shape[0], *window.output(*x_shape[1:3]), W_shape[3])).astype(np.float64)
    graph = Graph(dtype="float64", backend=backend)
    tensors = [graph.tensor(a, requires_grad=True) for a in (x, W, b)]
    y = Convolve2D(window, groups)(*tensors)
    graph.backward(y, gradient=dy)
    got = [y.numpy(), *(t.grad for t in tensors)]
    for ours, theirs in zip(got, naive(x, W, b, dy, window, groups), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-10)  # whole numbers: the sums are exact


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_same_gives_n_over_stride_outputs_and_the_odd_zero_comes_after(n: int, k: int, s: int, d: int) -> None:
    before, after = same_padding(n, k, s, d)
    assert (n + before + after - d * (k - 1) - 1) // s + 1 == -(-n // s)
    assert after - before in (0, 1)
    layer = L.Conv2D(1, (k, 1), (s, 1), "same", dilation_rate=(d, 1))
    assert layer.ensure_built((n, 1, 1)) == (-(-n // s), 1, 1)
    W, x = numbers(k, 1, 1, 1), numbers(2, n, 1, 1, seed=1)
    layer.set_weights([W, [0.5]])
    window = Window((k, 1), (s, 1), ((before, after), (0, 0)), (d, 1))
    np.testing.assert_allclose(run(layer, x), naive(x, W, np.array([0.5]), None, window, 1)[0], rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_batch_is_the_sum_over_its_rows() -> None:
    layer = L.Conv2D(5, 3, padding="same", activation="relu")
    x, dy = numbers(6, 5, 7, 3, dtype="float64"), numbers(6, 5, 7, 5, seed=1, dtype="float64")
    layer.ensure_built((5, 7, 3))

    def gradients(x: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        graph = Graph(dtype="float64")
        graph.backward(layer(graph.tensor(x)), gradient=dy)
        return [np.array(p.grad) for p in layer.parameters()]

    rows = [gradients(x[i : i + 1], dy[i : i + 1]) for i in range(6)]
    for whole, *parts in zip(gradients(x, dy), *rows, strict=True):
        np.testing.assert_allclose(whole, sum(parts), rtol=1e-5, atol=1e-6)


# -- PyTorch ---------------------------------------------------------------------------------------------------------

ORACLE: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "3x3": ((2, 9, 11, 5), {"filters": 7, "kernel_size": 3}),
    "same": ((2, 9, 12, 16), {"filters": 32, "kernel_size": 3, "padding": "same", "activation": "relu"}),
    "same, odd total": ((2, 8, 7, 3), {"filters": 6, "kernel_size": (3, 4), "strides": 2, "padding": "same"}),
    "same, even kernel": ((1, 7, 9, 3), {"filters": 4, "kernel_size": (2, 4), "padding": "same"}),
    "same, stride beyond": ((1, 11, 10, 3), {"filters": 4, "kernel_size": 2, "strides": (3, 4), "padding": "same"}),
    "dilation": ((2, 11, 12, 4), {"filters": 6, "kernel_size": 3, "dilation_rate": (2, 3), "activation": "tanh"}),
    "dilation and strides": ((2, 13, 12, 4), {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "strides": (2, 1)}),
    "groups": ((2, 8, 8, 6), {"filters": 9, "kernel_size": 3, "groups": 3, "padding": 1, "activation": "leaky_relu"}),
    "depthwise": ((2, 8, 9, 17), {"filters": 17, "kernel_size": 3, "groups": 17, "padding": "same"}),
    "alexnet's first": ((1, 43, 39, 3), {"filters": 16, "kernel_size": 11, "strides": 4, "activation": "relu"}),
    "padding by sides": ((2, 6, 6, 3), {"filters": 4, "kernel_size": 5, "padding": ((1, 2), (3, 0))}),
    "1x1": ((2, 7, 5, 33), {"filters": 65, "kernel_size": 1, "use_bias": False}),
    "1x1, strides": ((2, 7, 5, 16), {"filters": 32, "kernel_size": 1, "strides": 2}),
    "softmax": ((2, 5, 5, 3), {"filters": 4, "kernel_size": 3, "activation": "softmax"}),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", ORACLE)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_convolution_is_pytorchs(name: str, backend: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    shape, arguments = ORACLE[name]
    ours = L.Conv2D(**arguments)
    graph = Graph(backend=backend, dtype=dtype)
    ours.ensure_built(shape[1:])
    ours.set_weights([numbers(*w.shape, seed=7 + i) for i, w in enumerate(ours.weights)])
    x = numbers(*shape, dtype=dtype)
    tensor = graph.tensor(x, requires_grad=True)
    y = ours(tensor)
    dy = numbers(*y.shape, seed=1, dtype=dtype)
    graph.backward(y, gradient=dy)

    theirs = [torch.tensor(a.astype(dtype), requires_grad=True) for a in (x, *ours.get_weights())]
    z = pytorchs(torch, theirs, ours)
    act = {"relu": torch.relu, "tanh": torch.tanh, "softmax": lambda z: torch.softmax(z, 3), None: lambda z: z,
           "leaky_relu": lambda z: torch.nn.functional.leaky_relu(z, 0.2)}[arguments.get("activation")]  # fmt: skip
    torch_y = act(z)
    torch_y.backward(torch.tensor(dy))
    got = [y.numpy(), tensor.grad, *(p.grad for p in ours.parameters())]
    want = [torch_y.detach().numpy(), *(t.grad.numpy() for t in theirs)]
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    for a, b in zip(got, want, strict=True):
        close = 1e-6 if dtype == "float64" and a.dtype == np.float32 else tolerance  # parameters are float32
        np.testing.assert_allclose(a, b, rtol=0, atol=close * np.abs(b).max())


def pytorchs(torch: Any, leaves: list[Any], layer: Any) -> Any:
    """The same sum by PyTorch, whose 'same' is another one: the padding is written out."""
    x, W, *b = leaves
    pads = layer.padding
    if pads == "same":
        pads = [same_padding(*side) for side in zip(x.shape[1:3], layer.kernel_size, layer.strides,
                                                    layer.dilation_rate, strict=True)]  # fmt: skip
    if pads == "valid":
        pads = [(0, 0), (0, 0)]
    padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (*pads[1], *pads[0]))
    z = torch.nn.functional.conv2d(
        padded, W.permute(3, 2, 0, 1), b[0] if b else None, layer.strides, 0, layer.dilation_rate, layer.groups
    )
    return z.permute(0, 2, 3, 1)


# -- the arithmetic of the courses -----------------------------------------------------------------------------------


def windows_of(image: np.ndarray, **arguments: Any) -> np.ndarray:
    """What each window sees: a convolution with nine kernels that have a single 1."""
    layer = L.Conv2D(9, 3, use_bias=False, **arguments)
    layer.ensure_built((*image.shape, 1))
    layer.set_weights([np.eye(9).reshape(3, 3, 1, 9)])
    y = run(layer, image[None, :, :, None])[0]
    return y.reshape(*y.shape[:2], 3, 3)


def test_the_image_numbered_1_to_25() -> None:
    image = np.arange(1.0, 26).reshape(5, 5)
    seen = windows_of(image)
    assert seen.shape == (3, 3, 3, 3)
    assert seen[0, 0].tolist() == [[1, 2, 3], [6, 7, 8], [11, 12, 13]]
    assert seen[2, 2].tolist() == [[13, 14, 15], [18, 19, 20], [23, 24, 25]]
    same = windows_of(image, padding="same")
    assert same.shape == (5, 5, 3, 3)
    assert same[0, 0].tolist() == [[0, 0, 0], [0, 1, 2], [0, 6, 7]]
    assert same[4, 4].tolist() == [[19, 20, 0], [24, 25, 0], [0, 0, 0]]
    np.testing.assert_array_equal(same[:, :, 1, 1], image)
    strided = windows_of(image, strides=2)
    assert strided.shape == (2, 2, 3, 3)
    assert strided[1, 1].tolist() == seen[2, 2].tolist()


SIDES: list[tuple[tuple[int, int, int], dict[str, Any], tuple[int, int, int], int]] = [
    ((28, 28, 1), {"filters": 32, "kernel_size": (5, 5)}, (24, 24, 32), 832),
    ((12, 12, 32), {"filters": 64, "kernel_size": (5, 5)}, (8, 8, 64), 51264),
    ((32, 32, 3), {"filters": 1, "kernel_size": 5}, (28, 28, 1), 76),
    ((227, 227, 3), {"filters": 96, "kernel_size": 11, "strides": 4}, (55, 55, 96), 34944),
    ((27, 27, 96), {"filters": 256, "kernel_size": 5, "padding": 2}, (27, 27, 256), 614656),
    ((27, 27, 96), {"filters": 256, "kernel_size": 5, "padding": 2, "groups": 2}, (27, 27, 256), 307456),
    ((224, 224, 3), {"filters": 64, "kernel_size": 3, "padding": "same"}, (224, 224, 64), 1792),
    ((32, 32, 16), {"filters": 32, "kernel_size": 3, "strides": 2, "padding": "same"}, (16, 16, 32), 4640),
]


@pytest.mark.parametrize(("shape", "arguments", "output", "count"), SIDES, ids=str)
def test_sides_and_parameters(shape: Any, arguments: Any, output: Any, count: int) -> None:
    layer = L.Conv2D(**arguments)
    assert layer.ensure_built(shape) == output
    assert layer.count_params() == count
    (top, bottom), (left, right) = layer.padding if not isinstance(layer.padding, str) else ((0, 0), (0, 0))
    if layer.padding != "same":
        for n, m, pads, k, s in zip(shape, output, (top + bottom, left + right), layer.kernel_size, layer.strides,
                                    strict=False):  # fmt: skip
            assert m == (n - k + pads) // s + 1
    assert layer(Input(shape)).shape == output


def c1() -> Sequential:
    return Sequential(
        [
            L.Conv2D(32, (5, 5), activation="relu", input_shape=(28, 28, 1)),
            L.MaxPooling2D((2, 2)),
            L.Conv2D(64, (5, 5), activation="relu"),
            L.MaxPooling2D((2, 2)),
            L.Flatten(),
            L.Dense(10, activation="softmax"),
        ]
    )


def m2() -> Sequential:
    return Sequential(
        [
            L.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            L.MaxPooling2D((2, 2)),
            L.Conv2D(64, (3, 3), activation="relu"),
            L.MaxPooling2D((2, 2)),
            L.Conv2D(64, (3, 3), activation="relu"),
            L.Flatten(),
            L.Dense(64, activation="relu"),
            L.Dense(10, activation="softmax"),
        ]
    )


def test_the_networks_of_the_courses() -> None:
    model = c1()
    assert [layer.count_params() for layer in model.layers] == [832, 0, 51264, 0, 0, 10250]
    assert model.count_params() == 62346
    shapes = [(24, 24, 32), (12, 12, 32), (8, 8, 64), (4, 4, 64), (1024,), (10,)]
    assert [layer.output_shape for layer in model.layers] == shapes
    assert m2().count_params() == 93322


def test_c1_learns_a_batch() -> None:
    nn.set_seed(1)
    model = c1()
    model.compile(optimizer=nn.optim.Adam(1e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    x, labels = numbers(20, 28, 28, 1), np.arange(20) % 10
    model.fit(x, labels, epochs=12, batch_size=10, verbose=0)
    assert model.evaluate(x, labels, verbose=0)[1] == 1


def test_a_convolution_of_one_pixel_is_dense() -> None:
    conv, dense = L.Conv2D(5, 1, activation="tanh"), L.Dense(5, activation="tanh")
    conv.ensure_built((3, 4, 6))
    dense.ensure_built((6,))
    W, b = numbers(6, 5), numbers(5, seed=1)
    conv.set_weights([W[None, None], b])
    dense.set_weights([W, b])
    x = numbers(2, 3, 4, 6, seed=2)
    np.testing.assert_allclose(run(conv, x), run(dense, x), rtol=1e-5, atol=1e-6)


def test_groups_are_convolutions_side_by_side() -> None:
    whole, parts = L.Conv2D(6, 3, groups=2), [L.Conv2D(3, 3), L.Conv2D(3, 3)]
    x = numbers(2, 6, 7, 8)
    y = run(whole, x)
    W, b = whole.get_weights()
    assert W.shape == (3, 3, 4, 6)
    for g, part in enumerate(parts):
        channels, filters = slice(4 * g, 4 * g + 4), slice(3 * g, 3 * g + 3)
        part.ensure_built((6, 7, 4))
        part.set_weights([W[..., filters], b[filters]])
        np.testing.assert_allclose(run(part, x[..., channels]), y[..., filters], rtol=1e-5, atol=1e-6)


# -- Keras's habits --------------------------------------------------------------------------------------------------


def test_arguments_by_position_and_short_forms() -> None:
    layer = L.Conv2D(16, (3, 3), (2, 1), "SAME", "channels_last", (1, 2), 2, "relu", False, "he_normal")
    assert (layer.filters, layer.kernel_size, layer.strides, layer.padding) == (16, (3, 3), (2, 1), "same")
    assert (layer.dilation_rate, layer.groups, layer.activation, layer.use_bias) == ((1, 2), 2, "relu", False)
    assert type(layer.kernel_initializer).__name__ == "HeNormal"
    plain = L.Conv2D(np.int64(4), 5, strides=[2, 3], padding=np.int32(1))
    assert (plain.filters, plain.kernel_size, plain.strides) == (4, (5, 5), (2, 3))
    assert plain.padding == ((1, 1), (1, 1)) == L.Conv2D(4, 5, padding=(1, 1)).padding
    assert L.Conv2D(4, 5, padding=[1, [2, 3]]).padding == ((1, 1), (2, 3))
    with pytest.raises(ValueError, match="unknown activation 'rulu': did you mean 'relu'"):
        L.Conv2D(4, 3, activation="rulu")


def test_old_module_paths() -> None:
    from tinynn.compat.keras.layers import Conv2D, Convolution2D
    from tinynn.compat.keras.layers.convolutional import Conv2D as Third

    assert Conv2D is Third is Convolution2D is keras.layers.Convolution2D is L.Conv2D


def test_names_and_variables() -> None:
    model = Sequential([L.Conv2D(4, 3, input_shape=(8, 8, 1)), L.Conv2D(4, 3), L.Flatten()])
    assert list(model.named_variables()) == ["conv2d/kernel", "conv2d/bias", "conv2d_1/kernel", "conv2d_1/bias"]


def test_initial_values_count_the_window() -> None:
    layer = L.Conv2D(64, (5, 3))
    layer.ensure_built((9, 9, 32))
    W, b = layer.get_weights()
    limit = np.sqrt(6 / (5 * 3 * 32 + 5 * 3 * 64))  # glorot_uniform's
    assert 0.99 * limit < np.abs(W).max() <= limit
    assert not b.any()


FULL = {
    "filters": 4,
    "kernel_size": (3, 2),
    "strides": (2, 1),
    "padding": ((1, 0), (2, 1)),
    "dilation_rate": (1, 2),
    "groups": 2,
    "activation": L.PReLU(shared_axes=[1, 2]),
    "kernel_initializer": "he_uniform",
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "bias_regularizer": "l1",
    "activity_regularizer": "l2",
    "kernel_constraint": "max_norm",
    "bias_constraint": "non_neg",
    "input_shape": (None, None, 6),
    "name": "full",
}


def test_a_config_with_everything_makes_an_equal_layer() -> None:
    layer = L.Conv2D(**FULL)
    text = json.dumps(layer.config())
    copy = L.Conv2D(**json.loads(text))
    assert json.dumps(copy.config()) == text
    assert copy.padding == layer.padding == ((1, 0), (2, 1))
    outputs = []
    for one in (layer, copy):
        one.ensure_built((7, 8, 6))
        one.set_weights([numbers(*w.shape, seed=i) for i, w in enumerate(one.weights)])
        outputs.append(run(one, numbers(2, 7, 8, 6)))
    np.testing.assert_array_equal(*outputs)


def test_regularizers_constraints_and_activity() -> None:
    layer = L.Conv2D(**{**FULL, "input_shape": (7, 8, 6)})
    model = Sequential([layer, L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    x, y = numbers(4, 7, 8, 6), numbers(4, 1, seed=1)
    graph = model.graph(training=True)
    total = float(model.total_loss(graph, graph.tensor(x), y).numpy())
    output = run(layer, x)
    mse = np.mean((model.predict(x) - y) ** 2)
    W, b = layer.kernel.numpy(), layer.bias.numpy()
    penalties = 0.01 * (W**2).sum() + 0.01 * np.abs(b).sum() + 0.01 * (output**2).sum() / 4
    assert total == pytest.approx(mse + penalties, rel=1e-4)


# -- images of any size ----------------------------------------------------------------------------------------------


def test_open_sizes_take_images_of_any_size() -> None:
    x = Input((None, None, 3))
    first = L.Conv2D(4, 3, 2, "same", activation="relu")
    y = L.Conv2D(2, 3)(first(x))
    assert first.output_shape == (None, None, 4)
    assert y.shape == (None, None, 2)
    model = Model(x, y)
    for rows, columns in ((9, 12), (10, 11), (6, 5)):
        images = numbers(2, rows, columns, 3)
        fixed = L.Conv2D(4, 3, 2, "same", activation="relu")
        fixed.ensure_built((rows, columns, 3))
        fixed.set_weights(first.get_weights())
        assert model.predict(images).shape == (2, -(-rows // 2) - 2, -(-columns // 2) - 2, 2)
        np.testing.assert_array_equal(run(first, images), run(fixed, images))


class Residual(Layer):
    """Layers inside a layer that does not write ``build``."""

    def __init__(self, **base: Any):
        super().__init__(**base)
        self.conv = L.Conv2D(3, 3, padding="same")
        self.last = L.Conv2D(4, 5)

    def forward(self, x: Any) -> Any:
        return self.last(x + self.conv(x))


@pytest.mark.parametrize("first", [L.Lambda(lambda x: 2 * x), Residual()], ids=["lambda", "residual"])
def test_layers_whose_shape_is_found_by_a_call_keep_sizes_open(first: Layer) -> None:
    x = Input((None, None, 3))
    y = first(x)
    assert y.shape[:2] == (None, None)
    model = Model(x, L.Conv2D(2, 3)(y))
    lost = 6 if isinstance(first, Residual) else 2
    for rows, columns in ((9, 12), (7, 70)):
        assert model.predict(numbers(2, rows, columns, 3)).shape == (2, rows - lost, columns - lost, 2)


def test_a_layer_built_for_one_size_takes_another() -> None:
    layer = L.Conv2D(4, 3, activation=L.PReLU(shared_axes=[1, 2]))
    assert run(layer, numbers(1, 5, 6, 3)).shape == (1, 3, 4, 4)
    assert run(layer, numbers(2, 9, 3, 3)).shape == (2, 7, 1, 4)
    assert layer(Input((8, 8, 3))).shape == (6, 6, 4)


def test_no_rows_make_no_rows() -> None:
    layer = L.Conv2D(4, 3, padding="same", activation="relu")
    assert run(layer, numbers(0, 5, 6, 3)).shape == (0, 5, 6, 4)


def test_fast_math_reaches_the_kernel() -> None:
    seen: list[bool] = []

    class Watched(Layer):
        def forward(self, x: Any) -> Any:
            seen.append(x.graph.fast_math)
            return x

    model = Sequential([L.Conv2D(2, 3, input_shape=(5, 5, 1)), Watched(), L.Flatten(), L.Dense(1)])
    x, y = numbers(2, 5, 5, 1), numbers(2, 1)
    model(Graph().tensor(x))
    model(Graph(fast_math=True).tensor(x))
    for fast in (True, False):
        model.compile("sgd", "mse", fast_math=fast)
        model.fit(x, y, verbose=0)
        model.predict(x)
    assert seen[-6:] == [False, True, True, True, False, False]


@pytest.mark.parametrize("fast", [False, True])
def test_the_graph_hands_fast_math_on(fast: bool) -> None:
    calls: list[bool] = []
    graph = Graph(fast_math=fast, backend="reference")
    kernels = graph.backend.conv2d

    class Kernels:
        @staticmethod
        def forward(*arguments: Any) -> None:
            calls.append(arguments[-1])
            kernels.forward(*arguments)

        @staticmethod
        def backward(*arguments: Any) -> None:
            calls.append(arguments[-1])
            kernels.backward(*arguments)

    graph = Graph(fast_math=fast, backend=replace(graph.backend, conv2d=Kernels))
    x = graph.tensor(numbers(1, 4, 4, 1), requires_grad=True)
    graph.backward(L.Conv2D(2, 3)(x).sum())
    assert calls == [fast, fast]


# -- errors ----------------------------------------------------------------------------------------------------------

ARGUMENTS: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "no filters": ({"filters": 0}, ValueError, ["filters", "positive integer", "0"]),
    "negative filters": ({"filters": -3}, ValueError, ["filters", "-3"]),
    "half a filter": ({"filters": 1.5}, TypeError, ["filters", "1.5"]),
    "kernel of zero": ({"kernel_size": 0}, ValueError, ["kernel_size", "0"]),
    "kernel of zero columns": ({"kernel_size": (3, 0)}, ValueError, ["kernel_size", "0"]),
    "kernel of three sizes": ({"kernel_size": (3, 3, 3)}, ValueError, ["kernel_size", "(rows, columns)"]),
    "kernel as text": ({"kernel_size": "3x3"}, TypeError, ["kernel_size", "3x3"]),
    "strides of zero": ({"strides": 0}, ValueError, ["strides", "0"]),
    "negative strides": ({"strides": (1, -2)}, ValueError, ["strides", "-2"]),
    "dilation of zero": ({"dilation_rate": 0}, ValueError, ["dilation_rate", "0"]),
    "no groups": ({"groups": 0}, ValueError, ["groups", "0"]),
    "filters by groups": ({"filters": 8, "groups": 3}, ValueError, ["8 filters", "3 groups"]),
    "padding misspelled": ({"padding": "sane"}, ValueError, ["'sane'", "did you mean 'same'"]),
    "negative padding": ({"padding": (1, -1)}, ValueError, ["padding", "-1"]),
    "fractional padding": ({"padding": 0.5}, TypeError, ["padding", "0.5", "((top, bottom), (left, right))"]),
    "padding of three": ({"padding": (1, 1, 1)}, TypeError, ["padding", "(1, 1, 1)"]),
    "padding of nothing": ({"padding": None}, TypeError, ["padding", "None"]),
    "empty padding": ({"padding": ()}, TypeError, ["padding", "()"]),
    "channels first": ({"data_format": "channels_first"}, ValueError, ["np.moveaxis(x, 1, -1)", "Permute((2, 3, 1))"]),
    "data_format": ({"data_format": "NHWC"}, ValueError, ["channels_last", "NHWC"]),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_bad_arguments(case: str) -> None:
    arguments, kind, words = ARGUMENTS[case]
    with pytest.raises(kind) as caught:
        L.Conv2D(**{"filters": 4, "kernel_size": 3, "name": "first", **arguments})
    assert all(word in str(caught.value) for word in ["'first'", *words]), str(caught.value)


FIRST = "looks like channels-first images: transpose them with np.moveaxis(x, 1, -1)"
SHAPES: dict[str, tuple[dict[str, Any], tuple[Any, ...], list[str]]] = {
    "kernel larger": ({"kernel_size": 5}, (4, 9, 3), ["kernel_size=(5, 5)", "4 x 9", "padding='same'"]),
    "wider": ({"kernel_size": (3, 10)}, (4, 9, 3), ["kernel_size=(3, 10)", "4 x 9"]),
    "larger than padded": ({"kernel_size": 7, "padding": 1}, (4, 9, 3), ["((1, 1), (1, 1))", "4 x 9"]),
    "larger by dilation": ({"kernel_size": 3, "dilation_rate": (2, 4)}, (9, 8, 3), ["5 x 9", "9 x 8"]),
    "larger, open": ({"kernel_size": 3}, (2, None, 3), ["kernel_size=(3, 3)"]),
    "groups": ({"groups": 2}, (9, 9, 3), ["2 groups", "3 channels"]),
    "vectors": ({}, (784,), ["images", "(None, 784)", "Reshape"]),
    "no channels": ({}, (28, 28), ["images", "(None, 28, 28)", "Reshape((28, 28, 1))"]),
    "video": ({}, (4, 9, 9, 3), ["images", "(None, 4, 9, 9, 3)"]),
    "number": ({}, (), ["images", "(None,)"]),
    "open channels": ({}, (9, 9, None), ["known number of channels"]),
    "channels first, too small": ({"kernel_size": 5}, (3, 32, 32), ["3 x 32", FIRST]),
    "channels first, one": ({}, (1, 28, 28), ["1 x 28", FIRST]),
    "channels first, groups": ({"groups": 4, "padding": "same"}, (3, 33, 33), ["4 groups", FIRST]),
}


@pytest.mark.parametrize("case", SHAPES)
def test_shapes_that_do_not_fit(case: str) -> None:
    arguments, shape, words = SHAPES[case]
    layer = L.Conv2D(**{"filters": 4, "kernel_size": 3, "name": "first", **arguments})
    with pytest.raises(ValueError) as caught:
        layer.ensure_built(shape)
    assert all(word in str(caught.value) for word in ["'first'", *words]), str(caught.value)
    assert not layer.built
    assert layer.ensure_built((12, 12, 4))[2] == 4  # a refusal leaves it as it was


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (4, 8, 8)])
def test_a_warning_where_channels_first_images_would_pass(shape: tuple[int, ...]) -> None:
    with pytest.warns(UserWarning, match=r"'conv2d'.*np\.moveaxis\(x, 1, -1\)"):
        L.Conv2D(4, 3, padding="same").ensure_built(shape)


@pytest.mark.parametrize("shape", [(32, 32, 3), (3, 32, 16), (3, 3, 3), (2, 32, 32), (28, 28, 1), (None, None, 3)])
def test_no_warning_for_other_images(shape: tuple[Any, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        L.Conv2D(4, 3, padding="same").ensure_built(shape)


def test_images_that_a_built_layer_does_not_take() -> None:
    layer = L.Conv2D(4, 3, name="first")
    layer.ensure_built((32, 32, 3))
    graph = Graph()
    for shape, words in {
        (2, 32, 32, 1): ["3 channels", "(None, None, None, 3)", "(None, 32, 32, 1)"],
        (2, 3, 32, 32): [FIRST],
        (2, 2, 32, 3): ["kernel_size=(3, 3)", "2 x 32"],
        (2, 32, 32): ["images", "(None, 32, 32)"],
    }.items():
        with pytest.raises(ValueError) as caught:
            layer(graph.tensor(numbers(*shape)))
        assert all(word in str(caught.value) for word in ["'first'", *words]), str(caught.value)


def test_the_models_door_knows_channels_first() -> None:
    model = Sequential([L.Conv2D(2, 3, input_shape=(8, 8, 3)), L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    before = [w.tobytes() for w in model.get_weights()]
    for method in (lambda x: model.fit(x, np.zeros((2, 1)), verbose=0), model.predict):
        with pytest.raises(ValueError, match=r"'conv2d'.*channels first: write np\.moveaxis\(x, 1, -1\)"):
            method(numbers(2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"write x\[None\]"):
        model.predict(numbers(8, 8, 3))
    with pytest.raises(ValueError, match=r"expects x of shape \(None, 8, 8, 3\), got \(2, 8, 8, 1\)"):
        model.predict(numbers(2, 8, 8, 1))
    assert [w.tobytes() for w in model.get_weights()] == before
    model.predict(np.moveaxis(numbers(2, 3, 8, 8), 1, -1))


def test_a_model_without_a_shape_says_what_is_wrong_with_the_data() -> None:
    model = Sequential([L.Conv2D(2, 3), L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"'conv2d' expects images.*Reshape\(\(8, 8, 1\)\)"):
        model.fit(numbers(2, 8, 8), np.zeros((2, 1)), verbose=0)
    with pytest.raises(ValueError, match="channels-first"):
        model.fit(numbers(2, 1, 8, 8), np.zeros((2, 1)), verbose=0)
    model.fit(numbers(2, 8, 8, 1), np.zeros((2, 1)), verbose=0)  # a refusal leaves it unbuilt


# -- inside a network ------------------------------------------------------------------------------------------------


class Twice(Layer):
    """One convolution called two times."""

    def __init__(self, **base: Any):
        super().__init__(**base)
        self.conv = L.Conv2D(3, 3, padding="same", activation="tanh")

    def forward(self, x: Any) -> Any:
        return self.conv(self.conv(x))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_shared_convolution_adds_its_gradients(backend: str) -> None:
    nn.gradcheck.check(Twice(), numbers(2, 5, 6, 3), backend=backend, verbose=0)


@pytest.mark.parametrize("activation", [None, "relu", "sigmoid", "softmax"])
def test_gradcheck_of_the_layer(activation: str | None) -> None:
    nn.gradcheck.check(
        L.Conv2D(4, (2, 3), (2, 1), "same", activation=activation, kernel_regularizer="l2"),
        numbers(2, 5, 6, 3),
        verbose=0,
    )


def test_a_frozen_convolution_stays() -> None:
    model = Sequential([L.Conv2D(2, 3, input_shape=(6, 6, 1), trainable=False), L.Flatten(), L.Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(numbers(8, 6, 6, 1), numbers(8, 1), verbose=0)
    changed = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert changed == [False, False, True, True]


def test_the_first_layer_needs_no_gradient_of_the_images() -> None:
    graph = Graph()
    function = Convolve2D(Window((3, 3)), 1, Activation.RELU)
    W = graph.tensor(numbers(3, 3, 1, 2), requires_grad=True)
    y = function(graph.tensor(numbers(2, 5, 5, 1)), W)
    dx, dW = function.backward(graph, np.ones_like(y.data))
    assert dx is None
    assert dW.shape == (3, 3, 1, 2)


@pytest.mark.parametrize("strides", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(2, 2), (1, 3)])
def test_strides_and_dilation_together(strides: Pair, dilation: Pair) -> None:
    layer = L.Conv2D(3, (2, 3), strides, "same", dilation_rate=dilation)
    assert run(layer, numbers(1, 9, 10, 2)).shape == (1, -(-9 // strides[0]), -(-10 // strides[1]), 3)
