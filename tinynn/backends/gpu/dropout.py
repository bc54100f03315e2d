"""Dropout and noise from Philox: element e takes word e % 4 of the block (e // 4, step, substream, call).

The masks are those of the CPU, bit for bit; noise agrees to float32's last digits. One launch each: words are made
where they are used, and the step's number is read on the card.
"""

from __future__ import annotations

from tinynn.backends.base import Key
from tinynn.backends.gpu.cuda import Source, contiguous
from tinynn.backends.reference.dropout import threshold
from tinynn.typing import Array

SOURCE = Source("dropout", "packs", "philox")


def forward(y: Array, mask: Array, x: Array, rate: float, key: Key, step: Array, substream: int, call: int) -> None:
    """mask = (word >= rate 2**32), y = x mask / (1 - rate)"""
    scale = 1.0 / (1.0 - rate)
    SOURCE.by_fours(
        "dropout_forward", x.size, y, mask, contiguous(x), threshold(rate), scale, step, *key, substream, call
    )  # fmt: skip


def backward(dx: Array, dy: Array, mask: Array, rate: float) -> None:
    """dx = dy mask / (1 - rate). dx may be dy."""
    SOURCE.by_fours("dropout_backward", dy.size, dx, contiguous(dy), contiguous(mask), 1.0 / (1.0 - rate))


def normal(out: Array, stddev: float, key: Key, step: Array, substream: int, call: int) -> None:
    """sqrt(-2 ln u1) (cos, sin)(2 pi u2), with u1 = (w0 + 1) / 2**32 in (0, 1] and u2 = w1 / 2**32"""
    SOURCE.by_fours("dropout_normal", out.size, out, float(stddev), step, *key, substream, call)
