"""Backends: where arrays live and how the kernels are written. ``get("cpu")`` imports one when it is first used."""

from __future__ import annotations

import importlib
import os
from functools import cache

from tinynn.backends.base import Backend, gather, host
from tinynn.errors import unknown

__all__ = ["Backend", "gather", "get", "get_num_threads", "host", "set_num_threads"]

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


def get_num_threads() -> int:
    """How many threads the kernels of the cpu backend use."""
    from tinynn.backends.cpu import threads

    return threads.get_num_threads()


def set_num_threads(n: int) -> None:
    """Let the kernels of the cpu backend use ``n`` threads: the speed changes, no byte of a result does.

    The number at the start is ``TINYNN_NUM_THREADS``, else that of the cores. ValueError for what is no number of
    threads here, with the variable that raises the limit.
    """
    from tinynn.backends.cpu import threads

    threads.set_num_threads(n)
