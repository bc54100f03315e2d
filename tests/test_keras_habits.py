"""What a user of Keras types: old module paths, small names, single callbacks, NumPy on tensors, and typing errors."""

import importlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import typing
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinynn as nn
from tinynn import (
    Graph,
    Sequential,
    activations,
    callbacks,
    errors,
    initializers,
    losses,
    metrics,
    ops,
    schedules,
    utils,
)
from tinynn import layers as L
from tinynn.config import constructor_arguments
from tinynn.datasets import source
from tinynn.layers.recurrent import RecurrentArguments
from tinynn.layers.unit import UnitArguments
from tinynn.models.progress import Progress
from tinynn.models.summary import Row, table

rng = np.random.default_rng(11)
X = rng.standard_normal((24, 6)).astype("float32")
LABELS = rng.integers(0, 3, 24)
EXAMPLES = Path(__file__).parent.parent / "examples"


def classifier(units=3, activation="softmax", loss="sparse_categorical_crossentropy"):
    model = Sequential([L.Dense(5, activation="relu", input_shape=(6,)), L.Dense(units, activation=activation)])
    model.compile(loss=loss, optimizer="sgd", metrics=["accuracy"])
    return model


# -- old listings ------------------------------------------------------------------------------------------------------

OLD_LISTINGS = {
    "attributes": """
import tinynn.compat.keras as keras
model = keras.models.Sequential()
model.add(keras.layers.Dense(8, activation=keras.activations.relu, input_dim=6,
                             kernel_initializer=keras.initializers.he_normal(seed=1),
                             kernel_constraint=keras.constraints.max_norm(2.)))
model.add(keras.layers.Dense(3, activation='softmax', kernel_regularizer=keras.regularizers.l2(0.01)))
model.compile(loss=keras.losses.categorical_crossentropy, optimizer=keras.optimizers.SGD(lr=0.01, momentum=0.9),
              metrics=[keras.metrics.categorical_accuracy])
model.fit(X, keras.utils.to_categorical(Y, 3), epochs=1, verbose=0,
          callbacks=[keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: seen.append(batch))])
assert keras.datasets.mnist.load_data and keras.optimizers.schedules.ExponentialDecay
""",
    "old paths": """
from tinynn.compat.keras.models import Sequential
from tinynn.compat.keras.layers.core import Dense, Dropout, Activation
from tinynn.compat.keras.layers.noise import GaussianNoise
from tinynn.compat.keras.layers.normalization import BatchNormalization
from tinynn.compat.keras.layers.advanced_activations import LeakyReLU
from tinynn.compat.keras.constraints import maxnorm, nonneg, unitnorm
from tinynn.compat.keras.regularizers import l2
from tinynn.compat.keras.optimizers import SGD
from tinynn.compat.keras.utils import np_utils
model = Sequential()
model.add(GaussianNoise(0.1, input_shape=(6,)))
model.add(Dense(8, kernel_initializer='uniform', kernel_constraint=maxnorm(3)))
model.add(LeakyReLU(alpha=0.1))
model.add(BatchNormalization())
model.add(Dropout(0.2))
model.add(Dense(3, kernel_regularizer=l2(0.01)))
model.add(Activation('softmax'))
model.compile(loss='categorical_crossentropy', optimizer=SGD(lr=0.1, decay=1e-6, nesterov=True, momentum=0.9),
              metrics=['accuracy'])
model.fit(X, np_utils.to_categorical(Y, 3), epochs=1, batch_size=8, verbose=0)
seen.append(model.evaluate(X, np_utils.to_categorical(Y, 3), verbose=0))
""",
    "old image paths": """
from tinynn.compat.keras.models import Sequential
from tinynn.compat.keras.layers.convolutional import Conv2D, MaxPooling2D, ZeroPadding2D
from tinynn.compat.keras.layers.core import Dense, Flatten, Reshape
from tinynn.compat.keras.applications import VGG16, ResNet50
model = Sequential([Reshape((2, 3, 1), input_shape=(6,)), Conv2D(2, (2, 2), activation='relu'),
                    MaxPooling2D(pool_size=(1, 2)), Flatten(), Dense(3, activation='softmax')])
model.compile(loss='sparse_categorical_crossentropy', optimizer='sgd')
model.fit(X, Y, epochs=1, batch_size=8, verbose=0)
seen.append(VGG16().count_params())
""",
    "modules": """
import tinynn.compat.keras.layers.noise
import tinynn.compat.keras.utils.np_utils
from tinynn.compat import keras
from tinynn.compat.keras.callbacks import Callback
class Batches(Callback):
    def on_batch_end(self, batch, logs=None):
        seen.append(logs['loss'])
model = keras.Sequential([keras.layers.Dense(1, input_shape=(6,))])
model.compile('sgd', keras.losses.mse, metrics=[keras.metrics.mae])
model.fit(X, Y, batch_size=8, epochs=1, verbose=0, callbacks=[Batches()])
assert len(seen) == 3
""",
}


