"""keras.constraints"""

from tinynn.constraints import *  # noqa: F403
