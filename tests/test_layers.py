"""Layers: configs, shapes, counts, names, errors, statistics, random numbers; PyTorch as an outside oracle."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests.device import device_backend
from tinynn import Graph, Parameter
from tinynn import layers as L
from tinynn.backends.cpu import threads
from tinynn.layers.base import Layer
from tinynn.random import Stream

BACKENDS = ["reference", "cpu"]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(layer: Layer, x: np.ndarray, training: bool = False, backend: Any = None, dtype: str = "float32") -> np.ndarray:
    graph = Graph(training=training, backend=backend, dtype=dtype)
    return np.asarray(layer(graph.tensor(x)).numpy())


# -- the table of layers ---------------------------------------------------------------------------------------------

# layer, input shape, output shape, number of weights
TABLE: list[tuple[Layer, tuple[int, ...], tuple[int, ...], int]] = [
    (L.Dense(3), (5,), (3,), 18),
    (L.Dense(3, activation="relu", use_bias=False), (4, 5), (4, 3), 15),
    (L.Dense(3, activation=L.PReLU(), kernel_regularizer="l2", kernel_initializer="he_normal"), (5,), (3,), 21),
    (L.Dense(2, bias_constraint="non_neg", activity_regularizer="l1", name="last", trainable=False), (5,), (2,), 12),
    (L.Activation("gelu"), (5,), (5,), 0),
    (L.Activation("softmax"), (2, 5), (2, 5), 0),
    (L.Activation(L.LeakyReLU(0.1)), (5,), (5,), 0),
    (L.Activation("prelu"), (5,), (5,), 5),
    (L.LeakyReLU(0.2), (5,), (5,), 0),
    (L.LeakyReLU(alpha=0.2), (5,), (5,), 0),
    (L.ReLU(6.0, 0.1, 0.5), (5,), (5,), 0),
    (L.ReLU(negative_slope=0.1), (5,), (5,), 0),
    (L.ELU(0.5), (5,), (5,), 0),
    (L.Softmax(axis=1), (4, 5), (4, 5), 0),
    (L.PReLU("ones", shared_axes=[1, 2]), (4, 5, 3), (4, 5, 3), 3),
    (L.Flatten(input_shape=(4, 5)), (4, 5), (20,), 0),
    (L.Flatten(), (), (1,), 0),
    (L.Reshape((2, -1)), (4, 5), (2, 10), 0),
    (L.Reshape(20), (4, 5), (20,), 0),
    (L.Permute((3, 1, 2)), (4, 5, 6), (6, 4, 5), 0),
    (L.RepeatVector(3), (5,), (3, 5), 0),
    (L.Dropout(0.5, noise_shape=(None, 1, 5), seed=3), (4, 5), (4, 5), 0),
    (L.GaussianNoise(0.1, seed=1), (5,), (5,), 0),
    (L.GaussianDropout(0.1), (5,), (5,), 0),
    (L.BatchNormalization(), (4, 4, 5), (4, 4, 5), 20),
    (L.BatchNormalization(axis=1, scale=False, momentum=0.9, epsilon=1e-5), (5, 4), (5, 4), 15),
    (L.LayerNormalization(), (4, 5), (4, 5), 10),
    (L.LayerNormalization(axis=[1, -1], center=False), (4, 5), (4, 5), 20),
    (L.LayerNormalization(axis=1), (4, 5), (4, 5), 8),
    (L.Normalization(mean=[1.0, 2.0], variance=[4.0, 9.0]), (2,), (2,), 0),
    (L.Normalization(axis=None, mean=1.0, variance=4.0), (2,), (2,), 0),
    (L.Maxout(3, pieces=2, use_bias=False), (5,), (3,), 30),
    (L.Conv2D(3, 3, activation="relu"), (5, 6, 2), (3, 4, 3), 57),
    (L.Conv2D(4, (1, 3), 2, "same", dilation_rate=(1, 2), groups=2, use_bias=False), (5, 6, 2), (3, 3, 4), 12),
    (L.BatchNormalization(axis=1), (3, 5, 4), (3, 5, 4), 12),
    (L.BatchNormalization(axis=[3]), (3, 5, 4), (3, 5, 4), 16),
    (L.LayerNormalization(axis=[1, 2, 3]), (3, 5, 4), (3, 5, 4), 120),
    (L.LayerNormalization(axis=(-2, -1)), (3, 5, 4), (3, 5, 4), 40),
    (L.LayerNormalization(axis=1), (3, 5, 4), (3, 5, 4), 6),
    (L.SpatialDropout1D(0.5, seed=3), (4, 5), (4, 5), 0),
    (L.SpatialDropout2D(0.5, "channels_last", 3), (3, 4, 5), (3, 4, 5), 0),
    (L.MaxPooling2D(), (7, 5, 3), (3, 2, 3), 0),
    (L.MaxPooling2D((3, 2), strides=2, padding="SAME", data_format="channels_last"), (7, 6, 3), (4, 3, 3), 0),
    (L.MaxPooling2D(3, (1, 2)), (7, 6, 1), (5, 2, 1), 0),
    (L.AveragePooling2D(2, 3), (7, 9, 65), (2, 3, 65), 0),
    (L.AveragePooling2D(padding="same"), (1, 1, 3), (1, 1, 3), 0),
    (L.GlobalAveragePooling2D(), (7, 5, 3), (3,), 0),
    (L.GlobalAveragePooling2D(keepdims=True), (7, 5, 3), (1, 1, 3), 0),
    (L.GlobalMaxPooling2D(), (7, 5, 3), (3,), 0),
    (L.GlobalMaxPooling2D("channels_last", True), (7, 5, 3), (1, 1, 3), 0),
    (L.ZeroPadding2D(), (7, 5, 3), (9, 7, 3), 0),
    (L.ZeroPadding2D((0, 2)), (7, 5, 3), (7, 9, 3), 0),
    (L.ZeroPadding2D(((1, 2), (3, 4))), (7, 5, 3), (10, 12, 3), 0),
    (L.Cropping2D(((1, 2), (3, 0))), (7, 5, 3), (4, 2, 3), 0),
    (L.UpSampling2D(), (3, 2, 4), (6, 4, 4), 0),
    (L.UpSampling2D((1, 3), interpolation="bilinear"), (3, 2, 4), (3, 6, 4), 0),
]
every_layer = pytest.mark.parametrize("layer, shape, output, count", TABLE, ids=lambda v: repr(v)[:40])


def fresh(layer: Layer) -> Any:
    return type(layer)(**json.loads(json.dumps(layer.config())))


@every_layer
def test_a_config_makes_an_equal_layer(layer: Layer, shape: Any, output: Any, count: int) -> None:
    copy = fresh(layer)
    assert json.dumps(copy.config()) == json.dumps(layer.config())
    x, y = fresh(layer), fresh(layer)
    nn.set_seed(5)
    a = run(x, numbers(3, *shape), training=True)
    nn.set_seed(5)
    np.testing.assert_array_equal(a, run(y, numbers(3, *shape), training=True))


@every_layer
@pytest.mark.parametrize("backend", [*BACKENDS, "device"])
def test_shapes_and_counts(layer: Layer, shape: Any, output: Any, count: int, backend: str) -> None:
    layer = fresh(layer)
    layer.ensure_built(shape)
    assert layer.output_shape == output
    assert layer.count_params() == count == sum(w.size for w in layer.get_weights())
    home = device_backend() if backend == "device" else backend
    layer = fresh(layer)
    layer.stream = Stream(1, 0)
    graph = Graph(training=True, backend=home)
    layer.ensure_built(shape)
    x = graph.tensor(numbers(3, *shape), requires_grad=True)
    y = layer(x)
    assert y.shape == (3, *output)
    assert y.dtype == np.float32
    graph.backward((y * y).sum())
    assert x.grad is not None
    assert x.grad.shape == x.shape
    for parameter in layer.parameters():
        assert (parameter.grad is not None) == layer.trainable
        if parameter.grad is None:
            continue
        assert parameter.grad.shape == parameter.shape
        assert parameter.grad.dtype == np.float32


@every_layer
def test_symbols_have_the_shapes_of_tensors(layer: Layer, shape: Any, output: Any, count: int) -> None:
    symbol = fresh(layer)(L.Input(shape))
    assert symbol.shape == output


def test_a_lambda_cannot_be_saved_and_says_so() -> None:
    with pytest.raises(TypeError, match="Lambda 'twice' cannot be saved.*subclass of tinynn.Layer"):
        L.Lambda(lambda x: x * 2, name="twice").config()


def test_get_class_finds_ours_and_custom_ones() -> None:
    assert L.get_class("Dense") is L.Dense
    assert L.get_class("Scale", {"Scale": Scale}) is Scale
    with pytest.raises(ValueError, match="unknown layer 'Dens'"):
        L.get_class("Dens")


# -- small layers ----------------------------------------------------------------------------------------------------


def test_reshaping_keeps_row_major_order() -> None:
    x = numbers(2, 3, 4, 5)
    np.testing.assert_array_equal(run(L.Flatten(), x), x.reshape(2, 60))
    np.testing.assert_array_equal(run(L.Reshape((-1, 6)), x), x.reshape(2, 10, 6))
    np.testing.assert_array_equal(run(L.Permute((2, 3, 1)), x), x.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(run(L.RepeatVector(2), x[:, 0, 0]), np.stack([x[:, 0, 0]] * 2, axis=1))


def test_a_reshape_takes_other_shapes_that_fit() -> None:
    layer = L.Reshape((-1, 2))
    assert run(layer, numbers(3, 8)).shape == (3, 4, 2)
    assert run(layer, numbers(3, 2, 3)).shape == (3, 3, 2)
    with pytest.raises(ValueError, match="a multiple of 2"):
        run(layer, numbers(3, 5))


def test_a_lambda_finds_its_shape_and_leaves_statistics_alone() -> None:
    norm = L.BatchNormalization()
    seen: list[bool] = []

    def function(x: Any) -> Any:
        seen.append(x.graph.training)
        return norm(x).reshape(x.shape[0], 6) * 2

    symbol = L.Lambda(function)(L.Input((2, 3)))
    assert symbol.shape == (6,)
    assert seen == [False]
    np.testing.assert_array_equal(norm.moving_mean.numpy(), np.zeros(3))
    np.testing.assert_array_equal(norm.moving_variance.numpy(), np.ones(3))
    assert L.Lambda(lambda x, k: x * k, arguments={"k": 3.0})(L.Input(4)).shape == (4,)
    assert L.Lambda(lambda x: x, output_shape=(7,))(L.Input(4)).shape == (7,)


@pytest.mark.parametrize("backend", BACKENDS)
def test_maxout_is_the_largest_piece(backend: str) -> None:
    layer, x = L.Maxout(3, pieces=4), numbers(6, 5)
    y = run(layer, x, backend=backend)
    W, b = layer.get_weights()
    pieces = [x @ W[:, 3 * k : 3 * k + 3] + b[3 * k : 3 * k + 3] for k in range(4)]
    np.testing.assert_allclose(y, np.max(pieces, axis=0), rtol=1e-5, atol=1e-6)


def test_relus_follow_kerass_formulas() -> None:
    x = np.array([[-2.0, -0.1, 0.0, 0.5, 0.99, 1.0, 3.0]], np.float32)
    want = np.where(x >= 2, 2, np.where(x >= 0.5, x, 0.1 * (x - 0.5)))
    np.testing.assert_allclose(run(L.ReLU(2.0, 0.1, 0.5), x), want, rtol=1e-6)
    np.testing.assert_allclose(run(L.LeakyReLU(), x), np.where(x > 0, x, 0.3 * x), rtol=1e-6)
    np.testing.assert_allclose(run(L.ELU(0.5), x), np.where(x > 0, x, 0.5 * np.expm1(x)), rtol=1e-6)
    np.testing.assert_allclose(run(L.PReLU(nn.initializers.Constant(0.25)), x), np.where(x > 0, x, x / 4), rtol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu", "sigmoid", "softmax", "log_softmax", L.ReLU(1.0)])
def test_an_activation_in_dense_is_the_layer_behind_it(activation: Any) -> None:
    x, dense = numbers(4, 5), L.Dense(3, activation=activation)
    y = run(dense, x)
    plain = L.Dense(3)
    plain.ensure_built((5,))
    plain.set_weights(dense.get_weights())
    np.testing.assert_allclose(y, run(L.Activation(activation), run(plain, x)), rtol=1e-6, atol=1e-7)


def test_a_learned_activation_in_dense_is_trained() -> None:
    dense = fresh(L.Dense(3, activation=L.PReLU()))
    graph = Graph()
    graph.backward(dense(graph.tensor(numbers(4, 5))).sum())
    assert [p.name for p in dense.parameters()] == ["dense/activation/alpha", "dense/kernel", "dense/bias"]
    assert all(p.grad is not None for p in dense.parameters())


# -- batch and layer normalization -----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_running_statistics_of_two_rows_and_three_channels(backend: str) -> None:
    x = np.array([[1.0, 10.0, -4.0], [3.0, 20.0, 6.0]], np.float32)
    layer = L.BatchNormalization(momentum=0.9)
    y = run(layer, x, training=True, backend=backend)
    mean, variance = np.array([2.0, 15.0, 1.0]), np.array([1.0, 25.0, 25.0])  # biased: sum of squares / 2
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(variance + 1e-3), rtol=1e-5)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.1 * mean, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 + 0.1 * variance, rtol=1e-6)
    before = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    y = run(layer, x, backend=backend)
    np.testing.assert_allclose(y, (x - before[0]) / np.sqrt(before[1] + 1e-3), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before[0])
    run(layer, x, training=True, backend=backend)
    np.testing.assert_allclose(layer.moving_mean.numpy(), 0.9 * before[0] + 0.1 * mean, rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance.numpy(), 0.9 * before[1] + 0.1 * variance, rtol=1e-6)


def test_a_frozen_batch_normalization_predicts() -> None:
    layer, x = L.BatchNormalization(trainable=False), numbers(8, 3) * 5 + 2
    y = run(layer, x, training=True)
    np.testing.assert_allclose(y, x / np.sqrt(1 + 1e-3), rtol=1e-6)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), np.zeros(3))
    assert layer.trainable_weights == []
    layer.trainable = True
    run(layer, x, training=True)
    assert (layer.moving_mean.numpy() != 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_statistics_stay_good_when_a_batch_is_not_finite(backend: str) -> None:
    layer, x = L.BatchNormalization(), numbers(8, 3)
    x[2, 1] = np.nan
    run(layer, x, training=True, backend=backend)
    assert np.isfinite(layer.moving_mean.numpy()).all()
    assert layer.moving_mean.numpy()[1] == 0
    assert layer.moving_mean.numpy()[0] != 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(8, 3), (401, 3), (401, 70), (70_001, 3)])
def test_what_is_not_finite_stays_in_its_channel(backend: str, shape: tuple[int, int]) -> None:
    """Also where rows of few channels are read as one, or remain."""
    x, dy = numbers(*shape), numbers(*shape, seed=1)
    want, got = [], []
    for bad, results in ((0.0, want), (np.nan, got), (np.inf, got)):
        x[-1, 1] = bad
        layer, graph = L.BatchNormalization(), Graph(training=True, backend=backend)
        tensor = graph.tensor(x, requires_grad=True)
        with np.errstate(invalid="ignore"):
            y = layer(tensor)
            graph.backward(y, gradient=dy)
        assert bad == 0 or not np.isfinite(y.numpy()[:, 1]).any()
        results += [np.delete(a, 1, axis=-1) for a in (y.numpy(), tensor.grad, layer.gamma.grad, layer.beta.grad)]
    assert all(np.array_equal(a, b) for a, b in zip(want * 2, got, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_infinite_inputs_do_not_reach_the_gradient_through_given_statistics(backend: str) -> None:
    x, dy = numbers(40, 3), numbers(40, 3, seed=1)
    x[2, 1] = np.inf
    graph = Graph(training=True, backend=backend)
    tensor = graph.tensor(x, requires_grad=True)
    graph.backward(L.BatchNormalization(trainable=False)(tensor), gradient=dy)
    np.testing.assert_allclose(tensor.grad, dy / np.sqrt(1 + 1e-3), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(1000, 3), (64, 300), (70_000, 4), (2, 5)])
def test_a_large_mean_does_not_cost_digits(backend: str, shape: tuple[int, int]) -> None:
    x = (numbers(*shape) + 1000).astype(np.float32)
    wide = x.astype(np.float64)
    y = run(L.BatchNormalization(), x, training=True, backend=backend)
    want = (wide - wide.mean(axis=0)) / np.sqrt(wide.var(axis=0) + 1e-3)
    np.testing.assert_allclose(y, want, atol=2e-6)
    y = run(L.LayerNormalization(), x, backend=backend)
    want = (wide - wide.mean(axis=1, keepdims=True)) / np.sqrt(wide.var(axis=1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(y, want, atol=2e-6)


@pytest.mark.parametrize("make", [L.BatchNormalization, L.LayerNormalization])
@pytest.mark.parametrize("axis", [1, 2, -2])
def test_another_axis_is_a_transposition(make: Any, axis: int) -> None:
    x = numbers(3, 4, 5, 6)
    moved = np.moveaxis(x, axis, -1)
    want = np.moveaxis(run(make(), moved, training=True), -1, axis)
    np.testing.assert_allclose(run(make(axis=axis), x, training=True), want, rtol=1e-5, atol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_normalization_is_pytorchs(backend: str) -> None:
    torch = pytest.importorskip("torch")
    x, dy = numbers(6, 7, 5, 4), numbers(6, 7, 5, 4, seed=1)
    theirs = torch.nn.BatchNorm2d(4, eps=1e-3, momentum=0.1)  # their momentum is the share of the new value
    ours = L.BatchNormalization(momentum=0.9, epsilon=1e-3)
    ours.ensure_built((7, 5, 4))
    gamma, beta = numbers(4, seed=2), numbers(4, seed=3)
    ours.set_weights([gamma, beta, np.zeros(4), np.ones(4)])
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = torch.tensor(gamma), torch.tensor(beta)
    for _ in range(3):
        graph = Graph(training=True, backend=backend)
        tensor = graph.tensor(x, requires_grad=True)
        y = ours(tensor)
        graph.backward(y, gradient=dy)
        torch_x = torch.tensor(x.transpose(0, 3, 1, 2).copy(), requires_grad=True)
        torch_y = theirs(torch_x)
        theirs.zero_grad()
        torch_y.backward(torch.tensor(dy.transpose(0, 3, 1, 2).copy()))
        np.testing.assert_allclose(y.numpy(), torch_y.detach().numpy().transpose(0, 2, 3, 1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(tensor.grad, torch_x.grad.numpy().transpose(0, 2, 3, 1), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(ours.gamma.grad, theirs.weight.grad.numpy(), rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(ours.beta.grad, theirs.bias.grad.numpy(), rtol=1e-4, atol=1e-4)
        x = x * 1.5 + 1
    n = 6 * 7 * 5
    np.testing.assert_allclose(ours.moving_mean.numpy(), theirs.running_mean.numpy(), rtol=1e-5, atol=1e-6)
    unbiased = (ours.moving_variance.numpy() - 0.9**3) * n / (n - 1) + 0.9**3  # all but the share of the start
    np.testing.assert_allclose(unbiased, theirs.running_var.numpy(), rtol=1e-5)
    theirs.eval()
    with torch.no_grad():
        theirs.running_var[:] = torch.tensor(ours.moving_variance.numpy())
        want = theirs(torch.tensor(x.transpose(0, 3, 1, 2).copy())).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(run(ours, x, backend=backend), want, rtol=1e-4, atol=1e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_layer_normalization_is_pytorchs(backend: str, axes: int) -> None:
    torch = pytest.importorskip("torch")
    shape = (6, 5, 8) if axes < 3 else (6, 5, 8, 3)
    x, dy = numbers(*shape) * 3 + 1, numbers(*shape, seed=1)
    features = x.shape[-axes:]
    theirs = torch.nn.LayerNorm(features, eps=1e-3)
    ours = L.LayerNormalization(axis=list(range(-axes, 0)))
    ours.ensure_built(shape[1:])
    gamma, beta = numbers(*features, seed=2), numbers(*features, seed=3)
    ours.set_weights([gamma, beta])
    with torch.no_grad():
        theirs.weight[:], theirs.bias[:] = torch.tensor(gamma), torch.tensor(beta)
    graph = Graph(training=True, backend=backend)
    tensor, torch_x = graph.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, torch_y = ours(tensor), theirs(torch_x)
    graph.backward(y, gradient=dy)
    torch_y.backward(torch.tensor(dy))
    np.testing.assert_allclose(y.numpy(), torch_y.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tensor.grad, torch_x.grad.numpy(), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(ours.gamma.grad, theirs.weight.grad.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.beta.grad, theirs.bias.grad.numpy(), rtol=1e-4, atol=1e-4)


# -- Normalization ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 1, (1, 2), None])
def test_adapt_takes_the_moments_of_the_data(axis: Any) -> None:
    x = numbers(500, 4, 3) * 3 + 1000
    layer = L.Normalization(axis=axis)
    layer.adapt(x, batch_size=64)
    kept = () if axis is None else (axis,) if isinstance(axis, int) else axis
    axes = tuple(k for k in range(3) if k not in [a % 3 for a in kept])
    mean, variance = x.mean(axis=axes, dtype=np.float64), x.astype(np.float64).var(axis=axes)
    np.testing.assert_allclose(layer.mean.numpy(), mean, rtol=1e-6)
    np.testing.assert_allclose(layer.variance.numpy(), variance, rtol=1e-6)
    assert layer.count.numpy() == x.size / mean.size
    y = run(layer, x)
    assert abs(y.mean()) < 1e-3
    assert abs(y.std() - 1) < 0.05
    layer.adapt(x[:10] * 0 + 7)
    np.testing.assert_allclose(layer.mean.numpy(), 7)
    np.testing.assert_array_equal(run(layer, x[:10] * 0 + 7), 0 * x[:10])


def test_normalization_without_statistics_says_so() -> None:
    with pytest.raises(RuntimeError, match=r"layer 'inputs' has no statistics yet: call layer.adapt\(x_train\)"):
        run(L.Normalization(name="inputs"), numbers(3, 2))
    layer = L.Normalization()
    with pytest.raises(ValueError, match="finite"):
        layer.adapt(np.array([[1.0, np.nan]]))
    with pytest.raises(ValueError, match="expects rows of data"):
        layer.adapt(np.zeros((0, 2)))
    with pytest.raises(TypeError, match="expected numbers"):
        L.Normalization().adapt(np.array([["a"]]))
    layer.adapt([[1, 2], [3, 6]])
    np.testing.assert_allclose(run(layer, np.array([[1, 2], [3, 6]])), [[-1, -1], [1, 1]])


def test_normalization_keeps_its_weights() -> None:
    layer, copy = L.Normalization(), L.Normalization()
    layer.adapt(numbers(50, 3))
    copy.ensure_built((3,))
    assert copy.count_params() == 7
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(run(copy, numbers(5, 3)), run(layer, numbers(5, 3)))
    given = fresh(L.Normalization(mean=[1.0, 2.0], variance=[4.0, 0.25]))
    np.testing.assert_allclose(run(given, np.array([[3.0, 3.0]])), [[1.0, 2.0]])


def test_given_statistics_are_constants_as_in_keras() -> None:
    """So that a model with its input's mean in it has the parameters of its paper."""
    mean, variance = [1.0, 2.0, 3.0], [4.0, 0.25, 0.0]
    x = numbers(5, 4, 6, 3)
    layer = L.Normalization(mean=mean, variance=variance)
    expected = (x - np.array(mean)) / np.maximum(np.sqrt(variance), 1e-7)
    np.testing.assert_allclose(run(layer, x), expected, rtol=1e-6)
    np.testing.assert_allclose(run(fresh(layer), x, backend="reference"), expected, rtol=1e-6)
    assert layer.get_weights() == []
    open_sizes = L.Normalization(mean=mean, variance=variance)
    open_sizes.ensure_built((None, None, 3))
    np.testing.assert_allclose(run(open_sizes, x), expected, rtol=1e-6)
    np.testing.assert_allclose(run(open_sizes, x[:, :2]), expected[:, :2], rtol=1e-6)
    pixels = L.Normalization(axis=(1, 2), mean=2.0, variance=np.full((4, 6), 4.0))
    np.testing.assert_allclose(run(pixels, x), (x - 2) / 2, rtol=1e-6)
    with pytest.raises(ValueError, match="was given its mean and variance"):
        layer.adapt(x)
    with pytest.raises(ValueError, match=r"mean and a variance of shape \(2,\), got \(3,\) and \(3,\)"):
        L.Normalization(mean=mean, variance=variance)(L.Input((2,)))


