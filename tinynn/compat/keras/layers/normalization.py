"""keras.layers.normalization"""

from tinynn.layers import BatchNormalization, LayerNormalization

__all__ = ["BatchNormalization", "LayerNormalization"]
