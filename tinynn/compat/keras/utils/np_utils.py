"""keras.utils.np_utils, where to_categorical used to live."""

from tinynn.utils import to_categorical

__all__ = ["to_categorical"]
