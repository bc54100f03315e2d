"""Attention: every step of a query takes a weighted mean of a value's steps, by how well their keys match.

Luong's and Bahdanau's single attentions, and the heads of the Transformer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import constraints, initializers, ops, regularizers
from tinynn.activation import Activation
from tinynn.config import config_of, fraction, positive_integer
from tinynn.errors import unknown
from tinynn.function import Function
from tinynn.layers.base import Layer, Symbol, shown
from tinynn.layers.dropout import Drop, RandomLayer
from tinynn.parameter import Parameter
from tinynn.tensor import Tensor
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.graph import Graph

FAR = -1e9
"""Added to a score that does not count: exp(FAR) is 0."""


class DotProductAttention(Function):
    """p = softmax over S of scale q k', y = (keep p) v, for each of A heads.

    q (N, T, A, D), k (N, S, A, D), v (N, S, A, E) -> y (N, T, A, E), with ``scores`` also p (N, A, T, S). ``mask``
    broadcasts against p: False keeps a query from a key; ``causal``: query t sees keys up to t. A query that sees no
    key gets zeros. ``keep``: factors of p (dropout), or None.

    Source: A. Vaswani et al., "Attention is all you need", 2017.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mask: Array | None = None,
        keep: Array | None = None,
        causal: bool = False,
        scores: bool = False,
    ):
        self.scale, self.mask, self.keep, self.causal, self.scores = scale, mask, keep, causal, scores

    def forward(self, graph: Graph, q: Array, k: Array, v: Array) -> Any:
        (N, T, A, _), (S, E) = q.shape, (v.shape[1], v.shape[3])
        y, p = graph.empty(N, T, A, E), graph.empty(N, A, T, S)
        graph.backend.attention.forward(y, p, q, k, v, self.mask, self.keep, self.scale, self.causal)
        self.saved = q, k, v, p
        return (y, p) if self.scores else y

    def backward(self, graph: Graph, dy: Array | None, dp: Array | None = None) -> Any:
        q, k, v, p = self.saved
        gradients = graph.gradients(self)
        dq, dk, dv = gradients
        known = p.copy() if self.scores else p  # the kernel destroys it
        if dy is None:
            dy = graph.backend.zeros((*q.shape[:3], v.shape[3]), graph.dtype)
        graph.backend.attention.backward(dq, dk, dv, dy, known, q, k, v, self.keep, self.scale, self.causal)
        if dp is not None:  # somebody looked at the scores: ds = scale p (dp - sum dp p)
            ds = p * (dp - (dp * p).sum(axis=-1, keepdims=True)) * p.dtype.type(self.scale)
            if dq is not None:
                dq += graph.backend.matmul(ds, k.swapaxes(1, 2)).swapaxes(1, 2)
            if dk is not None:
                dk += graph.backend.matmul(ds.swapaxes(2, 3), q.swapaxes(1, 2)).swapaxes(1, 2)
        return gradients


class Project(Function):
    """y = x W + b over several axes at once: the last ``axes`` axes of x meet the first of W.

    x (..., I1, ...), W (I1, ..., O1, ...), b (O1, ...) or left out -> y (..., O1, ...)
    """

    def __init__(self, axes: int = 1):
        self.axes = axes

    def forward(self, graph: Graph, x: Array, W: Array, b: Array | None = None) -> Array:
        n = math.prod(W.shape[: self.axes])
        rows, matrix = x.reshape(-1, n), W.reshape(n, -1)
        y = graph.empty(rows.shape[0], matrix.shape[1])
        b = None if b is None else b.reshape(-1)
        graph.backend.dense.forward(y, rows, matrix, b, Activation.LINEAR)
        self.saved = rows, matrix, y
        return y.reshape(*x.shape[: x.ndim - self.axes], *W.shape[self.axes :])

    def backward(self, graph: Graph, dy: Array) -> Any:
        x, W, y = self.saved
        gradients = graph.gradients(self)
        dx, dW, db = gradients if len(gradients) == 3 else (*gradients, None)
        dx, dW = (None if d is None else d.reshape(a.shape) for d, a in ((dx, x), (dW, W)))  # views
        db = None if db is None else db.reshape(-1)
        graph.backend.dense.backward(dx, dW, db, dy.reshape(y.shape), x, W, y, Activation.LINEAR)
        return gradients


