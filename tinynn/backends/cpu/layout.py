"""How a convolution is cut into work: by its shape alone, and by what fits the caches.

A *block* is what one thread makes in one go: some images, or a strip of one, whose inputs and outputs stay in the L2
cache while everything that belongs to them is done (borders, convolution, activation, pooling). A *piece* is a run of
blocks whose weight gradients are added up in one array; the arrays of all pieces are added at the end, in order.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from tinynn.window import Window

from .processor import BLOCK_BYTES
from .simd import BLOCK
from .winograd import CHANNELS, VARIANTS, Variant

FLOAT = 4
BLOCK_PIXELS = 64
"""A block of less output pixels (of less tiles, with Winograd) spends its time on being called."""
BLOCKS = 16
"""No more images in a block than leave so many blocks, as long as there are images."""
PIECES = 16
PIECE_BYTES = 8 << 20
"""For the weight gradients of all pieces together; two pieces there are at least."""
WORTH = 0.8
"""Winograd's multiplications per direct ones, up to which its transforms pay."""


@dataclass(frozen=True)
class Layout:
    """The cut of one shape."""

    variant: Variant | None
    """Winograd's, forward and for the gradient of the weights; None for the direct convolution."""
    inputs_variant: Variant | None
    """The same for the gradient of the inputs."""
    copies: bool
    """Whether the inputs of a block are brought into scratch memory, with borders."""
    columns: int
    """Of a row of the block's inputs."""
    per_block: int
    """Images."""
    blocks: int
    strips: int
    """Of an image, forward; backward works on whole images."""
    strip_rows: int
    pieces: int
    x_bytes: int
    """Scratch for the inputs of a block of whole images, with some room behind."""
    strip_bytes: int
    """The same for a strip."""
    gradient_rows: int
    gradient_columns: int
    """Of dy with the borders that the gradient of the inputs wants."""
    gradient_bytes: int
    """Scratch for dy of a block, with borders."""
    output_bytes: int
    """Scratch for the outputs of a block (of a strip), where they are not kept."""
    work_bytes: int
    """Scratch for the algorithm, and for what follows it."""

    def padded_rows(self, rows: int, window: Window) -> int:
        """Rows of inputs that so many rows of outputs look at, with those that tiles hang over."""
        return extent(rows, unit_of(self.variant), window.strides[0], window.extent[0])


def unit_of(variant: Variant | None) -> int:
    """Rows, and columns, of outputs that are made together."""
    return 1 if variant is None else variant.outputs


def extent(outputs: int, unit: int, stride: int, reach: int) -> int:
    return (-(-outputs // unit) * unit - 1) * stride + reach


def variants_of(window: Window, groups: int, C: int, O: int, fast: bool) -> list[Variant]:
    """Winograd's variants that can do it."""
    borders = max(n for pair in window.padding for n in pair)
    fits = window.strides == window.dilation == (1, 1) and groups == 1 and C % CHANNELS == O % CHANNELS == 0
    return [v for v in VARIANTS if fits and window.size == (v.taps, v.taps) and borders < v.taps and v.fast <= fast]


def cheapest(variants: Sequence[Variant], rows: int, columns: int, direct: int) -> Variant | None:
    """The variant with the least products for such outputs; None where so many direct ones cost less."""
    found = min(variants, key=lambda v: v.products * v.tiles(rows, columns), default=None)
    return found if found and found.products * found.tiles(rows, columns) <= WORTH * direct else None


@functools.lru_cache(1024)
def layout(N: int, H: int, W: int, C: int, O: int, window: Window, groups: int, fast: bool, pool_stride: int) -> Layout:
    """The cut of a convolution of (N, H, W, C) to O channels; ``pool_stride`` rows stay together, 0 for all of them."""
    OH, OW = window.output(H, W)
    direct = OH * OW * window.size[0] * window.size[1]  # both ways: inputs are not reached from outside the outputs
    variants = variants_of(window, groups, C, O, fast)
    variant, inputs_variant = cheapest(variants, OH, OW, direct), cheapest(variants, H, W, direct)
    m = unit_of(variant)
    columns = extent(OW, m, window.strides[1], window.extent[1])
    hangs = OH % m or OW % m
    copies = bool(window.padded or hangs)
    row_bytes = columns * C * FLOAT
    image_bytes = extent(OH, m, window.strides[0], window.extent[0]) * row_bytes
    gradient_rows, gradient_columns = OH, OW
    if inputs_variant:
        gradient_rows, gradient_columns = (extent(n, inputs_variant.outputs, 1, inputs_variant.taps) for n in (H, W))
    gradient_image = gradient_rows * gradient_columns * O * FLOAT

    wanted = BLOCK_PIXELS * m * m // (OH * OW)
    per_block = max(1, min(wanted, N // BLOCKS, BLOCK_BYTES // max(image_bytes, gradient_image)))
    blocks = -(-N // per_block)
    strip_rows, strips = OH, 1
    strip_row = max(row_bytes * window.strides[0], OW * O * FLOAT)
    if per_block == 1 and OH * strip_row > BLOCK_BYTES and pool_stride:
        unit = m * pool_stride
        strip_rows = min(max(BLOCK_BYTES // strip_row // unit, 1) * unit, -(-OH // unit) * unit)
        strips = -(-OH // strip_rows)
    weights = variant.packed_size(C, O) if variant else window.size[0] * window.size[1] * C // groups * O
    pieces = min(blocks, max(min(PIECES, PIECE_BYTES // (weights * FLOAT)), 2))
    room = 64 * BLOCK.columns
    used = [v for v in (variant, inputs_variant) if v]
    strip_bytes = per_block * extent(strip_rows, m, window.strides[0], window.extent[0]) * row_bytes
    return Layout(
        variant=variant,
        inputs_variant=inputs_variant,
        copies=copies,
        columns=columns,
        per_block=per_block,
        blocks=blocks,
        strips=strips,
        strip_rows=strip_rows,
        pieces=pieces,
        x_bytes=aligned(per_block * image_bytes + room) if copies else 0,
        strip_bytes=aligned(strip_bytes + room) if copies else 0,
        gradient_rows=gradient_rows,
        gradient_columns=gradient_columns,
        gradient_bytes=aligned(per_block * gradient_image + room),
        output_bytes=aligned(per_block * strip_rows * OW * O * FLOAT + room),
        work_bytes=aligned(max(8 * FLOAT * max(C, O), room, *(v.work_bytes(C, O) for v in used))),
    )


def aligned(size: int) -> int:
    return -(-size // 64) * 64
