"""A small vocabulary of explicit vectors, for fused elementwise work and reductions in readable Python.

Numba has no vector type, and whether LLVM makes vectors of a loop is its own decision. Here a vector is a value of a
Numba type: `LANES` float32 numbers in a register. `+ - * /` work lane by lane; everything else is a function below.
Memory is named by addresses (int64, in bytes), and no bounds are checked. `..._part` functions take a count of lanes:
memory beyond these is neither read nor written. A count of LANES or more is a whole vector, at the price of a
predictable branch, so that one loop serves both.

    x, y = load(a), load(b)
    store(multiply_add(x, y, broadcast(1.0)), c)

Functions that use it are compiled into their callers, and Numba's cache does not see a change there: files with such
functions for other files belong into the stamp of simd.py.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing import signature
from numba.core.typing.templates import ConcreteTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, models, register_model

from .microkernel import FLOAT, INT, Vectors
from .simd import BLOCK

LANES = BLOCK.lanes
BYTE = ir.IntType(8)
INT32 = ir.IntType(32)
DOUBLE = ir.DoubleType()


class VectorType(types.Type):
    """LANES float32 numbers."""

    def __init__(self):
        super().__init__(name=f"float32x{LANES}")


VECTOR = VectorType()
ADDRESS = COUNT = types.int64


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    def __init__(self, data_model_manager, kind):
        super().__init__(data_model_manager, kind, ir.VectorType(FLOAT, LANES))


def define_operator(emit, *functions):
    """These functions of two vectors are the IR instruction that emit(builder, x, y) writes."""
    for function in functions:

        @infer_global(function)
        class Typing(ConcreteTemplate):
            cases = [signature(VECTOR, VECTOR, VECTOR)]

        @lower_builtin(function, VECTOR, VECTOR)
        def lower(context, builder, signature, arguments):
            return emit(builder, *arguments)


define_operator(ir.IRBuilder.fadd, operator.add, operator.iadd)
define_operator(ir.IRBuilder.fsub, operator.sub, operator.isub)
define_operator(ir.IRBuilder.fmul, operator.mul, operator.imul)
define_operator(ir.IRBuilder.fdiv, operator.truediv, operator.itruediv)


def word(result, *arguments):
    """Decorator: emit(v, *values), which writes IR with `v`, a `Vectors`, becomes a function of these types."""

    def decorate(emit):
        def codegen(context, builder, signature, values):
            value = emit(Vectors(builder, LANES), *values)
            return context.get_dummy_value() if value is None else value

        typed = result(*arguments), codegen
        forms = (  # an intrinsic is known by its number of parameters
            lambda typingctx: typed,
            lambda typingctx, a: typed,
            lambda typingctx, a, b: typed,
            lambda typingctx, a, b, c: typed,
            lambda typingctx, a, b, c, d: typed,
        )
        form = forms[len(arguments)]
        form.__name__ = form.__qualname__ = emit.__name__
        form.__doc__ = emit.__doc__
        return intrinsic(form)

    return decorate


# -- memory ------------------------------------------------------------------------------------------------------------


def either(v, count, whole, part):
    """The value of `whole()` where count >= LANES, else that of `part(mask of the first lanes)`."""
    builder = v.builder
    with builder.if_else(builder.icmp_signed(">=", count, ir.Constant(INT, LANES))) as (then, otherwise):
        with then:
            x, from_whole = whole(), builder.block
        with otherwise:
            y, from_part = part(v.first_lanes(count)), builder.block
    if x is None:
        return None
    value = builder.phi(x.type)
    value.add_incoming(x, from_whole)
    value.add_incoming(y, from_part)
    return value


def byte_pointer(v, address):
    return v.builder.inttoptr(address, ir.VectorType(BYTE, LANES).as_pointer())


def masked_bytes(v, kind, result, *arguments):
    """A call of LLVM's masked load or store of bytes."""
    function = ir.FunctionType(result, [argument.type for argument in arguments])
    name = f"llvm.masked.{kind}.v{LANES}i8.p0"
    return v.builder.call(cgutils.get_or_insert_function(v.builder.module, function, name), arguments)


@word(VECTOR, ADDRESS)
def load(v, address):
    """The LANES numbers at an address."""
    return v.load(address)


@word(VECTOR, ADDRESS, COUNT)
def load_part(v, address, count):
    """The first `count` numbers at an address, and zeros."""
    return either(v, count, lambda: v.load(address), lambda mask: v.masked_load(address, mask))


@word(types.void, VECTOR, ADDRESS)
def store(v, x, address):
    """Write all lanes to an address."""
    v.store(x, address)


@word(types.void, VECTOR, ADDRESS, COUNT)
def store_part(v, x, address, count):
    """Write the first `count` lanes."""
    either(v, count, lambda: v.store(x, address), lambda mask: v.masked_store(x, address, mask))


@word(VECTOR, ADDRESS, COUNT)
def load_bytes(v, address, count):
    """The first `count` uint8 numbers at an address, as float32, and zeros."""
    builder, kind = v.builder, ir.VectorType(BYTE, LANES)

    def part(mask):
        one, zeros = ir.Constant(INT32, 1), ir.Constant(kind, [0] * LANES)
        return masked_bytes(v, "load", kind, byte_pointer(v, address), one, mask, zeros)

    numbers = either(v, count, lambda: builder.load(byte_pointer(v, address), align=1), part)
    return builder.sitofp(builder.zext(numbers, ir.VectorType(INT32, LANES)), v.type)


