"""The shortcut without parameters: odd sizes, one pixel, unequal strides, odd new channels, and none at all."""

from __future__ import annotations

from tests.cases import Case
from tinynn.layers.shortcut import SubsampleAndPad

# name: (shape of x, filters, strides)
SHAPES = {
    "resnet": ((2, 8, 8, 16), 32, (2, 2)),
    "odd_sides": ((2, 7, 5, 3), 6, (2, 2)),
    "odd_channels": ((1, 4, 6, 2), 5, (2, 1)),
    "no_new_channels": ((2, 5, 5, 4), 4, (3, 2)),
    "pixel": ((3, 1, 1, 1), 2, (2, 2)),
}

CASES = [
    Case(f"shortcut_{name}", lambda f=filters, s=strides: SubsampleAndPad(f, s), (shape,))
    for name, (shape, filters, strides) in SHAPES.items()
]
