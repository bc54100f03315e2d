"""The door to CuPy: finding it, compiling our CUDA sources, launching kernels. Rows of this package go through it.

A row is two files of one name: ``softmax.cu`` holds kernels in CUDA C++, ``softmax.py`` the functions of the contract,
which launch them. Sources are compiled at their first use, for float and for double (``real``), by the NVRTC that CuPy
finds, and cached on disk by CuPy; nothing is compiled that nobody uses.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tinynn.backends.base import numbers
from tinynn.backends.gpu.finding import compute_capability, load_cupy, require_card
from tinynn.typing import Array

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17",)
REAL = {"f": "float", "d": "double"}
THREADS = 256
"""Of a block, where nothing else is asked for."""
MOST_BLOCKS = 4096
"""Of an elementwise kernel: a few for every multiprocessor of the largest card; threads go on in strides."""

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
        found = module(self.text(), self.compiler_options(real)).get_function(kernel)
        self.functions[kernel, real] = found
        return found

    def launch(self, kernel: str, blocks: Any, threads: int, *args: Any, shared: int = 0) -> None:
        """Run a kernel over a grid of ``blocks`` (a number or a tuple) of ``threads`` each.

        The first argument is an array of the float type that the kernel works in. Arrays become pointers and must be
        contiguous (only the emulator of the tests looks), None a null pointer, bools and ints ``Size``, floats
        ``double``. shared: bytes of dynamic memory.
        """
        values = tuple(map(argument, args))
        grid = blocks if type(blocks) is tuple else (blocks,)
        real = args[0].dtype.char
        function = self.functions.get((kernel, real)) or self.function(kernel, real)
        function(grid, (threads,), values, shared_mem=shared)

    def each(self, kernel: str, n: int, *args: Any) -> None:
        """Run an elementwise kernel over n elements: its loop is ``EACH(i, n)``, and ``n`` its last argument."""
        if n:
            self.launch(kernel, min(ceil_div(n, THREADS), MOST_BLOCKS), THREADS, *args, n)

    def by_fours(self, kernel: str, n: int, *args: Any, most: int = MOST_BLOCKS) -> None:
        """The same for a kernel whose threads take four elements at a time."""
        if n:
            self.launch(kernel, min(ceil_div(n, 4 * THREADS), most), THREADS, *args, n)


def argument(value: Any) -> Any:
    """A kernel's argument as CuPy passes it rightly."""
    kind = type(value)
    if kind is cupy.ndarray or kind is int or kind is float:
        return value
    if value is None:
        return 0
    if isinstance(value, (bool, int, np.integer)):
        return int(value)
    return float(value) if isinstance(value, np.floating) else value


@cache
def module(code: str, options: tuple[str, ...]) -> Any:
    return cupy.RawModule(code=code, options=options)


def contiguous(x: Array) -> Array:
    """The array, copied if its elements do not lie one after the other."""
    return x if lies_whole(x) else cupy.ascontiguousarray(x)


def given(x: Array | None) -> Array | None:
    """The same of what may be left out."""
    return None if x is None else contiguous(x)


def aligned(x: Array) -> Array:
    """The array, copied if it is not contiguous, or begins where 16 bytes cannot be read at once (a view may)."""
    x = contiguous(x)
    return x if x.data.ptr % 16 == 0 else x.copy()


def lies_whole(x: Array) -> bool:
    """Whether an array is contiguous. CuPy's ``flags`` makes an object, which takes longer than a launch's rest."""
    return bool(x._c_contiguous if hasattr(x, "_c_contiguous") else x.flags.c_contiguous)


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def power_of_two(n: int, least: int = 1, most: int = 1024) -> int:
    """The smallest power of two that is not below n, within bounds."""
    return min(max(1 << max(n - 1, 0).bit_length(), least), most)


# -- arrays in and out -----------------------------------------------------------------------------------------------

recording: int | None = None
"""The thread that records a step: nothing may come from the host in it, since a replay would not bring it again."""
ONE_AT_A_TIME = threading.Lock()
"""Held by that thread."""


def asarray(value: Any, dtype: Any) -> Any:
    """An array on the card; a CuPy array of the right dtype is not copied."""
    if isinstance(value, cupy.ndarray):
        return value.astype(dtype, copy=False)
    if isinstance(value, (bool, int, float)):  # a kernel's argument: nothing is copied
        array = cupy.empty((), dtype)
        array.fill(value)
        return array
    if recording == threading.get_ident():
        shape = getattr(value, "shape", None)
        raise RuntimeError(
            f"a step that takes {'an array of shape ' + str(tuple(shape)) if shape else 'numbers'} from the host "
            "cannot be recorded: keep it in a Buffer of the layer (add_weight(trainable=False)), or in a tensor made "
            "before"
        )
    return cupy.asarray(numbers(value, dtype))


def to_numpy(value: Any) -> np.ndarray:
    """A copy on the host; NumPy arrays as they are."""
    return cupy.asnumpy(value)


def synchronize() -> None:
    """Wait until the card has done everything; what went wrong in a kernel is raised here."""
    cupy.cuda.get_current_stream().synchronize()


