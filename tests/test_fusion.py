"""Fusion: what becomes one Function, that the numbers stay, and that nobody who looks closer notices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests.device import device_backend
from tinynn import Graph, Input, Model, Sequential, optim
from tinynn import layers as L
from tinynn.layers.convblock import ConvBlock
from tinynn.layers.merge import ReluSum

rng = np.random.default_rng(0)
X = rng.standard_normal((8, 11, 10, 3)).astype("float32")
Y = np.eye(4, dtype="float32")[rng.integers(0, 4, 8)]
BACKENDS = ["reference", "cpu"]


def head() -> list[L.Layer]:
    return [L.GlobalAveragePooling2D(), L.Dense(4, activation="softmax")]


def stack(*layers: L.Layer) -> Sequential:
    return Sequential([L.Input(shape=(11, 10, 3)), *layers, *head()])


def ended(x: Any, y: Any) -> Model:
    for layer in head():
        y = layer(y)
    return Model(x, y)


def conv(filters: int = 5, **kwargs: Any) -> L.Conv2D:
    return L.Conv2D(filters, 3, **{"padding": "same", "use_bias": False, **kwargs})


# -- models, and the layers of their blocks --------------------------------------------------------------------------


def residual() -> Model:
    x = Input((11, 10, 3))
    y = L.ReLU()(L.BatchNormalization()(conv(16, strides=2)(x)))
    z = L.ReLU()(L.BatchNormalization()(conv(16)(y)))
    z = L.BatchNormalization()(conv(16)(z))
    return ended(x, L.Activation("relu")(L.Add()([z, y])))


def shared_convolution() -> Model:
    x, shared = Input((11, 10, 3)), conv(3)
    y = L.Activation("relu")(shared(x))
    return ended(x, L.Activation("relu")(shared(y)))


def shared_norm() -> Model:
    x, shared = Input((11, 10, 3)), L.BatchNormalization()
    y = L.Activation("relu")(shared(conv()(x)))
    return ended(x, L.Activation("relu")(shared(conv()(y))))


def read_twice() -> Model:
    x = Input((11, 10, 3))
    y = L.BatchNormalization()(conv()(x))
    return ended(x, L.Add()([L.Activation("relu")(y), L.Activation("tanh")(y)]))


def added_to_itself() -> Model:
    x = Input((11, 10, 3))
    y = conv(bias_initializer="ones", use_bias=True)(x)
    return ended(x, L.Multiply()([y, y]))


def joins() -> Model:
    x = Input((11, 10, 3))
    a, b = conv(4, activation="tanh")(x), conv(4, activation="tanh")(x)
    narrow = conv(4, activation="tanh", strides=(11, 10))(x)
    y = L.ReLU()(L.Add()([a, b]))
    y = L.ReLU()(L.Add()([y, y]))
    y = L.ReLU()(L.Add()([y, narrow]))  # repeats: one by one
    y = L.ReLU()(L.Add()([y, a, b]))  # and so are three
    total = L.Add()([y, a])
    return ended(x, L.Multiply()([total, L.ReLU()(total)]))


def nested() -> Model:
    inner = Sequential([conv(4), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D()])
    around = Sequential([inner, conv(3, use_bias=True), L.Activation("tanh")])
    x = Input((11, 10, 3))
    return ended(x, L.Activation("relu")(conv()(around(x))))


def with_penalties() -> Sequential:
    return stack(
        conv(use_bias=True, kernel_regularizer="l2", bias_regularizer="l1"),
        L.BatchNormalization(gamma_regularizer="l2"),
        L.ReLU(),
        conv(activity_regularizer="l2"),
        L.ReLU(),
    )


def frozen_norm() -> Sequential:
    norm = L.BatchNormalization(trainable=False)
    return stack(conv(4), norm, L.ReLU(), L.MaxPooling2D(), conv(), L.BatchNormalization(), L.ReLU())


def frozen_base() -> Sequential:
    base = Sequential([conv(4), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D()])
    base.trainable = False
    return stack(base, conv(), L.BatchNormalization(), L.ReLU())


C, B, A, R, P = "Conv2D", "BatchNormalization", "Activation", "ReLU", "MaxPooling2D"
NETS: dict[str, tuple[Callable[[], Model], list[str]]] = {
    "norm_relu_pool": (
        lambda: stack(conv(), L.BatchNormalization(), L.Activation("relu"), L.MaxPooling2D()),
        [f"{C} {B} {A} {P}"],
    ),
    "vgg": (
        lambda: stack(
            *(conv(16), L.BatchNormalization(), L.ReLU()),
            *(conv(16), L.BatchNormalization(epsilon=1e-5), L.ReLU(), L.MaxPooling2D()),
            L.Dropout(0.2),
            *(conv(32, use_bias=True), L.BatchNormalization(center=False), L.ReLU(), L.MaxPooling2D()),
        ),
        [f"{C} {B} {R}", f"{C} {B} {R} {P}", f"{C} {B} {R} {P}"],
    ),
    "c1": (
        lambda: stack(conv(16, activation="relu", use_bias=True), L.MaxPooling2D(),
                      conv(32, activation="relu", use_bias=True, padding="valid"), L.MaxPooling2D()),
        [f"{C} {P}", f"{C} {P}"],
    ),
    "norm_pool": (lambda: stack(conv(), L.BatchNormalization(scale=False), L.MaxPooling2D()), [f"{C} {B} {P}"]),
    "overlapping_same": (
        lambda: stack(conv(), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(3, 2, "same"),
                      conv(use_bias=True, activation="tanh"), L.MaxPooling2D(3, 2, "same")),
        [f"{C} {B} {R} {P}", f"{C} {P}"],
    ),
    "strides_dilation_groups": (
        lambda: stack(conv(6, strides=(2, 1), use_bias=True), L.ReLU(), conv(4, groups=2, dilation_rate=2), L.ReLU()),
        [f"{C} {R}", f"{C} {R}"],
    ),
    "tanh": (lambda: stack(conv(use_bias=True), L.Activation("tanh"), L.MaxPooling2D()), [f"{C} {A} {P}"]),
    "leaky_relu": (
        lambda: stack(conv(), L.LeakyReLU(0.2), conv(), L.BatchNormalization(), L.Activation("leaky_relu")),
        [f"{C} LeakyReLU", f"{C} {B} {A}"],
    ),
    "another_slope": (lambda: stack(conv(), L.BatchNormalization(), L.LeakyReLU(0.3)), [f"{C} {B}"]),
    "bounded_relu": (lambda: stack(conv(), L.ReLU(max_value=6)), []),
    "sigmoid": (lambda: stack(conv(activation="sigmoid"), L.MaxPooling2D(), conv(), L.Activation("sigmoid")), []),
    "activation_before_the_norm": (
        lambda: stack(conv(activation="relu"), L.BatchNormalization(), L.MaxPooling2D()), []
    ),
    "two_activations": (lambda: stack(conv(activation="relu"), L.Activation("tanh"), L.MaxPooling2D()), []),
    "alone": (lambda: stack(conv(activation="relu"), conv(), L.AveragePooling2D()), []),
    "other_axis": (lambda: stack(conv(), L.BatchNormalization(axis=1), L.ReLU()), []),
    "penalties": (with_penalties, [f"{C} {B} {R}"]),
    "frozen_norm": (frozen_norm, [f"{C} {B} {R} {P}", f"{C} {B} {R}"]),
    "frozen_base": (frozen_base, [f"{C} {B} {R}"]),
    "residual": (residual, [f"{C} {B} {R}", f"{C} {B} {R}", f"{C} {B}", "Add Activation"]),
    "joins": (joins, ["Add ReLU"] * 4),
    "shared_convolution": (shared_convolution, []),
    "shared_norm": (shared_norm, []),
    "read_twice": (read_twice, [f"{C} {B}"]),
    "added_to_itself": (added_to_itself, []),
    "nested": (nested, [f"{C} {A}"]),
}  # fmt: skip


def made(name: str, backend: Any = "cpu", fuse: bool = True, optimizer: Any = None) -> Model:
    """Compiled, with weights and statistics that no initializer gives; equal for equal names."""
    nn.set_seed(3)
    model = NETS[name][0]()
    model.backend = backend
    draw = np.random.default_rng(7)
    model.set_weights([w + draw.uniform(-0.2, 0.2, w.shape) for w in model.get_weights()])
    model.compile(optimizer or optim.SGD(0.05), "categorical_crossentropy", fuse=fuse)
    return model


def blocks(model: Any) -> list[str]:
    return [" ".join(type(layer).__name__ for layer in chain) for chain in model.fusion_plan.chains]


@pytest.mark.parametrize("name", NETS)
def test_the_plan_finds_the_blocks(name: str) -> None:
    assert blocks(made(name)) == NETS[name][1]


def test_every_model_inside_has_its_own_plan() -> None:
    model = made("nested")
    around = model.layers[0]
    assert blocks(around) == [f"{C} {A}"]
    assert blocks(around.layers[0]) == [f"{C} {B} {R} {P}"]  # type: ignore[attr-defined]


def test_a_result_of_the_model_is_not_swallowed() -> None:
    x = Input((11, 10, 3))
    y = conv()(x)
    model = Model(x, [y, L.ReLU()(y)])
    assert blocks(model) == []
    before, after = (model(Graph(fuse=True).tensor(X))[i].data for i in range(2))
    assert np.array_equal(np.maximum(before, 0), after)


def test_heirs_of_layers_are_left_alone() -> None:
    class Doubled(L.Conv2D):
        def forward(self, x: Any) -> Any:
            return 2 * super().forward(x)

    class Halved(L.BatchNormalization):
        def forward(self, x: Any) -> Any:
            return 0.5 * super().forward(x)

    assert blocks(stack(Doubled(4, 3), L.ReLU(), conv(), Halved(), L.ReLU())) == []


# -- the same numbers ------------------------------------------------------------------------------------------------


class Step:
    """One training step's numbers."""

    def __init__(self, name: str, backend: str, fuse: bool, dtype: str):
        model = made(name, backend)
        graph = Graph(backend=backend, training=True, dtype=dtype, fuse=fuse, frozen=model.compiled.frozen)  # type: ignore[union-attr]
        graph.updates = []
        loss, prediction = model.loss_and_prediction(graph, graph.tensor(X), Y)
        self.functions = [type(f) for f in graph.tape]
        self.loss, self.prediction = float(loss.data), prediction.data.copy()
        graph.backward(loss)
        self.gradients = {
            n: p.grad.copy()  # type: ignore[attr-defined]
            for n, p in model.named_variables().items()
            if getattr(p, "grad", None) is not None
        }
        graph.end_step(np.ones(1))
        self.weights = {n: v.numpy() for n, v in model.named_variables().items()}


