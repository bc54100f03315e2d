"""Gated recurrent unit on the CPU, see recurrent.py: float32 with tanh and sigmoid; the rest is the reference's.

With reset_after a step is one pass behind three products: z and r, n's part of x, and n's part of h'. Without, r comes
first, and n's product stands between two passes; backward likewise.
"""

from tinynn.activation import Activation
from tinynn.backends.reference import gru as reference

from .call import Call, give, usual
from .microkernel import make_load_ints, zero_bytes
from .panels import STEP, Packed
from .plan import FLOAT
from .recurrent import (
    COMMON,
    OWN,
    add_rows,
    backward_tasks,
    before,
    forward_tasks,
    lives,
    load_first,
    load_gradients,
    multiply,
    row_of,
)
from .sigmoids import sigmoid, tanh
from .simd import compiled, entry_point
from .tasks import ENTRY, named
from .vectors import broadcast, load_part, multiply_add, prefetch, store_part

TANH, SIGMOID = Activation.TANH, Activation.SIGMOID
FIELDS = (*COMMON, *named("gates inner reset_after z z_stride zn zn_stride zi zi_stride e inside"))
STEP_FIELDS = 11
load_own = make_load_ints(STEP_FIELDS)


# -- one row of one step -----------------------------------------------------------------------------------------------


@compiled()
def gates_row(zr, gates, state, inner, reset, H, ahead):
    """z, r = s(zr) -> gates, and where `reset`, an address, is not 0: r h' -> inner and reset.

    The next row's states, `ahead` bytes further, are fetched."""
    part = H * FLOAT
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        prefetch(gates + 3 * ahead + p)
        prefetch(gates + 3 * ahead + part + p)
        prefetch(inner + ahead + p)
        r = sigmoid(load_part(zr + part + p, lanes))
        store_part(sigmoid(load_part(zr + p, lanes)), gates + p, lanes)
        store_part(r, gates + part + p, lanes)
        if reset:
            s = r * load_part(state + p, lanes)
            store_part(s, inner + p, lanes)
            store_part(s, reset + p, lanes)


@compiled()
def step_row(zn, zi, gates, inner, h0, h, H, ahead):
    """n = a(zn + r zi) -> gates, h = z h0 + (1 - z) n; addresses: zi, which is kept in inner, and h0 may be 0."""
    part, one = H * FLOAT, broadcast(1.0)
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        prefetch(gates + 3 * ahead + 2 * part + p)
        prefetch(h + ahead + p)
        n, z = load_part(zn + p, lanes), load_part(gates + p, lanes)
        if zi:
            u = load_part(zi + p, lanes)
            store_part(u, inner + p, lanes)
            n = multiply_add(load_part(gates + part + p, lanes), u, n)
        n = tanh(n)
        y = (one - z) * n
        if h0:
            y = multiply_add(z, load_part(h0 + p, lanes), y)
        store_part(n, gates + 2 * part + p, lanes)
        store_part(y, h + p, lanes)


@compiled()
def step_row_backward(dz, held, dh, more, gates, inner, h0, H, ahead):
    """dh + more -> dz = (dn, dz, ..) and held, what goes to h_{t-1} past the products. Where inner, an address, is
    not 0 also dr and dn r. more and h0 may be 0."""
    part, one = H * FLOAT, broadcast(1.0)
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        z, r, n = (
            load_part(gates + p, lanes),
            load_part(gates + part + p, lanes),
            load_part(gates + 2 * part + p, lanes),
        )
        g, old = load_part(dh + p, lanes), broadcast(0.0)
        if more:
            g = g + load_part(more + p, lanes)
        if h0:
            prefetch(h0 + ahead + p)
            old = load_part(h0 + p, lanes)
        dn = g * (one - z) * (one - n * n)
        store_part(dn, dz + p, lanes)
        store_part(g * (old - n) * (z * (one - z)), dz + part + p, lanes)
        store_part(g * z, held + p, lanes)
        if inner:
            store_part(dn * load_part(inner + p, lanes) * (r * (one - r)), dz + 2 * part + p, lanes)
            store_part(dn * r, dz + 3 * part + p, lanes)


