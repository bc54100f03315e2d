"""keras.initializers"""

from tinynn.initializers import *  # noqa: F403
