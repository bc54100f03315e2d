"""Resampling of images on the CPU: a task is a strip of one image.

Where the four neighbours of a point lie inside the image, which is known without asking for each, nothing is checked. A
matrix of whole numbers (a flip, a shift by pixels) copies pixels.
"""

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from tinynn.backends.base import EDGE, Fill
from tinynn.backends.reference import resample as reference

from . import tasks
from .microkernel import make_load_ints
from .simd import compiled, entry_point
from .tasks import ENTRY

NEAREST, CONSTANT, REFLECT, WRAP = (int(f) for f in (Fill.NEAREST, Fill.CONSTANT, Fill.REFLECT, Fill.WRAP))
PIECE = 1 << 13
"""Numbers of the result in a task, at least."""
SERIAL_BELOW = 1 << 20
"""Numbers of the result below which one thread does it all: whoever feeds a model shall not take its threads."""
FIELDS = tasks.named("out images matrices copied values N H W C OH OW rows strips fill order")
load_job = make_load_ints(len(FIELDS))
HALF = np.float32(0.5)


@intrinsic
def pointer(typingctx, address):
    """An address as what `carray` takes."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.voidptr(types.int64), codegen


@compiled()
def index(k, n, fill):
    """The place in 0 .. n-1 whose value stands for place k."""
    if 0 <= k < n:
        return k
    if fill == REFLECT:
        k = k % (2 * n)
        return min(k, 2 * n - 1 - k)
    if fill == WRAP:
        return k % n
    return min(max(k, 0), n - 1)


@compiled()
def cell(v):
    """A whole number as one of int64; it may lie far outside."""
    return np.int64(min(max(v, -1073741824.0), 1073741824.0))


@intrinsic
def rounds(typingctx, out):
    """Whether numbers of the result are whole: known when the code is generated, so the other branch disappears."""
    whole = isinstance(out.dtype, types.Integer)

    def codegen(context, builder, signature, arguments):
        return context.get_constant(types.boolean, whole)

    return types.boolean(out), codegen


@compiled()
def do_strips(first, last, out, images, matrices, copied, value, rows, strips, fill, order):
    """Strips of `rows` rows, `strips` to an image; copied (N,): whose matrices are whole numbers."""
    _, H, W, C = images.shape
    _, OH, OW, _ = out.shape
    for task in range(first, last):
        n, start = task // strips, task % strips * rows
        m00, m01, m02 = matrices[n, 0, 0], matrices[n, 0, 1], matrices[n, 0, 2]
        m10, m11, m12 = matrices[n, 1, 0], matrices[n, 1, 1], matrices[n, 1, 2]
        copies = order == 0 or copied[n] != 0
        for i in range(start, min(start + rows, OH)):
            r_start, c_start = m00 * i + m02, m10 * i + m12
            for j in range(OW):
                r, c = r_start + m01 * j, c_start + m11 * j
                if fill == CONSTANT and (r < -EDGE or r > H - 1 + EDGE or c < -EDGE or c > W - 1 + EDGE):
                    for k in range(C):
                        out[n, i, j, k] = value
                    continue
                if copies:
                    r, c = r + 0.5, c + 0.5
                top_row, left_column = np.floor(r), np.floor(c)
                a, b = cell(top_row), cell(left_column)
                fr, fc = np.float32(r - top_row), np.float32(c - left_column)
                a_next, b_next = a + 1, b + 1
                if a < 0 or a_next >= H or b < 0 or b_next >= W:
                    a_next, b_next = index(a_next, H, fill), index(b_next, W, fill)
                    a, b = index(a, H, fill), index(b, W, fill)
                if copies:
                    for k in range(C):
                        out[n, i, j, k] = images[n, a, b, k]
                    continue
                for k in range(C):
                    v, u = np.float32(images[n, a, b, k]), np.float32(images[n, a_next, b, k])
                    top = v + fc * (np.float32(images[n, a, b_next, k]) - v)
                    bottom = u + fc * (np.float32(images[n, a_next, b_next, k]) - u)
                    result = top + fr * (bottom - top)
                    if rounds(out):
                        out[n, i, j, k] = np.uint8(np.int32(result + HALF))
                    else:
                        out[n, i, j, k] = result


@entry_point(ENTRY)
def bytes_to_bytes(first, last, job, work):
    out, images, matrices, copied, values, N, H, W, C, OH, OW, rows, strips, fill, order = load_job(job)
    y, x = carray(pointer(out), (N, OH, OW, C), np.uint8), carray(pointer(images), (N, H, W, C), np.uint8)
    m, whole = carray(pointer(matrices), (N, 2, 3), np.float64), carray(pointer(copied), N, np.uint8)
    value = carray(pointer(values), 1, np.float32)[0]
    do_strips(first, last, y, x, m, whole, np.uint8(value), rows, strips, fill, order)


@entry_point(ENTRY)
def bytes_to_floats(first, last, job, work):
    out, images, matrices, copied, values, N, H, W, C, OH, OW, rows, strips, fill, order = load_job(job)
    y, x = carray(pointer(out), (N, OH, OW, C), np.float32), carray(pointer(images), (N, H, W, C), np.uint8)
    m, whole = carray(pointer(matrices), (N, 2, 3), np.float64), carray(pointer(copied), N, np.uint8)
    value = carray(pointer(values), 1, np.float32)[0]
    do_strips(first, last, y, x, m, whole, value, rows, strips, fill, order)


@entry_point(ENTRY)
def floats_to_floats(first, last, job, work):
    out, images, matrices, copied, values, N, H, W, C, OH, OW, rows, strips, fill, order = load_job(job)
    y, x = carray(pointer(out), (N, OH, OW, C), np.float32), carray(pointer(images), (N, H, W, C), np.float32)
    m, whole = carray(pointer(matrices), (N, 2, 3), np.float64), carray(pointer(copied), N, np.uint8)
    value = carray(pointer(values), 1, np.float32)[0]
    do_strips(first, last, y, x, m, whole, value, rows, strips, fill, order)


ENTRIES = {
    (np.dtype(np.uint8), np.dtype(np.uint8)): bytes_to_bytes,
    (np.dtype(np.float32), np.dtype(np.uint8)): bytes_to_floats,
    (np.dtype(np.float32), np.dtype(np.float32)): floats_to_floats,
}
"""By the dtypes of result and images."""


def affine(out, images, matrices, fill, value, order):
    entry = ENTRIES.get((out.dtype, images.dtype))
    if entry is None or out.size == 0 or not out.flags.c_contiguous:
        reference.affine(out, images, matrices, fill, value, order)
        return
    images, matrices = np.ascontiguousarray(images), np.ascontiguousarray(matrices, np.float64)
    values = np.array([value], np.float32)
    copied = (matrices == np.rint(matrices)).all(axis=(1, 2)).view(np.uint8)
    N, OH, OW, C = out.shape
    rows = min(max(PIECE // (OW * C), 1), OH)
    numbers = {"N": N, "H": images.shape[1], "W": images.shape[2], "C": C, "OH": OH, "OW": OW, "rows": rows}
    numbers |= {"strips": -(-OH // rows), "fill": int(fill), "order": order}
    places = {"out": out, "images": images, "matrices": matrices, "copied": copied, "values": values}
    job = tasks.job(FIELDS, {name: array.ctypes.data for name, array in places.items()} | numbers)
    tasks.run(entry(), N * numbers["strips"], job, 0, out.size < SERIAL_BELOW)
