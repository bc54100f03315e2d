"""keras.layers.core"""

from tinynn.layers import Activation, Dense, Dropout, Flatten, Lambda, Permute, RepeatVector, Reshape

__all__ = ["Activation", "Dense", "Dropout", "Flatten", "Lambda", "Permute", "RepeatVector", "Reshape"]
