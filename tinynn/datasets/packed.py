"""Files of known size, plain or packed by gzip or xz, read without trusting them."""

from __future__ import annotations

import gzip
import lzma
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

GZIP_MAGIC = b"\x1f\x8b"
XZ_MAGIC = b"\xfd7zXZ\0"
CHUNK = 1 << 20


@contextmanager
def opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """A file for reading, unpacked where its first bytes (not its name) say gzip or xz.

    Raises IsADirectoryError or OSError where `path` is no regular file, ValueError where what is read inside turns out
    to be damaged. `what` is what was expected there.
    """
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a directory; expected {what}")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is not a regular file; expected {what}")
    with path.open("rb") as plain:
        start = plain.read(len(XZ_MAGIC))
    kind = "gzip" if start.startswith(GZIP_MAGIC) else "xz" if start == XZ_MAGIC else "plain"
    try:
        with gzip.open(path) if kind == "gzip" else lzma.open(path) if kind == "xz" else path.open("rb") as file:
            yield cast(BinaryIO, file)
    except (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError) as error:
        raise ValueError(f"{path} is a truncated or damaged {kind} file ({error}); fetch it again") from error


def read_up_to(file: BinaryIO, size: int) -> bytearray:
    """At most `size` bytes, in pieces: memory grows with what is there, not with what somebody says is there."""
    values = bytearray()
    while chunk := file.read(min(CHUNK, size - len(values))):
        values += chunk
    return values


def read_exactly(file: BinaryIO, size: int, path: Path | str, what: str) -> bytearray:
    """Exactly `size` bytes; ValueError where there are fewer or more.

    One more is asked for: it shows what is too long, and makes gzip and xz compare their checksums.
    """
    values = read_up_to(file, size + 1)
    if len(values) < size:
        raise ValueError(f"{path} is cut short: {what} needs {size} bytes, the file holds {len(values)}")
    if len(values) > size:
        raise ValueError(f"{path} is too long: {what} needs {size} bytes, more follow")
    return values
