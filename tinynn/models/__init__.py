"""Models and everything around their training; ``tinynn.models.gradcheck`` is imported when it is first used."""

from tinynn.models import callbacks
from tinynn.models.model import Model
from tinynn.models.sequential import Sequential

__all__ = ["Model", "Sequential", "callbacks"]
