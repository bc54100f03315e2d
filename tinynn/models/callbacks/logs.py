"""The course of training on disk: a table, and the event files of TensorBoard."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.models.callbacks.base import Callback, Logs


class CSVLogger(Callback):
    """A line per epoch in a text file: the epoch, then the logs by name.

    filename:  where; its folder must exist
    separator: between the columns
    append:    go on in a file that is there, as a run with BackupAndRestore shall; else it is written anew
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False):
        self.filename, self.separator, self.append = Path(filename), separator, append
        self.keys: list[str] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        import csv

        self.keys = []
        if self.append and self.filename.exists() and self.filename.stat().st_size > 0:
            with open(self.filename, newline="", encoding="utf-8") as file:
                self.keys = next(csv.reader(file, delimiter=self.separator))[1:]
        else:
            self.filename.write_text("", encoding="utf-8")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import csv

        logs, first = logs or {}, not self.keys
        if first:
            own = sorted(name for name in logs if not name.startswith("val_"))
            self.keys = own + [f"val_{name}" for name in own if f"val_{name}" in logs]
        with open(self.filename, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=self.separator, lineterminator="\n")
            if first:
                writer.writerow(["epoch", *self.keys])
            writer.writerow([epoch, *(shown(logs.get(key, "NA")) for key in self.keys)])

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"size": self.filename.stat().st_size, "keys": self.keys}, {}

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Lines of epochs that are now done once more go away."""
        if self.append and self.filename.stat().st_size >= record["size"]:
            os.truncate(self.filename, record["size"])
            self.keys = record["keys"]


def shown(value: Any) -> Any:
    """A number with all its digits; arrays as text."""
    if isinstance(value, np.ndarray):
        return f"[{', '.join(map(str, value.ravel().tolist()))}]" if value.ndim else value.item()
    return value


class TensorBoard(Callback):
    """Event files for TensorBoard, written by tensorboardX: `pip install "tinynn-np[tensorboard]"`.

    log_dir:        ``train/`` and ``validation/`` come below it, as with Keras
    histogram_freq: every so many epochs the distribution of every weight; 0 for never
    update_freq:    "epoch", "batch", or a number of batches after which loss and metrics are written too

    The tags are Keras's: epoch_loss, epoch_accuracy, ..., epoch_learning_rate, batch_loss, ...
    """

    def __init__(
        self, log_dir: str | os.PathLike[str] = "logs", histogram_freq: int = 0, update_freq: str | int = "epoch"
    ):
        if update_freq not in ("epoch", "batch") and not (isinstance(update_freq, int) and update_freq > 0):
            raise ValueError(f"TensorBoard expects update_freq 'epoch', 'batch' or a number, got {update_freq!r}")
        self.log_dir, self.histogram_freq = Path(log_dir), histogram_freq
        self.every = update_freq if isinstance(update_freq, int) else int(update_freq == "batch")
        self.step = 0
        self.writers: dict[str, Any] = {}

    def writer(self, part: str) -> Any:
        """The writer of train/ or validation/, opened when it first has something to say."""
        if part not in self.writers:
            try:
                from tensorboardX import SummaryWriter
            except ImportError:
                raise ImportError(
                    'TensorBoard needs tensorboardX: `pip install "tinynn-np[tensorboard]"`; CSVLogger needs nothing'
                ) from None
            self.writers[part] = SummaryWriter(str(self.log_dir / part), write_to_disk=True)
        return self.writers[part]

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.writer("train")  # complain now, not after an epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.step += 1
        if self.every and self.step % self.every == 0:
            for name, value in scalars(logs):
                self.writer("train").add_scalar(f"batch_{name}", value, self.step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in scalars(logs):
            part, name = ("validation", name[4:]) if name.startswith("val_") else ("train", name)
            self.writer(part).add_scalar(f"epoch_{name}", value, epoch)
        train = self.writer("train")
        train.add_scalar("epoch_learning_rate", float(self.model.optimizer.learning_rate), epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for name, variable in self.model.named_variables().items():
                train.add_histogram(name, variable.numpy(), epoch)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        for writer in self.writers.values():
            writer.close()
        self.writers = {}


def scalars(logs: Logs | None) -> list[tuple[str, float]]:
    """The logs that are one number."""
    return [(name, float(value)) for name, value in (logs or {}).items() if np.ndim(value) == 0]
