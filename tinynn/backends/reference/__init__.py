"""The reference backend: the specification of every kernel, in plain array language."""

import numpy as np

from tinynn.backends.base import Backend, numbers
from tinynn.backends.reference import (
    activation,
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
    softmax,
)

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