@pytest.mark.parametrize("name", OLD_LISTINGS)
def test_old_listings_run_whole(name):
    seen = []
    exec(compile(OLD_LISTINGS[name], name, "exec"), {"X": X, "Y": LABELS, "seen": seen, "__name__": "listing"})
    assert seen


def test_every_old_module_is_there():
    keras = importlib.import_module("tinynn.compat.keras")
    for name in keras.__all__:
        assert getattr(keras, name) is not None
    with pytest.raises(AttributeError, match="did you mean 'layers'"):
        keras.layer  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean 'Dense'"):
        keras.layers.Dens  # noqa: B018


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: L.Conv2D(8, 3, border_mode="same"), "padding"),
        (lambda: L.Conv2D(nb_filter=8, kernel_size=3), "filters"),
        (lambda: L.Conv2D(8, 3, subsample=(2, 2)), "strides"),
        (lambda: L.Dense(output_dim=3), "units"),
        (lambda: L.Dense(3, init="uniform"), "kernel_initializer"),
        (lambda: L.Dropout(p=0.5), "rate"),
        (lambda: nn.Model(input=L.Input((3,)), output=L.Input((3,))), "inputs"),
    ],
)
def test_arguments_of_the_first_keras_are_named_with_what_they_are_called_now(make, name):
    with pytest.raises(TypeError, match=f"since Keras 2 it is called '{name}'"):
        make()


def test_an_argument_that_no_layer_has_names_the_nearest():
    with pytest.raises(TypeError, match="Conv2D has no argument 'stride': did you mean 'strides'"):
        L.Conv2D(8, 3, stride=2)


# -- callbacks ---------------------------------------------------------------------------------------------------------


class Old(callbacks.Callback):
    def __init__(self):
        self.calls = []

    def on_batch_begin(self, batch, logs=None):
        self.calls.append(("begin", batch))

    def on_batch_end(self, batch, logs=None):
        self.calls.append(("end", batch, "loss" in logs))


class Both(Old):
    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("new", batch))


def test_the_older_names_of_the_batch_hooks_are_called():
    old, both = Old(), Both()
    classifier().fit(X, LABELS, batch_size=12, verbose=0, callbacks=[old, both])
    assert old.calls == [("begin", 0), ("end", 0, True), ("begin", 1), ("end", 1, True)]
    assert both.calls == [("begin", 0), ("new", 0), ("begin", 1), ("new", 1)]


def test_lambda_callback_takes_every_hook():
    hooks = sorted(name for name in dir(callbacks.Callback) if name.startswith("on_"))
    assert len(hooks) == 18
    calls = []
    callback = callbacks.LambdaCallback(**{name: lambda *_, name=name: calls.append(name) for name in hooks})
    model = classifier()
    model.fit(X, LABELS, verbose=0, callbacks=[callback], validation_split=0.5)
    model.predict(X, callbacks=[callback])
    # The newer names go first, and all numbers are finite.
    assert set(calls) == set(hooks) - {"on_batch_begin", "on_batch_end", "on_not_finite"}
    with pytest.raises(TypeError, match="on_epoch_end"):
        callbacks.LambdaCallback(on_epoch_end=3)


def test_callbacks_may_be_one_and_must_be_callbacks():
    params = {"epochs": 1}
    old, model = Old(), classifier()
    assert callbacks.CallbackList(old, model, params).callbacks == [old]
    assert callbacks.CallbackList(None, model, params).callbacks == []
    for wrong, words in [
        (Old, r"write Old\(\)"),
        ([Old], r"write Old\(\)"),
        ([print], "LambdaCallback"),
        (print, "derive"),
    ]:
        with pytest.raises(TypeError, match=words):
            callbacks.CallbackList(wrong, model, params)


