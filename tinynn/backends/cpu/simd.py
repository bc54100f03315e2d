"""Which vector registers this machine has, and the register blocks that fit them.

The micro-kernel of a matrix product keeps a block of C in registers: `rows` x `vectors` accumulators, plus the
vectors of B and one broadcast element of A (Goto & van de Geijn, "Anatomy of High-Performance Matrix
Multiplication", 2008). The block must fill the registers without spilling; this file is the only place that
knows their number.

The width is found on the host, or set with TINYNN_SIMD=512|256|128. A width that the machine does not have
works too, slowly: LLVM splits the vectors.
"""

import functools
import hashlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import llvmlite.binding as llvm
from numba import cfunc, njit


@dataclass(frozen=True)
class RegisterBlock:
    """Shape of the micro-kernels for one vector width.

    lanes: float32 numbers in a vector; vectors: vectors across a block; rows: heights of the blocks, the first
    for the bulk, the smaller ones for the rows that remain (the last is 1, so every height can be made).
    """

    lanes: int
    vectors: int
    rows: tuple[int, int, int]

    @property
    def columns(self) -> int:
        """Columns of C in a block."""
        return self.lanes * self.vectors


BLOCKS = {
    512: RegisterBlock(lanes=16, vectors=2, rows=(12, 4, 1)),  # AVX-512: 24 + 2 + 1 of 32 registers
    256: RegisterBlock(lanes=8, vectors=2, rows=(6, 2, 1)),  # AVX2: 12 + 2 + 1 of 16 registers
    128: RegisterBlock(lanes=4, vectors=2, rows=(4, 2, 1)),  # SSE2, NEON: 8 + 2 + 1 of 16 or 32 registers
}


def _host_width() -> int:
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM cannot tell on this platform
        return 128
    if features.get("avx512f"):
        return 512
    if features.get("avx2") and features.get("fma"):
        return 256
    return 128


def _chosen_width() -> int:
    text = os.environ.get("TINYNN_SIMD")
    if text is None:
        return _host_width()
    if text not in {str(width) for width in BLOCKS}:
        raise ValueError(f"TINYNN_SIMD must be one of {', '.join(map(str, BLOCKS))}, got {text!r}")
    return int(text)


WIDTH = _chosen_width()
BLOCK = BLOCKS[WIDTH]


GENERATORS = (
    *("simd.py", "microkernel.py", "vectors.py", "images.py"),
    *("plan.py", "packing.py", "sums.py", "tasks.py", "moments.py", "channels.py", "sigmoids.py"),
    *("panels.py", "recurrent.py"),
    "../../activation.py",
)
"""Files whose functions or constants are compiled into the kernels of other files."""


@functools.cache
def _stamp(*files: Path | str) -> str:
    """A short name for the present text of these files."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()[:8]


_CACHE_NAME = f"_simd{WIDTH}_{_stamp(*(Path(__file__).parent / name for name in GENERATORS))}"


def cache_name(function) -> str:
    """What a kernel's name in the cache ends with: the vector width, the generators' text, and its own file's.

    Numba would find out by itself that a file has changed; but it writes down that new code is there before it writes
    the code, and a process that looks in between takes the old one.
    """
    return f"{_CACHE_NAME}_{_stamp(function.__code__.co_filename)}"


def compiled(**options):
    """`njit` for kernels that contain generated vector code: compiled once, then read from disk.

    Numba finds a cached function by the text of its own file, so it would take code of another vector width, or
    of an older generator, for current. Both are therefore written into the name under which it is cached. A change
    to a compiled helper in a third file still needs its callers touched: keep helpers beside their callers, or put
    their file into GENERATORS.
    """

    def decorate(function):
        function.__qualname__ += cache_name(function)
        return njit(cache=True, nogil=True, error_model="numpy", **options)(function)

    return decorate


def once(function):
    """A function without arguments that is called at the first use of its value, by one thread only."""
    lock = threading.RLock()
    value = []

    @functools.wraps(function)
    def kept():
        if not value:
            with lock:
                if not value:
                    value.append(function())
        return value[0]

    return kept


def with_signature(*arguments):
    """Compile a kernel for these types of arguments only, at first use: `kernel()` is the compiled kernel.

    Arrays of other layouts are then converted to the ones declared (`A` takes them all), where Numba would
    otherwise start the compiler once more for every combination of layouts that comes along.
    """

    def decorate(dispatcher):
        def compiled_kernel():
            dispatcher.compile(arguments)
            dispatcher.disable_compile()
            return dispatcher

        return once(functools.wraps(dispatcher.py_func)(compiled_kernel))

    return decorate


def entry_point(signature: str):
    """A kernel that other kernels call by its address, `kernel()`; compiled when that is first asked for.

    Numba compiles a called function into each of its callers, again at every level. A call by address keeps a large
    kernel out of the serial and the parallel entry that both hand out its work.
    """

    def decorate(function):
        function.__qualname__ += cache_name(function)
        callback = once(lambda: cfunc(signature, cache=True, error_model="numpy")(function))  # keeps the code alive
        return once(functools.wraps(function)(lambda: callback().address))

    return decorate
