"""How this library words its errors: what was expected, what came, where, and what to write instead."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: object, known: Iterable[str]) -> str:
    """The tail of an "unknown name" message: the nearest known name, and all of them.

    >>> nearest("rulu", ["relu", "tanh"])
    "did you mean 'relu'? Known names: relu, tanh"
    """
    names = sorted(known)
    close = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}Known names: {', '.join(names)}"


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a table, such as an activation or a loss."""
    return ValueError(f"unknown {what} {name!r}: {nearest(name, known)}")
