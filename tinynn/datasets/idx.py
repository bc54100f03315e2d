"""The IDX format of the MNIST files: a magic number, the sizes, then the values, all big-endian.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "the IDX file format".
"""

from __future__ import annotations

import gzip
import io
import math
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Stream = gzip.GzipFile | io.BufferedReader

CODES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP_MAGIC = b"\x1f\x8b"
CHUNK = 1 << 20
MAX_RANK = 32


def read(path: str | os.PathLike[str], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """The array of an IDX file, plain or gzipped (told by its first bytes, not by its name).

    `shape`, when given, is what the file has to declare; it is compared before any value is read. Memory grows with
    what the file really holds, so a header that promises more than follows costs nothing.

    Raises ValueError when the file is not IDX, is cut short, damaged, or too long; OSError (FileNotFoundError,
    IsADirectoryError, ...) when it cannot be opened. Every message names the file.
    """
    path = Path(path)
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a directory; expected an IDX file")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is not a regular file; expected an IDX file")
    try:
        with _open(path) as file:
            dtype, declared = _header(file, path)
            if shape is not None and declared != shape:
                raise ValueError(f"{path} declares the shape {declared}; expected {shape}")
            values = _values(file, math.prod(declared) * dtype.itemsize, declared, path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a truncated or damaged gzip file ({error}); fetch it again") from error
    return np.frombuffer(values, dtype).reshape(declared).astype(dtype.newbyteorder("="), copy=False)


def _open(path: Path) -> Stream:
    with path.open("rb") as file:
        zipped = file.read(2) == GZIP_MAGIC
    return gzip.open(path) if zipped else path.open("rb")


def _header(file: Stream, path: Path) -> tuple[np.dtype[Any], tuple[int, ...]]:
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


def _values(file: Stream, size: int, shape: tuple[int, ...], path: Path) -> bytearray:
    """Exactly `size` bytes. One more is asked for: it shows what is too long, and makes gzip compare its checksum."""
    values = bytearray()
    while chunk := file.read(min(CHUNK, size + 1 - len(values))):
        values += chunk
    if len(values) < size:
        raise ValueError(f"{path} is cut short: the shape {shape} needs {size} bytes, the file holds {len(values)}")
    if len(values) > size:
        raise ValueError(f"{path} is too long: the shape {shape} needs {size} bytes, more follow")
    return values
