"""Many small images in one picture: samples of a data set, or the weights that a layer has learned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.plots.canvas import DIVERGING, INK, PathLike, figure, finished

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def images(
    array: ArrayLike, labels: Sequence[Any] | None = None, columns: int = 10, path: PathLike | None = None
) -> Figure:
    """Images (N, H, W), (N, H, W, 1) or (N, H, W, 3), each with its label below; grey ones are ink on paper.

    The values run from 0 to 255 for integers, from the smallest to the largest of all images for floats.
    Raises ValueError for another shape, an empty array, or labels that are not N.
    """
    pixels = np.asarray(array)
    if pixels.ndim not in (3, 4) or pixels.size == 0 or (pixels.ndim == 4 and pixels.shape[-1] not in (1, 3)):
        raise ValueError(f"images have shape (N, H, W), (N, H, W, 1) or (N, H, W, 3); got {pixels.shape}")
    if labels is not None and len(labels) != len(pixels):
        raise ValueError(f"there are {len(pixels)} images and {len(labels)} labels")
    if pixels.dtype.kind in "iu":
        low, high = 0.0, 255.0
    else:
        low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    unit = np.clip((pixels - low) / ((high - low) or 1.0), 0, 1)
    if unit.ndim == 4 and unit.shape[-1] == 1:
        unit = unit[..., 0]
    return finished(_tiles(unit, labels, columns, "gray_r", (0.0, 1.0)), path)


def weights(
    kernel: ArrayLike,
    image_shape: tuple[int, int] | None = None,
    channel: int = 0,
    columns: int = 10,
    path: PathLike | None = None,
) -> Figure:
    """One tile per output of a kernel: Dense (I, O), seen as images of `image_shape`, or Conv2D (KH, KW, C, O).

    Blue adds, red takes away, white is zero; all tiles share one scale. `image_shape` is (H, W) with H W = I, by
    default a square; of a convolution one input channel is shown. Raises ValueError when the shapes do not fit.
    """
    W = np.asarray(kernel, float)
    if W.ndim == 2:
        side = math.isqrt(W.shape[0])
        shape = image_shape or (side, side)
        if math.prod(shape) != W.shape[0]:
            raise ValueError(
                f"a kernel of {W.shape[0]} inputs is no image of {shape}; write image_shape=(height, width)"
            )
        tiles = W.T.reshape(-1, *shape)
    elif W.ndim == 4 and 0 <= channel < W.shape[2]:
        tiles = np.moveaxis(W[:, :, channel], -1, 0)
    else:
        raise ValueError(f"expected a kernel (I, O) or (KH, KW, C, O) with channel {channel} < C; got {W.shape}")
    if tiles.size == 0:
        raise ValueError(f"the kernel {W.shape} is empty")
    largest = float(np.nanmax(np.abs(tiles))) or 1.0
    return finished(_tiles(tiles, None, columns, DIVERGING, (-largest, largest)), path)


def _tiles(
    tiles: NDArray[Any], labels: Sequence[Any] | None, columns: int, colours: str, limits: tuple[float, float]
) -> Figure:
    """All tiles (N, H, W[, 3]) in one figure, row by row."""
    if columns < 1:
        raise ValueError(f"columns is a positive whole number; got {columns}")
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    height = tiles.shape[1] / tiles.shape[2] + (0.22 if labels is not None else 0)
    picture = figure(0.85 * columns + 0.1, 0.85 * rows * height + 0.1, pad=0.02)
    for k, axes in enumerate(picture.subplots(rows, columns, squeeze=False).flat):
        axes.set_axis_off()
        if k < len(tiles):
            axes.imshow(tiles[k], cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="nearest")
            if labels is not None:
                axes.text(
                    0.5, -0.03, str(labels[k]), transform=axes.transAxes, ha="center", va="top", size=8, color=INK
                )
    return picture
