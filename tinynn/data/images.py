"""ImageDataGenerator: old Keras's way to feed images that are changed at random."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.data.affine import image_batch
from tinynn.data.augmentation import Augmentation, Draws
from tinynn.data.dataset import Dataset, whole
from tinynn.data.flow import Flow
from tinynn.data.folder import FolderRows, class_folders, images_in, require_pillow
from tinynn.data.mapping import checked_seed, generator_at
from tinynn.data.rows import each
from tinynn.data.statistics import Moments, whitening
from tinynn.errors import frames_inside, unknown
from tinynn.random import host_generator
from tinynn.typing import ArrayLike

CLASS_MODES = ("categorical", "binary", "sparse", "input", None)
SUBSETS = ("training", "validation")
PARAMETERS = ("theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical")
FEATUREWISE = "featurewise_center, featurewise_std_normalization and zca_whitening"


class ImageDataGenerator:
    """Images changed at random and brought to scale, batch by batch; old Keras's arguments and meanings.

    >>> x, y = np.zeros((10, 32, 32, 3), np.uint8), np.arange(10)
    >>> generator = ImageDataGenerator(rotation_range=40, width_shift_range=0.2, zoom_range=0.2, rescale=1 / 255)
    >>> flow = generator.flow(x, y, batch_size=4, seed=1)  # model.fit(flow) takes it as it is
    >>> images, labels = next(flow)
    >>> images.shape, images.dtype, len(flow)
    ((4, 32, 32, 3), dtype('float32'), 3)

    First an image is turned, shifted, sheared, zoomed and flipped (one resampling), then `channel_shift_range` and
    `brightness_range` change its values; see `Augmentation` for these arguments. Then comes what `standardize` does:
    preprocessing_function (of one image), rescale (a factor), samplewise_center and samplewise_std_normalization (by
    the image's own mean and deviation), featurewise_center and featurewise_std_normalization (those of each channel of
    the data given to `fit`), zca_whitening (likewise).

    Where Keras's code and its documentation differ this is the documentation: width_shift_range shifts to the sides,
    and images that are not square turn around their centre. Brightness is not rounded; values are clipped to 0 .. 255.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: Any = 0.0,
        height_shift_range: Any = 0.0,
        brightness_range: Any = None,
        shear_range: float = 0.0,
        zoom_range: Any = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[np.ndarray], ArrayLike] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: Any = None,
    ):
        if data_format not in (None, "channels_last"):
            raise ValueError(f"data_format is 'channels_last', images (height, width, channels); got {data_format!r}")
        if np.dtype(dtype or "float32") != np.float32:
            raise ValueError(f"images come out as float32; got dtype={dtype!r}")
        if validation_split and not 0 < validation_split < 1:
            raise ValueError(f"validation_split is a fraction between 0 and 1; got {validation_split!r}")
        if zca_whitening and featurewise_std_normalization:
            warnings.warn("zca_whitening takes the place of featurewise_std_normalization", stacklevel=frames_inside())
            featurewise_std_normalization = False
        self.augmentation = Augmentation(
            rotation_range=rotation_range,
            width_shift_range=width_shift_range,
            height_shift_range=height_shift_range,
            shear_range=shear_range,
            zoom_range=zoom_range,
            channel_shift_range=channel_shift_range,
            brightness_range=brightness_range,
            horizontal_flip=horizontal_flip,
            vertical_flip=vertical_flip,
            fill_mode=fill_mode,
            cval=cval,
            interpolation_order=interpolation_order,
            dtype="float32",
        )
        self.featurewise_center = bool(featurewise_center or featurewise_std_normalization or zca_whitening)
        self.featurewise_std_normalization = bool(featurewise_std_normalization)
        self.samplewise_center = bool(samplewise_center or samplewise_std_normalization)
        self.samplewise_std_normalization = bool(samplewise_std_normalization)
        self.zca_whitening, self.zca_epsilon = bool(zca_whitening), zca_epsilon
        self.rescale, self.preprocessing_function = rescale, preprocessing_function
        self.validation_split = validation_split
        self.mean: np.ndarray | None = None
        self.std: np.ndarray | None = None
        self.zca_whitening_matrix: np.ndarray | None = None

    # -- batches -------------------------------------------------------------------------------------------------------

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> Flow:
        """Batches of the images x (N, H, W, C), with their labels and weights; x may be (images, other inputs).

        subset:      "training" or "validation", the first `validation_split` of the rows
        save_to_dir: a folder to which the changed images are written
        """
        if isinstance(x, list):
            x = tuple(x)
        if isinstance(x, tuple) and len(x) == 2 and isinstance(x[1], list):
            x = (x[0], *x[1])
        images = x[0] if isinstance(x, tuple) else x
        if np.ndim(images) != 4:
            raise ValueError(f"x is images (N, height, width, channels); got shape {np.shape(images)}")
        count, start, stop = len(images), 0, len(images)
        if subset is not None:
            cut = int(count * self._split(subset))
            start, stop = (0, cut) if subset == "validation" else (cut, count)
            if y is not None and not ignore_class_split and np.ndim(y) == 1:
                held_out, others = np.unique(np.asarray(y)[:cut]), np.unique(np.asarray(y)[cut:])
                if not np.array_equal(held_out, others):
                    raise ValueError(
                        "the first validation_split of the rows and the rest do not hold the same classes: shuffle x "
                        "and y before, or write ignore_class_split=True"
                    )
        part = [each(lambda a: np.asarray(a)[start:stop], value) for value in (x, y, sample_weight)]
        return self._flow(Dataset(*part), batch_size, shuffle, seed, Album(save_to_dir, save_prefix, save_format))

    def flow_from_directory(
        self,
        directory: str | os.PathLike[str],
        target_size: tuple[int, int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | os.PathLike[str] | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> Flow:
        """Batches of the images in a folder, a class for each sub-folder.

        class_mode: "categorical" gives one-hot rows, "binary" and "sparse" numbers of classes, "input" the images
                    themselves, None no labels
        subset:     "training" or "validation", the first `validation_split` of each class
        """
        if class_mode not in CLASS_MODES:
            raise unknown("class_mode", class_mode, [str(mode) for mode in CLASS_MODES])
        share = None if subset is None else self._split(subset)
        root, names = Path(directory), class_folders(directory, classes)
        paths: list[Path] = []
        numbers: list[int] = []
        for k, name in enumerate(names):
            files = images_in(root / name, follow_links)
            if share is not None:
                cut = int(share * len(files))
                files = files[:cut] if subset == "validation" else files[cut:]
            paths += files
            numbers += [k] * len(files)
        if not paths:
            raise ValueError(f"{root} holds no images{'' if subset is None else f' for subset={subset!r}'}")
        found = np.array(numbers, np.int32)
        y: np.ndarray | None = None
        if class_mode == "categorical":
            y = np.eye(len(names), dtype=np.float32)[found]
        elif class_mode in ("binary", "sparse"):
            if class_mode == "binary" and len(names) != 2:
                raise ValueError(f"class_mode='binary' needs two classes; {root} has {len(names)}")
            y = found.astype(np.float32) if class_mode == "binary" else found
        rows = FolderRows(paths, y, target_size, color_mode, interpolation, keep_aspect_ratio)
        album = Album(save_to_dir, save_prefix, save_format)
        flow = self._flow(Dataset.from_rows(rows), batch_size, shuffle, seed, album, class_mode == "input")
        flow.classes, flow.class_indices = found, {name: k for k, name in enumerate(names)}
        flow.filepaths, flow.filenames = [str(p) for p in paths], [str(p.relative_to(root)) for p in paths]
        return flow

    def _flow(
        self, dataset: Dataset, batch_size: int, shuffle: bool, seed: int | None, album: Album, to_itself: bool = False
    ) -> Flow:
        def change(x: Any, y: Any = None, *, rng: np.random.Generator) -> Any:
            images, *others = x if isinstance(x, tuple) else (x,)
            result = self.standardize(self._change(images, rng))
            album.save(result)
            x = (result, *others) if others else result
            return (x, result) if to_itself else x if y is None else (x, y)

        samples = len(dataset)
        seed = checked_seed(seed)
        if shuffle:
            dataset = dataset.shuffle(seed)
        dataset = dataset.batch(whole("batch_size", batch_size, 1)).map(change, seed=seed)
        return Flow(dataset, samples, batch_size)

    def _split(self, subset: str) -> float:
        if subset not in SUBSETS:
            raise unknown("subset", subset, SUBSETS)
        if not self.validation_split:
            raise ValueError(f"subset={subset!r} needs ImageDataGenerator(validation_split=...)")
        return self.validation_split

    # -- one image, or a batch -----------------------------------------------------------------------------------------

    def get_random_transform(self, img_shape: tuple[int, ...], seed: int | None = None) -> dict[str, Any]:
        """What may happen to an image (height, width, channels), drawn: angles in degrees, shifts in pixels.

        theta, tx (to the left), ty (up), shear, zx, zy, flip_horizontal, flip_vertical, channel_shift_intensity and
        brightness (None where not wanted)
        """
        rng = host_generator() if seed is None else generator_at(checked_seed(seed), "transform", 0, 0)
        draws = self.augmentation.draw(1, img_shape[0], img_shape[1], rng)
        chosen = {name: draws[name][0].item() if name in draws else 0.0 for name in PARAMETERS}
        chosen |= {name: draws[name][0].item() if name in draws else 1.0 for name in ("zx", "zy")}
        chosen |= {name: bool(chosen[name]) for name in ("flip_horizontal", "flip_vertical")}
        chosen["channel_shift_intensity"] = draws["channel_shift"][0].item() if "channel_shift" in draws else None
        chosen["brightness"] = draws["brightness"][0].item() if "brightness" in draws else None
        return chosen

    def apply_transform(self, x: ArrayLike, transform_parameters: dict[str, Any]) -> np.ndarray:
        """An image (height, width, channels) changed as `get_random_transform` says."""
        given = {name: value for name, value in transform_parameters.items() if value is not None}
        draws: Draws = {name: np.array([given[name]]) for name in PARAMETERS if name in given}
        if "channel_shift_intensity" in given:
            draws["channel_shift"] = np.array([given["channel_shift_intensity"]])
        if "brightness" in given:
            draws["brightness"] = np.array([given["brightness"]])
        return np.asarray(self.augmentation.apply(np.asarray(x)[None], draws)[0])

    def random_transform(self, x: ArrayLike, seed: int | None = None) -> np.ndarray:
        """An image changed at random."""
        return self.apply_transform(x, self.get_random_transform(np.shape(x), seed))

    def standardize(self, x: ArrayLike) -> np.ndarray:
        """An image, or each of a batch: preprocessing_function, rescale, then centred and scaled as was asked for.

        RuntimeError where that needs `fit`. The result is a new array.
        """
        batch = image_batch(x if np.ndim(x) == 4 else np.asarray(x)[None])
        result = batch.astype(np.float32)
        if self.preprocessing_function is not None:
            result = np.stack([np.asarray(self.preprocessing_function(image), np.float32) for image in result])
        if self.rescale:
            result *= np.float32(self.rescale)
        axes = tuple(range(1, result.ndim))
        if self.samplewise_center:
            result -= result.mean(axes, keepdims=True)
        if self.samplewise_std_normalization:
            result /= result.std(axes, keepdims=True) + np.float32(1e-6)
        if self.featurewise_center:
            result = self._featurewise(result)
        return result if np.ndim(x) == 4 else np.asarray(result[0])

    def _featurewise(self, x: np.ndarray) -> np.ndarray:
        if self.mean is None:
            raise RuntimeError(f"{FEATUREWISE} need the data's own numbers: call generator.fit(x_train) first")
        x = x - self.mean
        if self.featurewise_std_normalization and self.std is not None:
            x /= self.std + np.float32(1e-6)
        if self.zca_whitening and self.zca_whitening_matrix is not None:
            x = (x.reshape(len(x), -1) @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    def fit(self, x: ArrayLike, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Mean and deviation of each channel, and the whitening matrix, as far as they are wanted.

        augment: of images that were changed at random, `rounds` times each
        """
        images = np.asarray(x)
        if images.ndim != 4 or not len(images):
            raise ValueError(f"fit expects images (N, height, width, channels); got shape {images.shape}")
        seed = checked_seed(seed)
        moments = Moments(self.zca_whitening)
        blocks = range(0, len(images), 1024)
        for number, start in itertools.product(range(whole("rounds", rounds, 1) if augment else 1), blocks):
            part = image_batch(images[start : start + 1024])
            if augment:
                part = self._change(part, generator_at(seed, "fit", number, start))
            moments.add(part.astype(np.float32) * np.float32(self.rescale or 1))
        if self.featurewise_center:
            self.mean = moments.mean()
        if self.featurewise_std_normalization:
            self.std = moments.deviation()
        if self.zca_whitening:
            self.zca_whitening_matrix = whitening(moments, self.zca_epsilon)

    def _change(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        N, H, W, _ = images.shape
        return self.augmentation.apply(images, self.augmentation.draw(N, H, W, rng))


class Album:
    """Where changed images are written to, for somebody to look at them."""

    def __init__(self, folder: str | os.PathLike[str] | None, prefix: str, ending: str):
        self.folder, self.prefix, self.ending = folder, prefix, ending
        self.numbers = itertools.count()
        if folder is not None:
            require_pillow()

    def save(self, images: np.ndarray) -> None:
        """Write them, each with its own smallest value as black and its largest as white."""
        if self.folder is None:
            return
        from PIL import Image

        for image in images:
            low, high = image.min(), image.max()
            bytes_ = np.rint((image - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
            name = f"{self.prefix}_{next(self.numbers)}.{self.ending}"
            Image.fromarray(bytes_[:, :, 0] if bytes_.shape[2] == 1 else bytes_).save(Path(self.folder) / name)
