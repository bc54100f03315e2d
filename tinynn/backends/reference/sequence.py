"""What the recurrent rows share: the order of the steps, the states between them, and the products over all steps."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinynn.typing import Array


def order(T: int, backwards: bool) -> Iterable[int]:
    """The steps as they are taken."""
    return range(T - 1, -1, -1) if backwards else range(T)


def before(t: int, h: Array, h0: Array | None, backwards: bool) -> Array:
    """The state before step t: h (N, T, H) holds those after each step; h0 (N, H) or None for zeros."""
    t = t + 1 if backwards else t - 1
    if 0 <= t < h.shape[1]:
        return h[:, t]
    return np.zeros_like(h[:, 0]) if h0 is None else h0


def all_before(h: Array, h0: Array | None, backwards: bool) -> Array:
    """The states before each step, (N, T, H)."""
    result = np.empty_like(h)
    if backwards:
        result[:, :-1] = h[:, 1:]
    else:
        result[:, 1:] = h[:, :-1]
    result[:, -1 if backwards else 0] = 0 if h0 is None else h0
    return result


def dropped(h: Array, r: Array | None) -> Array:
    """r h, for r (N, H) or None and h (N, H) or (N, T, H)."""
    if r is None:
        return h
    return h * (r if h.ndim == r.ndim else r[:, None, :])


def carry(new: Array, old: Array, mask: Array | None, t: int) -> None:
    """Where the mask (N, T) is False at step t, the old state takes the place of the new one."""
    if mask is not None:
        new[...] = np.where(mask[:, t, None], new, old)


def projected(z: Array, x: Array, W: Array, b: Array | None) -> None:
    """z = x W + b of all steps, each a product of its own: so a chunk of a sequence has the bytes of the whole one."""
    for t in range(x.shape[1]):
        z[:, t] = x[:, t] @ W
    if b is not None:
        np.add(z, b, out=z)


def weight_gradients(
    dx: Array | None, dW: Array | None, db: Array | None, dz: Array, x: Array, W: Array | None
) -> None:
    """dx = dz W', dW = x' dz, db = sum dz, over all steps at once; dz (N, T, G), x (N, T, F)."""
    if dx is not None and W is not None:
        np.matmul(dz, W.T, out=dx)
    rows = dz.reshape(-1, dz.shape[-1])
    if dW is not None:
        np.matmul(x.reshape(-1, x.shape[-1]).T, rows, out=dW)
    if db is not None:
        np.sum(rows, axis=0, out=db)


def counted(x: Array, mask: Array | None) -> Array:
    """x (N, T, F), and zeros in the steps that do not count: there may be NaN."""
    return x if mask is None else np.where(mask[:, :, None], x, 0)


def upstream(dh: Array | None, dlast: Array | None, t: int, last: int) -> Array | int:
    """The gradient that step t's state gets from outside the recurrence."""
    total: Array | int = 0 if dh is None else dh[:, t]
    return total if dlast is None or t != last else total + dlast
