"""The IDX format of the MNIST files: a magic number, the sizes, then the values, all big-endian.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "the IDX file format".
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.packed import opened, read_exactly

CODES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MAX_RANK = 32


def read(path: str | os.PathLike[str], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """The array of an IDX file, plain or packed by gzip or xz (told by its first bytes, not by its name).

    `shape`, when given, is what the file has to declare; it is compared before any value is read. Memory grows with
    what the file really holds, so a header that promises more than follows costs nothing.

    Raises ValueError when the file is not IDX, is cut short, damaged, or too long; OSError (FileNotFoundError,
    IsADirectoryError, ...) when it cannot be opened. Every message names the file.
    """
    path = Path(path)
    with opened(path, "an IDX file") as file:
        dtype, declared = _header(file, path)
        if shape is not None and declared != shape:
            raise ValueError(f"{path} declares the shape {declared}; expected {shape}")
        values = read_exactly(file, math.prod(declared) * dtype.itemsize, path, f"the shape {declared}")
    return np.frombuffer(values, dtype).reshape(declared).astype(dtype.newbyteorder("="), copy=False)


def _header(file: BinaryIO, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """The magic number is 0, 0, the code of the type, the number of dimensions; each size has four bytes."""
    magic = file.read(4)
    if len(magic) < 4:
        raise ValueError(f"{path} is not an IDX file: it ends after {len(magic)} bytes, inside the magic number")
    zeros, code, rank = magic[:2], magic[2], magic[3]
    if zeros != b"\0\0" or code not in CODES or not 1 <= rank <= MAX_RANK:
        raise ValueError(
            f"{path} is not an IDX file: it starts with the bytes {magic.hex(' ')}; expected 00 00, "
            f"a type of {', '.join(f'{c:02x}' for c in CODES)}, and 01 to {MAX_RANK:02x} dimensions"
        )
    sizes = file.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(f"{path} is cut short: it ends inside the header, which has {rank} sizes of four bytes")
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    if 0 in shape:
        raise ValueError(f"{path} declares the shape {shape}, which holds nothing")
    return np.dtype(CODES[code]), shape
