"""Where the files of a data set come from: a folder under TINYNN_DATA, or a cache filled from the network."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

TIMEOUT_SECONDS = 30


def given(name: str) -> Path | None:
    """The folder `name` under TINYNN_DATA, or None where there is none.

    What the user put there is used as it is or refused by whoever reads it; nothing else is tried in its place.
    """
    root = os.environ.get("TINYNN_DATA")
    folder = Path(root).expanduser() / name if root else None
    return folder if folder is not None and os.path.lexists(folder) else None


def cached(name: str, checksums: Mapping[str, str], mirrors: Sequence[str]) -> Path:
    """The cache folder `name` with all files of `checksums` (file name -> SHA-256) in it.

    A file that is missing or damaged is downloaded, from the first mirror (an address without the file name) that
    delivers the right bytes. It gets its name only when they are right, so no half-written file is ever left.
    Raises OSError, with what each mirror answered and what to do by hand.
    """
    folder = cache_root() / name
    for file, checksum in checksums.items():
        _fetch(folder, file, checksum, mirrors)
    return folder


def cache_root() -> Path:
    """The user's cache folder for tinynn, by the habits of the operating system (XDG_CACHE_HOME is honoured)."""
    import pooch

    return Path(pooch.os_cache("tinynn"))


def _fetch(folder: Path, file: str, checksum: str, mirrors: Sequence[str]) -> None:
    import pooch

    pooch.get_logger().setLevel("WARNING")  # it would announce every mirror
    if not (folder / file).exists():
        print(f"tinynn: downloading {file} of {folder.name}", file=sys.stderr, flush=True)
    answers: list[str] = []
    for mirror in mirrors:
        url = f"{mirror}/{file}"
        download = pooch.HTTPDownloader(sys.stderr.isatty(), chunk_size=1 << 16, timeout=TIMEOUT_SECONDS)
        try:
            pooch.retrieve(url, f"sha256:{checksum}", fname=file, path=folder, downloader=download)
        except (OSError, ValueError) as error:  # ValueError is pooch's word for a wrong checksum
            answers.append(f"{url if not answers else url.split('/')[2]}: {reason(error)}")
        else:
            return
    raise OSError(
        f"{folder / file} is not there and no mirror delivered it ({'; '.join(answers)}): put the file into a folder "
        f"`{folder.name}` by hand and let TINYNN_DATA name that folder's parent"
    )


def reason(error: Exception) -> str:
    """What went wrong with a mirror, in a few words instead of the stack of its causes."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, ValueError) and not isinstance(error, OSError):
        return "other bytes than expected"
    if "Timeout" in kinds:
        return f"no answer in {TIMEOUT_SECONDS} s"
    if "HTTPError" in kinds:
        return str(error).split(" for url")[0]
    if {"ConnectionError", "ChunkedEncodingError"} & kinds:
        return "no connection" if "refused" not in str(error) else "connection refused"
    return f"{type(error).__name__}: {error}".split("\n")[0][:100]
