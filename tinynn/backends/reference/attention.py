"""Heads of scaled dot products: p = softmax(scale q k'), y = (keep p) v;

q (N, T, A, D), k (N, S, A, D), v (N, S, A, E), y (N, T, A, E), p (N, A, T, S).

Source: Vaswani et al., "Attention is all you need", 2017.
"""

from __future__ import annotations

import numpy as np

from tinynn.typing import Array


def forward(
    y: Array,
    p: Array,
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None,
    keep: Array | None,
    scale: float,
    causal: bool,
) -> None:
    """A score that is not allowed is -inf; a row without any allowed score becomes zeros, not NaN."""
    if k.shape[1] == 0:
        y[...] = 0
        return
    np.matmul(heads(q), heads(k).swapaxes(-1, -2), out=p)
    np.multiply(p, p.dtype.type(scale), out=p)
    if mask is not None:
        p[...] = np.where(mask, p, -np.inf)
    if causal:
        p[...] = np.where(up_to(p), p, -np.inf)
    top = p.max(axis=-1, keepdims=True)
    p -= np.where(top == -np.inf, 0, top)
    np.exp(p, out=p)
    total = p.sum(axis=-1, keepdims=True)
    p /= np.where(total == 0, 1, total)
    y[...] = np.matmul(p if keep is None else p * keep, heads(v)).swapaxes(1, 2)


def backward(
    dq: Array | None,
    dk: Array | None,
    dv: Array | None,
    dy: Array,
    p: Array,
    q: Array,
    k: Array,
    v: Array,
    keep: Array | None,
    scale: float,
    causal: bool,
) -> None:
    """dv = (keep p)' dy,  dp = keep (dy v'),  ds = scale p (dp - sum dp p),  dq = ds k,  dk = ds' q; ds is in p."""
    dy = heads(dy)
    if dv is not None:
        dv[...] = np.matmul((p if keep is None else p * keep).swapaxes(-1, -2), dy).swapaxes(1, 2)
    if dq is None and dk is None:
        return
    dp = np.matmul(dy, heads(v).swapaxes(-1, -2))
    if keep is not None:
        dp *= keep
    dp -= (dp * p).sum(axis=-1, keepdims=True)
    p *= dp
    np.multiply(p, p.dtype.type(scale), out=p)
    if dq is not None:
        dq[...] = np.matmul(p, heads(k)).swapaxes(1, 2)
    if dk is not None:
        dk[...] = np.matmul(p.swapaxes(-1, -2), heads(q)).swapaxes(1, 2)


def heads(a: Array) -> Array:
    """(N, T, A, D) -> (N, A, T, D), a view."""
    return a.swapaxes(1, 2)


def up_to(p: Array) -> Array:
    """(T, S) of bools: query t may see key s <= t."""
    numbers = [np.cumsum(np.ones_like(p, shape=(n,), dtype=np.int64)) for n in p.shape[-2:]]
    return numbers[0][:, None] >= numbers[1][None, :]
