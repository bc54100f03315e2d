"""keras.optimizers"""

from tinynn.optim import *  # noqa: F403
