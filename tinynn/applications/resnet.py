"""Residual networks: every block adds something to its input instead of replacing it, so that depth does no harm.

Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep residual learning for image recognition", 2015: section 4.2 for CIFAR-10,
table 1 for ImageNet.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tinynn import layers as L
from tinynn.applications.weights import load, none_given
from tinynn.layers.base import Symbol
from tinynn.models import Model

PRETRAINED = {"cifar10": Path(__file__).parent / "resnet20_cifar10.npz"}

MEAN = (0.485, 0.456, 0.406)
STDDEV = (0.229, 0.224, 0.225)
"""Of red, green and blue in 0 .. 1: what the pretrained weights were trained with (they are ImageNet's)."""


def ResNet20(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    weights: str | os.PathLike[str] | None = None,
    *,
    name: str = "resnet20",
    backend: str | None = None,
) -> Model:
    """The 20-layer network for CIFAR-10: 269,722 parameters and 1,376 running statistics.

    weights: "cifar10" for the pretrained ones, which classify 9,173 of the 10,000 test images correctly; a path of an
             .npz file with arrays of the same names; None for new ones

    It takes pixels 0 .. 255 as ``datasets.cifar10.load_data`` gives them: the normalization of its input is its first
    layer. Three stages of three blocks with 16, 32 and 64 filters; where a stage halves the image, the shortcut takes
    every second pixel and pads the channels with zeros (option A of the paper, no parameters). Convolutions have no
    bias, batch normalization has momentum 0.9 and epsilon 1e-5.

    Raises ValueError for weights that are unknown, damaged or of other shapes; OSError where the file cannot be read.
    """
    inputs = L.Input(tuple(input_shape))
    x = pixels(inputs)
    x = norm(conv(x, 16, 1, "conv1"), "bn1", "relu")
    for stage, filters in enumerate((16, 32, 64), 1):
        for block in range(3):
            x = basic_block(x, filters, 2 if stage > 1 and block == 0 else 1, f"layer{stage}_{block}")
    x = L.GlobalAveragePooling2D(name="pool")(x)
    outputs = L.Dense(classes, activation="softmax", kernel_initializer="he_normal", name="linear")(x)
    model = Model(inputs, outputs, name=name, backend=backend)
    if weights is not None:
        load(model, weights_file(weights, inputs.shape[-1], classes))
    return model


def weights_file(weights: str | os.PathLike[str], channels: int, classes: int) -> Path:
    """The file of pretrained weights, or the one that a path names."""
    if weights not in PRETRAINED:
        path = Path(weights)
        if not path.exists():
            raise FileNotFoundError(
                f"ResNet20(weights={weights!r}): there is no such file; 'cifar10' comes with tinynn"
            )
        return path
    if (channels, classes) != (3, 10):
        raise ValueError(
            f"ResNet20(weights={weights!r}) knows images of 3 channels and 10 classes, got {channels} channels and "
            f"classes={classes}: leave out weights, or these"
        )
    return PRETRAINED[str(weights)]


def pixels(x: Symbol) -> Symbol:
    """Pixels 0 .. 255 with mean 0 and variance 1; images that are not of three colours have the colours' average."""
    colours = x.shape[-1] == 3
    mean = [255 * m for m in (MEAN if colours else [sum(MEAN) / 3])]
    variance = [(255 * s) ** 2 for s in (STDDEV if colours else [sum(STDDEV) / 3])]
    scaled: Symbol = L.Normalization(mean=mean, variance=variance, name="pixels")(x)
    return scaled


def conv(x: Symbol, filters: int, strides: int, name: str) -> Symbol:
    """3x3 with one pixel of padding all around: 'same' would begin a strided convolution one pixel later."""
    y: Symbol = L.Conv2D(
        filters, 3, strides, padding=1, use_bias=False, kernel_initializer="he_normal", name=name
    )(x)  # fmt: skip
    return y


def norm(x: Symbol, name: str, activation: str | None = None) -> Symbol:
    y: Symbol = L.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)
    return y if activation is None else L.Activation(activation, name=f"{name}_{activation}")(y)


def basic_block(x: Symbol, filters: int, strides: int, name: str) -> Symbol:
    """relu(shortcut + norm(conv(relu(norm(conv(x))))))"""
    y = norm(conv(x, filters, strides, f"{name}_conv1"), f"{name}_bn1", "relu")
    y = norm(conv(y, filters, 1, f"{name}_conv2"), f"{name}_bn2")
    if x.shape != y.shape:
        x = L.PaddedShortcut(filters, strides, name=f"{name}_shortcut")(x)
    out: Symbol = L.Activation("relu", name=f"{name}_out")(L.Add(name=f"{name}_add")([y, x]))
    return out


# -- for ImageNet ----------------------------------------------------------------------------------------------------


def ResNet50(
    input_shape: Sequence[int] = (224, 224, 3),
    classes: int = 1000,
    weights: str | None = None,
    *,
    name: str = "resnet50",
    backend: str | None = None,
) -> Model:
    """The 50-layer network for ImageNet, built of bottlenecks: 25,636,712 parameters and statistics, as in Keras.

    Layers have Keras's names: ``conv1_conv``, ``conv2_block1_1_conv``, ..., ``conv5_block3_out``, ``predictions``.
    """
    none_given(weights, "ResNet50")
    inputs = L.Input(tuple(input_shape))
    x = L.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = wide_norm(L.Conv2D(64, 7, strides=2, name="conv1_conv")(x), "conv1", "relu")
    x = L.ZeroPadding2D(1, name="pool1_pad")(x)
    x = L.MaxPooling2D(3, strides=2, name="pool1_pool")(x)
    for stage, (filters, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 2):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 2 and block == 1 else 1
            x = bottleneck(x, filters, strides, f"conv{stage}_block{block}", project=block == 1)
    x = L.GlobalAveragePooling2D(name="avg_pool")(x)
    return Model(inputs, L.Dense(classes, activation="softmax", name="predictions")(x), name=name, backend=backend)


def bottleneck(x: Symbol, filters: int, strides: int, name: str, project: bool) -> Symbol:
    """1x1 to fewer channels, 3x3, 1x1 to four times as many; the first of a stage projects its shortcut (option B)."""
    shortcut = x
    if project:
        shortcut = wide_norm(L.Conv2D(4 * filters, 1, strides, name=f"{name}_0_conv")(x), f"{name}_0")
    x = wide_norm(L.Conv2D(filters, 1, strides, name=f"{name}_1_conv")(x), f"{name}_1", "relu")
    x = wide_norm(L.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(x), f"{name}_2", "relu")
    x = wide_norm(L.Conv2D(4 * filters, 1, name=f"{name}_3_conv")(x), f"{name}_3")
    out: Symbol = L.Activation("relu", name=f"{name}_out")(L.Add(name=f"{name}_add")([shortcut, x]))
    return out


def wide_norm(x: Symbol, name: str, activation: str | None = None) -> Symbol:
    """Batch normalization with the epsilon of Keras's ResNet50."""
    y: Symbol = L.BatchNormalization(epsilon=1.001e-5, name=f"{name}_bn")(x)
    return y if activation is None else L.Activation(activation, name=f"{name}_{activation}")(y)