# -- what the layers share -------------------------------------------------------------------------------------------


class AttentionLayer(RandomLayer):
    """A layer of a list [query, value] or [query, value, key], whose steps are the query's; key is value by default.

    The masks that came with the tensors count: those of value and key say which steps may be looked at, that of the
    query is the output's too.
    """

    dropout: float

    def compute_mask(self, x: Any) -> Any:
        return x[0].mask

    def carry_mask(self, x: Any, y: Any) -> None:
        first = y[0] if isinstance(y, tuple) else y
        if first.mask is None:
            first.mask = x[0].mask

    def symbols(self, x: Any, options: Any = None, mask: Any = None) -> Any:
        options = dict(options or {})
        if any(isinstance(value, (Symbol, Tensor)) for value in options.values()):
            raise TypeError(
                f"layer '{self.label}': in a functional model masks come with their tensors, from Masking or "
                "Embedding(mask_zero=True); an attention_mask that all rows share may be an array (T, S)"
            )
        if not options.get("return_attention_scores"):
            return super().symbols(x, options, mask)
        self.ensure_built([s.shape for s in x])
        call = Symbol((), self, list(x), takes_list=True, options=options)
        shapes = self.shape_for([s.shape for s in x]), self.scores_shape([s.shape for s in x])
        return [Symbol(shape, inputs=[call], index=i) for i, shape in enumerate(shapes)]

    def scores_shape(self, shapes: list[Shape]) -> Shape:
        """The shape of the scores, without the batch."""
        return shapes[0][0], shapes[1][0]

    def checked_shapes(self, shapes: Any) -> tuple[Shape, Shape, Shape]:
        """The shapes of query, value and key; ValueError unless they are sequences, and value and key of one length."""
        if not isinstance(shapes, list) or len(shapes) not in (2, 3):
            got = f"a list of {len(shapes)}" if isinstance(shapes, list) else f"one of shape {shown(shapes)}"
            raise ValueError(
                f"layer '{self.label}' expects a query and a value, and perhaps a key, got {got}: {self.spelling}"
            )
        query, value, key = shapes if len(shapes) == 3 else (*shapes, shapes[1])
        for what, shape in (("query", query), ("value", value), ("key", key)):
            if len(shape) != 2 or shape[-1] is None:
                raise ValueError(
                    f"layer '{self.label}' expects sequences of a known number of features, (None, steps, features), "
                    f"got a {what} of shape {shown(shape)}"
                )
        if None not in (value[0], key[0]) and value[0] != key[0]:
            raise ValueError(
                f"layer '{self.label}' expects a value and a key of equally many steps, got {shown(value)} and "
                f"{shown(key)}"
            )
        return query, value, key

    spelling = "for self-attention write layer([x, x])"

    def keep(self, graph: Graph, shape: Shape) -> Array | None:
        """Factors of the probabilities: 0 for those that are dropped, in training; None where nothing is."""
        if not graph.training or not self.dropout:
            return None
        ones = graph.backend.full(shape, 1.0, graph.dtype)
        return Drop(self.dropout, self.draw(graph)).forward(graph, ones)


def mask_of(x: Tensor, given: Any, what: str, layer: Layer) -> Array | None:
    """The mask (N, T) of a tensor: the one that was given, else the one that came with it."""
    if given is None:
        return x.mask
    mask = as_bools(given, x)
    if tuple(mask.shape) != x.shape[:2]:
        raise ValueError(
            f"layer '{layer.label}' expects {what}_mask of shape {x.shape[:2]}, as its {what} {x.shape}, got "
            f"{tuple(mask.shape)}"
        )
    return mask


