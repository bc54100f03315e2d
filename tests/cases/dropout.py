"""Dropout and noise with fixed keys: sizes that do not divide a block of four words, rates 0 and nearly 1."""

from collections.abc import Callable

import numpy as np

from tests.cases import Case
from tinynn.backends import Backend
from tinynn.layers.dropout import AddNoise, Drop, MultiplyNoise


def drawn(function: type, amount: float, call: int = 0) -> Callable[[Backend], object]:
    """The function with the numbers of one key, step, sub-stream and call."""

    def make(backend: Backend) -> object:
        step = backend.asarray(np.array([3], np.uint32), np.uint32)
        return function(amount, ((12345, 2**32 - 1), step, 99, call))

    return make


CASES = [
    Case("dropout", drawn(Drop, 0.5), ((5, 7),), on_backend=True),
    Case("dropout_one", drawn(Drop, 0.3), ((1,),), on_backend=True),
    Case("dropout_images", drawn(Drop, 0.25, call=2), ((2, 3, 5, 3),), on_backend=True),
    Case("dropout_blocks", drawn(Drop, 0.1), ((9, 131),), on_backend=True),
    Case("dropout_rate_0", drawn(Drop, 0.0), ((4, 3),), on_backend=True),
    Case("dropout_rate_nearly_1", drawn(Drop, 1 - 1e-12), ((4, 3),), on_backend=True),
    Case("gaussian_noise", drawn(AddNoise, 0.5), ((5, 7),), on_backend=True),
    Case("gaussian_noise_blocks", drawn(AddNoise, 0.1), ((9, 131),), on_backend=True),
    Case("gaussian_dropout", drawn(MultiplyNoise, 0.5), ((3, 7),), on_backend=True),
]
