"""Models and everything around their training; ``tinynn.models.gradcheck`` is imported when it is first used."""

import json
from collections.abc import Mapping
from typing import Any

from tinynn.models import callbacks
from tinynn.models.architecture import from_record, to_record
from tinynn.models.model import Model
from tinynn.models.saving import load_model
from tinynn.models.sequential import Sequential

__all__ = ["Model", "Sequential", "callbacks", "clone_model", "load_model", "model_from_json"]


def model_from_json(text: str, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """The model whose architecture ``model.to_json()`` gave, with weights of its own."""
    return from_record(json.loads(text), custom_objects)


def clone_model(model: Model, custom_objects: Mapping[str, Any] | None = None) -> Model:
    """A model of the same architecture with weights of its own, not compiled."""
    return from_record(json.loads(json.dumps(to_record(model))), custom_objects)
