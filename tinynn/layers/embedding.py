"""Embedding: y = W[ids], a learned vector for every word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import constraints, initializers, regularizers
from tinynn.backends.base import numbers
from tinynn.config import config_of, positive_integer
from tinynn.function import Function
from tinynn.layers.base import Layer, shown
from tinynn.parameter import Parameter
from tinynn.typing import Array, ArrayLike, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.tensor import Tensor


class Lookup(Function):
    """y = W[ids];  dW[v] = the sum of dy over all places where ids is v.

    ids (...) of integers in range, a constant; W (V, D) -> y (..., D). The gradient is written where the optimizer
    reads it, and nothing else of the table's size is made.
    """

    def __init__(self, ids: Array):
        self.ids = ids

    def forward(self, graph: Graph, W: Array) -> Array:
        ids = self.ids.reshape(-1)
        y = graph.empty(ids.shape[0], W.shape[1])
        graph.backend.embedding.forward(y, W, ids)
        self.saved = ids
        return y.reshape(*self.ids.shape, W.shape[1])

    def backward(self, graph: Graph, dy: Array) -> Any:
        gradients = graph.gradients(self)
        if gradients[0] is not None:
            graph.backend.embedding.backward(gradients[0], dy.reshape(-1, dy.shape[-1]), self.saved)
        return gradients


class Embedding(Layer):
    """y = embeddings[ids]: whole numbers from 0 to input_dim - 1 become vectors, (...) -> (..., output_dim).

    input_dim:              how many words there are, the one for padding included
    output_dim:             how many numbers stand for a word
    embeddings_initializer, embeddings_regularizer, embeddings_constraint, activity_regularizer: names or objects
    mask_zero:              True: id 0 is padding, and the output carries the mask ``ids != 0``
    weights:                a table (input_dim, output_dim) to start with, or a list of one: pretrained vectors, which
                            ``trainable=False`` keeps as they are. They are weights and do not belong to ``config()``
    input_length, batch_input_shape: old Keras's forms of ``input_shape=(input_length,)``

    Parameter: ``embeddings`` (input_dim, output_dim). Ids may be floats that are whole numbers. Raises IndexError for
    ids that the table does not have, in ``fit`` before the first step.

    >>> from tinynn import layers as L
    >>> L.Embedding(10_000, 64, mask_zero=True).ensure_built((200,))
    (200, 64)
    """

    supports_masking = True
    input_dtype = "int32"

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: ArrayLike | list[ArrayLike] | None = None,
        *,
        activity_regularizer: Any = None,
        input_length: int | None = None,
        batch_input_shape: Sequence[int | None] | None = None,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        if input_shape is None and batch_input_shape is not None:
            input_shape = tuple(batch_input_shape)[1:]  # type: ignore[assignment]
        if input_length is not None and input_shape is None:
            input_shape = (input_length,)
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"Embedding '{self.label}'"
        self.input_dim = positive_integer(input_dim, "input_dim", owner)
        self.output_dim = positive_integer(output_dim, "output_dim", owner)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.mask_zero = bool(mask_zero)
        self.input_length = self.batch_input_shape = None
        """Kept as ``input_shape``."""
        self.pretrained = None if weights is None else checked_table(weights, self)

    def build(self, input_shape: Shape) -> Shape:
        output_shape = self.shape_for(input_shape)
        self.embeddings = Parameter(
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )
        if self.pretrained is not None:
            self.embeddings.assign(self.pretrained)
            self.pretrained = None  # the table is large, and the parameter has it
        return output_shape

    def shape_for(self, input_shape: Shape) -> Shape:
        if isinstance(input_shape, list):
            raise ValueError(
                f"layer '{self.label}' expects one input of ids, got a list of {len(input_shape)}, "
                f"{shown(input_shape)}: call it on each"
            )
        return (*input_shape, self.output_dim)

    def forward(self, x: Tensor) -> Tensor:
        graph = x.graph
        ids = self.ids(x.data)
        y = Lookup(ids)(graph.parameter(self.embeddings))
        if self.mask_zero:
            y.mask = ids != 0
        if self.activity_regularizer is not None:
            graph.losses.append(self.activity_regularizer(y) / x.shape[0])
        return y

    def ids(self, x: Array) -> Array:
        """The input as integers, checked where they are on the host: a device would have to be waited for."""
        if isinstance(x, np.ndarray):
            check_ids(x, self)
        return x if x.dtype.kind == "i" else x.astype(np.int32)

    def config(self) -> dict[str, Any]:
        return {**config_of(self), "weights": None}


def checked_table(weights: Any, layer: Embedding) -> np.ndarray:
    """Pretrained vectors as an array; ValueError unless there is one for every id."""
    if isinstance(weights, (list, tuple)) and len(weights) == 1 and np.ndim(weights[0]) == 2:
        weights = weights[0]
    table = np.asarray(weights)
    shape = (layer.input_dim, layer.output_dim)
    if table.shape != shape:
        raise ValueError(
            f"Embedding '{layer.label}' expects weights of shape (input_dim, output_dim) = {shape}, got {table.shape}"
        )
    return numbers(table, np.float32)


def check_ids(ids: np.ndarray, layer: Embedding, what: str = "ids") -> None:
    """IndexError for ids that the table does not have, ValueError for numbers that are no ids."""
    if ids.size == 0:
        return
    low, high = ids.min(), ids.max()
    if ids.dtype.kind == "f" and not (np.isfinite(low) and np.isfinite(high) and (ids == np.floor(ids)).all()):
        wrong = ids[~(np.isfinite(ids) & (ids == np.floor(ids)))][0]
        raise ValueError(
            f"layer '{layer.label}' expects {what} to be whole numbers from 0 to {layer.input_dim - 1}, got {wrong}: "
            "words become numbers through a vocabulary first"
        )
    if low < 0 or high >= layer.input_dim:
        wrong = int(low if low < 0 else high)
        hint = (
            "ids begin with 0"
            if low < 0
            else f"build it with input_dim={wrong + 1} or more, or give unknown words an id of their own"
        )
        raise IndexError(
            f"layer '{layer.label}' has input_dim={layer.input_dim} and expects {what} from 0 to "
            f"{layer.input_dim - 1}, got {wrong}: {hint}"
        )
