"""The module that stands in for ``cupy`` on a machine without a card: device arrays, and our kernels emulated.

``gpu_backend()`` is the whole gpu backend over it, or the real one where there is a card.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.machinery
import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from tests import device
from tests.cuda import emulator
from tests.device import DeviceArray, DeviceModule, Tape, fenced
from tinynn.backends import Backend


class CUDARuntimeError(RuntimeError):
    """Of the runtime."""


class OutOfMemoryError(MemoryError):
    """Of the pool."""


# -- streams ---------------------------------------------------------------------------------------------------------


class Stream:
    """Of the device. Work on the current stream is done at once; a copy by another stream as late as it may be: when an
    event recorded after it is waited for. What forgets to wait reads what was there before."""

    def __init__(self, non_blocking: bool = False):
        self.non_blocking = non_blocking
        self.ptr = id(self)
        self.late: list[Callable[[], None]] = []
        self.done = 0
        """How many of the late ones are done."""

    def __enter__(self) -> Stream:
        CURRENT.append(self)
        return self

    def __exit__(self, *_: Any) -> None:
        CURRENT.pop()

    def finish(self, upto: int) -> None:
        while self.done < upto:
            self.late[self.done]()
            self.late[self.done] = lambda: None
            self.done += 1

    def synchronize(self) -> None:
        self.finish(len(self.late))

    def wait_event(self, event: Event) -> None:
        event.synchronize()

    def begin_capture(self) -> None:
        if self is CURRENT[0]:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported")
        device.TAPE = Tape()

    def end_capture(self) -> CapturedGraph:
        tape, device.TAPE = device.TAPE, None
        assert tape is not None
        tape.undo()
        return CapturedGraph(tape)


class Event:
    """A place in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False):
        self.stream: Stream | None = None
        self.upto = 0

    def record(self, stream: Stream | None = None) -> None:
        self.stream = stream or CURRENT[-1]
        self.upto = len(self.stream.late)

    def synchronize(self) -> None:
        if self.stream is not None:
            self.stream.finish(self.upto)


class CapturedGraph:
    """What a stream recorded."""

    launches = 0

    def __init__(self, tape: Tape):
        self.tape = tape

    def launch(self, stream: Stream | None = None) -> None:
        CapturedGraph.launches += 1
        self.tape.replay()


class MemoryPool:
    """Only its name: arrays of the stand-in live as long as something refers to them."""

    malloc = None

    def __init__(self, allocator: Any = None):
        pass


@contextmanager
def using_allocator(allocator: Any) -> Iterator[None]:
    yield


CURRENT = [Stream()]


# -- cuBLAS ----------------------------------------------------------------------------------------------------------

HANDLE = 4711
TYPES = {0: np.dtype("float32"), 1: np.dtype("float64")}
SCALARS = {68: ctypes.c_float, 70: ctypes.c_double}
"""Of what type one and zero are, for each way to compute."""


class CuBLAS:
    """The library, as far as blas.py calls it: matrices by columns, at addresses."""

    @staticmethod
    def cublasSetStream_v2(handle: int, stream: int) -> int:
        return 0 if handle == HANDLE and stream == CURRENT[-1].ptr else 7

    def cublasGemmEx(self, handle: int, *args: Any) -> int:
        ta, tb, m, n, k, one, a, type_a, lda, b, type_b, ldb, zero, c, type_c, ldc, compute, algorithm = args
        return self.cublasGemmStridedBatchedEx(
            handle, ta, tb, m, n, k, one, a, type_a, lda, 0, b, type_b, ldb, 0, zero, c, type_c, ldc, 0, 1, compute,
            algorithm,
        )  # fmt: skip

    @staticmethod
    def cublasGemmStridedBatchedEx(handle: int, *args: Any) -> int:
        ta, tb, m, n, k, one, a, type_a, lda, step_a, b, type_b, ldb, step_b, *rest = args
        zero, c, type_c, ldc, step_c, count, compute, algorithm = rest
        scalar = SCALARS[compute]
        good = handle == HANDLE and type_a == type_b == type_c and scalar is SCALARS[{0: 68, 1: 70}[type_c]]
        good = good and lda >= max(k if ta else m, 1) and ldb >= max(n if tb else k, 1) and ldc >= max(m, 1)
        good = good and type(one._obj) is type(zero._obj) is scalar and (one._obj.value, zero._obj.value) == (1, 0)
        if not good or algorithm != -1 or min(m, n, k, count) < 1 or max(m, n, k, lda, ldb, ldc, count) >= 2**31:
            return 7  # CUBLAS_STATUS_INVALID_VALUE
        dtype = TYPES[type_c]
        left = by_columns(a, dtype, k if ta else m, m if ta else k, lda, step_a, count)
        right = by_columns(b, dtype, n if tb else k, k if tb else n, ldb, step_b, count)
        out = by_columns(c, dtype, m, n, ldc, step_c, count)

        def multiply() -> None:
            np.matmul(left.swapaxes(1, 2) if ta else left, right.swapaxes(1, 2) if tb else right, out=out)

        if device.TAPE is not None:
            device.TAPE.keep([DeviceArray(out)])
            device.TAPE.add(multiply)
        multiply()
        return 0


