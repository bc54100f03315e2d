"""Models and runs on disk while they train: checkpoints to keep, and a backup to go on from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.models.callbacks.base import Callback, Logs
from tinynn.models.callbacks.monitor import Monitor

if TYPE_CHECKING:
    from tinynn.models.training import Run

SaveFreq = str | int


def checked_frequency(save_freq: SaveFreq, owner: str) -> int:
    """0 for "epoch", else the number of batches."""
    if save_freq == "epoch":
        return 0
    if isinstance(save_freq, bool) or not isinstance(save_freq, int) or save_freq < 1:
        raise ValueError(f"{owner} expects save_freq 'epoch' or a number of batches, got {save_freq!r}")
    return save_freq


class ModelCheckpoint(Callback):
    """Save the model, or its weights, after every epoch or every so many batches.

    filepath:          where; names in braces are filled in: "runs/{epoch:02d}-{val_loss:.3f}.tinynn" (epochs count
                       from 1; {batch} too)
    monitor, mode:     which number says whether this one is the best, see ``EarlyStopping``
    save_best_only:    save only what is better than all before
    save_weights_only: a safetensors file of the weights instead of the whole model
    save_freq:         "epoch", or a number of batches, counted over the whole ``fit``
    initial_value_threshold: what has to be beaten by the first one

    A file is complete or not there. The folder is made.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: str = "auto",
        save_freq: SaveFreq = "epoch",
        initial_value_threshold: float | None = None,
    ):
        self.filepath, self.verbose = os.fspath(filepath), verbose
        self.monitor, self.watch = monitor, Monitor(monitor, mode, 0, "ModelCheckpoint")
        self.save_best_only, self.save_weights_only = save_best_only, save_weights_only
        self.save_freq, self.every = save_freq, checked_frequency(save_freq, "ModelCheckpoint")
        self.best = initial_value_threshold
        self.batches = self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.batches += 1
        if self.every and self.batches % self.every == 0:
            self.consider(batch, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if not self.every:
            self.consider(None, logs)

    def consider(self, batch: int | None, logs: Logs | None) -> None:
        """Save, unless only the best is wanted and this is not it."""
        path = self.path(batch, logs or {})
        if self.save_best_only:
            value = self.watch.value(logs)
            if value is None or not self.watch.better(value, self.best):
                return
            self.best = value
        if self.verbose:
            print(f"\nEpoch {self.epoch + 1}: saving {'weights' if self.save_weights_only else 'the model'} to {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.model.save_weights if self.save_weights_only else self.model.save)(path)

    def path(self, batch: int | None, logs: Logs) -> Path:
        """The name with the numbers filled in; ValueError names what it may hold."""
        numbers = {**logs, "epoch": self.epoch + 1} | ({} if batch is None else {"batch": batch + 1})
        try:
            return Path(self.filepath.format(**numbers))
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"ModelCheckpoint cannot fill in {self.filepath!r} ({error}): names in braces may be "
                f"{', '.join(sorted(numbers))}"
            ) from None

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"best": self.best, "batches": self.batches}, {}

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        vars(self).update(record)


class BackupAndRestore(Callback):
    """The same script, started again after it was killed, goes on where it was stopped: byte for byte.

    backup_dir:        a folder for this run alone; it is made
    save_freq:         "epoch", or a number of batches: in the middle of an epoch, too
    delete_checkpoint: take the backup away when ``fit`` has come to its end
    double_checkpoint: understood and not needed: a backup is replaced in one piece

    Weights, slots, random counters, the order of the rows, the means so far, History, and what other callbacks wait for
    (EarlyStopping, ReduceLROnPlateau, ModelCheckpoint) come back. The script must be the same: model, data, batch size.
    Raises ValueError where they are not.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: SaveFreq = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        self.folder = Path(backup_dir)
        self.every = checked_frequency(save_freq, "BackupAndRestore")
        self.save_freq, self.delete_checkpoint, self.double_checkpoint = save_freq, delete_checkpoint, double_checkpoint
        self.run: Run | None = None
        self.batches = 0

    @property
    def path(self) -> Path:
        return self.folder / "backup.tinynn"

    def on_resume(self, run: Run) -> None:
        from tinynn.models import resuming

        self.folder.mkdir(parents=True, exist_ok=True)
        self.run, self.begun = run, False
        if self.path.exists():
            resuming.restore(run, self.path)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch is kept when the next one begins: then every callback has had its say, and History has it."""
        if self.begun:
            self.save()
        self.begun = True

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.batches += 1
        if self.every and self.batches % self.every == 0:
            self.save()

    def save(self) -> None:
        from tinynn.models import resuming

        assert self.run is not None
        resuming.save(self.run, self.path)

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.delete_checkpoint:
            self.path.unlink(missing_ok=True)
        elif self.run is not None:
            self.run.number += 1
            self.save()

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"batches": self.batches}, {}

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        vars(self).update(record)
