"""The arguments of fit, evaluate and predict that are numbers or choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinynn.models.callbacks import Callback

DEFAULT_BATCH_SIZE = 32


@dataclass
class FitOptions:
    """The arguments of ``fit`` as they came."""

    batch_size: int | None
    epochs: int
    verbose: int | str
    callbacks: list[Callback]
    validation_split: float
    validation_data: Any
    shuffle: bool
    class_weight: dict[int, float] | None
    sample_weight: Any
    initial_epoch: int
    steps_per_epoch: int | None
    validation_steps: int | None
    validation_batch_size: int | None
    validation_freq: int | Sequence[int]


def whole_number(value: Any, what: str, least: int) -> int:
    """An integer argument such as batch_size; the message says what is allowed."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{what} expects an integer, got {value!r}")
    if value < least:
        raise ValueError(f"{what} expects an integer >= {least}, got {value!r}")
    return int(value)


def checked_batch_size(batch_size: int | None) -> int:
    return DEFAULT_BATCH_SIZE if batch_size is None else whole_number(batch_size, "batch_size", 1)


def checked_steps(steps: int | None, rows: int, batch_size: int) -> int:
    """How many batches to take: as many as asked for, at most as many as there are; None for all."""
    total = -(-rows // batch_size)
    return total if steps is None else min(whole_number(steps, "steps", 1), total)


def checked_counts(options: FitOptions) -> tuple[int, int, int, int | None]:
    """batch_size, epochs, initial_epoch and steps_per_epoch, or an error that says what each may be."""
    batch_size = checked_batch_size(options.batch_size)
    epochs = whole_number(options.epochs, "epochs", 0)
    initial_epoch = whole_number(options.initial_epoch, "initial_epoch", 0)
    if options.validation_batch_size is not None:
        whole_number(options.validation_batch_size, "validation_batch_size", 1)
    if options.validation_steps is not None:
        whole_number(options.validation_steps, "validation_steps", 1)
    steps = options.steps_per_epoch
    if steps is not None:
        steps = whole_number(steps, "steps_per_epoch", 1)
    if options.verbose not in (0, 1, 2, "auto"):
        raise ValueError(f"verbose expects 0, 1, 2 or 'auto', got {options.verbose!r}")
    return batch_size, epochs, initial_epoch, steps


def checked_frequency(frequency: int | Sequence[int]) -> Any:
    """A function that says whether to validate after the epoch of this number (counted from 1)."""
    if isinstance(frequency, (list, tuple, set)):
        epochs = {whole_number(n, "validation_freq", 1) for n in frequency}
        return lambda epoch: epoch in epochs
    every = whole_number(frequency, "validation_freq", 1)
    return lambda epoch: epoch % every == 0
