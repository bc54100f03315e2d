"""``python -m tinynn``: what can be done with the library from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import tinynn
from tinynn import doctor


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(
        prog="python -m tinynn", description="Neural networks from scratch, readable and fast."
    )
    whole.add_argument("--version", action="version", version=f"tinynn {tinynn.__version__}")
    commands = whole.add_subparsers(dest="command", title="commands", metavar="COMMAND")
    checks = commands.add_parser(
        "doctor",
        help="what this machine has, whether the backends work here, and what to do where they do not",
        description="Prints versions, threads, the graphics cards with their driver and wheels, caches and settings; "
        "trains a tiny model on each backend that is there; says what to do for each problem. "
        "Exit code: 0 when the backend works, else 1.",
    )
    checks.add_argument(
        "--backend", choices=("cpu", "gpu"), default="cpu", help="the one that must work for exit code 0 (default cpu)"
    )
    checks.add_argument("--json", action="store_true", help="print the same as JSON")
    return whole


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = parser().parse_args(argv)
    if arguments.command == "doctor":
        return doctor.main(arguments.backend, as_json=arguments.json)
    parser().print_help()
    return 0


if __name__ == "__main__":
    sys.exit(main())
