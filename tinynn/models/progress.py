"""The progress line of ``fit`` and ``evaluate``: batch, time, loss and metrics."""

from __future__ import annotations

import sys
import time
from typing import Any

from tinynn.models.callbacks import Callback, Logs

INTERVAL = 0.1
"""Seconds between two looks at the running loss: reading it more often would cost time, on a GPU a lot."""
WIDTH = 100
"""Characters at most; on a narrower terminal the bar shrinks before the numbers."""


class Progress(Callback):
    """Keras's display: verbose 1 is a bar that moves where output is a terminal, and else, as verbose 2, a line."""

    def __init__(self, verbose: int, epochs: int, steps: int | None):
        self.epochs, self.steps = epochs, steps
        self.moving = verbose == 1 and sys.stdout.isatty()
        self.bar: Any = None
        self.next_look = 0.0
        self.started = 0.0

    def due(self) -> bool:
        """Whether it is time to read the running loss and show it."""
        return self.moving and time.perf_counter() >= self.next_look

    def begin(self, epoch: int) -> None:
        self.started = time.perf_counter()
        self.next_look = self.started + INTERVAL
        if self.epochs > 0:
            print(f"Epoch {epoch + 1}/{self.epochs}", flush=True)
        if self.moving:
            import shutil

            from tqdm import tqdm

            self.bar = tqdm(
                total=self.steps,
                file=sys.stdout,
                bar_format="{n_fmt}/{total_fmt} [{bar}] - {elapsed}{desc}",
                ascii=".=",
                ncols=min(WIDTH, shutil.get_terminal_size().columns - 1),
                leave=False,
            )

    def show(self, batch: int, logs: Logs) -> None:
        """Move the bar to this batch."""
        self.next_look = time.perf_counter() + INTERVAL
        self.bar.n = batch
        self.bar.set_description_str(f" - {described(logs)}")

    def end(self, logs: Logs) -> None:
        """The final line of an epoch, validation included."""
        self.close()
        seconds = time.perf_counter() - self.started
        per_step = seconds / max(self.steps or 0, 1)
        step = f"{per_step * 1e3:.0f}ms" if per_step >= 0.01 else f"{per_step * 1e6:.0f}us"
        print(f"{self.steps}/{self.steps} - {seconds:.1f}s {step}/step - {described(logs)}", flush=True)

    def close(self) -> None:
        """Take the moving line away; also after an interruption."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def described(logs: Logs) -> str:
    """loss: 0.1234 - accuracy: 0.9876"""
    numbers = {name: value for name, value in logs.items() if isinstance(value, float)}
    return " - ".join(
        f"{name}: {value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{name}: {value:.4e}"
        for name, value in numbers.items()
    )
