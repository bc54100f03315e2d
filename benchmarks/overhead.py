"""python -m benchmarks.overhead: where the microseconds of our own Python go, in steps whose arithmetic is small.

Three tables: single pieces on tiny arrays; the stages of one ``fit`` step of d1; the kernels inside that step, whose
difference to the whole is what Python costs. No profiler runs, so nothing but the clock itself (about 0.1 us per
reading) is added.
"""

from __future__ import annotations

import argparse
import dataclasses
import timeit
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np

from benchmarks.cases import CASES

Table = list[tuple[str, float, float]]
"""Label, best and median microseconds."""

REPEATS = 7


def microseconds(label: str, action: Callable[[], Any]) -> tuple[str, float, float]:
    """The time of one call: the best and the median of some repetitions of about 20 ms."""
    timer = timeit.Timer(action)
    action()
    number = 1
    while timer.timeit(number) < 0.02:
        number *= 2
    times = [1e6 * t / number for t in timer.repeat(REPEATS, number)]
    return label, min(times), median(times)


def show(title: str, table: Table) -> None:
    print(f"\n{title:<58} {'best us':>9} {'median us':>10}")
    for label, best, middle in table:
        print(f"  {label:<56} {best:9.2f} {middle:10.2f}")


# -- single pieces -----------------------------------------------------------------------------------------------------


def nodes() -> Table:
    """Elementary and Dense nodes on arrays of 4 x 4: everything but a few hundred nanoseconds is Python."""
    from tinynn.graph import Graph
    from tinynn.layers import Dense

    x = np.ones((4, 4), np.float32)
    graph = Graph()

    def opened() -> None:
        graph.tensor(x)

    def multiply() -> None:
        a = graph.tensor(x, requires_grad=True)
        y = a
        for _ in range(100):
            y = y * a
        graph.backward(y, gradient=x)

    def forward() -> None:
        a = graph.tensor(x, requires_grad=True)
        y = a
        for _ in range(100):
            y = y * a
        graph.reset()

    layers = [Dense(4) for _ in range(10)]

    def dense() -> None:
        y = graph.tensor(x)
        for layer in layers:
            y = layer(y)
        graph.backward(y, gradient=x)

    def allocate() -> None:
        graph.empty(64, 1024)

    return [
        microseconds("graph.tensor(x)", opened),
        microseconds("graph.empty of 256 KiB, recycled", allocate),
        share("one multiplication, forward", microseconds("", forward), 100),
        share("one multiplication, forward and backward", microseconds("", multiply), 100),
        share("one Dense layer, forward and backward", microseconds("", dense), 10),
    ]


def share(label: str, measured: tuple[str, float, float], n: int) -> tuple[str, float, float]:
    """The share of one among n."""
    return label, measured[1] / n, measured[2] / n


def optimizer_steps() -> Table:
    """One step for four parameters of 4 x 4."""
    from tinynn import optim
    from tinynn.parameter import Parameter

    optimizers = {
        "SGD": optim.SGD(0.01),
        "SGD(momentum)": optim.SGD(0.01, momentum=0.9),
        "Adam": optim.Adam(1e-3),
        "Adam(global_clipnorm)": optim.Adam(1e-3, global_clipnorm=1.0),
    }
    table: Table = []
    for label, optimizer in optimizers.items():
        parameters = [Parameter((4, 4)) for _ in range(4)]
        optimizer.build(parameters)

        def step(optimizer: Any = optimizer, parameters: Any = parameters) -> None:
            for p in parameters:
                p.receive(p.slot)  # as backward does
            optimizer.step()

        table.append(microseconds(f"{label}.step() of 4 parameters", step))
    return table


# -- one step of fit ---------------------------------------------------------------------------------------------------


class Clock:
    """Nanoseconds by label."""

    def __init__(self) -> None:
        self.spent: dict[str, int] = defaultdict(int)

    def add(self, label: str, nanoseconds: int) -> None:
        self.spent[label] += nanoseconds


