"""keras.utils"""

from tinynn.compat.keras.utils import np_utils  # noqa: F401
from tinynn.utils import *  # noqa: F403
