"""What the samples say: medians of per-round ratios, whether the losses agree, as a table and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.harness import OURS, Measured, Sample

Row = dict[str, Any]


def spread(values: Sequence[float]) -> dict[str, float]:
    return {"median": median(values), "min": min(values), "max": max(values)}


def speedup(ours: Sequence[Sample], theirs: Sequence[Sample]) -> dict[str, float]:
    """PyTorch's time over ours, round by round: 2 means that tinynn needs half the time."""
    return spread([b.step / a.step for a, b in zip(ours, theirs, strict=True)])


def difference(samples: dict[str, list[Sample]]) -> float:
    """The largest relative difference of any loss of any contender from the first one of eager PyTorch; NaN is inf."""
    expected = samples["eager"][0]
    worst = 0.0
    for sample in (s for contender in samples.values() for s in contender):
        for got, want in ((sample.loss, expected.loss), (sample.after, expected.after)):
            apart = abs(got - want) / max(abs(want), 1e-12)
            worst = max(worst, apart if math.isfinite(apart) else math.inf)
    return worst


def row(measured: Measured) -> Row:
    """One case with one number of threads, as JSON can hold it; times in milliseconds per step."""
    samples, case = measured.samples, measured.case
    variants = [name for name in samples if name != OURS]
    best = min(variants, key=lambda name: median(s.step for s in samples[name]))
    apart = difference(samples)
    return {
        "name": case.name,
        "title": case.title,
        "batch_size": case.batch_size,
        "threads": measured.threads,
        "steps": samples[OURS][0].steps,
        "contenders": {name: contender(s) for name, s in samples.items()},
        "vs_eager": speedup(samples[OURS], samples["eager"]),
        "best": best,
        "vs_best": speedup(samples[OURS], samples[best]),
        "losses": {"agree": apart <= case.tolerance, "difference": apart, "tolerance": case.tolerance},
        "contaminated": sum(s.contaminated for contender in samples.values() for s in contender),
        "samples": sum(map(len, samples.values())),
        "repeated": measured.repeated,
        "guarded": samples[OURS][0].others is not None,
        "failures": measured.failures,
    }


def contender(samples: Sequence[Sample]) -> Row:
    steps = [1e3 * s.step for s in samples]
    return {"ms_per_step": {**spread(steps), "rounds": steps}, "loss": samples[0].loss, "after": samples[0].after}


# -- the table ---------------------------------------------------------------------------------------------------------

HEADINGS = (
    "workload",
    "threads",
    "tinynn ms",
    "eager ms",
    "eager / tinynn",
    "best of PyTorch",
    "best / tinynn",
    "losses",
)


def table(rows: Sequence[Row]) -> str:
    """Columns for the terminal: times are medians in ms per step, ratios medians (min-max) over the rounds."""
    cells = [HEADINGS, *map(table_row, rows)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(HEADINGS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def table_row(row: Row) -> tuple[str, ...]:
    def ms(name: str) -> str:
        return f"{row['contenders'][name]['ms_per_step']['median']:.4g}"

    def ratio(key: str) -> str:
        return "{median:.2f} ({min:.2f}-{max:.2f})".format(**row[key])

    agree = "agree" if row["losses"]["agree"] else "DIFFER"
    return (
        row["name"],
        str(row["threads"]),
        ms(OURS),
        ms("eager"),
        ratio("vs_eager"),
        f"{row['best']} {ms(row['best'])}",
        ratio("vs_best"),
        f"{agree} ({row['losses']['difference']:.1e})",
    )


def details(row: Row) -> str:
    """The losses in numbers, the disturbed samples, and what failed."""
    threads = f"{row['threads']} thread{'s' * (row['threads'] > 1)}"
    lines = [f"{row['name']}: {row['title']}, {threads}, {row['steps']} steps per sample"]
    for name, one in row["contenders"].items():
        label = name if name == OURS else f"PyTorch {name}"
        lines.append(
            f"  {label:<22} {one['ms_per_step']['median']:9.4g} ms/step   "
            f"training loss {one['loss']:.6f}, after the run {one['after']:.6f}"
        )
    if not row["losses"]["agree"]:
        lines.append(
            f"  THE LOSSES DIFFER by {row['losses']['difference']:.1e} relative (allowed: "
            f"{row['losses']['tolerance']:g}): the contenders did not do the same work, so the times mean nothing"
        )
    if row["contaminated"]:
        lines.append(
            f"  contaminated: during {row['contaminated']} of {row['samples']} samples other processes used the "
            "processor, on every repetition too"
        )
    if not row["guarded"]:
        lines.append("  unguarded: this system does not tell whether other processes used the processor")
    lines += [f"  PyTorch {name} failed: {text.strip().splitlines()[-1]}" for name, text in row["failures"].items()]
    return "\n".join(lines)


def heading(report: Row) -> str:
    machine, versions, settings = report["machine"], report["versions"], report["settings"]
    return (
        f"{report['date']}  {machine['processor']}, {machine['cores']} cores, {machine['system']}\n"
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f"\n{settings['rounds']} rounds, samples of {settings['seconds']:g} s"
    )