# -- NumPy on tensors --------------------------------------------------------------------------------------------------


@pytest.fixture
def t():
    return Graph(dtype="float64").tensor([1.0, 2.0], requires_grad=True)


def test_operators_with_arrays_on_the_left_give_tensors(t):
    a = np.array([3.0, 4.0])
    for result, value in [
        (a + t, [4, 6]),
        (a - t, [2, 2]),
        (a * t, [3, 8]),
        (a / t, [3, 2]),
        (a**t, [3, 16]),
        (np.eye(2) @ t, [1, 2]),
        (np.float64(2) * t, [2, 4]),
        (np.float32(2) ** t, [2, 4]),
        (np.add(a, t), [4, 6]),
    ]:
        assert isinstance(result, nn.Tensor)
        np.testing.assert_array_equal(result.data, value)
    loss = (np.array([[1.0, 2.0], [3.0, 4.0]]) @ t).sum()
    loss.backward()
    np.testing.assert_array_equal(t.grad, [4, 6])


NUMPY = {
    "square": np.square,
    "absolute": np.abs,
    "mean": np.mean,
    "sum": np.sum,
    "max": np.max,
    "exp": np.exp,
    "concatenate": lambda t: np.concatenate([t, t]),
    "matmul": lambda t: np.dot(t, t),
    "reshape": lambda t: np.reshape(t, (2, 1)),
    "maximum": lambda t: np.maximum(t, 0),
    "where": lambda t: np.where(True, t, 0),
}


@pytest.mark.parametrize("name", NUMPY)
def test_functions_of_numpy_name_ours(name, t):
    assert name in ops.__all__
    with pytest.raises(TypeError, match=rf"write ops\.{name}\(.*from tinynn import ops.*numpy\(\)"):
        NUMPY[name](t)


def test_other_uses_of_numpy_say_what_to_write(t):
    with pytest.raises(TypeError, match="no such function.*np.sin"):
        np.sin(t)
    with pytest.raises(TypeError, match=r"a = a \+ t"):
        a = np.zeros(2)
        a += t
    assert (np.shape(t), np.ndim(t), np.size(t)) == ((2,), 1, 2)


def test_the_value_can_be_asked_for_and_is_a_copy(t):
    value = np.asarray(t)
    value[0] = 9
    np.testing.assert_array_equal(t.data, [1, 2])
    assert np.array(t, dtype="float32").dtype == np.float32
    with pytest.raises(ValueError, match="copy"):
        np.array(t, copy=False)


def test_the_library_never_takes_a_tensor_for_its_value(t):
    """A list of tensors that became an array would train without their gradients."""
    for value in ([t, t], [[t]], t, (1.0, t)):
        with pytest.raises(TypeError, match=r"ops\.stack"):
            t.graph.tensor(value)
    with pytest.raises(TypeError, match=r"ops\.stack"):
        ops.add(t, [t, t])


# -- tables and lines --------------------------------------------------------------------------------------------------


def test_no_column_of_a_summary_touches_the_next():
    rows = [Row("d" * n, "Dense", (8,), 5) for n in range(15, 40)] + [Row("x", "Dense", (10**6,) * 4, 10**14)]
    lines = table("model", rows, [], set()).split("\n")
    assert len({len(line) for line in lines if set(line) <= set("_=")}) == 1
    for line, row in zip(lines[4:], rows, strict=False):
        name, shape = line.split(" (Dense)")
        assert name == row.name
        assert shape.startswith("  ")
    place = lines[2].index("Output Shape")
    assert all(line[place] == "(" and line[place - 2 : place] == "  " for line in lines[4 : 4 + len(rows)])


