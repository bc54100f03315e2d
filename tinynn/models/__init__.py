"""Models and everything around their training."""

from tinynn.models import callbacks, gradcheck
from tinynn.models.model import Model
from tinynn.models.sequential import Sequential

__all__ = ["Model", "Sequential", "callbacks", "gradcheck"]
