"""Long short-term memory on the CPU, see recurrent.py: float32 with tanh and sigmoid; the rest is the reference's."""

import numpy as np

from tinynn.activation import Activation
from tinynn.backends.reference import lstm as reference

from .microkernel import call_range, make_load_ints, zero_bytes
from .plan import FLOAT, PANEL
from .recurrent import (
    KEPT_STEP,
    PANEL_STEP,
    STEP,
    Gradients,
    Packed,
    add_rows,
    before,
    block,
    copy_row,
    give,
    ints,
    keep_inputs,
    lives,
    multiply_panels,
    padded,
    row_of,
    row_stride,
    rows_of_a_task,
    run,
    scale_row,
    scatter_row,
    straight,
    usual,
    write_product,
)
from .sigmoids import sigmoid, tanh
from .simd import compiled, entry_point
from .tasks import ENTRY, job, named
from .vectors import broadcast, flush_denormals, load_part, multiply_add, restore_denormals, store_part

FORWARD = named(
    "x h c gates h0 c0 mask r packed panel_stride panels bias product N T F H rows backwards a_stride z_stride"
)
BACKWARD = named(
    "x h c gates h0 c0 mask r dh dlast dclast dx dh0 dc0 packed panel_stride panels packed_x panel_stride_x panels_x "
    "product kept kept_stride dz dz_stride N T F H rows backwards a_stride g_stride x_stride"
)
CELL = named("h c gates c0 dc0 dh dc M H")
TANH, SIGMOID = Activation.TANH, Activation.SIGMOID
load_forward = make_load_ints(len(FORWARD))
load_backward = make_load_ints(len(BACKWARD))
load_cell = make_load_ints(len(CELL))
PLAN = 256
"""Bytes of the lists of products at the beginning of a task's scratch."""


# -- one row of one step -----------------------------------------------------------------------------------------------


@compiled()
def step_row(z, gates, c0, c, h, H):
    """z (4H) -> gates, c, h; c0, an address, may be 0 for zeros."""
    part = H * FLOAT
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
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
def step_row_backward(dz, dc0, dh, more, dc, c, gates, c0, H):
    """dh + more and dc -> dz (4H) and dc0; addresses: dc0, more, dh, dc and c0 may be 0, dc0 may be dc, dz gates."""
    part, one = H * FLOAT, broadcast(1.0)
    for p in range(0, part, STEP):
        lanes = H - p // FLOAT
        i, f = load_part(gates + p, lanes), load_part(gates + part + p, lanes)
        n, o = load_part(gates + 2 * part + p, lanes), load_part(gates + 3 * part + p, lanes)
        m, g, d, old = tanh(load_part(c + p, lanes)), broadcast(0.0), broadcast(0.0), broadcast(0.0)
        if dh:
            g = load_part(dh + p, lanes)
        if more:
            g = g + load_part(more + p, lanes)
        if dc:
            d = load_part(dc + p, lanes)
        if c0:
            old = load_part(c0 + p, lanes)
        d = multiply_add(g * o, one - m * m, d)
        store_part(d * n * (i * (one - i)), dz + p, lanes)
        store_part(d * old * (f * (one - f)), dz + part + p, lanes)
        store_part(d * i * (one - n * n), dz + 2 * part + p, lanes)
        store_part(g * m * (o * (one - o)), dz + 3 * part + p, lanes)
        if dc0:
            store_part(d * f, dc0 + p, lanes)


