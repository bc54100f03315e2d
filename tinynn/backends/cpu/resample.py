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
FIELDS = tasks.named("out images matrices values N H W C OH OW rows strips fill order")
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
    """The whole number below, of what may lie far outside."""
    return np.int64(np.floor(min(max(v, -1073741824.0), 1073741824.0)))


@compiled()
def strip(out, image, m, first, last, fill, value, order, whole_numbers):
    """Rows first .. last-1 of one image."""
    H, W, C = image.shape
    OW = out.shape[1]
    copies = order == 0 or whole_numbers
    for i in range(first, last):
        r_start, c_start = m[0, 0] * i + m[0, 2], m[1, 0] * i + m[1, 2]
        for j in range(OW):
            r, c = r_start + m[0, 1] * j, c_start + m[1, 1] * j
            if fill == CONSTANT and (r < -EDGE or r > H - 1 + EDGE or c < -EDGE or c > W - 1 + EDGE):
                for k in range(C):
                    out[i, j, k] = value
                continue
            if copies:
                a, b = index(cell(r + 0.5), H, fill), index(cell(c + 0.5), W, fill)
                for k in range(C):
                    out[i, j, k] = image[a, b, k]
                continue
            if r >= 0 and r < H - 1 and c >= 0 and c < W - 1:
                a, b = np.int64(r), np.int64(c)
                fr, fc = np.float32(r - a), np.float32(c - b)
                a_next, b_next = a + 1, b + 1
            else:
                a, b = cell(r), cell(c)
                fr, fc = np.float32(r - a), np.float32(c - b)
                a_next, b_next = index(a + 1, H, fill), index(b + 1, W, fill)
                a, b = index(a, H, fill), index(b, W, fill)
            for k in range(C):
                v, u = np.float32(image[a, b, k]), np.float32(image[a_next, b, k])
                top = v + fc * (np.float32(image[a, b_next, k]) - v)
                bottom = u + fc * (np.float32(image[a_next, b_next, k]) - u)
                result = top + fr * (bottom - top)
                if rounds(out):
                    out[i, j, k] = np.uint8(np.int32(result + HALF))
                else:
                    out[i, j, k] = result


@intrinsic
def rounds(typingctx, out):
    """Whether numbers of the result are whole: known when the code is generated, so the other branch disappears."""
    whole = isinstance(out.dtype, types.Integer)

    def codegen(context, builder, signature, arguments):
        return context.get_constant(types.boolean, whole)

    return types.boolean(out), codegen


@compiled()
def do_strips(first, last, out, images, matrices, value, rows, strips, fill, order):
    for task in range(first, last):
        n, start = task // strips, task % strips * rows
        m = matrices[n]
        whole_numbers = True
        for a in range(2):
            for b in range(3):
                whole_numbers &= m[a, b] == np.rint(m[a, b])
        strip(out[n], images[n], m, start, min(start + rows, out.shape[1]), fill, value, order, whole_numbers)


@entry_point(ENTRY)
def bytes_to_bytes(first, last, job, work):
    out, images, matrices, values, N, H, W, C, OH, OW, rows, strips, fill, order = load_job(job)
    y, x = carray(pointer(out), (N, OH, OW, C), np.uint8), carray(pointer(images), (N, H, W, C), np.uint8)
    m, value = carray(pointer(matrices), (N, 2, 3), np.float64), carray(pointer(values), 1, np.float32)[0]
    do_strips(first, last, y, x, m, np.uint8(value), rows, strips, fill, order)


@entry_point(ENTRY)
def bytes_to_floats(first, last, job, work):
    out, images, matrices, values, N, H, W, C, OH, OW, rows, strips, fill, order = load_job(job)
    y, x = carray(pointer(out), (N, OH, OW, C), np.float32), carray(pointer(images), (N, H, W, C), np.uint8)
    m, value = carray(pointer(matrices), (N, 2, 3), np.float64), carray(pointer(values), 1, np.float32)[0]
    do_strips(first, last, y, x, m, value, rows, strips, fill, order)


@entry_point(ENTRY)
def floats_to_floats(first, last, job, work):
    out, images, matrices, values, N, H, W, C, OH, OW, rows, strips, fill, order = load_job(job)
    y, x = carray(pointer(out), (N, OH, OW, C), np.float32), carray(pointer(images), (N, H, W, C), np.float32)
    m, value = carray(pointer(matrices), (N, 2, 3), np.float64), carray(pointer(values), 1, np.float32)[0]
    do_strips(first, last, y, x, m, value, rows, strips, fill, order)


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
    N, OH, OW, C = out.shape
    rows = min(max(PIECE // (OW * C), 1), OH)
    numbers = {"N": N, "H": images.shape[1], "W": images.shape[2], "C": C, "OH": OH, "OW": OW, "rows": rows}
    numbers |= {"strips": -(-OH // rows), "fill": int(fill), "order": order}
    places = {"out": out, "images": images, "matrices": matrices, "values": values}
    job = tasks.job(FIELDS, {name: array.ctypes.data for name, array in places.items()} | numbers)
    tasks.run(entry(), N * numbers["strips"], job, 0, out.size < SERIAL_BELOW)
