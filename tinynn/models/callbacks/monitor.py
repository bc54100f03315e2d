"""Monitor: which number of the logs a callback follows, and what counts as better."""

from __future__ import annotations

import math
import warnings

from tinynn.config import at_least
from tinynn.errors import closest, frames_inside, unknown
from tinynn.models.callbacks.base import Logs

RISING = ("accuracy", "acc", "auc", "precision", "recall", "f1", "iou", "r2", "similarity", "kappa")
"""Parts of the names of what is better when it is larger; anything else is better when it is smaller."""


class Monitor:
    """The name of a number in the logs, and which of two is better.

    mode:      "min", "max", or "auto": "max" for accuracies and their like, "min" for losses and errors
    min_delta: by how much a number must be better to count
    """

    def __init__(self, name: str, mode: str, min_delta: float, owner: str):
        if mode not in ("auto", "min", "max"):
            raise unknown("mode", mode, ["auto", "min", "max"])
        if not isinstance(name, str):
            raise TypeError(f"{owner} expects monitor to be a name in the logs, such as 'val_loss', got {name!r}")
        self.name, self.owner = name, owner
        rises = any(part in name.lower() for part in RISING) and "loss" not in name
        self.sign = 1.0 if mode == "max" or (mode == "auto" and rises) else -1.0
        self.min_delta = at_least(min_delta, 0, "min_delta", owner)

    def value(self, logs: Logs | None) -> float | None:
        """The number; None, with a warning, where the logs do not have it."""
        value = (logs or {}).get(self.name)
        if value is None:
            there = ", ".join(sorted(logs or {})) or "none"
            validated = any(name.startswith("val_") for name in logs or {})
            close = closest(self.name, logs or {})
            hint = f": did you mean '{close}'?" if close else ""
            if self.name.startswith("val_") and not validated:
                hint = ": give fit validation_data or validation_split"
            warnings.warn(
                f"{self.owner} follows '{self.name}', which is not in the logs (there are: {there}){hint}",
                stacklevel=frames_inside(),
            )
            return None
        return float(value)

    def better(self, value: float, best: float | None) -> bool:
        """Whether a value beats the best so far; NaN never does."""
        if math.isnan(value):
            return False
        return best is None or self.sign * (value - best) > self.min_delta
