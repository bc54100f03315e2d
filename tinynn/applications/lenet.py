"""LeNet-5, which read the digits on cheques.

Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition", 1998.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinynn import layers as L
from tinynn.applications.weights import none_given
from tinynn.models import Sequential


def LeNet5(
    input_shape: Sequence[int] = (32, 32, 1),
    classes: int = 10,
    weights: str | None = None,
    *,
    name: str = "lenet5",
    backend: str | None = None,
) -> Sequential:
    """Two stages of 5x5 convolution and 2x2 average pooling, three dense layers: 61,706 parameters.

    As it is taught: every map of the second convolution sees all six of the first, pools have no weights of their own,
    and a softmax stands for the radial basis functions at the end. MNIST's images get a border of two pixels before
    it: ``np.pad(x, ((0, 0), (2, 2), (2, 2)))[..., None]``.
    """
    none_given(weights, "LeNet5")
    return Sequential(
        [
            L.Conv2D(6, 5, activation="tanh", input_shape=input_shape, name="c1"),
            L.AveragePooling2D(2, name="s2"),
            L.Conv2D(16, 5, activation="tanh", name="c3"),
            L.AveragePooling2D(2, name="s4"),
            L.Flatten(),
            L.Dense(120, activation="tanh", name="c5"),
            L.Dense(84, activation="tanh", name="f6"),
            L.Dense(classes, activation="softmax", name="output"),
        ],
        name=name,
        backend=backend,
    )
