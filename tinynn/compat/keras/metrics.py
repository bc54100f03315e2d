"""keras.metrics"""

from tinynn.metrics import *  # noqa: F403
