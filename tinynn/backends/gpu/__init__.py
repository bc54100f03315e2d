"""The gpu backend: the reference kernels over CuPy arrays.

The reference kernels are written in NumPy functions, which run CuPy's code when their arrays are CuPy's; a kernel of
our own is a module of the same name here. Importing this package needs no CuPy; asking for ``backend`` does.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import numpy as np

from tinynn.backends.base import Backend, numbers
from tinynn.backends.reference import (
    activation,
    attention,
    batchnorm,
    conv2d,
    convblock,
    dense,
    dropout,
    embedding,
    gru,
    layernorm,
    lstm,
    merge,
    optimizers,
    pool2d,
    resample,
    rnn,
    softmax,
)

INSTALL = (
    '`pip install "tinynn-np[cuda13]"` (driver 580 or newer) or `pip install "tinynn-np[cuda12]"`; '
    'backend="cpu" needs neither card nor CuPy'
)


def __getattr__(name: str) -> Any:
    if name == "backend":
        return make()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def make() -> Backend:
    """The Backend; ImportError says what is missing."""
    cupy = load_cupy()
    require_card(cupy)

    def asarray(value: Any, dtype: Any) -> Any:
        """An array on the card; a CuPy array of the right dtype is not copied."""
        if isinstance(value, cupy.ndarray):
            return value.astype(dtype, copy=False)
        return cupy.asarray(numbers(value, dtype))

    def to_numpy(value: Any) -> np.ndarray:
        """A copy on the host; NumPy arrays as they are."""
        return cupy.asnumpy(value)

    return Backend(
        name="gpu",
        xp=cupy,
        array_type=cupy.ndarray,
        empty=cupy.empty,
        asarray=asarray,
        to_numpy=to_numpy,
        activation=activation,
        dense=dense,
        softmax=softmax,
        conv2d=conv2d,
        pool2d=pool2d,
        convblock=convblock,
        batchnorm=batchnorm,
        layernorm=layernorm,
        merge=merge,
        rnn=rnn,
        lstm=lstm,
        gru=gru,
        embedding=embedding,
        attention=attention,
        dropout=dropout,
        resample=resample,
        optimizers=optimizers,
    )


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
