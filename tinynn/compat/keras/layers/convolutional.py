"""keras.layers.convolutional, which used to hold the pooling layers too."""

from tinynn.layers import (
    AveragePooling2D,
    AvgPool2D,
    Conv2D,
    Cropping2D,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    MaxPool2D,
    MaxPooling2D,
    UpSampling2D,
    ZeroPadding2D,
)

Convolution2D = Conv2D

__all__ = [
    "AveragePooling2D",
    "AvgPool2D",
    "Conv2D",
    "Convolution2D",
    "Cropping2D",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "MaxPool2D",
    "MaxPooling2D",
    "UpSampling2D",
    "ZeroPadding2D",
]
