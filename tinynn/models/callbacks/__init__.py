"""Callbacks: what happens around epochs and batches, under Keras's names and in Keras's order of calls."""

import importlib
from typing import TYPE_CHECKING

from tinynn.errors import no_attribute
from tinynn.models.callbacks.base import Callback, CallbackList, History, LambdaCallback, Logs, listed

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "Logs",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "TensorBoard",
    "TerminateOnNaN",
    "listed",
]

LAZY = {
    "BackupAndRestore": "checkpoints",
    "CSVLogger": "logs",
    "EarlyStopping": "stopping",
    "LearningRateScheduler": "rates",
    "ModelCheckpoint": "checkpoints",
    "ReduceLROnPlateau": "rates",
    "TensorBoard": "logs",
    "TerminateOnNaN": "stopping",
}
"""Imported at their first use."""

if TYPE_CHECKING:
    from tinynn.models.callbacks.checkpoints import BackupAndRestore, ModelCheckpoint
    from tinynn.models.callbacks.logs import CSVLogger, TensorBoard
    from tinynn.models.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
    from tinynn.models.callbacks.stopping import EarlyStopping, TerminateOnNaN
else:

    def __getattr__(name):
        if name in LAZY:
            return getattr(importlib.import_module(f"tinynn.models.callbacks.{LAZY[name]}"), name)
        raise no_attribute(__name__, name, __all__)
