"""Models and everything around their training; ``gradcheck`` and what saves and loads is imported when first used."""

import importlib
from typing import TYPE_CHECKING

from tinynn.errors import no_attribute
from tinynn.models import callbacks
from tinynn.models.model import Model
from tinynn.models.sequential import Sequential

__all__ = ["Model", "Sequential", "callbacks", "clone_model", "load_model", "model_from_json", "save_model"]

LAZY = {
    "clone_model": "tinynn.models.architecture",
    "load_model": "tinynn.models.saving",
    "model_from_json": "tinynn.models.architecture",
    "save_model": "tinynn.models.saving",
}

if TYPE_CHECKING:
    from tinynn.models.architecture import clone_model, model_from_json
    from tinynn.models.saving import load_model, save_model
else:

    def __getattr__(name):
        if name in LAZY:
            return getattr(importlib.import_module(LAZY[name]), name)
        raise no_attribute(__name__, name, __all__)
