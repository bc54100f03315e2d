"""What happens before and after a convolution, to a block of images that is hot in the cache.

All functions are compiled into their callers. Their arguments are addresses, distances in BYTES and counts, all int64
(and `alpha`, a float32, the slope of leaky relu); numbers are float32. No bounds are checked.

A block of images is three arguments: `y, y_image, y_row` are the address of its first pixel, the distance from image to
image, and from row to row. The C channels of a pixel, and the pixels of a row, lie side by side. A target may be the
interior of a padded block: only its rows x columns are written, so `zero_borders` once per buffer is enough. A block
whose rows lie side by side as well may be given as one long row.

kind: LINEAR, RELU, LEAKY_RELU or TANH, from KINDS[activation]; f is that activation, f' follows from its result.

window, for pools: KH, KW, SH, SW, top, left. Output (i, j) looks at the inputs (i SH + a - top, j SW + b - left) for
a < KH, b < KW; those outside of rows x columns, the size of the input, do not count. Its place, a uint8, is a KW + b of
its first largest number, where NaN is the largest: so KH KW <= 256. The C places of a pixel, and the pixels of a row,
lie side by side.

norm: the address of five rows of C numbers, mean, scale, shift, q and r, or 0 for no batch normalization. Forward
        v = (y - mean) scale + shift
and backward, where g is the gradient of v,
        dy = scale g + q (y - mean) + r    (q = r = 0 where the statistics were given)
Forward reads three rows only.
"""

from tinynn.activation import Activation

from .microkernel import copy_bytes, load_float, zero_bytes
from .simd import BLOCK, compiled
from .vectors import (
    at_least,
    broadcast,
    load_bytes,
    load_double,
    load_part,
    multiply_add,
    select_above,
    select_at_most,
    select_equal,
    select_greater,
    store_bytes,
    store_double,
    store_part,
)

LANES = BLOCK.lanes
FLOAT, DOUBLE = 4, 8
VECTOR = FLOAT * LANES
"""Bytes."""
LINEAR, RELU, LEAKY_RELU, TANH = range(4)
KINDS = {
    Activation.LINEAR: LINEAR,
    Activation.RELU: RELU,
    Activation.LEAKY_RELU: LEAKY_RELU,
    Activation.TANH: TANH,
}
INFINITY = float("inf")
NAN = float("nan")


# -- rows of numbers, one behind the other -----------------------------------------------------------------------------


@compiled()
def zero_row(target, count):
    zero_bytes(target, count * FLOAT)


@compiled()
def copy_row(source, target, count):
    copy_bytes(source, target, count * FLOAT)


@compiled()
def tanh(x):
    """Odd over even polynomial on [-7.9, 7.9], beyond which float32 has no more digits: 4 units in the last place.

    Source of the coefficients: Eigen, `generic_fast_tanh_float` (MPL2).
    """
    limit = broadcast(7.90531110763549805)
    x = select_greater(x, limit, limit, x)
    x = at_least(x, broadcast(-7.90531110763549805))
    s = x * x
    p = broadcast(-2.76076847742355e-16)
    p = multiply_add(p, s, broadcast(2.00018790482477e-13))
    p = multiply_add(p, s, broadcast(-8.60467152213735e-11))
    p = multiply_add(p, s, broadcast(5.12229709037114e-08))
    p = multiply_add(p, s, broadcast(1.48572235717979e-05))
    p = multiply_add(p, s, broadcast(6.37261928875436e-04))
    p = multiply_add(p, s, broadcast(4.89352455891786e-03))
    q = broadcast(1.19825839466702e-06)
    q = multiply_add(q, s, broadcast(1.18534705686654e-04))
    q = multiply_add(q, s, broadcast(2.26843463243900e-03))
    q = multiply_add(q, s, broadcast(4.89352518554385e-03))
    return x * p / q


