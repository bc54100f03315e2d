"""Small published files, byte for byte the known ones, from a folder under TINYNN_DATA."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import overload

from tinynn.datasets.packed import CHUNK, opened, read_up_to

Folder = str | os.PathLike[str] | None
LARGEST = 1 << 28
"""No file read here is longer than this, unpacked."""


def located(folder: Folder, subfolder: str, name: str | Sequence[str], origin: str) -> Path:
    """The path of file `name`, or of the first there is of several: in `folder`, else in `subfolder` of TINYNN_DATA.

    Raises FileNotFoundError that says where it was looked for and where the file comes from.
    """
    names = [name] if isinstance(name, str) else list(name)
    root = os.environ.get("TINYNN_DATA")
    if folder is None and not root:
        raise FileNotFoundError(
            f"{names[0]} is not part of the package and TINYNN_DATA is not set: put the file (published at {origin}) "
            f"into a folder `{subfolder}` and let TINYNN_DATA name that folder's parent, or write load_data(folder=...)"
        )
    place = (Path(root or "") / subfolder if folder is None else Path(folder)).expanduser()
    for path in (place / name for name in names):
        if path.exists():
            return path
    others = f" (nor is {', '.join(names[1:])} there)" if names[1:] else ""
    raise FileNotFoundError(f"{place / names[0]} is missing{others}: put it there; it is published at {origin}")


def read_text(path: Path, sha256: str | None = None) -> str:
    """The text of a file, plain or packed by gzip or xz; line ends stay as they are.

    `sha256` is the published checksum of the file as it lies there. Raises ValueError, naming the file, for a file
    that has another one, is damaged, or is not UTF-8.
    """
    with opened(path, "a text file") as file:  # refuses folders
        if sha256 is not None and (found := checksum(path)) != sha256:
            raise ValueError(
                f"{path} is not the published file: its SHA-256 is {found[:16]}..., expected {sha256[:16]}...; it is "
                "damaged, cut short, edited, or another version (were line ends converted?). Fetch it again"
            )
        content = read_up_to(file, LARGEST)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}") from None


def checksum(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@overload
def held_out(text: str, split: None) -> str: ...
@overload
def held_out(text: str, split: float) -> tuple[str, str]: ...
def held_out(text: str, split: float | None) -> str | tuple[str, str]:
    """The text, or with a split its beginning and its last part: that share of its characters is kept for testing."""
    if split is None:
        return text
    if isinstance(split, bool) or not 0 < split < 1:
        raise ValueError(f"split is the share that is held out, 0 < split < 1, or None for the whole text; got {split}")
    cut = int(len(text) * (1 - split))
    return text[:cut], text[cut:]


def rows(text: str, fields: int, path: Path) -> list[list[str]]:
    """The lines of a text, cut at tabs into so many fields; only a newline ends a line."""
    lines: Sequence[str] = text.removesuffix("\n").split("\n")
    cut = [line.split("\t") for line in lines]
    for number, line in enumerate(cut):
        if len(line) != fields:
            raise ValueError(f"{path}, line {number + 1}, has {len(line)} fields; expected {fields} with tabs between")
    return cut
