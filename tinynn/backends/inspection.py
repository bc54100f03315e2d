"""Facts about this machine that only a backend can tell; ``tinynn.doctor`` prints them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tinynn.backends.gpu import finding, nvidia

__all__ = ["Facts", "cpu", "gpu", "kernel_cache", "nvidia"]

Facts = dict[str, Callable[[], Any]]
"""Names, and what finds each of them out; it may raise."""


def cpu() -> Facts:
    """Threads, vectors and the folder of compiled kernels of the cpu backend; imports Numba."""
    from tinynn.backends.cpu import processor, simd, softmax, threads

    def layer() -> str:
        threads.workers()  # starts the layer
        return str(importlib.import_module("numba").threading_layer())

    return {
        "threads": lambda: f"{threads.get_num_threads()} of at most {threads._limit}; TINYNN_NUM_THREADS sets them",
        "threading layer": layer,
        "vectors": lambda: f"{simd.WIDTH} bits; TINYNN_SIMD sets them",
        "second-level cache": lambda: f"{processor.L2_BYTES >> 10} KiB",
        "kernels": lambda: cache_folder(softmax),
    }


def cache_folder(module: Any) -> Path:
    """Where Numba keeps the kernels of a module."""
    found = (getattr(getattr(value, "stats", None), "cache_path", None) for value in vars(module).values())
    return Path(next(path for path in found if path))


def gpu() -> Facts:
    """What CuPy tells; ImportError where there is none."""
    cupy = finding.load_cupy()
    runtime = cupy.cuda.runtime
    return {
        "CUDA of CuPy": lambda: version(runtime.runtimeGetVersion()),
        "CUDA of the driver": lambda: version(runtime.driverGetVersion()) if runtime.driverGetVersion() else "none",
        "NVRTC of CuPy": lambda: ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "cards, by CuPy": lambda: [card(runtime.getDeviceProperties(i)) for i in range(runtime.getDeviceCount())],
    }


def version(number: int) -> str:
    """13020 is CUDA 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def card(properties: dict[str, Any]) -> str:
    name, size = properties["name"].decode(), properties["totalGlobalMem"] / 2**30
    return f"{name}, {size:.1f} GiB, compute capability {properties['major']}.{properties['minor']}"


def kernel_cache() -> Path:
    """Where CuPy keeps compiled kernels."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
