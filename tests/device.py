"""A stand-in for device arrays: NumPy inside, CuPy's manners outside.

Array code that runs over it runs without the host: every implicit copy to the host and every mix with NumPy arrays is a
TypeError. It follows NumPy's protocols (NEP 13 and 18) as CuPy does, with CuPy's rules and a little stricter: reading a
value back (``float``, ``if x``, a boolean mask that chooses elements) is refused, because a training step must not wait
for the device.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from tinynn import backends
from tinynn.backends import Backend
from tinynn.backends.base import numbers

SCALARS = (bool, int, float, np.generic)
MISSING = {"apply_over_axes", "cumulative_prod", "cumulative_sum", "matrix_transpose", "unstack", "vecdot"}
"""Functions that CuPy 13 does not have."""


CUBLAS = {"matmul", "dot", "vdot", "inner", "outer", "tensordot", "einsum"}
"""Functions that CuPy (13 and 14) refuses while a step is recorded."""
JOINING = {"concatenate", "stack", "hstack", "vstack", "dstack", "column_stack"}


def host(value: Any) -> Any:
    """The arguments of a device call with the arrays unwrapped; TypeError for a NumPy array among them."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError(f"a device array does not mix with a numpy.ndarray of shape {value.shape}: move it first")
    if isinstance(value, (tuple, list)):
        return type(value)(map(host, value))
    return value


def device(value: Any) -> Any:
    """The results of a device call: arrays and NumPy scalars become device arrays."""
    if isinstance(value, (np.ndarray, np.generic)):
        return DeviceArray(np.asarray(value))
    if isinstance(value, (tuple, list)):
        return type(value)(map(device, value))
    return value


