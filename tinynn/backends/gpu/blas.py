"""Matrix products by cuBLAS, called through ctypes: C = A B of float32 or float64.

``cupy.matmul`` would do, were it not for recorded steps: CuPy (13 and 14) refuses to call cuBLAS while a stream is
being captured ("calling cuBLAS API during stream capture is currently unsupported"), though cuBLAS itself allows it.
So we call the library that CuPy has loaded, with CuPy's handle and the arguments that CuPy would give it. This costs
the host less, too.

cuBLAS has columns where we have rows: what we call A (M, K) is its A' (K, M). So C' = B' A' is what it is asked for,
and a matrix that is transposed in memory is passed on with the flag for that.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import c_double, c_float, c_int, c_longlong, c_void_p
from functools import cache
from typing import Any

import numpy as np

from tinynn.backends.gpu import cuda
from tinynn.backends.gpu.cuda import contiguous
from tinynn.typing import Array

AS_IT_LIES, TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
REAL_32F, REAL_64F = 0, 1  # cudaDataType
COMPUTE_32F, COMPUTE_64F, COMPUTE_32F_FAST_TF32 = 68, 70, 77  # cublasComputeType_t
DEFAULT_ALGORITHM = -1  # CUBLAS_GEMM_DEFAULT
MOST = 2**31 - 1
"""Of a size, for cuBLAS."""

OF_32F = COMPUTE_32F_FAST_TF32 if os.environ.get("CUPY_TF32") == "1" else COMPUTE_32F  # CuPy's switch, for users
TYPES = {
    "f": (REAL_32F, OF_32F, ctypes.byref(c_float(1)), ctypes.byref(c_float(0))),
    "d": (REAL_64F, COMPUTE_64F, ctypes.byref(c_double(1)), ctypes.byref(c_double(0))),
}
"""dtype: the type of the numbers, how they are multiplied, one and zero."""


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """out = a b: (M, K) (K, N) -> (M, N), or stacks of these, (..., M, K) (..., K, N), with the same axes in front.

    a and b may be transposed, or parts of rows; other views are copied. out has whole rows and is neither a nor b.
    """
    if out is None:
        out = cuda.cupy.empty((*a.shape[:-1], b.shape[-1]), a.dtype)
    (M, K), N, stack = a.shape[-2:], b.shape[-1], a.shape[:-2]
    cublas = library()
    kind = TYPES.get(a.dtype.char)
    if cublas is None or kind is None or b.dtype != a.dtype or max(M, N, K) > MOST:
        return cuda.cupy.matmul(a, b, out=out)
    if not out.size:
        return out
    if not K:
        out.fill(0)
        return out
    a, a_flag, a_row = laid_out(a)
    b, b_flag, b_row = laid_out(b)
    number, compute, one, zero = kind
    handle = cuda.cupy.cuda.get_cublas_handle()
    check(cublas.cublasSetStream_v2(handle, cuda.cupy.cuda.get_current_stream().ptr))
    c_row = out.strides[-2] // out.itemsize if M > 1 else N
    if not stack:
        check(cublas.cublasGemmEx(
            handle, b_flag, a_flag, N, M, K, one, b.data.ptr, number, b_row, a.data.ptr, number, a_row, zero,
            out.data.ptr, number, c_row, compute, DEFAULT_ALGORITHM,
        ))  # fmt: skip
    else:
        check(cublas.cublasGemmStridedBatchedEx(
            handle, b_flag, a_flag, N, M, K, one, b.data.ptr, number, b_row, K * N, a.data.ptr, number, a_row, M * K,
            zero, out.data.ptr, number, c_row, M * N, out.size // (M * N), compute, DEFAULT_ALGORITHM,
        ))  # fmt: skip
    return out


def product(x: Array, y: Array) -> Array:
    """NumPy's ``x @ y``: vectors stand for a row on the left, a column on the right; stacks are broadcast."""
    a, b = x if x.ndim > 1 else x[None], y if y.ndim > 1 else y[:, None]
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    z = matmul(
        cuda.cupy.broadcast_to(a, (*stack, *a.shape[-2:])), cuda.cupy.broadcast_to(b, (*stack, *b.shape[-2:]))
    )  # fmt: skip
    return z.reshape((*stack, *x.shape[-2:-1], *(y.shape[-1:] if y.ndim > 1 else ())))


def laid_out(x: Array) -> tuple[Array, int, int]:
    """The array as cuBLAS can read it, how its matrices lie, and how far apart their rows (or columns) are."""
    if x.ndim > 2:  # a stack: whole matrices, one after the other
        return contiguous(x), AS_IT_LIES, x.shape[-1]
    (rows, columns), (down, across) = x.shape, x.strides
    size = x.itemsize
    if (across == size or columns == 1) and (down >= columns * size or rows == 1):
        return x, AS_IT_LIES, down // size if rows > 1 else columns
    if (down == size or rows == 1) and (across >= rows * size or columns == 1):
        return x, TRANSPOSED, across // size if columns > 1 else rows
    return contiguous(x), AS_IT_LIES, columns


def check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuBLAS failed with status {status} (cublasStatus_t)")


@cache
def library() -> Any:
    """The cuBLAS that CuPy has loaded; None where it has another name than we know: then CuPy multiplies."""
    cuda.cupy.cuda.cublas  # noqa: B018  (the attribute loads the library)
    major = cuda.cupy.cuda.runtime.runtimeGetVersion() // 1000
    try:
        cublas = ctypes.CDLL(f"cublas64_{major}.dll" if sys.platform == "win32" else f"libcublas.so.{major}")
    except OSError:
        return None
    sizes, scalar = [c_int, c_int, c_int], c_void_p
    matrix, stacked = [c_void_p, c_int, c_int], [c_void_p, c_int, c_int, c_longlong]
    cublas.cublasSetStream_v2.argtypes = [c_void_p, c_void_p]
    cublas.cublasGemmEx.argtypes = [
        c_void_p, c_int, c_int, *sizes, scalar, *matrix, *matrix, scalar, *matrix, c_int, c_int,
    ]  # fmt: skip
    cublas.cublasGemmStridedBatchedEx.argtypes = [
        c_void_p, c_int, c_int, *sizes, scalar, *stacked, *stacked, scalar, *stacked, c_int, c_int, c_int,
    ]  # fmt: skip
    return cublas
