"""keras.models"""

from tinynn import Model, Sequential

__all__ = ["Model", "Sequential"]
