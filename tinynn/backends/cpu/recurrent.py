"""The loop over the steps that the recurrent rows share; what is done in a step stands in lstm.py, gru.py, rnn.py,
what is told to the tasks in call.py.

A task is a block of sequences that goes through all steps by itself; threads do not wait for each other in between. A
step is a product of what lies side by side in the task's scratch, [h' | x_t], with [U; W], packed once per call in the
order of the micro-kernel; then one pass over the gates, row by row. Backward the same: dz_t with U' and W'.

A row's numbers depend on no other row: every element of a product is one chain over its depth. So the blocks may be cut
as it suits the threads. Sums over rows, which are the weight gradients, go over all steps at once: backward leaves dz
and [h' | 1 | x] in panels in the order of the steps, and the tasks of that product are cut by shape.
"""

import numpy as np

from .microkernel import call_range, load_int, make_load_ints, store_float, store_int, zero_bytes
from .panels import (
    KEPT_STEP,
    PANEL_STEP,
    PRODUCT_INTS,
    STEP,
    prefetch_lines,
    scatter_row,
)
from .plan import FLOAT, HIGH, PANEL
from .simd import compiled, entry_point
from .tasks import ENTRY, named
from .vectors import flush_denormals, load_part, multiply_add, restore_denormals, store_part

PLAN_STEP = 8 * (PRODUCT_INTS + 1)
PLANS = 4 * PLAN_STEP
"""Bytes of the lists of products at the beginning of a task's scratch."""

COMMON = named(
    "step N T F H rows backwards x h h0 mask r a a_stride product products plans plans_at dh g g_stride held "
    "dlast dx dh0 gx gx_stride kept_row extra kept kept_stride parts parts_at"
)
"""The first fields of every job, a row's own follow. a, g, held, gx and kept_row are offsets in the scratch."""
OWN = 8 * len(COMMON)
load_first, load_gradients = make_load_ints(18), make_load_ints(22)
load_common = make_load_ints(len(COMMON))
load_entry = make_load_ints(PRODUCT_INTS)
load_piece = make_load_ints(4)


# -- rows --------------------------------------------------------------------------------------------------------------


@compiled()
def copy_row(source, target, count):
    for p in range(0, FLOAT * count, STEP):
        lanes = count - p // FLOAT
        store_part(load_part(source + p, lanes), target + p, lanes)


@compiled()
def scale_row(source, factor, target, count):
    """target = source factor; factor 0, an address, is 1, and source 0 is a row of zeros."""
    if source == 0:
        zero_bytes(target, FLOAT * count)
    elif factor == 0:
        copy_row(source, target, count)
    else:
        for p in range(0, FLOAT * count, STEP):
            lanes = count - p // FLOAT
            store_part(load_part(source + p, lanes) * load_part(factor + p, lanes), target + p, lanes)


@compiled()
def add_rows(x, factor, y, target, count):
    """target = x factor + y; factor 0, an address, is 1, and y 0 is a row of zeros."""
    if y == 0:
        scale_row(x, factor, target, count)
    else:
        for p in range(0, FLOAT * count, STEP):
            lanes = count - p // FLOAT
            v, w = load_part(x + p, lanes), load_part(y + p, lanes)
            if factor:
                w = multiply_add(v, load_part(factor + p, lanes), w)
            else:
                w = v + w
            store_part(w, target + p, lanes)


@compiled()
def row_of(array, n, width):
    """The address of row n; 0 stays 0."""
    return array + n * width if array else array


@compiled()
def before(states, first, n, t, T, width, backwards):
    """The address of sequence n's state before step t: that of `first` (N, H), or 0, where no step comes before."""
    before = t + 1 if backwards else t - 1
    if 0 <= before < T:
        return states + (n * T + before) * width
    return row_of(first, n, width)


@compiled()
def lives(mask, place):
    """Whether a step counts."""
    return mask == 0 or load_int(mask + 8 * place) != 0


@compiled()
def write_products(job, count, rows, work):
    """The lists that `multiply_panels` reads; in the job's, A and C are offsets in the scratch."""
    for p in range(count):
        a, a_stride, b, b_stride, depth, c, c_stride, bias, panels = load_entry(job + p * 8 * PRODUCT_INTS)
        fields = work + a, a_stride, b, b_stride, depth, work + c, c_stride, bias, rows, panels
        for i in range(len(fields)):
            store_int(fields[i], work + p * PLAN_STEP + 8 * i)


@compiled()
def multiply(product, p, work):
    """Product p of the step."""
    plan = work + p * PLAN_STEP
    call_range(product, np.int64(0), load_int(plan + 8 * PRODUCT_INTS), plan, work)


