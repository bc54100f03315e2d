"""Sums and means of two, three and five inputs, with sides of 1 that repeat; the other merges are pairs of ops."""

from functools import partial

import numpy as np

from tests.cases import Case, constant, normal
from tinynn.layers.merge import ReluSum, Total
from tinynn.ops.joining import Concatenate

CASES = [
    Case("total_of_two", Total, ((2, 3, 5, 3), (2, 3, 5, 3))),
    Case("total_of_three", Total, ((4, 7), (4, 7), (4, 7))),
    Case("total_of_five", Total, ((1,), (1,), (1,), (1,), (1,))),
    Case("total_repeats", Total, ((2, 1, 1, 3), (2, 4, 5, 3), (2, 4, 1, 1))),
    Case("total_outer", Total, ((2, 1, 5), (2, 3, 1))),
    Case("average_of_two", partial(Total, 1 / 2), ((2, 3, 5, 3), (2, 3, 5, 3))),
    Case("average_of_three", partial(Total, 1 / 3), ((4, 7), (4, 7), (4, 1))),
    Case("relu_sum", ReluSum, (normal((2, 3, 5, 7), away_from=(0,)), constant(np.zeros((2, 3, 5, 7))))),
    Case("relu_sum_normal", ReluSum, ((3, 17), (3, 17))),
    Case("relu_sum_one", ReluSum, ((1,), (1,))),
    Case("relu_sum_at_zero", ReluSum, (constant(np.zeros((2, 3))), constant(np.zeros((2, 3)))), ties=True,
         expected=lambda dy, a, b: (0 * dy, 0 * dy)),
    Case("relu_sum_strips", ReluSum, ((5, 13, 64, 61), (5, 13, 64, 61)), ties=True,
         expected=lambda dy, a, b: (np.where(a + b > 0, dy, 0),) * 2),
    Case("concatenate_channels", partial(Concatenate, -1), ((2, 3, 4, 1), (2, 3, 4, 17), (2, 3, 4, 2))),
    Case("concatenate_rows", partial(Concatenate, 1), ((2, 1, 4, 3), (2, 2, 4, 3))),
]  # fmt: skip
