"""Conv2D of the gpu backend: every tile, every path, against the reference and against the matrix written down."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.cuda import nvrtc
from tests.cuda.standin import gpu_backend
from tinynn.activation import Activation
from tinynn.backends.gpu import conv2d, conv2d_direct, im2col
from tinynn.backends.gpu.conv2d import TILES, Tile
from tinynn.backends.reference import conv2d as reference
from tinynn.window import Pair, Window

GPU: Any = gpu_backend()
needs_gpu = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")
NONE = ((0, 0), (0, 0))
AROUND = ((1, 1), (1, 1))


@dataclass
class Convolution:
    """x (N, H, W, C) -> O, and what the reference makes of it in float64."""

    x_shape: tuple[int, int, int, int]
    outputs: int
    size: Pair = (3, 3)
    strides: Pair = (1, 1)
    padding: tuple[Pair, Pair] = AROUND
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Activation = Activation.LINEAR
    bias: bool = True

    def __post_init__(self) -> None:
        rng = np.random.default_rng(3)
        self.window = Window(self.size, self.strides, self.padding, self.dilation)
        N, H, columns, C = self.x_shape
        inputs = self.size[0] * self.size[1] * C // self.groups
        self.x = self.draw(rng, *self.x_shape)
        self.W = self.draw(rng, *self.size, C // self.groups, self.outputs) * np.float32(inputs**-0.5)
        self.b = self.draw(rng, self.outputs) if self.bias else None
        self.dy = self.draw(rng, N, *self.window.output(H, columns), self.outputs)

    @staticmethod
    def draw(rng: np.random.Generator, *shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    def expected(self) -> list[np.ndarray]:
        """y, dx, dW, db"""
        x, W, dy = (a.astype(np.float64) for a in (self.x, self.W, self.dy))
        b = None if self.b is None else self.b.astype(np.float64)
        y, dx, dW, db = (np.empty(s) for s in (dy.shape, x.shape, W.shape, self.outputs))
        with np.errstate(invalid="ignore"):
            reference.forward(y, x, W, b, self.window, self.groups, self.activation, False)
            reference.backward(dx, dW, db, dy, x, W, y, self.window, self.groups, self.activation, False)
        return [y, dx, dW, db]

    def run(self, dtype: str = "float32", fast: bool = False, wanted: str = "dx dW db") -> list[np.ndarray | None]:
        """The same on the card; a gradient that is not wanted is None."""
        x, W, dy = (GPU.asarray(a, dtype) for a in (self.x, self.W, self.dy))
        b = None if self.b is None else GPU.asarray(self.b, dtype)
        y = GPU.empty(self.dy.shape, dtype)
        conv2d.forward(y, x, W, b, self.window, self.groups, self.activation, fast)
        sizes = {"dx": x.shape, "dW": W.shape, "db": (self.outputs,)}
        gradients = [GPU.empty(s, dtype) if name in wanted else None for name, s in sizes.items()]
        conv2d.backward(*gradients, dy, x, W, y, self.window, self.groups, self.activation, fast)
        return [None if a is None else GPU.to_numpy(a) for a in (y, *gradients)]


def agree(got: list[np.ndarray | None], expected: list[np.ndarray], tolerance: float) -> None:
    for name, a, b in zip(("y", "dx", "dW", "db"), got, expected, strict=True):
        if a is None:
            continue
        assert (np.isnan(a) == np.isnan(b)).all(), f"{name}: NaN elsewhere"
        there = ~np.isnan(b)
        error = np.abs(a - b)[there].max(initial=0) / max(np.abs(b[there]).max(initial=0), 1e-30)
        assert error <= tolerance, f"{name}: {error:.1e}"


def name_of(tile: Tile) -> str:
    return f"{tile.rows}x{tile.columns}-{tile.vector}-{'exact' if tile.exact else 'tf32'}"


every_tile = pytest.mark.parametrize("tile", TILES, ids=name_of)


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls use the tile that they are told, whatever the shape."""

    def use(tile: Tile) -> None:
        monkeypatch.setattr(conv2d, "tile_for", lambda *shape: tile)
        monkeypatch.setattr(conv2d, "weights_tile", lambda *shape: tile)
        monkeypatch.setattr(conv2d, "LEAST_OUTPUTS", 32)

    return use


# -- tiles -----------------------------------------------------------------------------------------------------------


