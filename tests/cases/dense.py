"""Dense: odd sizes, one row, one column, inputs of several axes, every fused activation."""

from tests.cases import Case
from tinynn.activation import Activation
from tinynn.layers.dense import Affine

CASES = [
    Case("affine", Affine, ((4, 3), (3, 5), (5,))),
    Case("affine_no_bias", Affine, ((4, 3), (3, 5))),
    Case("affine_one_row", Affine, ((1, 13), (13, 7), (7,))),
    Case("affine_one_output", Affine, ((6, 5), (5, 1), (1,))),
    Case("affine_one_input", Affine, ((6, 1), (1, 9), (9,))),
    Case("affine_sequence", Affine, ((2, 5, 3), (3, 4), (4,)), reduction=60),
    Case("affine_cube", Affine, ((2, 2, 3, 5), (5, 2), (2,))),
    Case("affine_wide", Affine, ((33, 129), (129, 65), (65,)), reduction=129),
    Case("affine_relu", lambda: Affine(Activation.RELU), ((7, 13), (13, 5), (5,)), reduction=91),
    Case("affine_relu_no_bias", lambda: Affine(Activation.RELU), ((5, 4), (4, 6)), reduction=24),
    Case("affine_leaky_relu", lambda: Affine(Activation.LEAKY_RELU), ((7, 13), (13, 5), (5,)), reduction=91),
    Case("affine_sigmoid", lambda: Affine(Activation.SIGMOID), ((7, 13), (13, 5), (5,)), reduction=91),
    Case("affine_tanh", lambda: Affine(Activation.TANH), ((7, 13), (13, 5), (5,)), reduction=91),
    Case("affine_tanh_sequence", lambda: Affine(Activation.TANH), ((2, 3, 4), (4, 5), (5,))),
]
