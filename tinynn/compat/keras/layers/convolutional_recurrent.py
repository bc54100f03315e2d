"""keras.layers.convolutional_recurrent."""

from tinynn.layers import ConvLSTM2D

__all__ = ["ConvLSTM2D"]
