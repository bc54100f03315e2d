"""Runs that are stopped anywhere and started again: equal bytes, equal History."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tinynn as nn
from tests.test_saving import X, Y, everything, stack
from tinynn import Sequential, callbacks
from tinynn import layers as L

EPOCHS, BATCH = 4, 10  # five batches an epoch


class Stop(Exception):
    pass


def stopping_at(step):
    """Raises at the end of the step-th batch of this ``fit``: what a kill would leave is on disk."""
    steps = iter(range(1, 1000))

    def count(batch, logs):
        if next(steps) == step:
            raise Stop

    return callbacks.LambdaCallback(on_train_batch_end=count)


def fit(model, folder=None, stop=None, save_freq=1, others=(), **options):
    many = [*others]
    if folder is not None:
        many.append(callbacks.BackupAndRestore(folder, save_freq=save_freq))
    many.append(stopping_at(stop or 10**6))
    return model.fit(X, Y, batch_size=BATCH, epochs=EPOCHS, callbacks=many, verbose=0, **options)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("save_freq", ["epoch", 1, 3])
def test_stopped_anywhere_and_started_again(tmp_path, optimizer, save_freq):
    whole = stack(optimizer)
    expected = fit(whole).history
    for stop in (1, 4, 5, 6, 12, 20):
        folder = tmp_path / str(stop)
        with pytest.raises(Stop):
            fit(stack(optimizer), folder, stop, save_freq)
        again = stack(optimizer)
        history = fit(again, folder, None, save_freq)
        assert history.history == expected and history.epoch == list(range(EPOCHS))
        assert everything(again) == everything(whole)
        assert not (folder / "backup.tinynn").exists()


def test_stopped_again_and_again(tmp_path):
    whole = stack()
    expected = fit(whole).history
    for _ in range(40):
        model = stack()
        try:
            history = fit(model, tmp_path, 3, 2)
            break
        except Stop:
            pass
    assert history.history == expected
    assert everything(model) == everything(whole)


def test_another_seed_does_not_matter(tmp_path):
    """The numbers of a run come from its backup, whatever the second process drew."""
    whole = stack()
    fit(whole)
    with pytest.raises(Stop):
        fit(stack(), tmp_path, 7)
    again = stack()
    nn.set_seed(99)
    again.stream = nn.random.Stream()
    again.name_variables()
    again.set_weights([w * 0 for w in again.get_weights()])
    fit(again, tmp_path)
    assert everything(again) == everything(whole)


def patient():
    """What other callbacks wait for is part of the run."""
    return [
        callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05),
        callbacks.EarlyStopping("loss", patience=2, min_delta=0.02, restore_best_weights=True),
        callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.9),
    ]


@pytest.mark.parametrize("stop", [5, 7, 10, 13])
def test_other_callbacks_go_on_too(tmp_path, stop):
    whole = stack()
    expected = fit(whole, others=patient(), validation_split=0.2).history
    with pytest.raises(Stop):
        fit(stack(), tmp_path, stop, others=patient(), validation_split=0.2)
    again = stack()
    assert fit(again, tmp_path, others=patient(), validation_split=0.2).history == expected
    assert everything(again) == everything(whole)


def test_a_csv_file_has_every_epoch_once(tmp_path):
    log = tmp_path / "log.csv"
    for stop in (8, 9, None):
        try:
            history = fit(stack(), tmp_path / "backup", stop, "epoch", [callbacks.CSVLogger(log, append=True)])
        except Stop:
            continue
    lines = log.read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2", "3"]
    assert [float(line.split(",")[2]) for line in lines[1:]] == history.history["loss"]


def test_a_backup_that_is_kept_ends_the_next_run_at_once(tmp_path):
    first, again = stack(), stack()
    keep = callbacks.BackupAndRestore(tmp_path, delete_checkpoint=False)
    first.fit(X, Y, epochs=2, callbacks=keep, verbose=0)
    history = again.fit(X, Y, epochs=2, callbacks=callbacks.BackupAndRestore(tmp_path), verbose=0)
    assert history.epoch == [0, 1] and everything(again) == everything(first)


def test_a_backup_of_another_run_is_refused_and_nothing_changes(tmp_path):
    with pytest.raises(Stop):
        fit(stack(), tmp_path, 3)
    other = Sequential([L.Dense(3, activation="softmax", input_shape=(6,))])
    other.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    before = everything(other)
    with pytest.raises(ValueError, match="take the folder away to begin anew") as caught:
        fit(other, tmp_path)
    assert "of another shape: dense/kernel" in str(caught.value) and everything(other)[:2] == before[:2]
    with pytest.raises(ValueError, match="'batch_size': 10"):
        stack().fit(X, Y, batch_size=7, epochs=2, callbacks=callbacks.BackupAndRestore(tmp_path), verbose=0)
    (tmp_path / "backup.tinynn").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="backup.tinynn"):
        fit(stack(), tmp_path)


def test_frequencies_are_checked(tmp_path):
    for kind in (callbacks.BackupAndRestore, callbacks.ModelCheckpoint):
        for wrong in ("batch", 0, 2.5, True):
            with pytest.raises(ValueError, match=f"{kind.__name__} expects save_freq"):
                kind(tmp_path, save_freq=wrong)


PROGRAM = """
import sys
import numpy as np
sys.path.insert(0, {root!r})
import tinynn as nn
from tests.test_saving import OPTIMIZERS
from tinynn import callbacks, data, layers as L
nn.set_seed(3)
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (60, 8, 8, 3), np.uint8), rng.integers(0, 3, 60)
change = data.Augmentation(rotation_range=20, width_shift_range=0.1, horizontal_flip=True, dtype="float32")
train = data.Dataset(images, labels).shuffle(seed=5).batch(5).map(change, workers=2, seed=6).prefetch(2)
model = nn.Sequential([
    L.Conv2D(4, 3, use_bias=False, input_shape=(8, 8, 3)), L.BatchNormalization(), L.ReLU(), L.Flatten(),
    L.Dropout(0.3), L.Dense(3, activation="softmax"),
])
model.compile(OPTIMIZERS[{optimizer!r}](), "sparse_categorical_crossentropy", metrics=["accuracy"])
backup = callbacks.BackupAndRestore(sys.argv[1], save_freq=2)
history = model.fit(train, epochs=25, callbacks=backup, validation_data=(images[:20], labels[:20]), verbose=0)
model.save(sys.argv[2])
print(history.history)
"""


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "rmsprop"])
def test_kill_9_at_random_moments(tmp_path, optimizer):
    """With dropout, batch normalization, augmentation, worker threads and validation on."""
    root = str(Path(nn.__file__).parent.parent)
    code = PROGRAM.format(root=root, optimizer=optimizer)

    def start(name):
        command = [sys.executable, "-c", code, str(tmp_path / name), str(tmp_path / f"{name}.tinynn")]
        env = os.environ | {"TINYNN_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=env)

    whole = start("whole")
    expected, _ = whole.communicate(timeout=250)
    assert whole.returncode == 0
    chance, kills = random.Random(optimizer), 0
    for _ in range(3):
        process = start("killed")
        backup = tmp_path / "killed" / "backup.tinynn"
        before = backup.stat().st_mtime_ns if backup.exists() else None
        while process.poll() is None and (not backup.exists() or backup.stat().st_mtime_ns == before):
            time.sleep(0.002)  # it goes on from the last one, if any, before it is killed again
        time.sleep(chance.uniform(0, 0.2))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate(timeout=250)
    last = start("killed")
    printed, _ = last.communicate(timeout=250)
    assert last.returncode == 0 and kills >= 1
    assert printed == expected
    assert (tmp_path / "killed.tinynn").read_bytes() == (tmp_path / "whole.tinynn").read_bytes()


# -- ModelCheckpoint ---------------------------------------------------------------------------------------------------


def test_checkpoints_by_epoch_with_numbers_in_their_names(tmp_path):
    model = stack()
    point = callbacks.ModelCheckpoint(tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.tinynn")
    history = model.fit(X, Y, epochs=2, validation_split=0.25, callbacks=point, verbose=0).history
    names = [f"{k + 1:02d}-{value:.2f}.tinynn" for k, value in enumerate(history["val_loss"])]
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == names
    loaded = nn.load_model(tmp_path / "new" / names[1])
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_only_the_best_is_kept(tmp_path, capsys):
    numbers = iter([3.0, 1.0, 2.0, 0.5])
    script = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(val_loss=next(numbers)))
    seen = []
    note = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append((tmp_path / "best").stat().st_mtime_ns)
    )
    point = callbacks.ModelCheckpoint(tmp_path / "best", save_best_only=True, save_weights_only=True, verbose=1)
    model = stack()
    model.fit(X, Y, epochs=4, callbacks=[script, point, note], verbose=0)
    assert seen[1] == seen[2] and len(set(seen)) == 3
    assert capsys.readouterr().out.count("saving weights to") == 3
    again = stack()
    again.load_weights(tmp_path / "best")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_checkpoints_by_batches(tmp_path):
    point = callbacks.ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=2)
    stack().fit(X, Y, batch_size=16, epochs=2, callbacks=point, verbose=0)  # three batches an epoch
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1-2", "2-1", "2-3"]


def test_a_name_with_a_number_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match="names in braces may be accuracy, epoch, loss"):
        stack().fit(X, Y, callbacks=callbacks.ModelCheckpoint(tmp_path / "{val_loss}"), verbose=0)
