"""Convolutional networks: the courses' C1 and M2 on MNIST, and on images of CIFAR's size a VGG-like net and ResNet-20.

Ours are channels last; PyTorch gets the same images with the channels second, in either order in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.cases.base import Arrays, Case, load_weights, mnist_rows
from benchmarks.cases.dense import EPSILON, LEARNING_RATE, adam, sgd

VARIANTS = ("eager", "fused", "channels_last")
CIFAR_ROWS = 2560


def mnist_images() -> Arrays:
    x, y = mnist_rows()
    return x.reshape(-1, 28, 28, 1), y


@cache
def noise() -> Arrays:
    """Normal noise as images, and labels by chance: what is in the images costs no time."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((CIFAR_ROWS, 32, 32, 3), np.float32), rng.integers(0, 10, CIFAR_ROWS)


@cache
def pixels() -> Arrays:
    """The same as pixels from 0 to 255."""
    rng = np.random.default_rng(1)
    return rng.integers(0, 256, (CIFAR_ROWS, 32, 32, 3)).astype(np.float32), rng.integers(0, 10, CIFAR_ROWS)


def load(module: Any, weights: Sequence[np.ndarray], flat: tuple[int, int, int] | None = None) -> None:
    """Our weights into a module whose layers come in the same order; running statistics begin as they do here.

    flat: (H, W, C) of the images that a Flatten makes rows of: theirs has the channels first, so the rows of the first
    Linear's weights are put in that order.
    """
    from torch import nn

    kept, rest = [], iter(weights)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            kept += [next(rest) for _ in ("gamma", "beta")]
            _ = [next(rest) for _ in ("moving_mean", "moving_variance")]
        elif isinstance(layer, (nn.Conv2d, nn.Linear)):
            w = next(rest)
            if isinstance(layer, nn.Linear) and flat is not None:
                w, flat = w.reshape(*flat, -1).transpose(2, 0, 1, 3).reshape(w.shape), None
            kept += [w] if layer.bias is None else [w, next(rest)]
    load_weights(module, [*kept, *rest])


# -- C1 and M2 -------------------------------------------------------------------------------------------------------


def our_digits(
    filters: Sequence[int | None], size: int, hidden: Sequence[int], optimizer: Callable[[Any], Any], **options: Any
) -> Any:
    """Conv2D with relu for every number of filters, MaxPooling2D for every None, then dense layers."""
    from tinynn import layers as L
    from tinynn import optim
    from tinynn.models import Sequential

    model = Sequential([L.Input((28, 28, 1))])
    for n in filters:
        model.add(L.MaxPooling2D() if n is None else L.Conv2D(n, size, activation="relu"))
    model.add(L.Flatten())
    for n in hidden:
        model.add(L.Dense(n, activation="relu"))
    model.add(L.Dense(10, activation="softmax"))
    model.compile(optimizer=optimizer(optim), loss="sparse_categorical_crossentropy", **options)
    return model


def their_digits(filters: Sequence[int | None], size: int, hidden: Sequence[int], flat: int) -> Any:
    from torch import nn

    modules: list[Any] = []
    channels = 1
    for n in filters:
        modules += [nn.MaxPool2d(2)] if n is None else [nn.Conv2d(channels, n, size), nn.ReLU()]
        channels = n or channels
    modules.append(nn.Flatten())
    for n in hidden:
        modules += [nn.Linear(flat, n), nn.ReLU()]
        flat = n
    return nn.Sequential(*modules, nn.Linear(flat, 10))


def rmsprop(parameters: Any, **options: Any) -> Any:
    """PyTorch's has no fused form."""
    import torch

    return torch.optim.RMSprop(parameters, lr=LEARNING_RATE, alpha=0.9, eps=EPSILON)


# -- VGG-like --------------------------------------------------------------------------------------------------------

MOMENTUM, BN_EPSILON = 0.9, 1e-5
"""Of batch normalization, PyTorch's defaults (0.1 in its own words): Keras's 0.99 would leave the running statistics,
with which the trained net is judged, far from the data after the few steps of a sample."""


