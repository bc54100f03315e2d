"""The contenders' processes: started when first asked, ended when they fail or take too long, and started anew."""

from __future__ import annotations

import contextlib
import math
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.harness import Failed, Worker

GRACE = 20.0
"""Seconds that a question may take, whatever is left."""
PATIENCE = {"prepare": 60.0, "run": 45.0, "check": 45.0, "kernel": 30.0, "product": 30.0}
"""The most of what is left that a question may take: a kernel that hangs must not cost the other rows their time."""
UNHURRIED = ("cpu", "compile")
"""Contenders whose compilers take longer."""


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
        self.hasty = arguments[0] not in UNHURRIED

    def ask(self, **command: Any) -> dict[str, Any]:
        most = PATIENCE.get(command["do"], math.inf) if self.hasty else math.inf
        limit = max(min(self.clock.left, most), GRACE)
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
    """A contender's process that does tasks in the background, so that what it compiles is on disk when it is wanted.

    Numba takes minutes on a machine that is new to it, and NVRTC seconds for every kernel. ``stop`` ends it wherever
    it is: nothing else may run while times are taken.

    tasks: lists of commands; where one fails the next is begun by a fresh process
    """

    def __init__(self, crew: Crew, contender: str, tasks: Sequence[Sequence[dict[str, Any]]]):
        self.crew, self.contender, self.tasks = Crew(crew.clock, crew.threads, crew.module), contender, tasks
        self.done, self.stopped = 0, False
        self.thread = threading.Thread(target=self.work, daemon=True)
        self.thread.start()

    def work(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for task in self.tasks:
                with contextlib.suppress(Failed, ValueError, OSError):  # ValueError: its pipes are closed
                    for command in task:
                        if self.stopped:
                            return
                        place = {"weights": f"{folder}/weights.npz"} if command["do"] == "prepare" else {}
                        self.crew.ask(self.contender, **command, **place)
                    self.done += 1

    def stop(self) -> None:
        self.stopped = True
        while self.thread.is_alive():  # it may just be beginning a process
            for member in list(self.crew.workers.values()):
                member.process.kill()
            self.thread.join(0.2)
        self.crew.__exit__()


def last_line(error: BaseException | str) -> str:
    """What an error says, without the way to it; of a compiler's messages the first error."""
    lines = str(error).strip().splitlines()
    if lines and "detected in the compilation" in lines[-1]:
        return next((line.strip() for line in lines if ": error" in line), lines[-1])
    return lines[-1] if lines else type(error).__name__
