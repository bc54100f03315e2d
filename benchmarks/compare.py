"""python -m benchmarks.compare FILE: one table, CPU against GPU per workload and batch, of a JSON of benchmarks.gpu.

Without a file it is the newest in benchmarks/results. The picture is written beside it, with the ending .png.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks.__main__ import RESULTS
from benchmarks.gpu import report


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", nargs="?", type=Path, help="default: the newest *-gpu-*.json in benchmarks/results")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="default: the JSON's name with .png")
    args = parser.parse_args(argv)
    file = args.file or max(RESULTS.glob("*-gpu-*.json"), default=None)
    if file is None or not file.is_file():
        print(f"there is no {file or 'result of a card yet'}; `python -m benchmarks.gpu` writes one", file=sys.stderr)
        return 2
    result = json.loads(file.read_text())
    print(report.table(result))
    picture = args.picture or file.with_suffix(".png")
    try:
        report.picture(result, picture)
    except (ImportError, ValueError) as error:
        print(f"\nno picture: {error}", file=sys.stderr)
        return 1
    print(f"\ndrawn in {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
