"""What to do: each problem that can be seen, and the command that ends it."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from tinynn import backends
from tinynn.backends import inspection
from tinynn.backends.inspection import nvidia
from tinynn.doctor.facts import SETTINGS, said

Problem = dict[str, str]
REPORT = "report this, please, with what `python -m tinynn doctor --json` prints"


def problems(results: dict[str, dict[str, Any]], wanted: str) -> list[Problem]:
    """What is wrong and what to do about it, most urgent first."""
    listed: list[Problem] = []
    for part in (settings_problems, lambda: cpu_problems(results["cpu"]), lambda: gpu_problems(results["gpu"], wanted)):
        try:
            listed += part()
        except Exception as error:
            listed.append(problem(f"a check of doctor itself failed: {said(error)}", REPORT))
    return listed


def problem(what: str, do: str) -> Problem:
    return {"problem": what, "do": do}


def settings_problems() -> list[Problem]:
    listed = []
    for name in sorted(name for name in os.environ if name.startswith("TINYNN_") and name not in SETTINGS):
        if name.startswith("TINYNN_TEST_"):
            continue
        close = difflib.get_close_matches(name, SETTINGS, 1)
        meant = f", meant is perhaps {close[0]}" if close else f"; there are {', '.join(SETTINGS)}"
        listed.append(problem(f"{name} is set, which nothing reads{meant}", f"`unset {name}`"))
    default = os.environ.get("TINYNN_BACKEND")
    if default and default not in backends.NAMES:
        listed.append(
            problem(f"TINYNN_BACKEND={default!r} is no backend", f"set it to one of {', '.join(backends.NAMES)}")
        )
    data = os.environ.get("TINYNN_DATA")
    if data and not Path(data).expanduser().is_dir():
        listed.append(problem(f"TINYNN_DATA={data!r} is no folder", f"`mkdir -p {data}`, or `unset TINYNN_DATA`"))
    return listed


def cpu_problems(result: dict[str, Any]) -> list[Problem]:
    if result["works"]:
        return []
    blamed = [name for name in ("TINYNN_NUM_THREADS", "TINYNN_SIMD") if name in result["says"] and name in os.environ]
    do = f"`unset {blamed[0]}`" if blamed else '`pip install --force-reinstall "numpy>=2.0" "numba>=0.61"`'
    return [problem(f"the cpu backend does not work: {result['says']}", do)]


def gpu_problems(result: dict[str, Any], wanted: str) -> list[Problem]:
    """A missing gpu is a problem only where somebody asked for it, or has half of it."""
    listed = []
    builds = nvidia.builds()
    if len(builds) > 1:
        what = f"{len(builds)} wheels of CuPy are installed at once, each over the other's files: {', '.join(builds)}"
        listed.append(problem(what, nvidia.reinstall()))
    asked_for = wanted == "gpu" or os.environ.get("TINYNN_BACKEND") == "gpu"
    if not result["works"] and (asked_for or builds):
        do = result.get("do")
        what = f'backend "gpu" {result["says"]}' if do else f"the gpu backend does not work: {result['says']}"
        listed.append(problem(what, do or REPORT))
    elif not result["works"] and nvidia.driver() is not None:
        listed.append(problem(f"the driver {nvidia.driver()} is here, but CuPy is not", nvidia.install()))
    folder = inspection.kernel_cache()
    if result["works"] and folder.exists() and not os.access(folder, os.W_OK):
        what = f"{folder} cannot be written to: every process compiles its kernels again"
        listed.append(problem(what, "`export CUPY_CACHE_DIR=` a folder of your own"))
    return listed