@compiled()
def activate_row(y, count, kind, alpha):
    """y = f(y)"""
    zero, slope = broadcast(0.0), broadcast(alpha)
    if kind == RELU:
        for i in range(0, count, LANES):
            place, lanes = y + i * FLOAT, count - i
            store_part(at_least(load_part(place, lanes), zero), place, lanes)
    elif kind == LEAKY_RELU:
        for i in range(0, count, LANES):
            place, lanes = y + i * FLOAT, count - i
            x = load_part(place, lanes)
            store_part(select_greater(x, zero, x, slope * x), place, lanes)
    elif kind == TANH:
        for i in range(0, count, LANES):
            place, lanes = y + i * FLOAT, count - i
            store_part(tanh(load_part(place, lanes)), place, lanes)


@compiled()
def floor_of(kind):
    """What `at_least` and `derived` compare with: 0 for relu, else NaN, below which there is nothing."""
    return broadcast(0.0 if kind == RELU else NAN)


@compiled()
def derived(dz, z, kind, floor, slope):
    """dz f'(z); NaN in z passes dz, as in `backends/cpu/activation.py`."""
    zero = broadcast(0.0)
    if kind <= RELU:
        return select_at_most(z, floor, zero, dz)
    if kind == LEAKY_RELU:
        return select_greater(z, zero, dz, slope * dz)
    return dz * (broadcast(1.0) - z * z)


@compiled()
def derive_row(dz, z, dy, count, kind, alpha):
    """dy = dz f'(z)"""
    floor, slope = floor_of(kind), broadcast(alpha)
    for i in range(0, count, LANES):
        p, lanes = i * FLOAT, count - i
        g = load_part(dz + p, lanes)
        if kind != LINEAR:
            g = derived(g, load_part(z + p, lanes), kind, floor, slope)
        store_part(g, dy + p, lanes)


# -- padding and activation --------------------------------------------------------------------------------------------


@compiled()
def zero_borders(target, target_image, target_row, images, rows, columns, C, top, bottom, left, right):
    """Zeros around rows x columns pixels; `target` is the corner of the whole (top + rows + bottom rows)."""
    before, inside, behind = left * C, columns * C, right * C
    width = before + inside + behind
    for image in range(images):
        row = target + image * target_image
        for _ in range(top):
            zero_row(row, width)
            row += target_row
        for _ in range(rows):
            zero_row(row, before)
            zero_row(row + (before + inside) * FLOAT, behind)
            row += target_row
        for _ in range(bottom):
            zero_row(row, width)
            row += target_row


@compiled()
def pad_block(source, source_image, source_row, target, target_image, target_row, images, rows, columns, C,
              top, bottom, left, right):  # fmt: skip
    """Copy rows x columns pixels and put zeros around them; `target` is the corner of the whole.

    Rows that lie outside of the source are the caller's to leave out: they are `top` or `bottom` rows of this strip.
    """
    zero_borders(target, target_image, target_row, images, rows, columns, C, top, bottom, left, right)
    inside = target + top * target_row + left * C * FLOAT
    for image in range(images):
        for i in range(rows):
            copy_row(source + image * source_image + i * source_row, inside + image * target_image + i * target_row,
                     columns * C)  # fmt: skip


@compiled()
def activate_block(y, y_image, y_row, images, rows, columns, C, kind, alpha):
    """y = f(y)"""
    for image in range(images):
        for i in range(rows):
            activate_row(y + image * y_image + i * y_row, columns * C, kind, alpha)


