"""What users do with fit on the gpu backend: callbacks that change things, metrics that keep things, several models.

Recorded steps (jit=True) must come to the same bytes as steps that run kernel by kernel, whatever is done in between.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests import device
from tests.cuda.standin import CapturedGraph, gpu_backend
from tests.device import DeviceArray
from tinynn import layers as L
from tinynn.backends import host
from tinynn.models import Model, Sequential

GPU: Any = gpu_backend()
EMULATED = GPU is not None and GPU.array_type is DeviceArray
pytestmark = pytest.mark.skipif(GPU is None, reason="no card, and no C++ compiler for the emulator")
only_emulated = pytest.mark.skipif(not EMULATED, reason="counts or breaks what the stand-in does")

RNG = np.random.default_rng(0)
X = RNG.standard_normal((14, 6)).astype("float32")
Y = RNG.integers(0, 3, 14)
STEPS = RNG.standard_normal((12, 5, 4)).astype("float32")


def network(backend: Any = None, jit: bool = False, optimizer: Any = "adam", metrics: Any = ()) -> Model:
    nn.set_seed(3)
    model = Sequential(
        [
            L.Dense(5, activation="tanh", input_shape=(6,), kernel_regularizer=nn.regularizers.L2(0.01)),
            L.Dropout(0.2),
            L.Dense(3, activation="softmax"),
        ],
        backend=GPU if backend is None else backend,
    )
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=list(metrics), jit=jit)
    return model


def fit(model: Model, x: Any = X, y: Any = Y, batch_size: int = 5, epochs: int = 3, **options: Any) -> dict[str, Any]:
    return model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0, **options).history


def data(model: Model) -> list[bytes]:
    """The bytes of weights and of the optimizer's arrays."""
    arrays = [*(v.data for v in model.variables()), *(model.optimizer.variables if model.compiled else [])]
    return [host(a).tobytes() for a in arrays]


# -- callbacks that change things ------------------------------------------------------------------------------------


def halve_dropout(model: Model) -> None:
    model.layers[1].rate /= 2


def lower_momentum(model: Model) -> None:
    model.optimizer.momentum -= 0.1


def raise_penalty(model: Model) -> None:
    model.layers[0].kernel_regularizer.l2 *= 2


def halve_learning_rate(model: Model) -> None:
    model.optimizer.learning_rate = 0.5 * model.optimizer.learning_rate


def new_schedule(model: Model) -> None:
    rate = model.optimizer.learning_rate
    model.optimizer.learning_rate = nn.optim.schedules.ExponentialDecay(0.7 * rate, 3, 0.5)


def set_weights(model: Model) -> None:
    model.set_weights([0.9 * w for w in model.get_weights()])


def go_back(model: Model) -> None:
    model.stream.step[...] = 0  # as a run that is taken up again does


CHANGES = [halve_dropout, lower_momentum, raise_penalty, halve_learning_rate, new_schedule, set_weights, go_back]


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda f: f.__name__)
def test_what_a_callback_changes_counts_in_recorded_steps(change: Callable[[Model], None], hook: str) -> None:
    def run(jit: bool) -> list[bytes]:
        class Change(nn.callbacks.Callback):
            pass

        def act(self: Any, number: int, logs: Any = None) -> None:
            if number % 3 == 2:
                change(self.model)

        setattr(Change, hook, act)
        model = network(jit=jit, optimizer=nn.optim.SGD(0.1, momentum=0.9, decay=0.1))
        fit(model, batch_size=3, epochs=4, callbacks=[Change()])
        return data(model)

    assert run(True) == run(False)


