"""The gradient check is itself checked: planted mistakes are caught and named, right gradients pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tinynn import layers as L
from tinynn.function import Function
from tinynn.graph import Graph
from tinynn.layers.base import Layer
from tinynn.layers.dense import Affine, Dense
from tinynn.models import gradcheck
from tinynn.parameter import Buffer, Parameter

MISTAKES = {
    "two": (lambda g: 2 * g, "factor 2"),
    "half": (lambda g: g / 2, "half"),
    "sign": (lambda g: -g, "sign"),
    "sign and two": (lambda g: -2 * g, "sign is wrong; a factor 2"),
    "times N": (lambda g: 5 * g, "division by N = 5 (the batch) is missing"),
    "over N": (lambda g: g / 5, "divided by N = 5 (the batch) once too often"),
    "factor": (lambda g: 0.7 * g, "constant factor of 0.7"),
    "transposed": (lambda g: g.T.copy().reshape(g.shape), "transposed"),
    "zero": (lambda g: 0 * g, "zero everywhere"),
    "missing": (lambda g: None, "missing"),
}


class Planted(Affine):
    """x W + b with a mistake in dW."""

    mistake = ""

    def backward(self, graph: Graph, dy: Any) -> Any:
        dx, dW, *db = super().backward(graph, dy)
        return dx, MISTAKES[self.mistake][0](dW), *db


def planted(name: str) -> type[Planted]:
    return type("Planted", (Planted,), {"mistake": name})


def arrays(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape) for shape in shapes]


class Scaled(Layer):
    """Dense by hand, with a chosen Function."""

    def __init__(self, units: int, function: type[Affine], **base: Any):
        super().__init__(**base)
        self.units, self.function = units, function

    def build(self, input_shape: Any) -> Any:
        self.kernel = Parameter((input_shape[-1], self.units), "glorot_uniform")
        self.bias = Parameter((self.units,), "zeros")
        return (*input_shape[:-1], self.units)

    def forward(self, x: Any) -> Any:
        return self.function()(x, x.graph.parameter(self.kernel), x.graph.parameter(self.bias))


# -- right gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [Affine, lambda: Affine(), Affine()], ids=["class", "factory", "instance"])
def test_a_right_function_passes(target: Any, capsys: pytest.CaptureFixture[str]) -> None:
    rows = gradcheck.check(target, *arrays((5, 4), (4, 3), (3,)))
    assert [row.shape for row in rows] == [(5, 4), (4, 3), (3,)]
    assert all(row.passed and row.elements == np.prod(row.shape) and row.directions == 3 for row in rows)
    assert max(row.error for row in rows) < 1e-9
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split()[:2] == ["layer", "parameter"]
    assert len(printed) == 4
    assert all(line.endswith("ok") for line in printed[1:])


def test_an_operation_on_tensors_passes() -> None:
    rows = gradcheck.check(lambda x, y: (x * y + x).sum(), *arrays((2, 3), (2, 3)), verbose=0)
    assert [row.passed for row in rows] == [True, True]


def test_large_arrays_are_checked_along_directions() -> None:
    rows = gradcheck.check(Affine, *arrays((16, 60), (60, 50), (50,)), directions=4, verbose=0)
    assert [(row.elements, row.directions) for row in rows] == [(0, 4), (0, 4), (50, 4)]


def test_a_dense_layer_passes_and_its_weights_keep_their_bytes() -> None:
    layer = Dense(6, activation="relu")
    x = arrays((5, 4))[0].astype("float32")
    layer(Graph().tensor(x))
    before = [v.data.tobytes() for v in layer.variables()]
    rows = gradcheck.check(layer, x, verbose=0)
    assert [row.parameter for row in rows] == ["input", "kernel", "bias"]
    assert before == [v.data.tobytes() for v in layer.variables()]
    assert all(p.grad is None for p in layer.parameters())


class Statistics(Layer):
    """Noise of the step's number, and a buffer that every training step changes: what the check must put back."""

    def build(self, input_shape: Any) -> Any:
        self.count = Buffer((1,), "zeros")
        self.scale = Parameter((1,), "ones")
        return input_shape

    def forward(self, x: Any) -> Any:
        assert self.stream is not None
        self.count.data[...] += 1
        self.seen = int(self.stream.step[0])
        return x * x.graph.parameter(self.scale) * (1.0 + self.seen) * float(self.count.data[0])