class Staging:
    """Batches on their way to the card, by a stream of their own: batch k + 1 is copied while step k computes.

    Two sets of arrays take turns. Each array has a twin in page-locked host memory, from which the card copies by
    itself. Two waits keep them apart: the host writes into a twin when the copy from it is done (two batches ago), and
    the card copies into an array when the step that read it is done. An array that somebody still refers to (a metric
    that keeps the targets) is left as it is, and another one takes its place.
    """

    def __init__(self) -> None:
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.sets: tuple[dict[int, Twin], dict[int, Twin]] = ({}, {})
        self.copied = [cupy.cuda.Event(disable_timing=True) for _ in range(2)]
        self.computed = [cupy.cuda.Event(disable_timing=True) for _ in range(2)]
        self.now = 0

    def turn(self) -> None:
        self.computed[self.now].record(cupy.cuda.get_current_stream())  # all that reads the last batch is asked for
        self.now = 1 - self.now
        self.copied[self.now].synchronize()
        self.stream.wait_event(self.computed[self.now])

    def put(self, place: int, shape: Any, dtype: Any, fill: Callable[[np.ndarray], None]) -> Any:
        twins = self.sets[self.now]
        twin = twins.get(place)
        if twin is None or twin.array.shape != shape or twin.array.dtype != dtype or twin.held():
            twin = twins[place] = Twin(shape, np.dtype(dtype), self.stream)
            self.after_everything()
        fill(twin.host)
        if twin.host.nbytes:
            twin.array.data.copy_from_host_async(twin.host.ctypes.data, twin.host.nbytes, self.stream)
        self.copied[self.now].record(self.stream)
        cupy.cuda.get_current_stream().wait_event(self.copied[self.now])
        return twin.array

    def after_everything(self) -> None:
        """The pool may have given memory that was freed while steps that read it are still to come: wait for them."""
        asked = cupy.cuda.Event(disable_timing=True)
        asked.record(cupy.cuda.get_current_stream())
        self.stream.wait_event(asked)


class Twin:
    """An array on the card, and page-locked memory of its size and type on the host."""

    def __init__(self, shape: Any, dtype: np.dtype[Any], stream: Any):
        # The pool gives memory back at once to the stream that used it last: let that be the one which copies.
        with stream:
            self.array = cupy.empty(shape, dtype)
        self.memory = cupy.cuda.alloc_pinned_memory(max(self.array.nbytes, 1))
        self.host = np.frombuffer(self.memory, dtype, self.array.size).reshape(shape)
        self.alone = self.references()

    def references(self) -> tuple[int, ...]:
        """How many know the array, and the memory that it shares with its views."""
        return tuple(map(sys.getrefcount, (self.array, self.array.data, self.array.data.mem)))

    def held(self) -> bool:
        """Whether anybody else knows the array or a view of it."""
        return self.references() != self.alone


# -- recorded steps --------------------------------------------------------------------------------------------------


def record(function: Callable[[], None]) -> Callable[[], None]:
    """Record what a function asks of the card, as a CUDA graph; calling the result does it, in one launch.

    The arrays made inside come from a memory pool of their own, which nobody else gets anything from: they are written
    again by every replay. Raises what the function raises, and RuntimeError for what a graph cannot hold.
    """
    global recording
    chunks: list[Any] = []

    def allocate(size: int) -> Any:
        """For the pool, which frees what seems unused where the card is full: recorded kernels still need it."""
        chunks.append(cupy.cuda.Memory(size))
        return cupy.cuda.MemoryPointer(chunks[-1], 0)

    pool, stream = cupy.cuda.MemoryPool(allocate), capture_stream()
    with ONE_AT_A_TIME, cupy.cuda.using_allocator(pool.malloc), stream:
        try:
            stream.begin_capture()
            recording = threading.get_ident()
            function()
            graph = stream.end_capture()
        except BaseException:
            with suppress(Exception):  # a capture that was broken off has no graph
                stream.end_capture()
            raise
        finally:
            recording = None
    return Recording(graph, pool, chunks)


@cache
def capture_stream() -> Any:
    """Where steps are recorded. One for all, since cuBLAS remembers it; non-blocking, or whatever CUDA or CuPy does on
    the default stream meanwhile would break the recording off."""
    return cupy.cuda.Stream(non_blocking=True)


class Recording:
    """A CUDA graph, and the memory that it works in."""

    def __init__(self, graph: Any, pool: Any, chunks: list[Any]):
        self.graph, self.pool, self.chunks = graph, pool, chunks

    def __call__(self) -> None:
        self.graph.launch()


# -- the card --------------------------------------------------------------------------------------------------------


def load() -> Any:
    """The module cupy, with a card behind it; ImportError says what is missing."""
    global cupy
    found = load_cupy()
    require_card(found)
    cupy = found
    module.cache_clear()
    capture_stream.cache_clear()
    return found


TENSOR_CORES = 80
"""That of tensorcores.cuh: 8.0 (Ampere), the first with TF32 and asynchronous copies."""


def tensor_cores() -> bool:
    """Whether the card runs what stands on tensorcores.cuh; where not, kernels in exact float32 do the work."""
    return compute_capability(cupy) >= TENSOR_CORES