@compiled()
def channel_sums_block(y, y_image, y_row, images, rows, columns, C, sums):
    """sums += the sum of each channel, for C float32 `sums`. Four chains per row, added in order."""
    step = C * FLOAT
    for image in range(images):
        for i in range(rows):
            for c in range(0, C, LANES):
                lanes = C - c
                s = t = u = v = broadcast(0.0)
                p = y + image * y_image + i * y_row + c * FLOAT
                for _ in range(columns // 4):
                    s += load_part(p, lanes)
                    t += load_part(p + step, lanes)
                    u += load_part(p + 2 * step, lanes)
                    v += load_part(p + 3 * step, lanes)
                    p += 4 * step
                for _ in range(columns % 4):
                    s += load_part(p, lanes)
                    p += step
                total = sums + c * FLOAT
                store_part(load_part(total, lanes) + ((s + t) + (u + v)), total, lanes)


@compiled()
def add_sums(totals, sums, count):
    """totals += sums, of `count` numbers; totals are float64, sums float32 and then 0."""
    for i in range(count):
        place = totals + i * DOUBLE
        store_double(load_double(place) + load_float(sums + i * FLOAT), place)
    zero_row(sums, count)


# -- max pooling -------------------------------------------------------------------------------------------------------


@compiled()
def pool_pairs(y, y_image, y_row, z, z_image, z_row, place, place_image, place_row, images, out_rows, out_columns, C,
               norm, floor):  # fmt: skip
    """`pool_block` for windows of 2 x 2, side by side and all inside."""
    step, normed, placed = C * FLOAT, norm != 0, place != 0
    zero, one, two, three = broadcast(0.0), broadcast(1.0), broadcast(2.0), broadcast(3.0)
    for image in range(images):
        for i in range(out_rows):
            for c in range(0, C, LANES):
                lanes = C - c
                mean, scale, shift = zero, one, zero
                if normed:
                    mean = load_part(norm + c * FLOAT, lanes)
                    scale = load_part(norm + step + c * FLOAT, lanes)
                    shift = load_part(norm + 2 * step + c * FLOAT, lanes)
                p = y + image * y_image + 2 * i * y_row + c * FLOAT
                q = z + image * z_image + i * z_row + c * FLOAT
                r = place + image * place_image + i * place_row + c
                for _ in range(out_columns):
                    v, v1 = load_part(p, lanes), load_part(p + step, lanes)
                    v2, v3 = load_part(p + y_row, lanes), load_part(p + y_row + step, lanes)
                    if normed:
                        v, v1 = multiply_add(v - mean, scale, shift), multiply_add(v1 - mean, scale, shift)
                        v2, v3 = multiply_add(v2 - mean, scale, shift), multiply_add(v3 - mean, scale, shift)
                    # Two halves side by side, shorter than one chain; the later half wins only where it is above.
                    n = select_above(v1, v, one, zero)
                    v = select_above(v1, v, v1, v)
                    n2 = select_above(v3, v2, three, two)
                    v2 = select_above(v3, v2, v3, v2)
                    if placed:
                        store_bytes(select_above(v2, v, n2, n), r, lanes)
                    store_part(at_least(select_above(v2, v, v2, v), floor), q, lanes)
                    p += 2 * step
                    q += step
                    r += C


@compiled()
def pool_windows(y, y_image, y_row, z, z_image, z_row, place, place_image, place_row, images, out_rows, out_columns,
                 rows, columns, C, KH, KW, SH, SW, top, left, norm, floor):  # fmt: skip
    """`pool_block` for any window."""
    step = C * FLOAT
    for image in range(images):
        for i in range(out_rows):
            first_a, last_a = max(0, top - i * SH), min(KH, rows + top - i * SH)
            for j in range(out_columns):
                first_b, last_b = max(0, left - j * SW), min(KW, columns + left - j * SW)
                corner = y + image * y_image + (i * SH - top) * y_row + (j * SW - left) * step
                first = min(first_a, KH - 1) * KW + min(first_b, KW - 1)
                for c in range(0, C, LANES):
                    lanes, at = C - c, c * FLOAT
                    m, n = broadcast(-INFINITY), broadcast(first)
                    for a in range(first_a, last_a):
                        for b in range(first_b, last_b):
                            v = load_part(corner + a * y_row + b * step + at, lanes)
                            if norm != 0:
                                v = multiply_add(v - load_part(norm + at, lanes), load_part(norm + step + at, lanes),
                                                 load_part(norm + 2 * step + at, lanes))  # fmt: skip
                            n = select_above(v, m, broadcast(a * KW + b), n)
                            m = select_above(v, m, v, m)
                    store_part(at_least(m, floor), z + image * z_image + i * z_row + j * step + at, lanes)
                    if place != 0:
                        store_bytes(n, place + image * place_image + i * place_row + j * C + c, lanes)


@compiled()
def pool_block(y, y_image, y_row, z, z_image, z_row, place, place_image, place_row, images, out_rows, out_columns,
               rows, columns, C, KH, KW, SH, SW, top, left, norm, kind, alpha):  # fmt: skip
    """z = f(the largest v of each window); place as above, or address 0: not wanted.

    For a strip of z that begins at row i of the whole, all that changes is `z`, `place`, and `top`, less by i SH.
    f comes last, since it rises: where relu makes all of a window 0, place is still that of the largest v.
    """
    floor = floor_of(kind)
    if (KH == 2 and KW == 2 and SH == 2 and SW == 2 and top <= 0 and left == 0
            and 2 * out_rows - top <= rows and 2 * out_columns <= columns):  # fmt: skip
        pool_pairs(y - top * y_row, y_image, y_row, z, z_image, z_row, place, place_image, place_row,
                   images, out_rows, out_columns, C, norm, floor)  # fmt: skip
    else:
        pool_windows(y, y_image, y_row, z, z_image, z_row, place, place_image, place_row, images, out_rows,
                     out_columns, rows, columns, C, KH, KW, SH, SW, top, left, norm, floor)  # fmt: skip
    if kind > RELU:
        activate_block(z, z_image, z_row, images, out_rows, out_columns, C, kind, alpha)


# -- gradients ---------------------------------------------------------------------------------------------------------


@compiled()
def gradient_block(dz, dz_image, dz_row, z, z_image, z_row, y, y_image, y_row, dy, dy_image, dy_row,
                   images, rows, columns, C, norm, kind, alpha):  # fmt: skip
    """dy = dz f'(z), and on through the norm where there is one: z = f(v), v of y. dy may be dz.

    Without a norm y is not looked at. With one, z may be 0 unless f is tanh: it is then computed anew from y, which
    is read anyway, with the same bytes where the norm holds the numbers of forward.
    """
    step, floor, slope = C * FLOAT, floor_of(kind), broadcast(alpha)
    for image in range(images):
        for i in range(rows):
            from_dz, from_z = dz + image * dz_image + i * dz_row, z + image * z_image + i * z_row
            from_y, to_dy = y + image * y_image + i * y_row, dy + image * dy_image + i * dy_row
            if norm == 0:
                derive_row(from_dz, from_z, to_dy, columns * C, kind, alpha)
                continue
            for c in range(0, C, LANES):
                lanes, p = C - c, c * FLOAT
                mean, scale = load_part(norm + p, lanes), load_part(norm + step + p, lanes)
                shift = load_part(norm + 2 * step + p, lanes)
                q, r = load_part(norm + 3 * step + p, lanes), load_part(norm + 4 * step + p, lanes)
                for _ in range(columns):
                    d = load_part(from_y + p, lanes) - mean
                    out = multiply_add(d, scale, shift) if z == 0 else load_part(from_z + p, lanes)
                    g = derived(load_part(from_dz + p, lanes), out, kind, floor, slope)
                    store_part(multiply_add(scale, g, multiply_add(q, d, r)), to_dy + p, lanes)
                    p += step


@compiled()
def unpool_pairs(dz, dz_image, dz_row, z, z_image, z_row, place, place_image, place_row, y, y_image, y_row,
                 dy, dy_image, dy_row, images, out_rows, out_columns, C, norm, kind, alpha):  # fmt: skip
    """`unpool_block` for windows of 2 x 2, side by side."""
    step, floor, slope, normed = C * FLOAT, floor_of(kind), broadcast(alpha), norm != 0
    zero, one, two, three = broadcast(0.0), broadcast(1.0), broadcast(2.0), broadcast(3.0)
    for image in range(images):
        for i in range(out_rows):
            for c in range(0, C, LANES):
                lanes, at = C - c, c * FLOAT
                mean = q = r = zero
                scale = one
                if normed:
                    mean, scale = load_part(norm + at, lanes), load_part(norm + step + at, lanes)
                    q, r = load_part(norm + 3 * step + at, lanes), load_part(norm + 4 * step + at, lanes)
                from_dz, from_z = dz + image * dz_image + i * dz_row + at, z + image * z_image + i * z_row + at
                from_place = place + image * place_image + i * place_row + c
                from_y = y + image * y_image + 2 * i * y_row + at
                to_dy = dy + image * dy_image + 2 * i * dy_row + at
                for _ in range(out_columns):
                    g = load_part(from_dz, lanes)
                    if kind != LINEAR:
                        g = derived(g, load_part(from_z, lanes), kind, floor, slope)
                    n = load_bytes(from_place, lanes)
                    d0, d1 = select_equal(n, zero, g, zero), select_equal(n, one, g, zero)
                    d2, d3 = select_equal(n, two, g, zero), select_equal(n, three, g, zero)
                    if normed:
                        y0, y1 = load_part(from_y, lanes), load_part(from_y + step, lanes)
                        y2, y3 = load_part(from_y + y_row, lanes), load_part(from_y + y_row + step, lanes)
                        d0 = multiply_add(scale, d0, multiply_add(q, y0 - mean, r))
                        d1 = multiply_add(scale, d1, multiply_add(q, y1 - mean, r))
                        d2 = multiply_add(scale, d2, multiply_add(q, y2 - mean, r))
                        d3 = multiply_add(scale, d3, multiply_add(q, y3 - mean, r))
                    store_part(d0, to_dy, lanes)
                    store_part(d1, to_dy + step, lanes)
                    store_part(d2, to_dy + dy_row, lanes)
                    store_part(d3, to_dy + dy_row + step, lanes)
                    from_dz += step
                    from_z += step
                    from_place += C
                    from_y += 2 * step
                    to_dy += 2 * step


@compiled()
def norm_share(y, dy, columns, C, norm):
    """dy = q (y - mean) + r of a row: what does not depend on the gradient."""
    step = C * FLOAT
    for c in range(0, C, LANES):
        lanes, p = C - c, c * FLOAT
        mean = load_part(norm + p, lanes)
        q, r = load_part(norm + 3 * step + p, lanes), load_part(norm + 4 * step + p, lanes)
        for _ in range(columns):
            store_part(multiply_add(q, load_part(y + p, lanes) - mean, r), dy + p, lanes)
            p += step


@compiled()
def unpool_windows(dz, dz_image, dz_row, z, z_image, z_row, place, place_image, place_row, y, y_image, y_row,
                   dy, dy_image, dy_row, images, first_row, last_row, first_column, last_column, out_rows, out_columns,
                   C, KH, KW, SH, SW, top, left, norm, kind, alpha):  # fmt: skip
    """`unpool_block` for any window, in the rows and columns first .. last-1 of dy: each row gathers from all windows
    that it is in, one column of the window after the other."""
    step, floor, slope, zero = C * FLOAT, floor_of(kind), broadcast(alpha), broadcast(0.0)
    for image in range(images):
        for i in range(first_row, last_row):
            to_dy, start = dy + image * dy_image + i * dy_row, first_column * step
            if norm == 0:
                zero_row(to_dy + start, (last_column - first_column) * C)
            else:
                norm_share(y + image * y_image + i * y_row + start, to_dy + start, last_column - first_column, C, norm)
            for k in range(max(0, (i + top - KH + SH) // SH), min(out_rows, (i + top) // SH + 1)):
                from_dz, from_z = dz + image * dz_image + k * dz_row, z + image * z_image + k * z_row
                from_place = place + image * place_image + k * place_row
                for b in range(KW):
                    here = broadcast((i + top - k * SH) * KW + b)
                    # The outputs m whose column m SW + b - left is one of these; -(-x // y) is x / y rounded up.
                    first_m = max(0, -((b - left - first_column) // SW))
                    for m in range(first_m, min(out_columns, (last_column - 1 + left - b) // SW + 1)):
                        target, source = to_dy + (m * SW + b - left) * step, m * step
                        for c in range(0, C, LANES):
                            lanes, p = C - c, c * FLOAT
                            g = load_part(from_dz + source + p, lanes)
                            if kind != LINEAR:
                                g = derived(g, load_part(from_z + source + p, lanes), kind, floor, slope)
                            if norm != 0:
                                g *= load_part(norm + step + p, lanes)
                            g = select_equal(load_bytes(from_place + m * C + c, lanes), here, g, zero)
                            store_part(load_part(target + p, lanes) + g, target + p, lanes)


@compiled()
def unpool_block(dz, dz_image, dz_row, z, z_image, z_row, place, place_image, place_row, y, y_image, y_row,
                 dy, dy_image, dy_row, images, rows, columns, out_rows, out_columns,
                 C, KH, KW, SH, SW, top, left, norm, kind, alpha):  # fmt: skip
    """dy = dz f'(z) at its place, 0 elsewhere, summed over the windows; and on through the norm where there is one.

    dy and y are rows x columns, all of dy is written; the rest is out_rows x out_columns. z is not looked at where f
    is linear, y without a norm. For a strip of dy that begins at row i of the whole, `dy` and `y` begin there, `rows`
    is that of the strip, and `top` is more by i.
    """
    # What the pairs of the fast path cover, from the first row and column on.
    paired_rows, paired_columns = 0, 0
    if KH == 2 and KW == 2 and SH == 2 and SW == 2 and top % 2 == 0 and left == 0:
        i = top // 2  # of the first pair
        paired_rows, paired_columns = max(0, min(out_rows - i, rows // 2)), min(out_columns, columns // 2)
        unpool_pairs(dz + i * dz_row, dz_image, dz_row, z + i * z_row, z_image, z_row,
                     place + i * place_row, place_image, place_row, y, y_image, y_row, dy, dy_image, dy_row,
                     images, paired_rows, paired_columns, C, norm, kind, alpha)  # fmt: skip
    for part in range(2):  # the columns to the right, then the rows below
        first_row, last_row = (0, 2 * paired_rows) if part == 0 else (2 * paired_rows, rows)
        first_column = 2 * paired_columns if part == 0 else 0
        if first_column == columns:
            continue
        unpool_windows(dz, dz_image, dz_row, z, z_image, z_row, place, place_image, place_row, y, y_image, y_row,
                       dy, dy_image, dy_row, images, first_row, last_row, first_column, columns, out_rows, out_columns,
                       C, KH, KW, SH, SW, top, left, norm, kind, alpha)  # fmt: skip


# -- batch normalization -----------------------------------------------------------------------------------------------


@compiled()
def norm_block(y, y_image, y_row, z, z_image, z_row, images, rows, columns, C, norm, kind, alpha):
    """z = f(v); z may be y"""
    step, floor = C * FLOAT, floor_of(kind)
    for image in range(images):
        for i in range(rows):
            source, target = y + image * y_image + i * y_row, z + image * z_image + i * z_row
            for c in range(0, C, LANES):
                lanes, p = C - c, c * FLOAT
                mean, scale = load_part(norm + p, lanes), load_part(norm + step + p, lanes)
                shift = load_part(norm + 2 * step + p, lanes)
                for _ in range(columns):
                    v = multiply_add(load_part(source + p, lanes) - mean, scale, shift)
                    store_part(at_least(v, floor), target + p, lanes)
                    p += step
            if kind > RELU:
                activate_row(target, columns * C, kind, alpha)


@compiled()
def deviations_row(y, columns, C, around, first, second):
    """first += the sum over a row of d = y - around, second += that of d^2; each of C numbers. Two chains."""
    step = C * FLOAT
    for c in range(0, C, LANES):
        lanes, at = C - c, c * FLOAT
        centre, p = load_part(around + at, lanes), y + at
        s = t = u = v = broadcast(0.0)
        for _ in range(columns // 2):
            d, e = load_part(p, lanes) - centre, load_part(p + step, lanes) - centre
            s += d
            t += e
            u = multiply_add(d, d, u)
            v = multiply_add(e, e, v)
            p += 2 * step
        if columns % 2:
            d = load_part(p, lanes) - centre
            s += d
            u = multiply_add(d, d, u)
        store_part(load_part(first + at, lanes) + (s + t), first + at, lanes)
        store_part(load_part(second + at, lanes) + (u + v), second + at, lanes)


@compiled()
def moments_block(y, y_image, y_row, images, rows, columns, C, mean, M2, work):
    """The mean of each channel and the sum of squared deviations from it, float64; work: 3 C float32.

    One pass, around a pivot a, the mean of the first row, so that little cancels: with d = y - a
        mean = a + sum d / n,  M2 = sum d^2 - (sum d)^2 / n
    and (mean - a)^2 is at most M2 / columns, since the row is a part of the whole. Sums are float32: some thousand
    pixels are enough for a block, and `merge_moments` puts blocks together.
    """
    around, first, second = work, work + C * FLOAT, work + 2 * C * FLOAT
    zero_row(work, 3 * C)
    channel_sums_block(y, y_image, y_row, 1, 1, columns, C, around)
    share = broadcast(1.0 / columns)
    for p in range(around, around + C * FLOAT, VECTOR):
        lanes = C - (p - around) // FLOAT
        store_part(load_part(p, lanes) * share, p, lanes)
    for image in range(images):
        for i in range(rows):
            deviations_row(y + image * y_image + i * y_row, columns, C, around, first, second)
    share_of_one = 1.0 / (images * rows * columns)
    for c in range(C):
        # 0.0 + makes a float64.
        a, s, t = load_float(around + c * FLOAT), load_float(first + c * FLOAT), load_float(second + c * FLOAT)
        d = (0.0 + s) * share_of_one
        store_double((0.0 + a) + d, mean + c * DOUBLE)
        store_double((0.0 + t) - d * s, M2 + c * DOUBLE)


@compiled()
def merge_moments(mean, M2, seen, block_mean, block_M2, count, C):
    """Take a block of `count` pixels into mean and M2 of the `seen` before it; seen = 0 copies. All float64.

    Source: T. Chan, G. Golub, R. LeVeque, "Updating formulae and a pairwise algorithm for sample variances", 1979.
    """
    share = count / (seen + count)
    for c in range(0, C * DOUBLE, DOUBLE):
        m, s = load_double(block_mean + c), load_double(block_M2 + c)
        if seen != 0:
            before = load_double(mean + c)
            delta = m - before
            m = before + delta * share
            s = load_double(M2 + c) + s + delta * delta * share * seen
        store_double(m, mean + c)
        store_double(s, M2 + c)


@compiled()
def norm_sums_row(dz, z, y, columns, C, norm, floor, kind, slope, sums):
    """`norm_sums_block` without pool, for one row. Two chains."""
    step = C * FLOAT
    for c in range(0, C, LANES):
        lanes, p = C - c, c * FLOAT
        mean, scale = load_part(norm + p, lanes), load_part(norm + step + p, lanes)
        shift = load_part(norm + 2 * step + p, lanes)
        total = sums + p
        s = t = u = v = broadcast(0.0)
        for _ in range(columns // 2):
            d, e = load_part(y + p, lanes) - mean, load_part(y + p + step, lanes) - mean
            if z == 0:
                out, other = multiply_add(d, scale, shift), multiply_add(e, scale, shift)
            else:
                out, other = load_part(z + p, lanes), load_part(z + p + step, lanes)
            g = derived(load_part(dz + p, lanes), out, kind, floor, slope)
            h = derived(load_part(dz + p + step, lanes), other, kind, floor, slope)
            s += g
            t = multiply_add(g, d, t)
            u += h
            v = multiply_add(h, e, v)
            p += 2 * step
        if columns % 2:
            d = load_part(y + p, lanes) - mean
            out = multiply_add(d, scale, shift) if z == 0 else load_part(z + p, lanes)
            g = derived(load_part(dz + p, lanes), out, kind, floor, slope)
            s += g
            t = multiply_add(g, d, t)
        store_part(load_part(total, lanes) + (s + u), total, lanes)
        store_part(load_part(total + step, lanes) + (t + v), total + step, lanes)


@compiled()
def norm_sums_block(dz, dz_image, dz_row, z, z_image, z_row, y, y_image, y_row, images, rows, columns, C,
                    norm, kind, alpha, sums):  # fmt: skip
    """sums += (sum of g, sum of g (y - mean)) of each channel, g = dz f'(z): two rows of C float32.

    z may be 0 unless f is tanh, as in `gradient_block`.
    """
    floor, slope = floor_of(kind), broadcast(alpha)
    for image in range(images):
        for i in range(rows):
            from_z = 0 if z == 0 else z + image * z_image + i * z_row
            norm_sums_row(dz + image * dz_image + i * dz_row, from_z, y + image * y_image + i * y_row, columns, C,
                          norm, floor, kind, slope, sums)  # fmt: skip


@compiled()
def pooled_sums_row(dz, z, place, y, y_row, columns, C, norm, floor, kind, slope, sums):
    """`pooled_sums_block` for one row of windows of 2 x 2, side by side and all inside."""
    step = C * FLOAT
    zero, one, two = broadcast(0.0), broadcast(1.0), broadcast(2.0)
    for c in range(0, C, LANES):
        lanes, at = C - c, c * FLOAT
        mean, s, t = load_part(norm + at, lanes), zero, zero
        p, q, r = y + at, at, place + c
        for _ in range(columns):
            n = load_bytes(r, lanes)
            best = load_part(p + y_row + step, lanes)
            best = select_equal(n, two, load_part(p + y_row, lanes), best)
            best = select_equal(n, one, load_part(p + step, lanes), best)
            best = select_equal(n, zero, load_part(p, lanes), best)
            g = derived(load_part(dz + q, lanes), load_part(z + q, lanes), kind, floor, slope)
            s += g
            t = multiply_add(g, best - mean, t)
            p += 2 * step
            q += step
            r += C
        total = sums + at
        store_part(load_part(total, lanes) + s, total, lanes)
        store_part(load_part(total + step, lanes) + t, total + step, lanes)


@compiled()
def pooled_sums_block(dz, dz_image, dz_row, z, z_image, z_row, place, place_image, place_row, y, y_image, y_row,
                      images, out_rows, out_columns, rows, columns, C, KH, KW, SH, SW, top, left,
                      norm, kind, alpha, sums):  # fmt: skip
    """The same where z, dz (out_rows x out_columns) come after a pool of f(v), v of y (rows x columns)."""
    step, floor, slope = C * FLOAT, floor_of(kind), broadcast(alpha)
    pairs = (KH == 2 and KW == 2 and SH == 2 and SW == 2 and top == 0 and left == 0
             and 2 * out_rows <= rows and 2 * out_columns <= columns)  # fmt: skip
    for image in range(images):
        for i in range(out_rows):
            from_dz, from_z = dz + image * dz_image + i * dz_row, z + image * z_image + i * z_row
            from_place, from_y = place + image * place_image + i * place_row, y + image * y_image
            if pairs:
                pooled_sums_row(from_dz, from_z, from_place, from_y + 2 * i * y_row, y_row, out_columns, C,
                                norm, floor, kind, slope, sums)  # fmt: skip
                continue
            first_a, last_a = max(0, top - i * SH), min(KH, rows + top - i * SH)
            for j in range(out_columns):
                first_b, last_b = max(0, left - j * SW), min(KW, columns + left - j * SW)
                corner = from_y + (i * SH - top) * y_row + (j * SW - left) * step
                for c in range(0, C, LANES):
                    lanes, at = C - c, c * FLOAT
                    n = load_bytes(from_place + j * C + c, lanes)
                    best = mean = load_part(norm + at, lanes)
                    for a in range(first_a, last_a):
                        for b in range(first_b, last_b):
                            v = load_part(corner + a * y_row + b * step + at, lanes)
                            best = select_equal(n, broadcast(a * KW + b), v, best)
                    p = j * step + at
                    g = derived(load_part(from_dz + p, lanes), load_part(from_z + p, lanes), kind, floor, slope)
                    total = sums + at
                    store_part(load_part(total, lanes) + g, total, lanes)
                    total += step
                    store_part(multiply_add(g, best - mean, load_part(total, lanes)), total, lanes)