def run(function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Call on the device; an ``out`` that was given is the array that comes back."""
    name = function.__name__
    if name in MISSING:
        raise TypeError(f"CuPy has no {name}")
    unknown = {"initial", "where"} & set(kwargs)
    if unknown and name != "copyto":
        raise TypeError(f"{name} takes no {unknown} on the device")
    if TAPE is not None and name in CUBLAS:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    if TAPE is not None and name == "bincount":
        raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")
    if TAPE is not None and name in JOINING and len(args[0]) > 8:
        raise RuntimeError(f"{name} of more than 8 arrays brings their addresses from the host: no replay does that")
    out = kwargs.get("out")
    inside, named = host(tuple(args)), {k: host(v) for k, v in kwargs.items()}
    if TAPE is not None:
        written = out if isinstance(out, tuple) else (out,)
        TAPE.keep([a for a in (*written, args[0] if name in IN_PLACE else None) if isinstance(a, DeviceArray)])
    result = function(*inside, **named)
    if out is None:
        made = device(result)
        if TAPE is not None and not is_view(result, (*inside, getattr(function, "__self__", None))):
            TAPE.add(lambda: store(made, function(*inside, **named)))
        return made
    if TAPE is not None:
        TAPE.add(lambda: function(*inside, **named))
    return out[0] if isinstance(out, tuple) and len(out) == 1 else out


def is_view(result: Any, inputs: Any) -> bool:
    """Whether nothing was computed: the result lies in the memory of an input."""
    arrays = [x for x in inputs if isinstance(x, np.ndarray)]
    return isinstance(result, np.ndarray) and any(np.may_share_memory(result, x) for x in arrays)


IN_PLACE = {"copyto", "fill_diagonal", "put_along_axis"}
"""Functions that write into their first argument."""


class Tape:
    """A recorded stream: what was asked of the device, and what it wrote over, so that it can be taken back."""

    def __init__(self) -> None:
        self.operations: list[Callable[[], Any]] = []
        self.before: list[tuple[np.ndarray, np.ndarray]] = []
        self.made: list[DeviceArray] = []
        """The memory taken while recording, which belongs to the recording: replays write there again."""

    def keep(self, arrays: Sequence[DeviceArray]) -> None:
        """These arrays are about to be written."""
        self.before += [(array._host, array._host.copy()) for array in arrays]

    def add(self, operation: Callable[[], Any]) -> None:
        self.operations.append(operation)

    def undo(self) -> None:
        """Leave the device as it was: recording executes nothing."""
        for array, values in reversed(self.before):
            array[...] = values
        self.before.clear()

    def replay(self) -> None:
        for operation in self.operations:
            operation()


TAPE: Tape | None = None
"""The one being written, if any."""


def store(arrays: Any, values: Any) -> None:
    """Write results where those of the recording were."""
    if isinstance(arrays, DeviceArray):
        arrays._host[...] = values
    elif isinstance(arrays, (tuple, list)):
        for array, value in zip(arrays, values, strict=True):
            store(array, value)


def method(name: str) -> Callable[..., Any]:
    """The method of that name, on the device."""

    def call(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        if name in ("fill", "sort") and TAPE is not None:
            TAPE.keep([self])
        return run(getattr(self._host, name), args, kwargs)

    call.__name__ = name
    return call


def refused(what: str) -> Callable[..., Any]:
    """A method that would wait for the device."""

    def call(self: DeviceArray, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"{what} copies from the device to the host: a step must not wait for it (use backend.to_numpy)"
        )

    return call


FENCE = 256
"""Bytes before and after a fenced array that nobody must write; they read as NaN."""


class Pointer:
    """Where an array begins."""

    def __init__(self, array: np.ndarray):
        self.array = array

    @property
    def ptr(self) -> int:
        return self.array.ctypes.data

    @property
    def mem(self) -> Any:
        """What the array and its views share."""
        return self.array if self.array.base is None else self.array.base

    def copy_from_host_async(self, memory: int, size: int, stream: Any) -> None:
        """From page-locked memory, as late as the stream may."""
        assert size == self.array.nbytes
        stream.late.append(lambda: ctypes.memmove(self.ptr, memory, size))


class Memory:
    """The device's: how many bytes of fenced arrays there are, the most there were, and may be."""

    used = most = 0
    limit: float = float("inf")
    error: type[Exception] = MemoryError

    def take(self, size: int) -> None:
        if self.used + size > self.limit:
            raise self.error(f"Out of memory allocating {size:,} bytes (allocated so far: {self.used:,} bytes).")
        self.used += size
        self.most = max(self.most, self.used)


MEMORY = Memory()


class Block(bytearray):
    """The bytes of one allocation, with fences around them."""

    start = size = 0

    def __del__(self) -> None:
        MEMORY.used -= self.size

    def fences_stand(self) -> bool:
        before, after = self[self.start - FENCE : self.start], self[self.start + self.size :][:FENCE]
        return before == after == b"\xff" * FENCE


def fenced(shape: Any, dtype: Any) -> DeviceArray:
    """An uninitialised array between fences, all of it NaN; aligned as a device's allocations are."""
    dtype = np.dtype(dtype)
    shape = (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(shape)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    MEMORY.take(size)
    block = Block(b"\xff" * (size + 3 * FENCE))
    memory = np.frombuffer(block, np.uint8)
    block.start, block.size = FENCE + -memory.ctypes.data % FENCE, size
    array = DeviceArray(memory[block.start : block.start + size].view(dtype).reshape(shape))
    if TAPE is not None:
        TAPE.made.append(array)
    return array


class DeviceArray(NDArrayOperatorsMixin):
    """An array that lives elsewhere."""

    def __init__(self, array: np.ndarray):
        self._host = array

    @property
    def data(self) -> Pointer:
        """CuPy's memory pointer."""
        return Pointer(self._host)

    def fences_stand(self) -> bool:
        """Whether nobody wrote beside an array made by ``fenced``; True for all others."""
        block: Any = self._host
        while isinstance(block, (np.ndarray, memoryview)):
            block = block.base if isinstance(block, np.ndarray) else block.obj
        return not isinstance(block, Block) or block.fences_stand()

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    _c_contiguous = property(lambda self: self._host.flags.c_contiguous)
    T = property(lambda self: DeviceArray(self._host.T))

    __array__ = refused("numpy.asarray(x)")
    __float__ = refused("float(x)")
    __int__ = refused("int(x)")
    __index__ = refused("x as an index or a count")
    __bool__ = refused("the truth of x")
    __iter__ = refused("iterating over x")
    __contains__ = refused("'in x'")
    item = refused("x.item()")
    tolist = refused("x.tolist()")
    tobytes = refused("x.tobytes()")

    def get(self) -> np.ndarray:
        """CuPy's copy to the host, asked for by name."""
        if TAPE is not None:
            raise RuntimeError("cudaErrorStreamCaptureUnsupported: a recorded step copies to the host")
        return np.array(self._host)

    def __len__(self) -> int:
        return len(self._host)

    def __repr__(self) -> str:
        return f"DeviceArray({self._host!r})"

    # -- NumPy's protocols -------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, kind: str, *inputs: Any, **kwargs: Any) -> Any:
        if kind != "__call__":
            raise TypeError(f"numpy.{ufunc.__name__}.{kind} does not run on the device: use the function instead")
        unknown = set(kwargs) - {"out", "dtype", "casting"}
        if unknown:
            raise TypeError(f"numpy.{ufunc.__name__} has no {unknown} on the device")
        for x in inputs:
            if hasattr(x, "__array_ufunc__") and not isinstance(x, (DeviceArray, np.ndarray, np.generic)):
                return NotImplemented  # a Tensor: it knows what to do
            if not isinstance(x, (DeviceArray, *SCALARS)):
                raise TypeError(f"numpy.{ufunc.__name__}: a device array does not mix with {type(x).__name__}")
        for x in kwargs.get("out", ()):
            if not isinstance(x, DeviceArray):
                raise TypeError(f"numpy.{ufunc.__name__}: out must be a device array, not {type(x).__name__}")
        return run(ufunc, inputs, kwargs)

    def __array_function__(self, function: Callable[..., Any], kinds: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return run(function, args, kwargs)

    # -- indexing ----------------------------------------------------------------------------------------------------

    def __getitem__(self, index: Any) -> Any:
        inner = checked_index(index)
        parts = inner if isinstance(inner, tuple) else (inner,)
        if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
            raise TypeError("x[mask] must count the mask on the host: use numpy.where, or assign through the mask")
        result = device(self._host[inner])
        if TAPE is not None and not np.shares_memory(result._host, self._host):
            TAPE.add(lambda: store(result, self._host[inner]))
        return result

    def __setitem__(self, index: Any, value: Any) -> None:
        if not isinstance(value, (DeviceArray, *SCALARS)):
            raise TypeError(f"a device array is assigned from device arrays and numbers, not {type(value).__name__}")
        inner, given = checked_index(index), host(value)
        if TAPE is not None:
            TAPE.keep([self])
            TAPE.add(lambda: self._host.__setitem__(inner, given))
        self._host[inner] = given

    # -- methods -----------------------------------------------------------------------------------------------------

    all, any, argmax, argmin, argsort = map(method, ("all", "any", "argmax", "argmin", "argsort"))
    astype, clip, copy, cumsum, dot = map(method, ("astype", "clip", "copy", "cumsum", "dot"))
    fill, flatten, max, mean, min = map(method, ("fill", "flatten", "max", "mean", "min"))
    prod, ravel, repeat, reshape, round = map(method, ("prod", "ravel", "repeat", "reshape", "round"))
    sort, squeeze, std, sum, swapaxes = map(method, ("sort", "squeeze", "std", "sum", "swapaxes"))
    take, transpose, var, view, diagonal = map(method, ("take", "transpose", "var", "view", "diagonal"))


def checked_index(index: Any) -> Any:
    """An index of whole numbers, slices, None, ... and device arrays, unwrapped."""
    for part in index if isinstance(index, tuple) else (index,):
        if not (part is None or part is Ellipsis or isinstance(part, (int, np.integer, slice, DeviceArray))):
            raise TypeError(
                f"a device array is indexed by numbers, slices and device arrays, not {type(part).__name__}"
            )
    return host(index)


class DeviceModule(types.ModuleType):
    """What ``cupy`` is to CuPy's arrays: NumPy's names, making and taking device arrays."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(np, name)
        if isinstance(value, type) or not callable(value):
            return value
        return lambda *args, **kwargs: run(value, args, kwargs)


def asarray(value: Any, dtype: Any) -> DeviceArray:
    """The explicit way in."""
    if isinstance(value, DeviceArray):
        return value if value.dtype == dtype else value.astype(dtype)
    return DeviceArray(np.array(numbers(value, dtype)))


def to_numpy(value: Any) -> np.ndarray:
    """The explicit way out."""
    return value._host.copy() if isinstance(value, DeviceArray) else np.asarray(value)


def device_backend() -> Backend:
    """The reference kernels over device arrays."""
    return replace(
        backends.get("reference"),
        name="device",
        xp=DeviceModule("device"),
        array_type=DeviceArray,
        empty=lambda shape, dtype: DeviceArray(np.empty(shape, dtype)),
        asarray=asarray,
        to_numpy=to_numpy,
    )
