"""Long short-term memory. Gates i, f, c, o side by side: z_t = x_t W + b + (r h_{t-1}) U,

c_t = s(z_f) c_{t-1} + s(z_i) a(z_c),  h_t = s(z_o) a(c_t);  x (N, T, F), W (F, 4H), U (H, 4H), b (4H,), h, c (N, T, H).

Source: Hochreiter and Schmidhuber, "Long short-term memory", 1997; Gers et al., "Learning to forget", 2000.
"""

from __future__ import annotations

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import activation
from tinynn.backends.reference.sequence import all_before, before, carry, counted, dropped, order, projected, upstream
from tinynn.backends.reference.sequence import weight_gradients as gradients
from tinynn.typing import Array


def forward(
    h: Array,
    c: Array,
    gates: Array,
    x: Array,
    W: Array,
    U: Array,
    b: Array | None,
    h0: Array | None,
    c0: Array | None,
    mask: Array | None,
    r: Array | None,
    kind: Activation,
    gate: Activation,
    backwards: bool,
) -> None:
    """x W + b of all steps is one product, in the place of the gates; then step by step."""
    projected(gates, x, W, b)
    for t in order(x.shape[1], backwards):
        old_h, old_c = before(t, h, h0, backwards), before(t, c, c0, backwards)
        gates[:, t] += dropped(old_h, r) @ U
        cell(h[:, t], c[:, t], gates[:, t], old_c, kind, gate)
        carry(h[:, t], old_h, mask, t)
        carry(c[:, t], old_c, mask, t)


def cell(h: Array, c: Array, gates: Array, c0: Array | None, kind: Activation, gate: Activation) -> None:
    """i, f, o = s(z), n = a(z_c), in the place of z;  c = f c0 + i n,  h = o a(c)."""
    i, f, n, o = parts(gates)
    for part in (i, f, o):
        activation.forward(part, part, gate)
    activation.forward(n, n, kind)
    np.multiply(i, n, out=c)
    if c0 is not None:
        c += f * c0
    activation.forward(h, c, kind)
    h *= o


def cell_backward(
    dc0: Array | None,
    dh: Array | None,
    dc: Array | None,
    c: Array,
    gates: Array,
    c0: Array | None,
    kind: Activation,
    gate: Activation,
) -> None:
    """With m = a(c):

    do = dh m,  dc += dh o a'(m)         the memory is read through a
    di = dc n,  dn = dc i,  df = dc c0,  dc0 = dc f
    dz = (di s'(i), df s'(f), dn a'(n), do s'(o)), in the place of the gates
    """
    i, f, n, o = parts(gates)
    m = np.empty_like(c)
    activation.forward(m, c, kind)
    through = np.zeros_like(c) if dh is None else dh * o
    activation.backward(through, through, None, m, kind)
    dc = through if dc is None else dc + through
    do = np.zeros_like(o) if dh is None else dh * m
    di, dn = dc * n, dc * i
    df = np.zeros_like(f) if c0 is None else dc * c0
    if dc0 is not None:
        np.multiply(dc, f, out=dc0)
    for part, d, of in ((i, di, gate), (f, df, gate), (n, dn, kind), (o, do, gate)):
        activation.backward(part, d, None, part.copy(), of)


def backward(
    dx: Array | None,
    dW: Array | None,
    dU: Array | None,
    db: Array | None,
    dh0: Array | None,
    dc0: Array | None,
    dh: Array | None,
    dlast: Array | None,
    dclast: Array | None,
    x: Array,
    W: Array,
    U: Array,
    h: Array,
    c: Array,
    gates: Array,
    h0: Array | None,
    c0: Array | None,
    mask: Array | None,
    r: Array | None,
    kind: Activation,
    gate: Activation,
    backwards: bool,
) -> None:
    """From the last step to the first, gh and gc being the gradients of h_t and c_t; dz takes the place of the gates.

    Where the mask is False, dz is 0 and both gradients go on to the step before as they are.
    """
    steps = list(order(x.shape[1], backwards))
    gh = np.zeros_like(h[:, 0])
    gc = np.zeros_like(gh) if dclast is None else dclast.copy()
    for t in reversed(steps):
        gh = gh + upstream(dh, dlast, t, steps[-1])
        held_h = held_c = None
        if mask is not None:
            live = mask[:, t, None]
            held_h, held_c = np.where(live, 0, gh), np.where(live, 0, gc)
            gh, gc = np.where(live, gh, 0), np.where(live, gc, 0)
            gates[:, t] = np.where(live, gates[:, t], 0)  # they may be NaN
        cell_backward(gc, gh, gc, c[:, t], gates[:, t], before(t, c, c0, backwards), kind, gate)
        gh = dropped(gates[:, t] @ U.T, r)
        if held_h is not None:
            gh, gc = gh + held_h, gc + held_c
    if dh0 is not None:
        dh0[...] = gh
    if dc0 is not None:
        dc0[...] = gc
    gradients(dx, dW, db, gates, counted(x, mask), W)
    gradients(None, dU, None, gates, dropped(all_before(h, h0, backwards), r), None)


def parts(gates: Array) -> tuple[Array, Array, Array, Array]:
    """The four gates of (M, 4H), as views."""
    H = gates.shape[-1] // 4
    return gates[..., :H], gates[..., H : 2 * H], gates[..., 2 * H : 3 * H], gates[..., 3 * H :]
