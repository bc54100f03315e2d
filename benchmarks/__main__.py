"""python -m benchmarks: whole training steps through ``fit`` against PyTorch on the CPU."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import harness, machine, report
from benchmarks.cases import CASES, find

RESULTS = Path(__file__).parent / "results"


def positive(text: str) -> int:
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text}")
    return n


def thread_counts(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def arguments(argv: list[str] | None) -> argparse.Namespace:
    everything = sorted({1, machine.cores()})
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Times whole training steps through fit against PyTorch, interleaved, and compares the losses. "
        "Exit code: 0, 1 when losses differ, 2 when nothing could be measured.",
    )
    parser.add_argument("--list", action="store_true", help="print the workloads and stop")
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this workload (may be repeated; module:attribute for your own)"
    )
    parser.add_argument(
        "--threads",
        type=thread_counts,
        default=everything,
        help=f"numbers of threads, such as 1,2 (default {','.join(map(str, everything))})",
    )
    parser.add_argument("--rounds", type=positive, default=9, help="samples of each contender (default 9)")
    parser.add_argument("--seconds", type=float, default=0.4, help="least length of a sample (default 0.4)")
    parser.add_argument("--retries", type=int, default=3, help="how often a disturbed sample is repeated (default 3)")
    parser.add_argument("--compile", action="store_true", help="add torch.compile to the variants of PyTorch")
    parser.add_argument("--output", type=Path, metavar="FILE", help="the JSON (default: a new file in results/)")
    return parser.parse_args(argv)


NO_TORCH = """the benchmarks compare with PyTorch, which is not installed; install it with
  python -m pip install -c tests/constraints.txt "tinynn-np[oracle]"
or, in a clone,
  python -m pip install -c tests/constraints.txt -e ".[oracle]"
"""


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.list:
        width = max(map(len, CASES))
        print("\n".join(f"{name:<{width}}  {case.title}" for name, case in CASES.items()))
        return 0
    names = args.only or list(CASES)
    try:
        for name in names:
            find(name)
    except (ValueError, ImportError, AttributeError) as error:
        print(error, file=sys.stderr)
        return 2
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, end="", file=sys.stderr)
        return 2
    try:
        return run(args, names)
    except harness.Failed as failure:
        print(failure, file=sys.stderr)
        return 2


def run(args: argparse.Namespace, names: list[str]) -> int:
    """Measure every case with every number of threads; the JSON is written after each: Ctrl-C loses nothing."""
    now = datetime.now(UTC)
    rows: list[report.Row] = []
    result: report.Row = {
        "date": now.isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "versions": machine.versions(),
        "settings": {"rounds": args.rounds, "seconds": args.seconds, "compile": args.compile},
        "rows": rows,
    }
    output = args.output or RESULTS / f"training-{now:%Y%m%d-%H%M%S}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    options = {"rounds": args.rounds, "seconds": args.seconds, "compiled": args.compile, "retries": args.retries}
    print(report.heading(result), end="\n\n", flush=True)
    for threads in args.threads:
        for name in names:
            rows.append(report.row(harness.measure(name, threads, **options)))
            print(report.details(rows[-1]), flush=True)
            output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\n{report.table(rows)}\n\nwritten to {output}")
    return 0 if all(row["losses"]["agree"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
