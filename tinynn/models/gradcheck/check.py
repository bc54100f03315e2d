"""The check itself: every array along random directions, and element by element where it is small.

The error of a derivative is |a - n| / max(|a|, |n|, 1e-3 of the array's largest).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tinynn.backends import Backend
from tinynn.models.gradcheck.differences import Comparison, compare
from tinynn.models.gradcheck.mistakes import likely_mistake
from tinynn.models.gradcheck.problems import Problem, problem_of

SAMPLE = 48
"""How many single elements of a large array are looked at when one of its directions is wrong."""


@dataclass(frozen=True)
class Row:
    """The verdict on one array; ``analytic``, ``numeric`` and ``error`` are those of its worst derivative."""

    layer: str
    parameter: str
    shape: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    where: str
    """The element, such as "[2, 3]", or "direction 1"."""
    elements: int
    directions: int
    """How many derivatives were compared."""
    skipped: int
    """How many more lie on a kink, where there is no derivative."""
    passed: bool
    mistake: str = field(default="")

    @property
    def name(self) -> str:
        return f"{self.layer}/{self.parameter}" if self.layer else self.parameter


class GradientError(AssertionError):
    """A gradient is wrong; ``rows`` has the whole table."""

    def __init__(self, message: str, rows: list[Row]):
        super().__init__(message)
        self.rows = rows


def check(
    target: Any,
    *batch: Any,
    tolerance: float = 1e-7,
    elements: int = 200,
    directions: int = 3,
    training: bool = True,
    backend: str | Backend | None = None,
    seed: int = 0,
    verbose: int = 1,
) -> list[Row]:
    """Compare every gradient of ``target`` with central differences in float64, print a table and return its rows.

    target:     a Function (class, factory or fresh instance), a callable of tensors, a Layer, or a compiled model
    batch:      the arrays of the Function, the input of the layer, or (x, y[, sample_weight]) of the model
    tolerance:  the largest relative error that passes
    elements:   arrays up to this size are checked element by element too, larger ones along random directions only
    directions: how many random directions
    training:   the graph's flag; random layers keep one mask during the check
    backend:    the model's own, for the rest the default one
    verbose:    0 prints nothing

    Weights, gradients, running statistics and random streams are as before afterwards. Raises GradientError (an
    AssertionError) with the worst element and, where the numbers show it, the likely mistake; also where an array lies
    on kinks entirely and nothing could be compared. A gradient of another shape than its input's is a ValueError.
    """
    if not tolerance > 0 or elements < 0 or directions < 0 or elements + directions == 0:
        raise ValueError("check expects tolerance > 0 and elements, directions >= 0, not both of them 0")
    problem = problem_of(target, batch, training, backend, seed)
    try:
        gradients = problem.gradients()
        rng = np.random.default_rng(seed)
        rows = [
            check_leaf(problem, i, gradients, tolerance, elements, directions, rng) for i in range(len(problem.leaves))
        ]
    finally:
        problem.restore()
    if not rows:
        raise ValueError("there is nothing to check: no floating-point input and no trainable parameter")
    if verbose:
        print(table(rows))
    failed = [row for row in rows if not row.passed]
    if failed:
        raise GradientError("\n".join(map(complaint, failed)), rows)
    return rows


def largest_of(gradients: Sequence[np.ndarray | None]) -> float:
    """The largest finite absolute value among all gradients."""
    return max((float(np.max(np.abs(g[np.isfinite(g)]), initial=0.0)) for g in gradients if g is not None), default=0.0)


def check_leaf(
    problem: Problem,
    i: int,
    gradients: Sequence[np.ndarray | None],
    tolerance: float,
    elements: int,
    directions: int,
    rng: np.random.Generator,
) -> Row:
    """One array: along random directions, and element by element where it is small or a direction is wrong."""
    leaf, gradient = problem.leaves[i], gradients[i]
    probe = Probe(problem, i, gradient, tolerance, largest_of(gradients))
    along = {f"direction {k}": probe.along(random_direction(leaf.value.shape, rng)) for k in range(directions)}
    small = leaf.value.size <= elements
    wrong = any(not c.kink and c.error > tolerance for c in along.values())
    positions = np.arange(leaf.value.size) if small else probe.sample(rng) if wrong else np.arange(0)
    single = {int(p): probe.element(int(p)) for p in positions}
    if wrong and not any(c.error > tolerance and not c.kink for c in single.values()):
        p = probe.locate(random_direction(leaf.value.shape, rng))
        single[p] = probe.element(p)
    at = {p: f"[{', '.join(map(str, map(int, np.unravel_index(p, leaf.value.shape))))}]" for p in single}
    smooth = {at[p]: c for p, c in single.items() if not c.kink} | {k: c for k, c in along.items() if not c.kink}
    row = Row(leaf.layer, leaf.name, leaf.value.shape, 0.0, 0.0, 0.0, "", 0, 0, 0, False)
    row = replace(row, skipped=len(single) + len(along) - len(smooth))
    if not smooth:
        return replace(row, mistake="nothing could be compared: every derivative lies on a kink; move the inputs away")
    bad = [key for key in at.values() if key in smooth and smooth[key].error > tolerance]
    worst = max(bad or smooth, key=lambda key: (float(f"{smooth[key].error:.1e}"), abs(smooth[key].numeric)))
    row = replace(
        row,
        analytic=smooth[worst].analytic,
        numeric=smooth[worst].numeric,
        error=smooth[worst].error,
        where=worst,
        elements=sum(not c.kink for c in single.values()),
        directions=sum(not c.kink for c in along.values()),
        passed=all(c.error <= tolerance for c in smooth.values()),
    )
    if row.passed:
        return row
    known = [p for p, c in single.items() if not c.kink]
    numeric = np.array([single[p].numeric for p in known])
    others = [(other.name, g) for j, (other, g) in enumerate(zip(problem.leaves, gradients, strict=True)) if j != i]
    return replace(row, mistake=likely_mistake(gradient, np.array(known, int), numeric, problem.counts(), others))


@dataclass
class Probe:
    """The derivatives of a problem with respect to one of its arrays."""

    problem: Problem
    leaf: int
    gradient: np.ndarray | None
    tolerance: float
    everywhere: float
    """The largest gradient of all arrays: a gradient that is 0, such as that of a bias in front of a batch
    normalization, is then measured against it, and not against its own rounding errors."""

    def __post_init__(self) -> None:
        self.x = self.problem.leaves[self.leaf].value
        self.analytic = np.zeros_like(self.x) if self.gradient is None else self.gradient
        least = 1e-6 * self.everywhere
        self.floor = max(1e-3 * float(np.max(np.abs(self.analytic), initial=0.0)), least)
        self.floor_along = max(1e-3 * float(np.linalg.norm(self.analytic)), least)

    def f(self, x: np.ndarray) -> np.ndarray:
        return self.problem.terms(self.leaf, x)

    def along(self, v: np.ndarray) -> Comparison:
        """Along a unit vector, the largest possible derivative is the gradient's norm."""
        return compare(self.f, self.x, v, float((self.analytic * v).sum()), self.floor_along, self.tolerance)

    def element(self, p: int) -> Comparison:
        """With respect to the element at a flat position."""
        v = np.zeros_like(self.x)
        v.reshape(-1)[p] = 1.0
        return compare(self.f, self.x, v, float(self.analytic.ravel()[p]), self.floor, self.tolerance)

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Positions of a large wrong gradient: its largest elements, and random ones."""
        n = self.x.size
        size = np.nan_to_num(np.abs(self.analytic.ravel()), nan=np.inf)
        largest = np.argsort(-size, kind="stable")[: SAMPLE // 2]
        return np.unique(np.concatenate([largest, rng.choice(n, min(SAMPLE // 2, n), replace=False)]))

    def locate(self, v: np.ndarray) -> int:
        """The position of a single wrong element, by halving the part of the array that is moved."""
        positions = np.arange(self.x.size)
        while positions.size > 1:
            halves = np.array_split(positions, 2)
            off = []
            for half in halves:
                part = np.zeros_like(v)
                part.reshape(-1)[half] = v.reshape(-1)[half]
                found = self.along(part)
                off.append(0.0 if found.kink else abs(found.analytic - found.numeric))
            positions = halves[int(off[1] > off[0])]
        return int(positions[0])


def random_direction(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A unit vector."""
    v = rng.standard_normal(shape)
    return np.asarray(v / max(float(np.linalg.norm(v)), 1e-300))


# -- words -----------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The rows as text, a line per array."""
    head = ("layer", "parameter", "shape", "analytic", "numeric", "relative error", "compared", "verdict")
    lines = [head]
    for row in rows:
        compared = f"{row.elements} elements, {row.directions} directions"
        if row.skipped:
            compared += f" ({row.skipped} on kinks skipped)"
        shape = "x".join(map(str, row.shape)) or "scalar"
        values = (f"{row.analytic:.8g}", f"{row.numeric:.8g}", f"{row.error:.1e}")
        lines.append((row.layer or "-", row.parameter, shape, *values, compared, "ok" if row.passed else "WRONG"))
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def complaint(row: Row) -> str:
    """A failed row in a sentence or two."""
    likely = f" Likely mistake: {row.mistake}." if row.mistake else ""
    if not row.where:
        return f"the gradient of {row.name} is wrong or could not be checked.{likely}"
    return (
        f"the gradient of {row.name} is wrong. Worst at {row.where}: analytic {row.analytic:.8g}, "
        f"numeric {row.numeric:.8g}, relative error {row.error:.1e}.{likely}"
    )
