"""Attention of the heads, one after the other: a task is a head of a row of the batch, whose scores stay in the cache.

Queries are taken in blocks, so that the scores of a block, and what comes of them, are read where they were written:
product with the keys, softmax, product with the values; backward the same way back. With ``causal`` a block leaves out
the keys behind its last query. Products are those of gemm.py, called by address. Float64, which is for checks, goes to
the reference.
"""

import numpy as np
from llvmlite import ir

from tinynn.backends.reference import attention as reference

from . import tasks
from .images import FLOAT, LANES
from .microkernel import call_range, load_float, make_load_ints, store_int, zero_bytes
from .plan import (
    DEPTH,
    DEPTH_UNPACKED,
    HIGH,
    NARROW,
    PANEL,
    PLAN_BYTES,
    TILE_COLUMNS,
    UNPACKED_COLUMNS,
    WORK_STRIDE,
)
from .simd import compiled, entry_point
from .tasks import ENTRY
from .tiles import multiply_tiles
from .vectors import (
    COUNT,
    INT32,
    VECTOR,
    at_least,
    broadcast,
    flush_denormals,
    load_bytes,
    load_part,
    multiply_add,
    restore_denormals,
    select_at_most,
    select_equal,
    store_part,
    sum_lanes,
    types,
    word,
)

