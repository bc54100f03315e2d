"""The table of workloads. A new file here joins by one line below."""

from __future__ import annotations

import importlib

from benchmarks.cases import conv, dense, recurrent
from benchmarks.cases.base import Case

CASES: dict[str, Case] = {case.name: case for case in (*dense.CASES, *conv.CASES, *recurrent.CASES)}


def find(name: str) -> Case:
    """A case by its name in the table, or as ``module:attribute`` for one that stands elsewhere.

    Raises ValueError, with all known names, for one that is not there.
    """
    if name in CASES:
        return CASES[name]
    module, colon, attribute = name.partition(":")
    if colon:
        case = getattr(importlib.import_module(module), attribute)
        if isinstance(case, Case):
            return case
        raise ValueError(f"{name} is a {type(case).__name__}; expected a benchmarks.cases.base.Case")
    raise ValueError(f"unknown case {name!r}; known are {', '.join(CASES)}, and module:attribute for your own")
