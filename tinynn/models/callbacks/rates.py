"""Learning rates that follow the epoch, or the lack of progress."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinynn.config import at_least
from tinynn.models.callbacks.base import Callback, Logs
from tinynn.models.callbacks.monitor import Monitor


class LearningRateScheduler(Callback):
    """``schedule(epoch, rate)`` gives the learning rate at the beginning of every epoch; ``schedule(epoch)`` will do.

    verbose: 1 prints it. The logs get it as "learning_rate".
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0):
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler expects a function (epoch, rate), got {schedule!r}")
        self.schedule, self.verbose = schedule, verbose
        self.epoch: int | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = None

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"epoch": self.epoch}, {}

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        vars(self).update(record)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if epoch == self.epoch:  # taken up in its middle: the rate may follow from the one before
            return
        self.epoch = epoch
        arguments = (epoch, float(self.model.optimizer.learning_rate))
        rate: Any = self.schedule(*arguments[: accepted(self.schedule)])
        if not isinstance(rate, (int, float, np.number)) or isinstance(rate, bool):
            raise TypeError(f"the schedule of LearningRateScheduler must return a number, got {rate!r}")
        self.model.optimizer.learning_rate = float(rate)
        if self.verbose:
            print(f"\nEpoch {epoch + 1}: the learning rate is {float(rate)}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if logs is not None:
            logs["learning_rate"] = float(self.model.optimizer.learning_rate)


def accepted(function: Callable[..., Any]) -> int:
    """1 for a function of the epoch alone, else 2."""
    try:
        inspect.signature(function).bind(0, 0.1)
    except TypeError:
        return 1
    except ValueError:  # a builtin that does not tell
        return 2
    return 2


class ReduceLROnPlateau(Callback):
    """rate = max(factor rate, min_lr) when a number has not become better for ``patience`` epochs.

    monitor, mode, min_delta: see ``EarlyStopping``
    factor:   below 1
    cooldown: epochs after a reduction that do not count
    verbose:  1 says so. The logs get the rate as "learning_rate".
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ):
        if not 0 <= factor < 1:
            raise ValueError(f"ReduceLROnPlateau expects 0 <= factor < 1, got {factor!r}")
        self.monitor, self.watch = monitor, Monitor(monitor, mode, min_delta, "ReduceLROnPlateau")
        self.factor, self.patience, self.verbose, self.cooldown = float(factor), patience, verbose, cooldown
        self.min_lr = at_least(min_lr, 0, "min_lr", "ReduceLROnPlateau")
        self.on_train_begin()

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier ``fit``."""
        self.wait = self.cooling = 0
        self.best: float | None = None

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {"wait": self.wait, "cooling": self.cooling, "best": self.best}, {}

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        vars(self).update(record)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        rate = float(optimizer.learning_rate)
        if logs is not None:
            logs["learning_rate"] = rate
        value = self.watch.value(logs)
        if value is None:
            return
        if self.cooling:
            self.cooling -= 1
            self.wait = 0
        if self.watch.better(value, self.best):
            self.best, self.wait = value, 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                self.cooling, self.wait = self.cooldown, 0
                if self.verbose:
                    print(f"\nEpoch {epoch + 1}: the learning rate is reduced to {optimizer.learning_rate}")
