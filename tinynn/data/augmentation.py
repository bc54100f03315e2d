"""Random changes to the images of a batch, so that no epoch shows the same ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.data.affine import affine, center_crop, crop, fill_of, image_batch, matrices, random_crop, resample
from tinynn.data.pixels import brightness, channel_shift, contrast, cutout, flip, mixup
from tinynn.random import host_generator
from tinynn.typing import ArrayLike

__all__ = [
    "Augmentation",
    "affine",
    "brightness",
    "center_crop",
    "channel_shift",
    "contrast",
    "crop",
    "cutout",
    "flip",
    "mixup",
    "random_crop",
]

Draws = dict[str, Any]
"""Arrays with a number for each image, under the names that `affine` gives its arguments, and three more."""
GEOMETRY = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")


@dataclass(eq=False)
class Augmentation:
    """Random changes to images, with old Keras's arguments: a function for `Dataset.map`.

    >>> images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    >>> change = Augmentation(rotation_range=15, width_shift_range=0.1, horizontal_flip=True)
    >>> change(images, rng=np.random.default_rng(1)).shape
    (8, 32, 32, 3)

    In a chain it is `dataset.batch(64).map(change, seed=1).prefetch(2)`; labels stay as they are, but for mixup.

    rotation_range:     degrees to both sides
    width_shift_range, height_shift_range: to both sides, a fraction of the width or height (below 1) or pixels (from 1
                        on); an int n means whole pixels, -n < shift < n; of a list one is taken, with a random sign
    shear_range:        degrees to both sides
    zoom_range:         (low, high), or z for (1 - z, 1 + z), drawn for both directions on their own
    channel_shift_range, brightness_range, contrast_range: see `channel_shift` (to both sides), `brightness`,
                        `contrast` ((low, high) each)
    fill_mode, cval, interpolation_order: see `affine`
    crop:               (height, width): a random part of the image with `crop_padding` rows and columns around it
    cutout:             side of a square that is painted over with cval
    mixup:              alpha: images and labels are mixed with those of a partner, shares drawn from Beta(alpha, alpha)
    value_range:        what values may be
    dtype:              "float32" makes float32 of uint8 images, which stay uint8 otherwise
    """

    rotation_range: float = 0.0
    width_shift_range: Any = 0.0
    height_shift_range: Any = 0.0
    shear_range: float = 0.0
    zoom_range: Any = 0.0
    channel_shift_range: float = 0.0
    brightness_range: tuple[float, float] | None = None
    contrast_range: tuple[float, float] | None = None
    horizontal_flip: bool = False
    vertical_flip: bool = False
    fill_mode: str = "nearest"
    cval: float = 0.0
    interpolation_order: int = 1
    crop: tuple[int, int] | None = None
    crop_padding: int = 0
    cutout: int | None = None
    mixup: float | None = None
    value_range: tuple[float, float] = (0.0, 255.0)
    dtype: Any = None

    def __post_init__(self) -> None:
        fill_of(self.fill_mode)
        if np.ndim(self.zoom_range) == 0:
            self.zoom_range = (1 - self.zoom_range, 1 + self.zoom_range)
        for name in ("zoom_range", "brightness_range", "contrast_range"):
            value = getattr(self, name)
            if value is not None and (np.shape(value) != (2,) or not 0 <= value[0] <= value[1]):
                raise ValueError(f"{name} is (low, high), factors from 0 on; got {value!r}")
        for name in ("rotation_range", "shear_range", "channel_shift_range"):
            value = getattr(self, name)
            if np.ndim(value) or not np.isfinite(value):
                raise ValueError(f"{name} is a number; got {value!r}")
        if self.interpolation_order not in (0, 1):
            raise ValueError(f"interpolation_order is 1 (bilinear) or 0 (nearest); got {self.interpolation_order!r}")
        if self.mixup is not None and not self.mixup > 0:
            raise ValueError(f"mixup is alpha of a Beta distribution, above 0; got {self.mixup!r}")

    def draw(self, count: int, height: int, width: int, rng: np.random.Generator) -> Draws:
        """What is to happen to each of so many images."""
        low, high = self.zoom_range
        draws: Draws = {}
        if self.rotation_range:
            draws["theta"] = rng.uniform(-self.rotation_range, self.rotation_range, count)
        draws["tx"] = shifts(self.width_shift_range, width, count, rng)
        draws["ty"] = shifts(self.height_shift_range, height, count, rng)
        if self.shear_range:
            draws["shear"] = rng.uniform(-self.shear_range, self.shear_range, count)
        if (low, high) != (1, 1):
            draws["zx"], draws["zy"] = rng.uniform(low, high, (2, count))
        if self.horizontal_flip:
            draws["flip_horizontal"] = rng.random(count) < 0.5
        if self.vertical_flip:
            draws["flip_vertical"] = rng.random(count) < 0.5
        if self.channel_shift_range:
            draws["channel_shift"] = rng.uniform(-self.channel_shift_range, self.channel_shift_range, count)
        if self.brightness_range is not None:
            draws["brightness"] = rng.uniform(*self.brightness_range, count)
        if self.contrast_range is not None:
            draws["contrast"] = rng.uniform(*self.contrast_range, count)
        return {name: value for name, value in draws.items() if value is not None}

    def apply(self, images: ArrayLike, draws: Draws) -> np.ndarray:
        """Let it happen."""
        x = image_batch(images)
        geometry = {name: draws[name] for name in GEOMETRY if name in draws}
        if geometry:
            N, H, W, _ = x.shape
            points = matrices(N, H, W, **geometry)
            x = resample(x, points, (H, W), self.fill_mode, self.cval, self.interpolation_order, self.dtype)
        elif self.dtype is not None:
            x = x.astype(self.dtype)
        if "channel_shift" in draws:
            x = channel_shift(x, draws["channel_shift"])
        if "brightness" in draws:
            x = brightness(x, draws["brightness"], self.value_range)
        if "contrast" in draws:
            x = contrast(x, draws["contrast"], self.value_range)
        return x

    def __call__(self, x: ArrayLike, y: ArrayLike | None = None, rng: np.random.Generator | None = None) -> Any:
        """The images changed, or (images, y) where there is a y; without rng from the process's own numbers."""
        rng = host_generator(rng)
        images = image_batch(x)
        N, H, W, _ = images.shape
        images = self.apply(images, self.draw(N, H, W, rng))
        if self.crop is not None:
            images = random_crop(images, self.crop, rng, self.crop_padding, self.fill_mode, self.cval)
        if self.cutout is not None:
            row, column = (rng.integers(0, n, N) for n in images.shape[1:3])
            images = cutout(images, self.cutout, row, column, self.cval)
        if self.mixup is not None:
            if y is None:
                raise ValueError("mixup mixes labels too, and there are none")
            return mixup(images, y, rng.beta(self.mixup, self.mixup, N), rng.permutation(N))
        return images if y is None else (images, y)


def shifts(extent: Any, size: int, count: int, rng: np.random.Generator) -> np.ndarray | None:
    """Shifts in pixels, after Keras: a float is a range (below 1 a fraction of the size), an integer n means whole
    pixels below n, of a list one is chosen and its sign drawn; None for no shift."""
    if np.ndim(extent) == 0 and not extent:
        return None
    fraction = np.max(extent) < 1
    if np.ndim(extent) == 0 and not isinstance(extent, (int, np.integer)):
        drawn = rng.uniform(-extent, extent, count)
    else:
        drawn = rng.choice(extent, count) * rng.choice([-1, 1], count)
    return np.asarray(drawn * size if fraction else drawn, float)