@compiled()
def reset_row_backward(dz, held, e, keep, gates, h0, H):
    """dr = e h' s'(r) behind (dn, dz), and h' gets e r; keep, the factor of h' = keep h0, and h0 may be 0."""
    part, one = H * FLOAT, broadcast(1.0)
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        r, d, old = load_part(gates + part + p, lanes), load_part(e + p, lanes), broadcast(0.0)
        if keep:
            d = d * load_part(keep + p, lanes)
        if h0:
            old = load_part(h0 + p, lanes)
        store_part(d * old * (r * (one - r)), dz + 2 * part + p, lanes)
        store_part(multiply_add(d, r, load_part(held + p, lanes)), held + p, lanes)


# -- a step of some rows -----------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def step(begin, t, job, work):
    _, N, T, F, H, rows, backwards, _, h, h0, _, _, a, a_stride, product, _, _, _ = load_first(job)
    gates, inner, reset_after, z, z_stride, zn, zn_stride, zi, zi_stride, _, _ = load_own(job + OWN)
    width, none = H * FLOAT, begin - begin
    end = min(begin + rows, N)
    for n in range(begin, end):
        place, row = n * T + t, work + a + (n - begin) * a_stride
        reset = none if reset_after else row + width + F * FLOAT
        gates_row(work + z + (n - begin) * z_stride, gates + 3 * place * width, row, inner + place * width, reset, H,
                  T * width)  # fmt: skip
    if not reset_after:
        multiply(product, none + 1, work)
    for n in range(begin, end):
        place, known = n * T + t, work + zi + (n - begin) * zi_stride if reset_after else none
        step_row(work + zn + (n - begin) * zn_stride, known, gates + 3 * place * width, inner + place * width,
                 before(h, h0, n, t, T, width, backwards), h + place * width, H, T * width)  # fmt: skip


@entry_point(ENTRY)
def step_backward(begin, t, job, work):
    (_, N, T, _, H, rows, backwards, _, h, h0, mask, keep, a, a_stride, product, _, _, _, dh, g, g_stride,
     held) = load_gradients(job)  # fmt: skip
    gates, inner, reset_after, _, _, _, _, _, _, e, inside = load_own(job + OWN)
    width, none = H * FLOAT, begin - begin
    a, g, held, e = work + a, work + g, work + held, work + e
    end = min(begin + rows, N)
    for n in range(begin, end):
        i, place = n - begin, n * T + t
        more, dz, old = row_of(dh, place, width), a + i * a_stride, before(h, h0, n, t, T, width, backwards)
        if lives(mask, place):
            known = inner + place * width if reset_after else none
            step_row_backward(dz, held + i * g_stride, g + i * g_stride, more, gates + 3 * place * width, known, old, H,
                              T * width)  # fmt: skip
        else:
            zero_bytes(dz, 4 * width if reset_after else 3 * width)
            add_rows(g + i * g_stride, none, more, held + i * g_stride, H)
    if reset_after:
        return
    multiply(product, inside, work)
    for n in range(begin, end):
        i, place = n - begin, n * T + t
        if lives(mask, place):
            old = before(h, h0, n, t, T, width, backwards)
            reset_row_backward(a + i * a_stride, held + i * g_stride, e + i * g_stride, row_of(keep, n, width),
                               gates + 3 * place * width, old, H)  # fmt: skip


# -- the protocol ------------------------------------------------------------------------------------------------------


def forward(h, gates, inner, x, W, U, b, bu, h0, mask, keep, kind, gate, reset_after, backwards):
    """z, r = s(x W + b + h' U),  n = a(x W_n + b_n + inner),  h_t = z h_{t-1} + (1 - z) n,  h' = keep h_{t-1}"""
    if not (usual(h, gates, inner) and x.size and kind is TANH and gate is SIGMOID):
        reference.forward(h, gates, inner, x, W, U, b, bu, h0, mask, keep, kind, gate, reset_after, backwards)
        return
    F, H = x.shape[-1], h.shape[-1]
    call = Call(x, h, (F + H) * 3 * H, step=step(), h0=h0, mask=mask, r=keep, backwards=int(backwards))
    call.set(gates=gates, inner=inner, reset_after=int(reset_after))
    a, stride = call.room("a", H + F if reset_after else H + F + H)
    of_x = a + H * FLOAT, stride
    z, zn = call.room("z", 2 * H), call.room("zn", H)
    n = slice(2 * H, None)
    call.product((a, stride), Packed(U[:, : 2 * H], W[:, : 2 * H]), z, total(b, bu, slice(0, 2 * H)))
    if reset_after:
        call.product(of_x, Packed(W[:, n]), zn, total(b, None, n))
        call.product((a, stride), Packed(U[:, n]), call.room("zi", H), total(bu, None, n))
    else:
        call.product(of_x, Packed(W[:, n], U[:, n]), zn, total(b, bu, n))
        call.set(products=1)
    call.run(forward_tasks, FIELDS)