class Timed:
    """A kernel module whose functions are timed."""

    def __init__(self, name: str, kernels: Any, clock: Clock):
        self.name, self.kernels, self.clock = name, kernels, clock

    def __getattr__(self, key: str) -> Any:
        kernel, label, add = getattr(self.kernels, key), f"{self.name}.{key}", self.clock.add

        def timed(*arguments: Any) -> Any:
            start = perf_counter_ns()
            result = kernel(*arguments)
            add(label, perf_counter_ns() - start)
            return result

        setattr(self, key, timed)
        return timed


def timed_backend(backend: Any, clock: Clock) -> Any:
    """The same backend with every kernel timed."""
    arrays = ("name", "xp", "array_type", "empty", "asarray", "to_numpy")
    rows = [field.name for field in dataclasses.fields(backend) if field.name not in arrays]
    return dataclasses.replace(backend, **{name: Timed(name, getattr(backend, name), clock) for name in rows})


def stages(run: Any, meter: Any, steps: int, clock: Clock) -> None:
    """``Run.epoch`` and ``Run.step`` of the training loop, written out with a clock between the stages."""
    model, graph, optimizer, add, now = run.model, run.graph, run.optimizer, clock.add, perf_counter_ns
    run.feed.begin(0)
    for _ in range(steps):
        t0 = now()
        run.feed.advance()
        x, y, w = run.feed(graph)
        t1 = now()
        prediction = model(x)
        t2 = now()
        loss = model.compiled.loss(y, prediction, w)
        value = loss.data
        t3 = now()
        graph.backward(loss)
        t4 = now()
        optimizer.step()
        t5 = now()
        meter.add(value, None, x.data.shape[0], y, prediction, w)
        t6 = now()
        for label, start, stop in zip(STAGES, (t0, t1, t2, t3, t4, t5), (t1, t2, t3, t4, t5, t6), strict=True):
            add(label, stop - start)


STAGES = ("feed: rows to tensors", "forward: the layers", "loss", "backward", "optimizer.step", "meter.add")


def fit_step(name: str, batch_size: int) -> Iterator[tuple[str, Table]]:
    """Tables for one ``fit`` step of a case."""
    from tinynn.models.batches import ArrayFeed
    from tinynn.models.callbacks import CallbackList
    from tinynn.models.door import checked_arrays
    from tinynn.models.meter import Meter
    from tinynn.models.training import Run

    case = CASES[name]
    model = case.ours()
    x, y = (a[: 60 * batch_size] for a in case.data())
    steps = len(x) // batch_size

    def fit() -> None:
        model.fit(x, y, batch_size=batch_size, epochs=10, verbose=0, shuffle=False)

    fit()
    whole = share("fit, per step", microseconds("", fit), 10 * steps)

    data = checked_arrays(model, x, y, None)
    run = Run(model, ArrayFeed(model, data, batch_size), None, CallbackList([], model, {}))
    rounds = [Clock() for _ in range(5 * REPEATS)]
    for clock in rounds:
        stages(run, Meter(model), steps, clock)
    table = per_step(rounds, steps)
    total = "all stages", sum(row[1] for row in table), sum(row[2] for row in table)
    yield f"{name}, batch {batch_size}: one step of fit", [whole, *table, total]

    plain, rounds = model.backend, []
    for _ in range(REPEATS):
        rounds.append(Clock())
        model.backend = timed_backend(plain, rounds[-1])
        fit()
    model.backend = plain
    table = per_step(rounds, 10 * steps)
    kernels = "all kernels", sum(row[1] for row in table), sum(row[2] for row in table)
    python = "the rest: Python, and arithmetic outside the kernels", whole[1] - kernels[1], whole[2] - kernels[2]
    yield f"{name}, batch {batch_size}: the kernels in it", [*table, kernels, python]


def per_step(rounds: list[Clock], steps: int) -> Table:
    """Best and median over the rounds of the time per step."""
    table: Table = []
    for label in rounds[0].spent:
        times = [clock.spent[label] / steps / 1e3 for clock in rounds]
        table.append((label, min(times), median(times)))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overhead", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="d1", choices=list(CASES), help="the case whose fit step is taken apart")
    parser.add_argument("--batch-size", type=int, help="instead of the case's own")
    args = parser.parse_args()
    show("single pieces, arrays of 4 x 4", nodes() + optimizer_steps())
    for title, table in fit_step(args.only, args.batch_size or CASES[args.only].batch_size):
        show(title, table)


if __name__ == "__main__":
    main()
