"""Simple recurrence: h_t = f(x_t W + b + (r h_{t-1}) U);  x (N, T, F), W (F, H), U (H, H), b (H,), h (N, T, H).

x W of all steps is one product, in the place of h; then each step is one launch, see ``recurrent.py``.
"""

from __future__ import annotations

from tinynn.activation import Activation
from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.blas import matmul
from tinynn.backends.gpu.cuda import contiguous, given
from tinynn.backends.gpu.recurrent import (
    PLAIN,
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
from tinynn.backends.reference import rnn as reference
from tinynn.backends.reference.sequence import order
from tinynn.typing import Array

SIZES = sized("rnn", PLAIN, PLAIN)
SOURCE, OF_MIDDLE, OF_LARGE = (size.source for size in SIZES)


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
    """The formula above, step by step; where mask (N, T) is False, the state is carried over."""
    if not (h.size and x.size):
        reference.forward(h, x, W, U, b, h0, mask, r, kind, backwards)
        return
    N, T, H = h.shape
    projected(h, x, W)
    U, b, mask, r = map(given, (U, b, mask, r))
    h0, fed = first_states(h, h0, r)
    step = launcher(
        SIZES, "forward", "rnn_step", 1, N, H, h, fed, U, b, h0, mask, r, N, T, H, *numbers(kind), backwards
    )  # fmt: skip
    for t in order(T, backwards):
        step(t)


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
    """From the last step to the first: dz_t = g_t f'(h_t), g_{t-1} += r (dz_t U'). Then the products over all steps."""
    if not (h.size and x.size):
        reference.backward(dx, dW, dU, db, dh0, dh, dlast, x, W, U, h, h0, mask, r, kind, backwards)
        return
    N, T, H = h.shape
    dh, dlast, h, h0, mask, r = map(given, (dh, dlast, h, h0, mask, r))
    dz = cuda.cupy.empty((N, T, H), h.dtype)
    carried = cuda.cupy.empty((N, H), h.dtype) if dh0 is None else dh0
    step = launcher(
        SIZES, "backward", "rnn_step_backward", 1, N, H,
        dz, carried, dh, dlast, contiguous(U.T), h, mask, r, N, T, H, *numbers(kind), backwards,
    )  # fmt: skip
    for t in back(T, backwards, dh0 is not None):
        step(t)
    input_gradients(dx, dW, db, dz, x, W, mask)
    if dU is not None:
        matmul(states_into_U(h, h0, r, backwards, SOURCE).T, flat(dz), out=dU)
