"""Winograd's convolutions of the cpu backend: numbers against the sum written down, and memory outside the results."""

import ctypes
import os
import subprocess
import sys

import numpy as np
import pytest

from tinynn.backends.cpu import threads, winograd
from tinynn.backends.cpu.simd import BLOCKS, WIDTH

BLOCK = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 9)
FORWARD = {2: winograd.forward_block_2, 4: winograd.forward_block_4}
WEIGHTS = {2: winograd.weights_block_2, 4: winograd.weights_block_4}
TOLERANCE = {2: 1e-5, 4: 2e-4}
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


@pytest.fixture(autouse=True)
def restore_threads():
    before = threads.get_num_threads()
    yield
    threads.set_num_threads(before)


class Block:
    """A block as the driver prepares it: x with its borders, y (or dy) between guards, scratch full of NaN."""

    def __init__(self, m, images, rows, columns, C, O):
        self.m, self.images, self.rows, self.columns, self.C, self.O = m, images, rows, columns, C, O
        rng = np.random.default_rng(images + rows + columns + C)
        self.x = np.zeros((images, -(-rows // m) * m + 2, -(-columns // m) * m + 2, C), np.float32)
        self.x[:, : rows + 2, : columns + 2] = rng.standard_normal((images, rows + 2, columns + 2, C))
        self.W = rng.standard_normal((3, 3, C, O)).astype(np.float32)
        self.bias = rng.standard_normal(O).astype(np.float32)
        self.around = np.full((images, rows + 2, columns + 2, O + 16), GUARD, np.float32)
        self.y = self.around[:, 1:-1, 1:-1, :O]
        self.y[...] = rng.standard_normal(self.y.shape)
        self.work = np.full(winograd.work_bytes(C, O, m) // 4 + 16, np.nan, np.float32)
        self.work[-16:] = GUARD

    def run(self, function, *addresses, U=None, bias=None, floor=False):
        x, y = self.x, self.y
        plan = np.zeros(winograd.PLAN_FIELDS, np.int64)
        plan[:9] = 3, 3, self.C, self.O, 1, 1, 1, 1, 1
        plan[9:14] = x.strides[1], x.strides[2], self.columns, y.strides[1], y.strides[2]
        plan[14:17] = 0 if U is None else U.ctypes.data, 0 if bias is None else bias.ctypes.data, floor
        plan[17] = winograd.group_tiles(self.C, self.O, self.m)
        BLOCK(function())(plan.ctypes.data, self.images, self.rows, x.ctypes.data, x.strides[0],
                          y.ctypes.data, y.strides[0], *addresses)  # fmt: skip
        assert np.all(self.work[-16:] == GUARD), "wrote behind the scratch memory"

    def forward(self, bias=True, floor=False):
        U = transformed(self.W, False, self.m)
        self.run(FORWARD[self.m], self.work.ctypes.data, 0, U=U, bias=self.bias if bias else None, floor=floor)
        outside = self.around.copy()
        outside[:, 1:-1, 1:-1, : self.O] = GUARD
        assert np.all(outside == GUARD), "wrote outside y"
        return self.y

    def weights(self, dU):
        self.run(WEIGHTS[self.m], dU.ctypes.data, self.work.ctypes.data)

    def seen(self):
        """The inputs that each output sees, in float64: ((u, v), (N, OH, OW, C)) for each tap."""
        for u in range(3):
            for v in range(3):
                yield (u, v), self.x[:, u : u + self.rows, v : v + self.columns].astype(np.float64)


def transformed(W, flipped, m):
    U = np.full(winograd.packed_size(*W.shape[2:], m), np.nan, np.float32)
    winograd.transform_weights(U, W, flipped, m)
    return U


def close(result, expected, m):
    assert np.abs(result - expected).max() <= TOLERANCE[m] * np.sqrt(np.mean(expected**2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [2, 4])
def test_forward(m, shape):
    block = Block(m, *shape)
    expected = sum(x @ block.W[tap] for tap, x in block.seen())
    close(block.forward(bias=False), expected, m)
    expected += block.bias
    close(block.forward(), expected, m)
    close(block.forward(floor=True), np.maximum(expected, 0), m)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [2, 4])
def test_weight_gradient(m, shape):
    block = Block(m, *shape)
    before = block.around.tobytes()
    dU = np.zeros((3, (m + 2) ** 2, block.C, block.O), np.float32)
    for piece, times in enumerate((1, 2, 1)):
        for _ in range(times):
            block.weights(dU[piece])
    assert block.around.tobytes() == before
    expected = np.empty(block.W.shape)
    for tap, x in block.seen():
        expected[tap] = np.tensordot(x, block.y, ([0, 1, 2], [0, 1, 2]))
    dW = np.empty_like(block.W)
    winograd.finish_weights(dW, dU[:1], m)
    close(dW, expected, m)
    winograd.finish_weights(dW, dU, m)
    close(dW, 4 * expected, m)


@pytest.mark.parametrize(("C", "O"), [(16, 16), (48, 80), (64, 32)])
@pytest.mark.parametrize("m", [2, 4])
def test_flipped_weights_give_the_input_gradient(m, C, O):
    forward, back = Block(m, 2, 6, 5, C, O), Block(m, 2, 6, 5, O, C)
    turned = np.ascontiguousarray(forward.W[::-1, ::-1].transpose(0, 1, 3, 2))
    assert transformed(forward.W, True, m).tobytes() == transformed(turned, False, m).tobytes()
    # <conv(x), dy> = <x, dx> where no border is cut off: dx of the middle of x, from dy with zeros around it
    dy, x = back.x, forward.x
    dy[...] = 0
    dy[:, 2:6, 2:5] = 1
    back.W = turned
    dx = back.forward(bias=False).astype(np.float64)
    y = forward.forward(bias=False).astype(np.float64)
    left, right = y[:, 1:5, 1:4].sum(), (dx * x[:, 1:7, 1:6]).sum()
    assert abs(left - right) <= TOLERANCE[m] * np.sqrt((dx**2).sum() * (x**2).sum())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("floor", [False, True])
@pytest.mark.parametrize("m", [2, 4])
def test_numbers_that_are_not_finite_stay_visible(m, bad, floor):
    block = Block(m, 1, 12, 12, 16, 16)
    expected = block.forward(floor=floor).copy()
    block.x[0, 5, 6, 3] = bad
    with np.errstate(invalid="ignore"):
        y = block.forward(floor=floor)
    seen = np.zeros(y.shape, bool)
    seen[0, 3:6, 4:7] = True  # by these outputs; others of their tiles may be lost with them
    tiles = np.zeros(y.shape, bool)
    tiles[0, 3 // m * m : 5 // m * m + m, 4 // m * m : 6 // m * m + m] = True
    if np.isnan(bad):
        assert np.all(np.isnan(y[seen]))
    elif not floor:
        assert not np.any(np.isfinite(y[seen]))
    assert np.array_equal(y[~tiles], expected[~tiles])


@pytest.mark.parametrize("m", [2, 4])
def test_same_bytes_for_every_number_of_threads(m):
    rng = np.random.default_rng(1)
    W = rng.standard_normal((3, 3, 128, 144)).astype(np.float32)
    dU = rng.standard_normal((3, (m + 2) ** 2, 128, 144)).astype(np.float32)
    seen = set()
    for count in (1, 2, 3, 1):
        threads.set_num_threads(count)
        dW = np.empty_like(W)
        winograd.finish_weights(dW, dU, m)
        seen.add(b"".join(a.tobytes() for a in (dW, transformed(W, False, m), transformed(W, True, m))))
    assert len(seen) == 1


@pytest.mark.parametrize("matrix", [winograd.B2, winograd.G2, winograd.A2, winograd.B4, winograd.G4, winograd.A4])
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
for m in (2, 4):
    test_forward(m, (2, 5, 7, 32, 48))
    test_weight_gradient(m, (2, 5, 7, 32, 48))
    test_flipped_weights_give_the_input_gradient(m, 48, 80)
"""
    environment = os.environ | {"TINYNN_SIMD": str(width)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
