"""The Functions of the smaller layers: learned slopes, bounded relu, maxout (ties on purpose), standardization."""

import numpy as np

from tests.cases import Case, constant, distinct, normal
from tinynn.backends import Backend
from tinynn.layers.activation import BoundedRelu, LearnedSlope
from tinynn.layers.maxout import MaxOfPieces
from tinynn.layers.normalization import Standardize


def standardize(backend: Backend) -> Standardize:
    return Standardize(backend.asarray([[0.5, -1.0, 2.0]], "float32"), backend.asarray([[4.0, 0.25, 0.0]], "float32"))


def no_slope(dy: np.ndarray, x: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At x = 0 the slope is alpha, and alpha's gradient is 0."""
    return dy * np.where(x > 0, 1, alpha), dy * np.minimum(x, 0)


CASES = [
    Case("prelu", LearnedSlope, (normal((3, 5), away_from=(0.0,)), (5,))),
    Case("prelu_shared", LearnedSlope, (normal((2, 3, 4, 3), away_from=(0.0,)), (1, 1, 3))),
    Case("prelu_at_zero", LearnedSlope, (constant([[0.0, -1.0, 2.0]]), constant([[0.5, 0.5, 0.5]])),
         ties=True, expected=no_slope),
    Case("bounded_relu", lambda: BoundedRelu(1.0, 0.1, 0.2), (normal((5, 7), away_from=(0.2, 1.0)),)),
    Case("relu_with_threshold", lambda: BoundedRelu(None, 0.0, 0.5), (normal((5, 7), away_from=(0.5,)),)),
    Case("maxout", lambda: MaxOfPieces(3), (distinct((4, 6)),)),
    Case("maxout_sequence", lambda: MaxOfPieces(2), (distinct((2, 3, 8)),)),
    Case("maxout_ties", lambda: MaxOfPieces(3), (constant([[1.0, 2.0, 1.0, 2.0, 0.0, 3.0]]),),
         ties=True, expected=lambda dy, z: (np.array([[dy[0, 0], 0, 0, 0, 0, dy[0, 1]]]),)),
    Case("standardize", standardize, ((4, 3),), on_backend=True),
]  # fmt: skip
