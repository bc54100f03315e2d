"""python -m benchmarks.startup: how long the first use takes, with no compiled kernels on disk, and the second.

Every process imports tinynn, builds a model, and takes one step on one batch. The first finds an empty folder for
compiled kernels; the others find there what it left. Seconds:

imports   of tinynn and its cpu backend (Python itself has started)
build     the model and its optimizer, until ``fit`` is called
step      ``fit`` with one batch
total     the three together; reading the data does not count
compile   of these, what Numba took to compile new kernels
read      of these, what it took to read kernels from disk
cpu       CPU seconds of the process so far, reading the data included: where it is far below the total, others were
          using the machine

Behind it stands what the first process compiled, the longest first: kernels with all that is compiled for them, then
single functions without those that are compiled for them, which have lines of their own.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import harness, machine
from benchmarks.__main__ import RESULTS, positive
from benchmarks.cases import CASES

COLUMNS = ("imports", "build", "step", "total", "compile", "read", "cpu")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="c1", choices=list(CASES), help="the workload (default c1)")
    parser.add_argument("--threads", type=positive, default=machine.cores(), help="default: all cores")
    parser.add_argument("--processes", type=positive, default=4, help="the first and its followers (default 4)")
    parser.add_argument("--lines", type=positive, default=30, help="of each list of what was compiled (default 30)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON (default: a new file in results/)")
    args = parser.parse_args(argv)
    try:
        return run(args)
    except harness.Failed as failure:
        print(failure, file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    print(f"{machine.processor()}, {args.threads} threads; {args.only}, seconds\n")
    print(f"{'process':<9}" + "".join(f"{name:>9}" for name in COLUMNS))
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NUMBA_CACHE_DIR"] = folder
        for k in range(args.processes):
            rows.append(first_step(args.only, args.threads))
            print(f"{k + 1:<9}" + "".join(f"{rows[-1][name]:9.2f}" for name in COLUMNS), flush=True)
    for title, key in (("kernels", "entries"), ("functions", "functions")):
        show(f"{title} that the first compiled", rows[0][key], args.lines)
    output = args.output or RESULTS / f"startup-{now:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    result = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "name": args.only,
        "threads": args.threads,
        "processes": rows,
    }
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {output}")
    return 0


def show(title: str, spent: dict[str, float], lines: int) -> None:
    """The largest numbers, and what is in the rest."""
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    rest = ordered[lines:]
    print(f"\n{title}")
    for name, seconds in ordered[:lines] + ([(f"in {len(rest)} more", sum(s for _, s in rest))] if rest else []):
        print(f"{seconds:8.2f}  {name}")


def first_step(name: str, threads: int) -> dict[str, Any]:
    """The seconds of one process."""
    worker = harness.Worker(f"first step of {name}", threads, "benchmarks.firststep", name)
    try:
        return worker.ask()
    finally:
        worker.close()


if __name__ == "__main__":
    sys.exit(main())
