"""One file for a record (what JSON can hold) and named arrays, written whole or not at all, with a checksum over it.

The file is a safetensors file, which any reader of that format opens: the arrays by their names, and in the metadata,
under "tinynn", the SHA-256 of the whole file (taken with 64 zeros in its own place) and behind it the record as JSON.
Reading one executes nothing, a single changed byte is noticed, and the same content gives the same bytes. This module
knows no class of ours.

Source of the format: github.com/huggingface/safetensors.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["read", "read_arrays", "write"]

DIGITS = 64
BLANK = "0" * DIGITS
KEY = "tinynn"
MARK = f'"{KEY}":"'.encode()


def write(path: str | os.PathLike[str], record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    """Write a file that was there before, or a new one, in one piece: a crash leaves the old file or the new one.

    Raises OSError where the place cannot be written, TypeError for a record that JSON cannot hold.
    """
    from safetensors.numpy import save

    text = json.dumps(record, allow_nan=True, separators=(",", ":"))
    data = bytearray(save({name: np.asarray(array, order="C") for name, array in arrays.items()}, {KEY: BLANK + text}))
    place = checksum_place(data)
    if place is None:
        raise AssertionError("the checksum has no place in the file")
    data[place] = hashlib.sha256(data).hexdigest().encode()
    replace(Path(os.path.realpath(path)), data)


def replace(path: Path, data: bytes | bytearray) -> None:
    """Write beside the file, then take its place. What is written to bears another name, so nobody reads half of it."""
    handle, name = tempfile.mkstemp(prefix=".tinynn-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # the name too shall survive a power failure
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def umask() -> int:
    """The permissions that new files shall not have; there is no way to ask but to set them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(record, arrays) of a file of ours.

    Raises OSError where there is no such file, ValueError, with the path, for anything but what ``write`` wrote.
    """
    return verified(path, contents(path))


def verified(path: str | os.PathLike[str], data: bytearray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(record, arrays) of a file's bytes, once their checksum was compared."""
    place = checksum_place(data)
    if place is None:
        raise ValueError(f"{os.fspath(path)} is not a file that tinynn saved, or it is damaged: it has no checksum")
    said = bytes(data[place])
    data[place] = BLANK.encode()
    if hashlib.sha256(data).hexdigest().encode() != said:
        raise ValueError(f"{os.fspath(path)} is damaged: its bytes are not those that its checksum was taken of")
    metadata, arrays = parsed(path, data)
    try:
        record = json.loads(metadata[KEY][DIGITS:])
        if not isinstance(record, dict):
            raise TypeError
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError(f"{os.fspath(path)} is not a file that tinynn saved: it holds arrays only") from None
    return record, arrays


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of any safetensors file; a checksum of ours is verified where there is one."""
    data = contents(path)
    return parsed(path, data)[1] if checksum_place(data) is None else verified(path, data)[1]


def contents(path: str | os.PathLike[str]) -> bytearray:
    """The bytes of a plain file; folders, pipes and devices are refused before anything is read."""
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise ValueError(f"{os.fspath(path)} is no file (a folder, a pipe, a device?): give the path of a saved file")
    header = 8
    with open(path, "rb") as file:
        start = file.read(header)
        length = int.from_bytes(start, "little")
        if len(start) < header or length > info.st_size - header:
            raise ValueError(
                f"{os.fspath(path)} is no safetensors file, or it is cut off ({info.st_size} bytes){foreign(start)}"
            )
        file.seek(0)
        data = bytearray(info.st_size)
        if file.readinto(data) != info.st_size:
            raise ValueError(f"{os.fspath(path)} changed while it was read")
    return data


def foreign(start: bytes) -> str:
    """What to do with a file of Keras's own, for the end of a message."""
    kinds = {b"\x89HDF": "HDF5, Keras's .h5", b"PK\x03\x04": "a zip archive, such as Keras's .keras and NumPy's .npz"}
    kind = kinds.get(start[:4])
    if kind is None:
        return ""
    return (
        f": it is {kind}, which is not read here. Where it was made, save model.get_weights() "
        "with numpy.savez; here, build the same model and call set_weights"
    )


def checksum_place(data: bytes | bytearray) -> slice | None:
    """Where the digits of the checksum stand in the header; None where there are none."""
    end = 8 + int.from_bytes(data[:8], "little")
    found = data.find(MARK, 8, end)  # inside the record quotation marks are escaped, so this is no part of it
    start = found + len(MARK)
    return None if found < 0 or start + DIGITS > end else slice(start, start + DIGITS)


def parsed(path: str | os.PathLike[str], data: bytearray) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """(metadata, arrays) of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        header = json.loads(bytes(data[8 : 8 + int.from_bytes(data[:8], "little")]))
        arrays = load(bytes(data))
        metadata = header.get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{os.fspath(path)} is no safetensors file, or it is damaged ({error})") from None
    return metadata if isinstance(metadata, dict) else {}, arrays
