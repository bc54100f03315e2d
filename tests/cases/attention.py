"""Attention: masks of every shape, causal, rows that see nothing, dropout, unequal sizes, one step, several blocks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.cases import Case
from tinynn.layers.attention import DotProductAttention, Project


def drawn(shape: tuple[int, ...], share: float = 0.6) -> np.ndarray:
    """True in this share of places."""
    return np.random.default_rng(11).random(shape) < share


def kept(shape: tuple[int, ...]) -> np.ndarray:
    """Factors as dropout of one half makes them: 0 and 2, which every dtype has."""
    return 2 * drawn(shape, 0.5).astype(np.float32)


def formula(mask: np.ndarray | None, keep: np.ndarray | None, scale: float, causal: bool) -> Any:
    """The gradients, head by head, query by query."""

    def gradients(dy: np.ndarray, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Any:
        (N, T, A, _), S = q.shape, k.shape[1]
        allowed = np.broadcast_to(True if mask is None else mask, (N, A, T, S))
        factors = np.broadcast_to(1.0 if keep is None else keep, (N, A, T, S))
        dq, dk, dv = map(np.zeros_like, (q, k, v))
        for n, a, t in np.ndindex(N, A, T):
            seen = [s for s in range(S) if allowed[n, a, t, s] and (not causal or s <= t)]
            if not seen:
                continue
            scores = np.array([scale * q[n, t, a] @ k[n, s, a] for s in seen])
            p = np.exp(scores - scores.max())
            p /= p.sum()
            f = factors[n, a, t, seen]
            dp = f * (v[n, seen, a] @ dy[n, t, a])
            ds = scale * p * (dp - dp @ p)
            dq[n, t, a] = ds @ k[n, seen, a]
            dk[n, seen, a] += np.outer(ds, q[n, t, a])
            dv[n, seen, a] += np.outer(f * p, dy[n, t, a])
        return dq, dk, dv

    return gradients


def attention(
    name: str,
    sizes: tuple[int, int, int, int, int, int],
    mask: np.ndarray | None = None,
    dropout: bool = False,
    causal: bool = False,
) -> Case:
    """sizes: N, T, S, A (heads), D (of a query and a key), E (of a value)."""
    N, T, S, A, D, E = sizes
    keep, scale = kept((N, A, T, S)) if dropout else None, 1 / math.sqrt(D)

    def make(backend: Any) -> DotProductAttention:
        given = None if mask is None else backend.asarray(mask, np.bool_)
        factors = None if keep is None else backend.asarray(keep, np.float32)
        return DotProductAttention(scale, given, factors, causal)

    return Case(
        f"attention_{name}",
        make,
        ((N, T, A, D), (N, S, A, D), (N, S, A, E)),
        expected=formula(mask, keep, scale, causal),
        on_backend=True,
        reduction=max(S, T) * max(D, E),
        rtol32=2e-5,
    )


NOBODY = drawn((2, 1, 4, 5)) & (np.arange(4) != 2)[:, None]
"""The third query sees no key."""

CASES = [
    attention("", (2, 4, 5, 3, 2, 2)),
    attention("self", (2, 4, 4, 2, 3, 3)),
    attention("one_row", (1, 3, 4, 2, 3, 2)),
    attention("one_step", (2, 1, 1, 2, 3, 3)),
    attention("one_head", (2, 3, 4, 1, 5, 5)),
    attention("wide_values", (2, 3, 4, 2, 2, 7)),
    attention("causal", (2, 5, 5, 2, 3, 2), causal=True),
    attention("causal_more_queries", (1, 6, 3, 2, 2, 2), causal=True),
    attention("causal_more_keys", (1, 3, 6, 2, 2, 2), causal=True),
    attention("mask_of_keys", (2, 4, 5, 2, 3, 3), mask=drawn((2, 1, 1, 5))),
    attention("mask_of_pairs", (2, 4, 5, 2, 3, 3), mask=drawn((2, 1, 4, 5))),
    attention("mask_of_all", (1, 4, 5, 2, 3, 3), mask=drawn((1, 1, 4, 5))),
    attention("mask_of_heads", (2, 4, 5, 2, 3, 3), mask=drawn((2, 2, 4, 5))),
    attention("mask_of_queries", (2, 4, 5, 2, 3, 3), mask=drawn((2, 1, 4, 1))),
    attention("query_without_keys", (2, 4, 5, 2, 3, 3), mask=NOBODY),
    attention("nothing_to_see", (2, 4, 5, 2, 3, 3), mask=np.array([True, False])[:, None, None, None]),
    attention("causal_mask", (2, 5, 5, 2, 3, 3), mask=drawn((2, 1, 1, 5)), causal=True),
    attention("dropout", (2, 4, 5, 2, 3, 3), dropout=True),
    attention("dropout_causal_mask", (2, 5, 5, 2, 3, 4), mask=drawn((2, 1, 1, 5)), dropout=True, causal=True),
    attention("many_keys", (1, 3, 70, 1, 3, 4)),
    attention("blocks_causal", (1, 130, 130, 1, 2, 2), causal=True),
    attention("blocks", (1, 203, 34, 1, 3, 2), mask=drawn((1, 1, 203, 34)), dropout=True),
    attention("threads", (5, 40, 40, 2, 16, 16)),
    Case("project", lambda: Project(), ((3, 4, 5), (5, 2, 3), (2, 3))),
    Case("project_heads", lambda: Project(2), ((3, 4, 2, 3), (2, 3, 5), (5,))),
    Case("project_no_bias", lambda: Project(), ((3, 4, 5), (5, 2, 3))),
]
