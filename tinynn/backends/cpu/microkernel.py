"""Generator of the micro-kernels: vector code that plain Numba cannot express, emitted as LLVM IR.

Numba keeps local arrays in memory; a fast product needs its block of C in registers. Each `make_*` function below
returns a Numba intrinsic (a call that is replaced by IR) over plain integers: addresses and strides, all in BYTES,
and counts. No bounds are checked: whoever calls has made sure that the memory is there.

The block of C is updated by rank-1 steps, one column of A times one row of B (Goto & van de Geijn 2008; the
register-blocked form is that of BLIS: Van Zee & van de Geijn 2015). Every element is one chain of multiply-adds
in the order of the depth, so it does not depend on the block that it falls into.
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import BLOCK

FLOAT = ir.FloatType()
INT = ir.IntType(64)
BYTES = 4
"""Size of a float32."""
LINE = 64
"""Bytes of a cache line."""
AHEAD = 40
"""Rows of B between the one that is multiplied and the one that is prefetched."""


def _int(value: int) -> ir.Constant:
    return ir.Constant(INT, value)


class Vectors:
    """IR for loads, stores and arithmetic on vectors of `lanes` float32 at byte addresses."""

    def __init__(self, builder: ir.IRBuilder, lanes: int):
        self.builder = builder
        self.lanes = lanes
        self.type = ir.VectorType(FLOAT, lanes)
        self.mask_type = ir.VectorType(ir.IntType(1), lanes)
        self.zero = ir.Constant(self.type, [0.0] * lanes)

    def address(self, base, constant: int = 0, *strides):
        """base + constant + sum(count * stride), leaving out what is zero at compile time."""
        for count, stride in strides:
            if isinstance(stride, int):
                constant += count * stride
            elif count:
                base = self.builder.add(base, self.builder.mul(stride, _int(count)))
        return self.builder.add(base, _int(constant)) if constant else base

    def load(self, address):
        return self.builder.load(self.builder.inttoptr(address, self.type.as_pointer()), align=BYTES)

    def store(self, value, address):
        self.builder.store(value, self.builder.inttoptr(address, self.type.as_pointer()), align=BYTES)

    def broadcast(self, address):
        """A vector full of the one number at `address`."""
        scalar = self.builder.load(self.builder.inttoptr(address, FLOAT.as_pointer()), align=BYTES)
        undefined = ir.Constant(self.type, ir.Undefined)
        one = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.shuffle(one, undefined, [0] * self.lanes)

    def shuffle(self, x, y, lanes: list[int]):
        """Lanes picked from x (0 .. lanes-1) and y (lanes .. 2 lanes-1)."""
        return self.builder.shuffle_vector(x, y, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))

    def multiply_add(self, x, y, z):
        """x * y + z; fused where the machine has such an instruction (`fmuladd` is never a library call)."""
        signature = ir.FunctionType(self.type, [self.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, signature, f"llvm.fmuladd.v{self.lanes}f32")
        return self.builder.call(function, [x, y, z])

    def lowest_or_zero(self, flag):
        """A vector full of zeros where the flag is not 0, else of -inf."""
        lowest = ir.Constant(self.type, [float("-inf")] * self.lanes)
        return self.builder.select(self.builder.icmp_signed("!=", flag, _int(0)), self.zero, lowest)

    def not_below(self, x, lowest):
        """max(x, lowest), where NaN stays."""
        return self.builder.select(self.builder.fcmp_ordered("<", x, lowest), lowest, x)

    def first_lanes(self, count):
        """Mask of the lanes below `count`."""
        numbers = ir.Constant(ir.VectorType(INT, self.lanes), list(range(self.lanes)))
        undefined = ir.Constant(numbers.type, ir.Undefined)
        limit = self.builder.insert_element(undefined, count, ir.Constant(ir.IntType(32), 0))
        return self.builder.icmp_signed("<", numbers, self.shuffle(limit, undefined, [0] * self.lanes))

    def prefetch(self, address):
        """Ask for the cache line at an address, which need not exist."""
        pointer = ir.IntType(8).as_pointer()
        number = ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = cgutils.get_or_insert_function(self.builder.module, signature, "llvm.prefetch.p0")
        read, near, data = (ir.Constant(number, n) for n in (0, 2, 1))
        self.builder.call(function, [self.builder.inttoptr(address, pointer), read, near, data])

    def masked_load(self, address, mask):
        """Lanes outside the mask are zero, and their memory is not touched."""
        pointer = self.type.as_pointer()
        signature = ir.FunctionType(self.type, [pointer, ir.IntType(32), self.mask_type, self.type])
        name = f"llvm.masked.load.v{self.lanes}f32.p0"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        align = ir.Constant(ir.IntType(32), BYTES)
        return self.builder.call(function, [self.builder.inttoptr(address, pointer), align, mask, self.zero])

    def masked_store(self, value, address, mask):
        """Lanes outside the mask are left as they are."""
        pointer = self.type.as_pointer()
        signature = ir.FunctionType(ir.VoidType(), [self.type, pointer, ir.IntType(32), self.mask_type])
        name = f"llvm.masked.store.v{self.lanes}f32.p0"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        align = ir.Constant(ir.IntType(32), BYTES)
        self.builder.call(function, [value, self.builder.inttoptr(address, pointer), align, mask])


def emit_loop(builder: ir.IRBuilder, count, step: int, carried: list, body) -> tuple:
    """`for i in range(start, count - step + 1, step)` with values carried in registers.

    carried[0] is the start; `body(values)` returns the other values for the next round. Returns all values at the
    end, the counter first, so that a loop of a smaller step can go on from there.
    """
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("loop.head", "loop.body", "loop.end"))
    builder.branch(head)
    builder.position_at_end(head)
    values = [builder.phi(value.type) for value in carried]
    for phi, value in zip(values, carried, strict=True):
        phi.add_incoming(value, before)
    following = builder.add(values[0], _int(step))
    builder.cbranch(builder.icmp_signed("<=", following, count), inside, after)
    builder.position_at_end(inside)
    results = [following, *body(values[1:])]
    for phi, value in zip(values, results, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return tuple(values)


def _signature(arguments: int):
    return types.void(*([types.int64] * arguments))


def make_product(
    rows: int,
    vectors: int,
    rows_adjacent: bool,
    lanes: int = BLOCK.lanes,
    unroll: int = 2,
    steps: bool = False,
    floor: bool = False,
    groups: int = 1,
    packing: bool = False,
):
    """Micro-kernel of the matrix product: C = A B (+ addend), for `rows` x (`vectors` * lanes) elements of C.

    product(a, a_stride, b, b_stride, depth, c, c_stride, addend, addend_stride):
    b_stride leads to the next row of B; c_stride and addend_stride to the next row of C and of the addend (stride 0:
    the same row, a bias, for all; address 0: no addend). A is read in one of two orders:
    rows_adjacent: a[r + k * a_stride] (a packed panel, or a transposed matrix as it lies);
    otherwise:     a[k + r * a_stride] (rows as they lie).

    With `steps` there are three more arguments behind depth, (steps, a_step, b_step), and the sum runs over so many
    pieces of the depth, the next one a_step and b_step further (the rows of a convolution's window). With `floor` there
    is one more at the end: not 0 for C = max(C, 0), where NaN stays. With `groups` (and steps) there is one more at the
    end, too: the rows are that many runs, and the next run of A is so many bytes further. With `packing` (and floor)
    there is one more at the end: the rows of B are written to that address meanwhile, side by side, for the blocks that
    follow; rows that come later are prefetched, since those of a large matrix come from far.
    """
    count = 9 + 3 * steps + floor + (groups > 1) + packing

    def codegen(context, builder, signature, arguments):
        a, a_stride, b, b_stride, depth, *rest = arguments
        c, c_stride, addend, addend_stride = rest[3 * steps : 3 * steps + 4]
        a_group = rest[-1] if groups > 1 else 0
        v = Vectors(builder, lanes)
        vector_bytes = BYTES * lanes
        row_stride, depth_stride = (BYTES, a_stride) if rows_adjacent else (a_stride, BYTES)
        cells = [(r, q) for r in range(rows) for q in range(vectors)]

        def multiply(count):
            def body(values):
                a, b, *sums = values
                packed = sums.pop(0) if packing else 0
                for k in range(count):
                    row_of_b = [v.load(v.address(b, vector_bytes * q, (k, b_stride))) for q in range(vectors)]
                    if packing:
                        far = v.address(b, 0, (k + AHEAD, b_stride))
                        for q, row in enumerate(row_of_b):
                            v.store(row, v.address(packed, vector_bytes * (k * vectors + q)))
                            if vector_bytes * q % LINE == 0:
                                v.prefetch(v.address(far, vector_bytes * q))
                    for r in range(rows):
                        run, place = divmod(r, rows // groups)
                        x = v.broadcast(v.address(a, 0, (run, a_group), (place, row_stride), (k, depth_stride)))
                        for q in range(vectors):
                            cell = r * vectors + q
                            sums[cell] = v.multiply_add(x, row_of_b[q], sums[cell])
                places = [v.address(a, 0, (count, depth_stride)), v.address(b, 0, (count, b_stride))]
                if packing:
                    places.append(v.address(packed, vector_bytes * vectors * count))
                return [*places, *sums]

            return body

        def piece(a, b, sums):
            carried = [_int(0), a, b, *arguments[count - packing :], *sums]
            if unroll > 1:
                carried = emit_loop(builder, depth, unroll, carried, multiply(unroll))
            return emit_loop(builder, depth, 1, carried, multiply(1))[3 + packing :]

        def next_piece(values):
            a, b, *sums = values
            return [builder.add(a, rest[1]), builder.add(b, rest[2]), *piece(a, b, sums)]

        sums = [v.zero] * len(cells)
        if steps:
            sums = emit_loop(builder, rest[0], 1, [_int(0), a, b, *sums], next_piece)[3:]
        else:
            sums = piece(a, b, sums)

        lowest = v.lowest_or_zero(arguments[9 + 3 * steps]) if floor else None

        def finish(total):
            return v.not_below(total, lowest) if floor else total

        known = builder.icmp_signed("!=", addend, _int(0))
        before = builder.block
        with builder.if_then(known):
            others = [v.load(v.address(addend, vector_bytes * q, (r, addend_stride))) for r, q in cells]
            added = [builder.fadd(total, other) for total, other in zip(sums, others, strict=True)]
            inside = builder.block
        results = [builder.phi(v.type) for _ in cells]
        for result, total, other in zip(results, sums, added, strict=True):
            result.add_incoming(total, before)
            result.add_incoming(other, inside)
        for (r, q), result in zip(cells, results, strict=True):
            v.store(finish(result), v.address(c, vector_bytes * q, (r, c_stride)))
        return context.get_dummy_value()

    if groups > 1:

        @intrinsic
        def product(
            typingctx,
            a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride, a_group,
        ):  # fmt: skip
            return _signature(count), codegen

    elif steps and floor:

        @intrinsic
        def product(
            typingctx,
            a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride, floor,
        ):  # fmt: skip
            return _signature(count), codegen

    elif steps:

        @intrinsic
        def product(
            typingctx, a, a_stride, b, b_stride, depth, steps, a_step, b_step, c, c_stride, addend, addend_stride
        ):
            return _signature(count), codegen

    elif packing:

        @intrinsic
        def product(typingctx, a, a_stride, b, b_stride, depth, c, c_stride, addend, addend_stride, floor, packed):
            return _signature(count), codegen

    elif floor:

        @intrinsic
        def product(typingctx, a, a_stride, b, b_stride, depth, c, c_stride, addend, addend_stride, floor):
            return _signature(count), codegen

    else:

        @intrinsic
        def product(typingctx, a, a_stride, b, b_stride, depth, c, c_stride, addend, addend_stride):
            return _signature(count), codegen

    return product


def make_copy(vectors: int, masked: bool, lanes: int = BLOCK.lanes):
    """Copy `count` rows of `columns` <= `vectors` * lanes numbers; rows of the target are filled up with zeros.

    copy(source, source_stride, target, target_stride, count, columns). Without `masked`, columns is not looked at
    and all are copied. The target is written in whole vectors, the source is read only where it has columns.
    """

    @intrinsic
    def copy(typingctx, source, source_stride, target, target_stride, count, columns):
        def codegen(context, builder, signature, arguments):
            source, source_stride, target, target_stride, count, columns = arguments
            v = Vectors(builder, lanes)
            offsets = [BYTES * lanes * q for q in range(vectors)]
            masks = [v.first_lanes(builder.sub(columns, _int(lanes * q))) for q in range(vectors)] if masked else []

            def body(values):
                source, target = values
                for q, offset in enumerate(offsets):
                    address = v.address(source, offset)
                    value = v.masked_load(address, masks[q]) if masked else v.load(address)
                    v.store(value, v.address(target, offset))
                return [builder.add(source, source_stride), builder.add(target, target_stride)]

            emit_loop(builder, count, 1, [_int(0), source, target], body)
            return context.get_dummy_value()

        return _signature(6), codegen

    return copy


def make_dots(rows: int, columns: int, lanes: int = BLOCK.lanes):
    """Micro-kernel for narrow C: rows x columns dot products, vectors along the depth, so that no lane is idle.

    dots(a, a_stride, last_row, b, b_stride, last_column, depth, result, ahead): row r of A and column q of B lie along
    the depth at a + r * a_stride and b + q * b_stride; numbers beyond last_row or last_column repeat the last one, so
    nothing outside is read. result: rows x columns numbers side by side (room for a vector more). Meanwhile two rows
    of A, from the address `ahead` on, are brought into L2: rows from memory come in time, which takes a third off a
    product of 100 x 784 with 784 x 10.
    Every dot product is `lanes` chains of multiply-adds, then pairwise sums.
    """

    @intrinsic
    def dots(typingctx, a, a_stride, last_row, b, b_stride, last_column, depth, result, ahead):
        def codegen(context, builder, signature, arguments):
            a, a_stride, last_row, b, b_stride, last_column, depth, result, ahead = arguments
            v = Vectors(builder, lanes)

            def starts(base, stride, last, count):
                numbers = [builder.select(builder.icmp_signed("<", _int(i), last), _int(i), last) for i in range(count)]
                return [builder.add(base, builder.mul(stride, number)) for number in numbers]

            row_starts, column_starts = starts(a, a_stride, last_row, rows), starts(b, b_stride, last_column, columns)

            def step(offset, sums, load):
                of_b = [load(builder.add(start, offset)) for start in column_starts]
                of_a = [load(builder.add(start, offset)) for start in row_starts]
                return [
                    v.multiply_add(of_a[r], of_b[q], sums[r * columns + q]) for r in range(rows) for q in range(columns)
                ]

            coming = [v.address(ahead, 0, (r, a_stride)) for r in range(2)]

            def body(values):
                offset, *sums = values
                for start in coming:
                    v.prefetch(builder.add(start, offset))
                return [builder.add(offset, _int(BYTES * lanes)), *step(offset, sums, v.load)]

            start = [_int(0), _int(0), *[v.zero] * (rows * columns)]
            done, offset, *sums = emit_loop(builder, depth, lanes, start, body)
            mask = v.first_lanes(builder.sub(depth, done))
            sums = step(offset, sums, lambda address: v.masked_load(address, mask))

            sums += [v.zero] * (-len(sums) % lanes)
            even, odd = list(range(0, 2 * lanes, 2)), list(range(1, 2 * lanes, 2))
            for first in range(0, len(sums), lanes):
                group = sums[first : first + lanes]
                while len(group) > 1:  # halves the vectors, and the lanes that belong to one sum
                    pairs = zip(group[::2], group[1::2], strict=True)
                    group = [builder.fadd(v.shuffle(x, y, even), v.shuffle(x, y, odd)) for x, y in pairs]
                v.store(group[0], v.address(result, BYTES * first))
            return context.get_dummy_value()

        return _signature(9), codegen

    return dots


def make_transpose(lanes: int = BLOCK.lanes):
    """Transpose a square: transpose(source, source_stride, last_row, columns, target, target_stride).

    The square may hang over the edge of its matrix: row r of the source is read at min(r, last_row), and only
    `columns` numbers of it; the rest of the lanes x lanes numbers written are repetitions and zeros.
    Butterfly exchange, log2(lanes) rounds.
    """

    @intrinsic
    def transpose(typingctx, source, source_stride, last_row, columns, target, target_stride):
        def codegen(context, builder, signature, arguments):
            source, source_stride, last_row, columns, target, target_stride = arguments
            v = Vectors(builder, lanes)
            mask = v.first_lanes(columns)
            rows = []
            for r in range(lanes):
                row = builder.select(builder.icmp_signed("<", _int(r), last_row), _int(r), last_row)
                rows.append(v.masked_load(builder.add(source, builder.mul(source_stride, row)), mask))
            distance = lanes // 2
            while distance:
                low = [j if not j & distance else lanes + j - distance for j in range(lanes)]
                high = [j + distance if not j & distance else lanes + j for j in range(lanes)]
                for r in range(lanes):
                    if not r & distance:
                        x, y = rows[r], rows[r + distance]
                        rows[r], rows[r + distance] = v.shuffle(x, y, low), v.shuffle(x, y, high)
                distance //= 2
            for r in range(lanes):
                v.store(rows[r], v.address(target, 0, (r, target_stride)))
            return context.get_dummy_value()

        return _signature(6), codegen

    return transpose


def make_column_sums(vectors: int, masked: bool, lanes: int = BLOCK.lanes):
    """Sums over rows of up to `vectors` * lanes columns: sums(a, a_stride, rows, columns, result).

    Eight accumulators: `chains` chains per vector, each over every `chains`-th row, added in order at the end.
    Without `masked`, columns is not looked at and whole vectors are read and written.
    """
    chains = 8 // vectors

    @intrinsic
    def sums(typingctx, a, a_stride, rows, columns, result):
        def codegen(context, builder, signature, arguments):
            a, a_stride, rows, columns, result = arguments
            v = Vectors(builder, lanes)
            offsets = [BYTES * lanes * q for q in range(vectors)]
            masks = [v.first_lanes(builder.sub(columns, _int(lanes * q))) for q in range(vectors)]

            def add_rows(count):
                def body(values):
                    a, *totals = values
                    for r in range(count):
                        for q, offset in enumerate(offsets):
                            address = v.address(a, offset, (r, a_stride))
                            row = v.masked_load(address, masks[q]) if masked else v.load(address)
                            totals[r * vectors + q] = builder.fadd(totals[r * vectors + q], row)
                    return [v.address(a, 0, (count, a_stride)), *totals]

                return body

            carried = [_int(0), a, *[v.zero] * (chains * vectors)]
            carried = emit_loop(builder, rows, chains, carried, add_rows(chains))
            totals = emit_loop(builder, rows, 1, carried, add_rows(1))[2:]
            for q, offset in enumerate(offsets):
                total = totals[q]
                for other in totals[q + vectors :: vectors]:
                    total = builder.fadd(total, other)
                if masked:
                    v.masked_store(total, v.address(result, offset), masks[q])
                else:
                    v.store(total, v.address(result, offset))
            return context.get_dummy_value()

        return _signature(5), codegen

    return sums


@intrinsic
def call_range(typingctx, function, first, last, plan, work):
    """Call the compiled `void f(first, last, plan, work)` at the address `function`.

    So a loop that only hands out work need not be compiled together with the work (see `entry_point` in simd.py).
    """

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [INT] * 4)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return _signature(5), codegen


@intrinsic
def call_block(typingctx, function, a, b, c, d, e, f, g, h, i):
    """Call the compiled `void f(nine int64)` at an address: an algorithm of a convolution, see blocks.py."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.VoidType(), [INT] * 9)
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return _signature(10), codegen


def make_load_ints(count: int):
    """load(address): the `count` int64 that lie there, as a tuple."""

    @intrinsic
    def load(typingctx, address):
        def codegen(context, builder, signature, arguments):
            places = [builder.add(arguments[0], _int(8 * i)) for i in range(count)]
            values = [builder.load(builder.inttoptr(place, INT.as_pointer()), align=8) for place in places]
            return context.make_tuple(builder, signature.return_type, values)

        return types.UniTuple(types.int64, count)(types.int64), codegen

    return load


@intrinsic
def load_int(typingctx, address):
    """The int64 at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], INT.as_pointer()), align=8)

    return types.int64(types.int64), codegen


@intrinsic
def store_int(typingctx, value, address):
    """Write an int64 to an address."""

    def codegen(context, builder, signature, arguments):
        builder.store(arguments[0], builder.inttoptr(arguments[1], INT.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def take(typingctx, address, count):
    """Add `count` to the int64 at an address and return what was there: no two threads are given the same number."""

    def codegen(context, builder, signature, arguments):
        place = builder.inttoptr(arguments[0], INT.as_pointer())
        return builder.atomic_rmw("add", place, arguments[1], "monotonic")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def copy_bytes(typingctx, source, target, count):
    """`count` bytes to another place; the two do not overlap."""

    def codegen(context, builder, signature, arguments):
        source, target, count = arguments
        places = [builder.inttoptr(address, ir.IntType(8).as_pointer()) for address in (target, source)]
        cgutils.raw_memcpy(builder, *places, count, 1)
        return context.get_dummy_value()

    return _signature(3), codegen


@intrinsic
def zero_bytes(typingctx, target, count):
    """`count` bytes of 0."""

    def codegen(context, builder, signature, arguments):
        target, count = arguments
        cgutils.memset(builder, builder.inttoptr(target, ir.IntType(8).as_pointer()), count, 0)
        return context.get_dummy_value()

    return _signature(2), codegen


@intrinsic
def load_float(typingctx, address):
    """The float32 at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], FLOAT.as_pointer()), align=BYTES)

    return types.float32(types.int64), codegen


@intrinsic
def store_float(typingctx, value, address):
    """Write a float32 to an address."""

    def codegen(context, builder, signature, arguments):
        builder.store(arguments[0], builder.inttoptr(arguments[1], FLOAT.as_pointer()), align=BYTES)
        return context.get_dummy_value()

    return types.void(types.float32, types.int64), codegen
