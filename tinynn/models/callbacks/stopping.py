"""When to stop: no more progress, or numbers that are none."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.models.callbacks.base import Callback, Logs
from tinynn.models.callbacks.monitor import Monitor


class EarlyStopping(Callback):
    """Stop training when a number has not become better for some epochs.

    monitor:              its name in the logs
    min_delta:            a smaller change is no progress
    patience:             epochs without progress that are waited for
    verbose:              1 says when it stops, and from which epoch the weights are
    mode:                 "min", "max" or "auto"
    baseline:             a value that has to be beaten for the wait to begin anew
    restore_best_weights: give the model the weights of the best epoch at the end
    start_from_epoch:     epochs before this one are not looked at

    ``stopped_epoch`` is the epoch that it stopped after (0: it did not), ``best`` and ``best_epoch`` what it found.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        self.monitor, self.watch = monitor, Monitor(monitor, mode, abs(min_delta), "EarlyStopping")
        self.patience, self.verbose, self.baseline = patience, verbose, baseline
        self.restore_best_weights, self.start_from_epoch = restore_best_weights, start_from_epoch
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier ``fit``."""
        self.wait = self.stopped_epoch = self.best_epoch = 0
        self.best: float | None = None
        self.best_weights: list[Any] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = self.watch.value(logs)
        if value is None or epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self.watch.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self.watch.better(value, self.baseline):
                self.wait = 0
                return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        weights = {str(i): w for i, w in enumerate(self.best_weights or [])}
        return {"wait": self.wait, "best": self.best, "best_epoch": self.best_epoch}, weights

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        vars(self).update(record)
        self.best_weights = [arrays[str(i)] for i in range(len(arrays))] or None

    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch and self.verbose:
            print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.best_weights is not None:
            if self.verbose:
                print(f"Weights of the best epoch, {self.best_epoch + 1}, are back in place")
            self.model.set_weights(self.best_weights)


class TerminateOnNaN(Callback):
    """Where the loss or its gradient is not finite, end ``fit`` instead of raising.

    The weights are those of the last good step either way. The message that ``fit`` would have raised, with the name of
    the layer that the first such number came from, is printed and kept as ``reason``.
    """

    reason: str | None = None

    def on_not_finite(self, batch: int, error: ValueError) -> None:
        self.reason = str(error)
        print(f"Batch {batch}: training ends. {error}")
        self.model.stop_training = True
