"""Where in a sequence a step stands: position vectors, learned or of sines, for what sees all steps alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import initializers, ops
from tinynn.config import above, positive_integer
from tinynn.layers.base import Layer, shown
from tinynn.layers.embedding import Embedding
from tinynn.parameter import Parameter
from tinynn.typing import Shape

if TYPE_CHECKING:
    from tinynn.tensor import Tensor


class Positions(Layer):
    """What layers of positions share: (T, F) -> (T, F), to be added to what came in."""

    supports_masking = True

    def build(self, input_shape: Shape) -> Shape:
        if isinstance(input_shape, list) or len(input_shape) != 2 or input_shape[1] is None:
            raise ValueError(
                f"layer '{self.label}' expects sequences, inputs of shape (None, steps, features), got "
                f"{shown(input_shape)}"
            )
        return input_shape


class PositionEmbedding(Positions):
    """y[n, t] = position_embeddings[t]: a learned vector for every place, to be added to x (N, T, F).

    sequence_length: the longest sequence there will be
    initializer:     of the vectors

    Parameter: ``position_embeddings`` (sequence_length, F). Raises ValueError for longer sequences.

    >>> from tinynn import Input, layers as L
    >>> x = Input((10, 16))
    >>> L.add([x, L.PositionEmbedding(sequence_length=32)(x)]).shape
    (10, 16)
    """

    def __init__(
        self,
        sequence_length: int,
        initializer: Any = "glorot_uniform",
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.sequence_length = positive_integer(sequence_length, "sequence_length", f"PositionEmbedding '{self.label}'")
        self.initializer = initializers.get(initializer)

    def build(self, input_shape: Shape) -> Shape:
        super().build(input_shape)
        self.check_length(input_shape)
        self.position_embeddings = Parameter((self.sequence_length, input_shape[1]), self.initializer)
        return input_shape

    def check_length(self, input_shape: Shape) -> None:
        if (input_shape[0] or 0) > self.sequence_length:
            raise ValueError(
                f"layer '{self.label}' has sequence_length={self.sequence_length} and gets {input_shape[0]} steps, "
                f"inputs of shape {shown(input_shape)}: cut them, or build it with a larger sequence_length"
            )

    def shape_for(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2 or input_shape[1] != self.built_for[1]:
            super().shape_for(input_shape)
        self.check_length(input_shape)
        return input_shape

    def forward(self, x: Tensor) -> Tensor:
        return ops.broadcast_to(self.of_steps(x), x.shape)

    def of_steps(self, x: Tensor) -> Tensor:
        """The vectors of the places that x has, (T, F)."""
        self.check_length(x.shape[1:])  # where steps are open
        places = x.graph.parameter(self.position_embeddings)
        return places if x.shape[1] == self.sequence_length else places[: x.shape[1]]


class SinePositionEncoding(Positions):
    """y[n, t, 2i] = sin(t / w^(2i / F)), y[n, t, 2i + 1] = cos(t / w^(2i / F)), to be added to x (N, T, F).

    max_wavelength: w; the waves are from 2 pi to 2 pi w long

    Source: A. Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self,
        max_wavelength: float = 10000,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.max_wavelength = above(max_wavelength, 0, "max_wavelength", f"SinePositionEncoding '{self.label}'")
        self.encoding: Any = None
        """(array type, dtype, F) it was made for, and the vectors of the longest sequence so far, on the backend."""

    def shape_for(self, input_shape: Shape) -> Shape:
        return Positions.build(self, input_shape)

    def forward(self, x: Tensor) -> Tensor:
        _, T, F = x.shape
        key = x.graph.array_type, x.graph.dtype, F
        if self.encoding is None or self.encoding[0] != key or len(self.encoding[1]) < T:
            self.encoding = key, x.graph.backend.asarray(sines(T, F, self.max_wavelength), x.graph.dtype)
        return ops.broadcast_to(x.graph.tensor(self.encoding[1][:T]), x.shape)


def sines(T: int, F: int, longest: float) -> np.ndarray:
    """(T, F): sines in the even, cosines in the odd places."""
    angles = np.arange(T)[:, None] / longest ** (2 * (np.arange(F) // 2) / F)
    return np.where(np.arange(F) % 2 == 0, np.sin(angles), np.cos(angles))


class TokenAndPositionEmbedding(Layer):
    """y[n, t] = token_embedding[ids[n, t]] + position_embedding[t]: where a Transformer begins, (T,) -> (T, F).

    vocabulary_size:        how many words there are
    sequence_length:        the longest sequence there will be
    embedding_dim:          how many numbers stand for a word, and for a place
    embeddings_initializer: of both tables
    mask_zero:              True: id 0 is padding, and the output carries the mask ``ids != 0``

    Parameters: ``token_embedding/embeddings`` (vocabulary_size, embedding_dim) and
    ``position_embedding/position_embeddings`` (sequence_length, embedding_dim). Raises IndexError for ids that the
    table does not have, ValueError for longer sequences.
    """

    supports_masking = True
    input_dtype = "int32"

    def __init__(
        self,
        vocabulary_size: int,
        sequence_length: int,
        embedding_dim: int,
        embeddings_initializer: Any = "uniform",
        mask_zero: bool = False,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        owner = f"TokenAndPositionEmbedding '{self.label}'"
        self.vocabulary_size = positive_integer(vocabulary_size, "vocabulary_size", owner)
        self.sequence_length = positive_integer(sequence_length, "sequence_length", owner)
        self.embedding_dim = positive_integer(embedding_dim, "embedding_dim", owner)
        self.embeddings_initializer = initializers.get(embeddings_initializer)
        self.mask_zero = bool(mask_zero)
        self.token_embedding = Embedding(
            self.vocabulary_size,
            self.embedding_dim,
            self.embeddings_initializer,
            mask_zero=self.mask_zero,
            name="token_embedding",
        )
        self.position_embedding = PositionEmbedding(
            self.sequence_length, self.embeddings_initializer, name="position_embedding"
        )

    def build(self, input_shape: Shape) -> Shape:
        if isinstance(input_shape, list) or len(input_shape) != 1:
            raise ValueError(
                f"layer '{self.label}' expects sequences of ids, inputs of shape (None, steps), got "
                f"{shown(input_shape)}"
            )
        return self.position_embedding.ensure_built(  # type: ignore[no-any-return]
            self.token_embedding.ensure_built(input_shape)
        )

    def shape_for(self, input_shape: Shape) -> Shape:
        return self.build(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        words: Tensor = self.token_embedding(x)
        y = words + self.position_embedding.of_steps(words)
        y.mask = words.mask
        return y
