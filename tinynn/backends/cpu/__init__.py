"""The CPU backend: NumPy arrays in recycled memory, kernels in Numba.

Importing it imports Numba, which is why nothing but ``backends.get("cpu")`` does.
"""

import numpy as np

# First of all, before anything imports Numba: it makes room in Numba's pool of threads.
from tinynn.backends.cpu import threads  # noqa: F401  # isort: skip
from tinynn.backends.base import Backend, numbers
from tinynn.backends.cpu import (  # noqa: F401
    activation,
    attention,
    batchnorm,
    compiling,
    conv2d,
    convblock,
    dense,
    dropout,
    embedding,
    gru,
    layernorm,
    lstm,
    memory,
    merge,
    optimizers,
    pool2d,
    resample,
    rnn,
    softmax,
)

backend = Backend(
    name="cpu",
    xp=np,
    array_type=np.ndarray,
    empty=memory.empty,
    asarray=numbers,
    to_numpy=np.asarray,
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
