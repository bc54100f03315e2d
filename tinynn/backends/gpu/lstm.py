"""Long short-term memory: gates i, f, c, o side by side, z_t = x_t W + b + (r h_{t-1}) U,

c_t = s(z_f) c_{t-1} + s(z_i) a(z_c),  h_t = s(z_o) a(c_t);  x (N, T, F), W (F, 4H), U (H, 4H), b (4H,), h, c (N, T, H).

x W of all steps is one product, in the place of the gates; then each step is one launch, see ``recurrent.py``.
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.blas import matmul
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
from tinynn.backends.reference import lstm as reference
from tinynn.backends.reference.sequence import order
from tinynn.typing import Array

SIZES = sized("lstm", GATED, DEEP)
SOURCE, OF_MIDDLE, OF_LARGE = (size.source for size in SIZES)


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
    """The formulas above, step by step; where mask (N, T) is False, h and c are carried over."""
    if not (h.size and x.size):
        reference.forward(h, c, gates, x, W, U, b, h0, c0, mask, r, kind, gate, backwards)
        return
    N, T, H = h.shape
    projected(gates, x, W)
    c0, U, b, mask, r = map(given, (c0, U, b, mask, r))
    h0, fed = first_states(h, h0, r)
    if c0 is None:
        c0 = cuda.cupy.zeros((N, H), h.dtype)
    step = launcher(
        SIZES, "forward", "lstm_step", 4, N, H,
        h, c, gates, fed, U, b, h0, c0, mask, r, N, T, H, *numbers(kind, gate), backwards,
    )  # fmt: skip
    for t in order(T, backwards):
        step(t)


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
    """From the last step to the first; dz takes the place of the gates. Then the products over all steps."""
    if not (h.size and x.size):
        reference.backward(
            dx, dW, dU, db, dh0, dc0, dh, dlast, dclast, x, W, U, h, c, gates, h0, c0, mask, r, kind, gate, backwards
        )  # fmt: skip
        return
    N, T, H = h.shape
    dh, dlast, dclast, h, c, h0, c0, mask, r = map(given, (dh, dlast, dclast, h, c, h0, c0, mask, r))
    carried = cuda.cupy.empty((N, H), h.dtype) if dh0 is None else dh0
    gc = cuda.cupy.empty((N, H), h.dtype) if dc0 is None else dc0
    first_c = cuda.cupy.zeros((N, H), h.dtype) if c0 is None else c0
    step = launcher(
        SIZES, "backward", "lstm_step_backward", 1, N, H,
        gates, carried, gc, dh, dlast, dclast, contiguous(U.T), c, first_c, mask, r, N, T, H, *numbers(kind, gate),
        backwards,
    )  # fmt: skip
    for t in back(T, backwards, dh0 is not None):
        step(t)
    input_gradients(dx, dW, db, gates, x, W, mask)
    if dU is not None:
        matmul(states_into_U(h, h0, r, backwards, SOURCE).T, flat(gates), out=dU)


def cell(h: Array, c: Array, gates: Array, c0: Array | None, kind: Activation, gate: Activation) -> None:
    """i, f, o = s(z), n = a(z_c), in the place of z;  c = f c0 + i n,  h = o a(c)"""
    c0 = given(c0)
    SOURCE.each("lstm_cell", h.size, h, c, gates, c0, h.shape[-1], *numbers(kind, gate))


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
    """dz of that step in the place of the gates, and dc0 = dc f. dc0 may be dc."""
    dh, dc, c, c0 = map(given, (dh, dc, c, c0))
    SOURCE.each(
        "lstm_cell_backward", c.size, gates, dc0, dh, dc, c, c0, c.shape[-1], *numbers(kind, gate)
    )  # fmt: skip
