"""Borders added and taken away, pixels repeated and interpolated: unequal sides, one pixel, odd channels."""

from tests.cases import Case
from tinynn.layers.padding import Crop, Interpolate, Pad, Repeat

CASES = [
    Case("zero_padding", lambda: Pad(((1, 1), (1, 1))), ((2, 3, 5, 3),)),
    Case("zero_padding_unequal", lambda: Pad(((0, 3), (2, 1))), ((1, 4, 1, 17),)),
    Case("zero_padding_none", lambda: Pad(((0, 0), (0, 0))), ((2, 3, 2, 1),)),
    Case("cropping", lambda: Crop(((1, 1), (1, 1))), ((2, 5, 4, 3),)),
    Case("cropping_unequal", lambda: Crop(((0, 2), (3, 0))), ((1, 3, 7, 5),)),
    Case("cropping_none", lambda: Crop(((0, 0), (0, 0))), ((2, 3, 2, 1),)),
    Case("upsampling", lambda: Repeat((2, 2)), ((2, 3, 5, 3),)),
    Case("upsampling_unequal", lambda: Repeat((1, 3)), ((1, 4, 2, 17),)),
    Case("upsampling_one_pixel", lambda: Repeat((4, 2)), ((3, 1, 1, 1),)),
    Case("interpolation", lambda: Interpolate((2, 2)), ((2, 3, 5, 3),), reduction=64),
    Case("interpolation_unequal", lambda: Interpolate((3, 1)), ((1, 4, 2, 17),), reduction=64),
    Case("interpolation_one_pixel", lambda: Interpolate((4, 2)), ((3, 1, 1, 1),), reduction=64),
]
