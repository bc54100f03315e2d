"""Images turned, shifted, sheared, zoomed, flipped and cut out, each its own way, in one pass over the pixels.

Source of the conventions: the image preprocessing of Keras (keras/src/legacy/preprocessing/image.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn import backends
from tinynn.backends.base import Fill
from tinynn.errors import unknown
from tinynn.typing import ArrayLike

FILL_MODES = {fill.name.lower(): fill for fill in Fill}


def fill_of(fill_mode: str) -> Fill:
    """What stands outside of the image, by its name."""
    if fill_mode not in FILL_MODES:
        raise unknown("fill_mode", fill_mode, FILL_MODES)
    return FILL_MODES[fill_mode]


def image_batch(images: Any) -> np.ndarray:
    """Images (N, H, W, C), uint8 as they are, other numbers as float32; ValueError for other shapes."""
    array = np.asarray(images)
    if array.ndim != 4 or 0 in array.shape[1:]:
        hint = ": for a single image write images[None]" if array.ndim == 3 else ""
        raise ValueError(f"images are an array (N, height, width, channels); got shape {array.shape}{hint}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"images are numbers; got dtype {array.dtype}")
    return array if array.dtype == np.uint8 else array.astype(np.float32, copy=False)


def matrices(
    count: int,
    height: int,
    width: int,
    theta: ArrayLike = 0.0,
    tx: ArrayLike = 0.0,
    ty: ArrayLike = 0.0,
    shear: ArrayLike = 0.0,
    zx: ArrayLike = 1.0,
    zy: ArrayLike = 1.0,
    flip_horizontal: ArrayLike = False,
    flip_vertical: ArrayLike = False,
) -> np.ndarray:
    """From a pixel (row, column) of the result to the point of the image that it shows: (N, 2, 3).

    With x to the right and y downwards, both from the centre of the image,

        (x, y) of the image = R (t + S Z F (x, y) of the result)

    R = (cos theta, -sin theta; sin theta, cos theta), t = (tx, ty), S = (1, -sin shear; 0, cos shear),
    Z = diag(zx, zy), F = diag(-1 where flipped).
    """
    angle, slant = np.radians(np.asarray(theta, float)), np.radians(np.asarray(shear, float))
    if not (np.isfinite(angle).all() and np.isfinite(slant).all()):
        raise ValueError("the angles of images are finite numbers")
    cos, sin = np.cos(angle), np.sin(angle)
    h, v = np.where(flip_horizontal, -1.0, 1.0), np.where(flip_vertical, -1.0, 1.0)
    zx, zy = np.asarray(zx, float), np.asarray(zy, float)
    # R S Z F, column by column
    xx, yx = cos * zx * h, sin * zx * h
    xy = (-cos * np.sin(slant) - sin * np.cos(slant)) * zy * v
    yy = (-sin * np.sin(slant) + cos * np.cos(slant)) * zy * v
    x_shift, y_shift = cos * tx - sin * ty, sin * tx + cos * ty
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    result = np.empty((count, 2, 3))
    result[:, 0, 0], result[:, 0, 1], result[:, 0, 2] = yy, yx, y0 - yy * y0 - yx * x0 + y_shift
    result[:, 1, 0], result[:, 1, 1], result[:, 1, 2] = xy, xx, x0 - xy * y0 - xx * x0 + x_shift
    if not np.isfinite(result).all():
        raise ValueError("the shifts and zooms of images are finite numbers")
    return result


def resample(
    images: np.ndarray,
    points: np.ndarray,
    size: tuple[int, int],
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
    dtype: Any = None,
) -> np.ndarray:
    """images at the points of the matrices: result[n, i, j] = images[n](points[n] (i, j, 1))."""
    fill = fill_of(fill_mode)
    if order not in (0, 1):
        raise ValueError(f"order is 1 (bilinear) or 0 (nearest pixel); got {order!r}")
    N, _, _, C = images.shape
    out = np.empty((N, *size, C), images.dtype if dtype is None else dtype)
    if out.dtype == np.uint8:
        cval = float(np.clip(np.rint(cval), 0, 255))
    backends.get("cpu").resample.affine(out, images, points, fill, float(cval), int(order))
    return out


def affine(
    images: ArrayLike,
    theta: ArrayLike = 0.0,
    tx: ArrayLike = 0.0,
    ty: ArrayLike = 0.0,
    shear: ArrayLike = 0.0,
    zx: ArrayLike = 1.0,
    zy: ArrayLike = 1.0,
    flip_horizontal: ArrayLike = False,
    flip_vertical: ArrayLike = False,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
    dtype: Any = None,
) -> np.ndarray:
    """Images (N, H, W, C) turned, shifted, sheared, zoomed and flipped; every argument a number, or one for each image.

    theta, shear: degrees; a positive theta turns the picture counter-clockwise
    tx, ty:       pixels; positive ones move the picture to the left and up
    zx, zy:       below 1 the picture grows, above 1 it shrinks
    fill_mode:    outside of an image a b c d stand: "nearest" aaaa|abcd|dddd, "constant" vvvv|abcd|vvvv (cval),
                  "reflect" dcba|abcd|dcba, "wrap" abcd|abcd|abcd
    order:        1 interpolates between four pixels, 0 takes the nearest
    dtype:        "float32" for float32 results from uint8 images, which stay uint8 otherwise

    >>> image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3, 1)
    >>> affine(image, tx=1)[0, :, :, 0]
    array([[1, 2, 2],
           [4, 5, 5]], dtype=uint8)
    """
    x = image_batch(images)
    N, H, W, _ = x.shape
    points = matrices(N, H, W, theta, tx, ty, shear, zx, zy, flip_horizontal, flip_vertical)
    return resample(x, points, (H, W), fill_mode, cval, order, dtype)


def crop(
    images: ArrayLike,
    size: tuple[int, int],
    top: ArrayLike = 0,
    left: ArrayLike = 0,
    fill_mode: str = "constant",
    cval: float = 0.0,
) -> np.ndarray:
    """The part of `size` (height, width) whose first pixel is (top, left), numbers or one for each image.

    What lies outside of an image, as with negative tops, is filled.
    """
    x = image_batch(images)
    if np.shape(size) != (2,) or min(size) < 1:
        raise ValueError(f"size is (height, width); got {size!r}")
    points = np.zeros((len(x), 2, 3))
    points[:, 0, 0] = points[:, 1, 1] = 1
    points[:, 0, 2], points[:, 1, 2] = np.rint(top), np.rint(left)
    return resample(x, points, (int(size[0]), int(size[1])), fill_mode, cval)


def center_crop(images: ArrayLike, size: tuple[int, int]) -> np.ndarray:
    """The middle of the images; where the rest is odd there is one row, or column, less before it."""
    _, H, W, _ = np.shape(images)
    return crop(images, size, (H - size[0]) // 2, (W - size[1]) // 2)


def random_crop(
    images: ArrayLike,
    size: tuple[int, int],
    rng: np.random.Generator,
    padding: int = 0,
    fill_mode: str = "constant",
    cval: float = 0.0,
) -> np.ndarray:
    """A part of each image at a random place, `padding` rows and columns around the image included."""
    N, H, W, _ = np.shape(images)
    spare = H + 2 * padding - size[0], W + 2 * padding - size[1]
    if min(spare) < 0:
        raise ValueError(f"images of {H} x {W} with a padding of {padding} have no part of {size[0]} x {size[1]}")
    top, left = (rng.integers(0, s + 1, N) - padding for s in spare)
    return crop(images, size, top, left, fill_mode, cval)
