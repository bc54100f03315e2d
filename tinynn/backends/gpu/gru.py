"""Gated recurrent unit. Gates z, r, n side by side; h' = keep h_{t-1}:

z, r = s(x W + b + h' U),  n = a(x W_n + b_n + inner),  h_t = z h_{t-1} + (1 - z) n

reset_after: inner = r (h' U_n + bu_n), one product for all gates: a step is one launch, see ``recurrent.py``
else:        inner = (r h') U_n, which needs r of all units first: two launches
x (N, T, F), W (F, 3H), U (H, 3H), b and bu (3H,), h (N, T, H).
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.columns import column_sums
from tinynn.backends.gpu.cuda import contiguous, given
from tinynn.backends.gpu.recurrent import (
    DEEP,
    GATED,
    back,
    first_states,
    flat,
    input_gradients,
    launcher,
    numbers,
    projected,
    sized,
    states_into_U,
)
from tinynn.backends.reference import gru as reference
from tinynn.backends.reference.sequence import order
from tinynn.typing import Array

SIZES = sized("gru", GATED, DEEP)
SOURCE, OF_MIDDLE, OF_LARGE = (size.source for size in SIZES)


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
    """The formulas above, step by step; where mask (N, T) is False, the state is carried over."""
    if not (h.size and x.size):
        reference.forward(h, gates, inner, x, W, U, b, bu, h0, mask, keep, kind, gate, reset_after, backwards)
        return
    N, T, H = h.shape
    projected(gates, x, W)
    U, b, bu, mask, keep = map(given, (U, b, bu, mask, keep))
    h0, fed = first_states(h, h0, keep)
    if reset_after:
        steps = [launcher(
            SIZES, "forward", "gru_step", 3, N, H,
            h, gates, inner, fed, U, b, bu, h0, mask, keep, N, T, H, *numbers(kind, gate), backwards,
        )]  # fmt: skip
    else:
        steps = [
            launcher(
                SIZES, "forward", "gru_gates", 2, N, H,
                gates, inner, fed, U, b, h, h0, N, T, H, *numbers(gate), backwards,
            ),
            launcher(
                SIZES, "backward", "gru_state", 1, N, H,
                h, gates, inner, fed, U, b, h0, mask, keep, N, T, H, *numbers(kind), backwards,
            ),
        ]  # fmt: skip
    for t in order(T, backwards):
        for step in steps:
            step(t)


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
    """From the last step to the first; the gates become (dz, dr, dn), the gradient of x W + b.

    That of h' U + bu is (dz, dr, dn r), an array of its own: so the products with it are whole ones.
    """
    if not (h.size and x.size):
        reference.backward(
            dx, dW, dU, db, dbu, dh0, dh, dlast, x, W, U, bu, h, gates, inner, h0, mask, keep, kind, gate, reset_after,
            backwards,
        )  # fmt: skip
        return
    N, T, H = h.shape
    dh, dlast, h, h0, mask, keep = map(given, (dh, dlast, h, h0, mask, keep))
    carried = cuda.cupy.empty((N, H), h.dtype) if dh0 is None else dh0
    first = cuda.cupy.zeros((N, H), h.dtype) if h0 is None else h0
    du = cuda.cupy.empty((N, T, 3 * H), h.dtype) if reset_after else None
    U_transposed = contiguous(U.T)
    step = launcher(
        SIZES, "backward", "gru_step_backward", 1, N, H,
        gates, du, carried, dh, dlast, U_transposed, h, first, inner, mask, keep, N, T, H, *numbers(kind, gate),
        backwards,
    )  # fmt: skip
    reset = None if reset_after else launcher(
        SIZES, "backward", "gru_reset_backward", 1, N, H,
        gates, inner, carried, U_transposed[2 * H :], h, first, mask, keep, N, T, H, *numbers(gate), backwards,
    )  # fmt: skip
    for t in back(T, backwards, dh0 is not None):
        step(t)
        if reset is not None and 0 <= t < T:
            reset(t)
    input_gradients(dx, dW, db, gates, x, W, mask)
    if dU is not None:
        state = states_into_U(h, h0, keep, backwards, SOURCE)
        if du is not None:
            matmul(state.T, flat(du), out=dU)
        else:
            matmul(state.T, flat(gates)[:, : 2 * H], out=dU[:, : 2 * H])
            matmul(flat(inner).T, flat(gates)[:, 2 * H :], out=dU[:, 2 * H :])
    if dbu is not None and du is not None:
        column_sums(dbu, du)