def test_random_streams_and_running_statistics_are_restored() -> None:
    layer = Statistics(name="statistics")
    x = arrays((2, 3))[0]
    layer(Graph(training=True).tensor(x))
    step, count = layer.stream.step.copy(), layer.count.data.copy()
    gradcheck.check(layer, x, verbose=0)  # would fail if the factors changed from one evaluation to the next
    assert layer.stream.step == step
    assert layer.count.data == count


# -- wrong gradients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MISTAKES)
@pytest.mark.parametrize("shapes", [((5, 4), (4, 3)), ((5, 30), (30, 20))], ids=["elements", "directions"])
def test_a_planted_mistake_is_caught_and_named_in_a_function(name: str, shapes: Any) -> None:
    with pytest.raises(gradcheck.GradientError) as caught:
        gradcheck.check(planted(name), *arrays(*shapes), verbose=0)
    assert "the gradient of W is wrong" in str(caught.value)
    assert MISTAKES[name][1] in str(caught.value)
    assert [row.passed for row in caught.value.rows] == [True, False]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_caught_and_named_in_a_layer(name: str) -> None:
    with pytest.raises(AssertionError) as caught:
        gradcheck.check(Scaled(3, planted(name), name="dense_7"), arrays((5, 4))[0], verbose=0)
    assert "the gradient of dense_7/kernel is wrong" in str(caught.value)
    assert MISTAKES[name][1] in str(caught.value)


def test_a_square_transposition_is_named() -> None:
    with pytest.raises(gradcheck.GradientError, match="exchanged axes"):
        gradcheck.check(planted("transposed"), *arrays((5, 4), (4, 4)), verbose=0)


def test_a_transposed_shape_is_named() -> None:
    class Turned(Affine):
        def backward(self, graph: Graph, dy: Any) -> Any:
            dx, dW = super().backward(graph, dy)
            return dx, dW.T.copy()

    with pytest.raises(ValueError, match=r"expected \(4, 3\), got \(3, 4\) \(transposed\)"):
        gradcheck.check(Turned, *arrays((5, 4), (4, 3)), verbose=0)


@pytest.mark.parametrize("shape", [(4, 3), (70, 60)], ids=["small", "large"])
def test_a_single_wrong_element_is_found(shape: tuple[int, int]) -> None:
    class OneOff(Affine):
        def backward(self, graph: Graph, dy: Any) -> Any:
            dx, dW = super().backward(graph, dy)
            dW[2, 1] += 1e-3
            return dx, dW

    with pytest.raises(gradcheck.GradientError, match=r"Worst at \[2, 1\]"):
        gradcheck.check(OneOff, *arrays((5, shape[0]), shape), verbose=0)


def test_exchanged_gradients_are_named() -> None:
    class Exchanged(Function):
        def forward(self, graph: Graph, left: Any, right: Any) -> Any:
            self.saved = left, right
            return left * right

        def backward(self, graph: Graph, dy: Any) -> Any:
            left, right = self.saved
            return dy * left, dy * right

    with pytest.raises(gradcheck.GradientError, match="gradient of right: exchanged inputs"):
        gradcheck.check(Exchanged, *arrays((2, 3), (2, 3)), verbose=0)


def test_nan_is_named() -> None:
    class Poisoned(Affine):
        def backward(self, graph: Graph, dy: Any) -> Any:
            dx, dW = super().backward(graph, dy)
            dW[0, 0] = np.nan
            return dx, dW

    with pytest.raises(gradcheck.GradientError, match="NaN"):
        gradcheck.check(Poisoned, *arrays((5, 30), (30, 20)), verbose=0)


# -- kinks -----------------------------------------------------------------------------------------------------------


class Hinge(Function):
    """max(x, 0)."""

    def forward(self, graph: Graph, x: Any) -> Any:
        self.saved = x
        return np.maximum(x, 0)

    def backward(self, graph: Graph, dy: Any) -> Any:
        return dy * (self.saved > 0)


def test_values_near_a_kink_are_checked_with_smaller_steps() -> None:
    x = np.array([1.0, -1.0, 5e-4, -2e-5, 3e-6, -3e-6])
    (row,) = gradcheck.check(Hinge, x, directions=0, verbose=0)
    assert (row.elements, row.skipped) == (6, 0)


