"""The sigmoid and the hyperbolic tangent of vectors, to one or two units in the last place, for fused kernels.

Both begin with exp(t) for t <= 0: t = n ln 2 + r, 2**n by the bits of the exponent, exp(r) by Taylor's polynomial
(|r| <= ln 2 / 2, next term: 5e-9). NaN passes; below exp(-87) is 0 for all that follows.
"""

import math

from llvmlite import ir

from .simd import compiled
from .vectors import INT32, LANES, VECTOR, at_least, broadcast, multiply_add, word

LOG2_E = math.log2(math.e)
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440054690581e-4
"""ln 2 in two parts; the first has so few bits that a small whole number times it is exact."""
ROUNDER = 1.5 * 2.0**23
"""Adding it leaves the nearest integer in the low bits of the sum."""
INTEGERS = ir.VectorType(INT32, LANES)


def integers(value: int) -> ir.Constant:
    return ir.Constant(INTEGERS, [value] * LANES)


@word(VECTOR, VECTOR)
def minus_size(v, x):
    """-|x|"""
    bits = v.builder.or_(v.builder.bitcast(x, INTEGERS), integers(-(1 << 31)))
    return v.builder.bitcast(bits, v.type)


@word(VECTOR, VECTOR, VECTOR)
def with_sign(v, x, y):
    """|x| with the sign of y."""
    size = v.builder.and_(v.builder.bitcast(x, INTEGERS), integers((1 << 31) - 1))
    sign = v.builder.and_(v.builder.bitcast(y, INTEGERS), integers(-(1 << 31)))
    return v.builder.bitcast(v.builder.or_(size, sign), v.type)


@word(VECTOR, VECTOR)
def power_of_two(v, shifted):
    """2**n for shifted = n + ROUNDER, -126 <= n <= 127."""
    bits = v.builder.add(v.builder.bitcast(shifted, INTEGERS), integers(127))
    return v.builder.bitcast(v.builder.shl(bits, integers(23)), v.type)


@word(VECTOR, VECTOR, VECTOR, VECTOR)
def where_negative(v, a, x, y):
    """x where a < 0, else y."""
    return v.builder.select(v.builder.fcmp_ordered("<", a, v.zero), x, y)


@compiled()
def scale_and_rest(t):
    """2**n and q with exp(t) = 2**n (1 + q), for t <= 0."""
    t = at_least(t, broadcast(-87.0))
    shifted = multiply_add(t, broadcast(LOG2_E), broadcast(ROUNDER))
    n = shifted - broadcast(ROUNDER)
    r = multiply_add(n, broadcast(-LN2_LOW), multiply_add(n, broadcast(-LN2_HIGH), t))
    q = broadcast(1 / 5040)
    q = multiply_add(q, r, broadcast(1 / 720))
    q = multiply_add(q, r, broadcast(1 / 120))
    q = multiply_add(q, r, broadcast(1 / 24))
    q = multiply_add(q, r, broadcast(1 / 6))
    q = multiply_add(q, r, broadcast(0.5))
    q = multiply_add(q, r, broadcast(1.0))
    return power_of_two(shifted), q * r


@compiled()
def sigmoid(x):
    """1 / (1 + exp(-x)): exp of negative numbers only, so small values keep their digits."""
    scale, q = scale_and_rest(minus_size(x))
    e, one = multiply_add(scale, q, scale), broadcast(1.0)
    return where_negative(x, e, one) / (one + e)


@compiled()
def tanh(x):
    """(1 - exp(-2 |x|)) / (1 + exp(-2 |x|)), with the sign of x."""
    scale, q = scale_and_rest(minus_size(x + x))
    e = multiply_add(scale, q, scale - broadcast(1.0))
    return with_sign(e / (e + broadcast(2.0)), x)
