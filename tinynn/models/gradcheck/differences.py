"""Central differences: a derivative from values alone, with an estimate of its own rounding error and of kinks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
"""Tried in this order: the formula's error falls with the fourth power of the step, rounding grows with its inverse."""

ROUNDING = 32 * float(np.finfo(np.float64).eps)

Values = Callable[[np.ndarray], np.ndarray]
"""x -> the terms whose sum is differentiated; terms that do not depend on x then cancel exactly."""


@dataclass(frozen=True)
class Comparison:
    """One directional derivative: what backward says, what the differences say, and what follows from it."""

    analytic: float
    numeric: float
    error: float
    kink: bool = False


def quotient(f: Values, x: np.ndarray, v: np.ndarray, h: float) -> tuple[float, float]:
    """d/dt sum f(x + t v) at t = 0 and its rounding error.

    (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h, exact up to h^4 f^(5) / 30.
    """
    near, near_back, far, far_back = (f(x + t * v) for t in (h, -h, 2 * h, -2 * h))
    terms = 8 * (near - near_back) - (far - far_back)
    moved = np.where(terms != 0, np.abs(near) + np.abs(near_back), 0)
    return float(terms.sum()) / (12 * h), ROUNDING * float(np.linalg.norm(moved)) / h


def one_sided(f: Values, x: np.ndarray, v: np.ndarray, h: float) -> float:
    """The derivative from the side of h: (4 f(h) - f(2h) - 3 f(0)) / 2 h, exact up to h^2 f^(3) / 3."""
    return float((4 * f(x + h * v) - f(x + 2 * h * v) - 3 * f(x)).sum()) / (2 * h)


def compare(f: Values, x: np.ndarray, v: np.ndarray, analytic: float, floor: float, tolerance: float) -> Comparison:
    """Whether backward's derivative along v is the numeric one: |a - n| <= tolerance max(|a|, |n|, floor).

    Smaller steps are tried while the two disagree, because the nearest kink may lie inside the step. Where they never
    agree, the quotients decide: if they do not settle, or differ from one side to the other, x lies on a kink.
    """
    tried: list[tuple[float, float, float]] = []
    for h in STEPS:
        numeric, rounding = quotient(f, x, v, h)
        scale = max(abs(analytic), abs(numeric), floor, rounding / tolerance)
        error = abs(analytic - numeric) / scale if scale else 0.0
        error = np.inf if np.isnan(error) else error
        if error <= tolerance:
            return Comparison(analytic, numeric, error)
        tried.append((numeric, rounding, error))
    settled = [k for k in range(len(STEPS) - 1) if close(tried[k], tried[k + 1], floor)]
    if not settled:
        return Comparison(analytic, tried[0][0], tried[0][2], kink=not np.isnan(analytic))
    k = settled[0]
    numeric, rounding, error = tried[k]
    h = STEPS[-2]
    left, right = one_sided(f, x, v, -h), one_sided(f, x, v, h)
    slack = 1e-3 * max(abs(numeric), floor) + 10 * tried[-2][1]
    return Comparison(analytic, numeric, error, kink=abs(right - left) > slack and not np.isnan(analytic))


def close(first: tuple[float, float, float], second: tuple[float, float, float], floor: float) -> bool:
    """Whether two quotients of different steps tell the same derivative."""
    (n1, r1, _), (n2, r2, _) = first, second
    return abs(n1 - n2) <= 1e-5 * max(abs(n1), abs(n2), floor) + r1 + r2