def as_bools(mask: Any, x: Tensor) -> Array:
    """A mask from the user's hand on the backend."""
    return x.graph.backend.asarray(mask.data if isinstance(mask, Tensor) else mask, np.bool_)


def both(a: Array | None, b: Array | None) -> Array | None:
    """a and b, of which either may be missing."""
    return b if a is None else a if b is None else np.logical_and(a, b)


# -- the heads of the Transformer ------------------------------------------------------------------------------------


class Projection(Layer):
    """y = x kernel + bias, where the last ``axes`` axes of x become axes of the sizes ``units``."""

    supports_masking = True

    def __init__(
        self,
        units: Sequence[int],
        axes: int = 1,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        *,
        name: str | None = None,
        trainable: bool = True,
        input_shape: Sequence[int] | int | None = None,
    ):
        super().__init__(name=name, trainable=trainable, input_shape=input_shape)
        self.units, self.axes, self.use_bias = tuple(units), int(axes), bool(use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Shape) -> Shape:
        self.kernel = Parameter(
            (*input_shape[len(input_shape) - self.axes :], *self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        if self.use_bias:
            self.bias = Parameter(
                self.units,
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )
        return self.output_for(input_shape)

    def output_for(self, input_shape: Shape) -> Shape:
        return (*input_shape[: len(input_shape) - self.axes], *self.units)

    def shape_for(self, input_shape: Shape) -> Shape:
        if input_shape[len(input_shape) - self.axes :] != self.kernel.shape[: self.axes]:
            super().shape_for(input_shape)
        return self.output_for(input_shape)

    def forward(self, x: Tensor) -> Tensor:
        graph = x.graph
        W, project = graph.parameter(self.kernel), Project(self.axes)
        y = graph.apply(project, x, W, graph.parameter(self.bias)) if self.use_bias else graph.apply(project, x, W)
        if self.activity_regularizer is not None:
            graph.losses.append(self.activity_regularizer(y) / x.shape[0])
        return y


class MultiHeadAttention(AttentionLayer):
    """Attention in several heads, each of which looks at the sequences through projections of its own.

    q = query Wq + bq, k = key Wk + bk, v = value Wv + bv           per head: key_dim, key_dim, value_dim numbers
    y = sum over heads of (softmax(q k' / sqrt(key_dim)) v) Wo + bo   (T, output_shape)

    num_heads:      how many heads
    key_dim:        numbers of a query and a key in each head
    value_dim:      those of a value; None for key_dim
    dropout:        the share of the probabilities that is dropped in training
    output_shape:   features of the output; None for the query's
    attention_axes: None or 1, the axis of the steps
    use_bias, seed, the initializers, regularizers and constraints (of all four projections): as in Keras

    ``mha(query, value, key=None, attention_mask=None, return_attention_scores=False, use_causal_mask=False)`` on
    tensors (N, T, F), (N, S, G), (N, S, H) or on symbols; ``mha([query, value])`` is the same. ``attention_mask``
    (N, T, S) or (T, S) of bools says who may look where; ``use_causal_mask`` lets step t look at steps up to t only.
    Masks that came with query, value and key count as well, and ``query_mask``, ``value_mask``, ``key_mask`` take their
    place. A step that may look nowhere gets zeros in all heads. The scores are p (N, heads, T, S), before dropout.

    Parameters: ``query/kernel`` (F, heads, key_dim), ``query/bias`` (heads, key_dim), ``key/...``, ``value/...`` and
    ``attention_output/kernel`` (heads, value_dim, output_shape), ``attention_output/bias`` (output_shape,).

    >>> from tinynn import Input, layers as L
    >>> x = Input((10, 16))
    >>> L.MultiHeadAttention(num_heads=2, key_dim=8)(x, x, use_causal_mask=True).shape
    (10, 16)

    Source: A. Vaswani et al., "Attention is all you need", 2017.
    """

    spelling = "for self-attention write mha(x, x)"

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, name=name, trainable=trainable, input_shape=input_shape)
        owner = f"MultiHeadAttention '{self.label}'"
        self.num_heads = positive_integer(num_heads, "num_heads", owner)
        self.key_dim = positive_integer(key_dim, "key_dim", owner)
        self.value_dim = self.key_dim if value_dim is None else positive_integer(value_dim, "value_dim", owner)
        self.dropout = fraction(dropout, "dropout", owner)
        self.use_bias = bool(use_bias)
        sizes = [output_shape] if not isinstance(output_shape, (list, tuple)) else output_shape
        self.output_sizes = (
            None if output_shape is None else [positive_integer(n, "output_shape", owner) for n in sizes]
        )
        over = [attention_axes] if not isinstance(attention_axes, (list, tuple)) else list(attention_axes)
        if over not in ([None], [1], [-2]):
            raise ValueError(
                f"{owner} expects attention_axes=None or 1: it attends over the steps of (N, T, F), got "
                f"{attention_axes!r}. Reshape other inputs to sequences first"
            )
        self.attention_axes = attention_axes
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def config(self) -> dict[str, Any]:
        return {**config_of(self), "output_shape": self.output_sizes}

    def projection(self, units: Sequence[int], axes: int = 1) -> Projection:
        return Projection(
            units,
            axes,
            self.use_bias,
            self.kernel_initializer,
            self.bias_initializer,
            self.kernel_regularizer,
            self.bias_regularizer,
            self.activity_regularizer,
            self.kernel_constraint,
            self.bias_constraint,
        )

    def build(self, input_shape: Any) -> Shape:
        query, value, key = self.checked_shapes(input_shape)
        heads = self.num_heads
        self.query = self.projection((heads, self.key_dim))
        self.key = self.projection((heads, self.key_dim))
        self.value = self.projection((heads, self.value_dim))
        self.attention_output = self.projection(self.output_sizes or query[-1:], axes=2)
        self.query.ensure_built(query)
        self.key.ensure_built(key)
        self.value.ensure_built(value)
        return self.attention_output.ensure_built((query[0], heads, self.value_dim))  # type: ignore[no-any-return]

    def shape_for(self, input_shape: Any) -> Shape:
        query, value, key = self.checked_shapes(input_shape)
        for projection, shape in ((self.query, query), (self.key, key), (self.value, value)):
            projection.shape_for(shape)
        return (query[0], *self.attention_output.units)

    def scores_shape(self, shapes: list[Shape]) -> Shape:
        return (self.num_heads, *super().scores_shape(shapes))

    def __call__(  # type: ignore[override]
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """Apply to tensors or symbols, query and value (and key), or a list of them."""
        x = query if isinstance(query, (list, tuple)) else [t for t in (query, value, key) if t is not None]
        if len(x) < 2:
            raise ValueError(f"layer '{self.label}' expects a query and a value: {self.spelling}")
        options = {
            "query_mask": query_mask,
            "value_mask": value_mask,
            "key_mask": key_mask,
            "attention_mask": attention_mask,
            "return_attention_scores": return_attention_scores,
            "use_causal_mask": use_causal_mask,
        }
        return super().__call__(list(x), training=training, **said(options))

    def forward(
        self,
        x: Sequence[Tensor],
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = x if len(x) == 3 else (*x, x[1])
        graph = query.graph
        counted = mask_of(query, query_mask, "query", self)
        looked_at = mask_of(value, value_mask, "value", self)
        if key is not value:
            looked_at = both(looked_at, mask_of(key, key_mask, "key", self))
        mask = None if looked_at is None else looked_at[:, None, None, :]
        mask = both(mask, None if counted is None else counted[:, None, :, None])
        scores = (query.shape[0], self.num_heads, query.shape[1], value.shape[1])
        if attention_mask is not None:
            mask = both(mask, self.spread(as_bools(attention_mask, query), scores))
        attend = DotProductAttention(
            1 / math.sqrt(self.key_dim), mask, self.keep(graph, scores), use_causal_mask, return_attention_scores
        )
        heads: Any = attend(self.query(query), self.key(key), self.value(value))
        result = self.attention_output(heads[0] if return_attention_scores else heads)
        result.mask = counted
        return (result, heads[1]) if return_attention_scores else result

    def spread(self, mask: Array, scores: Shape) -> Array:
        """A mask (T, S), (N, T, S) or (N, heads, T, S) with four axes; ValueError where it does not fit."""
        shape = tuple(mask.shape)
        spread = {2: (1, 1, *shape), 3: (*shape[:1], 1, *shape[1:]), 4: shape}.get(len(shape), ())
        if len(spread) != 4 or any(n not in (1, m) for n, m in zip(spread, scores, strict=True)):
            n, heads, t, s = scores
            raise ValueError(
                f"layer '{self.label}' expects an attention_mask of shape {(n, t, s)} or {(t, s)} (queries, then keys; "
                f"or {(n, heads, t, s)} with the {heads} heads), got {shape}"
            )
        return mask.reshape(spread)


# -- one head without projections ------------------------------------------------------------------------------------


class Attention(AttentionLayer):
    """Luong's attention: y = softmax(q k') v, on a list [query, value] or [query, value, key].

    use_scale:  the scores are multiplied with a learned number, ``scale``
    score_mode: "dot", scores q k'; "concat", scores w sum(tanh(scale (q + k))) with a learned number
                ``concat_score_weight``
    dropout:    the share of the probabilities that is dropped in training

    ``layer([query, value], mask=[query_mask, value_mask], return_attention_scores=False, use_causal_mask=False)`` for
    query (N, T, F), value (N, S, G) and key (N, S, F) -> (N, T, G). Without ``mask`` those that came with the tensors
    count. Where the query's mask is False the output is 0, also where a step may look nowhere.

    Source: M. Luong et al., "Effective approaches to attention-based neural machine translation", 2015.
    """

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(seed, name=name, trainable=trainable, input_shape=input_shape)
        owner = f"{type(self).__name__} '{self.label}'"
        if score_mode not in ("dot", "concat"):
            raise unknown(f"score_mode of {owner}", score_mode, ("dot", "concat"))
        self.use_scale, self.score_mode = bool(use_scale), score_mode
        self.dropout = fraction(dropout, "dropout", owner)

    def build(self, input_shape: Any) -> Shape:
        output_shape = self.shape_for(input_shape)
        if self.use_scale:
            self.scale = Parameter((), "ones")
        if self.score_mode == "concat":
            self.concat_score_weight = Parameter((), "ones")
        return output_shape

    def shape_for(self, input_shape: Any) -> Shape:
        query, value, key = self.checked_shapes(input_shape)
        if query[-1] != key[-1]:
            raise ValueError(
                f"layer '{self.label}' compares queries and keys and expects them with equally many features, got "
                f"{shown(query)} and {shown(key)}: put a Dense in front of one, or use MultiHeadAttention"
            )
        return (query[0], value[-1])

    def __call__(  # type: ignore[override]
        self,
        inputs: Any,
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """Apply to [query, value] or [query, value, key], tensors or symbols."""
        if not isinstance(inputs, (list, tuple)) or len(inputs) not in (2, 3):
            raise ValueError(
                f"layer '{self.label}' expects a list [query, value] or [query, value, key]: {self.spelling}"
            )
        if mask is not None and (not isinstance(mask, (list, tuple)) or len(mask) not in (2, 3)):
            raise ValueError(f"layer '{self.label}' expects mask=[query_mask, value_mask], of which each may be None")
        query_mask, value_mask = (None, None) if mask is None else mask[:2]
        options = {
            "query_mask": query_mask,
            "value_mask": value_mask,
            "return_attention_scores": return_attention_scores,
            "use_causal_mask": use_causal_mask,
        }
        return super().__call__(list(inputs), training=training, **said(options))

    def forward(
        self,
        x: Sequence[Tensor],
        query_mask: Any = None,
        value_mask: Any = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        query, value, key = x if len(x) == 3 else (*x, x[1])
        counted = mask_of(query, query_mask, "query", self)
        looked_at = mask_of(value, value_mask, "value", self)
        attend = self.by_dots if self.score_mode == "dot" else self.by_sums
        y, p = attend(query, value, key, looked_at, use_causal_mask, return_attention_scores)
        if counted is not None:
            y = ops.where(counted[:, :, None], y, 0.0)
            y.mask = counted
        return (y, p) if return_attention_scores else y

    def by_dots(self, q: Tensor, v: Tensor, k: Tensor, mask: Array | None, causal: bool, scores: bool) -> Any:
        """With q k' for scores: one head of DotProductAttention."""
        graph = q.graph
        if self.use_scale:
            q = q * graph.parameter(self.scale)
        keep = self.keep(graph, (q.shape[0], 1, q.shape[1], v.shape[1]))
        mask = None if mask is None else mask[:, None, None, :]
        attend = DotProductAttention(1.0, mask, keep, causal, scores)
        result: Any = attend(*(ops.expand_dims(x, 2) for x in (q, k, v)))
        if not scores:
            return ops.squeeze(result, 2), None
        p = result[1] if keep is None else result[1] * keep
        return ops.squeeze(result[0], 2), ops.squeeze(p, 1)

    def by_sums(self, q: Tensor, v: Tensor, k: Tensor, mask: Array | None, causal: bool, scores: bool) -> Any:
        """With sums over tanh for scores."""
        s = self.sums(q, k)
        allowed = None if mask is None else mask[:, None, :]
        if causal:
            before = s.graph.backend.xp.tri(s.shape[1], s.shape[2], dtype=np.bool_)
            allowed = both(allowed, before[None])
        p = ops.softmax(s if allowed is None else ops.where(allowed, s, FAR))
        if allowed is not None:
            p = ops.where(allowed, p, 0.0)  # rows without anything to look at
        if (keep := self.keep(s.graph, s.shape)) is not None:
            p = p * keep
        return ops.matmul(p, v), p

    def sums(self, q: Tensor, k: Tensor) -> Tensor:
        """Scores (N, T, S)."""
        parameter = q.graph.parameter
        if self.use_scale:
            scale = parameter(self.scale)
            q, k = q * scale, k * scale
        together = ops.tanh(ops.expand_dims(q, 2) + ops.expand_dims(k, 1))
        return ops.sum(together, -1) * parameter(self.concat_score_weight)


class AdditiveAttention(Attention):
    """Bahdanau's attention: y = softmax(sum of scale tanh(q + k)) v, with a learned ``scale`` (F,).

    use_scale: whether there is a scale; dropout, the call and its masks are those of Attention

    Source: D. Bahdanau et al., "Neural machine translation by jointly learning to align and translate", 2015.
    """

    def __init__(
        self,
        use_scale: bool = True,
        dropout: float = 0.0,
        seed: int | None = None,
        *,
        input_shape: Sequence[int] | int | None = None,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(use_scale, "concat", dropout, seed, name=name, trainable=trainable, input_shape=input_shape)

    def build(self, input_shape: Any) -> Shape:
        output_shape = self.shape_for(input_shape)
        if self.use_scale:
            self.scale = Parameter((input_shape[0][-1],), "glorot_uniform")
        return output_shape

    def sums(self, q: Tensor, k: Tensor) -> Tensor:
        together = ops.tanh(ops.expand_dims(q, 2) + ops.expand_dims(k, 1))
        return ops.matmul(together, q.graph.parameter(self.scale)) if self.use_scale else ops.sum(together, -1)


def said(options: dict[str, Any]) -> dict[str, Any]:
    """The options of a call that say something: what is None or False is left out."""
    return {name: option for name, option in options.items() if option is not None and option is not False}
