"""Window: where the kernel of a convolution or of a pool stands on an image."""

from __future__ import annotations

from dataclasses import dataclass

Pair = tuple[int, int]
"""(rows, columns)"""


@dataclass(frozen=True)
class Window:
    """Size, strides, padding and dilation of a moving window, each (rows, columns); images are (N, H, W, C).

    Output (i, j) looks at the inputs (i s_h + a d_h - top, j s_w + b d_w - left) for a < KH, b < KW; those outside the
    image count as padding. A side of n inputs gives floor((n + before + after - d (k - 1) - 1) / s) + 1 outputs.
    """

    size: Pair
    strides: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))
    """((top, bottom), (left, right))"""
    dilation: Pair = (1, 1)

    @property
    def extent(self) -> Pair:
        """Rows and columns from the first to the last input that a window looks at."""
        return (self.size[0] - 1) * self.dilation[0] + 1, (self.size[1] - 1) * self.dilation[1] + 1

    @property
    def padded(self) -> bool:
        return self.padding != ((0, 0), (0, 0))

    def output(self, rows: int, columns: int) -> Pair:
        """Output rows and columns of an image; 0 or less where the window is larger than the padded image."""
        (top, bottom), (left, right) = self.padding
        high, wide = self.extent
        return (
            (rows + top + bottom - high) // self.strides[0] + 1,
            (columns + left + right - wide) // self.strides[1] + 1,
        )


def same_padding(n: int, size: int, stride: int, dilation: int = 1) -> Pair:
    """What 'same' adds before and after a side of n inputs, so that there are ceil(n / stride) outputs.

    total = max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0), the odd one after.
    """
    total = max((-(-n // stride) - 1) * stride + dilation * (size - 1) + 1 - n, 0)
    return total // 2, total - total // 2
