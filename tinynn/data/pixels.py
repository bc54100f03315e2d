"""Operations on the values of images, each image its own amount; uint8 stays uint8, other numbers become float32."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinynn.data.affine import image_batch
from tinynn.typing import ArrayLike

RANGE = (0.0, 255.0)


def flip(images: ArrayLike, horizontal: ArrayLike = False, vertical: ArrayLike = False) -> np.ndarray:
    """Left and right, or top and bottom, change places; a bool, or one for each image."""
    x = np.array(image_batch(images))
    h, v = (np.broadcast_to(np.asarray(which, bool), len(x)) for which in (horizontal, vertical))
    x[h] = x[h, :, ::-1]
    x[v] = x[v, ::-1]
    return x


def brightness(images: ArrayLike, factor: ArrayLike, value_range: tuple[float, float] = RANGE) -> np.ndarray:
    """factor x, clipped to the range that the values may have."""
    x = image_batch(images)
    return _as(np.clip(_float(x) * _each(factor, x), *value_range), x)


def contrast(images: ArrayLike, factor: ArrayLike, value_range: tuple[float, float] = RANGE) -> np.ndarray:
    """mean + factor (x - mean), with the mean of each channel of each image, clipped."""
    x = image_batch(images)
    mean = x.mean(axis=(1, 2), keepdims=True, dtype=np.float64).astype(np.float32)
    return _as(np.clip(mean + _each(factor, x) * (_float(x) - mean), *value_range), x)


def channel_shift(images: ArrayLike, amount: ArrayLike) -> np.ndarray:
    """x + amount, clipped to the smallest and largest value of the image, as in Keras; one amount for all channels."""
    x = image_batch(images)
    low, high = (_float(f(x, axis=(1, 2, 3), keepdims=True)) for f in (np.min, np.max))
    return _as(np.clip(_float(x) + _each(amount, x), low, high), x)


def cutout(
    images: ArrayLike, size: int | tuple[int, int], row: ArrayLike, column: ArrayLike, value: float = 0.0
) -> np.ndarray:
    """A rectangle of `size` (height, width) is painted over, its centre at (row, column), a pair for each image.

    What sticks out over the edge is lost. Source: T. DeVries, G. Taylor, "Improved regularization of convolutional
    neural networks with cutout", 2017.
    """
    x = np.array(image_batch(images))
    N, H, W, _ = x.shape
    height, width = size if isinstance(size, (tuple, list)) else (size, size)
    top, left = (np.broadcast_to(np.asarray(p), N) - s // 2 for p, s in ((row, height), (column, width)))
    i, j = np.arange(H), np.arange(W)
    rows = (i >= top[:, None]) & (i < top[:, None] + height)
    columns = (j >= left[:, None]) & (j < left[:, None] + width)
    x[rows[:, :, None] & columns[:, None, :]] = value
    return x


def mixup(images: ArrayLike, y: ArrayLike, share: ArrayLike, partner: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """share x + (1 - share) x[partner], and the same of y: one-hot rows, or real numbers.

    share: a number from 0 to 1 for each image; partner: the number of another one. Source: H. Zhang, M. Cisse, Y.
    Dauphin, D. Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018.
    """
    x, y = image_batch(images), np.asarray(y)
    if y.dtype.kind in "iub" and (y.ndim < 2 or y.shape[1] == 1):
        raise ValueError(
            "mixup mixes labels too: give it one-hot rows (utils.to_categorical), not numbers of classes "
            f"(y has dtype {y.dtype} and shape {y.shape})"
        )
    other = np.asarray(partner, np.intp)
    s, labels = _each(share, x), y.astype(np.float32)
    t = s.reshape(-1, *(1,) * (y.ndim - 1))
    return _as(s * _float(x) + (1 - s) * _float(x[other]), x), t * labels + (1 - t) * labels[other]


def _each(amount: ArrayLike, x: np.ndarray) -> Any:
    """A number for each image, to be broadcast over it."""
    return np.broadcast_to(np.asarray(amount, np.float32), len(x)).reshape(-1, 1, 1, 1)


def _float(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float32, copy=False)


def _as(result: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Rounded where the images are bytes."""
    return np.rint(result).astype(np.uint8) if x.dtype == np.uint8 else result
