"""VGG: nothing but 3x3 convolutions and 2x2 pools, deep.

Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks for large-scale image recognition", 2014.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinynn import layers as L
from tinynn.applications.weights import none_given
from tinynn.models import Sequential


def VGG16(
    input_shape: Sequence[int] = (224, 224, 3),
    classes: int = 1000,
    weights: str | None = None,
    *,
    name: str = "vgg16",
    backend: str | None = None,
) -> Sequential:
    """13 convolutions in five blocks, a pool behind each, three dense layers: 138,357,544 parameters.

    Layers have Keras's names: ``block1_conv1``, ..., ``block5_pool``, ``fc1``, ``fc2``, ``predictions``.
    """
    none_given(weights, "VGG16")
    return vgg((2, 2, 3, 3, 3), input_shape, classes, name, backend)


def VGG19(
    input_shape: Sequence[int] = (224, 224, 3),
    classes: int = 1000,
    weights: str | None = None,
    *,
    name: str = "vgg19",
    backend: str | None = None,
) -> Sequential:
    """The same with 16 convolutions: 143,667,240 parameters."""
    none_given(weights, "VGG19")
    return vgg((2, 2, 4, 4, 4), input_shape, classes, name, backend)


def vgg(
    convolutions: Sequence[int], input_shape: Sequence[int], classes: int, name: str, backend: str | None
) -> Sequential:
    """A block for each number of convolutions; filters double from 64 to 512."""
    model = Sequential([L.Input(tuple(input_shape))], name=name, backend=backend)
    for block, count in enumerate(convolutions, 1):
        filters = min(64 * 2 ** (block - 1), 512)
        for i in range(1, count + 1):
            model.add(L.Conv2D(filters, 3, padding="same", activation="relu", name=f"block{block}_conv{i}"))
        model.add(L.MaxPooling2D(2, name=f"block{block}_pool"))
    model.add(L.Flatten(name="flatten"))
    model.add(L.Dense(4096, activation="relu", name="fc1"))
    model.add(L.Dense(4096, activation="relu", name="fc2"))
    model.add(L.Dense(classes, activation="softmax", name="predictions"))
    return model
