"""keras.layers.noise"""

from tinynn.layers import GaussianDropout, GaussianNoise

__all__ = ["GaussianDropout", "GaussianNoise"]