def total(b, bu, columns):
    """The sum of the biases that are there, of these columns."""
    there = [bias[columns] for bias in (b, bu) if bias is not None]
    return sum(there[1:], start=there[0]) if there else None


def backward(
    dx, dW, dU, db, dbu, dh0, dh, dlast, x, W, U, bu, h, gates, inner, h0, mask, keep, kind, gate, reset_after,
    backwards,
):  # fmt: skip
    """Backpropagation through time; gates and inner are lost."""
    if not (usual(h, gates, inner, dx, dh0) and x.size and kind is TANH and gate is SIGMOID):
        reference.backward(
            dx, dW, dU, db, dbu, dh0, dh, dlast, x, W, U, bu, h, gates, inner, h0, mask, keep, kind, gate,
            reset_after, backwards,
        )  # fmt: skip
        return
    F, H = x.shape[-1], h.shape[-1]
    call = Call(x, h, 3 * H * H, step=step_backward(), h0=h0, mask=mask, r=keep, backwards=int(backwards))
    call.set(gates=gates, inner=inner, reset_after=int(reset_after), dh=dh, dlast=dlast, dx=dx, dh0=dh0)
    # A is (dn, dz, dr), and with reset_after (dn, dz, dr, dn r): the last three belong to U then.
    a, stride = call.room("a", 4 * H if reset_after else 3 * H)
    behind = a + H * FLOAT, stride
    call.product(behind, Packed(U.T if reset_after else U[:, : 2 * H].T), call.room("g", H))
    call.room("held", H)
    if dx is not None:
        call.product((a, stride), Packed(W[:, 2 * H :].T, W[:, : 2 * H].T), call.room("gx", F))
    if not reset_after:
        call.set(inside=len(call.products))
        call.product((a, stride), Packed(U[:, 2 * H :].T), call.room("e", H))
    if not (dW is None and dU is None and db is None and dbu is None):
        keep_gradients(call, F, H, reset_after)
    call.run(backward_tasks, FIELDS)
    if call.sums is not None:
        give_gradients(call.sums.product(), dW, dU, db, dbu, reset_after)


def keep_gradients(call, F, H, reset_after):
    """The rows of C are [h' | 1 | x], without reset_after [h' | 1 | x | r h'], of which n wants all but h'."""
    M, width = H + 1 + F, H * FLOAT
    if reset_after:
        call.keep(M, (width, 2 * H, 0, M), (0, H, H, M), (3 * width, H, 0, H + 1))
    else:
        call.keep(M + H, (width, 2 * H, 0, M), (0, H, H, M + H))
        call.set(extra=call.values["inner"])


def give_gradients(C, dW, dU, db, dbu, reset_after):
    """What is wanted of the products that `keep_gradients` asked for."""
    H = C[0].shape[1] // 2
    halves = [[None if d is None else d[..., c] for d in (dU, db, dbu, dW)] for c in (slice(2 * H), slice(2 * H, None))]
    (U, b, bu, W), (Un, bn, bun, Wn) = halves
    F = C[0].shape[0] - H - 1 if reset_after else C[0].shape[0] - 2 * H - 1
    give(C[0], (U, b, W), (H, 1, F))
    give(C[0][H:], (bu,), (1,))
    give(C[1][H:], (bn, Wn), (1, F))
    if reset_after:
        give(C[2], (Un, bun), (H, 1))
    else:
        give(C[1][H + 1 + F :], (Un,), (H,))
