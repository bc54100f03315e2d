"""Drawing the next token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tinynn.random import host_generator


def sample(probabilities: ArrayLike, temperature: float = 1.0, rng: np.random.Generator | int | None = None) -> Any:
    """An index drawn with q_k = p_k^(1/temperature) / sum p^(1/temperature), from probabilities (size,).

    Below 1 the temperature prefers what is probable (0: always the largest), above 1 it makes all more alike. Rows of
    probabilities (N, size) give N indices. rng: a NumPy generator, a seed, or None for one that follows `set_seed`.

    >>> sample([0.1, 0.6, 0.3], temperature=0)
    1
    >>> counts = np.bincount(sample(np.tile([0.1, 0.6, 0.3], (10_000, 1)), 0.5, rng=0)) / 10_000
    >>> bool(np.allclose(counts, np.square([0.1, 0.6, 0.3]) / 0.46, atol=0.02))
    True

    Raises ValueError where these are no probabilities.
    """
    p = np.asarray(probabilities, np.float64)
    if p.ndim not in (1, 2) or not p.shape[-1]:
        raise ValueError(f"probabilities has shape (size,), or (N, size) for N draws; got {p.shape}")
    if not (np.isfinite(p) & (p >= 0)).all() or not (p > 0).any(axis=-1).all():
        raise ValueError("probabilities are finite, not negative, and not all 0; logits go through a softmax first")
    if not temperature >= 0:
        raise ValueError(f"temperature is a number >= 0; got {temperature}")
    if temperature == 0:
        index = p.argmax(axis=-1)
    else:
        with np.errstate(divide="ignore"):
            logs = np.log(p)
        logs = (logs - logs.max(axis=-1, keepdims=True)) / temperature
        upto = np.cumsum(np.where(p > 0, np.exp(logs), 0.0), axis=-1)
        drawn = host_generator(rng).random(p.shape[:-1])[..., None] * upto[..., -1:]
        index = (upto <= drawn).sum(axis=-1)
    return int(index) if p.ndim == 1 else index
