"""Long short-term memory on the CPU, see recurrent.py: float32 with tanh and sigmoid; the rest is the reference's."""

from tinynn.activation import Activation
from tinynn.backends.reference import lstm as reference

from . import tasks
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
    row_of,
    scale_row,
)
from .sigmoids import sigmoid, tanh
from .simd import compiled, entry_point
from .tasks import ENTRY, job, named
from .vectors import broadcast, flush_denormals, load_part, multiply_add, prefetch, restore_denormals, store_part

TANH, SIGMOID = Activation.TANH, Activation.SIGMOID
FIELDS = (*COMMON, *named("c gates c0 z z_stride gc dclast dc0"))
CELL = named("gates c c0 h dh dc dc0 M H rows nothing")
CELL_NUMBERS = 1 << 15
load_own = make_load_ints(8)
load_cell = make_load_ints(len(CELL))


# -- one row of one step -----------------------------------------------------------------------------------------------


@compiled()
def step_row(z, gates, c0, c, h, H, ahead):
    """z (4H) -> gates, c, h; c0, an address, may be 0 for zeros. The next row's states, bytes ahead, are fetched."""
    part = H * FLOAT
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        for gate in range(4):
            prefetch(gates + 4 * ahead + gate * part + p)
        prefetch(c + ahead + p)
        prefetch(h + ahead + p)
        i, f = sigmoid(load_part(z + p, lanes)), sigmoid(load_part(z + part + p, lanes))
        n, o = tanh(load_part(z + 2 * part + p, lanes)), sigmoid(load_part(z + 3 * part + p, lanes))
        memory = i * n
        if c0:
            memory = multiply_add(f, load_part(c0 + p, lanes), memory)
        store_part(i, gates + p, lanes)
        store_part(f, gates + part + p, lanes)
        store_part(n, gates + 2 * part + p, lanes)
        store_part(o, gates + 3 * part + p, lanes)
        store_part(memory, c + p, lanes)
        store_part(o * tanh(memory), h + p, lanes)


@compiled()
def step_row_backward(dz, dc0, dh, more, dc, c, gates, c0, H, ahead):
    """dh + more and dc -> dz (4H) and dc0; addresses: dc0, more, dh, dc and c0 may be 0, dc0 may be dc, dz gates.

    ahead as in `step_row`."""
    part, one = H * FLOAT, broadcast(1.0)
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        i, f = load_part(gates + p, lanes), load_part(gates + part + p, lanes)
        n, o = load_part(gates + 2 * part + p, lanes), load_part(gates + 3 * part + p, lanes)
        for gate in range(4):
            prefetch(gates + 4 * ahead + gate * part + p)
        m, g, d, old = tanh(load_part(c + p, lanes)), broadcast(0.0), broadcast(0.0), broadcast(0.0)
        if dh:
            g = load_part(dh + p, lanes)
        if more:
            g = g + load_part(more + p, lanes)
        if dc:
            d = load_part(dc + p, lanes)
        if c0:
            prefetch(c0 + ahead + p)
            old = load_part(c0 + p, lanes)
        d = multiply_add(g * o, one - m * m, d)
        store_part(d * n * (i * (one - i)), dz + p, lanes)
        store_part(d * old * (f * (one - f)), dz + part + p, lanes)
        store_part(d * i * (one - n * n), dz + 2 * part + p, lanes)
        store_part(g * m * (o * (one - o)), dz + 3 * part + p, lanes)
        if dc0:
            store_part(d * f, dc0 + p, lanes)


# -- a step of some rows -----------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def step(begin, t, job, work):
    _, N, T, _, H, rows, backwards, _, h, _, mask, _, _, _, _, _, _, _ = load_first(job)
    c, gates, c0, z, z_stride, _, _, _ = load_own(job + OWN)
    width, none = H * FLOAT, begin - begin
    for n in range(begin, min(begin + rows, N)):
        place, old = n * T + t, before(c, c0, n, t, T, width, backwards)
        new = c + place * width
        step_row(
            work + z + (n - begin) * z_stride, gates + 4 * place * width, old, new, h + place * width, H, T * width
        )
        if not lives(mask, place):
            scale_row(old, none, new, H)


@entry_point(ENTRY)
def step_backward(begin, t, job, work):
    (_, N, T, _, H, rows, backwards, _, _, _, mask, _, a, a_stride, _, _, _, _, dh, g, g_stride,
     held) = load_gradients(job)  # fmt: skip
    c, gates, c0, _, _, gc, dclast, dc0 = load_own(job + OWN)
    width, none = H * FLOAT, begin - begin
    last, first = (0, T - 1) if backwards else (T - 1, 0)
    for n in range(begin, min(begin + rows, N)):
        i, place = n - begin, n * T + t
        memory, gradient, dz = work + gc + i * g_stride, work + g + i * g_stride, work + a + i * a_stride
        old, more, kept = before(c, c0, n, t, T, width, backwards), row_of(dh, place, width), work + held + i * g_stride
        dc = memory if t != last else row_of(dclast, n, width)
        down = dc0 + n * width if dc0 and t == first else memory
        if lives(mask, place):
            step_row_backward(
                dz, down, gradient, more, dc, c + place * width, gates + 4 * place * width, old, H, T * width
            )
            if held:
                zero_bytes(kept, width)
        else:
            zero_bytes(dz, 4 * width)
            add_rows(gradient, none, more, kept, H)
            scale_row(dc, none, down, H)


