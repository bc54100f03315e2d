"""The module that stands in for ``cupy`` on a machine without a card: device arrays, and our kernels emulated.

``gpu_backend()`` is the whole gpu backend over it, or the real one where there is a card.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from tests.cuda import emulator
from tests.device import DeviceArray, DeviceModule, fenced
from tinynn.backends import Backend


class CUDARuntimeError(RuntimeError):
    """Of the runtime."""


class OutOfMemoryError(MemoryError):
    """Of the pool."""


class StandIn(DeviceModule):
    """``cupy``: NumPy's names over device arrays, and what our backend uses of its CUDA interface."""

    ndarray = DeviceArray

    def __init__(self) -> None:
        super().__init__("cupy")
        self.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        self.RawModule = emulator.Module
        self.cuda = types.SimpleNamespace(
            runtime=types.SimpleNamespace(
                CUDARuntimeError=CUDARuntimeError,
                driverGetVersion=lambda: 13000,
                getDeviceCount=lambda: 1,
            ),
            memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
        )

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> DeviceArray:
        return fenced(shape, dtype)

    @staticmethod
    def asarray(value: Any, dtype: Any = None) -> DeviceArray:
        if isinstance(value, DeviceArray):
            return value if dtype is None else value.astype(dtype, copy=False)
        array = np.asarray(value, dtype)
        if not array.flags.c_contiguous:
            return DeviceArray(array.copy(order="K"))  # CuPy too keeps Fortran's order
        result = fenced(array.shape, array.dtype)
        result._host[...] = array
        return result

    @staticmethod
    def asnumpy(value: Any) -> np.ndarray:
        return value.get() if isinstance(value, DeviceArray) else np.asarray(value)


@contextmanager
def installed() -> Iterator[None]:
    """``import cupy`` gives the stand-in."""
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = StandIn()
    try:
        yield
    finally:
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before


@cache
def gpu_backend() -> Backend | None:
    """The gpu backend: on a card, else over the stand-in; None where there is neither a card nor a C++ compiler."""
    gpu = importlib.import_module("tinynn.backends.gpu")
    try:
        return gpu.make()
    except ImportError:
        pass
    if emulator.compiler() is None:
        return None
    gpu.make.cache_clear()
    with installed():
        return gpu.make()