# -- random layers ---------------------------------------------------------------------------------------------------

RANDOM = [L.Dropout(0.4), L.GaussianNoise(0.5), L.GaussianDropout(0.4), L.Dropout(0.4, noise_shape=(None, 1))]


@pytest.mark.parametrize("layer", RANDOM)
def test_a_random_layer_is_the_identity_in_prediction(layer: Any) -> None:
    x = numbers(5, 7)
    np.testing.assert_array_equal(run(fresh(layer), x), x)


@pytest.mark.parametrize("layer", RANDOM)
def test_random_numbers_depend_on_seed_path_step_and_call(layer: Any) -> None:
    def draws(seed: int, path: str, steps: int = 0, calls: int = 1, backend: Any = "cpu") -> np.ndarray:
        copy, stream = fresh(layer), Stream(seed, 0)
        copy.stream, copy.name = stream, path
        for _ in range(steps):
            stream.advance()
        graph = Graph(training=True, backend=backend)
        y = [copy(graph.tensor(np.ones((50, 7), np.float32))) for _ in range(calls)][-1]
        return np.asarray(y.numpy())

    first = draws(1, "a")
    np.testing.assert_array_equal(first, draws(1, "a"))
    for backend in ("reference", device_backend()):
        np.testing.assert_allclose(first, draws(1, "a", backend=backend), rtol=1e-5, atol=1e-6)
    for other in (draws(2, "a"), draws(1, "b"), draws(1, "a", steps=1), draws(1, "a", calls=2)):
        assert (first != other).mean() > 0.1


