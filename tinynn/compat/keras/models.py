"""keras.models"""

from tinynn.models import Model, Sequential

__all__ = ["Model", "Sequential"]