def by_columns(address: int, dtype: Any, rows: int, columns: int, down: int, step: int, count: int) -> np.ndarray:
    """``count`` matrices, ``step`` numbers apart, whose columns are ``down`` numbers apart."""
    size = dtype.itemsize
    reach = ((count - 1) * step + (columns - 1) * down + rows) * size
    memory = np.frombuffer((ctypes.c_char * reach).from_address(address), dtype)
    return np.lib.stride_tricks.as_strided(memory, (count, rows, columns), (step * size, size, down * size))


class StandIn(DeviceModule):
    """``cupy``: NumPy's names over device arrays, and what our backend uses of its CUDA interface."""

    ndarray = DeviceArray
    sent = 0
    """How many arrays came from the host by ``asarray``."""

    def __init__(self) -> None:
        super().__init__("cupy")
        self.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
        self.RawModule = emulator.Module
        self.cuda = types.SimpleNamespace(
            runtime=types.SimpleNamespace(
                CUDARuntimeError=CUDARuntimeError,
                driverGetVersion=lambda: 13000,
                getDeviceCount=lambda: 1,
                runtimeGetVersion=lambda: 13000,
            ),
            memory=types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError),
            nvrtc=types.SimpleNamespace(getVersion=lambda: (13, 0)),
            cublas=None,
            Device=lambda: types.SimpleNamespace(compute_capability="90"),
            Stream=Stream,
            Event=Event,
            MemoryPool=MemoryPool,
            get_current_stream=lambda: CURRENT[-1],
            get_cublas_handle=lambda: HANDLE,
            using_allocator=using_allocator,
            alloc_pinned_memory=bytearray,
        )
        device.MEMORY.error = OutOfMemoryError

    @staticmethod
    def empty(shape: Any, dtype: Any = float) -> DeviceArray:
        return fenced(shape, dtype)

    @staticmethod
    def asarray(value: Any, dtype: Any = None) -> DeviceArray:
        if isinstance(value, DeviceArray):
            return value if dtype is None else value.astype(dtype, copy=False)
        if device.TAPE is not None:
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported: a recorded step copies from the host")
        StandIn.sent += 1
        array = np.asarray(value, dtype)
        if not array.flags.c_contiguous:
            return DeviceArray(array.copy(order="K"))  # CuPy too keeps Fortran's order
        result = fenced(array.shape, array.dtype)
        result._host[...] = array
        return result

    @staticmethod
    def asnumpy(value: Any) -> np.ndarray:
        return value.get() if isinstance(value, DeviceArray) else np.asarray(value)


@contextmanager
def installed() -> Iterator[None]:
    """``import cupy`` gives the stand-in."""
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = StandIn()
    try:
        yield
    finally:
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before


@cache
def gpu_backend() -> Backend | None:
    """The gpu backend: on a card, else over the stand-in; None where there is neither a card nor a C++ compiler."""
    gpu = importlib.import_module("tinynn.backends.gpu")
    try:
        return gpu.make()
    except ImportError:
        pass
    if emulator.compiler() is None:
        return None
    gpu.make.cache_clear()
    importlib.import_module("tinynn.backends.gpu.blas").library = CuBLAS  # type: ignore[attr-defined]
    with installed():
        try:
            return gpu.make()
        finally:
            gpu.make.cache_clear()