def test_a_seed_of_its_own_makes_a_layer_independent_of_the_model() -> None:
    x = np.ones((20, 10), np.float32)
    nn.set_seed(1)
    a = run(L.Dropout(0.5, seed=9, name="a"), x, training=True)
    nn.set_seed(2)
    np.testing.assert_array_equal(a, run(L.Dropout(0.5, seed=9, name="b"), x, training=True))
    assert (a != run(L.Dropout(0.5, seed=10), x, training=True)).any()


def test_every_standalone_step_has_another_mask() -> None:
    layer, x = L.Dropout(0.5), np.ones((20, 10), np.float32)
    assert (run(layer, x, training=True) != run(layer, x, training=True)).any()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_mean(rate: float) -> None:
    y = run(L.Dropout(rate, seed=4), np.ones((400, 500), np.float32), training=True)
    dropped = y == 0
    assert abs(dropped.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / y.size)
    np.testing.assert_allclose(y[~dropped], 1 / (1 - rate), rtol=1e-6)


def test_dropout_of_whole_channels() -> None:
    y = run(L.Dropout(0.5, noise_shape=(None, 1, 1, None), seed=1), np.ones((8, 3, 4, 5), np.float32), training=True)
    assert ((y == y[:, :1, :1]).all(axis=(1, 2))).all()
    assert 0 < (y == 0).mean() < 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_spatial_dropout_takes_whole_channels(backend: str) -> None:
    x = numbers(40, 3, 4, 9) + 5
    y = run(L.SpatialDropout2D(0.25, seed=1), x, training=True, backend=backend)
    gone = (y == 0).all(axis=(1, 2))
    np.testing.assert_allclose(y, np.where(gone[:, None, None], 0, x / 0.75), rtol=1e-6)
    assert abs(gone.mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / gone.size)
    assert (gone != gone[:1]).any()  # one mask for each row
    assert (gone != gone[:, :1]).any()  # and for each channel
    sequences = x[:, 0]
    y = run(L.SpatialDropout1D(0.25, seed=1), sequences, training=True, backend=backend)
    np.testing.assert_allclose(y, np.where(gone[:, None], 0, sequences / 0.75), rtol=1e-6)  # the same draw
    np.testing.assert_array_equal(run(L.SpatialDropout2D(0.25), x, backend=backend), x)


