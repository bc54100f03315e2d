"""python -m benchmarks.kernels: every convolution of the benchmarks' networks, pass by pass, against PyTorch.

tinynn and PyTorch each have a process of their own and take turns. Forward, gradient of the weights (and the bias),
gradient of the inputs, and all that a training step does of them ("both"; nobody wants the gradient of the images
that a network begins with) are counted in GFLOP/s of the sum as it is written down: Winograd's convolutions do less,
and may exceed the peak. Pools and normalizations are counted in GB/s of the arrays that one pass would move. Numbers
are of the best turn: the work of others only ever adds. ``peak`` is what the micro-kernel does on numbers in the first
cache.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import harness, machine
from benchmarks.__main__ import NO_TORCH, RESULTS, positive
from benchmarks.cases.kernels import SHAPES, Shape, shape

Row = dict[str, Any]
OURS, FAST, EAGER, LAST = "tinynn", "fast_math", "eager", "channels_last"
TOLERANCE = 1e-3
"""Relative difference of results, up to which both did the same work."""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    cores = sorted({1, machine.cores()})
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kernels",
        description="Times the kernels of the convolutional networks against PyTorch. Exit code: 0, 1 when results "
        "differ, 2 when nothing could be measured.",
    )
    parser.add_argument("--threads", type=positive, nargs="+", default=cores, help=f"default {cores}")
    parser.add_argument("--only", default="", help="part of a name, as printed: resnet20, or 8x8")
    parser.add_argument("--rounds", type=positive, default=9, help="turns of each contender (default 9)")
    parser.add_argument("--seconds", type=float, default=0.02, help="about the length of a turn (default 0.02)")
    parser.add_argument("--images", type=positive, help="instead of each shape's own number")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON (default: a new file in results/)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    numbers = [k for k in range(len(SHAPES)) if args.only in shape(k, args.images).name]
    if not numbers:
        print(
            f"no shape has {args.only!r} in its name; they are\n  " + "\n  ".join(s.name for s in SHAPES),
            file=sys.stderr,
        )
        return 2
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, end="", file=sys.stderr)
        return 2
    try:
        return run(args, numbers)
    except harness.Failed as failure:
        print(failure, file=sys.stderr)
        return 2


def run(args: argparse.Namespace, numbers: list[int]) -> int:
    """Measure every shape with every number of threads; the JSON is written after each."""
    now = datetime.now(UTC)
    peaks: dict[int, float] = {}
    rows: list[Row] = []
    result: Row = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "images": args.images},
        "peak_gflops": peaks,
        "rows": rows,
    }
    output = args.output or RESULTS / f"kernels-{now:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    processor = result["machine"]["processor"]
    print(f"{processor}, {', '.join(f'{k} {v}' for k, v in result['versions'].items())}")
    for threads in args.threads:
        workers = {
            name: harness.Worker(f"kernels of {name}", threads, "benchmarks.kernelworker", name)
            for name in (OURS, "PyTorch")
        }
        print(f"\n{threads} thread{'s' * (threads > 1)}\n{heading()}", flush=True)
        try:
            for number in numbers:
                peaks[threads] = max(peaks.get(threads, 0.0), workers[OURS].ask(do="peak")["gflops"])
                for row in measure(workers, number, threads, args):
                    rows.append(row)
                    print(line(row, peaks[threads]), flush=True)
                output.write_text(json.dumps(result, indent=1) + "\n")
        finally:
            for worker in workers.values():
                worker.close()
        print(f"peak: {peaks[threads]:.0f} GFLOP/s\n{verdict([r for r in rows if r['threads'] == threads])}")
    print(f"\nwritten to {output}")
    return 0 if all(row["agree"] for row in rows) else 1


def measure(workers: dict[str, harness.Worker], number: int, threads: int, args: argparse.Namespace) -> list[Row]:
    """The rows of one shape, one for each pass."""
    sides, results = {}, {}
    for worker in workers.values():
        answer = worker.ask(do="prepare", shape=number, images=args.images)
        if answer["threads"] != threads:
            raise harness.Failed(f"{worker.label}: it runs {answer['threads']} threads")
        sides |= dict.fromkeys(answer["results"], worker)
        results |= answer["results"]
    what = shape(number, args.images)
    return [row(what, which, threads, results, turns(sides, which, args)) for which in what.passes]


def turns(sides: dict[str, harness.Worker], which: str, args: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of a call by contender, round by round; who begins changes."""

    def seconds(name: str, repeats: int) -> float:
        return float(sides[name].ask(do="run", contender=name, repeats=repeats, **{"pass": which})["seconds"])

    repeats = {name: max(1, math.ceil(args.seconds / seconds(name, 1))) for name in sides}
    times: dict[str, list[float]] = {name: [] for name in sides}
    order = list(sides)
    for k in range(args.rounds):
        for name in order[k % len(order) :] + order[: k % len(order)]:
            times[name].append(seconds(name, repeats[name]))
    return times


def row(what: Shape, which: str, threads: int, results: Row, times: dict[str, list[float]]) -> Row:
    """One pass of one shape as JSON can hold it."""
    best = {name: min(values) for name, values in times.items()}
    apart = max(difference(results[name][which], results[EAGER][which]) for name in times)
    return {
        "shape": what.name,
        "pass": which,
        "threads": threads,
        "unit": what.unit,
        "rate": {name: 1e-9 * what.work(which) / seconds for name, seconds in best.items()},
        "seconds": times,
        "vs_channels_last": best[LAST] / best[OURS],
        "vs_best": min(best[LAST], best[EAGER]) / best[OURS],
        "agree": apart <= TOLERANCE,
        "difference": apart,
    }


def difference(got: list[float], expected: list[float]) -> float:
    """Of two summaries [sum, norm], relative to the norm; NaN is infinite."""
    apart = max(abs(a - b) for a, b in zip(got, expected, strict=True)) / max(expected[1], 1e-12)
    return apart if math.isfinite(apart) else math.inf


# -- the table -------------------------------------------------------------------------------------------------------


def heading() -> str:
    text = (
        f"{'shape':<44} {'pass':<8} {'':<7} {'tinynn':>7} {'of peak':>7} {'fast_math':>9} {'eager':>7} "
        f"{'ch. last':>8}  {'/ last':>6} {'/ best':>6}"
    )
    return f"{text}\n{'-' * len(text)}"


def line(row: Row, peak: float) -> str:
    rate = row["rate"]
    share = f"{rate[OURS] / peak:7.0%}" if row["unit"] == "GFLOP/s" else " " * 7
    fast = f"{rate[FAST]:9.0f}" if FAST in rate else " " * 9
    text = (
        f"{row['shape']:<44} {row['pass']:<8} {row['unit']:<7} {rate[OURS]:7.0f} {share} {fast} {rate[EAGER]:7.0f} "
        f"{rate[LAST]:8.0f}  {row['vs_channels_last']:6.2f} {row['vs_best']:6.2f}"
    )
    if row["vs_best"] < 1:
        text += "  < 1" if row["vs_channels_last"] < 1 else "  < 1 (eager)"
    return text if row["agree"] else f"{text}  RESULTS DIFFER by {row['difference']:.0e}"


def verdict(rows: list[Row]) -> str:
    """How many rows are slower than PyTorch, against channels last and against its best."""
    slower = [sum(row[key] < 1 for row in rows) for key in ("vs_channels_last", "vs_best")]
    return f"of {len(rows)} rows {slower[0]} are slower than PyTorch channels last, {slower[1]} than its best order"


if __name__ == "__main__":
    sys.exit(main())
