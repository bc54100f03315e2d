"""keras.utils"""

from tinynn.utils import *  # noqa: F403
