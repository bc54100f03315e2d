"""python -m benchmarks.memory: the memory of training steps, tinynn's and PyTorch's, each in a process of its own.

All numbers are resident memory of the whole process in MiB, as Linux counts it (VmRSS, and VmHWM for its peak):

imports   after the library and the data are there
ready     after two steps on a few rows: model, gradients, optimizer slots and the code of the kernels are there
peak      the highest during ten epochs of 20 steps on full batches
step      peak - ready: what a step on a full batch needs, activations and scratch memory above all
growth    the resident memory after the tenth epoch minus that after the second
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import harness, machine
from benchmarks.__main__ import NO_TORCH, RESULTS, positive
from benchmarks.cases import find
from benchmarks.worker import Answer, Ours, Theirs, converse

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
CONTENDERS = (harness.OURS, "eager", "channels_last")
FEW = 2
"""Rows of the steps that make everything ready."""


def mebibytes(field: str) -> float:
    """VmRSS (now) or VmHWM (its peak) of this process."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(field)


def forget_peak() -> None:
    """Let VmHWM begin anew at what is resident now."""
    CLEAR.write_text("5")


def measured(name: str, contender: str, weights: str, epochs: int, steps: int) -> dict[str, Any]:
    """The numbers of one contender, in this process."""
    case = find(name)
    batch = case.batch_size
    case.data()  # and keeps it
    importlib.import_module("tinynn.backends.cpu" if contender == harness.OURS else "torch")
    imports = mebibytes("VmRSS")
    side = Ours(case, weights) if contender == harness.OURS else Theirs(case, contender, weights)
    side.case = replace(case, batch_size=FEW)
    side.train(2 * FEW, 1)
    side.case = case
    ready = mebibytes("VmRSS")
    forget_peak()
    after = []
    for _ in range(epochs):
        side.train(batch * steps, 1)
        after.append(mebibytes("VmRSS"))
    peak = mebibytes("VmHWM")
    return {
        "threads": side.threads,
        "imports": imports,
        "ready": ready,
        "peak": peak,
        "step": peak - ready,
        "growth": after[-1] - after[min(1, epochs - 1)],
        "after_epochs": after,
    }


def serve(name: str, contender: str, weights: str, epochs: str, steps: str, answer: Answer) -> None:
    """One answer, to one line."""
    sys.stdin.readline()
    answer(measured(name, contender, weights, int(epochs), int(steps)))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.split("\n")[0])
    parser.add_argument("--only", action="append", metavar="NAME", help="workload (default vgg128 and resnet20)")
    parser.add_argument("--threads", type=positive, default=machine.cores(), help="default: all cores")
    parser.add_argument("--epochs", type=positive, default=10, help="default 10")
    parser.add_argument("--steps", type=positive, default=20, help="of an epoch (default 20)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON (default: a new file in results/)")
    args = parser.parse_args(argv)
    if not STATUS.exists():
        print("benchmarks.memory reads /proc/self/status, which this system does not have", file=sys.stderr)
        return 2
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, end="", file=sys.stderr)
        return 2
    try:
        return run(args)
    except (harness.Failed, ValueError) as failure:
        print(failure, file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = []
    result = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "settings": {"epochs": args.epochs, "steps": args.steps},
        "rows": rows,
    }
    print(f"{machine.processor()}, {args.threads} threads; MiB\n")
    columns = ("imports", "ready", "peak", "step", "growth")
    print(f"{'workload':<10} {'contender':<14}" + "".join(f"{name:>10}" for name in columns))
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only or ["vgg128", "resnet20"]:
            find(name)
            file = str(Path(folder) / "weights.npz")
            ask(name, harness.OURS, file, args.threads, 1, 1)  # compiles the kernels, in a process that is not measured
            for contender in CONTENDERS:
                row = {"name": name, "contender": contender} | ask(
                    name, contender, file, args.threads, args.epochs, args.steps
                )
                rows.append(row)
                print(f"{name:<10} {contender:<14}" + "".join(f"{row[key]:10.1f}" for key in columns), flush=True)
    output = args.output or RESULTS / f"memory-{now:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {output}")
    return 0


def ask(name: str, contender: str, weights: str, threads: int, epochs: int, steps: int) -> dict[str, Any]:
    """The numbers of one contender, from a process of its own."""
    arguments = [name, contender, weights, str(epochs), str(steps)]
    worker = harness.Worker(f"memory of {name}, {contender}", threads, "benchmarks.memory", "--process", *arguments)
    try:
        return worker.ask(do="measure")
    finally:
        worker.close()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--process"]:
        converse(partial(serve, *sys.argv[2:]))
    else:
        sys.exit(main())
