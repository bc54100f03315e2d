"""The reference backend: the specification of every kernel, in plain array language."""

import numpy as np

from tinynn.backends.base import Backend, numbers
from tinynn.backends.reference import activation, batchnorm, dense, dropout, layernorm, optimizers, softmax

backend = Backend(
    name="reference",
    xp=np,
    array_type=np.ndarray,
    empty=np.empty,
    asarray=numbers,
    to_numpy=np.asarray,
    activation=activation,
    dense=dense,
    softmax=softmax,
    batchnorm=batchnorm,
    layernorm=layernorm,
    dropout=dropout,
    optimizers=optimizers,
)