def test_values_on_a_kink_are_skipped_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    x = np.array([1.0, -1.0, 0.0, 0.0])
    (row,) = gradcheck.check(Hinge, x)
    assert (row.elements, row.directions, row.skipped) == (2, 0, 5)
    assert "5 on kinks skipped" in capsys.readouterr().out


def test_a_check_that_could_compare_nothing_fails() -> None:
    with pytest.raises(gradcheck.GradientError, match="nothing could be compared"):
        gradcheck.check(Hinge, np.zeros(3), verbose=0)


def test_a_mistake_is_not_taken_for_a_kink() -> None:
    class Leaky(Hinge):
        def backward(self, graph: Graph, dy: Any) -> Any:
            return dy * np.where(self.saved > 0, 1.0, 0.01)

    with pytest.raises(gradcheck.GradientError, match=r"Worst at \[1\]"):
        gradcheck.check(Leaky, np.array([1.0, -1.0, 1e-4]), verbose=0)


# -- whole models ----------------------------------------------------------------------------------------------------


def model_with(*layers: Layer, loss: str = "categorical_crossentropy") -> Any:
    from tinynn.models import Sequential

    model = Sequential(list(layers))
    model.compile(loss=loss, optimizer="sgd")
    return model


def test_a_compiled_model_passes_and_nothing_of_it_changes() -> None:
    from tinynn import layers as L

    model = model_with(
        L.Dense(12, activation="relu", kernel_regularizer="l2", input_shape=(8,)),
        L.BatchNormalization(),
        L.Dropout(0.3),
        L.Dense(4, activation="softmax"),
    )
    x, y = arrays((6, 8))[0].astype("float32"), np.eye(4, dtype="float32")[[0, 3, 1, 2, 2, 0]]
    model.fit(x, y, epochs=1, verbose=0)
    weights, step = [w.tobytes() for w in model.get_weights()], model.stream.step.copy()
    gradients = [p.grad.tobytes() for p in model.parameters() if p.grad is not None]
    rows = gradcheck.check(model, x, y, verbose=0)
    assert [row.name for row in rows] == [p.name for p in model.parameters()]
    assert max(row.error for row in rows) < 1e-7
    assert weights == [w.tobytes() for w in model.get_weights()]
    assert gradients == [p.grad.tobytes() for p in model.parameters() if p.grad is not None]
    assert model.stream.step == step


@pytest.mark.parametrize("name", ["two", "sign", "times N", "over N", "transposed", "zero"])
def test_a_planted_mistake_is_caught_and_named_in_a_model(name: str) -> None:
    model = model_with(Scaled(7, planted(name), name="planted", input_shape=(4,)), Dense(2), loss="mse")
    x, y = arrays((5, 4), (5, 2))
    with pytest.raises(gradcheck.GradientError) as caught:
        gradcheck.check(model, x, y, verbose=0)
    assert "planted/kernel" in str(caught.value)
    assert MISTAKES[name][1] in str(caught.value)
    assert sum(not row.passed for row in caught.value.rows) == 1


# -- the border ------------------------------------------------------------------------------------------------------


def test_what_cannot_be_checked_is_refused() -> None:
    with pytest.raises(TypeError, match="a Function, a Layer or a compiled model, got int"):
        gradcheck.check(3)
    with pytest.raises(ValueError, match="nothing to check"):
        gradcheck.check(lambda x: x * 2.0, np.arange(3))
    with pytest.raises(ValueError, match="tolerance"):
        gradcheck.check(Affine, *arrays((5, 4), (4, 3)), tolerance=0)
    with pytest.raises(ValueError, match="one input for layer"):
        gradcheck.check(Dense(3), *arrays((5, 4), (5, 4)))


def test_a_model_that_is_not_compiled_is_refused() -> None:
    from tinynn.models import Sequential

    with pytest.raises(RuntimeError, match="compile"):
        gradcheck.check(Sequential([Dense(2, input_shape=(3,))]), np.zeros((2, 3)), np.zeros((2, 2)))


def test_a_gradient_that_is_zero_is_no_false_alarm():
    nn.set_seed(2)
    model = nn.Sequential(
        [
            L.Dense(5, input_shape=(4,)),
            L.BatchNormalization(),
            L.Dense(3),
            L.LayerNormalization(),
            L.BatchNormalization(),
            L.Dense(2, activation="softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.random.default_rng(0).standard_normal((9, 4))
    rows = gradcheck.check(model, x, np.arange(9) % 2, verbose=0)
    assert len(rows) == 12