@only_emulated
def test_callbacks_that_change_nothing_leave_recordings_alone() -> None:
    class Look(nn.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.evaluate(X, Y, verbose=0)

    before = CapturedGraph.launches
    fit(network(jit=True, metrics=["accuracy"]), batch_size=7, epochs=4, callbacks=[Look()])
    assert CapturedGraph.launches - before == 8 - 2


@pytest.mark.parametrize("jit", [False, True])
def test_a_step_that_was_skipped_leaves_the_random_numbers_alone(jit: bool) -> None:
    """The search for what was not finite runs the step again, with its random numbers."""

    class Go(nn.callbacks.Callback):
        hits = 0

        def on_not_finite(self, batch: int, error: Exception) -> None:
            self.hits += 1

    def run(jit: bool, watched: bool) -> list[bytes]:
        y = np.eye(3, dtype="float32")[Y]
        y[13, 0] = np.inf
        model, go = network(jit=jit), Go()
        model.compile("adam", "mse", jit=jit)
        for _ in range(1 if watched else 5):
            fit(model, y=y, batch_size=2, epochs=5 if watched else 1, shuffle=False, callbacks=[go])
        assert go.hits == 5
        return data(model)

    assert run(jit, True) == run(False, False)


def test_a_model_cannot_move_while_its_fit_runs() -> None:
    class Move(nn.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                self.model.backend = "cpu"

    for jit in (False, True):
        model = network(jit=jit)
        with pytest.raises(RuntimeError, match="lies on backend 'cpu'.*cannot move while its fit runs"):
            fit(model, callbacks=[Move()])
        fit(model)  # on the cpu


# -- metrics that keep things ----------------------------------------------------------------------------------------


class Kept(nn.metrics.Metric):
    """Lists of all targets and predictions, as one writes it first."""

    def reset_state(self) -> None:
        self.seen: Any = []

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen.append((y_true, y_pred[:, 0]))

    def result(self) -> float:
        return float(sum((host(t) * host(p)).sum() for t, p in self.seen))


class InADict(Kept):
    def reset_state(self) -> None:
        self.seen = {}

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen["most"] = y_pred.max() + self.seen.get("most", 0.0)

    def result(self) -> float:
        return float(host(self.seen["most"]))


class InAnObject(InADict):
    class Box:
        value: Any = 0.0

    def reset_state(self) -> None:
        self.seen = self.Box()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen.value = self.seen.value + y_pred.max()

    def result(self) -> float:
        return float(host(self.seen.value))


class InAMetric(Kept):
    def __init__(self) -> None:
        self.mean = nn.metrics.Mean()
        super().__init__()

    def reset_state(self) -> None:
        self.mean.reset_state()

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.mean.update_state(y_pred.max(axis=1))

    def result(self) -> float:
        return float(self.mean.result())


class Twice(Kept):
    """New arrays in turn: the second may lie where the first one was."""

    def reset_state(self) -> None:
        self.seen = None

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen = y_pred.max() if self.seen is None else self.seen + y_pred.max()
        self.seen = self.seen * 1.5

    def result(self) -> float:
        return float(host(self.seen))


class Counted(Kept):
    def reset_state(self) -> None:
        self.seen = 0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen += len(y_pred)

    def result(self) -> float:
        return float(self.seen)


def of_changing_rows() -> Any:
    for rows in (4, 4, 3, 4, 4, 4, 3, 3, 3, 4, 4, 2, 2, 2, 2):
        yield X[:rows], Y[:rows]


class ReadAtOnce(Kept):
    def reset_state(self) -> None:
        self.seen = 0.0

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.seen += float(host(y_pred).max())

    def result(self) -> float:
        return float(self.seen)


@pytest.mark.parametrize("metric", [Kept, InADict, InAnObject, InAMetric, Twice, Counted, ReadAtOnce])
def test_metrics_of_ones_own_count_as_on_the_cpu(metric: Any) -> None:
    def run(backend: Any, jit: bool) -> Any:
        model = network(backend, jit, metrics=["accuracy", metric()])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            logs = fit(model, batch_size=4, epochs=4)
            more = model.fit(of_changing_rows(), epochs=3, steps_per_epoch=5, verbose=0).history
        return [*logs.values(), *more.values()]

    recorded, eager = run(GPU, True), run(GPU, False)
    assert recorded == eager
    np.testing.assert_allclose(np.concatenate(eager), np.concatenate(run("cpu", False)), rtol=1e-4)


def test_arrays_that_predict_gives_stay_as_they_are() -> None:
    model = Sequential([nn.Input((6,)), L.Activation("linear")], backend=GPU)
    first, one = model.predict(X, batch_size=4), model.predict_on_batch(X[:3])
    model.predict(-X, batch_size=4)
    model.predict_on_batch(-X[:3])
    np.testing.assert_array_equal(first, X)
    np.testing.assert_array_equal(one, X[:3])


# -- what can be recorded --------------------------------------------------------------------------------------------


def several_outputs() -> Model:
    x = nn.Input((5, 4))
    h = L.Flatten()(x)
    model = Model(x, [L.Dense(3, name="a")(h), L.Dense(1, name="b")(h)], backend=GPU)
    model.compile("sgd", "mse", loss_weights={"a": 0.3}, jit=True)
    return model


def stacked(*layers: Any) -> Callable[[], Model]:
    def make() -> Model:
        model = Sequential([nn.Input((5, 4)), *(layer() for layer in layers), L.Flatten(), L.Dense(3)], backend=GPU)
        model.compile("sgd", "mse", jit=True)
        return model

    return make


RECORDED = {
    "lambda": stacked(lambda: L.Lambda(lambda x: 2.0 * x + 1.0)),
    "repeat": stacked(L.Flatten, lambda: L.RepeatVector(2)),
    "penalty": stacked(lambda: L.Dense(3, activity_regularizer="l2")),
    "masking": stacked(L.Masking, lambda: L.LSTM(3)),
    "cells": stacked(lambda: L.RNN([L.LSTMCell(3), L.GRUCell(2)])),
    "sines": stacked(L.SinePositionEncoding),
    "several outputs": several_outputs,
}


@only_emulated
@pytest.mark.parametrize("kind", RECORDED)
def test_numbers_and_constants_do_not_keep_a_step_from_being_recorded(kind: str) -> None:
    nn.set_seed(1)
    model = RECORDED[kind]()
    y: Any = np.ones((12, 3))
    before = CapturedGraph.launches
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(model, STEPS, [y, y[:, :1]] if kind == "several outputs" else y, batch_size=4, epochs=2)
    assert CapturedGraph.launches - before == 6 - 2


class Uneven(L.Layer):
    """Adds another number in each step."""

    calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return x + 0.5 * self.calls


def test_numbers_that_change_are_not_recorded() -> None:
    model = stacked(Uneven)()
    with pytest.warns(UserWarning, match=r"other numbers from Python each time \([\d.]+, then [\d.]+\)"):
        fit(model, STEPS, np.ones((12, 3)), batch_size=4)


def test_a_loss_of_ones_own_may_begin_with_the_targets() -> None:
    def run(backend: Any, jit: bool) -> Any:
        model = network(backend)
        model.compile("adam", lambda y, p: ((y - p) ** 2 * (1.0 - p)).mean(axis=-1), jit=jit)
        return fit(model, y=np.eye(3, dtype="float32")[Y])["loss"]

    assert run(GPU, True) == run(GPU, False)
    np.testing.assert_allclose(run(GPU, True), run("cpu", False), rtol=1e-4)


def test_what_stands_against_recording_is_said_once() -> None:
    model = Sequential([nn.Input(batch_shape=(4, 5, 4)), L.LSTM(3, stateful=True)], backend=GPU)
    model.compile("sgd", "mse", jit=True)
    with pytest.warns(UserWarning, match="stateful"):
        model.train_on_batch(STEPS[:4], np.ones((4, 3)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            model.train_on_batch(STEPS[:4], np.ones((4, 3)))


def in_turn(backend: Any, jit: bool) -> list[Any]:
    """The loop of a GAN: a discriminator that learns by itself, and frozen inside a second model."""
    nn.set_seed(5)
    rng = np.random.default_rng(0)
    generator = Sequential([nn.Input((3,)), L.Dense(6, activation="tanh"), L.Dense(4)], backend=backend)
    discriminator = Sequential([nn.Input((4,)), L.Dense(6, "relu"), L.Dropout(0.3), L.Dense(1)], backend=backend)
    loss = nn.losses.BinaryCrossentropy(from_logits=True)
    discriminator.compile(nn.optim.Adam(0.01), loss, metrics=["mae"], jit=jit)
    discriminator.trainable = False
    whole = Sequential([generator, discriminator], backend=backend)
    whole.compile(nn.optim.Adam(0.02), loss, jit=jit)
    logs: list[Any] = []
    for step in range(8):
        noise, real = rng.standard_normal((5, 3)), rng.standard_normal((5, 4))
        x = np.concatenate([real, generator.predict(noise)])
        logs.append(discriminator.train_on_batch(x, np.repeat([1.0, 0.0], 5)[:, None]))
        logs.append(whole.train_on_batch(noise, np.ones((5, 1))))
        if step == 5:
            discriminator.optimizer.learning_rate = 0.005
    return [*logs, *(np.array(host(v.data)).tolist() for m in (generator, discriminator) for v in m.variables())]


def test_one_batch_at_a_time_is_recorded_too() -> None:
    before = CapturedGraph.launches
    assert in_turn(GPU, True) == in_turn(GPU, False)
    if EMULATED:
        assert CapturedGraph.launches - before == 2 * (8 - 2)
    np.testing.assert_allclose(in_turn(GPU, True)[15], in_turn("cpu", False)[15], rtol=1e-4)


def test_one_batch_at_a_time_goes_on_after_an_error_and_a_move() -> None:
    model = network(GPU, jit=True)
    for _ in range(4):
        model.train_on_batch(X[:8], Y[:8])
    with pytest.raises(ValueError, match="rows"):
        model.train_on_batch(X[:8], Y[:7])
    model.train_on_batch(X[:5], Y[:5])
    model.backend = "cpu"
    model.train_on_batch(X[:8], Y[:8])
    model.backend = GPU
    model.fit(X, Y, verbose=0)
    model.train_on_batch(X[:8], Y[:8])


@only_emulated
def test_a_fit_leaves_nothing_on_the_device() -> None:
    model, used = network(jit=True, metrics=["accuracy"]), []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            fit(model)
            used.append(device.MEMORY.used)
    finally:
        gc.enable()
    assert used[0] == used[1] == used[2]


@only_emulated
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_recording_that_breaks_off_leaves_the_model_whole(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    eager = network()
    fit(eager, batch_size=7)
    original, calls = device.run, 0
    for number in range(1, 300, 7):
        model, calls = network(jit=True), 0

        def run(*arguments: Any, number: int = number) -> Any:
            nonlocal calls
            calls += device.TAPE is not None
            if calls == number and device.TAPE is not None:
                raise error("stop")
            return original(*arguments)

        with monkeypatch.context() as patch, warnings.catch_warnings(), suppress(KeyboardInterrupt):
            warnings.simplefilter("ignore")  # that it runs kernel by kernel
            patch.setattr(device, "run", run)
            fit(model, batch_size=7)
        assert device.TAPE is None
        if calls < number or error is ValueError:
            assert data(model) == data(eager)
        step = int(model.stream.step[0])
        assert step == (6 if calls < number or error is ValueError else 2)
        fit(model, batch_size=7)
        assert int(model.stream.step[0]) == step + 6
        if calls < number:
            break
    assert number > 10


# -- several models --------------------------------------------------------------------------------------------------


def two_that_share() -> tuple[Model, Model]:
    nn.set_seed(1)
    shared = L.Dense(4, input_shape=(6,))
    models = [Sequential([shared, L.Dense(n)], backend="cpu") for n in (3, 2)]
    for n, model in zip((3, 2), models, strict=True):
        model.compile("adam", "mse")
        fit(model, y=np.ones((14, n)))
    return models[0], models[1]


def test_models_that_share_layers_move_one_after_the_other() -> None:
    first, second = two_that_share()
    before = data(first), data(second)
    with pytest.raises(RuntimeError, match="Set the backend of that model first"):
        second.backend = GPU
    first.backend = GPU
    with pytest.raises(RuntimeError, match="lies on backend 'gpu', and this graph runs on 'cpu'"):
        second.predict(X)
    second.backend = GPU
    assert (data(first), data(second)) == before
    stay = two_that_share()
    for moved, stayed, n in zip((first, second), stay, (3, 2), strict=True):
        np.testing.assert_allclose(
            fit(moved, y=np.ones((14, n)))["loss"], fit(stayed, y=np.ones((14, n)))["loss"], rtol=1e-4
        )


def test_a_model_inside_another_one_follows() -> None:
    inner = Sequential([L.Dense(4, input_shape=(6,))])
    outer = Sequential([inner, L.Dense(3)], backend="cpu")
    outer.compile("adam", "mse")
    fit(outer, y=np.ones((14, 3)))
    wanted = inner.predict(X)
    outer.backend = GPU
    inner.backend = GPU
    np.testing.assert_allclose(inner.predict(X), wanted, rtol=1e-4)


@only_emulated
def test_a_model_that_does_not_fit_on_the_card_stays_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("cpu")
    fit(model)
    before, failed = data(model), 0
    for room in range(0, 20_000, 100):
        with monkeypatch.context() as patch:
            patch.setattr(device.MEMORY, "limit", device.MEMORY.used + room)
            try:
                model.backend = GPU
            except MemoryError:
                failed += 1
                assert model.backend.name == "cpu"
                assert data(model) == before
            else:
                break
    assert failed > 5
    assert data(model) == before
    fit(model)


@only_emulated
def test_an_optimizer_that_finds_no_room_says_so_and_can_be_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Sequential([L.Dense(300)], backend=GPU)
    model.compile("adam", "mse")
    y = np.ones((14, 300))
    with monkeypatch.context() as patch:
        patch.setattr(device.MEMORY, "limit", device.MEMORY.used + 20_000)
        with pytest.raises(MemoryError, match="Adam finds no room for weights, gradients and 2 slots of 2,100 numbers"):
            fit(model, y=y)
    fit(model, y=y)
    model.backend = "cpu"
