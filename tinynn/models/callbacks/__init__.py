"""Callbacks: what happens around epochs and batches, under Keras's names and in Keras's order of calls."""

from typing import TYPE_CHECKING

from tinynn.errors import no_attribute
from tinynn.models.callbacks.base import Callback, CallbackList, History, LambdaCallback, Logs, listed
from tinynn.models.callbacks.checkpoints import BackupAndRestore, ModelCheckpoint
from tinynn.models.callbacks.logs import CSVLogger, TensorBoard
from tinynn.models.callbacks.rates import LearningRateScheduler, ReduceLROnPlateau
from tinynn.models.callbacks.stopping import EarlyStopping, TerminateOnNaN

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

if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
