"""Pooling, padding, cropping, upsampling: loops, PyTorch as an outside oracle, open sizes, bad input."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tinynn as nn
from tests.cases.pool2d import first_largest, seen, shared_out
from tinynn import Graph
from tinynn import layers as L
from tinynn.layers.images import window_on
from tinynn.layers.pooling import AveragePool, MaxPool
from tinynn.window import Window

BACKENDS = ["reference", "cpu"]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def run(layer: Any, x: np.ndarray, backend: Any = None) -> np.ndarray:
    graph = Graph(backend=backend)
    return np.asarray(layer(graph.tensor(x)).numpy())


def both_ways(function: Any, x: np.ndarray, dy: np.ndarray, backend: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    graph = Graph(backend=backend, dtype=dtype)
    tensor = graph.tensor(x, requires_grad=True)
    y = function(tensor)
    graph.backward(y, gradient=dy)
    assert tensor.grad is not None
    return np.asarray(y.numpy()), np.asarray(tensor.grad)


# -- loops -----------------------------------------------------------------------------------------------------------


@st.composite
def poolings(draw: Any) -> tuple[np.ndarray, Window]:
    """Small whole numbers with ties, some of them NaN, infinite or all the same; and a window that fits."""
    rows, columns = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    channels = draw(st.sampled_from([1, 2, 3, 16, 17]))
    padding = draw(st.sampled_from(["valid", "same"]))
    most = (rows, columns) if padding == "valid" else (5, 5)
    size = draw(st.integers(1, min(4, most[0]))), draw(st.integers(1, min(4, most[1])))
    strides = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = rng.integers(-2, 3, (draw(st.integers(1, 3)), rows, columns, channels)).astype(float)
    for value in draw(st.sets(st.sampled_from([np.nan, np.inf, -np.inf, 0.0]))):
        x = np.where(rng.random(x.shape) < 0.4, value, x)
    return x, window_on(rows, columns, size, strides, padding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
@given(pooling=poolings())
def test_max_pooling_is_a_loop(pooling: tuple[np.ndarray, Window], backend: str, dtype: str) -> None:
    x, window = pooling
    shape = (len(x), *window.output(*x.shape[1:3]), x.shape[3])
    want = np.zeros(shape)
    for n, i, j, c in np.ndindex(shape):
        want[n, i, j, c] = np.max([x[n, r, s, c] for r, s in seen(window, x, i, j)])  # NaN where there is one
    dy = np.random.default_rng(1).integers(-4, 5, shape).astype(float)
    y, dx = both_ways(MaxPool(window), x, dy, backend, dtype)
    np.testing.assert_array_equal(y, want)
    np.testing.assert_array_equal(dx, first_largest(window)(dy, x)[0])
    graph = Graph(backend=backend, dtype=dtype)
    np.testing.assert_array_equal(MaxPool(window, remembers=False)(graph.tensor(x)).numpy(), want)


@pytest.mark.parametrize("backend", BACKENDS)
@given(pooling=poolings())
def test_average_pooling_is_a_loop(pooling: tuple[np.ndarray, Window], backend: str) -> None:
    x, window = pooling
    x = np.nan_to_num(x, posinf=3.0, neginf=-3.0)
    shape = (len(x), *window.output(*x.shape[1:3]), x.shape[3])
    want = np.zeros(shape)
    for n, i, j, c in np.ndindex(shape):
        want[n, i, j, c] = np.mean([x[n, r, s, c] for r, s in seen(window, x, i, j)])
    dy = np.random.default_rng(1).standard_normal(shape)
    y, dx = both_ways(AveragePool(window), x, dy, backend, "float64")
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dx, shared_out(window)(dy, x)[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_of_equal_numbers_takes_the_gradient(backend: str) -> None:
    dy = np.arange(1.0, 5).reshape(1, 2, 2, 1)
    _, dx = both_ways(L.MaxPooling2D(), np.zeros((1, 4, 4, 1)), dy, backend, "float32")
    want = [[1, 0, 2, 0], [0, 0, 0, 0], [3, 0, 4, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(dx[0, :, :, 0], want)
    _, dx = both_ways(L.MaxPooling2D(3, 1), np.zeros((1, 4, 4, 1)), dy, backend, "float32")
    np.testing.assert_array_equal(dx[0, :2, :2, 0], [[1, 2], [3, 4]])
    x = np.zeros((1, 3, 3, 1))
    x[0, 1, 1] = 1  # in all four windows, whose gradients add up
    _, dx = both_ways(L.MaxPooling2D(2, 1), x, dy, backend, "float32")
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 0, 0], [0, 10, 0], [0, 0, 0]])
    _, dx = both_ways(L.GlobalMaxPooling2D(), np.zeros((2, 3, 3, 2)), np.array([[1.0, 2], [3, 4]]), backend, "float32")
    np.testing.assert_array_equal(dx[:, 0, 0], [[1, 2], [3, 4]])
    assert dx.sum() == 10


@pytest.mark.parametrize("backend", BACKENDS)
def test_padding_counts_in_no_average(backend: str) -> None:
    """Keras's numbers: ones stay ones, also at the border; the odd padding comes after."""
    x = np.ones((1, 3, 4, 2))
    np.testing.assert_array_equal(run(L.AveragePooling2D(2, 1, "same"), x, backend), x)
    x = np.arange(1.0, 4).reshape(1, 1, 3, 1)
    np.testing.assert_array_equal(run(L.AveragePooling2D(2, padding="same"), x, backend).ravel(), [1.5, 3])
    np.testing.assert_array_equal(run(L.AveragePooling2D((1, 3), 1, "same"), x, backend).ravel(), [1.5, 2, 2.5])
    np.testing.assert_array_equal(run(L.MaxPooling2D((1, 2), 1, "same"), -x, backend).ravel(), [-1, -2, -3])