def test_moments_of_noise() -> None:
    x = np.full((300, 1001), 2.0, np.float32)
    y = run(L.GaussianNoise(0.5, seed=4), x, training=True).astype(np.float64) - 2
    n = y.size
    assert abs(y.mean()) < 4 * 0.5 / np.sqrt(n)
    assert abs(y.std() - 0.5) < 4 * 0.5 / np.sqrt(2 * n)
    assert abs((y**4).mean() / 0.5**4 - 3) < 4 * np.sqrt(96 / n)
    y = run(L.GaussianDropout(0.2, seed=4), x, training=True).astype(np.float64)
    assert abs(y.mean() - 2) < 4 * 1.0 / np.sqrt(n)
    assert abs(y.std() - 2 * 0.5) < 0.01


# -- layers by hand, of one's own, and in each other -----------------------------------------------------------------


def test_standalone_layers_have_weights_of_their_own() -> None:
    nn.set_seed(3)
    x = numbers(4, 5)
    a, b = L.Dense(3), L.Dense(3)
    assert (run(a, x) != run(b, x)).all()
    assert [v.name for v in a.variables()] == ["dense/kernel", "dense/bias"]
    nn.set_seed(3)
    np.testing.assert_array_equal(run(L.Dense(3), x), run(a, x))


def test_streams_are_taken_by_models_and_not_by_the_layers_in_them() -> None:
    def second_model(units: int) -> np.ndarray:
        nn.set_seed(3)
        nn.Sequential([L.Dense(units, input_shape=(5,)) for _ in range(units)])
        model = nn.Sequential([L.Dense(3, input_shape=(5,))])
        return np.asarray(model.get_weights()[0])

    np.testing.assert_array_equal(second_model(1), second_model(5))


