"""keras.callbacks"""

from tinynn.models.callbacks import *  # noqa: F403
