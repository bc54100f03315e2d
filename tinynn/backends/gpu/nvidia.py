"""What of NVIDIA is on this machine, asked without importing CuPy, and the commands that install what fits it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

FIRST_DRIVER = {13: 580, 12: 525}
"""The major version of CUDA: the first driver that runs it."""
CUDA_13_CARDS = 75
"""The oldest cards that CUDA 13 compiles for, as compute capability: 7.5 (Turing); CUDA 12 has older ones too."""

EITHER = (
    '`pip install "tinynn-np[cuda13]"` (driver 580 or newer) or `pip install "tinynn-np[cuda12]"` (driver 525 or newer)'
)
SMI = ("nvidia-smi", "/usr/lib/wsl/lib/nvidia-smi")
PROC = Path("/proc/driver/nvidia/version")
BUILDS = re.compile(r"cupy|cupy-cuda\d+x?|cupy-rocm-.*|amd-cupy")
"""Distributions that hold the package ``cupy`` itself; others (cupy-xarray) only use it."""


@cache
def ask(fields: str) -> list[list[str]]:
    """What nvidia-smi answers, a list of the fields for each card; none where it is missing, hangs or fails."""
    program = next(filter(None, map(shutil.which, SMI)), None)
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return []
    rows = [[field.strip() for field in line.split(",")] for line in answer.splitlines()]
    return [row for row in rows if len(row) == fields.count(",") + 1]


def driver() -> str | None:
    """The driver's version, such as "580.65.06", from nvidia-smi or, where that is missing, from Linux."""
    for (version,) in ask("driver_version"):
        return version
    try:
        found = re.search(r"\b(\d{3,}\.\d+(\.\d+)?)\b", PROC.read_text())
    except OSError:
        return None
    return found[1] if found else None


def driver_cuda() -> int | None:
    """The newest major version of CUDA that the driver runs: 13, 12, 0 where it is too old; None without a driver."""
    number = re.match(r"\d+", driver() or "")
    if number is None:
        return None
    return next((cuda for cuda, first in FIRST_DRIVER.items() if int(number[0]) >= first), 0)


def cards() -> list[tuple[str, int, str]]:
    """(name, bytes of memory, compute capability such as "9.0") of each card, from nvidia-smi."""
    rows = ask("name,memory.total,compute_cap") or [[*row, "unknown"] for row in ask("name,memory.total")]
    known = [row for row in rows if row[1].isdecimal() or row[1].startswith("[")]  # "[N/A]": memory of the host
    return [(name, int(mib) << 20 if mib.isdecimal() else 0, capability) for name, mib, capability in known]


def distributions(*starts: str) -> dict[str, str]:
    """The installed distributions whose names start so: name -> version."""
    found = {}
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower().replace("_", "-")
        if name.startswith(starts):
            found[name] = distribution.version
    return dict(sorted(found.items()))


def builds() -> list[str]:
    """The installed distributions that are CuPy: at most one, where all is well."""
    return [name for name in distributions("") if BUILDS.fullmatch(name)]


def built_for() -> int | None:
    """The major version of CUDA that the one installed wheel of CuPy is for; None where that cannot be told."""
    found = [re.match(r"cupy-cuda(\d\d)", name) for name in builds()]
    return int(found[0][1]) if len(found) == 1 and found[0] else None


def hidden() -> str | None:
    """The value of CUDA_VISIBLE_DEVICES where it names no card at all."""
    value = os.environ.get("CUDA_VISIBLE_DEVICES")
    return value if value is not None and value.strip() in ("", "-1", "NoDevFiles", "none", "void") else None


def install(cuda: int | None = None, capability: int | None = None) -> str:
    """The command that installs CuPy for the driver's CUDA and the card; both commands where the driver is unknown."""
    cuda = driver_cuda() if cuda is None else cuda
    if cuda is None:
        return EITHER
    if cuda < min(FIRST_DRIVER):
        return f"update the driver (525 is the oldest that will do, 580 the better one), then {EITHER}"
    old_card = capability is not None and capability < CUDA_13_CARDS
    return f'`pip install "tinynn-np[cuda{12 if old_card else min(cuda, 13)}]"`'


def reinstall(cuda: int | None = None, capability: int | None = None) -> str:
    """The commands that put the wheel that fits into the place of every one that is there."""
    return f"`pip uninstall -y {' '.join(builds()) or 'cupy'}`, then {install(cuda, capability)}"
