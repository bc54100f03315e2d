"""Layers and models that share: what one model does to a layer does not change what another one does with it."""

import numpy as np
import pytest

import tinynn as nn
from tinynn import Function, Graph, Input, Model, Parameter, Sequential, optim
from tinynn import layers as L

rng = np.random.default_rng(0)
X = rng.standard_normal((48, 6)).astype("float32")
Y = rng.integers(0, 2, 48)


def weights_of(model):
    return [w.tobytes() for w in model.get_weights()]


# -- trainable is what a model says ----------------------------------------------------------------------------------


def test_a_generator_and_a_discriminator():
    nn.set_seed(1)
    generator = Sequential([L.Dense(8, activation="relu", input_shape=(3,)), L.Dense(6)])
    critic = Sequential([L.Dense(8, input_shape=(6,)), L.BatchNormalization(), L.Dense(1, activation="sigmoid")])
    critic.compile("adam", "binary_crossentropy")
    critic.trainable = False
    both = Sequential([generator, critic])
    both.compile("adam", "binary_crossentropy")
    noise = rng.standard_normal((48, 3)).astype("float32")
    for _ in range(2):
        before = weights_of(generator), weights_of(critic)
        critic.train_on_batch(X, Y)
        assert weights_of(generator) == before[0]
        assert all(a != b for a, b in zip(weights_of(critic)[:4], before[1], strict=False))
        before = weights_of(generator), weights_of(critic)
        both.train_on_batch(noise, np.ones(48))
        assert weights_of(critic) == before[1], "statistics included"
        assert all(a != b for a, b in zip(weights_of(generator)[::2], before[0][::2], strict=True))


def test_a_batch_normalization_that_another_model_freezes_goes_on_here():
    norm = L.BatchNormalization()
    a = Sequential([L.Input(shape=(6,)), norm, L.Dense(1)])
    a.compile("sgd", "mse")
    norm.trainable = False
    b = Sequential([L.Input(shape=(6,)), norm, L.Dense(1)])
    b.compile("sgd", "mse")
    before = norm.moving_mean.numpy()
    b.fit(X, Y, verbose=0)
    assert np.array_equal(norm.moving_mean.numpy(), before)
    a.train_on_batch(X, Y)
    assert not np.array_equal(norm.moving_mean.numpy(), before)


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_fit_follows_the_statistics_of_each_batch_once(backend):
    norm = L.BatchNormalization(momentum=0.9, input_shape=(6,))
    model = Sequential([norm, L.Dense(1)], backend=backend)
    model.compile("sgd", "mse")
    mean, variance = np.zeros(6), np.ones(6)
    for _ in range(2):
        for start in range(0, 48, 8):
            batch = X[start : start + 8].astype("float64")
            mean = 0.9 * mean + 0.1 * batch.mean(axis=0)
            variance = 0.9 * variance + 0.1 * batch.var(axis=0)
    model.fit(X, Y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    assert np.allclose(norm.moving_mean.numpy(), mean, rtol=1e-4, atol=1e-6)
    assert np.allclose(norm.moving_variance.numpy(), variance, rtol=1e-4)


# -- names and random numbers ----------------------------------------------------------------------------------------


def test_a_shared_layer_keeps_its_name_where_it_was():
    a = Sequential([L.Dense(6, input_shape=(6,)), L.Dense(6)])
    b = Sequential([L.Dense(6, input_shape=(6,)), a.layers[0]])
    assert [la.name for la in a.layers] == ["dense", "dense_1"]
    assert list(a.named_variables()) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert list(b.named_variables()) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]
    assert b.get_layer("dense_1") is a.layers[0]
    assert a.get_layer("dense") is a.layers[0]


def masks(model, n=4):
    """What each of n training calls on ones drops."""
    result = []
    for _ in range(n):
        g = Graph(training=True)
        result.append((model(g.tensor(np.ones((4, 6)))).numpy() == 0).tobytes())
    return result


def test_dropout_of_a_nested_model_draws_anew_in_every_step_of_either_model():
    inner = Sequential([L.Dropout(0.5, input_shape=(6,))])
    outer = Sequential([inner, L.Dropout(0.5)])
    assert len(set(masks(inner))) == 4
    assert len(set(masks(outer))) == 4
    assert len(set(masks(inner))) == 4


