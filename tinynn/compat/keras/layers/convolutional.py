"""keras.layers.convolutional"""

from tinynn.layers import Conv2D, Cropping2D, UpSampling2D, ZeroPadding2D

Convolution2D = Conv2D

__all__ = ["Conv2D", "Convolution2D", "Cropping2D", "UpSampling2D", "ZeroPadding2D"]