@needs_gpu
@every_tile
def test_a_tile_is_right(tile: Tile, only: Any) -> None:
    """Several tiles down and across, the last ones not full; several images; depths that are no multiple of a step."""
    only(tile)
    case = Convolution((3, 7, 7, 20), 36) if tile.vector == 4 else Convolution((3, 7, 7, 5), 19, (2, 3))
    for dtype, fast in [("float32", not tile.exact)] + [("float64", False)] * tile.exact:
        agree(case.run(dtype, fast), case.expected(), 2e-3 if fast else 2e-5 if dtype == "float32" else 1e-12)


@needs_gpu
@every_tile
@pytest.mark.parametrize("strides", [(2, 2), (3, 1)], ids=str)
def test_a_tile_is_right_with_strides_dilation_and_groups(tile: Tile, strides: Pair, only: Any) -> None:
    only(tile)
    c, o = (12, 20) if tile.vector == 4 else (9, 11)
    case = Convolution(
        (2, 7, 6, 2 * c), 2 * o, (3, 2), strides, ((1, 0), (0, 2)), (1, 2), 2, Activation.LEAKY_RELU
    )  # fmt: skip
    agree(case.run(fast=not tile.exact), case.expected(), 2e-5 if tile.exact else 2e-3)


@needs_gpu
def test_tf32_errs_little_and_not_to_one_side() -> None:
    """What the cut takes on average is given in advance; numbers of 10 bits are exact."""
    case = Convolution((1, 8, 8, 64), 16)
    case.x, case.W = np.abs(case.x), np.abs(case.W)
    y, expected = case.run(fast=True)[0], case.expected()[0]
    assert y is not None
    assert abs(np.mean(y / expected - 1)) < 5e-5
    assert 1e-6 < np.abs(y / expected - 1).max() < 4e-4
    case.x, case.W, case.b = np.round(case.x * 64) / 64, np.round(case.W * 512) / 512, None
    y, expected = case.run(fast=True)[0], case.expected()[0]
    np.testing.assert_allclose(y, expected, rtol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
@every_tile
def test_a_tile_compiles_for_cards(tile: Tile, architecture: str) -> None:
    if nvrtc.library() is None:
        pytest.skip("no libnvrtc: install the wheel nvidia-cuda-nvrtc")
    source = conv2d.source(tile)
    good, log, _ = nvrtc.compile(source.text(), "conv2d.cu", (*source.compiler_options("f"), f"-arch={architecture}"))
    assert good and "warning" not in log, log


# -- which kernel ----------------------------------------------------------------------------------------------------

RESNET = [((128, 32, 32, 16), 16), ((128, 16, 16, 32), 32), ((128, 8, 8, 64), 64), ((128, 32, 32, 3), 16)]
VGG = [((128, 16, 16, 128), 128), ((128, 4, 4, 512), 512), ((128, 32, 32, 3), 64)]


@pytest.mark.parametrize(("shape", "outputs"), RESNET + VGG, ids=str)
def test_large_convolutions_give_blocks_to_all_multiprocessors(shape: tuple[int, ...], outputs: int) -> None:
    N, H, W, C = shape
    vector = conv2d.vector_for(C, outputs)
    tile = conv2d.tile_for(N * H * W, outputs, 1, vector, False)
    assert tile.blocks(N * H * W, outputs) >= 200
    assert -outputs % tile.columns == 0
    tile = conv2d.weights_tile(9 * C, outputs, vector, False)
    splits, share = conv2d_direct.shares(N * H * W, 512 // tile.blocks(9 * C, outputs), conv2d.LEAST_OUTPUTS, 16)
    assert tile.blocks(9 * C, outputs) * splits >= min(200, N * H * W // 256 * tile.blocks(9 * C, outputs))
    assert splits * share >= N * H * W


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("vector", [1, 4])
def test_every_shape_has_a_tile(vector: int, exact: bool) -> None:
    for rows, columns in itertools.product((1, 64, 1000, 10**6, 10**10), (4, 8, 20, 64, 96, 128, 1000)):
        tile = conv2d.tile_for(rows, columns, 1, vector, exact)
        assert tile.vector == vector and tile.exact == exact
        assert -columns % tile.columns < 112
        assert conv2d.weights_tile(rows, columns, vector, exact).vector == vector


def test_shares_cover_all() -> None:
    for n, wanted, least, unit in itertools.product((1, 7, 100, 131072), (1, 5, 512), (1, 64), (1, 16)):
        count, share = conv2d_direct.shares(n, wanted, least, unit)
        assert (count - 1) * share < n <= count * share
        assert count == 1 or share >= least


CASES = {
    "one number": Convolution((1, 1, 1, 1), 1, (1, 1), padding=NONE),
    "one channel": Convolution((2, 9, 9, 1), 6, (5, 5), padding=((2, 2), (2, 2)), activation=Activation.TANH),
    "few to many": Convolution((2, 6, 5, 3), 70, activation=Activation.RELU),
    "many outputs": Convolution((5, 16, 16, 4), 4, strides=(2, 1)),
    "one row": Convolution((2, 1, 50, 8), 12, (1, 5), padding=((0, 0), (4, 0))),
    "1x1": Convolution((2, 5, 5, 24), 8, (1, 1), padding=NONE, bias=False),
    "1x1 stride 2": Convolution((2, 5, 6, 16), 32, (1, 1), (2, 2), NONE),
    "stride beyond the kernel": Convolution((1, 9, 8, 4), 4, (2, 2), (3, 5), NONE),
    "stride beyond the image": Convolution((2, 2, 3, 4), 4, (2, 1), (5, 7), NONE),
    "stride and dilation with a common divisor": Convolution((1, 13, 12, 4), 4, (3, 3), (4, 6), AROUND, (2, 4)),
    "kernel beyond the image": Convolution((2, 2, 2, 4), 4, (5, 5), padding=((2, 2), (2, 2))),
    "groups": Convolution((2, 5, 5, 36), 24, groups=2, activation=Activation.RELU),
    "groups of few": Convolution((2, 5, 6, 12), 6, groups=3, strides=(2, 1), activation=Activation.TANH),
    "depthwise": Convolution((2, 6, 5, 33), 33, groups=33, dilation=(2, 1)),
    "depthwise of two": Convolution((3, 9, 9, 5), 10, groups=5, strides=(2, 2)),
    "another activation": Convolution((1, 5, 5, 4), 4, activation=Activation.SIGMOID),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@needs_gpu
@every_case
@pytest.mark.parametrize(("dtype", "fast"), [("float32", False), ("float32", True), ("float64", True)])
def test_every_path_agrees_with_the_reference(case: Convolution, dtype: str, fast: bool) -> None:
    tolerance = 1e-12 if dtype == "float64" else 2e-3 if fast else 2e-5
    agree(case.run(dtype, fast), case.expected(), tolerance)


@needs_gpu
@every_case
def test_the_matrix_written_down_gives_the_same(case: Convolution, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = [a for a in case.run("float64") if a is not None]
    monkeypatch.setattr(conv2d, "WRITTEN_DOWN", True)
    monkeypatch.setattr(im2col, "MOST_NUMBERS", 1000)
    agree(case.run("float64"), exact, 1e-12)


@needs_gpu
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["few to many", "many outputs", "groups", "depthwise"])
def test_the_same_bytes_twice_and_without_the_others(name: str, fast: bool) -> None:
    whole, again = CASES[name].run(fast=fast), CASES[name].run(fast=fast)
    for a, b in zip(whole, again, strict=True):
        assert a is not None and b is not None and a.tobytes() == b.tobytes()
    for i, wanted in enumerate(("dx", "dW", "db"), 1):
        alone = CASES[name].run(fast=fast, wanted=wanted)
        assert [a is None for a in alone[1:]] == [j != i for j in (1, 2, 3)]
        np.testing.assert_array_equal(alone[i], whole[i])  # type: ignore[arg-type]


@needs_gpu
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("groups", [1, 4])
def test_nan_and_inf_arrive_where_they_do_in_the_reference(fast: bool, groups: int) -> None:
    case = Convolution((2, 6, 6, 4), 4, groups=groups)
    case.x[0, 2, 3, 1], case.dy[1, 4, 4, 2] = np.nan, np.inf
    got, expected = case.run(fast=fast), case.expected()
    for a, b in zip(got, expected, strict=True):
        assert a is not None
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isinf(a), np.isinf(b))


@needs_gpu
@pytest.mark.parametrize("fast", [False, True])
def test_arrays_may_begin_anywhere(fast: bool) -> None:
    case = Convolution((1, 5, 5, 4), 8)
    flat = GPU.asarray(np.concatenate([[0], case.x.ravel()]), "float32")
    y = GPU.empty(case.dy.size + 1, "float32")[1:].reshape(case.dy.shape)
    arrays = [GPU.asarray(a, "float32") for a in (case.W, case.b)]
    conv2d.forward(y, flat[1:].reshape(case.x.shape), *arrays, case.window, 1, case.activation, fast)
    agree([GPU.to_numpy(y), None, None, None], case.expected(), 2e-3 if fast else 2e-5)


@needs_gpu
def test_a_batch_of_nothing_has_gradients_of_zero() -> None:
    y, *gradients = Convolution((0, 5, 5, 3), 4).run()
    assert y is not None and y.shape == (0, 5, 5, 4)
    assert all(g is not None and not g.any() for g in gradients)