# -- all steps of some rows --------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def forward_tasks(first, last, job, work):
    """Tasks first .. last-1, each of `rows` sequences."""
    (x, h, c, gates, h0, c0, mask, r, packed, panel_stride, panels, bias, product,
     N, T, F, H, rows, backwards, a_stride, z_stride) = load_forward(job)  # fmt: skip
    denormals = flush_denormals()
    width, none = H * FLOAT, np.int64(0)
    a = work + PLAN
    z, state = a + rows * a_stride, a + F * FLOAT
    for begin in range(first * rows, min(last * rows, N), rows):
        count = min(rows, N - begin)
        write_product(work, a, a_stride, packed, panel_stride, F + H, z, z_stride, bias, count)
        for i in range(count):
            scale_row(row_of(h0, begin + i, width), row_of(r, begin + i, width), state + i * a_stride, H)
        for s in range(T):
            t = T - 1 - s if backwards else s
            for i in range(count):
                copy_row(x + ((begin + i) * T + t) * F * FLOAT, a + i * a_stride, F)
            call_range(product, none, panels, work, 0)
            for i in range(count):
                n = begin + i
                place, old_c = n * T + t, before(c, c0, n, t, T, width, backwards)
                new_h, new_c = h + place * width, c + place * width
                step_row(z + i * z_stride, gates + 4 * place * width, old_c, new_c, new_h, H)
                if not lives(mask, place):
                    scale_row(before(h, h0, n, t, T, width, backwards), none, new_h, H)
                    scale_row(old_c, none, new_c, H)
                scale_row(new_h, row_of(r, n, width), state + i * a_stride, H)
    restore_denormals(denormals)