def test_a_small_summary_looks_as_in_keras():
    text = table("sequential", [Row("dense", "Dense", (10,), 7850)], [], set())
    assert text.split("\n")[1:5] == [
        "_" * 68,
        "Layer (type)                  Output Shape            Param #",
        "=" * 68,
        "dense (Dense)                 (None, 10)              7,850",
    ]


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_the_bar_shrinks_before_the_numbers(columns, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    progress = Progress(1, 2, 600)
    progress.begin(0)
    progress.show(123, {"loss": 0.1234, "accuracy": 0.9876})
    progress.end({"loss": 0.5, "val_loss": 0.25})
    lines = re.split(r"[\r\n]", screen.getvalue())
    shown = [line for line in lines if "123/600 [" in line]
    assert shown, lines
    assert all(len(line) < min(columns, 101) for line in shown)
    assert shown[-1].rstrip().endswith("- 00:00 - loss: 0.1234 - accuracy: 0.9876")
    assert lines[0] == "Epoch 1/2"
    assert lines[-2].startswith("600/600 - ")
    assert lines[-2].endswith("loss: 0.5000 - val_loss: 0.2500")


# -- names -------------------------------------------------------------------------------------------------------------


def test_no_proposal_is_better_than_a_wrong_one():
    with pytest.raises(ValueError, match="did you mean 'cosine_similarity'"):
        losses.get("cosine")
    for name in ("perceptron", "softmax_crossentropy", "nll"):
        with pytest.raises(ValueError, match=f"unknown loss '{name}': Known names: bce, .*mse"):
            losses.get(name)
    for wrong, right in [("adma", "adam"), ("f1", "f1_score"), ("mean_square_error", "mean_squared_error")]:
        assert (
            errors.closest(wrong, ["adamax", "adam", "f1_score", "mean_absolute_error", "mean_squared_error"]) == right
        )
    for name, cls in [("confusion_matrix", "ConfusionMatrix"), ("mean_iou", "MeanIoU"), ("MeanIoU", "MeanIoU")]:
        with pytest.raises(ValueError, match=rf"write metrics\.{cls}\(num_classes=\.\.\.\)"):
            metrics.get(name)
    with pytest.raises(ValueError, match=r"metrics\.ConfusionMatrix"):
        metrics.get(metrics.confusion_matrix)
    assert errors.nearest("dens", ["Dense", "Dense", "Dropout"]) == "did you mean 'Dense'? Known names: Dense, Dropout"


MODULES = {
    "tinynn": ("seqential", "Sequential"),
    "tinynn.layers": ("BatchNormalisation", "BatchNormalization"),
    "tinynn.losses": ("CategoricalCrossEntropy", "CategoricalCrossentropy"),
    "tinynn.metrics": ("Acuracy", "Accuracy"),
    "tinynn.optim": ("Adma", "Adam"),
    "tinynn.initializers": ("HeNromal", "HeNormal"),
    "tinynn.regularizers": ("L1_L2", "L1L2"),
    "tinynn.constraints": ("maxnrm", "max_norm"),
    "tinynn.schedules": ("ExponentialDecai", "ExponentialDecay"),
    "tinynn.activations": ("rulu", "relu"),
    "tinynn.utils": ("to_categorial", "to_categorical"),
    "tinynn.ops": ("concat", "concatenate"),
    "tinynn.callbacks": ("Histroy", "History"),
}


@pytest.mark.parametrize("module", MODULES)
def test_a_typing_error_in_a_module_names_the_nearest(module):
    wrong, right = MODULES[module]
    holder = nn.callbacks if module == "tinynn.callbacks" else importlib.import_module(module)
    with pytest.raises(AttributeError, match=f"did you mean '{right}'"):
        getattr(holder, wrong)
    assert not hasattr(holder, "__path_of_nothing__")


SMALL_NAMES = [name for name in initializers.__all__ if name.islower() and name != "get"]


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_initializers_in_small_letters_are_those_of_the_name(name):
    assert getattr(initializers, name) is type(initializers.get(name))
    assert getattr(initializers, name)()((2, 2)).dtype == np.float32


def test_initializers_work_without_a_generator():
    first, again = (initializers.GlorotUniform(seed=1)((3, 4)) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    fresh = initializers.HeNormal()
    assert not np.array_equal(fresh((3, 4)), fresh((3, 4)))
    np.testing.assert_array_equal(initializers.Ones()((2,)), [1, 1])


def test_the_activations_as_functions(t):
    x = t - 1.5
    for name in activations.__all__:
        if name != "get":
            np.testing.assert_array_equal(activations.get(name)(x).data, getattr(activations, name)(x).data)
            layer = L.Activation("softmax" if name == "softmax" else name)
            np.testing.assert_array_equal(getattr(activations, name)(x).data, layer(x).data)
    assert activations.get(None)(x) is x
    assert activations.get(np.tanh) is np.tanh
    assert nn.activations is activations
    with pytest.raises(ValueError, match="did you mean 'relu'"):
        activations.get("rulu")
    with pytest.raises(TypeError, match="callable"):
        activations.get(3)


def test_an_activation_function_is_the_same_as_its_name():
    layer = L.Dense(3, activation=activations.relu)
    assert layer.config()["activation"] == "relu"
    assert layer.function.fused is not None
    own = lambda x: x * 2  # noqa: E731
    assert L.Dense(3, activation=own).activation is own


def test_losses_and_metrics_in_small_letters():
    y, p = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.8, 0.2], [0.4, 0.6]])
    mean = float(losses.mse(y, Graph(dtype="float64").tensor(p)).data)
    np.testing.assert_allclose(metrics.mean_squared_error(y, p), [0.04, 0.16])
    np.testing.assert_allclose(metrics.mse(y, p).mean(), mean)
    np.testing.assert_allclose(metrics.categorical_crossentropy(y, p), -np.log([0.8, 0.6]), rtol=1e-6)
    np.testing.assert_allclose(metrics.sparse_categorical_crossentropy([0, 1], p), -np.log([0.8, 0.6]), rtol=1e-6)
    np.testing.assert_allclose(metrics.binary_crossentropy(y, p), -np.log([0.8, 0.6]), rtol=1e-6)
    for function in (metrics.mean_squared_error, metrics.mae, metrics.hinge, metrics.poisson, metrics.kl_divergence):
        metric = metrics.get(function)
        assert metric(y, p) == pytest.approx(float(function(y, p).mean()))
        assert metric.name == function.__name__
    assert losses.get(losses.mse) is not None
    assert type(losses.get(losses.MSE)).__name__ == "MeanSquaredError"


