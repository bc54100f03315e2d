"""AlexNet, which won the ImageNet challenge of 2012.

Source: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural networks", 2012.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinynn import layers as L
from tinynn.applications.weights import none_given
from tinynn.models import Sequential


def AlexNet(
    input_shape: Sequence[int] = (227, 227, 3),
    classes: int = 1000,
    weights: str | None = None,
    groups: int = 1,
    *,
    name: str = "alexnet",
    backend: str | None = None,
) -> Sequential:
    """Five convolutions, three of them with a 3x3 pool of stride 2 behind, and three dense layers.

    groups: 2 for the halves that lay on two graphics cards, in the second, fourth and fifth convolution: 60,965,224
            parameters; 1 for none: 62,378,344

    The local response normalization, which has no parameters, is left out: later networks did not miss it.
    """
    none_given(weights, "AlexNet")
    return Sequential(
        [
            L.Conv2D(96, 11, strides=4, activation="relu", input_shape=input_shape, name="conv1"),
            L.MaxPooling2D(3, strides=2, name="pool1"),
            L.Conv2D(256, 5, padding=2, groups=groups, activation="relu", name="conv2"),
            L.MaxPooling2D(3, strides=2, name="pool2"),
            L.Conv2D(384, 3, padding=1, activation="relu", name="conv3"),
            L.Conv2D(384, 3, padding=1, groups=groups, activation="relu", name="conv4"),
            L.Conv2D(256, 3, padding=1, groups=groups, activation="relu", name="conv5"),
            L.MaxPooling2D(3, strides=2, name="pool5"),
            L.Flatten(),
            L.Dense(4096, activation="relu", name="fc6"),
            L.Dropout(0.5),
            L.Dense(4096, activation="relu", name="fc7"),
            L.Dropout(0.5),
            L.Dense(classes, activation="softmax", name="fc8"),
        ],
        name=name,
        backend=backend,
    )
