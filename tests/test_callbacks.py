"""Callbacks: what Keras's do, number by number."""

import csv
import io

import numpy as np
import pytest

from tinynn import Sequential, callbacks, losses, optim, set_seed
from tinynn import layers as L

X = np.random.default_rng(0).standard_normal((40, 3)).astype("float32")
Y = (X @ [1.0, -2.0, 0.5] + 0.3).reshape(-1, 1)


def model(rate=0.05):
    set_seed(1)
    net = Sequential([L.Dense(1, input_shape=(3,))])
    net.compile(optim.SGD(rate), "mse", metrics=["mae"])
    return net


class Script(callbacks.Callback):
    """Puts numbers into the logs, as if they had been measured; comes first in the list."""

    def __init__(self, **numbers):
        self.numbers = numbers

    def on_epoch_end(self, epoch, logs=None):
        logs |= {name: values[epoch] for name, values in self.numbers.items()}


class Weights(callbacks.Callback):
    """The weights after every epoch."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(self.model.get_weights())


# -- EarlyStopping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "arguments", "epochs", "best_epoch"),
    [
        ([5, 4, 3, 3, 3, 3], {"patience": 2}, 5, 2),
        ([5, 4, 3, 3.5, 2.9, 3, 3, 1], {"patience": 2}, 7, 4),
        ([5, 4, 3.95, 3.9, 3.5, 1], {"patience": 2, "min_delta": 0.2}, 4, 1),
        ([1, 2, 3, 3, 2], {"patience": 1, "mode": "max"}, 4, 2),
        ([5, 4, 3, 2, 1], {"patience": 1, "baseline": 0.5}, 2, 1),
        ([9, 1, 5, 5, 4, 5, 5, 1], {"patience": 2, "start_from_epoch": 2}, 7, 4),
        ([5, np.nan, np.nan, 1], {"patience": 2}, 3, 0),
        ([3, 2, 1], {}, 3, 2),
    ],
)
def test_early_stopping(numbers, arguments, epochs, best_epoch):
    stop = callbacks.EarlyStopping("val_loss", **arguments)
    history = model().fit(X, Y, epochs=len(numbers), callbacks=[Script(val_loss=numbers), stop], verbose=0)
    assert len(history.epoch) == epochs
    assert stop.best_epoch == best_epoch
    assert stop.stopped_epoch == (epochs - 1 if epochs < len(numbers) else 0)


def test_early_stopping_gives_the_best_weights_back(capsys):
    stop = callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True, verbose=1)
    seen, net = Weights(), model()
    net.fit(X, Y, epochs=9, callbacks=[Script(val_loss=[3, 1, 2, 2, 2, 2, 2, 2, 2]), seen, stop], verbose=0)
    assert len(seen.seen) == 4
    for mine, best in zip(net.get_weights(), seen.seen[1], strict=True):
        np.testing.assert_array_equal(mine, best)
    assert capsys.readouterr().out == "Epoch 4: early stopping\nWeights of the best epoch, 2, are back in place\n"


def test_best_weights_also_where_it_ran_to_the_end():
    stop = callbacks.EarlyStopping("val_loss", patience=5, restore_best_weights=True)
    seen, net = Weights(), model()
    net.fit(X, Y, epochs=3, callbacks=[Script(val_loss=[1, 2, 3]), seen, stop], verbose=0)
    np.testing.assert_array_equal(net.get_weights()[0], seen.seen[0][0])


def test_a_second_fit_begins_anew():
    stop, net = callbacks.EarlyStopping("val_loss", patience=1), model()
    net.fit(X, Y, epochs=4, callbacks=[Script(val_loss=[1, 2, 3, 4]), stop], verbose=0)
    history = net.fit(X, Y, epochs=3, callbacks=[Script(val_loss=[9, 8, 7]), stop], verbose=0)
    assert len(history.epoch) == 3 and stop.stopped_epoch == 0


def test_a_number_that_is_not_in_the_logs_is_a_warning_that_says_what_is():
    stop = callbacks.EarlyStopping("val_loss")
    with pytest.warns(UserWarning, match=r"'val_loss', which is not in the logs \(there are: loss, mae\): give fit"):
        model().fit(X, Y, epochs=1, callbacks=stop, verbose=0)


def test_a_wrong_name_is_told_the_near_one_and_where():
    stop = callbacks.EarlyStopping("val_mea")
    with pytest.warns(UserWarning, match="'val_mea'.*did you mean 'val_mae'"):
        model().fit(X, Y, epochs=1, validation_split=0.5, callbacks=stop, verbose=0)
    every_batch = callbacks.ModelCheckpoint("never", save_best_only=True, save_freq=1)
    with pytest.warns(UserWarning, match="'val_loss'") as said:
        model().fit(X, Y, epochs=1, callbacks=every_batch, verbose=0)
    assert said[0].filename == __file__


@pytest.mark.parametrize(("name", "sign"), [("val_accuracy", 1), ("auc", 1), ("val_loss", -1), ("mae", -1)])
def test_auto_knows_which_way_is_better(name, sign):
    assert callbacks.EarlyStopping(name).watch.sign == sign


def test_modes_and_numbers_are_checked():
    with pytest.raises(ValueError, match="unknown mode 'maximum'"):
        callbacks.EarlyStopping(mode="maximum")
    with pytest.raises(ValueError, match="expects 0 <= factor < 1, got 2"):
        callbacks.ReduceLROnPlateau(factor=2)
    with pytest.raises(TypeError, match=r"expects a function \(epoch, rate\), got 0.1"):
        callbacks.LearningRateScheduler(0.1)


# -- learning rates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [lambda epoch: 0.1 / (epoch + 1), lambda epoch, rate: 0.1 / (epoch + 1)])
def test_a_schedule_of_the_epoch(schedule):
    history = model().fit(X, Y, epochs=3, callbacks=callbacks.LearningRateScheduler(schedule), verbose=0)
    np.testing.assert_allclose(history.history["learning_rate"], [0.1, 0.05, 0.1 / 3])


def test_the_rate_that_is_scheduled_is_the_one_that_trains():
    by_hand, scheduled = model(0.02), model(0.5)
    by_hand.fit(X, Y, epochs=1, verbose=0)
    scheduled.fit(X, Y, epochs=1, callbacks=callbacks.LearningRateScheduler(lambda epoch: 0.02), verbose=0)
    np.testing.assert_array_equal(by_hand.get_weights()[0], scheduled.get_weights()[0])


def test_a_schedule_that_gives_no_number():
    with pytest.raises(TypeError, match="must return a number, got None"):
        model().fit(X, Y, callbacks=callbacks.LearningRateScheduler(lambda epoch: None), verbose=0)


def test_a_plateau_halves_the_rate_and_cools_down():
    numbers = [1, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5]
    plateau = callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=2, cooldown=1, min_lr=0.02)
    history = model(0.1).fit(X, Y, epochs=10, callbacks=[Script(val_loss=numbers), plateau], verbose=0)
    rates = history.history["learning_rate"]
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.1, 0.05, 0.05, 0.025, 0.025, 0.025, 0.025, 0.02])


# -- numbers that are none ---------------------------------------------------------------------------------------------


def test_terminate_on_nan_keeps_the_last_good_weights(capsys):
    bad = X.copy()
    bad[35] = np.nan
    net, stop = model(), callbacks.TerminateOnNaN()
    history = net.fit(bad, Y, batch_size=10, epochs=3, shuffle=False, callbacks=stop, verbose=0)
    assert len(history.epoch) == 1
    assert "training ends" in capsys.readouterr().out
    assert "the first is row 35 of the data" in stop.reason
    expected = model()
    expected.fit(X[:30], Y[:30], batch_size=10, shuffle=False, verbose=0)
    np.testing.assert_array_equal(net.get_weights()[0], expected.get_weights()[0])


def test_without_it_fit_raises():
    with pytest.raises(ValueError, match="not finite"):
        model().fit(X * np.nan, Y, verbose=0)


# -- on disk -----------------------------------------------------------------------------------------------------------


def test_csv_logger_writes_what_history_has_and_goes_on(tmp_path):
    path, net = tmp_path / "log.csv", model()
    first = net.fit(X, Y, epochs=2, validation_split=0.25, callbacks=callbacks.CSVLogger(path), verbose=0)
    more = net.fit(
        X,
        Y,
        epochs=3,
        initial_epoch=2,
        validation_split=0.25,
        callbacks=callbacks.CSVLogger(path, append=True),
        verbose=0,
    )
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert list(rows[0]) == ["epoch", "loss", "mae", "val_loss", "val_mae"]
    for name, values in first.history.items():
        assert [float(row[name]) for row in rows] == values + more.history[name]


def test_csv_logger_without_append_begins_anew(tmp_path):
    for _ in range(2):
        model().fit(X, Y, callbacks=callbacks.CSVLogger(tmp_path / "log.csv", separator=";"), verbose=0)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 2


def test_csv_logger_without_its_folder_fails_before_the_first_step(tmp_path):
    net = model()
    before = net.get_weights()[0]
    with pytest.raises(FileNotFoundError):
        net.fit(X, Y, callbacks=callbacks.CSVLogger(tmp_path / "no" / "log.csv"), verbose=0)
    np.testing.assert_array_equal(net.get_weights()[0], before)


def events(folder):
    """{tag: [(step, value)]} of the event files below a folder, read record by record."""
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value.simple_value))
    return found


def test_tensorboard_has_keras_tags(tmp_path):
    pytest.importorskip("tensorboardX")
    board = callbacks.TensorBoard(tmp_path, histogram_freq=1, update_freq=2)
    history = model().fit(X, Y, batch_size=10, epochs=2, validation_split=0.5, callbacks=board, verbose=0).history
    train, validation = events(tmp_path / "train"), events(tmp_path / "validation")
    np.testing.assert_allclose([v for _, v in train["epoch_loss"]], history["loss"], rtol=1e-6)
    np.testing.assert_allclose([v for _, v in validation["epoch_mae"]], history["val_mae"], rtol=1e-6)
    assert [step for step, _ in train["batch_loss"]] == [2, 4]
    assert {"epoch_learning_rate", "dense/kernel", "dense/bias"} <= set(train)
    np.testing.assert_allclose([v for _, v in train["epoch_learning_rate"]], [0.05, 0.05], rtol=1e-6)


# -- the order of calls ------------------------------------------------------------------------------------------------


def test_hooks_come_in_keras_order():
    calls = []
    names = ["train_begin", "epoch_begin", "train_batch_begin", "train_batch_end", "test_begin", "test_batch_begin"]
    names += ["test_batch_end", "test_end", "epoch_end", "train_end"]
    hooks = {f"on_{name}": lambda *_, name=name: calls.append(name) for name in names}
    model().fit(X, Y, batch_size=15, validation_split=0.5, callbacks=callbacks.LambdaCallback(**hooks), verbose=0)
    batches, tested = names[2:4] * 2, names[5:7] * 2
    assert calls == [*names[:2], *batches, "test_begin", *tested, *names[7:]]


def test_batches_carry_running_means():
    seen = []
    hook = callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append((batch, logs["loss"])))
    net = model()
    net.fit(X, Y, batch_size=40, callbacks=hook, verbose=0)
    fresh = model()
    expected = float(losses.mean_squared_error(Y, fresh(fresh.graph().tensor(X))).data)
    assert seen[0][0] == 0
    np.testing.assert_allclose(seen[0][1], expected, rtol=1e-6)
