"""keras.layers"""

from tinynn.layers import *  # noqa: F403
