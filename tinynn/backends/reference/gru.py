"""Gated recurrent unit. Gates z, r, n side by side; h' = keep h_{t-1}:

z, r = s(x W + b + h' U),  n = a(x W_n + b_n + inner),  h_t = z h_{t-1} + (1 - z) n

reset_after: inner = r (h' U_n + bu_n), one product for all gates (as in cuDNN and PyTorch; bu is a bias of its own)
else:        inner = (r h') U_n, the form of the paper
x (N, T, F), W (F, 3H), U (H, 3H), b and bu (3H,), h (N, T, H).

Source: Cho et al., "Learning phrase representations using RNN encoder-decoder", 2014.
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
    gates: Array,
    inner: Array,
    x: Array,
    W: Array,
    U: Array,
    b: Array | None,
    bu: Array | None,
    h0: Array | None,
    mask: Array | None,
    keep: Array | None,
    kind: Activation,
    gate: Activation,
    reset_after: bool,
    backwards: bool,
) -> None:
    """x W + b of all steps is one product, in the place of the gates; then step by step."""
    H = h.shape[-1]
    projected(gates, x, W, b)
    for t in order(x.shape[1], backwards):
        old = before(t, h, h0, backwards)
        state, held = dropped(old, keep), inner[:, t]
        zr, z, r, n = gates[:, t, : 2 * H], gates[:, t, :H], gates[:, t, H : 2 * H], gates[:, t, 2 * H :]
        if reset_after:
            u = state @ U if bu is None else state @ U + bu
            zr += u[:, : 2 * H]
            activation.forward(zr, zr, gate)
            held[...] = u[:, 2 * H :]
            n += r * held
        else:
            zr += state @ U[:, : 2 * H]
            activation.forward(zr, zr, gate)
            np.multiply(r, state, out=held)
            n += held @ U[:, 2 * H :]
        activation.forward(n, n, kind)
        h[:, t] = z * old + (1 - z) * n
        carry(h[:, t], old, mask, t)


def backward(
    dx: Array | None,
    dW: Array | None,
    dU: Array | None,
    db: Array | None,
    dbu: Array | None,
    dh0: Array | None,
    dh: Array | None,
    dlast: Array | None,
    x: Array,
    W: Array,
    U: Array,
    bu: Array | None,
    h: Array,
    gates: Array,
    inner: Array,
    h0: Array | None,
    mask: Array | None,
    keep: Array | None,
    kind: Activation,
    gate: Activation,
    reset_after: bool,
    backwards: bool,
) -> None:
    """From the last step to the first, with g the gradient of h_t, 0 where the mask is False:

    dn = g (1 - z) a'(n),  dz = g (h_{t-1} - n) s'(z),  and h_{t-1} gets g z, and
    reset_after: dr = dn inner s'(r);  du = (dz, dr, dn r), the gradient of h' U + bu;  h' gets du U'
    else:        e = dn U_n', dr = e h' s'(r);                                          h' gets (dz, dr) U_zr' + e r

    The gates become (dz, dr, dn), the gradient of x W + b; with reset_after inner becomes dn r.
    """
    H = h.shape[-1]
    steps = list(order(x.shape[1], backwards))
    g = np.zeros_like(h[:, 0])
    for t in reversed(steps):
        g = g + upstream(dh, dlast, t, steps[-1])
        live = None if mask is None else mask[:, t, None]
        held = None if live is None else np.where(live, 0, g)
        if live is not None:
            g, gates[:, t] = np.where(live, g, 0), np.where(live, gates[:, t], 0)  # the gates may be NaN
            inner[:, t] = np.where(live, inner[:, t], 0)
        old = before(t, h, h0, backwards)
        z, r, n = gates[:, t, :H], gates[:, t, H : 2 * H].copy(), gates[:, t, 2 * H :]
        down = g * z
        dn, dz = g * (1 - z), g * (old - n)
        activation.backward(dn, dn, None, n, kind)
        activation.backward(z, dz, None, z.copy(), gate)
        n[...] = dn
        if reset_after:
            activation.backward(gates[:, t, H : 2 * H], dn * inner[:, t], None, r, gate)
            np.multiply(dn, r, out=inner[:, t])
            ds = gates[:, t, : 2 * H] @ U[:, : 2 * H].T + inner[:, t] @ U[:, 2 * H :].T
        else:
            e = dn @ U[:, 2 * H :].T
            activation.backward(gates[:, t, H : 2 * H], e * dropped(old, keep), None, r, gate)
            ds = gates[:, t, : 2 * H] @ U[:, : 2 * H].T + e * r
        g = down + dropped(ds, keep)
        if held is not None:
            g = g + held
    if dh0 is not None:
        dh0[...] = g
    gradients(dx, dW, db, gates, counted(x, mask), W)
    recurrent_gradients(dU, dbu, gates, inner, dropped(all_before(h, h0, backwards), keep), reset_after)


def recurrent_gradients(
    dU: Array | None, dbu: Array | None, gates: Array, inner: Array, state: Array, reset_after: bool
) -> None:
    """dU and dbu over all steps at once; state (N, T, H) is h'.

    gates (dz, dr, dn); inner: dn r with reset_after, else r h'.
    """
    H = inner.shape[-1]
    if dU is not None:
        s = state.reshape(-1, H)
        np.matmul(s.T, gates[..., : 2 * H].reshape(-1, 2 * H), out=dU[:, : 2 * H])
        left, right = (state, inner) if reset_after else (inner, gates[..., 2 * H :])
        np.matmul(left.reshape(-1, H).T, right.reshape(-1, H), out=dU[:, 2 * H :])
    if dbu is not None:
        np.sum(gates[..., : 2 * H].reshape(-1, 2 * H), axis=0, out=dbu[: 2 * H])
        np.sum(inner.reshape(-1, H), axis=0, out=dbu[2 * H :])
