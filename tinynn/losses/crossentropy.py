"""Cross-entropies: of class numbers, of rows of probabilities, of independent yes/no outputs.

Each takes logits where it can: when the node that made the predictions is a Softmax (or Sigmoid), its input is used, so
that nothing overflows and log(0) cannot happen. Probabilities that come from elsewhere are clipped, as in Keras.
"""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np

from tinynn.config import fraction
from tinynn.errors import frames_inside
from tinynn.function import Function
from tinynn.losses import door
from tinynn.losses.base import MEAN, Loss
from tinynn.losses.entropies import (
    INT32,
    BinaryOfProbabilities,
    CategoricalOfProbabilities,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SparseSoftmaxCrossEntropy,
)
from tinynn.losses.means import WeightedMean, means
from tinynn.ops.activations import Sigmoid, Softmax
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

# -- finding the logits ------------------------------------------------------------------------------------------------


def logits_below(y_pred: Tensor, kind: type[Function]) -> Tensor | None:
    """The input of the Softmax or Sigmoid that made y_pred; None where something else did."""
    function = y_pred.function
    if type(function) is not kind:
        return None
    axis = getattr(function, "axis", -1)
    if axis not in (-1, y_pred.ndim - 1):
        return None
    return function.inputs[0]


def mean_of(values: Tensor, keep: int) -> Tensor:
    """The values, or with keep=0 their mean."""
    return values if keep else values.graph.apply(WeightedMean(), values)


def one_hot(labels: Array, classes: int, like: Array) -> Array:
    """Rows of 0 and 1 in the dtype and on the device of ``like``; a negative label makes a row of zeros."""
    numbers = np.cumsum(np.ones_like(labels, shape=(classes,))) - 1
    return (labels[..., None] == numbers).astype(like.dtype)


class CrossEntropy(Loss):
    """What the three share.

    from_logits:     whether the predictions are logits; logits are found by themselves behind a Softmax or Sigmoid node
    label_smoothing: the share of each target that is spread evenly, in [0, 1)
    axis:            the classes are on the last axis, -1
    """

    below: type[Function] = Softmax
    probabilities: ClassVar[frozenset[str]] = frozenset(
        {"softmax", "sigmoid", "hard_sigmoid", "exponential", "softplus"}
    )
    """Activations whose outputs can stand for probabilities once they are divided by their sum."""

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = MEAN,
        name: str | None = None,
    ):
        super().__init__(reduction, name)
        self.from_logits = bool(from_logits)
        self.label_smoothing = fraction(label_smoothing, "label_smoothing", type(self).__name__)
        if axis != -1:
            raise ValueError(f"{self.name} expects the classes on the last axis, axis=-1, got {axis!r}: Permute before")
        self.axis = axis
        self._warned = False

    def check_output(self, activation: str | None, output_shape: Shape, layer_name: str) -> None:
        """Warns where logits would be taken for probabilities: they are clipped, and training goes badly in silence."""
        super().check_output(activation, output_shape, layer_name)
        if activation is None or self.from_logits or activation in self.probabilities:
            return
        warnings.warn(
            f"{self.name} expects probabilities, and layer '{layer_name}' ends with activation '{activation}': write "
            f"activation='{self.below.__name__.lower()}' there, or compile with the loss "
            f"{type(self).__name__}(from_logits=True)",
            stacklevel=frames_inside(),
        )

    def logits(self, y_pred: Tensor) -> Tensor | None:
        """The logits that y_pred is or was made from, None for probabilities from elsewhere."""
        found = logits_below(y_pred, self.below)
        if found is None:
            return y_pred if self.from_logits else None
        if self.from_logits and not self._warned:
            self._warned = True
            kind = self.below.__name__.lower()
            warnings.warn(
                f"{self.name}(from_logits=True) got the output of a {kind}, which would be applied twice; its input "
                f"is used as the logits. Leave out from_logits=True, or the {kind}",
                stacklevel=frames_inside(),
            )
        return found


class CategoricalCrossentropy(CrossEntropy):
    """-sum_c y_true log softmax(logits); y_true holds rows of probabilities, such as one-hot rows (N, C).

    Label smoothing s: y_true (1 - s) + s / C.
    """

    default_name = "categorical_crossentropy"
    elementwise = True

    def fit(self, y: Array, output_shape: Shape, what: str) -> Array:
        door.several_classes(output_shape, self.name)
        return super().fit(y, output_shape, what)

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        door.within_unit(y, self.name, what, ": for class numbers use sparse_categorical_crossentropy")
        return door.as_floats(y)

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        graph = y_pred.graph
        if target.shape != y_pred.data.shape:
            target = self.fit(target, y_pred.shape[1:], "y_true")
        target = graph.backend.asarray(target, graph.dtype)
        if self.label_smoothing:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / target.shape[-1]
        logits = self.logits(y_pred)
        if logits is None:
            return mean_of(graph.apply(CategoricalOfProbabilities(target), y_pred), keep)
        return graph.apply(SoftmaxCrossEntropy(target, keep), logits)

    def measure(self, t: Array, x: Array) -> Array:
        if self.label_smoothing:
            t = t * (1 - self.label_smoothing) + self.label_smoothing / t.shape[-1]
        return means(CategoricalOfProbabilities(t).value(t, softmax(x) if self.from_logits else x), 1)


