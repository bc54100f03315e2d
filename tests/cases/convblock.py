"""Fused blocks: with and without norm, activation, pool and bias; channels that meet every algorithm of cpu.

A row is block(name, (N, H, W, C), (KH, KW), O, ...).
"""

from __future__ import annotations

from typing import Any

from tests.cases import Case
from tinynn.activation import Activation
from tinynn.backends.base import Block
from tinynn.layers.convblock import ConvBlock
from tinynn.layers.images import window_on

Pool = tuple[Any, Any, str]
"""(size, strides, padding)"""
HALF: Pool = ((2, 2), (2, 2), "valid")
OVERLAPPING: Pool = ((3, 3), (2, 2), "same")


def block(
    name: str,
    x: tuple[int, int, int, int],
    size: Any,
    filters: int,
    *,
    strides: Any = (1, 1),
    padding: Any = "same",
    dilation: Any = (1, 1),
    groups: int = 1,
    bias: bool = False,
    norm: str | None = "gamma beta",
    epsilon: float = 0.1,
    activation: str = "relu",
    pool: Pool | None = None,
) -> Case:
    """``norm`` names what is learned in it; None for no norm. A bias before a norm has the gradient 0: not compared."""
    window = window_on(x[1], x[2], size, strides, padding, dilation)
    sides = window.output(x[1], x[2])
    made = Block(
        window,
        groups,
        Activation(activation),
        None if pool is None else window_on(*sides, *pool),
        None if norm is None else epsilon,
    )
    scale, center = "gamma" in (norm or ""), "beta" in (norm or "")
    vectors = bias + scale + center
    longest = max(size[0] * size[1] * x[3], size[0] * size[1] * filters, x[0] * sides[0] * sides[1])
    return Case(
        f"convblock_{name}",
        lambda: ConvBlock(made, bias, scale, center),
        (x, (*size, x[3] // groups, filters), *[(filters,)] * vectors),
        differentiable=(True, True, *([norm is None] * bias), *[True] * (scale + center)),
        reduction=longest,
        rtol32=None if norm is None else 2e-5,
    )


CASES = [
    # -- without a norm ------------------------------------------------------------------------------------------------
    block("relu", (2, 5, 6, 3), (3, 3), 4, norm=None, bias=True),
    block("relu_pool", (2, 6, 8, 3), (3, 3), 4, norm=None, bias=True, pool=HALF),
    block("relu_pool_left_over", (2, 7, 5, 3), (3, 3), 4, norm=None, bias=True, pool=HALF),
    block("linear_pool_no_bias", (1, 6, 4, 2), (3, 3), 3, norm=None, activation="linear", pool=HALF),
    block("tanh_pool", (1, 6, 7, 2), (3, 3), 3, norm=None, bias=True, activation="tanh", pool=HALF),
    block("leaky_pool", (1, 6, 7, 2), (3, 3), 5, norm=None, bias=True, activation="leaky_relu", pool=OVERLAPPING),
    block("relu_overlapping", (2, 7, 6, 3), (3, 3), 4, norm=None, bias=True, pool=OVERLAPPING),
    block("relu_pool_far_apart", (1, 9, 8, 2), (2, 2), 3, norm=None, bias=True, pool=((2, 2), (3, 4), "valid")),
    block("relu_pool_all", (2, 5, 4, 3), (3, 3), 4, norm=None, bias=True, pool=((5, 4), (5, 4), "valid")),
    block("relu_place_in_two_bytes", (1, 18, 17, 2), (1, 1), 2, norm=None, bias=True,
          pool=((17, 16), (1, 1), "valid")),
    block("valid_5x5_one_channel", (2, 12, 12, 1), (5, 5), 32, norm=None, bias=True, padding="valid", pool=HALF),
    block("5x5_32_to_64", (1, 12, 12, 32), (5, 5), 64, norm=None, bias=True, padding="valid", pool=HALF),
    block("stride_2", (2, 9, 8, 3), (3, 3), 4, norm=None, bias=True, strides=(2, 2), pool=HALF),
    block("groups_dilated", (1, 8, 7, 4), (3, 3), 6, norm=None, bias=True, groups=2, dilation=(2, 2), pool=HALF),
    block("16_to_32", (2, 8, 8, 16), (3, 3), 32, norm=None, bias=True, pool=HALF),
    block("32_to_32_odd", (1, 9, 7, 32), (3, 3), 32, norm=None, bias=True, pool=OVERLAPPING),
    block("17_to_17", (1, 6, 7, 17), (3, 3), 17, norm=None, bias=True, pool=HALF),
    block("many_images", (37, 4, 4, 3), (3, 3), 5, norm=None, bias=True, pool=HALF),
    # -- with one ------------------------------------------------------------------------------------------------------
    block("norm", (2, 5, 6, 3), (3, 3), 4, activation="linear"),
    block("norm_relu", (2, 5, 6, 3), (3, 3), 4),
    block("norm_relu_bias", (2, 5, 6, 3), (3, 3), 4, bias=True),
    block("norm_plain", (2, 5, 6, 3), (3, 3), 4, norm=""),
    block("norm_no_scale", (2, 5, 6, 3), (3, 3), 4, norm="beta", pool=HALF),
    block("norm_no_center_bias", (2, 5, 6, 3), (3, 3), 4, norm="gamma", bias=True, pool=HALF),
    block("norm_linear_pool", (2, 5, 7, 3), (3, 3), 4, activation="linear", pool=HALF),
    block("norm_relu_pool", (2, 6, 8, 3), (3, 3), 4, pool=HALF),
    block("norm_relu_pool_left_over", (2, 7, 5, 3), (3, 3), 4, bias=True, pool=HALF),
    block("norm_relu_overlapping", (2, 7, 6, 3), (3, 3), 4, pool=OVERLAPPING),
    block("norm_tanh_pool", (1, 6, 7, 2), (3, 3), 3, activation="tanh", pool=HALF),
    block("norm_leaky_overlapping", (1, 6, 7, 2), (3, 3), 5, activation="leaky_relu", pool=OVERLAPPING),
    block("norm_stride_2", (2, 9, 8, 3), (3, 3), 4, strides=(2, 2)),
    block("norm_1x1_stride_2", (2, 8, 8, 16), (1, 1), 32, strides=(2, 2), activation="linear"),
    block("norm_groups", (2, 5, 6, 4), (3, 3), 6, groups=2),
    block("norm_one_channel", (3, 5, 6, 1), (3, 3), 1),
    block("norm_one_pixel", (17, 1, 1, 3), (1, 1), 4),
    block("norm_16_to_16", (2, 8, 8, 16), (3, 3), 16),
    block("norm_16_to_32_pool", (2, 8, 8, 16), (3, 3), 32, pool=HALF),
    block("norm_32_to_64_stride_2", (2, 8, 8, 32), (3, 3), 64, strides=(2, 2)),
    block("norm_32_to_32_odd", (1, 9, 7, 32), (3, 3), 32, pool=OVERLAPPING),
    block("norm_65_to_65", (1, 5, 6, 65), (3, 3), 65),
    block("norm_many_images", (37, 4, 4, 3), (3, 3), 5, pool=HALF),
]  # fmt: skip