STEP = LANES * FLOAT
ROWS, ROWS_CAUSAL = 16 * HIGH, 5 * HIGH
"""Most queries in a block; fewer where a block leaves out what comes later."""
SCORES = 1 << 16
"""Scores that a block may have, to stay in L2."""
SERIAL_BELOW = 500_000
"""Multiply-adds below which one thread is faster than telling others."""
GEMM_PLACE = -(-PLAN_BYTES // 64) * 64
BLOCK_PLACE = GEMM_PLACE + WORK_STRIDE
"""In a thread's scratch: a product's plan, its scratch, and behind them a block of scores."""
FIELDS = tasks.named("product T S A D E rows causal scale y p q k v mask mask_n mask_a mask_t keep dy dq dk dv")
load_job = make_load_ints(len(FIELDS))

LOWEST = -87.0
"""Its exponential, 1.6e-38, counts as 0."""
LOG2_E = 1.44269504088896341
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
ROUNDER = 1.5 * 2.0**23
"""Adding it leaves the nearest integer in the low bits of the sum."""
INFINITY = float("inf")


# -- words that vectors.py does not have -------------------------------------------------------------------------------


@word(VECTOR, VECTOR, VECTOR)
def times_power(v, x, t):
    """x 2^n for t = n + ROUNDER, n from -126 to 127."""
    builder, kind = v.builder, ir.VectorType(INT32, LANES)

    def all_lanes(number):
        return ir.Constant(kind, [number] * LANES)

    bits = builder.add(builder.bitcast(t, kind), all_lanes(127 - 0x4B400000))
    return builder.fmul(x, builder.bitcast(builder.shl(bits, all_lanes(23)), v.type))


@word(VECTOR, VECTOR, COUNT, VECTOR)
def first_of(v, x, count, y):
    """The first `count` lanes of x, the others of y."""
    return v.builder.select(v.first_lanes(count), x, y)


@word(types.float32, VECTOR)
def largest_lane(v, x):
    """The largest of all lanes."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        half = v.shuffle(x, x, list(range(lanes, 2 * lanes)) + [0] * (LANES - lanes))
        x = v.builder.select(v.builder.fcmp_ordered(">", half, x), half, x)
    return v.builder.extract_element(x, ir.Constant(INT32, 0))


@compiled()
def exponential(x):
    """exp(x) for x <= 0, in float32: 2^n exp(r), |r| <= log(2) / 2. Polynomial: S. Moshier, Cephes, expf."""
    lowest = broadcast(LOWEST)
    t = multiply_add(at_least(x, lowest), broadcast(LOG2_E), broadcast(ROUNDER))
    n = t - broadcast(ROUNDER)
    r = multiply_add(n, broadcast(-LN2_LOW), multiply_add(n, broadcast(-LN2_HIGH), x))
    p = multiply_add(broadcast(1.9875691500e-4), r, broadcast(1.3981999507e-3))
    p = multiply_add(p, r, broadcast(8.3334519073e-3))
    p = multiply_add(p, r, broadcast(4.1665795894e-2))
    p = multiply_add(p, r, broadcast(1.6666665459e-1))
    p = multiply_add(p, r, broadcast(5.0000001201e-1))
    p = multiply_add(p, r * r, r + broadcast(1.0))
    return select_at_most(x, lowest, broadcast(0.0), times_power(p, t))


# -- products ----------------------------------------------------------------------------------------------------------


@compiled()
def multiply(product, m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, add, work):
    """C = A B, or C += A B where `add` is not 0; strides in bytes, see plan.py and tiles.py."""
    in_rows = a_col == FLOAT
    columns = min(-(-n // PANEL) * PANEL, TILE_COLUMNS)
    grid = (n + columns - 1) // columns
    narrow = in_rows and n <= NARROW and 5 * n < 4 * LANES * -(-n // LANES)
    longest = DEPTH_UNPACKED if in_rows and n <= UNPACKED_COLUMNS else DEPTH
    pieces = -(-k // longest)
    piece = -(-k // (pieces * LANES)) * LANES
    zero, item = np.int64(0), np.int64(FLOAT)
    fields = (grid, m, n, k, a, a_row, a_col, b, b_row, b_col, c, c_row, item,
              c if add else zero, c_row if add else zero, item if add else zero,
              -(-m // HIGH) * HIGH, columns, grid, piece, np.int64(narrow), zero)  # fmt: skip
    for i in range(len(fields)):
        store_int(fields[i], work + 8 * i)
    call_range(product, 0, grid, work, work + GEMM_PLACE)


# -- rows of scores ----------------------------------------------------------------------------------------------------


@compiled()
def softmax_row(p, seen, scale, mask):
    """p = softmax(scale p) over the first `seen` keys that the mask (an address of bools, or 0) allows."""
    factor, lowest, zero = broadcast(scale), broadcast(-INFINITY), broadcast(0.0)
    highest = lowest
    for i in range(0, seen, LANES):
        place, lanes = p + i * FLOAT, seen - i
        x = first_of(load_part(place, lanes) * factor, lanes, lowest)
        if mask:
            x = select_equal(load_bytes(mask + i, lanes), zero, lowest, x)
        store_part(x, place, lanes)
        highest = at_least(x, highest)
    top = largest_lane(highest)
    around = broadcast(np.float32(0.0) if top == -INFINITY else top)
    total = zero
    for i in range(0, seen, LANES):
        place, lanes = p + i * FLOAT, seen - i
        x = first_of(load_part(place, lanes), lanes, lowest)
        e = exponential(x - around)
        store_part(e, place, lanes)
        total += e
    s = sum_lanes(total)
    factor = broadcast(np.float32(1.0) if s == 0 else np.float32(1.0) / s)
    for i in range(0, seen, LANES):
        place, lanes = p + i * FLOAT, seen - i
        store_part(load_part(place, lanes) * factor, place, lanes)


@compiled()
def keep_row(target, p, keep, count):
    """target = keep p"""
    for i in range(0, count, LANES):
        place, lanes = i * FLOAT, count - i
        store_part(load_part(p + place, lanes) * load_part(keep + place, lanes), target + place, lanes)


@compiled()
def score_gradients(dp, p, keep, count, scale):
    """ds = scale p (keep dp - sum keep dp p), in the place of dp."""
    total = broadcast(0.0)
    if keep:
        keep_row(dp, dp, keep, count)
    for i in range(0, count, LANES):
        place, lanes = i * FLOAT, count - i
        total = multiply_add(load_part(dp + place, lanes), load_part(p + place, lanes), total)
    inner, factor = broadcast(sum_lanes(total)), broadcast(scale)
    for i in range(0, count, LANES):
        place, lanes = i * FLOAT, count - i
        ds = factor * load_part(p + place, lanes) * (load_part(dp + place, lanes) - inner)
        store_part(ds, dp + place, lanes)


# -- heads -------------------------------------------------------------------------------------------------------------


@entry_point(ENTRY)
def forward_tasks(first, last, job, work):
    (product, T, S, A, D, E, rows, causal, scale, y, p, q, k, v, mask, mask_n, mask_a, mask_t, keep,
     _, _, _, _) = load_job(job)  # fmt: skip
    denormals = flush_denormals()
    item, q_row, v_row, p_row = np.int64(FLOAT), A * D * FLOAT, A * E * FLOAT, S * FLOAT
    block, block_row, factor = work + BLOCK_PLACE, (S + LANES) * FLOAT, load_float(scale)
    for task in range(first, last):
        n, a = task // A, task % A
        keys, values = k + n * S * q_row + a * D * FLOAT, v + n * S * v_row + a * E * FLOAT
        for t in range(0, T, rows):
            m = min(rows, T - t)
            columns = min(t + m, S) if causal else S
            scores, kept = p + (task * T + t) * p_row, keep + (task * T + t) * p_row
            here = q + (n * T + t) * q_row + a * D * FLOAT
            multiply(product, m, columns, D, here, q_row, item, keys, item, q_row, scores, p_row, np.int64(0), work)
            for i in range(m):
                row = scores + i * p_row
                seen = min(t + i + 1, S) if causal else S
                allowed = mask + n * mask_n + a * mask_a + (t + i) * mask_t if mask else np.int64(0)
                softmax_row(row, seen, factor, allowed)
                zero_bytes(row + seen * FLOAT, (S - seen) * FLOAT)
                if keep:
                    keep_row(block + i * block_row, row, kept + i * p_row, columns)
            weights, weights_row = (block, block_row) if keep else (scores, p_row)
            target = y + (n * T + t) * v_row + a * E * FLOAT
            multiply(product, m, E, columns, weights, weights_row, item, values, v_row, item, target, v_row,
                     np.int64(0), work)  # fmt: skip
    restore_denormals(denormals)


@compiled()
def zero_rows(target, first, last, row, count):
    """Zeros in the rows from `first` on, of `count` numbers each."""
    for i in range(first, last):
        zero_bytes(target + i * row, count * FLOAT)


@entry_point(ENTRY)
def backward_tasks(first, last, job, work):
    """Blocks from the last to the first: the last one sees most keys, so it writes what the others add to."""
    (product, T, S, A, D, E, rows, causal, scale, _, p, q, k, v, _, _, _, _, keep,
     dy, dq, dk, dv) = load_job(job)  # fmt: skip
    denormals = flush_denormals()
    item, q_row, v_row, p_row = np.int64(FLOAT), A * D * FLOAT, A * E * FLOAT, S * FLOAT
    block, block_row, factor = work + BLOCK_PLACE, (S + LANES) * FLOAT, load_float(scale)
    for task in range(first, last):
        n, a = task // A, task % A
        at_key, at_value = n * S * q_row + a * D * FLOAT, n * S * v_row + a * E * FLOAT
        seen = min(T, S) if causal else S
        if dk:
            zero_rows(dk + at_key, seen, S, q_row, D)
        if dv:
            zero_rows(dv + at_value, seen, S, v_row, E)
        for t in range((T - 1) // rows * rows, -1, -rows):
            m = min(rows, T - t)
            columns = min(t + m, S) if causal else S
            later = np.int64(t + m < T)
            scores, kept = p + (task * T + t) * p_row, keep + (task * T + t) * p_row
            at_query, gradient = (n * T + t) * q_row + a * D * FLOAT, dy + (n * T + t) * v_row + a * E * FLOAT
            if dv:
                if keep:
                    for i in range(m):
                        keep_row(block + i * block_row, scores + i * p_row, kept + i * p_row, columns)
                weights, weights_row = (block, block_row) if keep else (scores, p_row)
                multiply(product, columns, E, m, weights, item, weights_row, gradient, v_row, item,
                         dv + at_value, v_row, later, work)  # fmt: skip
            if dq == 0 and dk == 0:
                continue
            multiply(product, m, columns, E, gradient, v_row, item, v + at_value, item, v_row, block, block_row,
                     np.int64(0), work)  # fmt: skip
            for i in range(m):
                score_gradients(block + i * block_row, scores + i * p_row, kept + i * p_row if keep else np.int64(0),
                                columns, factor)  # fmt: skip
            if dq:
                multiply(product, m, D, columns, block, block_row, item, k + at_key, q_row, item,
                         dq + at_query, q_row, np.int64(0), work)  # fmt: skip
            if dk:
                multiply(product, columns, D, m, block, item, block_row, q + at_query, q_row, item,
                         dk + at_key, q_row, later, work)  # fmt: skip
    restore_denormals(denormals)


# -- the row's public functions ----------------------------------------------------------------------------------------


def block_rows(T, S, causal):
    """Queries in a block: by the shape alone, blocks as equal as they can be."""
    most = min(ROWS_CAUSAL if causal else ROWS, max(SCORES // S, HIGH))
    blocks = -(-T // most)
    return -(-T // (blocks * HIGH)) * HIGH


def run(entry, scale, causal, q, v, fields):
    """All heads; fields: the addresses of the arrays, and the strides of the mask."""
    (N, T, A, D), (S, E) = q.shape, (v.shape[1], v.shape[3])
    rows, small = block_rows(T, S, causal), np.array([scale], np.float32)
    sizes = {"product": multiply_tiles(), "T": T, "S": S, "A": A, "D": D, "E": E, "rows": rows, "causal": int(causal)}
    job = tasks.job(FIELDS, {**sizes, **fields, "scale": small.ctypes.data})
    work = BLOCK_PLACE + rows * (S + LANES) * FLOAT
    tasks.run(entry(), N * A, job, work, N * A * T * S * (D + E) < SERIAL_BELOW)


def ours(*arrays):
    """Whether kernels of ours take these: float32, and not empty."""
    return all(a.dtype == np.float32 and a.size for a in arrays)


def addresses(**arrays):
    return {name: a.ctypes.data for name, a in arrays.items() if a is not None}


def side_by_side(*arrays):
    return [None if a is None else np.ascontiguousarray(a, np.float32) for a in arrays]


def forward(y, p, q, k, v, mask, keep, scale, causal):
    if not ours(y, p, q, k, v):
        reference.forward(y, p, q, k, v, mask, keep, scale, causal)
        return
    q, k, v, keep = side_by_side(q, k, v, keep)
    fields = addresses(y=y, p=p, q=q, k=k, v=v, keep=keep)
    if mask is not None:
        mask = np.ascontiguousarray(np.broadcast_to(mask, (*mask.shape[:3], p.shape[3])), np.bool_)
        steps = [0 if n == 1 else step for n, step in zip(mask.shape, mask.strides, strict=True)]
        fields |= {"mask": mask.ctypes.data, "mask_n": steps[0], "mask_a": steps[1], "mask_t": steps[2]}
    run(forward_tasks, scale, causal, q, v, fields)


def backward(dq, dk, dv, dy, p, q, k, v, keep, scale, causal):
    if not ours(dy, p, q, k, v):
        reference.backward(dq, dk, dv, dy, p, q, k, v, keep, scale, causal)
        return
    dy, p, q, k, v, keep = side_by_side(dy, p, q, k, v, keep)
    run(backward_tasks, scale, causal, q, v, addresses(dy=dy, p=p, q=q, k=k, v=v, keep=keep, dq=dq, dk=dk, dv=dv))
