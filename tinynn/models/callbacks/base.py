"""Callback: hooks around epochs and batches, in Keras's order of calls; and the two that need no file of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tinynn.models.model import Model
    from tinynn.models.training import Run

Logs = dict[str, float]
OLDER = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}
"""Keras's older names of two hooks."""


class Callback:
    """The base of all callbacks: every hook does nothing.

    ``self.model`` is the model; ``self.params`` holds epochs, steps, verbose and seed. ``logs`` maps names such as
    "loss", "accuracy" and "val_loss" to numbers: running means at the end of a batch, final values at the end of an
    epoch. Setting ``self.model.stop_training = True`` ends ``fit`` after the current epoch.
    """

    model: Model
    params: dict[str, Any]

    def state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """What a run that is taken up again has to know: (what JSON can hold, arrays)."""
        return {}, {}

    def restore(self, record: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Take up what ``state`` gave."""

    def set_model(self, model: Model) -> None:
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None: ...
    def on_resume(self, run: Run) -> None:
        """After ``on_train_begin`` of all: where a run that was stopped before is taken up."""

    def on_train_end(self, logs: Logs | None = None) -> None: ...
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Keras's older name of this hook is called, unless a subclass writes this one."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_batch_end(batch, logs)

    def on_not_finite(self, batch: int, error: ValueError) -> None:
        """The gradient of this batch (or of one before it) was not finite, and ``fit`` is about to raise ``error``.

        A callback that has this hook takes the place of the error: training goes on, unless it says otherwise.
        """

    def on_test_begin(self, logs: Logs | None = None) -> None: ...
    def on_test_end(self, logs: Logs | None = None) -> None: ...
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...
    def on_predict_end(self, logs: Logs | None = None) -> None: ...
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...


class LambdaCallback(Callback):
    """Hooks from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs))``.

    Every hook of ``Callback`` is an argument here, of the same name.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_resume: Callable[..., Any] | None = None,
        on_not_finite: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        on_batch_begin: Callable[..., Any] | None = None,
        on_batch_end: Callable[..., Any] | None = None,
        on_test_begin: Callable[..., Any] | None = None,
        on_test_end: Callable[..., Any] | None = None,
        on_test_batch_begin: Callable[..., Any] | None = None,
        on_test_batch_end: Callable[..., Any] | None = None,
        on_predict_begin: Callable[..., Any] | None = None,
        on_predict_end: Callable[..., Any] | None = None,
        on_predict_batch_begin: Callable[..., Any] | None = None,
        on_predict_batch_end: Callable[..., Any] | None = None,
    ):
        hooks = {name: hook for name, hook in locals().items() if name.startswith("on_") and hook is not None}
        for name, hook in hooks.items():
            if not callable(hook):
                raise TypeError(f"LambdaCallback expects a function as {name}, got {hook!r}")
        vars(self).update(hooks)


class History(Callback):
    """What ``fit`` returns: ``history.history["loss"]`` has one value per epoch, ``history.epoch`` their numbers."""

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class CallbackList:
    """All callbacks of one run; knows which hooks anybody wrote, so that the others cost nothing."""

    def __init__(self, callbacks: Iterable[Callback] | Callback | None, model: Model, params: dict[str, Any]):
        self.callbacks = listed(callbacks)
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self._hooks: dict[str, list[Callable[..., None]]] = {}

    def hooks(self, name: str) -> list[Callable[..., None]]:
        """The callbacks' own methods of that name."""
        if name not in self._hooks:
            self._hooks[name] = [
                getattr(c, name)
                for c in self.callbacks
                if writes(c, name) or (name in OLDER and writes(c, OLDER[name]))
            ]
        return self._hooks[name]

    def call(self, name: str, *arguments: Any) -> None:
        """Call one hook of all callbacks, in order."""
        for hook in self.hooks(name):
            hook(*arguments)


def writes(callback: Callback, hook: str) -> bool:
    """Whether a callback has a hook of its own."""
    return hook in vars(callback) or getattr(type(callback), hook) is not getattr(Callback, hook)


def listed(callbacks: Iterable[Callback] | Callback | None) -> list[Callback]:
    """The callbacks as a list; a single one will do. TypeError for what is no callback."""
    if callbacks is None:
        return []
    many: list[Any] = [callbacks] if isinstance(callbacks, (Callback, type)) or callable(callbacks) else list(callbacks)
    for callback in many:
        if isinstance(callback, type) and issubclass(callback, Callback):
            raise TypeError(
                f"callbacks expects objects, got the class {callback.__name__}: write {callback.__name__}()"
            )
        if not isinstance(callback, Callback):
            raise TypeError(
                f"callbacks expects objects of tinynn.callbacks.Callback, got {callback!r}: derive your class from "
                "Callback, or hand functions to LambdaCallback(on_epoch_end=...)"
            )
    return many
