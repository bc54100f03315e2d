"""Backends: where arrays live and how the kernels are written. ``get("cpu")`` imports one when it is first used."""

from __future__ import annotations

import importlib
import os
from functools import cache

from tinynn.backends.base import Backend, host
from tinynn.errors import unknown

__all__ = ["Backend", "get", "host"]

NAMES = ("cpu", "gpu", "reference")


def get(backend: str | Backend | None = None) -> Backend:
    """The backend of that name: "cpu" (NumPy + Numba), "reference" (NumPy alone) or "gpu" (CuPy).

    None is the default: the environment variable ``TINYNN_BACKEND``, else "cpu". ValueError for an unknown name,
    ImportError (with the command that helps) where a backend's packages are missing.
    """
    if isinstance(backend, Backend):
        return backend
    return _load(os.environ.get("TINYNN_BACKEND") or "cpu" if backend is None else backend)


@cache
def _load(name: str) -> Backend:
    if name not in NAMES:
        raise unknown("backend", name, NAMES)
    module = importlib.import_module(f"tinynn.backends.{name}")
    backend: Backend = module.backend
    return backend
