"""The kernels of the card against the reference: the tests, and the largest error of every row of the table."""

from __future__ import annotations

import contextlib
import importlib
import os
import pkgutil
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from benchmarks import machine
from benchmarks.gpu.crew import Crew, last_line
from benchmarks.harness import ROOT, Failed

Row = dict[str, Any]
EXACT, FAST = 2e-5, 2e-3
"""How far float32 may be off, as a fraction of the array's largest value: exact, and with products in TF32."""
FLOOR = 1e-2
"""An array that is far smaller than its neighbours is measured by this fraction of their largest value."""
KEPT = 50
"""Failures that are told one by one: after an error that a card does not recover from, everything fails."""
SUMMING_UP = 10.0
"""Seconds in which pytest, once interrupted, tells what it has seen."""
AT_ONCE = 6
"""Processes that share the card here, where nothing is timed: most of the time goes into NVRTC, one core for each."""
TABLE = ("float32 and conv", "float64 and conv", "float32")
"""Parts of the table of tests, as -k takes them, each without those before it; what is left is the last part. The
dtypes are compiled apart, and convolutions take longest."""
LONGEST = ("conv2d", "convblock", "layers", "lstm", "gru", "rnn", "attention", "ops")
"""Rows whose kernels take longest to compile; they begin."""
BROKEN = 3
"""Cases of a row that may end with an error before the others are left out."""


# -- the tests ---------------------------------------------------------------------------------------------------------


def selection() -> list[list[str]]:
    """pytest's arguments for all tests that run kernels of the card, for one process after the other."""
    folder = ROOT / "tests"
    files = [file for file in sorted(folder.glob("test_gpu_*.py")) if file.name != "test_gpu_benchmarks.py"]
    table = str(folder / "test_table.py")
    found = [[table, "-k", f"gpu and ({share}){without(TABLE[:k])}"] for k, share in enumerate(TABLE)]
    return [*found, [table, "-k", f"gpu{without(TABLE)}"], *([str(file)] for file in files)]


def without(shares: Sequence[str]) -> str:
    return "".join(f" and not ({share})" for share in shares)


def all_tests(jobs: Sequence[Sequence[str]], limit: Callable[[], float], tell: Callable[[Row], None]) -> Row:
    """Several processes of pytest at once, each of which may lose the card without harm to the others.

    limit: the seconds that are left; tell: takes what is known, after each process
    """
    done: list[Row] = []

    def one(job: Sequence[str]) -> None:
        if limit() <= 0:
            done.append({"arguments": list(job), "interrupted": True, "passed": 0, "failures": 0, "failed": []})
        else:
            done.append(tested(job, limit()))
        tell(summed(done))

    at_once(one, jobs)
    return summed(done)


def summed(parts: Sequence[Row]) -> Row:
    """Of all processes of pytest."""
    counts = {key: sum(part.get(key, 0) for part in parts) for key in ("passed", "skipped", "failures", "seconds")}
    failed = [entry for part in parts for entry in part["failed"]]
    errors = [f"{Path(part['arguments'][0]).name}: {part['error']}" for part in parts if "error" in part]
    found = {**counts, "failed": failed[:KEPT], "interrupted": any(part["interrupted"] for part in parts)}
    return found | ({"error": "; ".join(errors)} if errors else {})