class Scale(Layer):
    """The listing of Layer's docstring."""

    def __init__(self, start: Any = "ones", **base: Any):
        super().__init__(**base)
        self.start = start

    def build(self, input_shape: Any) -> Any:
        self.scale = Parameter(input_shape[-1:], self.start)
        return input_shape

    def forward(self, x: Any) -> Any:
        return x * x.graph.parameter(self.scale)


class Block(Layer):
    """Layers inside: one as an attribute, more in a list; built when first called."""

    def __init__(self, units: int, **base: Any):
        super().__init__(**base)
        self.units = units
        self.first = L.Dense(units, activation="relu")
        self.rest = [L.Dense(units), L.BatchNormalization(name="norm"), L.Dropout(0.5)]

    def build(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def forward(self, x: Any) -> Any:
        x = self.first(x)
        for layer in self.rest:
            x = layer(x)
        return x


class Outer(Layer):
    """A layer of layers of layers."""

    def __init__(self, **base: Any):
        super().__init__(**base)
        self.block, self.scale = Block(4), Scale()

    def build(self, input_shape: Any) -> Any:
        return (4,)

    def forward(self, x: Any) -> Any:
        return self.scale(self.block(x))


def test_a_layer_of_ones_own() -> None:
    layer = Scale(start="zeros", name="mine")
    assert layer.config() == {
        "start": "zeros", "name": "mine", "trainable": True, "input_shape": None,
    }  # fmt: skip
    np.testing.assert_array_equal(run(layer, numbers(3, 2)), np.zeros((3, 2)))
    assert layer.count_params() == 2
    assert [v.name for v in layer.variables()] == ["mine/scale"]


NAMES = [
    "block/first/kernel", "block/first/bias", "block/rest_0/kernel", "block/rest_0/bias", "block/norm/gamma",
    "block/norm/beta", "block/norm/moving_mean", "block/norm/moving_variance", "scale/scale",
]  # fmt: skip


class Linear(Layer):
    """As the Keras guides write it: build returns nothing, an argument is kept under another name."""

    def __init__(self, units: int = 32, **kwargs: Any):
        super().__init__(**kwargs)
        self.n = units

    def build(self, input_shape: Any) -> Any:
        self.w = self.add_weight(shape=(input_shape[-1], self.n), initializer="random_normal", name="w")
        self.b = self.add_weight(shape=(self.n,), initializer="zeros", name="b")
        self.built = True

    def forward(self, x: Any) -> Any:
        return x @ x.graph.parameter(self.w) + x.graph.parameter(self.b)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.n}


