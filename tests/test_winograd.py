"""Winograd's convolutions of the cpu backend: numbers against the sum written down, and memory outside the results."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from tinynn.backends.cpu import threads, winograd
from tinynn.backends.cpu.simd import BLOCKS, WIDTH
from tinynn.backends.cpu.winograd import F23, F25, F43, VARIANTS

BLOCK = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 9)
TOLERANCE = {F23: 1e-5, F43: 2e-4, F25: 2e-4}
"""Of the greatest error, relative to the root mean square of the result."""
GUARD = 123456.0
# images, output rows, output columns, C, O: one tile, one pixel, tiles that hang over, more than a group of tiles
SHAPES = [
    (1, 4, 4, 16, 16),
    (1, 1, 1, 16, 32),
    (2, 5, 7, 32, 48),
    (3, 9, 6, 64, 16),
    (1, 3, 40, 48, 80),
    (2, 16, 16, 32, 32),
    (4, 8, 8, 128, 128),
]
each_variant = pytest.mark.parametrize("variant", VARIANTS, ids=["F(2, 3)", "F(4, 3)", "F(2, 5)"])


@pytest.fixture(autouse=True)
def restore_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


class Block:
    """A block as the driver prepares it: x with its borders, y (or dy) between guards, scratch full of NaN."""

    def __init__(self, variant, images, rows, columns, C, O):
        self.variant, self.images, self.rows, self.columns, self.C, self.O = variant, images, rows, columns, C, O
        m, r = variant.outputs, variant.taps
        rng = np.random.default_rng(images + rows + columns + C)
        seen = rows + r - 1, columns + r - 1
        self.x = np.zeros((images, *(-(-n // m) * m + r - 1 for n in (rows, columns)), C), np.float32)
        self.x[:, : seen[0], : seen[1]] = rng.standard_normal((images, *seen, C))
        self.W = rng.standard_normal((r, r, C, O)).astype(np.float32)
        self.bias = rng.standard_normal(O).astype(np.float32)
        self.around = np.full((images, rows + 2, columns + 2, O + 16), GUARD, np.float32)
        self.y = self.around[:, 1:-1, 1:-1, :O]
        self.y[...] = rng.standard_normal(self.y.shape)
        self.work = np.full(variant.work_bytes(C, O) // 4 + 16, np.nan, np.float32)
        self.work[-16:] = GUARD

    def run(self, function, *addresses, U=None, bias=None, floor=False):
        x, y = self.x, self.y
        plan = np.zeros(winograd.PLAN_FIELDS, np.int64)
        plan[:9] = *self.W.shape[:2], self.C, self.O, 1, 1, 1, 1, 1
        plan[9:14] = x.strides[1], x.strides[2], self.columns, y.strides[1], y.strides[2]
        plan[14:17] = 0 if U is None else U.ctypes.data, 0 if bias is None else bias.ctypes.data, floor
        plan[17] = self.variant.group_tiles(self.C, self.O)
        BLOCK(function())(plan.ctypes.data, self.images, self.rows, x.ctypes.data, x.strides[0],
                          y.ctypes.data, y.strides[0], *addresses)  # fmt: skip
        assert np.all(self.work[-16:] == GUARD), "wrote behind the scratch memory"

    def forward(self, bias=True, floor=False):
        U = transformed(self.W, False, self.variant)
        self.run(
            self.variant.forward_block, self.work.ctypes.data, 0, U=U, bias=self.bias if bias else None, floor=floor
        )
        outside = self.around.copy()
        outside[:, 1:-1, 1:-1, : self.O] = GUARD
        assert np.all(outside == GUARD), "wrote outside y"
        return self.y

    def weights(self, dU):
        self.run(self.variant.weights_block, dU.ctypes.data, self.work.ctypes.data)

    def seen(self):
        """The inputs that each output sees, in float64: ((u, v), (N, OH, OW, C)) for each tap."""
        for u in range(self.variant.taps):
            for v in range(self.variant.taps):
                yield (u, v), self.x[:, u : u + self.rows, v : v + self.columns].astype(np.float64)


def transformed(W, flipped, variant):
    U = np.full(variant.packed_size(*W.shape[2:]), np.nan, np.float32)
    variant.transform_weights(U, W, flipped)
    return U


def close(result, expected, variant):
    assert np.abs(result - expected).max() <= TOLERANCE[variant] * np.sqrt(np.mean(expected**2))


@pytest.mark.parametrize("shape", SHAPES)
@each_variant
def test_forward(variant, shape):
    block = Block(variant, *shape)
    expected = sum(x @ block.W[tap] for tap, x in block.seen())
    close(block.forward(bias=False), expected, variant)
    expected += block.bias
    close(block.forward(), expected, variant)
    close(block.forward(floor=True), np.maximum(expected, 0), variant)


@pytest.mark.parametrize("shape", SHAPES)
@each_variant
def test_weight_gradient(variant, shape):
    block = Block(variant, *shape)
    before = block.around.tobytes()
    dU = np.zeros((3, variant.products, block.C, block.O), np.float32)
    for piece, times in enumerate((1, 2, 1)):
        for _ in range(times):
            block.weights(dU[piece])
    assert block.around.tobytes() == before
    expected = np.empty(block.W.shape)
    for tap, x in block.seen():
        expected[tap] = np.tensordot(x, block.y, ([0, 1, 2], [0, 1, 2]))
    dW = np.empty_like(block.W)
    variant.finish_weights(dW, dU[:1])
    close(dW, expected, variant)
    variant.finish_weights(dW, dU)
    close(dW, 4 * expected, variant)


@pytest.mark.parametrize(("C", "O"), [(16, 16), (48, 80), (64, 32)])
@each_variant
def test_flipped_weights_give_the_input_gradient(variant, C, O):
    edge = variant.taps - 1
    rows, columns = 4 + edge, 3 + edge
    forward, back = Block(variant, 2, rows, columns, C, O), Block(variant, 2, rows, columns, O, C)
    turned = np.ascontiguousarray(forward.W[::-1, ::-1].transpose(0, 1, 3, 2))
    assert transformed(forward.W, True, variant).tobytes() == transformed(turned, False, variant).tobytes()
    # <conv(x), dy> = <x, dx> where no border is cut off: dx of the middle of x, from dy with zeros around it
    dy, x = back.x, forward.x
    dy[...] = 0
    dy[:, edge:rows, edge:columns] = 1
    back.W = turned
    dx = back.forward(bias=False).astype(np.float64)
    y = forward.forward(bias=False).astype(np.float64)
    # y[k] meets x[k .. k + edge], and dx[k] is that of x[k + half] for the dy that begins at edge, so at y[half]
    half = edge // 2
    left = y[:, half : half + 4, half : half + 3].sum()
    right = (dx * x[:, half : half + rows, half : half + columns]).sum()
    assert abs(left - right) <= TOLERANCE[variant] * np.sqrt((dx**2).sum() * (x**2).sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("floor", [False, True])
@each_variant
def test_numbers_that_are_not_finite_stay_visible(variant, bad, floor):
    block = Block(variant, 1, 12, 12, 16, 16)
    expected = block.forward(floor=floor).copy()
    m, r = variant.outputs, variant.taps
    block.x[0, 5, 6, 3] = bad
    with np.errstate(invalid="ignore"):
        y = block.forward(floor=floor)
    seen = np.zeros(y.shape, bool)
    seen[0, 6 - r : 6, 7 - r : 7] = True  # by these outputs; others of their tiles may be lost with them
    tiles = np.zeros(y.shape, bool)
    tiles[0, (6 - r) // m * m : 5 // m * m + m, (7 - r) // m * m : 6 // m * m + m] = True
    if np.isnan(bad):
        assert np.all(np.isnan(y[seen]))
    elif not floor:
        assert not np.any(np.isfinite(y[seen]))
    assert np.array_equal(y[~tiles], expected[~tiles])


@each_variant
def test_same_bytes_for_every_number_of_threads(variant):
    rng = np.random.default_rng(1)
    W = rng.standard_normal((variant.taps, variant.taps, 128, 144)).astype(np.float32)
    dU = rng.standard_normal((3, variant.products, 128, 144)).astype(np.float32)
    seen = set()
    for count in (1, 2, 3, 1):
        threads.set_num_threads(count)
        dW = np.empty_like(W)
        variant.finish_weights(dW, dU)
        seen.add(b"".join(a.tobytes() for a in (dW, transformed(W, False, variant), transformed(W, True, variant))))
    assert len(seen) == 1


@each_variant
def test_transforms_give_a_correlation(variant):
    """A' (G w * B' x) = sum over v of x[j + v] w[v], exactly, for every w[v] and x[k] alone: so for all."""
    for v in range(variant.taps):
        for k in range(variant.tile):
            M = [g[v] * b[k] for g, b in zip(variant.G, variant.B, strict=True)]
            y = [sum(a * product for a, product in zip(row, M, strict=True)) for row in variant.A]
            assert y == [k == j + v for j in range(variant.outputs)]


@pytest.mark.parametrize("matrix", [matrix for v in VARIANTS for matrix in (v.A, v.B, v.G)])
def test_shared_pairs_give_the_product(matrix):
    steps, rows = winograd.share_pairs(matrix)
    x = [3**j for j in range(len(matrix[0]))]
    expected = [sum(c * n for c, n in zip(row, x, strict=True)) for row in matrix]
    for j, k, ratio in steps:
        x.append(x[j] + ratio * x[k])
    assert [sum(c * x[j] for j, c in row.items()) for row in rows] == expected


@pytest.mark.skipif("TINYNN_SIMD" in os.environ, reason="once is enough")
@pytest.mark.parametrize("width", [width for width in BLOCKS if width != WIDTH])
def test_other_vector_widths(width):
    program = """
from tests.test_winograd import *
for variant in VARIANTS:
    test_forward(variant, (2, 5, 7, 32, 48))
    test_weight_gradient(variant, (2, 5, 7, 32, 48))
    test_flipped_weights_give_the_input_gradient(variant, 48, 80)
"""
    environment = os.environ | {"TINYNN_SIMD": str(width)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
