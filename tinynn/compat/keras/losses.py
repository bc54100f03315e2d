"""keras.losses"""

from tinynn.losses import *  # noqa: F403
