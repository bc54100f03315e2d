"""The table that ``model.summary()`` prints: Keras's three columns, exact counts, and nothing allocated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tinynn.parameter import Variable

WIDTHS = (30, 24, 14)
"""The least widths of the columns; a long name widens its own."""
GAP = 2
"""Blanks between a column and the next, at least."""


@dataclass(frozen=True)
class Row:
    """One line: a layer's name and class, its output shape without the batch axis, its number of values."""

    name: str
    kind: str
    shape: Any
    size: int


def table(title: str, rows: Iterable[Row], variables: Iterable[Variable], frozen: set[int]) -> str:
    """The whole summary as text; ``frozen`` holds the ids of variables that training does not change."""
    cells = [(f"{row.name} ({row.kind})", batch_shape(row.shape), f"{row.size:,}") for row in rows]
    widths = [
        max([least, *(len(cell) + GAP for cell in column)]) for least, *column in zip(WIDTHS, *cells, strict=True)
    ]
    line, double = "_" * sum(widths), "=" * sum(widths)
    lines = [f'Model: "{title}"', line, columns(("Layer (type)", "Output Shape", "Param #"), widths), double]
    lines += [columns(row, widths) for row in cells]
    variables = list(variables)
    total = sum(v.size for v in variables)
    kept = sum(v.size for v in variables if id(v) in frozen)
    lines += [
        double,
        f"Total params: {total:,}",
        f"Trainable params: {total - kept:,}",
        f"Non-trainable params: {kept:,}",
        line,
    ]
    return "\n".join(lines)


def columns(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Cells in their columns."""
    return "".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()


def batch_shape(shape: Any) -> str:
    """A shape as Keras shows it, with None for the batch."""
    if isinstance(shape, list):
        return ", ".join(batch_shape(s) for s in shape)
    return str((None, *shape))
