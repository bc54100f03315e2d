"""The gpu backend: CuPy's arrays, kernels of our own in CUDA C++.

Importing this package needs no CuPy; asking for ``backend`` does, and says what is missing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tinynn.backends.base import Backend
from tinynn.backends.gpu import (
    activation,
    attention,
    batchnorm,
    blas,
    conv2d,
    convblock,
    cuda,
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
    softmax,
)


def __getattr__(name: str) -> Any:
    if name == "backend":
        return make()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def make() -> Backend:
    """The Backend; ImportError says what is missing."""
    cupy = cuda.load()

    return Backend(
        name="gpu",
        xp=cupy,
        array_type=cupy.ndarray,
        empty=cupy.empty,
        asarray=cuda.asarray,
        to_numpy=cuda.to_numpy,
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
        matmul=blas.product,
        record=cuda.record,
        staging=cuda.Staging,
        synchronize=cuda.synchronize,
    )
