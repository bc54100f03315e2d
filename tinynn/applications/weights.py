"""Weights under PyTorch's names and in PyTorch's layout, from an .npz file into a model of ours."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tinynn import layers as L
from tinynn.layers.base import Layer
from tinynn.models import Model
from tinynn.parameter import Variable

HEADER = 10_000
"""Bytes an array may have in its file beside its values."""


def load(model: Model, path: Path) -> None:
    """Give a model the weights in an .npz file; nothing changes unless all are there and fit.

    The layer ``layer1_0_conv1`` finds its kernel as ``layer1.0.conv1.weight``, and so on.
    Raises ValueError, naming the file, where it is damaged, lacks an array or holds others; OSError where it cannot be
    read.
    """
    wanted = {key: (variable, order) for layer in model.layers for key, variable, order in entries(layer)}
    shapes = {key: tuple(v.shape[order.index(k)] for k in range(len(order))) for key, (v, order) in wanted.items()}
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; expected weights as an .npz file")
    arrays = read(path, shapes)
    for key, (variable, order) in wanted.items():
        variable.assign(arrays[key].transpose(order))


def none_given(weights: object, owner: str) -> None:
    """ValueError for weights that nobody has trained here."""
    if weights is not None:
        raise ValueError(f"{owner} comes without pretrained weights: leave out weights={weights!r}, and train it")


def entries(layer: Layer) -> list[tuple[str, Variable, tuple[int, ...]]]:
    """For every weight of a layer: its name there, the variable here, and how its axes are to be put in order.

    Convolutions have no bias here.
    """
    name = (layer.name or "").replace("_", ".")
    pairs: list[tuple[str, Any, tuple[int, ...]]] = []
    if isinstance(layer, L.Conv2D):
        pairs = [("weight", layer.kernel, (2, 3, 1, 0))]  # (O, C, KH, KW) -> (KH, KW, C, O)
    elif isinstance(layer, L.Dense):
        pairs = [("weight", layer.kernel, (1, 0)), ("bias", layer.bias, (0,))]
    elif isinstance(layer, L.BatchNormalization):
        pairs = [("weight", layer.gamma, (0,)), ("bias", layer.beta, (0,))]
        pairs += [("running_mean", layer.moving_mean, (0,)), ("running_var", layer.moving_variance, (0,))]
    return [(f"{name}.{kind}", variable, order) for kind, variable, order in pairs]


def read(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The arrays of these names and shapes; a file that holds more, less or others is refused before it is unpacked."""
    try:
        with zipfile.ZipFile(path) as archive:
            held = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            for name in [*shapes, *held]:
                if name not in held or name not in shapes:
                    verb = "has no" if name in shapes else "holds an unknown"
                    raise ValueError(f"it {verb} array '{name[:100]}'")
            return {name: read_array(archive, held[name], shape) for name, shape in shapes.items()}
    except (ValueError, EOFError, MemoryError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as e:
        raise ValueError(f"{path} does not hold the weights of this model: {e or type(e).__name__}") from e


def read_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shape: tuple[int, ...]) -> np.ndarray:
    """One array of finite numbers, of the expected shape."""
    if info.file_size > 8 * math.prod(shape) + HEADER:
        raise ValueError(f"{info.filename} has {info.file_size} bytes, too many for the shape {shape}")
    with archive.open(info) as file:
        array = np.lib.format.read_array(file, allow_pickle=False)
        file.read()  # to its end, where zip compares its checksum
    if array.shape != shape:
        raise ValueError(f"{info.filename} has shape {array.shape}; expected {shape}")
    if array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(f"{info.filename} holds other values than finite floating-point numbers")
    return array