def test_a_borrowed_dropout_follows_the_model_that_runs():
    dropout = L.Dropout(0.5)
    a = Sequential([L.Input(shape=(6,)), dropout])
    b = Sequential([L.Input(shape=(6,)), dropout])
    assert len(set(masks(a) + masks(b))) == 8
    steps = int(a.stream.step[0]), int(b.stream.step[0])
    assert steps == (4, 4)
    before = masks(a, 1)
    a.stream.step -= 1
    assert masks(a, 1) == before


# -- layers of layers ------------------------------------------------------------------------------------------------


class Block(L.Layer):
    """Two inner layers that know their shapes only when they are called."""

    def __init__(self, **base):
        super().__init__(**base)
        self.a, self.b = L.Dense(8, activation="relu"), L.Dense(4)

    def forward(self, x):
        return self.b(self.a(x))


class BlockWithBuild(Block):
    def build(self, input_shape):
        return (4,)


class Wrong(Block):
    def build(self, input_shape):
        return (5,)


@pytest.mark.parametrize("block", [Block, BlockWithBuild])
def test_a_layer_of_layers_trains_all_of_them(block):
    model = Sequential([L.Input(shape=(6,)), block(), L.Dense(2, activation="softmax")])
    assert model.count_params() == 6 * 8 + 8 + 8 * 4 + 4 + 4 * 2 + 2
    assert not any(v.drawn for v in model.variables()), "shapes are found without drawing weights"
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = weights_of(model)
    model.fit(X, Y, verbose=0)
    assert all(a != b for a, b in zip(weights_of(model), before, strict=True))
    assert list(model.named_variables())[0] == f"{model.layers[0].name}/a/kernel"
    nn.gradcheck.check(model, X[:4], Y[:4], verbose=0)


def test_build_that_says_another_shape_than_forward_makes():
    with pytest.raises(ValueError, match=r"'wrong': build returned the output shape \(5,\), but forward makes \(4,\)"):
        Sequential([L.Input(shape=(6,)), Wrong()])


def test_a_model_written_as_a_class_trains():
    class Net(Model):
        def __init__(self):
            super().__init__()
            self.hidden = L.Dense(8, activation="relu")
            self.drop = L.Dropout(0.2)
            self.out = L.Dense(2, activation="softmax")

        def forward(self, x):
            return self.out(self.drop(self.hidden(x)))

    nn.set_seed(1)
    model = Net()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, epochs=1, verbose=0)
    before = weights_of(model)
    assert list(model.named_variables()) == ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
    losses = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert all(a != b for a, b in zip(weights_of(model), before, strict=True))


# -- the graph -------------------------------------------------------------------------------------------------------


class SinCos(Function):
    """Two results from one node."""

    def forward(self, graph, x):
        self.saved = np.sin(x), np.cos(x)
        return self.saved[0].copy(), self.saved[1].copy()

    def backward(self, graph, ds, dc):
        s, c = self.saved
        self.given = ds is not None, dc is not None
        dx = np.zeros_like(s)
        if ds is not None:
            dx += ds * c
        if dc is not None:
            dx -= dc * s
        return dx


def test_a_function_of_two_results():
    g = Graph(dtype="float64")
    x = g.tensor(np.array([0.3, 1.2]), requires_grad=True)
    s, c = SinCos()(x)
    g.backward((s * s + 3.0 * c).sum())
    assert np.allclose(x.grad, 2 * np.sin(x.data) * np.cos(x.data) - 3 * np.sin(x.data), rtol=1e-12)
    s, c = SinCos()(x)
    g.backward(c.sum(), interior=True)
    assert np.allclose(x.grad, -np.sin(x.data))
    assert s.grad is None
    assert "SinCos" in str(g)


class TwoResults(L.Layer):
    def build(self, input_shape):
        return [input_shape, input_shape]

    def forward(self, x):
        return list(SinCos()(x))


def test_a_layer_of_two_results_in_a_functional_model():
    x = Input(shape=(6,))
    s, c = TwoResults()(x)
    model = Model(x, L.Dense(2, activation="softmax")(L.Lambda(lambda pair: pair[0] + pair[1])([s, c])))
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, Y, verbose=0)
    both = Model(x, [s, c])
    g = Graph(gradients=False)
    a, b = both(g.tensor(X))
    assert np.allclose(a.numpy() ** 2 + b.numpy() ** 2, 1, rtol=1e-5)
    np.testing.assert_array_equal(both.predict(X), [a.numpy(), b.numpy()])


