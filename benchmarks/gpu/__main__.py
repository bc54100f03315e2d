"""python -m benchmarks.gpu: everything about the gpu backend that needs a card, in one run of ten minutes.

Parts, in this order; each may take a share of the time, and what it does not use is left to the last:

agreement  the largest error of every row of the table, then the tests on the card; what is needed later is compiled
training   training steps: tinynn on the card, with jit and without, PyTorch there, and our cpu backend, in turns
kernels    single kernels beside the card's copy bandwidth
accuracy   the networks of the MNIST and CIFAR examples reach on the card what they reach on the cpu
crossover  from which size on the card is faster than the cpu: products, and workloads over a series of batches

The JSON is written after each row, so Ctrl-C loses nothing; ``python -m benchmarks.compare`` makes the table and the
picture of it again. Exit code: 0, 1 when something failed (a part, a test, an error beyond its limit, losses that
differ, an accuracy below the cpu's), 2 when nothing could be measured. What the time was over for did not fail.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.__main__ import RESULTS, positive
from benchmarks.gpu import accuracy, agreement, card, crossover, kernels, report, training
from benchmarks.gpu.crew import Ahead, Clock, Crew, last_line
from benchmarks.gpu.training import Plan
from benchmarks.gpu.worker import OURS
from benchmarks.harness import Failed

Row = dict[str, Any]
RESERVE = 25.0
"""Seconds of the whole time for the last answer and the picture."""
INTRODUCTION = 0.15
SHARES = {"agreement": 0.25, "training": 0.4, "kernels": 0.1, "accuracy": 0.15, "crossover": 0.3}
"""Of the whole time, as the most that the start, and then each part, may take; the last has all that is left."""
WORKLOADS = (
    ("mlp_adam", 128),
    ("resnet20", 128),
    ("d1", 100),
    ("c1", 100),
    ("lstm", 64),
    ("resnet20", 512),
    ("mlp_adam", 512),
    ("mlp_sgd", 128),
    ("vgg128", 128),
    ("gru", 64),
    ("rnn", 64),
)
"""The most important first: the time may be over before the last."""
SERIES = {"mlp_adam": (2, 8, 32, 2048), "d1": (10, 1000, 10_000), "c1": (1, 4, 16, 1000), "lstm": (1, 8, 256),
          "resnet20": (1, 4, 16)}  # fmt: skip
"""More batches of workloads, beside those above."""
PRODUCTS = (16, 32, 64, 128, 256, 512, 1024, 2048)


@dataclass(frozen=True)
class Settings:
    """What is measured; the tests have smaller ones."""

    minutes: float = 10.0
    parts: Sequence[str] = tuple(SHARES)
    contenders: Sequence[str] = ("cpu", "gpu", "jit", "eager", "graph")
    workloads: Sequence[tuple[str, int]] = WORKLOADS
    series: dict[str, Sequence[int]] = field(default_factory=lambda: SERIES)
    products: Sequence[int] = PRODUCTS
    plan: Plan = Plan(())
    tests: Sequence[Sequence[str]] = field(default_factory=agreement.selection)
    rows: Sequence[str] = field(default_factory=agreement.rows)
    examples: Sequence[str] = tuple(accuracy.EXAMPLE)
    learned: int | None = None
    """Training images of an example; None for its own number."""
    kernels: Sequence[str] = field(default_factory=lambda: tuple(kernels.table()))
    scale: float = 1.0
    """Of the kernels' sizes."""
    seconds: float = 0.02
    """Of a turn of a kernel or a product."""
    anywhere: bool = False
    """Let PyTorch run on the processor where it finds no card: for tests of this script."""


