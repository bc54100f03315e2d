"""keras.layers, with the modules that old listings import from."""

from typing import TYPE_CHECKING

from tinynn.compat.keras.layers import (  # noqa: F401
    advanced_activations,
    convolutional,
    convolutional_recurrent,
    core,
    embeddings,
    merge,
    noise,
    normalization,
    pooling,
    recurrent,
    wrappers,
)
from tinynn.compat.keras.layers.convolutional import Convolution1D, Convolution2D  # noqa: F401
from tinynn.errors import no_attribute
from tinynn.layers import *  # noqa: F403

if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        from tinynn import layers

        raise no_attribute(__name__, name, layers.__all__)
