"""keras.activations"""

from tinynn.activations import *  # noqa: F403