def arguments(argv: list[str] | None) -> argparse.Namespace:
    lines = (__doc__ or "").split("\n")
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=lines[0],
        epilog="\n".join(lines[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="for everything (default 10)")
    parser.add_argument("--parts", default=",".join(SHARES), help="only these, such as training,kernels")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this workload (may be repeated)")
    parser.add_argument("--rounds", type=positive, default=Plan.rounds, help=f"default {Plan.rounds}")
    parser.add_argument("--compile", action="store_true", help="add torch.compile, which takes a minute per workload")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: results/<date>-gpu-<card>.json")
    args = parser.parse_args(argv)
    args.parts = args.parts.split(",")
    if unknown := set(args.parts) - set(SHARES):
        parser.error(f"unknown parts {sorted(unknown)}; known are {', '.join(SHARES)}")
    known = {name for name, _ in WORKLOADS}
    if unknown := set(args.only or ()) - known:
        parser.error(f"unknown workloads {sorted(unknown)}; known are {', '.join(sorted(known))}")
    return args


def settings_of(args: argparse.Namespace) -> Settings:
    wanted = args.only or [name for name, _ in WORKLOADS]
    contenders = [*Settings.contenders, *(["compile"] if args.compile else [])]
    absent = card.absent()  # said where the run begins
    if "torch" in absent:
        contenders = [c for c in contenders if c in OURS]
    if "numba" in absent:
        contenders.remove("cpu")
    return Settings(
        minutes=args.minutes,
        parts=args.parts,
        contenders=contenders,
        workloads=[pair for pair in WORKLOADS if pair[0] in wanted],
        series={name: sizes for name, sizes in SERIES.items() if name in wanted},
        plan=Plan((), rounds=args.rounds),
        tests=() if {"pytest", "hypothesis"} & set(absent) else agreement.selection(),
        examples=() if "cpu" not in contenders else tuple(accuracy.EXAMPLE),
    )


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    try:
        from tinynn.backends import get

        get("gpu")
    except ImportError as error:
        print(error, file=sys.stderr)
        return 2
    return run(settings_of(args), args.output)


class Record:
    """The JSON, written after every change, and what failed so far."""

    def __init__(self, output: Path | None):
        now = datetime.now(UTC)
        self.output, self.date, self.failed = output, f"{now:%Y-%m-%d}", []
        self.lock = threading.Lock()
        self.result: Row = {
            "date": now.isoformat(timespec="seconds"),
            "machine": machine.describe(),
            "versions": machine.versions(),
            "skipped": [],
            "failed": self.failed,
        }

    failed: list[str]

    def put(self, **entries: Any) -> None:
        with self.lock:
            self.result |= entries
            if self.output is None:
                self.output = RESULTS / f"{self.date}-gpu-{card.slug(self.result['card']['name'])}.json"
            self.output.parent.mkdir(parents=True, exist_ok=True)
            whole = self.output.with_suffix(".part")
            whole.write_text(json.dumps(self.result, indent=1) + "\n")
            whole.replace(self.output)

    def fail(self, *what: str) -> None:
        for text in what:
            print(f"  FAILED: {text}", flush=True)
        self.failed += what


def run(settings: Settings, output: Path | None = None) -> int:
    """All parts; whatever happens in one, the next begins."""
    record, clock = Record(output), Clock(60 * settings.minutes - RESERVE)
    with Crew(clock, machine.cores()) as crew:
        contenders = introduce(crew, record, settings)
        if not contenders:
            return 2
        if "cpu" in settings.contenders and "cpu" not in contenders:
            settings = replace(settings, examples=())
        settings = replace(settings, contenders=contenders)
        parts = [part for part in PARTS if part in settings.parts]
        for part in parts:
            clock.begin(1.0)
            if clock.over:
                print(f"\n{part}: skipped, the time is over", flush=True)
                record.result["skipped"].append(part)
                continue
            clock.begin(1.0 if part == parts[-1] else SHARES[part])
            print(f"\n{part}", flush=True)
            try:
                PARTS[part](crew, record, settings)
            except KeyboardInterrupt:
                record.fail(f"{part}: interrupted")
                break
            except Exception as error:
                record.fail(f"{part}: {last_line(error)}")
                record.result.setdefault("errors_of_parts", {})[part] = traceback.format_exc()
            record.put()
    return finish(record)


def introduce(crew: Crew, record: Record, settings: Settings) -> Sequence[str]:
    """(a) The card and the versions; the contenders that can be measured, none where there is nothing to measure on."""
    contenders = settings.contenders
    absent = card.absent()
    if absent:
        print(f"not installed here: {'; '.join(f'{name} ({what})' for name, what in absent.items())}", flush=True)
    record.result["not_installed"] = absent
    crew.clock.begin(INTRODUCTION)
    try:
        found = crew.ask("gpu", do="describe")
    except Failed as failure:
        print(failure, file=sys.stderr)
        return ()
    theirs: Row = {}
    if "eager" in settings.contenders:
        try:
            theirs = crew.ask("eager", do="describe")
            if theirs["device"] != "cuda" and not settings.anywhere:
                raise Failed("it finds no card: install its CUDA wheel; without it only tinynn is measured")
        except Failed as failure:
            record.fail(f"PyTorch: {last_line(failure)}")
            contenders = [c for c in contenders if c in OURS]
    if "cpu" in contenders:
        try:
            crew.ask("cpu", do="describe")
        except Failed as failure:
            record.fail(f"our cpu backend: {last_line(failure)}")
            contenders = [c for c in contenders if c != "cpu"]
    processor = record.result["machine"]
    print(f"{processor['processor']}, {processor['cores']} cores")
    for name, value in (found | theirs).items():
        print(f"  {name:<22} {value}")
    sys.stdout.flush()
    plan = settings.plan
    numbers = {"minutes": settings.minutes, "rounds": plan.rounds, "seconds": plan.seconds, "checked": plan.checked}
    record.put(card=found, torch=theirs, settings=numbers)
    return contenders


def agree(crew: Crew, record: Record, settings: Settings) -> None:
    """(b) The errors first and alone, since they tell most; then the tests, for as long as the part may take.

    Beside the tests, which are not timed either, all is compiled that the other parts will need.
    """
    against_reference(crew, record, settings)
    helpers = [Ahead(crew, contender, tasks) for contender, tasks in ahead(settings).items() if settings.tests]
    try:
        if settings.tests:
            run_tests(crew, record, settings)
    finally:
        for helper in helpers:
            helper.stop()


def ahead(settings: Settings) -> dict[str, list[list[Row]]]:
    """By contender, what is done ahead: a step of each workload, and each kernel once."""
    found: dict[str, list[list[Row]]] = {}
    for contender in ("cpu", "gpu"):
        steps = [[{"do": "prepare", "case": name, "batch": batch}, {"do": "run", "steps": 1}]
                 for name, batch in settings.workloads]  # fmt: skip
        found[contender] = steps if contender in settings.contenders and "training" in settings.parts else []
    if "kernels" in settings.parts:
        small = {"scale": settings.scale, "seconds": 0.0}
        found["gpu"] += [[{"do": "kernel", "name": name, **small}] for name in settings.kernels]
    return {contender: tasks for contender, tasks in found.items() if tasks}


def against_reference(crew: Crew, record: Record, settings: Settings) -> None:
    errors = agreement.all_errors(crew, settings.rows, lambda errors: record.put(errors=errors))
    record.put(errors=errors)
    record.fail(*(f"errors of {row['row']}: {row['error']}" for row in errors if "error" in row))
    record.fail(*(f"errors of {row['row']}: {entry}" for row in errors for entry in row.get("broken", ())))
    record.fail(*(f"beyond its limit: {entry}" for row in errors for entry in row.get("beyond", ())))
    left_out = [f"errors of {row['row']}" for row in errors if "skipped" in row]
    record.result["skipped"] += left_out
    good = sum(not (row.get("beyond") or row.get("broken") or "error" in row or "skipped" in row) for row in errors)
    print(f"  {good} of {len(errors)} rows agree with the reference on this card", flush=True)


def run_tests(crew: Crew, record: Record, settings: Settings) -> None:
    tests = agreement.all_tests(settings.tests, lambda: crew.clock.left, lambda tests: record.put(tests=tests))
    record.put(tests=tests)
    state = ", interrupted: the time is over" if tests["interrupted"] else ""
    print(
        f"  tests: {tests['passed']} passed, {tests['failures']} failed, {tests['skipped']} skipped{state}", flush=True
    )
    record.fail(*(f"{entry['test']}: {' '.join(entry['message'].split())[:120]}" for entry in tests["failed"]))
    if (more := tests["failures"] - len(tests["failed"])) > 0:
        record.fail(f"{more} more tests")
    if "error" in tests:
        record.fail(f"pytest: {tests['error']}")


def train(crew: Crew, record: Record, settings: Settings) -> None:
    """(d) Every workload with every contender."""
    measure_rows(crew, record, settings, "training", settings.workloads, settings.contenders)
    record.put(targets=training.verdicts(record.result["training"]))


def measure_rows(
    crew: Crew,
    record: Record,
    settings: Settings,
    key: str,
    workloads: Sequence[tuple[str, int]],
    contenders: Sequence[str],
    **changes: Any,
) -> None:
    rows: list[Row] = record.result.setdefault(key, [])
    plan = Plan(**{**vars(settings.plan), "contenders": contenders, **changes})
    for name, batch in workloads:
        if crew.clock.over:
            print(f"  {name} batch {batch}: skipped, the time is over", flush=True)
            record.result["skipped"].append(f"{key} {name} {batch}")
            continue
        row = training.measure(crew, name, batch, plan)
        rows.append(row)
        record.put()
        print(training.line(row), flush=True)
        record.fail(*(f"{key} {name} {batch}, {c}: {text}" for c, text in row["failures"].items()))
        if not row["losses"]["agree"]:
            record.fail(f"{key} {name} {batch}: losses differ by {row['losses']['difference']:.1e}")


def learn(crew: Crew, record: Record, settings: Settings) -> None:
    """(c) The examples."""
    found = accuracy.compare(crew, settings.examples, settings.learned, lambda rows: record.put(accuracy=rows))
    record.put(accuracy=found)
    record.fail(*(f"{row['name']}: {row['error']}" for row in found if "error" in row))
    record.fail(*(f"{row['name']}: accuracy below the cpu's" for row in found if not row.get("agrees", True)))


def cross(crew: Crew, record: Record, settings: Settings) -> None:
    """(e) Products, then workloads over more batches."""
    if "cpu" in settings.contenders:
        products = crossover.products(crew, settings.products, settings.seconds, lambda rows: record.put(products=rows))
        record.put(products=products)
        record.fail(*(f"products, {c}: {text}" for c, text in products["failures"].items()))
    pairs = [(name, batch) for name, batches in settings.series.items() for batch in batches]
    contenders = [c for c in settings.contenders if c not in ("graph", "compile")]  # there would not be time
    few = min(settings.plan.rounds, 2)
    changes = {"rounds": few, "seconds": settings.plan.seconds / 2, "checked": min(settings.plan.checked, 4)}
    measure_rows(crew, record, settings, "series", pairs, contenders, **changes)
    record.put(crossover=crossover.of_rows(report.merged(record.result)))


def micro(crew: Crew, record: Record, settings: Settings) -> None:
    """(f) Single kernels."""
    tell = lambda rows: record.put(kernels=rows)  # noqa: E731
    found = kernels.all_kernels(crew, settings.kernels, settings.scale, settings.seconds, tell)
    record.put(kernels=found)
    record.fail(*(f"{row['name']}: {row['error']}" for row in found if "error" in row))


PARTS: dict[str, Callable[[Crew, Record, Settings], None]] = {
    "agreement": agree,
    "training": train,
    "kernels": micro,
    "accuracy": learn,
    "crossover": cross,
}


def finish(record: Record) -> int:
    """The table, the picture, and what failed; neither of the first two may hide the last."""
    try:
        print(f"\n{report.table(record.result)}")
    except Exception as error:
        record.fail(f"the table: {last_line(error)}")
        record.result.setdefault("errors_of_parts", {})["table"] = traceback.format_exc()
    record.put()
    assert record.output is not None
    try:
        drawn = record.output.with_suffix(".png")
        report.picture(record.result, drawn)
        print(f"\ndrawn in {drawn}")
    except Exception as error:  # python -m benchmarks.compare draws it again
        print(f"\nno picture: {error}")
    if record.result["skipped"]:
        print(f"skipped, the time was over: {', '.join(record.result['skipped'])}")
    print(f"written to {record.output}")
    print("\n".join([f"{len(record.failed)} FAILED:", *record.failed]) if record.failed else "nothing failed")
    return 1 if record.failed else 0


if __name__ == "__main__":
    sys.exit(main())
