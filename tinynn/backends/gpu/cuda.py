"""The door to CuPy: finding it, compiling our CUDA sources, launching kernels. Rows of this package go through it.

A row is two files of one name: ``softmax.cu`` holds kernels in CUDA C++, ``softmax.py`` the functions of the contract,
which launch them. Sources are compiled at their first use, for float and for double (``real``), by the NVRTC that CuPy
finds, and cached on disk by CuPy; nothing is compiled that nobody uses.
"""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.typing import Array

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17",)
REAL = {"f": "float", "d": "double"}
THREADS = 256
"""Of a block, where nothing else is asked for."""
MOST_BLOCKS = 4096
"""Of an elementwise kernel: a few for every multiprocessor of the largest card; threads go on in strides."""

INSTALL = (
    '`pip install "tinynn-np[cuda13]"` (driver 580 or newer) or `pip install "tinynn-np[cuda12]"`; '
    'backend="cpu" needs neither card nor CuPy'
)

cupy: Any = None
"""The module, once ``load`` has found it."""


# -- launching -------------------------------------------------------------------------------------------------------


class Source:
    """The kernels of one ``.cu`` file.

    headers: ``.cuh`` files that it uses beside common.cuh, which stands in front of each
    options: for the compiler, such as ``-DBLOCK=64``
    """

    def __init__(self, name: str, *headers: str, options: tuple[str, ...] = ()):
        self.name, self.headers, self.options = name, headers, options
        self.functions: dict[tuple[str, str], Any] = {}

    def text(self) -> str:
        """The whole source; ``#line`` keeps the places in the compiler's messages."""
        files = ["common.cuh", *(f"{header}.cuh" for header in self.headers), f"{self.name}.cu"]
        return "\n".join(f'#line 1 "{file}"\n{(FOLDER / file).read_text()}' for file in files)

    def compiler_options(self, real: str) -> tuple[str, ...]:
        return (*OPTIONS, f"-Dreal={REAL[real]}", f"-DREAL_IS_{REAL[real].upper()}", *self.options)

    def function(self, kernel: str, real: str) -> Any:
        """The compiled kernel of that name, for that kind of float ("f" or "d")."""
        found = self.functions.get((kernel, real))
        if found is None:
            found = self.functions[kernel, real] = module(self.text(), self.compiler_options(real)).get_function(kernel)
        return found

    def launch(self, kernel: str, blocks: Any, threads: int, *args: Any, shared: int = 0) -> None:
        """Run a kernel over a grid of ``blocks`` (a number or a tuple) of ``threads`` each.

        The first argument is an array of the float type that the kernel works in. Arrays become pointers and must be
        contiguous, None a null pointer, bools and ints ``Size``, floats ``double``. shared: bytes of dynamic memory.
        """
        values = tuple(map(argument, args))
        grid = blocks if type(blocks) is tuple else (blocks,)
        self.function(kernel, args[0].dtype.char)(grid, (threads,), values, shared_mem=shared)

    def each(self, kernel: str, n: int, *args: Any) -> None:
        """Run an elementwise kernel over n elements: its loop is ``EACH(i, n)``, and ``n`` its last argument."""
        if n:
            self.launch(kernel, min(ceil_div(n, THREADS), MOST_BLOCKS), THREADS, *args, n)


def argument(value: Any) -> Any:
    """A kernel's argument as CuPy passes it rightly."""
    if value is None:
        return 0
    kind = type(value)
    if kind is float or kind is int:
        return value
    if kind is bool or isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, np.floating):
        return float(value)
    if not value.flags.c_contiguous:
        raise ValueError(f"a kernel got an array of shape {value.shape} that is not contiguous")
    return value


@cache
def module(code: str, options: tuple[str, ...]) -> Any:
    return cupy.RawModule(code=code, options=options)


def contiguous(x: Array) -> Array:
    """The array, copied if its elements do not lie one after the other."""
    return x if x.flags.c_contiguous else cupy.ascontiguousarray(x)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def power_of_two(n: int, least: int = 1, most: int = 1024) -> int:
    """The smallest power of two that is not below n, within bounds."""
    return min(max(1 << max(n - 1, 0).bit_length(), least), most)


def size_of(shape: Any) -> int:
    return math.prod(shape)


# -- finding CuPy, the driver and a card -----------------------------------------------------------------------------


def load() -> Any:
    """The module cupy, with a card behind it; ImportError says what is missing."""
    global cupy
    found = load_cupy()
    require_card(found)
    cupy = found
    module.cache_clear()
    return found


def load_cupy() -> Any:
    """The module cupy; ImportError where it is not installed, or installed and broken."""
    if importlib.util.find_spec("cupy") is None:
        raise ImportError(f'backend "gpu" needs CuPy, which is not installed: install the wheel with {INSTALL}')
    try:
        import cupy
    except Exception as error:
        raise ImportError(
            f'backend "gpu" needs CuPy, which is installed but does not load ({error}). Usually two CuPy wheels are '
            "installed at once, or one for another CUDA version: uninstall every package whose name starts with cupy, "
            f"then {INSTALL}"
        ) from error
    return cupy


def require_card(cupy: Any) -> None:
    """ImportError says which of the driver and the card is missing."""
    runtime = cupy.cuda.runtime
    try:
        driver = runtime.driverGetVersion()
    except runtime.CUDARuntimeError:
        driver = 0
    if driver == 0:
        raise ImportError(
            'backend "gpu" needs an NVIDIA driver, and CuPy finds none (`nvidia-smi` should print a table): install '
            f"the driver of your card, then the CuPy that fits it with {INSTALL}"
        )
    try:
        cards = runtime.getDeviceCount()
        reason = "the driver reports none"
    except runtime.CUDARuntimeError as error:
        cards, reason = 0, str(error)
    if cards == 0:
        raise ImportError(
            f'backend "gpu" found CuPy and a driver, but no usable card ({reason}): see `nvidia-smi -L` and '
            f"CUDA_VISIBLE_DEVICES. If the card is there, the wheel does not fit the driver: {INSTALL}"
        )
