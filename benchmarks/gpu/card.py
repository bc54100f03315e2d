"""What the card is, and what stands around it; asked in a process that may keep it."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
from collections.abc import Callable
from typing import Any

UNKNOWN = "unknown"


NEEDED = {
    "numba": "without our cpu backend: no examples, no crossover",
    "torch": "without PyTorch: only tinynn is measured",
    "pytest": "without the tests",
    "hypothesis": "without the tests",
    "matplotlib": "no picture; python -m benchmarks.compare draws it elsewhere",
    "safetensors": "tests that save models fail",
}
"""Packages, and what a run is without them. tqdm and pooch are not used by it."""


def absent() -> dict[str, str]:
    """Of ``NEEDED`` those that are not installed."""
    return {name: what for name, what in NEEDED.items() if importlib.util.find_spec(name) is None}


def asked(question: Callable[[], Any]) -> Any:
    """The answer, or "unknown": a run of ten minutes does not end for a version that nobody can tell."""
    try:
        return question()
    except Exception:
        return UNKNOWN


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def version(number: int) -> str:
    """CUDA's numbers: 13020 is 13.2."""
    return f"{number // 1000}.{number % 1000 // 10}"


def describe() -> dict[str, Any]:
    """The card that CuPy computes on, the driver, and the versions of CUDA and CuPy."""
    import cupy

    runtime = cupy.cuda.runtime
    properties = asked(lambda: runtime.getDeviceProperties(0))
    if not isinstance(properties, dict):
        properties = {}
    return {
        "name": text(properties.get("name", UNKNOWN)),
        "compute_capability": f"{properties.get('major', '?')}.{properties.get('minor', '?')}",
        "multiprocessors": properties.get("multiProcessorCount", UNKNOWN),
        "memory_GiB": asked(lambda: round(properties["totalGlobalMem"] / 2**30, 1)),
        "cupy": text(getattr(cupy, "__version__", UNKNOWN)),
        "cuda_of_the_driver": asked(lambda: version(runtime.driverGetVersion())),
        "cuda_runtime": asked(lambda: version(runtime.runtimeGetVersion())),
        "nvrtc": asked(lambda: ".".join(map(str, cupy.cuda.nvrtc.getVersion()))),
        "driver": asked(driver),
    }


def driver() -> str:
    """The driver's own version, as nvidia-smi tells it."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()[0]


def of_torch() -> dict[str, Any]:
    """PyTorch's versions, in PyTorch's process; what it may do with float32 stands in every row ("arithmetic")."""
    import torch

    return {
        "torch": torch.__version__,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "cuda_of_torch": text(torch.version.cuda),
        "cudnn": asked(torch.backends.cudnn.version),
        "card_of_torch": asked(lambda: torch.cuda.get_device_name(0)),
    }


def slug(name: str) -> str:
    """A card's name in a file's.

    >>> slug("NVIDIA GeForce RTX 4090")
    'geforce-rtx-4090'
    """
    return re.sub("[^a-z0-9]+", "-", name.lower().replace("nvidia", "")).strip("-") or platform.machine()
