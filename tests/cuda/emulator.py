"""CUDA sources as C++ on the CPU: compiled by the system's compiler, run thread by thread (``emulator.h``)."""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tests import device
from tests.device import DeviceArray

HEADER = Path(__file__).with_name("emulator.h")
KERNEL = re.compile(r"__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(")


def compiler() -> str | None:
    """The C++ compiler, if there is one."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++")


@cache
def cache_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"tinynn-emulated-kernels-{os.getuid() if hasattr(os, 'getuid') else 0}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def translated(code: str) -> str:
    """The whole file: the emulator, the kernels where only this file sees them, and a door to each kernel."""
    names = KERNEL.findall(code)
    doors = "\n".join(
        f'extern "C" const char* run_{name}(const unsigned* shape, unsigned long shared, void** data) '
        f"{{ return emulator::launch({name}, shape, shared, data); }}\n"
        f'extern "C" const char* signature_{name}() {{ return emulator::signature({name}); }}'
        for name in names
    )
    return f'#include "{HEADER}"\nnamespace {{\n{code}\n}}\n{doors}\n'


def build(code: str, options: tuple[str, ...]) -> Path:
    """The shared library of a source; made once, then found by its contents."""
    text = translated(code)
    flags = [option for option in options if option.startswith(("-D", "-std"))]
    digest = hashlib.sha256("\0".join([text, HEADER.read_text(), *flags]).encode()).hexdigest()[:24]
    library = cache_folder() / f"{digest}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
        source, compiled, linked = (Path(folder) / name for name in ("kernels.cpp", "kernels.o", "kernels.so"))
        source.write_text(text)
        checks = ["-fsanitize=bounds,alignment", "-fno-sanitize=vptr"]
        command = [compiler(), "-O1", "-fPIC", "-w", *checks, *flags, "-c", source, "-o", compiled]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise RuntimeError(f"the emulated kernels do not compile:\n{result.stderr[:4000]}")
        # Without -fsanitize: the checks call the handlers in emulator.h, not those of a library.
        subprocess.run([compiler(), "-shared", compiled, "-o", linked], check=True)
        os.replace(linked, library)
    return library


class Module:
    """What ``cupy.RawModule`` is, over the emulator."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc"):
        self.library = ctypes.CDLL(str(build(code, tuple(options))))

    def get_function(self, name: str) -> Kernel:
        return Kernel(self.library, name)


class Kernel:
    """One kernel; called with (grid, block, arguments, shared_mem=0) as CuPy's."""

    def __init__(self, library: ctypes.CDLL, name: str):
        self.name = name
        self.run = library[f"run_{name}"]
        self.run.restype = ctypes.c_char_p
        describe = library[f"signature_{name}"]
        describe.restype = ctypes.c_char_p
        self.signature: list[str] = describe().decode().split()

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, *, shared_mem: int = 0) -> None:
        if device.TAPE is not None:
            device.TAPE.keep([arg for arg in args if isinstance(arg, DeviceArray)])
            device.TAPE.add(lambda: self.launch(grid, block, args, shared_mem))
        self.launch(grid, block, args, shared_mem)

    def launch(self, grid: tuple[int, ...], block: tuple[int, ...], args: Any, shared_mem: int) -> None:
        shape = (ctypes.c_uint * 6)(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])
        self.check_shape(list(shape), shared_mem)
        if len(args) != len(self.signature):
            raise TypeError(f"{self.name} takes {len(self.signature)} arguments, got {len(args)}")
        values = [self.value(i, kind, arg) for i, (kind, arg) in enumerate(zip(self.signature, args, strict=True))]
        pointers = (ctypes.c_void_p * len(values))(*(ctypes.addressof(v) for v in values))
        error = self.run(shape, ctypes.c_ulong(shared_mem), pointers).decode()
        if error:
            raise RuntimeError(f"{self.name}: {error}")
        for i, arg in enumerate(args):
            if isinstance(arg, DeviceArray) and not arg.fences_stand():
                raise RuntimeError(f"{self.name} wrote outside of its argument {i}, of shape {arg.shape}")

    def check_shape(self, shape: list[int], shared: int) -> None:
        """What a card refuses at launch."""
        x, y, z = shape[3:]
        if min(shape) < 1 or max(shape[1], shape[2]) > 65535 or x * y * z > 1024 or z > 64 or shared > 227 << 10:
            raise RuntimeError(f"{self.name}: no card takes blocks {shape[:3]} of {shape[3:]} threads, {shared} bytes")

    def value(self, i: int, kind: str, arg: Any) -> Any:
        """An argument as C has it; TypeError where it is not what the kernel declares."""
        if kind.startswith("*"):
            if type(arg) is int and arg == 0:
                return ctypes.c_void_p(0)
            if not isinstance(arg, DeviceArray):
                raise TypeError(f"{self.name}, argument {i}: a device array or 0 is expected, got {type(arg).__name__}")
            if np.dtype(arg.dtype).char.replace("l", "q").replace("L", "Q") != kind[-1]:
                raise TypeError(f"{self.name}, argument {i}: a pointer to '{kind[-1]}' is declared, got {arg.dtype}")
            if not arg.flags.c_contiguous:
                raise TypeError(f"{self.name}, argument {i}: the array is not contiguous")
            return ctypes.c_void_p(arg._host.ctypes.data)
        kinds = {"q": (int, ctypes.c_longlong), "d": (float, ctypes.c_double)}
        if kind not in kinds or type(arg) is not kinds[kind][0]:
            raise TypeError(
                f"{self.name}, argument {i}: CuPy passes int as 'q' and float as 'd'; '{kind}' is declared, "
                f"got {type(arg).__name__}"
            )
        return kinds[kind][1](arg)
