"""keras.applications"""

from tinynn.applications import *  # noqa: F403
