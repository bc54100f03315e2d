"""Simple recurrence: h_t = f(x_t W + b + (r h_{t-1}) U);  x (N, T, F), W (F, H), U (H, H), b (H,), h (N, T, H)."""

from __future__ import annotations

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import activation
from tinynn.backends.reference.sequence import all_before, before, carry, counted, dropped, order, projected, upstream
from tinynn.backends.reference.sequence import weight_gradients as gradients
from tinynn.typing import Array


def forward(
    h: Array,
    x: Array,
    W: Array,
    U: Array,
    b: Array | None,
    h0: Array | None,
    mask: Array | None,
    r: Array | None,
    kind: Activation,
    backwards: bool,
) -> None:
    """x W + b of all steps is one product, in the place of h; then step by step."""
    projected(h, x, W, b)
    for t in order(x.shape[1], backwards):
        old, new = before(t, h, h0, backwards), h[:, t]
        new += dropped(old, r) @ U
        activation.forward(new, new, kind)
        carry(new, old, mask, t)


def backward(
    dx: Array | None,
    dW: Array | None,
    dU: Array | None,
    db: Array | None,
    dh0: Array | None,
    dh: Array | None,
    dlast: Array | None,
    x: Array,
    W: Array,
    U: Array,
    h: Array,
    h0: Array | None,
    mask: Array | None,
    r: Array | None,
    kind: Activation,
    backwards: bool,
) -> None:
    """From the last step to the first, with g the gradient of the state:

    dz_t = g f'(h_t)        0 where the mask is False: there g goes on to step t - 1 as it is
    g    = r (dz_t U')      plus, for the next round, what h_{t-1} gets from outside
    dU   = sum over n, t of (r h_{t-1})' dz_t
    """
    steps = list(order(x.shape[1], backwards))
    dz = np.empty_like(h)
    g: Array | int = 0
    for t in reversed(steps):
        g = g + upstream(dh, dlast, t, steps[-1])
        activation.backward(dz[:, t], g, None, h[:, t], kind)
        held: Array | int = 0
        if mask is not None:
            live = mask[:, t, None]
            dz[:, t] = np.where(live, dz[:, t], 0)
            held = np.where(live, 0, g)
        g = dropped(dz[:, t] @ U.T, r) + held
    if dh0 is not None:
        dh0[...] = g
    gradients(dx, dW, db, dz, counted(x, mask), W)
    gradients(None, dU, None, dz, dropped(all_before(h, h0, backwards), r), None)
