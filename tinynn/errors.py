"""How this library words its errors: what was expected, what came, where, and what to write instead."""

from __future__ import annotations

import sys
from collections.abc import Iterable

CUTOFF = 0.65
"""Names less alike than this are not proposed: a wrong proposal is worse than none."""


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that was probably meant, whatever its case and underscores; None where none is near.

    Of names that begin like it the first is taken.

    >>> closest("cosine", ["hinge", "cosine_similarity"]), closest("mean_iou", ["mean_absolute_error"])
    ('cosine_similarity', None)
    """
    import difflib  # only a message needs it

    key, small = _key(name), str(name).islower()
    by_key: dict[str, str] = {}
    for candidate in sorted(known, key=lambda k: k.islower() != small):  # of MaxNorm and max_norm the one like it
        by_key.setdefault(_key(candidate), candidate)
    begun = [k for k in by_key if k.startswith(key)]
    if begun and (len(key) >= 4 or (len(key) >= 2 and len(begun) == 1)):
        return by_key[begun[0]]
    swapped = [k for k in by_key if sorted(k) == sorted(key)]
    near = swapped or difflib.get_close_matches(key, by_key, n=3, cutoff=CUTOFF)
    return next((by_key[k] for k in near if _word_by_word(str(name), by_key[k])), None)


def _word_by_word(name: str, known: str) -> bool:
    """Whether no word is another one: softmax_crossentropy is not binary_crossentropy, though much is the same."""
    import difflib

    words, others = name.lower().split("_"), known.lower().split("_")
    pairs = zip(words, others, strict=False) if len(words) == len(others) else ()
    return all(difflib.SequenceMatcher(None, a, b).ratio() >= 0.5 for a, b in pairs)


def _key(name: object) -> str:
    return str(name).lower().replace("_", "").replace(" ", "").replace("-", "")


def nearest(name: object, known: Iterable[str]) -> str:
    """The tail of an "unknown name" message: the nearest known name, and all of them.

    >>> nearest("rulu", ["relu", "tanh"])
    "did you mean 'relu'? Known names: relu, tanh"
    """
    names = list(known)
    close = closest(name, names)
    hint = f"did you mean '{close}'? " if close else ""
    return f"{hint}Known names: {', '.join(sorted(set(names)))}"


def unknown(what: str, name: object, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a table, such as an activation or a loss."""
    return ValueError(f"unknown {what} {name!r}: {nearest(name, known)}")


def no_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that a module does not have: what its ``__getattr__`` raises."""
    return AttributeError(f"module '{module}' has no '{name}': {nearest(name, known)}")


def frames_inside() -> int:
    """The stacklevel at which a warning of our caller names the user's line: the first frame outside this library."""
    level, frame = 1, sys._getframe(1)
    inside = ("tinynn.", "numpy.")  # np.errstate around a loop of ours is a frame of NumPy's
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(inside):
        level, frame = level + 1, frame.f_back
    return level