@entry_point(ENTRY)
def backward_tasks(first, last, job, work):
    """The same back: dz of a step is in the scratch as A of the product with U', and goes where dW is made of it."""
    (x, h, c, gates, h0, c0, mask, r, dh, dlast, dclast, dx, dh0, dc0, packed, panel_stride, panels,
     packed_x, panel_stride_x, panels_x, product, kept, kept_stride, dz, dz_stride,
     N, T, F, H, rows, backwards, a_stride, g_stride, x_stride) = load_backward(job)  # fmt: skip
    denormals = flush_denormals()
    width, none = H * FLOAT, np.int64(0)
    a = work + PLAN
    g = a + rows * a_stride
    held, gc, gx = g + rows * g_stride, g + 2 * rows * g_stride, g + 3 * rows * g_stride
    inputs = gx + rows * x_stride
    for begin in range(first * rows, min(last * rows, N), rows):
        count = min(rows, N - begin)
        write_product(work, a, a_stride, packed, panel_stride, 4 * H, g, g_stride, none, count)
        write_product(work + PLAN // 2, a, a_stride, packed_x, panel_stride_x, 4 * H, gx, x_stride, none, count)
        for i in range(count):
            scale_row(row_of(dlast, begin + i, width), none, g + i * g_stride, H)
            scale_row(row_of(dclast, begin + i, width), none, gc + i * g_stride, H)
        for s in range(T):
            t = s if backwards else T - 1 - s
            for i in range(count):
                n = begin + i
                place, row, memory, gradient = n * T + t, a + i * a_stride, gc + i * g_stride, g + i * g_stride
                more, old_c = row_of(dh, place, width), before(c, c0, n, t, T, width, backwards)
                if lives(mask, place):
                    step_row_backward(row, memory, gradient, more, memory, c + place * width,
                                      gates + 4 * place * width, old_c, H)  # fmt: skip
                else:
                    zero_bytes(row, 4 * width)
                    add_rows(gradient, more, held + i * g_stride, H)
                if kept:
                    k, old_h = t * N + n, before(h, h0, n, t, T, width, backwards)
                    keep_inputs(x + place * F * FLOAT, F, old_h, row_of(r, n, width), H,
                                inputs, kept + k * KEPT_STEP, kept_stride)  # fmt: skip
                    scatter_row(row, 4 * H, PANEL, dz + k * PANEL_STEP, dz_stride)
            call_range(product, none, panels, work, 0)
            if dx:
                call_range(product, none, panels_x, work + PLAN // 2, 0)
            for i in range(count):
                n, gradient = begin + i, g + i * g_stride
                if dx:
                    copy_row(gx + i * x_stride, dx + (n * T + t) * F * FLOAT, F)
                if not lives(mask, n * T + t):
                    copy_row(held + i * g_stride, gradient, H)
                elif r:
                    scale_row(gradient, row_of(r, n, width), gradient, H)
        for i in range(count):
            if dh0:
                copy_row(g + i * g_stride, dh0 + (begin + i) * width, H)
            if dc0:
                copy_row(gc + i * g_stride, dc0 + (begin + i) * width, H)
    restore_denormals(denormals)


# -- the protocol ------------------------------------------------------------------------------------------------------


def forward(h, c, gates, x, W, U, b, h0, c0, mask, r, kind, gate, backwards):
    """z = x_t W + b + (r h_{t-1}) U,  c_t = s(z_f) c_{t-1} + s(z_i) a(z_c),  h_t = s(z_o) a(c_t)"""
    if not (usual(h, c, gates) and x.size and kind is TANH and gate is SIGMOID):
        reference.forward(h, c, gates, x, W, U, b, h0, c0, mask, r, kind, gate, backwards)
        return
    N, T, F, H = *x.shape, h.shape[-1]
    packed, bias = Packed(W, U), padded(b, 4 * H)
    x, h0, c0, mask, r = straight(x, h0, c0, mask, r)
    rows, a_stride, z_stride = rows_of_a_task(N, T * (F + H) * 4 * H), row_stride(F + H), row_stride(4 * H)
    arrays = ints(x=x, h=h, c=c, gates=gates, h0=h0, c0=c0, mask=mask, r=r, bias=bias)
    products = ints(packed=packed.place(), panel_stride=packed.stride, panels=packed.panels, product=multiply_panels())
    sizes = ints(N=N, T=T, F=F, H=H, rows=rows, backwards=int(backwards), a_stride=a_stride, z_stride=z_stride)
    run(forward_tasks(), N, rows, job(FORWARD, arrays | products | sizes), PLAN + block(rows) * (a_stride + z_stride))


def backward(
    dx, dW, dU, db, dh0, dc0, dh, dlast, dclast, x, W, U, h, c, gates, h0, c0, mask, r, kind, gate, backwards
):  # fmt: skip
    """Backpropagation through time; gates is lost."""
    if not (usual(h, c, gates, dx, dh0, dc0) and x.size and kind is TANH and gate is SIGMOID):
        reference.backward(
            dx, dW, dU, db, dh0, dc0, dh, dlast, dclast, x, W, U, h, c, gates, h0, c0, mask, r, kind, gate, backwards
        )  # fmt: skip
        return
    N, T, F, H = *x.shape, h.shape[-1]
    packed = Packed(U.T)
    packed_x = packed if dx is None else Packed(W.T)
    sums = None if dW is None and dU is None and db is None else Gradients(N * T, F + 1 + H, (4 * H, 0, F + 1 + H))
    x, h0, c0, mask, r, dh, dlast, dclast = straight(x, h0, c0, mask, r, dh, dlast, dclast)
    rows, a_stride, g_stride, x_stride = (
        rows_of_a_task(N, T * H * 4 * H),
        row_stride(4 * H),
        row_stride(H),
        row_stride(F),
    )
    arrays = ints(x=x, h=h, c=c, gates=gates, h0=h0, c0=c0, mask=mask, r=r, dh=dh, dlast=dlast, dclast=dclast)
    results = ints(dx=dx, dh0=dh0, dc0=dc0)
    products = ints(packed=packed.place(), panel_stride=packed.stride, panels=packed.panels, product=multiply_panels())
    more = ints(packed_x=packed_x.place(), panel_stride_x=packed_x.stride, panels_x=packed_x.panels)
    sizes = ints(N=N, T=T, F=F, H=H, rows=rows, backwards=int(backwards))
    strides = ints(a_stride=a_stride, g_stride=g_stride, x_stride=x_stride)
    kept = {} if sums is None else sums.fields()
    work = PLAN + block(rows) * (a_stride + 3 * g_stride + x_stride) + row_stride(F + 1 + H)
    fields = arrays | results | products | more | sizes | strides | kept
    run(backward_tasks(), N, rows, job(BACKWARD, fields), work)
    if sums is not None:
        (C,) = sums.product()
        give(C, (dW, db, dU), (F, 1, H))


# -- the step by itself ------------------------------------------------------------------------------------------------

cell, cell_backward = reference.cell, reference.cell_backward