class SparseCategoricalCrossentropy(CrossEntropy):
    """-log softmax(logits)[y_true]; y_true holds class numbers 0 .. C - 1, (N,) for outputs (N, C).

    ignore_class:    positions with this label have loss 0, and the divisor is max(positions kept, 1)
    label_smoothing: s spreads s / C over all classes, as for one-hot rows (not in Keras)
    """

    default_name = "sparse_categorical_crossentropy"

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = MEAN,
        axis: int = -1,
        name: str | None = None,
        label_smoothing: float = 0.0,
    ):
        super().__init__(from_logits, label_smoothing, axis, reduction, name)
        if ignore_class is not None and (isinstance(ignore_class, bool) or not hasattr(ignore_class, "__index__")):
            raise TypeError(f"{self.name} expects ignore_class to be a class number, got {ignore_class!r}")
        self.ignore_class = None if ignore_class is None else int(ignore_class)
        self.elementwise = ignore_class is None

    def fit(self, y: Array, output_shape: Shape, what: str) -> Array:
        return door.like_labels(y, output_shape, self.name, what)

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        return door.class_numbers(y, output_shape[-1], self.ignore_class, self.name, what)

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        graph = y_pred.graph
        if target.shape != y_pred.data.shape[:-1]:
            target = self.fit(target, y_pred.shape[1:], "y_true")
        labels = graph.backend.asarray(target, INT32)
        if self.ignore_class is not None:
            labels = np.where(labels == self.ignore_class, labels.dtype.type(-1), labels)
        logits = self.logits(y_pred)
        if logits is not None and not self.label_smoothing:
            return graph.apply(SparseSoftmaxCrossEntropy(labels, keep), logits)
        target = self.smoothed(labels, y_pred.data)
        if logits is not None:
            return graph.apply(SoftmaxCrossEntropy(target, keep), logits)
        return mean_of(graph.apply(CategoricalOfProbabilities(target), y_pred), keep)

    def smoothed(self, labels: Array, like: Array) -> Array:
        """One-hot rows with the smoothing applied; rows of ignored labels stay zero."""
        classes = like.shape[-1]
        target = one_hot(labels, classes, like)
        if self.label_smoothing:
            s = self.label_smoothing
            target = target * (1 - s) + (labels >= 0)[..., None] * like.dtype.type(s / classes)
        return target

    def divisor(self, target: Array, values: Tensor) -> Any:
        if self.ignore_class is None:
            return None
        return np.maximum(np.sum(target != self.ignore_class), 1).astype(values.dtype)

    def measure(self, t: Array, x: Array) -> Array:
        t = np.where(t == self.ignore_class, -1, t) if self.ignore_class is not None else t
        target = self.smoothed(t, x)
        return means(CategoricalOfProbabilities(target).value(target, softmax(x) if self.from_logits else x), 1)


class BinaryCrossentropy(CrossEntropy):
    """-(y log p + (1 - y) log(1 - p)), the mean over a row's outputs, which are independent yes/no questions.

    Label smoothing s: y_true (1 - s) + s / 2.
    """

    default_name = "binary_crossentropy"
    below = Sigmoid
    probabilities = frozenset({"sigmoid", "hard_sigmoid", "softmax"})
    elementwise = True

    def verify(self, y: np.ndarray, output_shape: Shape, what: str) -> np.ndarray:
        beyond = ": for class numbers use sparse_categorical_crossentropy with Dense(classes, activation='softmax')"
        door.within_unit(y, self.name, what, beyond)
        return door.as_floats(y)

    def values(self, target: Array, y_pred: Tensor, keep: int) -> Tensor:
        graph = y_pred.graph
        if target.shape != y_pred.data.shape:
            target = self.fit(target, y_pred.shape[1:], "y_true")
        target = graph.backend.asarray(target, graph.dtype)
        if self.label_smoothing:
            target = target * (1 - self.label_smoothing) + self.label_smoothing / 2
        logits = self.logits(y_pred)
        if logits is None:
            return graph.apply(BinaryOfProbabilities(target, keep), y_pred)
        return graph.apply(SigmoidCrossEntropy(target, keep), logits)

    def measure(self, t: Array, x: Array) -> Array:
        if self.label_smoothing:
            t = t * (1 - self.label_smoothing) + self.label_smoothing / 2
        p = 1 / (1 + np.exp(-x)) if self.from_logits else x
        return means(BinaryOfProbabilities(t).value(t, p), 1)


def softmax(x: Array) -> Array:
    """exp(x - max) / sum exp(x - max) over the last axis, in array language."""
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)