def test_places_are_kept_only_for_those_who_want_a_gradient() -> None:
    for graph, wants in [(Graph(), True), (Graph(), False), (Graph(gradients=False), True)]:
        x = graph.tensor(numbers(1, 4, 4, 1), requires_grad=wants)
        functions: list[MaxPool] = []
        layer = L.MaxPooling2D()
        layer.ensure_built((4, 4, 1))
        original = MaxPool.forward

        def spied(self: MaxPool, *args: Any, original: Any = original, functions: Any = functions) -> Any:
            functions.append(self)
            return original(self, *args)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MaxPool, "forward", spied)
            layer(x)
        place = functions[0].saved[1]
        assert (place is not None) == (wants and graph.taping)
        assert place is None or place.dtype == np.uint8


# -- PyTorch ---------------------------------------------------------------------------------------------------------


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("shape", "size", "strides", "padding"),
    [
        ((2, 8, 8, 3), (2, 2), (2, 2), "valid"),
        ((2, 9, 7, 17), (3, 3), (2, 2), "valid"),
        ((1, 9, 10, 65), (3, 2), (1, 3), "valid"),
        ((3, 5, 9, 1), (2, 3), (4, 4), "valid"),
        ((2, 8, 7, 16), (3, 3), (2, 2), "same"),
        ((1, 7, 6, 5), (2, 4), (2, 3), "same"),
        ((2, 1, 1, 3), (3, 3), (2, 2), "same"),
    ],
)
def test_poolings_are_pytorchs(shape: Any, size: Any, strides: Any, padding: str, backend: str, dtype: str) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = numbers(*shape).astype(dtype)
    (top, bottom), (left, right) = window_on(*shape[1:3], size, strides, padding).padding
    border = (left, right, top, bottom)

    def largest(t: Any) -> Any:
        return functional.max_pool2d(functional.pad(t, border, value=-torch.inf), size, strides)

    def mean(t: Any) -> Any:  # of the image over that of ones: padding counts neither above nor below
        ones = functional.avg_pool2d(functional.pad(torch.ones_like(t), border), size, strides)
        return functional.avg_pool2d(functional.pad(t, border), size, strides) / ones

    for ours, theirs in [(L.MaxPooling2D, largest), (L.AveragePooling2D, mean)]:
        torch_x = torch.tensor(channels_first(x), requires_grad=True)
        torch_y = theirs(torch_x)
        dy = numbers(*torch_y.shape, seed=1).astype(dtype)
        torch_y.backward(torch.tensor(dy))
        y, dx = both_ways(ours(size, strides, padding), x, np.moveaxis(dy, 1, -1), backend, dtype)
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(channels_first(y), torch_y.detach().numpy(), rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(channels_first(dx), torch_x.grad.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(2, 5, 7, 3), (3, 1, 1, 65), (1, 8, 8, 17)])
def test_global_poolings_and_resizing_are_pytorchs(shape: Any) -> None:
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    pairs: list[tuple[Any, Any]] = [
        (L.GlobalAveragePooling2D(), lambda t: t.mean(dim=(2, 3))),
        (L.GlobalAveragePooling2D(keepdims=True), lambda t: functional.adaptive_avg_pool2d(t, 1)),
        (L.GlobalMaxPooling2D(), lambda t: t.amax(dim=(2, 3))),
        (L.GlobalMaxPooling2D(keepdims=True), lambda t: functional.adaptive_max_pool2d(t, 1)),
        (L.ZeroPadding2D(((1, 2), (0, 3))), lambda t: functional.pad(t, (0, 3, 1, 2))),
        (L.Cropping2D(0), lambda t: t),
        (L.UpSampling2D((2, 3)), lambda t: functional.interpolate(t, scale_factor=(2, 3), mode="nearest")),
        (L.UpSampling2D((3, 2), interpolation="bilinear"),
         lambda t: functional.interpolate(t, scale_factor=(3, 2), mode="bilinear", align_corners=False)),
    ]  # fmt: skip
    x = numbers(*shape)
    for ours, theirs in pairs:
        torch_x = torch.tensor(channels_first(x), requires_grad=True)
        torch_y = theirs(torch_x)
        dy = numbers(*torch_y.shape, seed=1)
        torch_y.backward(torch.tensor(dy))
        y, dx = both_ways(ours, x, np.moveaxis(dy, 1, -1), "cpu", "float32")
        np.testing.assert_allclose(channels_first(y), torch_y.detach().numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(channels_first(dx), torch_x.grad.numpy(), rtol=1e-5, atol=1e-5)


def test_cropping_undoes_padding() -> None:
    x, borders = numbers(2, 3, 4, 5), ((1, 0), (2, 3))
    np.testing.assert_array_equal(run(L.Cropping2D(borders), run(L.ZeroPadding2D(borders), x)), x)
    y = run(L.UpSampling2D(2), x)
    np.testing.assert_array_equal(run(L.AveragePooling2D(2), y), x)


# -- shapes, Keras's habits ------------------------------------------------------------------------------------------


IMAGE_LAYERS: list[tuple[Any, Any, Any]] = [
    (L.MaxPooling2D(), (None, 7, 3), (None, 3, 3)),
    (L.MaxPooling2D(3, 2, "same"), (None, None, 3), (None, None, 3)),
    (L.AveragePooling2D((2, 3)), (8, None, 3), (4, None, 3)),
    (L.GlobalAveragePooling2D(), (None, None, 3), (3,)),
    (L.GlobalMaxPooling2D(keepdims=True), (None, None, 3), (1, 1, 3)),
    (L.ZeroPadding2D(2), (None, 7, 3), (None, 11, 3)),
    (L.Cropping2D(1), (7, None, 3), (5, None, 3)),
    (L.UpSampling2D(2), (None, None, 3), (None, None, 3)),
    (L.SpatialDropout2D(0.5), (None, None, 3), (None, None, 3)),
    (L.BatchNormalization(), (None, None, 3), (None, None, 3)),
]


@pytest.mark.parametrize(("layer", "shape", "output"), IMAGE_LAYERS, ids=lambda v: repr(v)[:40])
def test_open_sizes_stay_open(layer: Any, shape: Any, output: Any) -> None:
    layer = type(layer)(**json.loads(json.dumps(layer.config())))
    assert layer(L.Input(shape)).shape == output
    for rows, columns in [(8, 7), (13, 9), (8, 7)]:
        want = type(layer)(**layer.config())
        x = numbers(2, shape[0] or rows, shape[1] or columns, 3)
        np.testing.assert_array_equal(run(layer, x), run(want, x))


def test_a_model_of_open_size_predicts_images_of_any_size() -> None:
    nn.set_seed(1)
    layers = [L.MaxPooling2D(2, padding="same"), L.GlobalAveragePooling2D(), L.Dense(2, activation="softmax")]
    model = nn.Sequential([L.Input((None, None, 3)), *layers])
    assert model.output_shape == (2,)
    for size in (7, 12, 1):
        x = numbers(4, size, size + 1, 3)
        y = model.predict(x, verbose=0)
        pooled = run(L.MaxPooling2D(2, padding="same"), x).mean(axis=(1, 2))
        scores = np.exp(pooled @ model.get_weights()[0])
        np.testing.assert_allclose(y, scores / scores.sum(axis=1, keepdims=True), rtol=1e-4)


def test_kerass_names_defaults_and_orders() -> None:
    from tinynn.compat.keras.layers.convolutional import ZeroPadding2D
    from tinynn.compat.keras.layers.pooling import MaxPooling2D

    assert (ZeroPadding2D, MaxPooling2D) == (L.ZeroPadding2D, L.MaxPooling2D)
    assert (L.MaxPool2D, L.AvgPool2D) == (L.MaxPooling2D, L.AveragePooling2D)
    assert (L.GlobalMaxPool2D, L.GlobalAvgPool2D) == (L.GlobalMaxPooling2D, L.GlobalAveragePooling2D)
    layer = L.MaxPooling2D((3, 2), 2, "same", "channels_last")
    assert (layer.pool_size, layer.strides, layer.padding) == ((3, 2), (2, 2), "same")
    assert L.MaxPooling2D().strides == (2, 2)
    assert L.AveragePooling2D(3).strides == (3, 3)
    assert L.MaxPooling2D(pool_size=[np.int64(2), 2]).config()["pool_size"] == [2, 2]
    model = nn.Sequential([L.Input((9, 9, 4)), *(L.MaxPooling2D(2, padding="same") for _ in range(2)), L.Flatten()])
    assert [layer.name for layer in model.layers] == ["max_pooling2d", "max_pooling2d_1", "flatten"]
    assert model.output_shape == (36,)


SAME = {  # (side, size, stride): outputs, before, after
    (5, 2, 2): (3, 0, 1),
    (6, 3, 2): (3, 0, 1),
    (7, 3, 2): (4, 1, 1),
    (4, 2, 1): (4, 0, 1),
    (9, 2, 4): (3, 0, 1),
    (10, 2, 4): (3, 0, 0),
    (1, 4, 3): (1, 1, 2),
}


@pytest.mark.parametrize("one", SAME)
@pytest.mark.parametrize("other", SAME)
def test_same_padding_of_rows_and_columns(one: Any, other: Any) -> None:
    (rows, *_), (columns, *_) = one, other
    size, strides = zip(one[1:], other[1:], strict=True)
    outputs, *padding = zip(SAME[one], SAME[other], strict=True)
    window = window_on(rows, columns, size, strides, "same")
    assert window.padding == tuple(zip(*padding, strict=True))
    assert window.output(rows, columns) == outputs
    assert L.MaxPooling2D(size, strides, "same")(L.Input((rows, columns, 2))).shape == (*outputs, 2)


# -- bad input -------------------------------------------------------------------------------------------------------

BAD: list[tuple[Any, str]] = [
    (lambda: L.MaxPooling2D(0), "MaxPooling2D 'max_pooling2d' expects pool_size to be a positive integer, got 0"),
    (lambda: L.MaxPooling2D(-2), "pool_size to be a positive integer, got -2"),
    (lambda: L.MaxPooling2D(2.0), "pool_size to be a positive integer, got 2.0"),
    (lambda: L.MaxPooling2D((2, 2, 2)), r"an integer or two, \(rows, columns\), got \(2, 2, 2\)"),
    (lambda: L.AveragePooling2D(strides=0), "AveragePooling2D .* expects strides to be a positive integer, got 0"),
    (lambda: L.MaxPooling2D(strides=(1, -1)), "strides to be a positive integer, got -1"),
    (lambda: L.MaxPooling2D(padding="sam"), "unknown padding of MaxPooling2D.*'sam': did you mean 'same'"),
    (lambda: L.MaxPooling2D(padding=1), "unknown padding"),
    (lambda: L.MaxPooling2D(data_format="channels_first"), r"channels last.*np.moveaxis\(x, 1, -1\).*Permute"),
    (lambda: L.GlobalMaxPooling2D("first"), "data_format='channels_last' or None, got 'first'"),
    (lambda: L.MaxPooling2D(5, name="p")(L.Input((4, 9, 3))),
     r"'p' has pool_size=\(5, 5\) and gets images of 4 x 9, inputs of shape \(None, 4, 9, 3\), which are smaller"),
    (lambda: L.MaxPooling2D(2)(L.Input((1, 28, 28))), "looks like channels-first images: transpose them with"),
    (lambda: L.MaxPooling2D(4)(L.Input((3, 32, 32))), "looks like channels-first images: transpose them with"),
    (lambda: L.MaxPooling2D(2)(L.Input((28, 28))), r"expects images.*put Reshape\(\(28, 28, 1\)\) in front"),
    (lambda: L.MaxPooling2D(2)(L.Input(784)), r"expects images.*put Reshape\(\(rows, columns, channels\)\) in front"),
    (lambda: L.GlobalAveragePooling2D()(L.Input((4, 3))), "expects images"),
    (lambda: L.ZeroPadding2D(-1), r"an integer >= 0, two of them, \(rows, columns\), or .* got -1"),
    (lambda: L.ZeroPadding2D((1, 2, 3)), "padding to be an integer"),
    (lambda: L.ZeroPadding2D(1.5), "padding to be an integer"),
    (lambda: L.ZeroPadding2D(((1, 2, 3), (1, 1))), "padding to be an integer"),
    (lambda: L.ZeroPadding2D(1)(L.Input((4, 3))), "expects images"),
    (lambda: L.Cropping2D(2)(L.Input((4, 9, 3))), "leaves nothing of images of 4 x 9.*crop less"),
    (lambda: L.UpSampling2D(0), "size to be a positive integer"),
    (lambda: L.UpSampling2D(2, interpolation="bicubic"), "unknown interpolation of UpSampling2D"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_bad_arguments_and_images_say_what_to_write(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_images_that_do_not_fit_a_layer_that_is_built() -> None:
    layer = L.MaxPooling2D(4)
    run(layer, numbers(1, 8, 8, 3))
    assert run(layer, numbers(1, 5, 9, 2)).shape == (1, 1, 2, 2)
    with pytest.raises(ValueError, match="gets images of 3 x 8"):
        run(layer, numbers(1, 3, 8, 3))
    with pytest.raises(ValueError, match="expects images"):
        run(layer, numbers(1, 64))


def test_channels_first_images_that_fit_all_the_same_are_warned_of() -> None:
    with pytest.warns(UserWarning, match="images of 3 rows, 32 columns and 32 channels.*looks like channels-first"):
        L.MaxPooling2D(2)(L.Input((3, 32, 32)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for shape in [(32, 32, 3), (3, 16, 32), (2, 32, 32), (4, 4, 4), (3, 7, 7)]:
            L.MaxPooling2D(2)(L.Input(shape))
