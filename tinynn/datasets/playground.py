"""Points in the plane with labels -1 and +1, for networks so small that one can watch them think.

The sets of the TensorFlow Playground (D. Smilkov, S. Carter; playground.tensorflow.org). Each function returns
x (n, 2) and y (n,), float32, in random order, so that the first half can serve for training. `noise` is 0 for clean
sets and 0.5 for very noisy ones; `seed` fixes the points (None: new ones at each call).
Each raises ValueError for n < 2 or a noise outside 0 .. 1.
"""

from __future__ import annotations

import math
import operator

import numpy as np
from numpy.typing import NDArray

Points = tuple[NDArray[np.float32], NDArray[np.float32]]

RADIUS = 5.0


def clusters(n: int = 200, noise: float = 0.0, seed: int | None = 0) -> Points:
    """Two round clouds, +1 around (2, 2) and -1 around (-2, -2); the variance is 0.5 + 7 noise."""
    random = _random(n, noise, seed)
    y = _halves(n)
    x = 2 * y[:, None] + math.sqrt(0.5 + 7 * noise) * random.standard_normal((n, 2))
    return _shuffled(random, x, y)


def circle(n: int = 200, noise: float = 0.0, seed: int | None = 0) -> Points:
    """+1 in a disc of radius 2.5, -1 in a ring from 3.5 to 5; noise moves the points that the labels are read at."""
    random = _random(n, noise, seed)
    inside = _halves(n) > 0
    r = np.where(inside, random.uniform(0, RADIUS / 2, n), random.uniform(0.7 * RADIUS, RADIUS, n))
    angle = random.uniform(0, 2 * np.pi, n)
    x = r[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    seen = x + noise * random.uniform(-RADIUS, RADIUS, (n, 2))
    return _shuffled(random, x, np.where(np.hypot(*seen.T) < RADIUS / 2, 1, -1))


def xor(n: int = 200, noise: float = 0.0, seed: int | None = 0) -> Points:
    """Four squares, +1 where x1 x2 > 0, a gap of 0.3 on each side of the axes; noise as in `circle`."""
    random = _random(n, noise, seed)
    x = random.uniform(-RADIUS, RADIUS, (n, 2))
    x += np.where(x > 0, 0.3, -0.3)
    seen = x + noise * random.uniform(-RADIUS, RADIUS, (n, 2))
    return _shuffled(random, x, np.where(seen.prod(axis=1) >= 0, 1, -1))


def spiral(n: int = 200, noise: float = 0.0, seed: int | None = 0) -> Points:
    """Two arms of 1.75 turns, half a turn apart, out to radius 5; noise shakes each point by up to `noise`."""
    random = _random(n, noise, seed)
    y = _halves(n)
    along = np.concatenate([np.arange(part) / part for part in ((y > 0).sum(), (y < 0).sum())])
    angle = 1.75 * 2 * np.pi * along + np.where(y > 0, 0, np.pi)
    x = RADIUS * along[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return _shuffled(random, x + noise * random.uniform(-1, 1, (n, 2)), y)


def _random(n: int, noise: float, seed: int | None) -> np.random.Generator:
    if operator.index(n) < 2:
        raise ValueError(f"n is the number of points, at least 2; got {n}")
    if not 0 <= noise <= 1:
        raise ValueError(f"noise is a number from 0 to 1; got {noise}")
    return np.random.default_rng(seed)


def _halves(n: int) -> NDArray[np.int64]:
    """n labels (n,): first +1, then -1; the two halves differ by one at most."""
    return np.where(np.arange(n) < n // 2, 1, -1)


def _shuffled(random: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.int64]) -> Points:
    order = random.permutation(len(x))
    return x[order].astype(np.float32), y[order].astype(np.float32)