def at_once(work: Callable[[Any], None], tasks: Sequence[Any]) -> None:
    """Work on all tasks, in the given order, several at once; they must not raise. Ctrl-C ends the waiting."""
    waiting: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def serve() -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                work(waiting.get_nowait())

    count = max(1, min(AT_ONCE, machine.cores(), len(tasks)))
    threads = [threading.Thread(target=serve, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tested(arguments: Sequence[str], limit: float) -> Row:
    """Run pytest, interrupt it when the time is over, and read its report: counts, and what failed."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.xml"
        options = ["-v", "-p", "no:cacheprovider", f"--maxfail={KEPT}", f"--junitxml={file}"]
        command = [sys.executable, "-m", "pytest", *options, *arguments]
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
        return result | told(output.read_text(errors="replace"))


def told(output: str) -> Row:
    """What pytest said before it died (a crash, a card that hangs) and could write no report: its lines, by -v."""
    words = re.findall(r"^(\S+::.*?)(?: (PASSED|FAILED|ERROR|SKIPPED)\b.*)?$", output, re.MULTILINE)
    failed = [{"test": test, "message": "no report"} for test, word in words if word in ("FAILED", "ERROR")]
    ran = [word for _, word in words]
    last = f" in {words[-1][0]}" if words and not words[-1][1] else ""
    return {
        "passed": ran.count("PASSED"),
        "skipped": ran.count("SKIPPED"),
        "failures": len(failed),
        "failed": failed[:KEPT],
        "error": f"it died{last}: {last_line(output) or 'it said nothing'}",
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


def errors(row: str, first: int = 0) -> Row:
    """The largest error of a row's cases in float32, forward and backward, against the reference in float64.

    As a fraction of the largest value of each array: exact, and as ``compile(fast_math=True)`` computes it. A case
    that ends with an error is told in "broken"; where the card cannot be used after it, "next" is the case to go on
    with in another process, counted as ``first`` is.
    """
    from tinynn.backends import get

    card, reference = get("gpu"), get("reference")
    found: Row = {"row": row, "cases": 0, "exact": 0.0, "fast": 0.0, "exact_case": "", "fast_case": "", "beyond": [],
                  "broken": [], "next": None}  # fmt: skip
    cases = importlib.import_module(f"tests.cases.{row}").CASES
    for k, case in enumerate(cases[first:], first):
        found["cases"] += 1
        try:
            judge(found, case, card, reference)
        except Exception as error:
            found["broken"].append(f"{case.name}: {type(error).__name__}: {last_line(error)}")
            if not alive(card):
                found["next"] = k + 1
                break
        if len(found["broken"]) == BROKEN and k + 1 < len(cases):
            found["broken"].append(f"and {len(cases) - k - 1} cases were left out")
            break
    return found


def judge(found: Row, case: Any, card: Any, reference: Any) -> None:
    want = passed(case, reference, "float64", fast=False)
    for kind, limit in (("exact", EXACT), ("fast", FAST)):
        error = largest_error(passed(case, card, "float32", fast=kind == "fast"), want)
        if not error <= found[kind]:
            found[kind], found[f"{kind}_case"] = error, case.name
        if not error <= max(limit, case.tolerance("float32")):
            found["beyond"].append(f"{case.name} ({kind}): {error:.1e}")


def alive(card: Any) -> bool:
    """Whether the card still works in this process: some errors of kernels are raised again by every later call."""
    try:
        return float(card.to_numpy(card.asarray(np.ones(1), np.float32))[0]) == 1.0
    except Exception:
        return False


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


def all_errors(crew: Crew, names: Sequence[str], tell: Callable[[list[Row]], None]) -> list[Row]:
    """Every row, as far as the time goes, several at once in processes of their own.

    tell: takes the rows so far, after each
    """
    found: dict[str, Row] = {}

    def one(name: str) -> None:
        if crew.clock.over:
            found[name] = {"row": name, "skipped": "the time is over"}
        else:
            with Crew(crew.clock, 1, crew.module) as own:
                found[name] = of_row(own, name)
        print(line(found[name]), flush=True)
        tell([found[other] for other in names if other in found])

    at_once(one, sorted(names, key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST)))
    return [found[name] for name in names]


def of_row(crew: Crew, name: str) -> Row:
    """All cases of a row; in a fresh process after each that takes the card away."""
    found: Row | None = None
    try:
        first: int | None = 0
        while first is not None:
            part = crew.ask("gpu", do="errors", row=name, first=first)
            found, first = part if found is None else both(found, part), part["next"]
            if first is not None:
                crew.dismiss("gpu")
                if len(found["broken"]) >= BROKEN:
                    found["broken"].append("the cases after these were left out")
                    break
    except Failed as failure:
        return (found or {"row": name}) | {"error": last_line(failure)}
    return found or {"row": name}


def both(a: Row, b: Row) -> Row:
    """Of two parts of a row."""
    found = {**a, **{key: a[key] + b[key] for key in ("cases", "beyond", "broken")}}
    for kind in ("exact", "fast"):
        if b[kind] > a[kind]:
            found |= {kind: b[kind], f"{kind}_case": b[f"{kind}_case"]}
    return found


def line(row: Row) -> str:
    if "skipped" in row:
        return f"  {row['row']:<14} skipped: {row['skipped']}"
    if "error" in row:
        return f"  {row['row']:<14} failed: {row['error'][:100]}"
    text = f"  {row['row']:<14} {row['cases']:4} cases   float32 {row['exact']:.1e}   fast {row['fast']:.1e}"
    wrong = [*(f"    BEYOND  {entry}" for entry in row["beyond"]), *(f"    BROKEN  {e[:108]}" for e in row["broken"])]
    return "\n".join([text, *wrong])