# -- the protocol ------------------------------------------------------------------------------------------------------


def forward(h, c, gates, x, W, U, b, h0, c0, mask, r, kind, gate, backwards):
    """z = x_t W + b + (r h_{t-1}) U,  c_t = s(z_f) c_{t-1} + s(z_i) a(z_c),  h_t = s(z_o) a(c_t)"""
    if not (usual(h, c, gates) and x.size and kind is TANH and gate is SIGMOID):
        reference.forward(h, c, gates, x, W, U, b, h0, c0, mask, r, kind, gate, backwards)
        return
    F, H = x.shape[-1], h.shape[-1]
    call = Call(x, h, (F + H) * 4 * H, step=step(), h0=h0, mask=mask, r=r, backwards=int(backwards))
    call.set(c=c, gates=gates, c0=c0)
    a, z = call.room("a", H + F), call.room("z", 4 * H)
    call.product(a, Packed(U, W), z, b)
    call.run(forward_tasks, FIELDS)


def backward(
    dx, dW, dU, db, dh0, dc0, dh, dlast, dclast, x, W, U, h, c, gates, h0, c0, mask, r, kind, gate, backwards
):  # fmt: skip
    """Backpropagation through time; gates is lost."""
    if not (usual(h, c, gates, dx, dh0, dc0) and x.size and kind is TANH and gate is SIGMOID):
        reference.backward(
            dx, dW, dU, db, dh0, dc0, dh, dlast, dclast, x, W, U, h, c, gates, h0, c0, mask, r, kind, gate, backwards
        )  # fmt: skip
        return
    F, H = x.shape[-1], h.shape[-1]
    call = Call(x, h, 4 * H * H, step=step_backward(), h0=h0, mask=mask, r=r, backwards=int(backwards))
    call.set(c=c, gates=gates, c0=c0, dh=dh, dlast=dlast, dclast=dclast, dx=dx, dh0=dh0, dc0=dc0)
    a, g, _ = call.room("a", 4 * H), call.room("g", H), call.room("gc", H)
    call.product(a, Packed(U.T), g)
    if mask is not None:
        call.room("held", H)
    if dx is not None:
        call.product(a, Packed(W.T), call.room("gx", F))
    if not (dW is None and dU is None and db is None):
        call.keep(H + 1 + F, (0, 4 * H, 0, H + 1 + F))
    call.run(backward_tasks, FIELDS)
    if call.sums is not None:
        (C,) = call.sums.product()
        give(C, (dU, db, dW), (H, 1, F))


# -- the step by itself ------------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def cell_tasks(first, last, job, work):
    """Tasks first .. last-1, each of `rows` rows."""
    gates, c, c0, h, _, _, _, M, H, rows, _ = load_cell(job)
    width, denormals = H * FLOAT, flush_denormals()
    for m in range(first * rows, min(last * rows, M)):
        row = gates + 4 * m * width
        step_row(row, row, row_of(c0, m, width), c + m * width, h + m * width, H, width)
    restore_denormals(denormals)


@entry_point(ENTRY)
def cell_backward_tasks(first, last, job, work):
    gates, c, c0, _, dh, dc, dc0, M, H, rows, none = load_cell(job)
    width, denormals = H * FLOAT, flush_denormals()
    for m in range(first * rows, min(last * rows, M)):
        row, place = gates + 4 * m * width, m * width
        step_row_backward(row, row_of(dc0, m, width), row_of(dh, m, width), none, row_of(dc, m, width), c + place, row,
                          row_of(c0, m, width), H, width)  # fmt: skip
    restore_denormals(denormals)


def run_cell(tasks_of, gates, **arrays):
    """The rows in tasks of some 32 thousand numbers."""
    M, H = gates.shape[0], gates.shape[1] // 4
    rows = max(1, CELL_NUMBERS // (4 * H))
    places = {name: 0 if a is None else a.ctypes.data for name, a in arrays.items()}
    values = {"gates": gates.ctypes.data, "M": M, "H": H, "rows": rows, **places}
    tasks.run(tasks_of(), -(-M // rows), job(CELL, values), 0, gates.size < 4 * CELL_NUMBERS)


def cell(h, c, gates, c0, kind, gate):
    """i, f, o = s(z), n = a(z_c), in the place of z;  c = f c0 + i n,  h = o a(c)"""
    if usual(h, c, gates, c0) and kind is TANH and gate is SIGMOID:
        run_cell(cell_tasks, gates, h=h, c=c, c0=c0)
    else:
        reference.cell(h, c, gates, c0, kind, gate)


def cell_backward(dc0, dh, dc, c, gates, c0, kind, gate):
    """dz in the place of the gates; dc0 may be dc"""
    if usual(dc0, dh, dc, c, gates, c0) and kind is TANH and gate is SIGMOID:
        run_cell(cell_backward_tasks, gates, c=c, c0=c0, dh=dh, dc=dc, dc0=dc0)
    else:
        reference.cell_backward(dc0, dh, dc, c, gates, c0, kind, gate)