def test_small_helpers_under_kerass_names():
    utils.set_random_seed(5)
    first = initializers.he_normal()((4,))
    nn.set_seed(5)
    np.testing.assert_array_equal(initializers.he_normal()((4,)), first)


def test_a_schedule_may_override_call_as_in_keras():
    class Halving(schedules.LearningRateSchedule):
        def __init__(self, start):
            self.start = start

        def __call__(self, step):
            return self.start * 0.5**step

    optimizer = nn.optim.SGD(Halving(0.5))
    model = Sequential([L.Dense(1, use_bias=False, kernel_initializer="ones", input_shape=(1,))])
    model.compile(optimizer, "mse")
    one = np.ones((1, 1), "float32")
    for _ in range(2):
        model.train_on_batch(one, one * 0)
    # w = 1 - 0.5 * 2 w = 0: the first step takes the whole way
    np.testing.assert_allclose(model.get_weights()[0], [[0.0]], atol=1e-7)
    assert repr(Halving(0.5)) == "Halving(start=0.5)"


# -- arguments and reprs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.MeanSquaredError(from_logits=True), "MeanSquaredError has no argument 'from_logits'"),
        (lambda: initializers.HeNormal(sed=1), "HeNormal has no argument 'sed': did you mean 'seed'"),
        (lambda: metrics.AUC(curv="PR"), "AUC has no argument 'curv': did you mean 'curve'"),
        (lambda: metrics.Mean(nam="m"), "Mean has no argument 'nam': did you mean 'name'"),
        (lambda: nn.optim.Adam(lrate=1), "Adam has no argument 'lrate'"),
        (lambda: nn.optim.SGD(momentm=0.9), "SGD has no argument 'momentm': did you mean 'momentum'"),
        (lambda: L.Dense(3, activatoin="relu"), r"Dense.*'activatoin'"),
    ],
)
def test_an_unknown_argument_blames_the_class_that_was_called(make, words):
    with pytest.raises(TypeError, match=words):
        make()


def test_a_class_of_the_users_may_take_any_arguments():
    class Mine(losses.MeanSquaredError):
        def __init__(self, **anything):
            super().__init__()
            self.anything = anything

    assert Mine(colour="red").anything == {"colour": "red"}