def our_vgg(**options: Any) -> Any:
    """Pairs of 3x3 convolutions with 32, 64 and 128 filters, each followed by batch normalization and relu."""
    from tinynn import layers as L
    from tinynn import optim
    from tinynn.models import Sequential

    model = Sequential([L.Input((32, 32, 3))])
    for n in (32, 64, 128):
        for _ in range(2):
            model.add(L.Conv2D(n, 3, padding="same"))
            model.add(L.BatchNormalization(momentum=MOMENTUM, epsilon=BN_EPSILON))
            model.add(L.Activation("relu"))
        model.add(L.MaxPooling2D())
    for layer in (L.Flatten(), L.Dense(128, activation="relu"), L.Dense(10, activation="softmax")):
        model.add(layer)
    optimizer = optim.Adam(LEARNING_RATE, epsilon=EPSILON)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", **options)
    return model


def their_vgg() -> Any:
    from torch import nn

    modules: list[Any] = []
    channels = 3
    for n in (32, 64, 128):
        for _ in range(2):
            modules += [nn.Conv2d(channels, n, 3, padding=1), nn.BatchNorm2d(n), nn.ReLU()]
            channels = n
        modules.append(nn.MaxPool2d(2))
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(2048, 128), nn.ReLU(), nn.Linear(128, 10))


# -- ResNet-20 -------------------------------------------------------------------------------------------------------


def our_resnet(**options: Any) -> Any:
    """The network of ``tinynn.applications``, the normalization of its pixels included."""
    from tinynn import optim
    from tinynn.applications import ResNet20

    model = ResNet20()
    model.compile(optimizer=optim.SGD(0.01, momentum=0.9), loss="sparse_categorical_crossentropy", **options)
    return model


def their_resnet() -> Any:
    import torch
    from torch import nn
    from torch.nn import functional as F

    from tinynn.applications.resnet import MEAN, STDDEV

    class Block(nn.Module):
        def __init__(self, channels: int, filters: int, stride: int):
            super().__init__()
            self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(filters)
            self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(filters)
            self.stride, self.more = stride, (filters - channels) // 2

        def forward(self, x: Any) -> Any:
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if self.more:  # option A
                x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
            return F.relu(y + x)

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", 255 * torch.tensor(MEAN).reshape(1, 3, 1, 1))
            self.register_buffer("stddev", 255 * torch.tensor(STDDEV).reshape(1, 3, 1, 1))

        def forward(self, x: Any) -> Any:
            return (x - self.mean) / self.stddev

    modules: list[Any] = [Pixels(), nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    channels = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            modules.append(Block(channels, filters, 2 if filters > channels else 1))
            channels = filters
    return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


# -- the table -------------------------------------------------------------------------------------------------------

C1: dict[str, Any] = {"filters": (32, None, 64, None), "size": 5, "hidden": ()}
M2: dict[str, Any] = {"filters": (32, None, 64, None, 64), "size": 3, "hidden": (64,)}


def vgg(batch_size: int) -> Case:
    return Case(
        name=f"vgg{batch_size}",
        title=f"VGG-like 2x32 2x64 2x128 with batch normalization, Dense 128-10, Adam, batch {batch_size}",
        batch_size=batch_size,
        data=noise,
        ours=our_vgg,
        theirs=their_vgg,
        optimizer=adam,
        load=partial(load, flat=(4, 4, 128)),
        variants=VARIANTS,
    )


CASES = (
    Case(
        name="c1",
        title="C1: Conv2D 32 and 64 5x5 relu with pools, Dense 10, SGD, batch 100",
        batch_size=100,
        data=mnist_images,
        ours=partial(our_digits, **C1, optimizer=lambda optim: optim.SGD(0.01)),
        theirs=partial(their_digits, **C1, flat=1024),
        optimizer=sgd(0.0),
        load=partial(load, flat=(4, 4, 64)),
        variants=VARIANTS,
    ),
    Case(
        name="m2",
        title="M2: Conv2D 32, 64 and 64 3x3 relu with pools, Dense 64-10, RMSprop, batch 64",
        batch_size=64,
        data=mnist_images,
        ours=partial(our_digits, **M2, optimizer=lambda optim: optim.RMSprop(LEARNING_RATE, epsilon=EPSILON**2)),
        theirs=partial(their_digits, **M2, flat=576),
        optimizer=rmsprop,
        load=partial(load, flat=(3, 3, 64)),
        variants=("eager", "channels_last"),
    ),
    vgg(64),
    vgg(128),
    Case(
        name="resnet20",
        title="ResNet-20 for CIFAR-10, SGD momentum 0.9, batch 128",
        batch_size=128,
        data=pixels,
        ours=our_resnet,
        theirs=their_resnet,
        optimizer=sgd(0.9),
        load=load,
        variants=VARIANTS,
    ),
)
