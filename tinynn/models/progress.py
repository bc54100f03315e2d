"""The progress line of ``fit`` and ``evaluate``: batch, time, loss and metrics."""

from __future__ import annotations

import shutil
import sys
import time

from tinynn.models.callbacks import Callback, Logs

INTERVAL = 0.1
"""Seconds between two looks at the running loss: reading it more often would cost time, on a GPU a lot."""


BAR, LEAST_BAR = 30, 5
"""Characters: a bar as wide as Keras's, and the narrowest that still says something."""


class Progress(Callback):
    """Keras's display: verbose 1 is a bar that moves where output is a terminal, and else, as verbose 2, a line."""

    def __init__(self, verbose: int, epochs: int, steps: int):
        self.epochs, self.steps = epochs, steps
        self.moving = verbose == 1 and sys.stdout.isatty()
        self.batch = 0
        self.logs: Logs = {}
        self.drawn = 0
        """The characters of the moving line."""
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
            self.batch, self.logs = 0, {}
            self.draw()

    def show(self, batch: int, logs: Logs) -> None:
        """Move the bar to this batch."""
        self.next_look = time.perf_counter() + INTERVAL
        self.batch, self.logs = batch, logs
        self.draw()

    def draw(self) -> None:
        """Write the moving line over the one before."""
        seconds = int(time.perf_counter() - self.started)
        width = shutil.get_terminal_size().columns - 1  # a full line would make the terminal begin another
        line = moving_line(self.batch, self.steps, seconds, described(self.logs), width)
        print("\r" + line + " " * (self.drawn - len(line)), end="", file=sys.stdout, flush=True)
        self.drawn = len(line)

    def clear(self) -> None:
        """Take the moving line away."""
        if self.drawn:
            print("\r" + " " * self.drawn + "\r", end="", file=sys.stdout, flush=True)
            self.drawn = 0

    def end(self, logs: Logs) -> None:
        """The final line of an epoch, validation included."""
        self.clear()
        seconds = time.perf_counter() - self.started
        per_step = seconds / max(self.steps, 1)
        step = f"{per_step * 1e3:.0f}ms" if per_step >= 0.01 else f"{per_step * 1e6:.0f}us"
        print(f"{self.steps}/{self.steps} - {seconds:.1f}s {step}/step - {described(logs)}", flush=True)

    def close(self) -> None:
        """Leave the terminal in order after an interruption: the last numbers stay."""
        if self.drawn:
            print(flush=True)
            self.drawn = 0


def moving_line(batch: int, steps: int, seconds: int, numbers: str, width: int) -> str:
    """300/600 [======........] - 00:12 - loss: 0.1234, as wide as there is room: the bar shrinks before the numbers.

    >>> moving_line(300, 600, 12, "loss: 0.1234", 80)
    '300/600 [===============...............] - 00:12 - loss: 0.1234'
    >>> moving_line(300, 600, 12, "loss: 0.1234", 50)
    '300/600 [========.........] - 00:12 - loss: 0.1234'
    """
    count = f"{batch:>{len(str(steps))}}/{steps}"
    tail = f"{seconds // 60:02}:{seconds % 60:02}" + (f" - {numbers}" if numbers else "")
    room = min(BAR, width - len(f"{count} [] - {tail}"))
    if room < LEAST_BAR:
        return f"{count} - {tail}"[:width]
    full = room * batch // max(steps, 1)
    return f"{count} [{'=' * full}{'.' * (room - full)}] - {tail}"


def described(logs: Logs) -> str:
    """loss: 0.1234 - accuracy: 0.9876"""
    numbers = {name: value for name, value in logs.items() if isinstance(value, float)}
    return " - ".join(
        f"{name}: {value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{name}: {value:.4e}"
        for name, value in numbers.items()
    )