@word(types.void, VECTOR, ADDRESS, COUNT)
def store_bytes(v, x, address, count):
    """Write the first `count` lanes, whole numbers from 0 to 255, as uint8."""
    builder = v.builder
    numbers = builder.trunc(builder.fptosi(x, ir.VectorType(INT32, LANES)), ir.VectorType(BYTE, LANES))

    def whole():
        builder.store(numbers, byte_pointer(v, address), align=1)

    def part(mask):
        masked_bytes(v, "store", ir.VoidType(), numbers, byte_pointer(v, address), ir.Constant(INT32, 1), mask)

    either(v, count, whole, part)


@word(types.float64, ADDRESS)
def load_double(v, address):
    """The float64 at an address."""
    return v.builder.load(v.builder.inttoptr(address, DOUBLE.as_pointer()), align=8)


@word(types.void, types.float64, ADDRESS)
def store_double(v, x, address):
    """Write a float64 to an address."""
    v.builder.store(x, v.builder.inttoptr(address, DOUBLE.as_pointer()), align=8)


# -- arithmetic --------------------------------------------------------------------------------------------------------


@word(VECTOR, types.float32)
def broadcast(v, x):
    """A vector full of one number."""
    undefined = ir.Constant(v.type, ir.Undefined)
    one = v.builder.insert_element(undefined, x, ir.Constant(INT32, 0))
    return v.shuffle(one, undefined, [0] * LANES)


@word(VECTOR, VECTOR, VECTOR, VECTOR)
def multiply_add(v, x, y, z):
    """x y + z, in one rounding where the machine can."""
    return v.multiply_add(x, y, z)


@word(types.float32, VECTOR)
def sum_lanes(v, x):
    """The sum of all lanes: of halves, lane by lane, until one is left."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        half = v.shuffle(x, x, list(range(lanes, 2 * lanes)) + [0] * (LANES - lanes))
        x = v.builder.fadd(x, half)
    return v.builder.extract_element(x, ir.Constant(INT32, 0))


# -- choices, lane by lane ---------------------------------------------------------------------------------------------


@word(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
def select_greater(v, a, b, x, y):
    """x where a > b, else y: also where a or b is NaN."""
    return v.builder.select(v.builder.fcmp_ordered(">", a, b), x, y)


@word(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
def select_at_most(v, a, b, x, y):
    """x where a <= b, else y: also where a or b is NaN."""
    return v.builder.select(v.builder.fcmp_ordered("<=", a, b), x, y)


@word(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
def select_equal(v, a, b, x, y):
    """x where a = b, else y: also where a or b is NaN."""
    return v.builder.select(v.builder.fcmp_ordered("==", a, b), x, y)


@word(VECTOR, VECTOR, VECTOR, VECTOR, VECTOR)
def select_above(v, a, b, x, y):
    """x where a stands above b, else y, with NaN the largest of all numbers and no NaN above another."""
    above = v.builder.and_(v.builder.fcmp_unordered(">", a, b), v.builder.fcmp_ordered("==", b, b))
    return v.builder.select(above, x, y)


@word(VECTOR, VECTOR, VECTOR)
def at_least(v, x, floor):
    """max(x, floor), where NaN in x stays and NaN in floor means no floor. One instruction."""
    return v.builder.select(v.builder.fcmp_ordered(">", floor, x), floor, x)


# -- denormals ---------------------------------------------------------------------------------------------------------

FLUSH = 0x8040
"""Bits of the x86 register MXCSR: results (FTZ) and operands (DAZ) that are denormal count as 0."""


def control_register(builder, name, place):
    """Call stmxcsr (write MXCSR to memory) or ldmxcsr (read it from there)."""
    pointer = BYTE.as_pointer()
    function = ir.FunctionType(ir.VoidType(), [pointer])
    function = cgutils.get_or_insert_function(builder.module, function, f"llvm.x86.sse.{name}")
    builder.call(function, [builder.bitcast(place, pointer)])


def on_x86(builder):
    return builder.module.triple.split("-")[0] in ("x86_64", "amd64", "i386", "i686")


@word(types.int32)
def flush_denormals(v):
    """Let the calling thread take denormals for 0, and return what `restore_denormals` wants.

    On some processors an operation on a denormal costs a hundred cycles and more, and decaying slots of an optimizer
    end there. Every thread must do it for its part of a kernel, so that the bytes do not depend on who did the work;
    and give back what it had, since a thread may be the caller's. Elsewhere than on x86 nothing happens.
    """
    builder = v.builder
    if not on_x86(builder):
        return ir.Constant(INT32, 0)
    place = cgutils.alloca_once(builder, INT32)
    control_register(builder, "stmxcsr", place)
    before = builder.load(place)
    builder.store(builder.or_(before, ir.Constant(INT32, FLUSH)), place)
    control_register(builder, "ldmxcsr", place)
    return before


@word(types.void, types.int32)
def restore_denormals(v, before):
    """Give the calling thread back what it had before `flush_denormals`."""
    if on_x86(v.builder):
        place = cgutils.alloca_once(v.builder, INT32)
        v.builder.store(before, place)
        control_register(v.builder, "ldmxcsr", place)


@word(types.void, ADDRESS)
def prefetch(v, address):
    """Ask for a cache line."""
    v.prefetch(address)