@pytest.mark.parametrize(
    ("thing", "text"),
    [
        (initializers.GlorotUniform(seed=1), "GlorotUniform(seed=1)"),
        (initializers.Zeros(), "Zeros()"),
        (nn.regularizers.l2(0.1), "L2(l2=0.1)"),
        (nn.constraints.max_norm(3), "MaxNorm(max_value=3.0, axis=0)"),
        (losses.Huber(2), "Huber(delta=2.0, reduction='sum_over_batch_size')"),
        (metrics.CategoricalAccuracy("acc"), "CategoricalAccuracy(name='acc')"),
        (metrics.Accuracy(), "Accuracy()"),
        (
            nn.optim.SGD(0.1, momentum=0.9),
            "SGD(learning_rate=0.1, momentum=0.9, nesterov=False, decay_biases=False, decay=0.0)",
        ),
    ],
)
def test_an_object_shows_the_call_that_makes_it(thing, text):
    assert repr(thing) == text


# -- optimizers --------------------------------------------------------------------------------------------------------


def test_lr_is_learning_rate():
    optimizer = nn.optim.SGD(0.1)
    assert optimizer.lr == 0.1
    optimizer.lr = 0.5
    assert optimizer.learning_rate == 0.5
    model = Sequential([L.Dense(1, use_bias=False, kernel_initializer="ones", input_shape=(1,))])
    model.compile(optimizer, "mse")
    one = np.ones((1, 1), "float32")
    model.train_on_batch(one, one * 0)
    np.testing.assert_allclose(model.get_weights()[0], [[0.0]], atol=1e-7)
    optimizer.lr = 0.0
    model.train_on_batch(one, one)
    np.testing.assert_allclose(model.get_weights()[0], [[0.0]], atol=1e-7)
    assert nn.optim.SGD(lr=0.25).learning_rate == 0.25
    with pytest.raises(ValueError, match="SGD expects learning_rate >= 0"):
        optimizer.lr = -1


def test_the_learning_rate_of_a_schedule_is_its_value_now():
    schedule = schedules.PiecewiseConstantDecay([0], [0.5, 0.25])
    optimizer = nn.optim.SGD(schedule)
    assert float(optimizer.learning_rate) == 0.5
    assert optimizer.schedule is schedule
    model = Sequential([L.Dense(1, input_shape=(6,))])
    model.compile(optimizer, "mse")
    model.train_on_batch(X, X[:, :1])
    assert optimizer.lr == 0.25
    assert optimizer.config()["learning_rate"]["class"] == "PiecewiseConstantDecay"
    assert "PiecewiseConstantDecay(boundaries=[0.0], values=[0.5, 0.25])" in repr(optimizer).replace("[0]", "[0.0]")


@pytest.mark.parametrize("name", ["Adam", "AdamW", "Nadam", "Adamax", "RMSprop", "Adagrad", "Adadelta"])
def test_epsilon_none_is_the_default(name):
    cls = getattr(nn.optim, name)
    assert cls(epsilon=None).epsilon == cls().epsilon == 1e-7
    assert cls(epsilon=1e-3).epsilon == 1e-3
    with pytest.raises(ValueError, match=f"{name} expects epsilon > 0"):
        cls(epsilon=0)


@pytest.mark.parametrize("wrong", ["0.1", None, True])
def test_a_learning_rate_is_a_number(wrong):
    with pytest.raises(TypeError, match="SGD expects a number or a schedule as learning_rate, got"):
        nn.optim.SGD(wrong)


# -- losses and outputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "activation", "fix"),
    [
        ("categorical_crossentropy", "linear", "softmax"),
        ("sparse_categorical_crossentropy", "relu", "softmax"),
        ("categorical_crossentropy", "log_softmax", "softmax"),
        ("binary_crossentropy", "linear", "sigmoid"),
        ("binary_crossentropy", "tanh", "sigmoid"),
    ],
)
def test_logits_taken_for_probabilities_are_warned_about(loss, activation, fix):
    loss = losses.get(loss)
    with pytest.warns(UserWarning, match=rf"layer 'out'.*'{activation}'.*activation='{fix}'.*from_logits=True"):
        loss.check_output(activation, (3,), "out")


def test_outputs_that_fit_or_are_not_known_are_no_complaint():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in losses.NAMES:
            losses.get(name).check_output(None, (3,), "out")
        losses.get("categorical_crossentropy").check_output("softmax", (3,), "out")
        losses.get("binary_crossentropy").check_output("sigmoid", (1,), "out")
        losses.get("mse").check_output("linear", (1,), "out")
        losses.CategoricalCrossentropy(from_logits=True).check_output("linear", (3,), "out")
        losses.BinaryCrossentropy(from_logits=True).check_output("linear", (1,), "out")


