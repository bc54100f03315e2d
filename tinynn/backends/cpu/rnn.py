"""Simple recurrence on the CPU, see recurrent.py: float32 with tanh, relu or none; the rest is the reference's."""

from tinynn.activation import Activation
from tinynn.backends.reference import rnn as reference

from .call import Call, give, usual
from .microkernel import make_load_ints, zero_bytes
from .panels import STEP, Packed
from .plan import FLOAT
from .recurrent import (
    COMMON,
    OWN,
    add_rows,
    backward_tasks,
    forward_tasks,
    lives,
    load_first,
    load_gradients,
    row_of,
)
from .sigmoids import tanh
from .simd import compiled, entry_point
from .tasks import ENTRY, named
from .vectors import at_least, broadcast, load_part, prefetch, select_at_most, store_part

FIELDS = (*COMMON, *named("kind z z_stride"))
KINDS = {Activation.LINEAR: 0, Activation.RELU: 1, Activation.TANH: 2}
load_own = make_load_ints(3)


# -- one row of one step -----------------------------------------------------------------------------------------------


@compiled()
def step_row(z, h, H, kind, ahead):
    """h = f(z). The next row's states, `ahead` bytes further, are fetched."""
    for p in range(0, H * FLOAT, STEP):
        lanes = H - p // FLOAT
        prefetch(h + ahead + p)
        y = load_part(z + p, lanes)
        if kind == 2:
            y = tanh(y)
        elif kind == 1:
            y = at_least(y, broadcast(0.0))
        store_part(y, h + p, lanes)


@compiled()
def step_row_backward(dz, g, more, h, H, kind):
    """dz = (g + more) f'(h); more, an address, may be 0."""
    zero, one = broadcast(0.0), broadcast(1.0)
    for p in range(0, H * FLOAT, STEP):
        lanes = H - p // FLOAT
        y, d = load_part(h + p, lanes), load_part(g + p, lanes)
        if more:
            d = d + load_part(more + p, lanes)
        if kind == 2:
            d = d * (one - y * y)
        elif kind == 1:
            d = select_at_most(y, zero, zero, d)
        store_part(d, dz + p, lanes)


# -- a step of some rows -----------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def step(begin, t, job, work):
    _, N, T, _, H, rows, _, _, h, _, _, _, _, _, _, _, _, _ = load_first(job)
    kind, z, z_stride = load_own(job + OWN)
    for n in range(begin, min(begin + rows, N)):
        step_row(work + z + (n - begin) * z_stride, h + (n * T + t) * H * FLOAT, H, kind, T * H * FLOAT)


@entry_point(ENTRY)
def step_backward(begin, t, job, work):
    (_, N, T, _, H, rows, _, _, h, _, mask, _, a, a_stride, _, _, _, _, dh, g, g_stride,
     held) = load_gradients(job)  # fmt: skip
    kind, _, _ = load_own(job + OWN)
    width, none = H * FLOAT, begin - begin
    for n in range(begin, min(begin + rows, N)):
        i, place = n - begin, n * T + t
        gradient, dz, kept = work + g + i * g_stride, work + a + i * a_stride, work + held + i * g_stride
        more = row_of(dh, place, width)
        if lives(mask, place):
            step_row_backward(dz, gradient, more, h + place * width, H, kind)
            if held:
                zero_bytes(kept, width)
        else:
            zero_bytes(dz, width)
            add_rows(gradient, none, more, kept, H)


# -- the protocol ------------------------------------------------------------------------------------------------------


def forward(h, x, W, U, b, h0, mask, r, kind, backwards):
    """h_t = f(x_t W + b + (r h_{t-1}) U)"""
    if not (usual(h) and x.size and kind in KINDS):
        reference.forward(h, x, W, U, b, h0, mask, r, kind, backwards)
        return
    F, H = x.shape[-1], h.shape[-1]
    call = Call(x, h, (F + H) * H, step=step(), h0=h0, mask=mask, r=r, backwards=int(backwards), kind=KINDS[kind])
    call.product(call.room("a", H + F), Packed(U, W), call.room("z", H), b)
    call.run(forward_tasks, FIELDS)


def backward(dx, dW, dU, db, dh0, dh, dlast, x, W, U, h, h0, mask, r, kind, backwards):
    """dz_t = g_t f'(h_t); dx = dz W', dW = sum x_t' dz_t, dU = sum (r h_{t-1})' dz_t, db = sum dz_t"""
    if not (usual(h, dx, dh0) and x.size and kind in KINDS):
        reference.backward(dx, dW, dU, db, dh0, dh, dlast, x, W, U, h, h0, mask, r, kind, backwards)
        return
    F, H = x.shape[-1], h.shape[-1]
    call = Call(x, h, H * H, step=step_backward(), h0=h0, mask=mask, r=r, backwards=int(backwards), kind=KINDS[kind])
    call.set(dh=dh, dlast=dlast, dx=dx, dh0=dh0)
    a = call.room("a", H)
    call.product(a, Packed(U.T), call.room("g", H))
    if mask is not None:
        call.room("held", H)
    if dx is not None:
        call.product(a, Packed(W.T), call.room("gx", F))
    if not (dW is None and dU is None and db is None):
        call.keep(H + 1 + F, (0, H, 0, H + 1 + F))
    call.run(backward_tasks, FIELDS)
    if call.sums is not None:
        (C,) = call.sums.product()
        give(C, (dU, db, dW), (H, 1, F))