class Broken(Function):
    def forward(self, graph, x):
        return x + 1

    def backward(self, graph, dy):
        raise ZeroDivisionError("on purpose")


def test_a_backward_that_raises_leaves_no_half_step():
    first, last = Parameter((3,), "ones"), Parameter((3,), "ones")
    optimizer = optim.SGD(0.1)
    optimizer.build([first, last])
    g = Graph()
    x = g.tensor(np.ones(3))
    y = Broken()(x * g.parameter(first)) * g.parameter(last)
    with pytest.raises(ZeroDivisionError):
        g.backward(y.sum())
    optimizer.step()
    assert np.array_equal(first.data, np.ones(3))
    assert np.array_equal(last.data, np.ones(3))
    with pytest.raises(RuntimeError, match="spent"):
        _ = y * 2


def test_a_graph_in_a_with_statement_forgets_its_tape():
    p = Parameter((3,), "ones")
    with Graph() as g:
        y = g.tensor(np.ones(3)) * g.parameter(p)
        assert len(g.tape) == 1
    assert not g.tape
    assert y.function is None


# -- refusals --------------------------------------------------------------------------------------------------------


def small():
    model = Sequential([L.Dense(2, activation="softmax", input_shape=(6,))])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


def test_a_refused_compile_changes_nothing():
    used = optim.Adam()
    other = Sequential([L.Dense(2, input_shape=(6,))])
    other.compile(used, "mse")
    model = small()
    before = model.compiled
    with pytest.raises(RuntimeError, match="built for other parameters"):
        model.compile(used, "mse")
    assert model.compiled is before
    model.fit(X, Y, verbose=0)


def test_a_refused_add_changes_nothing():
    model = Sequential()
    bad = L.Reshape((7,), input_shape=(6,))
    with pytest.raises(ValueError, match="reshape"):
        model.add(bad)
    assert model.input_shape is None
    assert not model.layers
    assert bad.name is None
    model.add(L.Dense(2, input_shape=(6,)))


def test_nothing_to_train_says_so():
    model = Sequential([L.Dense(2, activation="softmax", input_shape=(6,), trainable=False)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    for train in (lambda: model.fit(X, Y, verbose=0), lambda: model.train_on_batch(X, Y)):
        with pytest.raises(ValueError, match="'sequential' has nothing to train.*compile again"):
            train()


def test_evaluating_inside_an_epoch_does_not_disturb_its_metrics():
    class Evaluate(nn.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.evaluate(X[:5], Y[:5], verbose=0)

    def accuracy(*callbacks):
        nn.set_seed(1)
        model = Sequential([L.Dense(2, activation="softmax", input_shape=(6,))])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model.fit(X, Y, batch_size=8, callbacks=list(callbacks), verbose=0).history

    assert accuracy(Evaluate()) == accuracy()


# -- input and output, as Keras listings take models apart -------------------------------------------------------------


def test_feature_maps_and_a_new_head_from_the_outputs_of_layers():
    stack = Sequential([L.Dense(5, activation="relu", input_shape=(4,)), L.Dense(3)])
    x = np.ones((2, 4), "float32")
    maps = Model(stack.inputs, [layer.output for layer in stack.layers])
    assert [t.shape for t in maps(Graph().tensor(x))] == [(2, 5), (2, 3)]
    head = Model(stack.input, L.Dense(7)(stack.layers[0].output))
    assert head.layers[0] is stack.layers[0] and head.predict(x, verbose=0).shape == (2, 7)
    np.testing.assert_array_equal(Model(stack.input, stack.output).predict(x), stack.predict(x))


def test_output_of_a_layer_that_was_not_called_says_what_to_do():
    with pytest.raises(AttributeError, match="layer 'dense' has no input and output yet"):
        L.Dense(3).output  # noqa: B018
    assert not hasattr(Sequential([L.Dense(3)]), "output")


def test_layers_of_your_own_may_have_attributes_of_these_names():
    class Own(Model):
        def __init__(self):
            super().__init__()
            self.input, self.output = L.Dense(4), L.Dense(3)

        def forward(self, x):
            return self.output(self.input(x))

    assert Own().predict(np.ones((2, 5)), verbose=0).shape == (2, 3)
