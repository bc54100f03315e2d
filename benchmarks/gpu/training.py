"""Training steps: every contender in turns, one sample each per round, as in ``benchmarks.harness``.

The card is far faster than the processor, so contenders take different numbers of steps in a sample; that they do the
same work is seen in a run of a few steps, equal for all, whose losses are compared.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import harness, report
from benchmarks.cases import find
from benchmarks.gpu.crew import Crew, last_line
from benchmarks.gpu.worker import OURS, of_images
from benchmarks.harness import Failed, Sample

Row = dict[str, Any]
IMAGE_TOLERANCE = 2e-2
"""For networks with convolutions, in place of the case's, since both libraries multiply in TF32 there. PyTorch on a
processor, with factors rounded to TF32, differs from itself without by 6e-4 (ResNet-20, batch 128, 16 steps) to 7e-3
(batch 4, 4 steps: running statistics of few images)."""
RATIOS = (
    ("eager", "gpu"),
    ("eager", "jit"),
    ("graph", "gpu"),
    ("graph", "jit"),
    ("compile", "gpu"),
    ("compile", "jit"),
    ("gpu", "jit"),
    ("cpu", "gpu"),
    ("cpu", "jit"),
)
"""(a, b): the time of a over that of b; 2 means that b needs half the time."""
TARGETS = {
    ("mlp_adam", 128): (("eager", "gpu", 1.0),),
    ("mlp_adam", 512): (("eager", "gpu", 1.0),),
    ("mlp_sgd", 128): (("eager", "gpu", 1.0),),
    ("resnet20", 128): (("eager", "gpu", 1.0),),
    ("resnet20", 512): (("eager", "gpu", 1.0),),
    ("d1", 100): (("eager", "jit", 2.0),),
    ("c1", 100): (("eager", "jit", 2.0),),
    ("lstm", 64): (("eager", "jit", 1.0),),
}
"""What the project has set itself."""


@dataclass(frozen=True)
class Plan:
    """How one workload is measured.

    checked: steps of the run whose losses are compared; rounds, seconds: samples of each contender, and their length
    patience: a contender whose step takes more seconds is timed for that step alone
    """

    contenders: Sequence[str]
    rounds: int = 5
    seconds: float = 0.25
    checked: int = 16
    patience: float = 1.0


def measure(crew: Crew, name: str, batch: int, plan: Plan) -> Row:
    """One workload with one batch; a contender that fails is left out, and its error kept."""
    case = find(name)
    failures: dict[str, str] = {}
    checks: dict[str, Sample] = {}
    steps: dict[str, int] = {}
    samples: dict[str, list[Sample]] = {}
    arithmetic: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.npz")
        for contender in ours_first(plan.contenders):
            if crew.clock.over:
                break
            try:
                said = crew.ask(contender, do="prepare", case=name, batch=batch, weights=weights)
                arithmetic[contender] = said["arithmetic"]
                crew.ask(contender, do="run", steps=1)  # compiles what has to be compiled
                first = Sample(**crew.ask(contender, do="run", steps=1))
                if first.step > plan.patience:
                    samples[contender] = [first]
                    continue
                checks[contender] = Sample(**crew.ask(contender, do="check", steps=plan.checked))
                steps[contender] = harness.steps_for(crew.member(contender), plan.seconds, steps=1)
            except Failed as failure:
                crew.dismiss(contender)
                failures[contender] = str(failure)
        for k in range(plan.rounds):
            if crew.clock.over and k:
                break
            order = [c for c in steps if c not in failures]
            shift = k % max(len(order), 1)
            for contender in order[shift:] + order[:shift]:
                try:
                    sample = Sample(**crew.ask(contender, do="run", steps=steps[contender]))
                except Failed as failure:
                    failures[contender] = str(failure)
                    continue
                samples.setdefault(contender, []).append(sample)
    samples = {c: s for c, s in samples.items() if c not in failures}
    found = row(case.title, name, batch, checks, samples, failures, tolerance(case))
    return found | {"arithmetic": arithmetic}


def ours_first(contenders: Sequence[str]) -> list[str]:
    """tinynn draws the weights that PyTorch reads."""
    return sorted(contenders, key=lambda contender: contender not in OURS)


def tolerance(case: Any) -> float:
    return max(case.tolerance, IMAGE_TOLERANCE) if of_images(case) else float(case.tolerance)


def row(
    title: str,
    name: str,
    batch: int,
    checks: dict[str, Sample],
    samples: dict[str, list[Sample]],
    failures: dict[str, str],
    allowed: float,
) -> Row:
    """As JSON can hold it; times in milliseconds per step."""
    apart = difference(checks)
    return {
        "name": name,
        "title": title.rpartition(", batch")[0],
        "batch_size": batch,
        "contenders": {c: contender(s, checks.get(c), batch) for c, s in samples.items()},
        "ratios": {f"{a}/{b}": ratio(samples[a], samples[b]) for a, b in RATIOS if a in samples and b in samples},
        "losses": {"agree": apart <= allowed, "difference": apart, "tolerance": allowed},
        "failures": {c: last_line(text) for c, text in failures.items()},
    }


def ratio(theirs: Sequence[Sample], ours: Sequence[Sample]) -> dict[str, float]:
    """Round by round; of the medians where one of them was not in all rounds."""
    if len(theirs) == len(ours):
        return report.speedup(ours, theirs)
    return report.spread([median(s.step for s in theirs) / median(s.step for s in ours)])


def contender(samples: Sequence[Sample], check: Sample | None, batch: int) -> Row:
    steps = [1e3 * s.step for s in samples]
    spread = report.spread(steps)
    return {
        "ms_per_step": {**spread, "rounds": steps},
        "samples_per_s": 1e3 * batch / spread["median"],
        "steps": samples[0].steps,
        "loss": check.loss if check else None,
        "after": check.after if check else None,
        "contaminated": sum(s.contaminated for s in samples),
    }


def difference(checks: dict[str, Sample]) -> float:
    """The largest relative difference of any loss from eager PyTorch's, or from the first contender's; NaN is inf."""
    if not checks:
        return 0.0
    expected = checks.get("eager") or next(iter(checks.values()))
    worst = 0.0
    for sample in checks.values():
        for got, want in ((sample.loss, expected.loss), (sample.after, expected.after)):
            apart = abs(got - want) / max(abs(want), 1e-12)
            worst = max(worst, apart if math.isfinite(apart) else math.inf)
    return worst


def verdicts(rows: Sequence[Row]) -> list[Row]:
    """For every target: what was measured, and whether it was reached (None: not measured)."""
    found = {(row["name"], row["batch_size"]): row["ratios"] for row in rows}
    return [
        {
            "name": name,
            "batch_size": batch,
            "ratio": f"{a}/{b}",
            "target": target,
            "measured": (got := found.get((name, batch), {}).get(f"{a}/{b}", {}).get("median")),
            "reached": None if got is None else got >= target,
        }
        for (name, batch), targets in TARGETS.items()
        for a, b, target in targets
    ]


def line(row: Row) -> str:
    """A row as it is measured: milliseconds per step, and what failed."""
    times = "  ".join(f"{c} {one['ms_per_step']['median']:.4g}" for c, one in row["contenders"].items())
    agree = "" if row["losses"]["agree"] else f"  LOSSES DIFFER by {row['losses']['difference']:.1e}"
    failed = "".join(f"\n    {c} failed: {text[:160]}" for c, text in row["failures"].items())
    return f"  {row['name']:<10} batch {row['batch_size']:<5} ms/step: {times}{agree}{failed}"
