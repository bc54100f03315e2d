"""The sections of the report: names and what was found out about each. What fails is printed as that."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from tinynn.backends import inspection
from tinynn.backends.inspection import nvidia

SETTINGS = ("TINYNN_BACKEND", "TINYNN_CONV2D", "TINYNN_DATA", "TINYNN_DEBUG", "TINYNN_NUM_THREADS", "TINYNN_SIMD")
THEIRS = ("CUDA_VISIBLE_DEVICES", "CUDA_PATH", "CUPY_CACHE_DIR", "NUMBA_CACHE_DIR", "NUMBA_NUM_THREADS")
"""Variables of others that change what our backends do."""
NEEDED = ("numpy", "numba", "tqdm", "pooch", "safetensors")
PARTS = ("cuda-toolkit", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc", "nvidia-cublas")
"""How the names of the wheels begin that CuPy's extra `ctk` brings, and CuPy needs."""
OPTIONAL = {"matplotlib": "plots", "pillow": "images", "tensorboardX": "tensorboard"}
"""A distribution: the extra of ours that installs it."""

Section = dict[str, Any]
"""A name: a text or a list of texts; before it is asked, a function that finds it out."""


def found(question: Callable[[], Any]) -> Any:
    """The answer as text or a list of texts; an error is one too."""
    try:
        answer = question()
    except Exception as error:
        return f"could not be found out: {said(error)}"
    return answer if isinstance(answer, (list, dict, bool, int, float)) else str(answer)


def said(error: Exception) -> str:
    """An error in one line that is not endless (a compiler's may be pages)."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text if len(text) < 600 else text[:600] + ' ...'}"


def versions() -> Section:
    section: Section = {
        "Python": lambda: f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform,
        "tinynn": lambda: f"{metadata.version('tinynn-np')} ({Path(__file__).parent})",
    }
    try:
        metadata.version("tinynn-np")
    except metadata.PackageNotFoundError:
        section["tinynn"] = lambda: f"not installed, used from {Path(__file__).parent.parent}"
    section |= {name: lambda name=name: installed(name) for name in (*NEEDED, *OPTIONAL)}
    return section


def installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        extra = OPTIONAL.get(name)
        return f'not installed; optional: `pip install "tinynn-np[{extra}]"`' if extra else "not installed"


def machine() -> Section:
    return {"processor": processor, "cores": lambda: os.cpu_count(), "memory": memory}


def processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def memory() -> str:
    """Of the machine, and what is free; the limit of a container where there is one."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    text = f"{total / 2**30:.1f} GiB"
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":") for line in info.read_text().splitlines())
        text += f", {int(fields['MemAvailable'].split()[0]) / 2**20:.1f} GiB available"
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and limit.read_text().strip().isdecimal():
        text += f", limited to {int(limit.read_text()) / 2**30:.1f} GiB here"
    return text


def cpu() -> Section:
    return {name: ask for name, ask in inspection.cpu().items() if name != "kernels"}


def graphics() -> Section:
    """What of NVIDIA is here, with CuPy's own answers where CuPy can be imported."""
    section: Section = {
        "driver": lambda: nvidia.driver() or "none",
        "cards": lambda: [f"{n}, {b / 2**30:.1f} GiB, compute capability {c}" for n, b, c in nvidia.cards()] or "none",
        "CuPy": lambda: named(nvidia.distributions("cupy")) or "not installed",
        "CUDA's wheels": lambda: named(nvidia.distributions(*PARTS)) or "none",
    }
    if importlib.util.find_spec("cupy") is not None:
        try:
            section |= inspection.gpu()
        except ImportError as error:
            section["import cupy"] = said(error)
    return section


def named(packages: dict[str, str]) -> list[str]:
    return [f"{name} {version}" for name, version in packages.items()]


def caches() -> Section:
    return {
        "kernels of the cpu backend": lambda: sized(Path(inspection.cpu()["kernels"]()), "*.nb[ic]"),
        "kernels of the gpu backend": lambda: sized(inspection.kernel_cache()),
        "data sets": lambda: sized(data_folder()),
    }


def data_folder() -> Path:
    from tinynn.datasets.source import cache_root

    return cache_root()


def sized(folder: Path, pattern: str = "*") -> str:
    if not folder.exists():
        return f"{folder} (not made yet)"
    total = sum(file.stat().st_size for file in folder.rglob(pattern) if file.is_file())
    return f"{folder} ({total / 2**20:.1f} MiB{'' if os.access(folder, os.W_OK) else ', cannot be written to'})"


def settings() -> Section:
    """The variables that are set, and the backend that follows."""
    section: Section = {"default backend": os.environ.get("TINYNN_BACKEND") or "cpu (TINYNN_BACKEND is not set)"}
    names = sorted(name for name in os.environ if name.startswith("TINYNN_") or name in THEIRS)
    return section | {name: repr(os.environ[name]) for name in names}


SECTIONS = {
    "versions": versions,
    "machine": machine,
    "cpu backend": cpu,
    "gpu backend": graphics,
    "caches": caches,
}


def section(make: Callable[[], Section]) -> Section:
    try:
        asked = make()
    except Exception as error:
        return {"": f"could not be found out: {said(error)}"}
    return {name: found(value) if callable(value) else value for name, value in asked.items()}
