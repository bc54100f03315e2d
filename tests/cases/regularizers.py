"""Penalties: sums over all of an array, of any rank."""

from __future__ import annotations

import numpy as np

from tests.cases import Case, tied
from tinynn.regularizers import ElasticNet, SumOfMagnitudes, SumOfSquares

CASES = [
    Case("l1", lambda: SumOfMagnitudes(0.3), ((7, 13),), kinks=True),
    Case(
        "l1_zeros",
        lambda: SumOfMagnitudes(0.3),
        (tied((5, 4)),),
        ties=True,
        expected=lambda dy, x: (0.3 * dy * np.sign(x),),
    ),
    Case("l2", lambda: SumOfSquares(0.3), ((7, 13),)),
    Case("l2_kernel", lambda: SumOfSquares(0.01), ((3, 3, 4, 6),)),
    Case("l2_number", lambda: SumOfSquares(0.01), ((),)),
    Case("l1_l2", lambda: ElasticNet(0.3, 0.2), ((7, 13),), kinks=True),
]
