"""From which size on the card is faster than the processor: matrix products, and workloads over a series of batches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.gpu.crew import Crew, last_line
from benchmarks.harness import Failed

Row = dict[str, Any]


def product(backend_name: str, n: int, seconds: float) -> Row:
    """Seconds of y = x W + b with x and W (n, n), as a Dense layer computes it; the best of three turns."""
    from tinynn.activation import Activation
    from tinynn.backends import get

    backend = get(backend_name)
    rng = np.random.default_rng(0)
    x, W = (backend.asarray(rng.standard_normal((n, n), np.float32), np.float32) for _ in range(2))
    b, y = backend.zeros((n,), np.float32), backend.empty((n, n), np.float32)

    def times(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            backend.dense.forward(y, x, W, b, Activation.LINEAR)
        backend.to_numpy(y[:1, :1])  # waits for the card
        return time.perf_counter() - start

    times(1)
    repeats = 1
    while (spent := times(repeats)) < seconds / 4:
        repeats *= 2
    repeats = max(1, round(repeats * seconds / max(spent, 1e-9)))
    return {"seconds": min(times(repeats) for _ in range(3)) / repeats}


def products(crew: Crew, sizes: Sequence[int], seconds: float, tell: Callable[[Row], None]) -> Row:
    """The series of sizes n, and from which on the card wins; ``tell`` takes it after each size."""
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for n in sizes:
        one: Row = {"n": n}
        for contender in ("cpu", "gpu"):
            if crew.clock.over or contender in failures:
                continue
            try:
                one[contender] = crew.ask(contender, do="product", n=n, seconds=seconds)["seconds"]
            except Failed as failure:
                failures[contender] = last_line(failure)
        if "cpu" in one and "gpu" in one:
            rows.append(one)
            print(f"  product n = {n:<5} us: cpu {1e6 * one['cpu']:.1f}  gpu {1e6 * one['gpu']:.1f}", flush=True)
            tell(result(rows, failures))
    return result(rows, failures)


def result(rows: Sequence[Row], failures: dict[str, str]) -> Row:
    place = crossing([(row["n"], row["cpu"], row["gpu"]) for row in rows])
    return {"rows": list(rows), "crossover": place, "failures": failures}


def crossing(series: Sequence[tuple[int, float, float]]) -> Row | None:
    """Where the second time falls below the first, of (size, time, time) with rising sizes; None for no series.

    size: the smallest size from which on the second is never slower; None where the largest is still slower
    between: the last size where the first wins, None where it never does; and ``size``
    """
    if not series:
        return None
    ordered = sorted(series)
    slower = [size for size, first, second in ordered if second > first]
    last = slower[-1] if slower else None
    faster = [size for size, _, _ in ordered if last is None or size > last]
    return {"size": faster[0] if faster else None, "between": [last, faster[0] if faster else None]}


def of_rows(rows: Sequence[Row], first: str = "cpu") -> dict[str, dict[str, Row]]:
    """By workload, for the card with and without jit: the batch from which on it beats ``first``."""
    found: dict[str, dict[str, Row]] = {}
    for name in dict.fromkeys(row["name"] for row in rows):
        for second in ("gpu", "jit"):
            series = [
                (row["batch_size"], *(row["contenders"][c]["ms_per_step"]["median"] for c in (first, second)))
                for row in rows
                if row["name"] == name and {first, second} <= set(row["contenders"])
            ]
            if (place := crossing(series)) is not None:
                found.setdefault(name, {})[second] = place
    return found
