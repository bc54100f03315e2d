"""keras.regularizers"""

from tinynn.regularizers import *  # noqa: F403