@pytest.mark.parametrize("loss", ["mse", "binary_crossentropy", "hinge"])
def test_a_softmax_over_one_output_is_refused(loss):
    with pytest.raises(ValueError, match="layer 'out'.*always 1.*sigmoid"):
        losses.get(loss).check_output("softmax", (1,), "out")


@pytest.mark.parametrize("key", ["0", 1.0, True, None])
def test_class_weights_want_numbers_as_keys(key):
    model = classifier()
    before = model.get_weights()
    with pytest.raises(TypeError, match="class_weight expects class numbers as keys"):
        model.fit(X, LABELS, class_weight={key: 2.0}, verbose=0)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_class_weights_of_classes_that_do_not_occur_are_warned_about():
    with pytest.warns(UserWarning, match=r"classes \[17\], which do not occur.*\[0, 1, 2\]") as caught:
        classifier().fit(X, LABELS, class_weight={0: 5.0, np.int64(1): 1.0, 17: 1.0}, verbose=0)
    assert caught[0].filename == __file__


# -- records -----------------------------------------------------------------------------------------------------------


def test_records_show_indices_names_and_where_the_logits_went():
    g = Graph(dtype="float64")
    x = g.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], requires_grad=True, name="x")
    part = x[:, 1:]
    part.name = "part"
    probabilities = ops.softmax(part)
    loss = losses.sparse_categorical_crossentropy([0, 1], probabilities)
    before = str(g)
    g.backward(loss, interior=True)
    after = str(g)
    for text in (before, after):
        assert "part = GetItem(#0)[:, 1:]" in text
        assert "no gradient: SparseSoftmaxCrossEntropy takes its logits #1" in text
    chosen = x[np.array([0, 0]), 2]
    assert "Gather(#0)[[0, 0], 2]" in str(g)
    g.backward((chosen * 2).sum(), interior=True)


def test_a_softmax_that_is_used_has_its_gradient():
    g = Graph(dtype="float64")
    x = g.tensor([[1.0, 2.0]], requires_grad=True)
    y = ops.softmax(x)
    g.backward((y * y).sum(), interior=True)
    assert "no gradient" not in str(g)


# -- examples and downloads --------------------------------------------------------------------------------------------


def run_example(*arguments):
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}, check=False
    )


def test_a_wrong_name_of_an_experiment_lists_the_right_ones():
    done = run_example(EXAMPLES / "classifiers.py", "D9")
    assert done.returncode == 2
    assert done.stderr.strip().endswith("there is no 'D9': choose from D1, D2, D3, D4, D5, F1, F1-adam, M1, K1")


def test_a_failed_download_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(source, "cache_root", lambda: tmp_path)
    with pytest.raises(OSError, match="TINYNN_DATA") as caught:
        source.cached("set", {"a.gz": "0" * 64}, ["http://127.0.0.1:9/one", "http://127.0.0.1:8/two"])
    message = str(caught.value)
    assert "\n" not in message
    assert "(http://127.0.0.1:9/one/a.gz: connection refused; 127.0.0.1:8: connection refused)" in message
    assert "urllib" not in message
    assert "HTTPConnectionPool" not in message


def test_compile_notices_an_output_that_does_not_fit_the_loss():
    def compiled(loss, *layers):
        nn.Sequential([L.Input(shape=(4,)), *layers]).compile("sgd", loss)

    for activation in (None, "relu", "tanh"):
        with pytest.warns(UserWarning, match="activation='softmax'.*from_logits=True"):
            compiled("categorical_crossentropy", L.Dense(3, activation=activation, name="top"))
        with pytest.warns(UserWarning, match="activation='sigmoid'.*from_logits=True"):
            compiled("binary_crossentropy", L.Dense(1, activation=activation))
    with pytest.raises(ValueError, match="'top'.*sigmoid"):
        compiled("binary_crossentropy", L.Dense(1, activation="softmax", name="top"))
    with pytest.warns(UserWarning, match="softmax"):
        x = nn.Input(shape=(4,))
        nn.Model(x, L.Dense(3)(x)).compile("sgd", "categorical_crossentropy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled("categorical_crossentropy", L.Dense(3), L.Activation("softmax"))
        compiled("categorical_crossentropy", L.Dense(3), L.Softmax())
        compiled(nn.losses.CategoricalCrossentropy(from_logits=True), L.Dense(3))
        compiled("mse", L.Dense(3))


def test_lists_of_one_input_and_one_output_are_that_one():
    x = nn.Input((6,))
    model = nn.Model(inputs=[x], outputs=[L.Dense(3, activation="softmax")(x)])
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, LABELS, verbose=0)
    assert model.predict(X, verbose=0).shape == (len(X), 3) and model.output_shape == (3,)
    rows = nn.Graph().tensor(X)
    np.testing.assert_array_equal(model([rows]).data, model(rows).data)
    assert model([nn.Input((6,))]).shape == (3,)


