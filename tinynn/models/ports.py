"""The ports of a model: its inputs and outputs have names, and data come as a list, in their order, or as a dict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tinynn.errors import nearest


def unique(names: Iterable[str]) -> list[str]:
    """Every name once: those that come again get a number.

    >>> unique(["input", "a", "input"])
    ['input', 'a', 'input_1']
    """
    counts: Counter[str] = Counter()
    result: list[str] = []
    for name in names:
        free, k = name, counts[name]
        while free in result:
            k += 1
            free = f"{name}_{k}"
        counts[name] = k
        result.append(free)
    return result


def in_order(value: Any, names: Sequence[str], what: str, kind: str, optional: bool = False) -> list[Any]:
    """What a list or dict holds for each port, in their order.

    what:     the argument, such as "y"; kind: "input" or "output"
    optional: a dict may leave ports out, which get None

    ValueError where there are too many, too few, or unknown names.
    """
    shown = ", ".join(f"'{name}'" for name in names)
    if isinstance(value, Mapping):
        for name in value:
            if name not in names:
                raise ValueError(
                    f"{what} names an {kind} {name!r} that the model does not have: {nearest(name, names)}"
                )
        missing = [name for name in names if name not in value]
        if missing and not optional:
            raise ValueError(f"{what} has nothing for the {kind} '{missing[0]}': it expects the names {shown}")
        return [value.get(name) for name in names]
    several = f"{len(names)} entries, one for each {kind} ({shown})"
    if not isinstance(value, (list, tuple)):
        got = f"one array of shape {tuple(value.shape)}" if hasattr(value, "shape") else f"{value!r}"
        raise ValueError(f"{what} expects a list of {several}, or a dict with these names, got {got}")
    if len(value) != len(names):
        raise ValueError(f"{what} expects {several}, got {len(value)}")
    return list(value)


def only(value: Any, name: str, what: str, kind: str, fits: Callable[[Any], bool]) -> Any:
    """The array of the only port: as it is, or out of a dict, or of a list of one.

    fits: tells an array from a row, which a list of one may hold too
    """
    if isinstance(value, Mapping):
        return in_order(value, [name], what, kind)[0]
    if isinstance(value, (list, tuple)) and len(value) == 1 and hasattr(value[0], "ndim") and fits(value[0]):
        return value[0]
    return value
