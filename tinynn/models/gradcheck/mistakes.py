"""What a wrong gradient has in common with the right one: the likely mistake, in words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

ALIKE = 1e-5
"""How far, relative to their norm, two gradients may differ and still count as one pattern."""


def ratio(analytic: np.ndarray, numeric: np.ndarray) -> float | None:
    """r where analytic = r numeric to within ALIKE, else None."""
    square = float(numeric @ numeric)
    if not square or not np.isfinite(analytic).all():
        return None
    r = float(analytic @ numeric) / square
    return r if r and np.linalg.norm(analytic - r * numeric) <= ALIKE * np.linalg.norm(analytic) else None


def factor(r: float, counts: Mapping[int, str]) -> str:
    """A ratio in words; ``counts`` names the numbers that a mean may divide by."""
    size = abs(r)
    parts = ["the sign is wrong"] if r < 0 else []
    for n, what in sorted(counts.items()):
        if n > 1 and abs(size - n) < ALIKE * n:
            parts.append(f"{n} times too large: the division by N = {n} ({what}) is missing")
        if n > 1 and abs(size * n - 1) < ALIKE:
            parts.append(f"{n} times too small: divided by N = {n} ({what}) once too often")
    if abs(size - 2) < ALIKE:
        parts.append("a factor 2 too large: a 2 too many, or a contribution counted twice")
    elif abs(size - 0.5) < ALIKE:
        parts.append("half of what it should be: a factor 2 is missing, or a second use of the value is not added")
    elif size != 1 and abs(size - 1) > ALIKE and len(parts) == (r < 0):
        parts.append(f"a constant factor of {size:.6g}")
    return "; ".join(parts)


def arrangements(gradient: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The gradient with its axes exchanged: what a forgotten or a needless transposition would have made of it."""
    for axes in itertools.permutations(range(gradient.ndim)):
        if gradient.ndim > 4 or axes == tuple(range(gradient.ndim)):
            continue
        how = "transposed" if gradient.ndim == 2 else f"transposed (axes {axes})"
        moved = gradient.transpose(axes)
        if moved.shape == gradient.shape:
            yield f"{how}: right numbers, exchanged axes", moved
        else:  # the shape was mended by a reshape instead of a transposition
            shape = tuple(gradient.shape[a] for a in axes)
            yield f"{how}: reshaped where a transposition belongs", gradient.reshape(shape).transpose(np.argsort(axes))


def likely_mistake(
    analytic: np.ndarray | None,
    positions: np.ndarray,
    numeric: np.ndarray,
    counts: Mapping[int, str],
    others: Sequence[tuple[str, np.ndarray | None]] = (),
) -> str:
    """The mistake that explains a whole gradient, or "" where none does.

    positions: flat positions whose numeric derivative is known; numeric: those derivatives
    others:    (name, gradient) of the other inputs, to find two that were exchanged
    """
    if analytic is None:
        return "missing: backward gave no gradient (None), or the value is not on the tape"
    given = analytic.ravel()[positions]
    if not given.any() and numeric.any():
        return "zero everywhere: the gradient is not computed, or the array handed out is never written"
    if not np.isfinite(given).all():
        return "NaN or infinite: a division by zero, or an array that was never written"
    r = ratio(given, numeric)
    if r is not None:
        words = factor(r, counts)
        return "" if given.size == 1 and "constant" in words else words
    if np.count_nonzero(numeric) < 2:
        return ""
    for what, moved in arrangements(analytic):
        r = ratio(moved.ravel()[positions], numeric)
        if r is not None:
            return "; ".join(filter(None, [what, factor(r, counts)]))
    for name, other in others:
        if other is not None and other.shape == analytic.shape:
            r = ratio(other.ravel()[positions], numeric)
            if r is not None:
                return "; ".join(filter(None, [f"this is the gradient of {name}: exchanged inputs", factor(r, counts)]))
    return ""
