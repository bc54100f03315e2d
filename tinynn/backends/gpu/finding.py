"""Finding CuPy, the driver and a card; ``Missing`` says which of them is not there, and the command that helps."""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from typing import Any

from tinynn.backends.gpu import nvidia

OLDEST = 70
"""The compute capability that our kernels need: 7.0 (Volta), where the threads of a warp go their own ways."""


def load_cupy() -> Any:
    """The module cupy; ImportError where it is not installed, or installed and broken."""
    if importlib.util.find_spec("cupy") is None:
        raise missing("needs CuPy, which is not installed", nvidia.install())
    try:
        import cupy
    except Exception as error:
        reason = first_line(error.__cause__ or error)  # CuPy wraps the error in a page of advice
        raise missing(f"needs CuPy, which is installed but does not load ({reason})") from error
    if not hasattr(cupy, "cuda"):
        raise missing(f"needs CuPy, and `import cupy` finds something else in {list(cupy.__path__)}", nvidia.install())
    return cupy


def require_card(cupy: Any) -> None:
    """ImportError says what of driver, card, compiler and cuBLAS is missing, or does not fit the others."""
    runtime = cupy.cuda.runtime
    try:
        driver = runtime.driverGetVersion() // 1000
    except runtime.CUDARuntimeError:
        driver = 0
    if driver == 0:
        raise no_driver()
    wheel = nvidia.built_for()
    if wheel is not None and wheel > driver:
        first = nvidia.FIRST_DRIVER.get(wheel, "newer")
        raise missing(
            f"found {nvidia.builds()[0]}, which needs driver {first} or newer; yours is for CUDA {driver}",
            f"update the driver, or {nvidia.reinstall(driver)}" if driver >= 12 else "update the driver",
        )
    try:
        cards = runtime.getDeviceCount()
        reason = "the driver reports none"
    except runtime.CUDARuntimeError as error:
        cards, reason = 0, first_line(error)
    if cards == 0:
        raise no_card(reason, driver)
    require_capability(compute_capability(cupy), driver)
    try:
        cupy.cuda.nvrtc.getVersion()
        cupy.cuda.cublas  # noqa: B018  (the attribute loads the library)
    except Exception as error:
        raise missing(
            f"found CuPy and a card, but not the parts of CUDA that CuPy works with, its compiler NVRTC and cuBLAS "
            f"({first_line(error)})",
            f'`pip install "cupy-cuda{wheel or min(driver, 13)}x[ctk]>=14"` brings them',
        ) from error


def require_capability(capability: int, driver: int) -> None:
    """ImportError for a card that is too old; ``capability`` is 90 for 9.0."""
    has = f"a card of compute capability {capability // 10}.{capability % 10}"
    if capability < OLDEST:
        raise missing(
            f"needs a card of compute capability {OLDEST // 10}.{OLDEST % 10} (Volta) or newer, and found {has}",
            "CUDA_VISIBLE_DEVICES chooses another, where there is one",
        )
    if capability < nvidia.CUDA_13_CARDS and nvidia.built_for() == 13:
        raise missing(f"found {has}, which CUDA 13 no longer compiles for", nvidia.reinstall(driver, capability))


def no_driver() -> Missing:
    version = nvidia.driver()
    if version is None:
        return missing(
            "needs an NVIDIA driver, and there is none (`nvidia-smi` should print a table)",
            f"install the driver of your card, then the CuPy that fits it with {nvidia.install()}",
        )
    return missing(
        f"found the driver {version}, but CuPy does not: the driver's library libcuda is not here",
        "start a container with `--gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility`; elsewhere install the "
        "driver again",
    )


def no_card(reason: str, driver: int) -> Missing:
    found = f"found CuPy and a driver, but no usable card ({reason})"
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if nvidia.hidden() is not None:
        return missing(f"{found}: CUDA_VISIBLE_DEVICES={chosen!r} hides them all", "`unset CUDA_VISIBLE_DEVICES`")
    if chosen is not None:
        return missing(f"{found}: CUDA_VISIBLE_DEVICES={chosen!r} may name one that is not there", "`nvidia-smi -L`")
    return missing(
        found, f"see `nvidia-smi -L`; if the card is there, CuPy does not fit the driver: {nvidia.reinstall(driver)}"
    )


class Missing(ImportError):
    """The gpu backend cannot be had: ``what`` is wrong, and what to ``do``."""

    def __init__(self, what: str, do: str):
        super().__init__(
            f'backend "gpu" {what}: {do}. `python -m tinynn doctor --backend gpu` tells more; backend="cpu" needs '
            "neither card nor CuPy"
        )
        self.what, self.do = what, do


def missing(what: str, do: str | None = None) -> Missing:
    """The error; where two wheels of CuPy are installed at once, that is what to mend first."""
    builds = nvidia.builds()
    if len(builds) > 1:
        what += (
            f". {len(builds)} wheels of CuPy are installed at once, each over the other's files: {', '.join(builds)}"
        )
        do = None
    return Missing(what, do or nvidia.reinstall())


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip("= ")), type(error).__name__)


@cache
def compute_capability(cupy: Any) -> int:
    """Of the card that is used: 90 for 9.0."""
    return int(cupy.cuda.Device().compute_capability)
