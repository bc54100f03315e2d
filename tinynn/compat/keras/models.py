"""keras.models"""

from tinynn.models import Model, Sequential, clone_model, load_model, model_from_json, save_model

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "save_model"]
