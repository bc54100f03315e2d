"""Images in folders, a class to each sub-folder; Pillow reads them, when a batch needs them."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.data.rows import Places
from tinynn.data.source import Batch
from tinynn.errors import unknown

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
MODES = {"grayscale": ("L", 1), "rgb": ("RGB", 3), "rgba": ("RGBA", 4)}
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
LARGEST = 1 << 25
"""Pixels of an image that is still read: a damaged header shall not ask for all memory."""


class FolderRows:
    """The images of some files as rows, uint8 unless told otherwise, all of one size."""

    def __init__(
        self,
        paths: list[Path],
        y: np.ndarray | None,
        image_size: tuple[int, int],
        color_mode: str = "rgb",
        interpolation: str = "bilinear",
        crop: bool = False,
        dtype: Any = "uint8",
    ):
        """crop: cut off what does not fit the aspect ratio, in place of stretching."""
        if color_mode not in MODES:
            raise unknown("color_mode", color_mode, MODES)
        if interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", interpolation, INTERPOLATIONS)
        if np.shape(image_size) != (2,) or min(image_size) < 1:
            raise ValueError(f"image_size is (height, width), such as (64, 64); got {image_size!r}")
        require_pillow()
        self.paths, self.y = paths, y
        self.size, self.mode, self.crop = (int(image_size[0]), int(image_size[1])), color_mode, crop
        self.interpolation, self.dtype = interpolation, np.dtype(dtype)

    def __len__(self) -> int:
        return len(self.paths)

    def labels(self) -> Any:
        return self.y

    def fetch(self, places: Places) -> Batch:
        numbers = np.arange(len(self))[places]
        x = np.empty((len(numbers), *self.size, MODES[self.mode][1]), self.dtype)
        for i, number in enumerate(numbers):
            x[i] = self.read(self.paths[number])
        return x, None if self.y is None else self.y[numbers], None

    def read(self, path: Path) -> np.ndarray:
        """One image (H, W, C); ValueError, with its path, where it is not one."""
        from PIL import Image

        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise ValueError("it is no plain file")
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if width * height > LARGEST:
                    raise ValueError(f"it claims {width} x {height} pixels; at most {LARGEST:,} are read")
                image.load()
                mode = MODES[self.mode][0]
                array = np.asarray(self.resized(image if image.mode == mode else image.convert(mode)))
        except FileNotFoundError:
            raise
        except Exception as error:  # Pillow's readers raise many kinds for damaged files
            raise ValueError(f"{path} is not an image that can be read ({error})") from error
        return array if array.ndim == 3 else array[:, :, None]

    def resized(self, image: Any) -> Any:
        """An image of the wanted size."""
        from PIL import Image

        H, W = self.size
        width, height = image.size
        if (width, height) == (W, H):
            return image
        box = None
        if self.crop:
            w, h = min(width, height * W / H), min(height, width * H / W)
            box = ((width - w) / 2, (height - h) / 2, (width + w) / 2, (height + h) / 2)
        return image.resize((W, H), getattr(Image.Resampling, self.interpolation.upper()), box)


def class_folders(path: str | os.PathLike[str], class_names: Any) -> list[str]:
    """The names of the classes: the sub-folders in the order of the alphabet, or those that are given."""
    root = Path(path)
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; expected one with a sub-folder of images for each class")
    if class_names is None:
        names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    else:
        names = [str(name) for name in class_names]
        missing = [name for name in names if not (root / name).is_dir()]
        if missing:
            raise ValueError(f"{root} has no sub-folder {', '.join(missing)}, which class_names asks for")
    if not names:
        raise ValueError(f"{root} has no sub-folders; expected one with images for each class (or labels=None)")
    return names


def images_in(folder: Path, follow_links: bool = True) -> list[Path]:
    """The image files of a folder and of the folders inside it, in the order of their names."""
    found = []
    for place, folders, files in os.walk(folder, followlinks=follow_links):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        found += [Path(place) / name for name in sorted(files) if name.lower().endswith(ENDINGS)]
    return [path for path in found if not path.name.startswith(".")]


def listed(
    path: str | os.PathLike[str], labels: Any, class_names: Any, follow_links: bool = True
) -> tuple[list[Path], np.ndarray | None, list[str] | None]:
    """(files, label of each, names of the classes); ValueError for a class without images."""
    root = Path(path)
    if labels == "inferred" if isinstance(labels, str) else False:
        names = class_folders(root, class_names)
        groups = [images_in(root / name, follow_links) for name in names]
        for name, group in zip(names, groups, strict=True):
            if not group:
                raise ValueError(
                    f"{root / name} holds no images ({', '.join(ENDINGS)}): remove the folder, or name the classes "
                    "that are meant with class_names=[...]"
                )
        y = np.repeat(np.arange(len(names), dtype=np.int32), [len(group) for group in groups])
        return [file for group in groups for file in group], y, names
    if isinstance(labels, str):
        raise ValueError(f"labels is 'inferred', None, or one label for each file; got {labels!r}")
    if not root.is_dir():
        raise ValueError(f"{root} is no folder; expected one with images")
    files = images_in(root, follow_links)
    if not files:
        raise ValueError(f"{root} holds no images ({', '.join(ENDINGS)})")
    if labels is None:
        return files, None, None
    y = np.asarray(labels)
    if y.ndim == 0 or len(y) != len(files):
        raise ValueError(f"{root} holds {len(files)} images (in the order of their names); labels has shape {y.shape}")
    return files, y, None if class_names is None else [str(name) for name in class_names]


def require_pillow() -> None:
    """ImportError with the command that helps."""
    try:
        import PIL  # noqa: F401
    except ImportError as error:
        raise ImportError('reading images needs Pillow: `pip install "tinynn-np[images]"`') from error