def test_a_layer_as_the_guides_of_keras_write_it(tmp_path: Any) -> None:
    model = nn.Sequential([nn.Input((None, 5)), Linear(3, name="first"), Linear(2)])
    assert model.output_shape == (None, 2) and model.count_params() == 18 + 8
    assert model.layers[0].get_config()["units"] == 3 == model.layers[0].config()["units"]
    model.save(tmp_path / "model.tinynn")
    loaded = nn.load_model(tmp_path / "model.tinynn", custom_objects={"Linear": Linear})
    x = numbers(2, 4, 5)
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    again = Linear.from_config(model.layers[0].get_config())
    assert again.n == 3 and again.name == "first"


def test_kerass_names_of_configs() -> None:
    layer = L.Dense(3, activation="relu", name="d")
    assert layer.get_config() == layer.config()
    assert L.Dense.from_config(layer.get_config()).config() == layer.config()
    both = L.Bidirectional(L.GRU(3))
    assert L.Bidirectional.from_config(both.get_config()).config() == both.config()


def test_a_composite_layer_names_freezes_and_trains_what_is_inside() -> None:
    nn.set_seed(1)
    layer = Outer(name="outer")
    graph = Graph(training=True)
    graph.backward(layer(graph.tensor(numbers(6, 3))).sum())
    assert [v.name for v in layer.variables()] == [f"outer/{name}" for name in NAMES]
    assert [p.name for p in layer.parameters()] == [f"outer/{name}" for name in NAMES if "moving" not in name]
    assert all(p.grad is not None for p in layer.parameters())
    assert layer.block.first.stream is None
    assert layer.block.first.kernel.stream is layer.stream
    layer.block.trainable = False
    assert [v.name for v in layer.trainable_weights] == ["outer/scale/scale"]
    assert len(layer.non_trainable_weights) == 8
    for p in layer.parameters():
        p.grad = None
    with Graph(training=True) as graph:
        graph.backward(layer(graph.tensor(numbers(6, 3))).sum())
    assert [p.name for p in layer.parameters() if p.grad is not None] == ["outer/scale/scale"]
    layer.block.trainable = True
    with Graph(training=True) as graph:
        graph.backward(layer(graph.tensor(numbers(6, 3))).sum())
    assert all(p.grad is not None for p in layer.parameters())


