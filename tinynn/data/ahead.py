"""Work done ahead, by threads, while the consumer is busy with what it has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

T = TypeVar("T")
Job = Callable[[], T]
PATIENCE = 10.0
"""Seconds that closing waits for a thread that is inside somebody's function."""


class Ahead:
    """Numbered jobs, done by some threads, at most `depth` of them beyond the one that the consumer is at."""

    def __init__(self, jobs: Iterator[Job[T]], workers: int, depth: int):
        self.jobs, self.depth = jobs, depth
        self.changed = threading.Condition()
        self.reading = threading.Lock()
        self.results: dict[int, tuple[bool, object]] = {}
        """By the number of the job: (True, result) or (False, exception)."""
        self.taken = self.wanted = 0
        self.end: int | None = None
        """The number of jobs, once that is known."""
        self.stopped = False
        self.threads = [
            threading.Thread(target=self.work, name=f"tinynn-data-{i}", daemon=True) for i in range(workers)
        ]

    def work(self) -> None:
        """A thread's life: job after job."""
        while True:
            with self.reading:  # one at a time asks for the next job: a generator may stand behind it
                with self.changed:
                    number = self.taken
                    while not self.stopped and self.end is None and number >= self.wanted + self.depth:
                        self.changed.wait()
                    if self.stopped or self.end is not None:
                        return
                try:
                    job = next(self.jobs)
                except StopIteration:
                    self.finish(number)
                    return
                except BaseException as error:
                    self.put(number, False, error)
                    self.finish(number + 1)
                    return
                self.taken += 1
            try:
                result = job()
            except BaseException as error:
                self.put(number, False, error)
            else:
                self.put(number, True, result)
                del result
            del job

    def put(self, number: int, good: bool, result: object) -> None:
        with self.changed:
            self.results[number] = good, result
            self.changed.notify_all()

    def finish(self, end: int) -> None:
        with self.changed:
            self.end = end
            self.changed.notify_all()

    def get(self) -> tuple[bool, object] | None:
        """The next result, in order; None after the last."""
        with self.changed:
            while self.wanted not in self.results:
                if self.end is not None and self.wanted >= self.end:
                    return None
                self.changed.wait()
            result = self.results.pop(self.wanted)
            self.wanted += 1
            self.changed.notify_all()
            return result

    def stop(self) -> bool:
        """Let the threads come to their end; whether they did."""
        with self.changed:
            self.stopped = True
            self.results.clear()
            self.changed.notify_all()
        for thread in self.threads:
            thread.join(PATIENCE)
        return not any(thread.is_alive() for thread in self.threads)


def in_threads(jobs: Generator[Job[T], None, None], workers: int, depth: int) -> Generator[T, None, None]:
    """The results of the jobs, in their order, whoever did them; the threads end with this generator.

    An exception comes out at the place of its job, with the traceback of the thread in which it was raised.
    """
    ahead = Ahead(jobs, workers, depth)
    try:
        for thread in ahead.threads:
            thread.start()
        while (result := ahead.get()) is not None:
            good, value = result
            if not good:
                raise value  # type: ignore[misc]
            yield value  # type: ignore[misc]
            del value, result
    finally:
        if ahead.stop():
            jobs.close()


def one_by_one(jobs: Generator[Job[T], None, None]) -> Generator[T, None, None]:
    """The same without threads: each when it is asked for."""
    try:
        for job in jobs:
            yield job()
    finally:
        jobs.close()
