"""Sequences: means over the steps that count, and convolutions of one row."""

from __future__ import annotations

import numpy as np

from tests.cases import Case
from tinynn.activation import Activation
from tinynn.layers.conv1d import Convolve1D
from tinynn.layers.pooling1d import MaskedMean
from tinynn.window import Window

MASK = np.random.default_rng(2).random((4, 6)) < 0.6
MASK[1], MASK[2] = False, True


def masked_mean(name: str, mask: np.ndarray, features: int) -> Case:
    def gradient(dy: np.ndarray, x: np.ndarray) -> tuple[np.ndarray]:
        count = np.maximum(mask.sum(axis=1), 1)
        return (mask[:, :, None] * (dy / count[:, None])[:, None],)

    return Case(
        f"masked_mean_{name}",
        lambda backend: MaskedMean(backend.asarray(mask, np.bool_)),
        ((*mask.shape, features),),
        expected=gradient,
        on_backend=True,
    )


def convolution(name: str, x: tuple[int, ...], W: tuple[int, ...], groups: int = 1, bias: bool = True, **sides) -> Case:
    window = Window((1, W[0]), **sides)
    b = [(W[2],)] if bias else []
    return Case(f"convolve1d_{name}", lambda: Convolve1D(window, groups), (x, W, *b))


CASES = [
    masked_mean("", MASK, 3),
    masked_mean("one_row", MASK[:1], 5),
    masked_mean("one_step", MASK[:, :1], 1),
    convolution("", (3, 9, 4), (3, 4, 5)),
    convolution("one_step", (2, 1, 3), (1, 3, 2)),
    convolution("no_bias", (2, 7, 3), (2, 3, 4), bias=False),
    convolution("strides", (2, 11, 3), (3, 3, 4), strides=(1, 2)),
    convolution("causal", (2, 8, 3), (3, 3, 4), padding=((0, 0), (4, 0)), dilation=(1, 2)),
    convolution("same", (2, 8, 2), (4, 2, 3), padding=((0, 0), (1, 2))),
    convolution("groups", (2, 8, 6), (3, 3, 4), groups=2),
    Case("convolve1d_relu", lambda: Convolve1D(Window((1, 3)), 1, Activation.RELU), ((2, 7, 3), (3, 3, 4), (4,)),
         kinks=True),
]  # fmt: skip
