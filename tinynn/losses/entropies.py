"""The Functions of the cross-entropies, of logits (backend kernels) and of probabilities (clipped as in Keras)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tinynn.function import Function
from tinynn.losses.means import RowMeans, means, spread
from tinynn.losses.regression import EPSILON
from tinynn.typing import Array, ArrayLike

if TYPE_CHECKING:
    from tinynn.graph import Graph

INT32 = np.dtype("int32")


class SoftmaxCrossEntropy(Function):
    """-sum_c target log softmax(x), over the last axis: logits x (..., C), target (..., C) -> (...)

    keep: 0 for the mean over all rows, as one number
    """

    def __init__(self, target: ArrayLike, keep: int = 1):
        self.target = target
        self.keep = keep

    def forward(self, graph: Graph, x: Array) -> Array:
        x = x.reshape(-1, x.shape[-1]) if x.ndim != 2 else x
        target = graph.backend.asarray(self.target, graph.dtype)
        shape = target.shape[:-1]
        target = target.reshape(x.shape)
        rows, p = graph.empty(x.shape[0]), graph.empty(*x.shape)
        graph.backend.softmax.cross_entropy(rows, p, x, target)
        self.saved = p, target, shape
        return rows.reshape(shape) if self.keep else rows.sum() / max(len(rows), 1)

    def backward(self, graph: Graph, drows: Array) -> Array:
        p, target, shape = self.saved
        dx = graph.empty(*p.shape)
        graph.backend.softmax.cross_entropy_backward(dx, row_gradients(graph, drows, self.keep, len(p)), p, target)
        return dx.reshape(*shape, p.shape[-1])


class SparseSoftmaxCrossEntropy(Function):
    """-log softmax(x)[label], over the last axis: logits x (..., C), labels (...) -> (...); 0 where label < 0

    keep: 0 for the mean over all rows, as one number
    """

    def __init__(self, labels: ArrayLike, keep: int = 1):
        self.labels = labels
        self.keep = keep

    def forward(self, graph: Graph, x: Array) -> Array:
        x = x.reshape(-1, x.shape[-1]) if x.ndim != 2 else x
        labels = graph.backend.asarray(self.labels, INT32)
        shape = labels.shape
        labels = labels.reshape(-1)
        rows, p = graph.empty(x.shape[0]), graph.empty(*x.shape)
        graph.backend.softmax.sparse_cross_entropy(rows, p, x, labels)
        self.saved = p, labels, shape
        return rows.reshape(shape) if self.keep else rows.sum() / max(len(rows), 1)

    def backward(self, graph: Graph, drows: Array) -> Array:
        p, labels, shape = self.saved
        dx = graph.empty(*p.shape)
        drows = row_gradients(graph, drows, self.keep, len(p))
        graph.backend.softmax.sparse_cross_entropy_backward(dx, drows, p, labels)
        return dx.reshape(*shape, p.shape[-1])


def row_gradients(graph: Graph, drows: Array, keep: int, n: int) -> Array:
    """The gradient of each of n rows, where the output was rows (keep 1) or their mean (keep 0)."""
    if keep:
        return drows.reshape(-1)
    return np.divide(drows, max(n, 1), out=graph.empty(n))


class SigmoidCrossEntropy(Function):
    """mean of max(x, 0) - x target + log(1 + exp(-|x|)) of logits x, over the axes after the first ``keep``"""

    def __init__(self, target: ArrayLike, keep: int = 1):
        self.target = target
        self.keep = keep

    def forward(self, graph: Graph, x: Array) -> Array:
        shape, flat = x.shape, (x.shape[0], math.prod(x.shape[1:]))
        x = x.reshape(flat)
        target = graph.backend.asarray(self.target, graph.dtype).reshape(flat)
        loss = graph.empty(*flat)
        graph.backend.softmax.binary_cross_entropy(loss, x, target)
        self.saved = x, target, shape
        return means(loss.reshape(shape), self.keep)

    def backward(self, graph: Graph, drows: Array) -> Array:
        x, target, shape = self.saved
        dloss, dx = graph.empty(*shape), graph.empty(*x.shape)
        dloss[...] = spread(drows, shape)
        graph.backend.softmax.binary_cross_entropy_backward(dx, dloss.reshape(x.shape), x, target)
        return dx.reshape(shape)


class CategoricalOfProbabilities(Function):
    """-sum_c target log q, q = p / sum p clipped to [epsilon, 1 - epsilon], over the last axis (Keras)"""

    def __init__(self, target: ArrayLike):
        self.target = target

    def value(self, t: Array, p: Array) -> Array:
        return -np.sum(t * np.log(np.clip(p / np.sum(p, axis=-1, keepdims=True), EPSILON, 1 - EPSILON)), axis=-1)

    def forward(self, graph: Graph, p: Array) -> Array:
        t = graph.backend.asarray(self.target, graph.dtype)
        self.saved = t, p
        return self.value(t, p)

    def backward(self, graph: Graph, drows: Array) -> Array:
        """dq = -t / q where q was not clipped; dp = (dq - sum(dq q)) / sum p"""
        t, p = self.saved
        total = np.sum(p, axis=-1, keepdims=True)
        q = p / total
        dq = -t / np.clip(q, EPSILON, 1 - EPSILON) * ((q >= EPSILON) & (q <= 1 - EPSILON))
        dp = (dq - np.sum(dq * q, axis=-1, keepdims=True)) / total
        dp *= drows[..., None]
        return dp


class BinaryOfProbabilities(RowMeans):
    """-(t log p + (1 - t) log(1 - p)), p clipped to [epsilon, 1 - epsilon] (Keras)"""

    def value(self, t: Array, p: Array) -> Array:
        p = np.clip(p, EPSILON, 1 - EPSILON)
        return -(t * np.log(p) + (1 - t) * np.log(1 - p))

    def slope(self, t: Array, p: Array) -> Array:
        q = np.clip(p, EPSILON, 1 - EPSILON)
        return (q - t) / (q * (1 - q)) * (q == p)
