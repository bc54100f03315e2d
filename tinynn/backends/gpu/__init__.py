"""The gpu backend: CuPy's arrays, kernels of our own in CUDA C++.

Importing this package needs no CuPy; asking for ``backend`` does, and says what is missing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tinynn.backends.base import Backend, numbers
from tinynn.backends.gpu import activation, cuda, softmax
from tinynn.backends.reference import (
    attention,
    batchnorm,
    conv2d,
    convblock,
    dense,
    dropout,
    embedding,
    gru,
    layernorm,
    lstm,
    merge,
    optimizers,
    pool2d,
    resample,
    rnn,
)


def __getattr__(name: str) -> Any:
    if name == "backend":
        return make()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def make() -> Backend:
    """The Backend; ImportError says what is missing."""
    cupy = cuda.load()

    def asarray(value: Any, dtype: Any) -> Any:
        """An array on the card; a CuPy array of the right dtype is not copied."""
        if isinstance(value, cupy.ndarray):
            return value.astype(dtype, copy=False)
        return cupy.asarray(numbers(value, dtype))

    def to_numpy(value: Any) -> np.ndarray:
        """A copy on the host; NumPy arrays as they are."""
        return cupy.asnumpy(value)

    return Backend(
        name="gpu",
        xp=cupy,
        array_type=cupy.ndarray,
        empty=cupy.empty,
        asarray=asarray,
        to_numpy=to_numpy,
        activation=activation,
        dense=dense,
        softmax=softmax,
        conv2d=conv2d,
        pool2d=pool2d,
        convblock=convblock,
        batchnorm=batchnorm,
        layernorm=layernorm,
        merge=merge,
        rnn=rnn,
        lstm=lstm,
        gru=gru,
        embedding=embedding,
        attention=attention,
        dropout=dropout,
        resample=resample,
        optimizers=optimizers,
    )