# -- what help() and editors show --------------------------------------------------------------------------------------

WHOLE = [L.LSTM, L.GRU, L.SimpleRNN, L.RNN, L.LSTMCell, L.ConvLSTM2D, L.Dense, nn.optim.Adam, nn.optim.SGD]


@pytest.mark.parametrize("cls", WHOLE, ids=lambda cls: cls.__name__)
def test_signatures_name_every_argument(cls):
    shown = inspect.signature(cls).parameters
    assert list(shown) == constructor_arguments(cls)
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in shown.values())
    assert shown["name"].default is None


def test_signatures_of_ones_own_layers():
    class Twice(L.Dense):
        def __init__(self, units, factor=2.0, **base):
            super().__init__(units, **base)
            self.factor = factor

    class Fixed(Twice):
        def __init__(self, factor=3.0):
            super().__init__(4, factor)

    assert list(inspect.signature(Twice).parameters)[:3] == ["units", "factor", "activation"]
    assert str(inspect.signature(Fixed)) == "(factor=3.0)"
    assert "x" in inspect.signature(Fixed()).parameters  # an instance is called


def test_what_type_checkers_are_told_are_the_arguments():
    """The TypedDicts behind ``**base`` say what the constructors take."""
    for cls in (L.LSTM, L.GRU, L.SimpleRNN):
        own = set(inspect.signature(cls.__init__).parameters) - {"self", "base"}
        assert own | set(typing.get_type_hints(UnitArguments)) == set(constructor_arguments(cls))
    own = set(inspect.signature(L.RNN.__init__).parameters) - {"self", "base"}
    assert own | set(typing.get_type_hints(RecurrentArguments)) == set(constructor_arguments(L.RNN))


# -- symbols -----------------------------------------------------------------------------------------------------------


def test_symbols_are_added_as_in_listings_of_transformers(tmp_path):
    x = nn.Input((4, 6))
    y = L.Dense(6)(x)
    model = nn.Model(x, [x + y, y - x, x * y])
    assert [layer.name for layer in model.layers] == ["dense", "add", "subtract", "multiply"]
    a = rng.standard_normal((2, 4, 6)).astype("float32")
    g = nn.Graph()
    b = model.layers[0](g.tensor(a)).numpy()
    for got, want in zip(model.predict(a), [a + b, b - a, a * b], strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    with pytest.raises(TypeError, match="with symbols, got float"):
        x + 1.0


def test_saving_under_kerass_old_paths(tmp_path):
    from tinynn.compat.keras.models import clone_model, load_model, model_from_json, save_model

    model = classifier()
    save_model(model, tmp_path / "model.h5")
    np.testing.assert_array_equal(load_model(tmp_path / "model.h5").predict(X), model.predict(X))
    assert model_from_json(model.to_json()).to_json() == clone_model(model).to_json() == model.to_json()


def test_steps_that_fit_does_not_call_are_said():
    class Own(nn.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(1)

        def forward(self, x, training=False):
            return self.dense(x)

        def train_step(self, data):
            raise AssertionError

    model = Own()
    with pytest.warns(UserWarning, match=r"has train_step, which fit, evaluate and predict do not call") as said:
        model.compile("sgd", "mse")
    assert said[0].filename == __file__
    model.fit(X, LABELS, verbose=0)


@pytest.mark.parametrize(("start", "kind"), [(b"\x89HDF\r\n\x1a\n", "HDF5, Keras's .h5"), (b"PK\x03\x04", "zip")])
def test_files_of_keras_are_told_from_damaged_ones(tmp_path, start, kind):
    path = tmp_path / "model.h5"
    path.write_bytes(start + bytes(100))
    for read in (nn.load_model, classifier().load_weights):
        with pytest.raises(ValueError, match=f"model.h5 is no safetensors file.*{kind}.*set_weights"):
            read(path)
