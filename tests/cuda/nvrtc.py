"""NVIDIA's run-time compiler, which CuPy uses too and which needs no card: of a wheel, or the system's."""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from functools import cache
from pathlib import Path


@cache
def library() -> ctypes.CDLL | None:
    """libnvrtc, or None."""
    spec = importlib.util.find_spec("nvidia")
    places = [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    places += [Path("/usr/local/cuda")]
    patterns = ("*/lib/libnvrtc.so.*", "*/lib64/libnvrtc.so.*", "lib64/libnvrtc.so.*")
    found = [str(file) for place in places for pattern in patterns for file in sorted(place.glob(pattern))]
    for name in [*found, ctypes.util.find_library("nvrtc")]:
        if name and ".alt." not in name:
            try:
                return ctypes.CDLL(name)
            except OSError:
                continue
    return None


def version() -> tuple[int, int]:
    nvrtc = library()
    assert nvrtc is not None
    major, minor = ctypes.c_int(), ctypes.c_int()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return major.value, minor.value


def compile(code: str, name: str, options: tuple[str, ...]) -> tuple[bool, str, bytes]:
    """(whether it compiles, what the compiler says, the machine code) for options such as ``-arch=sm_90``."""
    nvrtc = library()
    assert nvrtc is not None
    program = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), name.encode(), 0, None, None)
    try:
        flags = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        status = nvrtc.nvrtcCompileProgram(program, len(options), flags)
        log = text(program, "ProgramLog")
        return status == 0, log.decode(errors="replace").strip("\0\n"), text(program, "CUBIN") if status == 0 else b""
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def text(program: ctypes.c_void_p, what: str) -> bytes:
    nvrtc = library()
    assert nvrtc is not None
    size = ctypes.c_size_t()
    nvrtc[f"nvrtcGet{what}Size"](program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    nvrtc[f"nvrtcGet{what}"](program, buffer)
    return buffer.raw
