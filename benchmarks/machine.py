"""The machine that a number was measured on, and whether somebody else was using it meanwhile."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

STAT = Path("/proc/stat")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name, as the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        return subprocess.run(
            ["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        ).stdout.strip()
    return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter; asked without importing them."""
    found = {"python": platform.python_version()}
    for package in ("numpy", "numba", "torch"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def describe() -> dict[str, Any]:
    return {"processor": processor(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}"}


def busy_seconds() -> float | None:
    """CPU seconds that all processes of this machine have used since it started, stolen time (time another virtual
    machine took from this one) included; None where the system does not tell (it is Linux's /proc/stat).
    """
    if not STAT.exists():
        return None
    fields = [int(field) for field in STAT.read_text().split("\n", 1)[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
