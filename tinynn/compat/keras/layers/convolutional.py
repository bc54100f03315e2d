"""keras.layers.convolutional"""

from tinynn.layers import Conv2D

Convolution2D = Conv2D

__all__ = ["Conv2D", "Convolution2D"]