# -- all steps of some rows --------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def forward_tasks(first, last, job, work):
    """Tasks first .. last-1, each of `rows` sequences. A is [h' | x_t | ...]; step(begin, t, job, work) makes h_t."""
    (step, N, T, F, H, rows, backwards, x, h, h0, mask, r, a, a_stride, product, products, plans,
     plans_at) = load_first(job)  # fmt: skip
    denormals = flush_denormals()
    width, none, a = H * FLOAT, np.int64(0), work + a
    for begin in range(first * rows, min(last * rows, N), rows):
        count = min(rows, N - begin)
        write_products(job + plans_at, plans, count, work)
        for i in range(count):
            scale_row(row_of(h0, begin + i, width), row_of(r, begin + i, width), a + i * a_stride, H)
        for s in range(T):
            t = T - 1 - s if backwards else s
            for i in range(count):
                copy_row(x + ((begin + i) * T + t) * F * FLOAT, a + i * a_stride + width, F)
            for p in range(products):
                multiply(product, p, work)
            call_range(step, begin, t, job, work)
            for i in range(count):
                n = begin + i
                place = n * T + t
                if not lives(mask, place):
                    scale_row(before(h, h0, n, t, T, width, backwards), none, h + place * width, H)
                scale_row(h + place * width, row_of(r, n, width), a + i * a_stride, H)
    restore_denormals(denormals)


@compiled()
def keep_inputs(counts, h, factor, x, extra, H, F, row, target, stride):
    """[factor h | 1 | x | extra] is put together at the address `row` and goes to its place in the panels of A.

    Zeros where the step does not count: there may be NaN in x."""
    count = H + 1 + F + (H if extra else 0)
    if counts:
        scale_row(h, factor, row, H)
        store_float(np.float32(1), row + H * FLOAT)
        copy_row(x, row + (H + 1) * FLOAT, F)
        if extra:
            copy_row(extra, row + (H + 1 + F) * FLOAT, H)
    else:
        zero_bytes(row, count * FLOAT)
    scatter_row(row, count, np.int64(HIGH), target, stride)


@entry_point(ENTRY)
def backward_tasks(first, last, job, work):
    """The same back. step(begin, t, job, work) makes dz_t of g, the gradient of h_t, and dh; dz_t in the scratch is A
    of the products that make the next g and dx, and goes where the weight gradients are made of it."""
    (step, N, T, F, H, rows, backwards, x, h, h0, mask, r, a, a_stride, product, _, plans, plans_at, _, g, g_stride,
     held, dlast, dx, dh0, gx, gx_stride, kept_row, extra, kept, kept_stride, parts,
     parts_at) = load_common(job)  # fmt: skip
    denormals = flush_denormals()
    width, none, a, g, gx = H * FLOAT, np.int64(0), work + a, work + g, work + gx
    for begin in range(first * rows, min(last * rows, N), rows):
        count = min(rows, N - begin)
        write_products(job + plans_at, plans, count, work)
        for i in range(count):
            scale_row(row_of(dlast, begin + i, width), none, g + i * g_stride, H)
        for s in range(T):
            t = s if backwards else T - 1 - s
            call_range(step, begin, t, job, work)
            if kept:
                for i in range(count):
                    n, k = begin + i, t * N + begin + i
                    old = before(h, h0, n, t, T, width, backwards)
                    prefetch_lines(row_of(old, T, width), width)
                    prefetch_lines(x + ((n + 1) * T + t) * F * FLOAT, F * FLOAT)
                    keep_inputs(lives(mask, n * T + t), old, row_of(r, n, width), x + (n * T + t) * F * FLOAT,
                                row_of(extra, n * T + t, width), H, F, work + kept_row,
                                kept + k * KEPT_STEP, kept_stride)  # fmt: skip
                    for p in range(parts):
                        offset, columns, place, stride = load_piece(job + parts_at + 32 * p)
                        scatter_row(a + i * a_stride + offset, columns, np.int64(PANEL), place + k * PANEL_STEP, stride)
            multiply(product, np.int64(0), work)
            if dx:
                multiply(product, np.int64(1), work)
            for i in range(count):
                n, gradient = begin + i, g + i * g_stride
                if dx:
                    copy_row(gx + i * gx_stride, dx + (n * T + t) * F * FLOAT, F)
                if held or r:
                    more = work + held + i * g_stride if held else none
                    add_rows(gradient, row_of(r, n, width), more, gradient, H)
        if dh0:
            for i in range(count):
                copy_row(g + i * g_stride, dh0 + (begin + i) * width, H)
    restore_denormals(denormals)
