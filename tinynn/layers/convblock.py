"""ConvBlock: z = pool(activation(norm(x * W + b))), what a model makes of neighbouring layers when it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.backends.base import Block
from tinynn.function import Function
from tinynn.layers.pooling import BYTE
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph


class ConvBlock(Function):
    """pool(activation(norm(x * W + b))) as one node; ``block`` says what of it there is.

    x (N, H, W, C), W (KH, KW, C / groups, O), then b, gamma, beta (O,) as far as ``bias``, ``scale`` and ``center``
    announce them -> z (N, rows, columns, O). Mean and biased variance of the batch are kept in ``self.mean`` and
    ``self.variance`` for the running ones. ``remembers`` False keeps no places of a pool, where nobody will ask for a
    gradient.
    """

    def __init__(
        self, block: Block, bias: bool = True, scale: bool = False, center: bool = False, remembers: bool = True
    ):
        self.block, self.given, self.remembers = block, (bias, scale, center), remembers

    def forward(self, graph: Graph, x: Array, W: Array, *learned: Array) -> Array:
        block, O = self.block, W.shape[3]
        b, gamma, beta = self.spread(learned)
        sides = block.window.output(x.shape[1], x.shape[2])
        pooled = sides if block.pool is None else block.pool.output(*sides)
        z, place = graph.empty(x.shape[0], *pooled, O), None
        if block.pool is not None and self.remembers:
            small = block.pool.size[0] * block.pool.size[1] <= BYTE
            place = graph.backend.empty(z.shape, np.uint8 if small else np.int32)
        y = mean = variance = rstd = None
        if block.epsilon is not None:
            y = graph.empty(x.shape[0], *sides, O)
            mean, variance, rstd = graph.empty(O), graph.empty(O), graph.empty(O)
        graph.backend.convblock.forward(z, place, y, mean, variance, rstd, x, W, b, gamma, beta, block)
        self.mean, self.variance = mean, variance
        self.saved = x, W, z, place, y, mean, rstd, gamma
        return z

    def spread(self, learned: Sequence[Any]) -> list[Any]:
        """b, gamma and beta (or their gradients) from what there is of them."""
        rest = iter(learned)
        return [next(rest) if there else None for there in self.given]

    def backward(self, graph: Graph, dz: Array) -> Any:
        gradients = graph.gradients(self)
        dx, dW, *dlearned = gradients
        db, dgamma, dbeta = self.spread(dlearned)
        x, W, z, place, y, mean, rstd, gamma = self.saved
        kernels = graph.backend.convblock
        kernels.backward(dx, dW, db, dgamma, dbeta, dz, x, W, z, place, y, mean, rstd, gamma, self.block)
        return gradients