def test_weights_of_inner_layers_built_late_depend_on_the_seed_and_the_path_alone() -> None:
    def weights() -> list[np.ndarray]:
        nn.set_seed(7)
        layer = Outer()
        run(layer, numbers(6, 3))
        return layer.get_weights()

    for a, b in zip(weights(), weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_parameter_that_is_not_trained_stays_so() -> None:
    class Fixed(Layer):
        def build(self, input_shape: Any) -> Any:
            self.w, self.v = Parameter(input_shape, "ones", trainable=False), Parameter(input_shape, "ones")
            return input_shape

        def forward(self, x: Any) -> Any:
            return x * x.graph.parameter(self.w) * x.graph.parameter(self.v)

    layer = Fixed()
    layer.trainable = False
    run(layer, numbers(3, 2), training=True)
    layer.trainable = True
    graph = Graph(training=True)
    graph.backward(layer(graph.tensor(numbers(3, 2))).sum())
    assert layer.w.grad is None
    assert layer.v.grad is not None
    assert layer.trainable_weights == [layer.v]


def test_weights_are_checked_before_any_is_overwritten() -> None:
    layer = L.Dense(2)
    with pytest.raises(RuntimeError, match="'dense' has no weights yet"):
        layer.get_weights()
    layer.ensure_built((3,))
    before = layer.get_weights()
    for bad in ([np.zeros((3, 2))], [np.zeros((3, 2)), np.zeros(3)], [np.zeros((3, 2)), np.zeros(2), np.zeros(2)]):
        with pytest.raises(ValueError, match="dense"):
            layer.set_weights(bad)
    for a, b in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# -- bad input -------------------------------------------------------------------------------------------------------

BAD: list[tuple[Any, str]] = [
    (lambda: L.Dense(-3, name="d"), "Dense 'd' expects units to be a positive integer, got -3"),
    (lambda: L.Dense(3, activation="rulu", name="d"), "Dense 'd'.*did you mean 'relu'"),
    (lambda: L.Dense(3, activation=7), "a name such as 'relu'"),
    (lambda: L.Dense(3, name="a/b"), "without '/'"),
    (lambda: L.Dense(3, input_shape=(0,)), "positive integers"),
    (lambda: L.Dropout(1.0, name="d"), "Dropout 'd' expects 0 <= rate < 1, got 1.0"),
    (lambda: L.Dropout(-0.1), "0 <= rate < 1"),
    (lambda: L.Dropout(0.5, seed=-1), "seed"),
    (lambda: L.Dropout(0.5, (None, 3))(L.Input(5)), "layer 'dropout' expects a noise_shape"),
    (lambda: L.GaussianNoise(-1.0), "stddev >= 0"),
    (lambda: L.Reshape((0, 3)), "positive integers"),
    (lambda: L.Reshape((-1, -1)), "all but one -1"),
    (lambda: L.Reshape((4, 4), name="r")(L.Input(15)), r"layer 'r'.*15 numbers per row.*\(4, 4\), which takes 16"),
    (lambda: L.Permute((1, 3)), "every number from 1 to 2 once"),
    (lambda: L.Permute((2, 1), name="p")(L.Input((2, 3, 4))), "layer 'p' permutes 2 axes.*which have 3"),
    (lambda: L.RepeatVector(0), "positive integer"),
    (lambda: L.RepeatVector(2)(L.Input((2, 3))), "put a Flatten"),
    (lambda: L.BatchNormalization(axis=3, name="b")(L.Input((2, 3))), "layer 'b' expects an axis from 1 to 2"),
    (lambda: L.BatchNormalization(axis=0)(L.Input((2, 3))), "expects an axis from 1 to 2"),
    (lambda: L.BatchNormalization(momentum=1.5), "momentum"),
    (lambda: L.BatchNormalization(epsilon=0.0), "epsilon > 0"),
    (lambda: L.LayerNormalization(axis=[1, 1])(L.Input((2, 3))), "each once"),
    (lambda: L.PReLU(shared_axes=[3])(L.Input((2, 3))), "shared_axes from 1 to 2"),
    (lambda: L.LeakyReLU(-0.1), "negative_slope >= 0"),
    (lambda: L.Maxout(3, 0), "pieces to be a positive integer"),
    (lambda: L.Normalization(mean=[1.0]), "both mean and variance"),
    (lambda: L.Lambda(3), "a function of a tensor"),
    (lambda: L.Lambda(lambda x: x.shape)(L.Input(3)), "must return a Tensor"),
    (lambda: L.Lambda(lambda x: x.sum())(L.Input(3)), "keep the batch axis"),
    (lambda: L.SpatialDropout2D(1.0, name="s"), "SpatialDropout2D 's' expects 0 <= rate < 1"),
    (lambda: L.SpatialDropout2D(0.5)(L.Input((4, 5))), r"expects images.*put Reshape\(\(4, 5, 1\)\) in front"),
    (lambda: L.SpatialDropout1D(0.5)(L.Input(5)), r"expects sequences.*use Dropout\(rate\)"),
    (lambda: L.Input(), "shape of one row"),
    (lambda: L.Input((3, -1)), "positive integers"),
    (lambda: L.Dense(3)(numbers(2, 3)), r"layer 'dense' expects a Tensor, got ndarray.*graph.tensor\(x\)"),
]


@pytest.mark.parametrize("make, message", BAD, ids=[message[:30] for _, message in BAD])
def test_bad_arguments_name_the_layer_and_the_fix(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


@pytest.mark.parametrize("layer", [L.Dense(3), L.Maxout(3), L.BatchNormalization(), L.LayerNormalization(), L.PReLU()])
def test_another_number_of_features_is_refused(layer: Layer) -> None:
    layer = fresh(layer)
    run(layer, numbers(4, 5))
    with pytest.raises(ValueError, match=r"was built for inputs of shape \(None, 5\), got \(None, 6\)"):
        run(layer, numbers(4, 6))


# -- sizes at which the kernels use several threads ------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(70_001, 3), (3001, 130), (210, 1100), (100_003, 2, 1)])
@pytest.mark.parametrize(
    "make", [L.BatchNormalization, L.LayerNormalization, lambda: L.Dropout(0.3), lambda: L.GaussianNoise(0.1)]
)
def test_large_inputs_agree_with_the_reference_and_for_every_thread_count(make: Any, shape: Any) -> None:
    x, dy = numbers(*shape) * 2 + 3, numbers(*shape, seed=1)

    def step(backend: str, dtype: str = "float32") -> list[np.ndarray]:
        layer = make()
        layer.stream = Stream(1, 0)
        graph = Graph(training=True, backend=backend, dtype=dtype)
        tensor = graph.tensor(x, requires_grad=True)
        y = layer(tensor)
        graph.backward(y, gradient=dy)
        return [y.numpy(), tensor.grad, *[p.grad for p in layer.parameters()], *layer.get_weights()]

    before, results = threads.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            results.append(step("cpu"))
    finally:
        threads.set_num_threads(before)
    for a, *others in zip(*results, strict=True):
        assert all(a.tobytes() == b.tobytes() for b in others)
    for a, b in zip(results[0], step("reference", "float64"), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1.0, float(np.abs(b).max())))
