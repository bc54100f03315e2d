"""The kernels of the card against the reference: the tests, and the largest error of every row of the table."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from benchmarks.gpu.crew import Crew, last_line
from benchmarks.harness import ROOT, Failed

Row = dict[str, Any]
EXACT, FAST = 2e-5, 2e-3
"""How far float32 may be off, as a fraction of the array's largest value: exact, and with products in TF32."""
FLOOR = 1e-2
"""An array that is far smaller than its neighbours is measured by this fraction of their largest value."""
KEPT = 50
"""Failures that are told one by one: after an error that a card does not recover from, everything fails."""
SUMMING_UP = 20.0
"""Seconds in which pytest, once interrupted, tells what it has seen."""


# -- the tests ---------------------------------------------------------------------------------------------------------


def selection() -> list[str]:
    """pytest's arguments for all tests that run kernels of the card."""
    folder = ROOT / "tests"
    files = [folder / "test_table.py", *sorted(folder.glob("test_gpu_*.py")), folder / "test_jit.py"]
    files = [file for file in files if file.exists() and file.name != "test_gpu_benchmarks.py"]
    return [*map(str, files), "-k", "gpu or jit"]


def tested(arguments: Sequence[str], limit: float) -> Row:
    """Run pytest, interrupt it when the time is over, and read its report: counts, and what failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={file}", *arguments]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        output = Path(folder) / "output"
        with output.open("w") as stream:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=subprocess.STDOUT)
            interrupted = not ended(process, limit)
            if interrupted:
                process.send_signal(signal.SIGINT)
                if not ended(process, SUMMING_UP):
                    process.kill()
                    process.wait()
        result: Row = {"interrupted": interrupted, "exit_code": process.returncode, "arguments": list(arguments)}
        if file.exists():
            return result | read(file)
        return result | {
            "passed": 0,
            "failures": 0,
            "failed": [],
            "error": last_line(output.read_text()) or "pytest said nothing",
        }


def ended(process: subprocess.Popen[bytes], limit: float) -> bool:
    """Whether it ends within so many seconds."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=max(limit, 0))
    return process.returncode is not None


def read(file: Path) -> Row:
    """pytest's XML: how many passed and were skipped, and each failure with the end of its message."""
    passed, skipped, seconds = 0, 0, 0.0
    failed: list[Row] = []
    for case in ElementTree.parse(file).iter("testcase"):
        seconds += float(case.get("time", 0))
        bad = [child for child in case if child.tag in ("failure", "error")]
        if bad:
            message = (bad[0].get("message") or bad[0].text or "").strip()
            failed.append({"test": f"{case.get('classname')}::{case.get('name')}", "message": message[:400]})
        elif any(child.tag == "skipped" for child in case):
            skipped += 1
        else:
            passed += 1
    return {
        "passed": passed,
        "skipped": skipped,
        "failures": len(failed),
        "failed": failed[:KEPT],
        "seconds": round(seconds, 1),
    }


# -- the errors --------------------------------------------------------------------------------------------------------


def rows() -> list[str]:
    """The modules of ``tests/cases``."""
    import tests.cases

    return [module.name for module in pkgutil.iter_modules(tests.cases.__path__)]


def errors(row: str) -> Row:
    """The largest error of a row's cases in float32, forward and backward, against the reference in float64.

    As a fraction of the largest value of each array: exact, and as ``compile(fast_math=True)`` computes it.
    """
    from tinynn.backends import get

    card, reference = get("gpu"), get("reference")
    found: Row = {"row": row, "cases": 0, "exact": 0.0, "fast": 0.0, "exact_case": "", "fast_case": "", "beyond": []}
    for case in importlib.import_module(f"tests.cases.{row}").CASES:
        want = passed(case, reference, "float64", fast=False)
        found["cases"] += 1
        for kind, limit in (("exact", EXACT), ("fast", FAST)):
            error = largest_error(passed(case, card, "float32", fast=kind == "fast"), want)
            if error > found[kind]:
                found[kind], found[f"{kind}_case"] = error, case.name
            if not error <= max(limit, case.tolerance("float32")):
                found["beyond"].append(f"{case.name} ({kind}): {error:.1e}")
    return found


def passed(case: Any, backend: Any, dtype: str, fast: bool) -> list[np.ndarray | None]:
    """The output of a case and its gradients, on the host."""
    from tinynn.graph import Graph

    arrays, wanted = case.draw(dtype), case.wanted()
    graph = Graph(backend=backend, dtype=dtype, training=case.training, fast_math=fast)
    tensors = [
        graph.tensor(x, requires_grad=want, dtype=dtype if x.dtype.kind == "f" else str(x.dtype))
        for x, want in zip(arrays, wanted, strict=True)
    ]
    function = case.function(backend)
    output = graph.apply(function, *tensors)
    y = backend.to_numpy(output.data).copy()
    dy = np.asarray(np.random.default_rng(1).standard_normal(y.shape)).astype(np.float32).astype(dtype)
    returned = function.backward(graph, backend.asarray(dy, dtype))
    returned = returned if isinstance(returned, (tuple, list)) else (returned,)
    gradients = [
        backend.to_numpy(g).copy() if g is not None and want else None for g, want in zip(returned, wanted, strict=True)
    ]
    graph.reset()
    return [y, *gradients]


def largest_error(got: Sequence[np.ndarray | None], want: Sequence[np.ndarray | None]) -> float:
    """Relative to each array's largest finite value; infinite where NaN stand elsewhere or a gradient is missing."""
    floor = FLOOR * max((largest(a) for a in want if a is not None), default=0.0)
    worst = 0.0
    for a, b in zip(got, want, strict=True):
        if a is None or b is None:
            worst = max(worst, 0.0 if a is b else np.inf)
        elif a.shape != b.shape or (np.isfinite(a) != np.isfinite(b)).any():
            worst = np.inf
        else:
            with np.errstate(invalid="ignore"):  # inf - inf
                error = largest(a.astype(np.float64) - b)
            worst = max(worst, error / max(largest(b), floor, np.finfo(np.float64).tiny))
    return float(worst)


def largest(array: np.ndarray) -> float:
    finite = np.abs(np.asarray(array, np.float64)[np.isfinite(array)])
    return float(finite.max(initial=0.0))


def all_errors(crew: Crew, names: Sequence[str]) -> list[Row]:
    """Every row, as far as the time goes."""
    found: list[Row] = []
    for name in names:
        if crew.clock.over:
            found.append({"row": name, "skipped": "the time is over"})
            continue
        try:
            found.append(crew.ask("gpu", do="errors", row=name))
        except Failed as failure:
            found.append({"row": name, "error": last_line(failure)})
        print(line(found[-1]), flush=True)
    return found


def line(row: Row) -> str:
    if "error" in row:
        return f"  {row['row']:<14} failed: {row['error']}"
    text = f"  {row['row']:<14} {row['cases']:4} cases   float32 {row['exact']:.1e}   fast {row['fast']:.1e}"
    return "\n".join([text, *(f"    BEYOND  {entry}" for entry in row["beyond"])])
