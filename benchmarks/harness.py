"""Rounds of samples: every contender in a process of its own, one sample each per round, one after the other.

The machine's speed drifts (clock, temperature, neighbours), so only samples of one round are compared with each other.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import find
from benchmarks.cases.base import VARIANTS, Case

ROOT = Path(__file__).resolve().parent.parent
OURS = "tinynn"
CONTAMINATED = 0.1
"""A sample is contaminated when other processes used more than this share of one core while it ran."""
RESOLUTION = 0.03
"""Seconds: how finely the system counts CPU time."""


class Failed(RuntimeError):
    """A contender's process ended with an error; the message is its traceback."""


@dataclass
class Sample:
    """One run: seconds per step, the losses after it, and whether somebody else disturbed it."""

    seconds: float
    steps: int
    loss: float
    after: float
    others: float | None

    @property
    def step(self) -> float:
        """Seconds per step."""
        return self.seconds / self.steps

    @property
    def contaminated(self) -> bool:
        return self.others is not None and self.others > CONTAMINATED * self.seconds + RESOLUTION


@dataclass
class Measured:
    """All samples of one case with one number of threads: by contender, in order of the rounds."""

    case: Case
    threads: int
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    repeated: int = 0
    """Samples thrown away because they were contaminated."""


class Worker:
    """A contender's process, ``python -m module arguments``, for a number of threads; it answers what it is asked."""

    def __init__(self, label: str, threads: int, module: str, *arguments: str):
        count = str(threads)
        self.label = f"{label} with {threads} thread{'s' * (threads > 1)}"
        pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {
            **os.environ,
            **dict.fromkeys(pools, count),
            "TINYNN_NUM_THREADS": count,
            "PYTHONPATH": os.pathsep.join(paths),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **command: Any) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # its last words are still in the other pipe
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.label}: the worker ended without an answer, exit code {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"{self.label}:\n{answer['error']}")
        return answer

    def prepare(self, weights: Path, threads: int) -> None:
        got = self.ask(do="prepare", weights=str(weights))["threads"]
        if got != threads:
            raise Failed(f"{self.label}: the worker runs {got} threads instead of {threads}")

    def run(self, steps: int) -> Sample:
        return Sample(**self.ask(do="run", steps=steps))

    def close(self) -> None:
        """End the process: at the end of its input it leaves by itself."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def measure(name: str, threads: int, *, rounds: int, seconds: float, compiled: bool, retries: int = 3) -> Measured:
    """Time a case: ``rounds`` samples of each contender, none shorter than about ``seconds``.

    All contenders do the same number of steps. A contaminated sample is repeated up to ``retries`` times, then kept
    and marked. A variant of PyTorch that fails is left out and its error kept; when tinynn or eager PyTorch fails,
    ``Failed`` is raised.
    """
    case = find(name)
    contenders = [OURS, *case.variants]
    if compiled:
        contenders += [
            compile
            for compile in ("compile", "channels_last_compile")
            if VARIANTS[compile].channels_last == ("channels_last" in case.variants)
        ]
    result, workers = Measured(case, threads), {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            for contender in contenders:
                label = f"{name}, contender {contender}"
                workers[contender] = Worker(label, threads, "benchmarks.worker", name, contender)
                try:
                    workers[contender].prepare(Path(folder) / "weights.npz", threads)
                    workers[contender].run(4)
                except Failed as failure:
                    if contender in (OURS, "eager"):
                        raise
                    result.failures[contender] = str(failure)
                    workers.pop(contender).close()
            steps = max(steps_for(worker, seconds) for worker in workers.values())
            result.samples = {contender: [] for contender in workers}
            for k in range(rounds):
                order = list(workers)
                for contender in order[k % len(order) :] + order[: k % len(order)]:
                    sample, repeated = undisturbed(workers[contender], steps, retries)
                    result.samples[contender].append(sample)
                    result.repeated += repeated
        finally:
            for worker in workers.values():
                worker.close()
    return result


def steps_for(worker: Worker, seconds: float, steps: int = 8) -> int:
    """How many steps take this long, by doubling from ``steps`` until a quarter of it is reached."""
    while (sample := worker.run(steps)).seconds < seconds / 4:
        steps = max(2 * sample.steps, sample.steps + 1)
    return max(1, math.ceil(seconds / sample.step))


def undisturbed(worker: Worker, steps: int, retries: int) -> tuple[Sample, int]:
    """A sample that nobody disturbed, or the last of ``retries`` + 1 that somebody did; and how many were discarded."""
    for k in range(retries):
        sample = worker.run(steps)
        if not sample.contaminated:
            return sample, k
    return worker.run(steps), retries
