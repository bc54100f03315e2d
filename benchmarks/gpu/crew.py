"""The contenders' processes: started when first asked, ended when they fail or take too long, and started anew."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import Failed, Worker

GRACE = 20.0
"""Seconds that a question may take, whatever is left."""


class Clock:
    """The time that is left: in all, and of one part."""

    def __init__(self, seconds: float):
        self.end = self.part_end = time.monotonic() + seconds
        self.seconds = seconds

    def begin(self, share: float) -> None:
        """A part may take this share of the whole time, but no more than is left."""
        self.part_end = min(self.end, time.monotonic() + share * self.seconds)

    @property
    def left(self) -> float:
        return self.part_end - time.monotonic()

    @property
    def over(self) -> bool:
        return self.left <= 0


class Crew:
    """By contender its process; a context manager that ends them all."""

    def __init__(self, clock: Clock, threads: int, module: str = "benchmarks.gpu.worker"):
        self.clock, self.threads, self.module = clock, threads, module
        self.workers: dict[str, Member] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        for contender in list(self.workers):
            self.dismiss(contender)

    def member(self, contender: str) -> Member:
        if contender not in self.workers:
            self.workers[contender] = Member(contender, self.clock, self.threads, self.module, contender)
        return self.workers[contender]

    def ask(self, contender: str, **command: Any) -> dict[str, Any]:
        """The answer; ``Failed`` with the traceback, after which the next question meets a fresh process."""
        try:
            return self.member(contender).ask(**command)
        except Failed:
            self.dismiss(contender)
            raise

    def dismiss(self, contender: str) -> None:
        if contender in self.workers:
            self.workers.pop(contender).close()


class Member(Worker):
    """A process that is ended when it does not answer: a hanging card must not hang the whole run."""

    def __init__(self, label: str, clock: Clock, threads: int, module: str, *arguments: str):
        super().__init__(label, threads, module, *arguments)
        self.clock = clock

    def ask(self, **command: Any) -> dict[str, Any]:
        limit = max(self.clock.left, GRACE)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self.process.kill()

        timer = threading.Timer(limit, expire)
        timer.start()
        try:
            return super().ask(**command)
        except Failed as failure:
            if expired.is_set():
                raise Failed(f"{self.label}: no answer to {command} within {limit:.0f} s") from failure
            raise
        finally:
            timer.cancel()


class Ahead:
    """A cpu's process that takes a step of every workload in the background, while the card is busy with its tests.

    What Numba compiles for it is on disk when it is wanted, which may take minutes on a machine that is new to it.
    """

    def __init__(self, crew: Crew, workloads: Sequence[tuple[str, int]]):
        self.member = Member("compiling ahead", crew.clock, crew.threads, crew.module, "cpu")
        self.workloads, self.done = workloads, 0
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        with tempfile.TemporaryDirectory() as folder, contextlib.suppress(Failed, ValueError):  # ValueError: closed
            for name, batch in self.workloads:
                self.member.ask(do="prepare", case=name, batch=batch, weights=f"{folder}/weights.npz")
                self.member.ask(do="run", steps=1)
                self.done += 1

    def stop(self) -> None:
        """End it, wherever it is: nothing else may run while times are taken."""
        self.member.process.kill()
        self.thread.join()
        self.member.close()


def last_line(error: BaseException | str) -> str:
    """What an error says, without the way to it."""
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
