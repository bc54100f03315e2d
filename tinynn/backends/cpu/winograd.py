"""Winograd's minimal filtering: F(2x2, 3x3) and F(4x4, 3x3) need 16 and 36 products per channel pair and tile of 2x2
or 4x4 outputs, where the sum written down needs 36 and 144; F(2x2, 5x5) needs 36 instead of 100.

Lavin & Gray 2015, "Fast algorithms for convolutional neural networks". F(m x m, r x r), with x an n x n tile of the
input, n = m + r - 1:

    V = B'xB,  U = G W G',  M[e] = V[e] U[e] for each of the E = n^2 numbers e of a tile,  y = A'MA
    D = A dy A',  dU[e] = V[e]' D[e],  dW = G'dU G

and the input gradient is the forward formula on dy, with W turned by 180 degrees and its channels exchanged.
M[e] and dU[e] are matrix products over channels (tiles x C times C x O) and run on the micro-kernel; the transforms are
vector code over channels, generated from the matrices below. Tiles are taken in groups, so that V and M stay in L2.

All is for stride 1, dilation 1, one group, float32, and channels C and O that are multiples of CHANNELS.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from . import tasks
from .images import copy_row, zero_row
from .microkernel import BYTES, Vectors, make_load_ints, make_product, make_transpose
from .processor import GROUP_BYTES
from .simd import BLOCK, entry_point
from .tasks import BLOCK_ENTRY, ENTRY
from .vectors import flush_denormals, load, restore_denormals, store

LANES = BLOCK.lanes
PANEL = BLOCK.columns
HIGH, MIDDLE, _ = BLOCK.rows
CHANNELS = 16
"""C and O are multiples of this: of the lanes at every width."""
EVEN = max(rows for rows in (4, 8, 16) if rows <= HIGH)
"""Height of the blocks of dU: a divisor of CHANNELS."""
FEWEST_TILES, MOST_TILES = 24, 96
"""In a group. Multiples of MIDDLE; with fewer a product is too short for what it reads of U."""
PLAN_FIELDS = 18
"""As in direct.py, and the last one is ``group_tiles``."""
VECTOR = BYTES * LANES
SUM_TASK = 256
"""Numbers of a plane of dU that are summed and transformed at once: a divisor of C O."""
SUM_PLANE = BYTES * (SUM_TASK + CHANNELS)
WORK_BYTES = 36 * SUM_PLANE
"""Of each thread: the sums of 36 planes, or 25 squares of LANES x LANES, which are less."""
SERIAL_BELOW = 250_000
"""Numbers in U or dU below which one thread transforms them."""

Matrix = list[list[Fraction]]
Entry = Callable[[], int]

# -- the transforms --------------------------------------------------------------------------------------------------


def _matrix(*rows: str) -> Matrix:
    return [[Fraction(number) for number in row.split()] for row in rows]


def _transposed(matrix):
    return [list(column) for column in zip(*matrix, strict=True)]


# Lavin & Gray, section 4: B', G and A' for the points 0, 1, -1 and infinity (4), or with 2 and -2 as well (6). The rows
# of G are the powers of a point, times a factor that belongs to the points and B.
B4 = _matrix("1 0 -1 0", "0 1 1 0", "0 -1 1 0", "0 1 0 -1")
B6 = _matrix("4 0 -5 0 1 0", "0 -4 -4 1 1 0", "0 4 -4 -1 1 0", "0 -2 -1 2 1 0", "0 2 -1 -2 1 0", "0 4 0 -5 0 1")
G23 = _matrix("1 0 0", "1/2 1/2 1/2", "1/2 -1/2 1/2", "0 0 1")
G43 = _matrix("1/4 0 0", "-1/6 -1/6 -1/6", "-1/6 1/6 -1/6", "1/24 1/12 1/6", "1/24 -1/12 1/6", "0 0 1")
G25 = _matrix(
    *("1/4 0 0 0 0", "-1/6 -1/6 -1/6 -1/6 -1/6", "-1/6 1/6 -1/6 1/6 -1/6"),
    *("1/24 1/12 1/6 1/3 2/3", "1/24 -1/12 1/6 -1/3 2/3", "0 0 0 0 1"),
)
A23 = _matrix("1 1 1 0", "0 1 -1 -1")
A43 = _matrix("1 1 1 1 1 0", "0 1 -1 2 -2 0", "0 1 1 4 4 0", "0 1 -1 8 -8 1")
A25 = _matrix("1 1 1 1 1 0", "0 1 -1 2 -2 1")


def share_pairs(matrix):
    """(steps, rows): what the rows of a product L x have in common, two terms at a time, computed once.

    A step (j, k, ratio) makes the next number behind those of x: number j + ratio * number k. A row is
    {number: coefficient}. Greedy: the pair that most rows have, up to a factor, comes first.
    """
    rows = [{j: c for j, c in enumerate(row) if c} for row in matrix]
    steps = []
    while True:
        found = Counter(
            (j, k, row[k] / row[j])
            for row in rows
            for j, k in (sorted(pair, key=lambda n: abs(row[n])) for pair in combinations(row, 2))
        )
        (j, k, ratio), count = found.most_common(1)[0]
        if count == 1:
            return steps, rows
        for row in rows:
            if j in row and k in row and row[k] == ratio * row[j]:
                row[len(matrix[0]) + len(steps)] = row.pop(j)
                del row[k]
        steps.append((j, k, ratio))


def emit_linear(v: Vectors, matrix, x: list) -> list:
    """IR of L x for a list of vectors; factors 1 and -1 cost no multiplication."""

    def full(value):
        return ir.Constant(v.type, [float(value)] * v.lanes)

    def combine(terms):
        """The sum of (coefficient, vector), factors 1 first."""
        (c, total), *others = sorted(terms, key=lambda term: (term[0] != 1, abs(term[0]) != 1))
        if c != 1:
            total = v.builder.fmul(total, full(c))
        for c, y in others:
            if c == 1:
                total = v.builder.fadd(total, y)
            elif c == -1:
                total = v.builder.fsub(total, y)
            else:
                total = v.multiply_add(y, full(c), total)
        return total

    steps, rows = share_pairs(matrix)
    x = list(x)
    for j, k, ratio in steps:
        x.append(combine([(1, x[j]), (ratio, x[k])]))
    return [combine([(c, x[j]) for j, c in row.items()]) for row in rows]


def make_transform(matrix, output: bool = False):
    """Intrinsic that makes a grid Y = L X L' of vectors from a grid X; L is `matrix`.

    transform(x, x_row, x_column, y, y_row, y_column, bias, floor): addresses, and bytes from vector to vector.
    Only with `output`: Y + bias (an address), and at least 0 where floor is not 0; NaN stays.
    """
    n = len(matrix[0])

    @intrinsic
    def transform(typingctx, x, x_row, x_column, y, y_row, y_column, bias, floor):
        def codegen(context, builder, signature, arguments):
            x, x_row, x_column, y, y_row, y_column, bias, floor = arguments
            v = Vectors(builder, LANES)
            columns = []
            for j in range(n):
                column = [v.load(v.address(x, 0, (k, x_row), (j, x_column))) for k in range(n)]
                columns.append(emit_linear(v, matrix, column))
            if output:
                shift = v.load(bias)
                lowest = v.lowest_or_zero(floor)
            for a, row in enumerate(zip(*columns, strict=True)):
                for b, value in enumerate(emit_linear(v, matrix, row)):
                    if output:
                        value = v.not_below(builder.fadd(value, shift), lowest)
                    v.store(value, v.address(y, 0, (a, y_row), (b, y_column)))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return transform


input_4, input_6 = make_transform(B4), make_transform(B6)
output_23, output_43, output_25 = (make_transform(A, output=True) for A in (A23, A43, A25))
gradient_23, gradient_43, gradient_25 = (make_transform(_transposed(A)) for A in (A23, A43, A25))
weights_23, weights_43, weights_25 = (make_transform(G) for G in (G23, G43, G25))
finish_23, finish_43, finish_25 = (make_transform(_transposed(G)) for G in (G23, G43, G25))
transpose_square = make_transpose()
load_plan = make_load_ints(PLAN_FIELDS)
load_five = make_load_ints(5)
high_wide = make_product(HIGH, 2, rows_adjacent=False)
high_slim = make_product(HIGH, 1, rows_adjacent=False)
middle_wide = make_product(MIDDLE, 2, rows_adjacent=False)
middle_slim = make_product(MIDDLE, 1, rows_adjacent=False)
columns_wide = make_product(EVEN, 2, rows_adjacent=True)
columns_slim = make_product(EVEN, 1, rows_adjacent=True)

# -- groups of tiles -------------------------------------------------------------------------------------------------

# The functions below are compiled into each entry point, for one transform each: no cache of their own.
helper = njit(error_model="numpy")


@helper
def equal_groups(total, most):
    """Tiles in a group of `total`, none with more than `most`: as equal as they can be, multiples of MIDDLE."""
    groups = -(-total // most)
    return -(-total // (groups * MIDDLE)) * MIDDLE


@helper
def plane_bytes(tiles, channels):
    """From V[e] to V[e + 1]: an odd number of rows, so that planes do not compete for the sets of a cache."""
    return (tiles + 1) * BYTES * channels


@helper
def gather(transform, m, n, tile, tiles, source, image, row, pixel, rows, columns, channels, target, plane, spare):
    """Transform `tiles` tiles, from number `tile` on, of images of rows x columns: target[e, tile, channel].

    Tiles begin m rows and columns apart, and are n x n when they are transformed. What hangs over the edge counts as
    zero and is not read (the tile is put together in `spare`).
    """
    down, across = -(-rows // m), -(-columns // m)
    k, i, j = tile // (down * across), tile // across % down, tile % across
    for t in range(tiles):
        corner = source + k * image + i * m * row + j * m * pixel
        high, wide = min(m, rows - i * m), min(m, columns - j * m)
        place, place_row, place_pixel = corner, row, pixel
        if high < m or wide < m:
            place, place_row, place_pixel = spare, m * BYTES * channels, BYTES * channels
            zero_row(spare, m * m * channels)
            for a in range(high):
                for b in range(wide):
                    copy_row(corner + a * row + b * pixel, spare + a * place_row + b * place_pixel, channels)
        for c in range(0, BYTES * channels, VECTOR):
            transform(place + c, place_row, place_pixel, target + t * BYTES * channels + c, plane * n, plane, 0, 0)
        j += 1
        if j == across:
            i, j = i + 1, 0
            if i == down:
                k, i = k + 1, 0


@helper
def scatter(
    transform, m, n, tile, tiles, source, plane, channels, y, image, row, pixel, rows, columns, bias, floor, spare
):
    """The way back: y = A' source A + bias; only what lies inside the image is written."""
    down, across = -(-rows // m), -(-columns // m)
    k, i, j = tile // (down * across), tile // across % down, tile % across
    for t in range(tiles):
        corner = y + k * image + i * m * row + j * m * pixel
        high, wide = min(m, rows - i * m), min(m, columns - j * m)
        place, place_row, place_pixel = corner, row, pixel
        if high < m or wide < m:
            place, place_row, place_pixel = spare, m * BYTES * channels, BYTES * channels
        for c in range(0, BYTES * channels, VECTOR):
            transform(source + t * BYTES * channels + c, plane * n, plane, place + c, place_row, place_pixel,
                      bias + c, floor)  # fmt: skip
        if high < m or wide < m:
            for a in range(high):
                for b in range(wide):
                    copy_row(spare + a * place_row + b * place_pixel, corner + a * row + b * pixel, channels)
        j += 1
        if j == across:
            i, j = i + 1, 0
            if i == down:
                k, i = k + 1, 0


@helper
def multiply(tiles, C, O, V, U, M):
    """M = V U for one e. U lies in panels of PANEL columns (the last may be LANES wide), each C rows.

    Tiles are rounded up to a multiple of MIDDLE: rows too many are made of what the scratch memory holds.
    """
    v_row, m_row = BYTES * C, BYTES * O
    for o in range(0, O, PANEL):
        panel = U + o * v_row
        t = 0
        if O - o >= PANEL:
            while t + HIGH <= tiles:
                high_wide(V + t * v_row, v_row, panel, BYTES * PANEL, C, M + t * m_row + o * BYTES, m_row, 0, 0)
                t += HIGH
            while t < tiles:
                middle_wide(V + t * v_row, v_row, panel, BYTES * PANEL, C, M + t * m_row + o * BYTES, m_row, 0, 0)
                t += MIDDLE
        else:
            while t + HIGH <= tiles:
                high_slim(V + t * v_row, v_row, panel, BYTES * LANES, C, M + t * m_row + o * BYTES, m_row, 0, 0)
                t += HIGH
            while t < tiles:
                middle_slim(V + t * v_row, v_row, panel, BYTES * LANES, C, M + t * m_row + o * BYTES, m_row, 0, 0)
                t += MIDDLE


@helper
def forward(m, n, transform_input, transform_output, plan, images, rows, x, x_image, y, y_image, work):
    """y = conv(x) + bias of a block, group by group."""
    (_, _, C, O, _, _, _, _, _, x_row, x_pixel, columns, y_row, y_pixel, U, bias, floor, most) = load_plan(plan)
    down, across = -(-rows // m), -(-columns // m)
    total = images * down * across
    group = equal_groups(total, most)
    v_plane, m_plane = plane_bytes(group, C), plane_bytes(group, O)
    zeros, spare = work, work + BYTES * O
    V = spare + m * m * BYTES * O
    M = V + n * n * v_plane
    if bias == 0:
        bias = zeros
        zero_row(zeros, O)
    for tile in range(0, total, group):
        tiles = min(group, total - tile)
        gather(transform_input, m, n, tile, tiles, x, x_image, x_row, x_pixel, down * m, across * m, C, V, v_plane,
               spare)  # fmt: skip
        for e in range(n * n):
            multiply(tiles, C, O, V + e * v_plane, U + e * C * O * BYTES, M + e * m_plane)
        scatter(transform_output, m, n, tile, tiles, M, m_plane, O, y, y_image, y_row, y_pixel, rows, columns,
                bias, floor, spare)  # fmt: skip


@helper
def weights(m, n, transform_input, transform_gradient, plan, images, rows, x, x_image, dy, dy_image, dU, work):
    """dU[e] += V[e]' D[e] of a block, group by group."""
    (_, _, C, O, _, _, _, _, _, x_row, x_pixel, columns, dy_row, dy_pixel, _, _, _, most) = load_plan(plan)
    down, across = -(-rows // m), -(-columns // m)
    total = images * down * across
    group = equal_groups(total, most)
    v_plane, d_plane = plane_bytes(group, C), plane_bytes(group, O)
    V = work + m * m * BYTES * max(C, O)
    D = V + n * n * v_plane
    for tile in range(0, total, group):
        tiles = min(group, total - tile)
        gather(transform_input, m, n, tile, tiles, x, x_image, x_row, x_pixel, down * m, across * m, C, V, v_plane,
               work)  # fmt: skip
        gather(transform_gradient, m, n, tile, tiles, dy, dy_image, dy_row, dy_pixel, rows, columns, O, D, d_plane,
               work)  # fmt: skip
        for e in range(n * n):
            v_place, d_place, place = V + e * v_plane, D + e * d_plane, dU + e * C * O * BYTES
            for o in range(0, O * BYTES, PANEL * BYTES):
                for c in range(0, C * BYTES, EVEN * BYTES):
                    target = place + c * O + o
                    if O * BYTES - o >= PANEL * BYTES:
                        columns_wide(v_place + c, C * BYTES, d_place + o, O * BYTES, tiles, target, O * BYTES,
                                     target, O * BYTES)  # fmt: skip
                    else:
                        columns_slim(v_place + c, C * BYTES, d_place + o, O * BYTES, tiles, target, O * BYTES,
                                     target, O * BYTES)  # fmt: skip


# -- the algorithms of a block ---------------------------------------------------------------------------------------


@entry_point(BLOCK_ENTRY)
def forward_block_23(plan, images, rows, x, x_image, y, y_image, work, unused):
    forward(2, 4, input_4, output_23, plan, images, rows, x, x_image, y, y_image, work)


@entry_point(BLOCK_ENTRY)
def forward_block_43(plan, images, rows, x, x_image, y, y_image, work, unused):
    forward(4, 6, input_6, output_43, plan, images, rows, x, x_image, y, y_image, work)


@entry_point(BLOCK_ENTRY)
def forward_block_25(plan, images, rows, x, x_image, y, y_image, work, unused):
    forward(2, 6, input_6, output_25, plan, images, rows, x, x_image, y, y_image, work)


@entry_point(BLOCK_ENTRY)
def weights_block_23(plan, images, rows, x, x_image, dy, dy_image, dU, work):
    weights(2, 4, input_4, gradient_23, plan, images, rows, x, x_image, dy, dy_image, dU, work)


@entry_point(BLOCK_ENTRY)
def weights_block_43(plan, images, rows, x, x_image, dy, dy_image, dU, work):
    weights(4, 6, input_6, gradient_43, plan, images, rows, x, x_image, dy, dy_image, dU, work)


@entry_point(BLOCK_ENTRY)
def weights_block_25(plan, images, rows, x, x_image, dy, dy_image, dU, work):
    weights(2, 6, input_6, gradient_25, plan, images, rows, x, x_image, dy, dy_image, dU, work)


# -- weights ---------------------------------------------------------------------------------------------------------


@helper
def transform_rows(n, r, transform, first, last, plan, work):
    """Rows of U, CHANNELS of them for each task, in the panels that `multiply` reads."""
    U, W, C, O, flipped = load_five(plan)
    plane = C * O * BYTES
    square = LANES * VECTOR
    depth, width = (O, C) if flipped else (C, O)
    previous = flush_denormals()
    for k in range(first * CHANNELS, last * CHANNELS, LANES):
        for j in range(0, width, LANES):
            panel = j // PANEL * PANEL
            row = BYTES * min(PANEL, width - panel)
            target = U + BYTES * panel * depth + k * row + (j - panel) * BYTES
            if flipped:  # squares of W', one for each tap, turned by 180 degrees
                for tap in range(r * r):
                    transpose_square(W + tap * plane + BYTES * (j * O + k), O * BYTES, LANES - 1, LANES,
                                     work + (r * r - 1 - tap) * square, VECTOR)  # fmt: skip
                source, source_row, next_tap = work, VECTOR, square
            else:
                source, source_row, next_tap = W + BYTES * (k * O + j), O * BYTES, plane
            for i in range(LANES):
                transform(source + i * source_row, r * next_tap, next_tap, target + i * row, n * plane, plane,
                          0, 0)  # fmt: skip
    restore_denormals(previous)


@helper
def sum_rows(source, stride, pieces, target, count):
    """The sum of `pieces` rows of `count` numbers, `stride` bytes apart, in order."""
    for i in range(0, BYTES * count, VECTOR):
        total = load(source + i)
        for piece in range(1, pieces):
            total = total + load(source + i + piece * stride)
        store(total, target + i)


@helper
def finish_numbers(n, r, transform, first, last, plan, work):
    """SUM_TASK numbers of each tap of dW for each task."""
    dW, dU, pieces, plane, E = load_five(plan)  # E from there, so that LLVM does not unroll its loop
    previous = flush_denormals()
    for i in range(first * BYTES * SUM_TASK, last * BYTES * SUM_TASK, BYTES * SUM_TASK):
        source, step = dU + i, plane
        if pieces > 1:
            for e in range(E):
                sum_rows(dU + e * plane + i, E * plane, pieces, work + e * SUM_PLANE, SUM_TASK)
            source, step = work, SUM_PLANE
        for j in range(0, BYTES * SUM_TASK, VECTOR):
            transform(source + j, n * step, step, dW + i + j, r * plane, plane, 0, 0)
    restore_denormals(previous)


@entry_point(ENTRY)
def transform_rows_23(first, last, plan, work):
    transform_rows(4, 3, weights_23, first, last, plan, work)


@entry_point(ENTRY)
def transform_rows_43(first, last, plan, work):
    transform_rows(6, 3, weights_43, first, last, plan, work)


@entry_point(ENTRY)
def transform_rows_25(first, last, plan, work):
    transform_rows(6, 5, weights_25, first, last, plan, work)


@entry_point(ENTRY)
def finish_numbers_23(first, last, plan, work):
    finish_numbers(4, 3, finish_23, first, last, plan, work)


@entry_point(ENTRY)
def finish_numbers_43(first, last, plan, work):
    finish_numbers(6, 3, finish_43, first, last, plan, work)


@entry_point(ENTRY)
def finish_numbers_25(first, last, plan, work):
    finish_numbers(6, 5, finish_25, first, last, plan, work)


# -- the variants ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Variant:
    """F(m x m, r x r): its numbers, and its entry points, each compiled when it is first asked for."""

    outputs: int
    """m"""
    taps: int
    """r"""
    fast: bool
    """Whether it rounds visibly more than the sum written down: then it is for those who admit that."""
    A: Matrix
    B: Matrix
    G: Matrix
    """A', B' and G as they stand in the formulas."""
    forward_block: Entry
    weights_block: Entry
    transform_rows: Entry
    finish_numbers: Entry

    @property
    def tile(self) -> int:
        """n, the rows and columns of inputs that a tile sees."""
        return self.outputs + self.taps - 1

    @property
    def products(self) -> int:
        """E"""
        return self.tile**2

    def tiles(self, rows: int, columns: int) -> int:
        """In an image with so many rows and columns of outputs."""
        return -(-rows // self.outputs) * -(-columns // self.outputs)

    def packed_size(self, C: int, O: int) -> int:
        """Numbers in U."""
        return self.products * C * O

    def group_tiles(self, C: int, O: int) -> int:
        """Most tiles in a group, by the shape and the L2 of this processor; kernels are told, it is not compiled in."""
        tiles = GROUP_BYTES // (BYTES * self.products * (C + O))
        return max(FEWEST_TILES, min(MOST_TILES, tiles // MIDDLE * MIDDLE))

    def work_bytes(self, C: int, O: int) -> int:
        """Scratch memory that a block of C channels and O outputs needs, for any number of images and rows."""
        tiles = self.group_tiles(C, O)
        planes = plane_bytes.py_func(tiles, C) + plane_bytes.py_func(tiles, O)
        return self.products * planes + (self.outputs**2 + 1) * BYTES * max(C, O)

    def transform_weights(self, U: np.ndarray, W: np.ndarray, flipped: bool) -> None:
        """U = G W G' as `forward_block` reads it, for the forward pass or, flipped, for the input gradient.

        U has packed_size numbers, W is (r, r, C, O). flipped: the U of W turned by 180 degrees with C and O exchanged.
        """
        _, _, C, O = W.shape
        fields = U.ctypes.data, W.ctypes.data, C, O, flipped
        count = (O if flipped else C) // CHANNELS
        tasks.run(self.transform_rows(), count, np.array(fields, np.int64), WORK_BYTES, serial=U.size < SERIAL_BELOW)

    def finish_weights(self, dW: np.ndarray, dU: np.ndarray) -> None:
        """dW = G' (sum over p of dU[p]) G: dW (r, r, C, O), dU (pieces, E, C, O), pieces added in order."""
        _, _, C, O = dW.shape
        fields = dW.ctypes.data, dU.ctypes.data, len(dU), C * O * BYTES, self.products
        count = C * O // SUM_TASK
        tasks.run(self.finish_numbers(), count, np.array(fields, np.int64), WORK_BYTES, serial=dU.size < SERIAL_BELOW)


F23 = Variant(2, 3, False, A23, B4, G23, forward_block_23, weights_block_23, transform_rows_23, finish_numbers_23)
F43 = Variant(4, 3, True, A43, B6, G43, forward_block_43, weights_block_43, transform_rows_43, finish_numbers_43)
F25 = Variant(2, 5, True, A25, B6, G25, forward_block_25, weights_block_25, transform_rows_25, finish_numbers_25)
VARIANTS = F23, F43, F25
"""F(2x2, 3x3), F(4x4, 3x3), F(2x2, 5x5)"""
