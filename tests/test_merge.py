"""Layers of several inputs: values and gradients, sides of 1, whose array a gradient is, shapes that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests.device import device_backend
from tinynn import Graph
from tinynn import layers as L

BACKENDS = ["reference", "cpu"]


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def largest(arrays: list[np.ndarray]) -> np.ndarray:
    return np.asarray(np.max(np.stack(arrays), axis=0))


MERGES: dict[str, tuple[Any, Any, int]] = {
    "add": (L.Add, lambda xs: sum(xs), 3),
    "average": (L.Average, lambda xs: sum(xs) / len(xs), 3),
    "multiply": (L.Multiply, lambda xs: xs[0] * xs[1] * xs[2], 3),
    "subtract": (L.Subtract, lambda xs: xs[0] - xs[1], 2),
    "maximum": (L.Maximum, largest, 3),
    "minimum": (L.Minimum, lambda xs: -largest([-x for x in xs]), 3),
    "concatenate": (L.Concatenate, lambda xs: np.concatenate(xs, axis=-1), 3),
}
every_merge = pytest.mark.parametrize("name", MERGES)


@every_merge
@pytest.mark.parametrize("backend", [*BACKENDS, "device"])
def test_values_and_gradients(name: str, backend: str) -> None:
    make, formula, count = MERGES[name]
    xs = [numbers(2, 3, 4, 5, seed=k) for k in range(count)]
    home = device_backend() if backend == "device" else backend
    graph = Graph(backend=home)
    tensors = [graph.tensor(x, requires_grad=True) for x in xs]
    y = make()(tensors)
    np.testing.assert_allclose(y.numpy(), formula(xs), rtol=1e-6)
    dy = numbers(*y.shape, seed=9)
    graph.backward(y, gradient=dy)
    step = 1e-6
    for k, tensor in enumerate(tensors):  # along one direction, in float64
        wide = [x.astype(np.float64) for x in xs]
        direction = np.random.default_rng(7).standard_normal(xs[k].shape)
        up, down = ([*wide[:k], wide[k] + s * step * direction, *wide[k + 1 :]] for s in (1, -1))
        slope = ((formula(up) - formula(down)) * dy).sum() / (2 * step)
        gradient = tensor.grad.get() if backend == "device" else tensor.grad
        np.testing.assert_allclose((gradient * direction).sum(), slope, rtol=1e-4)


@every_merge
def test_functional_forms_symbols_and_configs(name: str) -> None:
    make, _, count = MERGES[name]
    inputs = [L.Input((None, 4, 5)) for _ in range(count)]
    symbol = getattr(L, name)(inputs, name="here")
    assert symbol.shape == make()(inputs).shape == (None, 4, 5 * count if name == "concatenate" else 5)
    assert symbol.layer.name == "here"
    assert type(symbol.layer) is make is L.get_class(make.__name__)
    assert make(**symbol.layer.config()).config() == symbol.layer.config()
    model = nn.Model(inputs, symbol)
    graph = Graph()
    tensors = [graph.tensor(numbers(2, 3, 4, 5, seed=k)) for k in range(count)]
    np.testing.assert_array_equal(model(tensors).numpy(), make()(tensors).numpy())


def test_sides_of_one_repeat() -> None:
    """What squeeze-and-excitation does: images times a weight for each channel."""
    x, w = numbers(2, 3, 4, 5), numbers(2, 1, 1, 5, seed=1)
    graph = Graph()
    tx, tw = graph.tensor(x, requires_grad=True), graph.tensor(w, requires_grad=True)
    y = L.Multiply()([tx, tw])
    graph.backward(y.sum())
    np.testing.assert_allclose(y.numpy(), x * w)
    np.testing.assert_allclose(tw.grad, x.sum(axis=(1, 2), keepdims=True), rtol=1e-5)
    assert L.add([L.Input((3, 1, 5)), L.Input((1, None, 5))]).shape == (3, None, 5)
    with Graph() as graph:
        tx, tw = graph.tensor(x, requires_grad=True), graph.tensor(w, requires_grad=True)
        graph.backward(L.Average()([tw, tx]).sum())
        np.testing.assert_allclose(tw.grad, np.full((2, 1, 1, 5), 6.0))
        np.testing.assert_allclose(tx.grad, np.full(x.shape, 0.5))


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_tensor_twice_and_a_gradient_for_some(backend: str) -> None:
    x = numbers(2, 3)
    graph = Graph(backend=backend)
    tensor, constant = graph.tensor(x, requires_grad=True), graph.tensor(x)
    y = L.Add()([tensor, constant, tensor, tensor])
    graph.backward((y * y).sum())
    np.testing.assert_allclose(y.numpy(), 4 * x, rtol=1e-6)
    np.testing.assert_allclose(tensor.grad, 3 * 2 * 4 * x, rtol=1e-6)
    assert constant.grad is None


def test_a_residual_network_trains() -> None:
    nn.set_seed(2)
    inputs = L.Input((6,))
    x = L.Dense(8, activation="relu")(inputs)
    x = L.add([x, L.Dense(8, activation="relu")(x)])
    x = L.concatenate([x, inputs])
    model = nn.Model(inputs, L.Dense(1)(x))
    assert model.count_params() == 6 * 8 + 8 + 8 * 8 + 8 + 14 + 1
    model.compile(nn.optim.Adam(0.02), "mse")
    data = numbers(64, 6)
    history = model.fit(data, data[:, :1] * 2, epochs=30, verbose=0)
    assert history.history["loss"][-1] < 0.3 * history.history["loss"][0]


def test_concatenation_along_every_axis() -> None:
    x, y = numbers(2, 3, 4, 5), numbers(2, 3, 4, 5, seed=1)
    for axis in (1, 2, 3, -1, -2, -3):
        graph = Graph()
        got = L.Concatenate(axis)([graph.tensor(x), graph.tensor(y)]).numpy()
        np.testing.assert_array_equal(got, np.concatenate([x, y], axis))
    assert L.Concatenate(axis=1)([L.Input((2, 3)), L.Input((4, 3)), L.Input((None, 3))]).shape == (None, 3)
    assert L.Concatenate()([L.Input((None, 3)), L.Input((4, 2))]).shape == (None, 5)


def image(*shape: Any) -> Any:
    return L.Input(shape)


BAD: list[tuple[Any, str]] = [
    (lambda: L.Add(name="a")([image(8, 8, 3)]), r"'a' expects two or more tensors, as in Add\(\)\(\[x, y\]\), got 1"),
    (lambda: L.Add()([]), "two or more tensors.*got 0"),
    (lambda: L.Add()(image(8, 8, 3)), r"expects a list of tensors, as in Add\(\)\(\[x, y\]\), got Symbol"),
    (lambda: L.Add()([image(8), 3]), "got a list of Symbol, int"),
    (lambda: L.add([numbers(2, 3), numbers(2, 3)]), "got a list of ndarray, ndarray"),
    (lambda: L.Subtract()([image(8), image(8), image(8)]), "expects two tensors.*got 3"),
    (lambda: L.Add()([image(8, 8, 3), image(4, 4, 6)]),
     r"'add' cannot merge inputs of shapes \(None, 8, 8, 3\) and \(None, 4, 4, 6\).*Conv2D\(filters, 1, strides=2\)"),
    (lambda: L.multiply([image(8), image(7)]), r"'multiply' cannot merge.*\(None, 8\) and \(None, 7\).*Dense\(units\)"),
    (lambda: L.Maximum()([image(8), image(2, 8)]), "cannot merge"),
    (lambda: L.Concatenate()([image(8, 8, 3), image(4, 8, 3)]), "joins inputs along axis -1, all other sides.*pooling"),
    (lambda: L.Concatenate()([image(8), image(8, 3)]), "joins inputs along axis -1"),
    (lambda: L.Concatenate(axis=0)([image(8), image(8)]), r"from 1 to 1 \(or -1 to -1; 0 is the batch\).*axis=0"),
    (lambda: L.Concatenate(axis=4)([image(8, 2), image(8, 2)]), "an axis from 1 to 2.*axis=4"),
    (lambda: L.Concatenate(axis="last"), "one axis, an integer, got 'last'"),
    (lambda: nn.Sequential([L.Input((8,)), L.Add()]).predict(numbers(2, 8)), "list"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_lists_that_do_not_fit_say_what_to_write(make: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_a_merge_that_is_built_takes_other_shapes_that_fit() -> None:
    layer, graph = L.Add(), Graph()
    for shape in [(2, 3), (4, 5), (2, 3)]:
        assert layer([graph.tensor(numbers(2, *shape))] * 2).shape == (2, *shape)
    with pytest.raises(ValueError, match="cannot merge"):
        layer([graph.tensor(numbers(2, 3)), graph.tensor(numbers(2, 4))])