def close(got: Any, want: Any, tolerance: float, least: float = 0.0) -> None:
    largest = max(float(np.abs(want).max()), least)
    error = float(np.abs(np.asarray(got, np.float64) - want).max())
    assert error <= tolerance * largest, f"{error:.2e} off, largest {largest:.2e}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [name for name, (_, found) in NETS.items() if found])
def test_a_step_has_the_same_numbers(name: str, backend: str, dtype: str) -> None:
    fused, apart = Step(name, backend, True, dtype), Step(name, backend, False, dtype)
    assert {ConvBlock, ReluSum} & set(fused.functions)
    assert not {ConvBlock, ReluSum} & set(apart.functions)
    close(fused.loss, apart.loss, 1e-6)
    close(fused.prediction, apart.prediction, 1e-6)
    assert fused.gradients.keys() == apart.gradients.keys()
    largest = max(float(np.abs(g).max()) for g in apart.gradients.values())
    for n, g in apart.gradients.items():
        close(fused.gradients[n], g, 1e-6, 0.2 * largest)  # that of a bias before a norm is nothing but rounding
    for n, w in apart.weights.items():
        close(fused.weights[n], w, 1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", NETS)
def test_the_same_predictions(name: str, backend: str) -> None:
    fused, apart = made(name, backend), made(name, backend, fuse=False)
    close(fused.predict(X), apart.predict(X), 2e-6)
    close(fused.evaluate(X, Y, verbose=0), apart.evaluate(X, Y, verbose=0), 2e-6)


@pytest.mark.parametrize("name", ["vgg", "c1", "residual", "frozen_norm", "nested"])
def test_the_same_history(name: str) -> None:
    def history(fuse: bool) -> Any:
        model = made(name, fuse=fuse, optimizer=optim.SGD(0.01, momentum=0.9))
        return model.fit(X, Y, batch_size=4, epochs=3, validation_data=(X, Y), verbose=0).history

    fused, apart = history(True), history(False)
    for key, values in apart.items():
        np.testing.assert_allclose(fused[key], values, rtol=1e-5)


# -- who sees a block, and who does not ------------------------------------------------------------------------------


def test_a_graph_by_hand_shows_every_node() -> None:
    model = made("norm_relu_pool")
    names = {}
    for graph in (Graph(training=True), model.graph(training=True), model.graph(training=True, fuse=True)):
        model.total_loss(graph, graph.tensor(X), Y)
        names[graph.fuse] = [type(f).__name__ for f in graph.tape]
        graph.reset()
    assert names[False][:4] == ["Convolve2D", "BatchNorm", "Relu", "MaxPool"]
    assert names[True][0] == "ConvBlock"
    assert names[False][4:] == names[True][1:]


def test_compile_can_switch_it_off() -> None:
    assert not made("c1", fuse=False).graph(fuse=True).fuse
    assert made("c1").graph(fuse=True).fuse


def test_a_trace_sees_every_layer() -> None:
    model = made("norm_relu_pool")
    graph = model.graph(fuse=True)
    graph.root = model
    assert [layer for layer, _ in model.trace(graph.tensor(X))] == model.layers


def functions_of(model: Model, training: bool) -> list[Any]:
    """The blocks that a call makes, by the Function's arguments."""
    made: list[ConvBlock] = []
    graph = model.graph(training=training, gradients=training, fuse=True)
    apply = graph.apply

    class Listening(Graph):
        def apply(self, function: Any, *inputs: Any) -> Any:
            made.extend([function] if isinstance(function, ConvBlock) else [])
            return apply(function, *inputs)

    graph.__class__ = Listening
    model(graph.tensor(X))
    return made


def test_given_statistics_are_folded_into_the_weights() -> None:
    (block,) = functions_of(made("norm_relu_pool"), training=False)
    assert block.block.epsilon is None
    assert block.saved[3] is None, "places that nobody asks for"
    (block,) = functions_of(made("norm_relu_pool"), training=True)
    assert block.block.epsilon == 1e-3
    assert block.saved[3].dtype == np.uint8


def test_a_frozen_norm_behind_a_trained_convolution_runs_by_itself() -> None:
    assert [b.block.epsilon for b in functions_of(made("frozen_norm"), training=True)] == [1e-3]  # the second one
    assert [b.block.epsilon for b in functions_of(made("frozen_base"), training=True)] == [None, 1e-3]


def test_only_two_inputs_of_one_shape_are_joined() -> None:
    assert Step("joins", "cpu", True, "float32").functions.count(ReluSum) == 2


def test_frozen_statistics_stay() -> None:
    model = made("frozen_norm")
    frozen, trained = (layer for layer in model.layers if isinstance(layer, L.BatchNormalization))
    before = frozen.moving_mean.numpy(), trained.moving_mean.numpy()
    model.fit(X, Y, verbose=0)
    assert np.array_equal(frozen.moving_mean.numpy(), before[0])
    assert not np.array_equal(trained.moving_mean.numpy(), before[1])


# -- layers keep their manners ---------------------------------------------------------------------------------------


def test_names_weights_and_summary_stay() -> None:
    seen: dict[bool, list[Any]] = {True: [], False: []}
    for fuse, notes in seen.items():
        model = made("vgg", fuse=fuse)
        model.fit(X, Y, verbose=0)
        model.summary(print_fn=notes.append)
        notes += [list(model.named_variables()), [layer.name for layer in model.layers], len(model.get_weights())]
        notes.append([p.name for p in model.trainable_weights])
    assert seen[True] == seen[False]


@pytest.mark.parametrize("functional", [True, False])
def test_other_sizes_of_images_and_their_errors(functional: bool) -> None:
    layers = [conv(use_bias=True, padding="valid"), L.BatchNormalization(), L.ReLU(), L.MaxPooling2D(), *head()]
    if functional:
        x = y = Input((None, None, 3))
        for layer in layers:
            y = layer(y)
        model = Model(x, y)
    else:
        model = Sequential([L.Input(shape=(None, None, 3)), *layers])
    refuses = "model" if functional else "conv2d"
    model.compile("sgd", "categorical_crossentropy")
    for side in (8, 13):
        images = rng.standard_normal((8, side, side, 3)).astype("float32")
        model.fit(images, Y, verbose=0)
        assert model.predict(images).shape == (8, 4)
    with pytest.raises(ValueError, match="'conv2d' has kernel_size"):
        model.predict(np.zeros((1, 2, 9, 3)))
    with pytest.raises(ValueError, match="'max_pooling2d' has pool_size"):
        model.predict(np.zeros((1, 3, 3, 3)))
    with pytest.raises(ValueError, match=f"'{refuses}' was built for"):
        model(Graph(fuse=True).tensor(np.zeros((1, 9, 9, 4))))


def test_another_top_is_another_plan() -> None:
    model = made("norm_relu_pool")
    model.fit(X, Y, verbose=0)
    for _ in range(3):
        model.pop()  # type: ignore[attr-defined]
    assert blocks(model) == [f"{C} {B} {A}"]
    model.add(L.MaxPooling2D(3))  # type: ignore[attr-defined]
    assert blocks(model) == [f"{C} {B} {A} {P}"]
    assert model.predict(X).shape == (8, 3, 3, 5)


@pytest.mark.parametrize("name", ["norm_relu_pool", "residual", "nested"])
def test_the_layer_that_made_a_nan_is_named(name: str) -> None:
    model = made(name)
    norms = [layer for layer in model.all_layers() if isinstance(layer, L.BatchNormalization)]
    gamma = norms[-1].gamma.numpy()
    gamma[1] = np.inf
    norms[-1].gamma.assign(gamma)
    outermost = next(la for la in model.layers if any(inner is norms[-1] for inner in [la, *all_inside(la)]))
    before = norms[-1].moving_mean.numpy()
    with pytest.raises(ValueError, match=f"layer '{outermost.name}' is the first whose output is not finite"):
        model.fit(X, Y, verbose=0)
    assert np.array_equal(norms[-1].moving_mean.numpy(), before)


def all_inside(layer: L.Layer) -> list[L.Layer]:
    return [inner for one in layer.layers_inside() for inner in [one, *all_inside(one)]]


@pytest.mark.parametrize("name", ["vgg", "c1", "residual", "frozen_base"])
def test_blocks_stay_on_the_device(name: str) -> None:
    def outcome(backend: Any) -> Any:
        model = made(name, backend)
        return model.fit(X, Y, verbose=0).history["loss"], model.predict(X)

    device, reference = outcome(device_backend()), outcome("reference")
    np.testing.assert_allclose(device[0], reference[0], rtol=1e-6)
    close(device[1], reference[1], 1e-6)


def test_a_nan_in_the_data_stays_one() -> None:
    images = X.copy()
    images[2, 5, 5, 1] = np.nan
    got = made("norm_relu_pool").predict(images)
    assert np.isnan(got[2]).all()
    assert np.isfinite(np.delete(got, 2, axis=0)).all()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_a_hidden_sigmoid_is_part_of_its_layer_and_an_output_sigmoid_is_not(backend: str) -> None:
    def model(fuse: bool) -> Sequential:
        nn.set_seed(3)
        stack = [L.Dense(7, activation="sigmoid", input_shape=(5,)), L.Dense(6, activation="sigmoid")]
        made = Sequential([*stack, L.Dense(1, activation="sigmoid")], backend=backend)
        made.compile("sgd", "binary_crossentropy", fuse=fuse)
        return made

    x, y = np.random.default_rng(0).random((40, 5), np.float32), np.arange(40) % 2
    fused, plain = model(True), model(False)
    assert [len(getattr(step, "layers", ())) for step in fused.fusion_plan.steps] == [1, 1, 0]
    found, expected = (m.fit(x, y, batch_size=8, epochs=3, verbose=0).history["loss"] for m in (fused, plain))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(fused.predict(x), plain.predict(x), rtol=1e-6)
