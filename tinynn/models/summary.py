"""The table that ``model.summary()`` prints: Keras's three columns, exact counts, and nothing allocated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tinynn.parameter import Variable

WIDTHS = (30, 24, 14)


@dataclass(frozen=True)
class Row:
    """One line: a layer's name and class, its output shape without the batch axis, its number of values."""

    name: str
    kind: str
    shape: Any
    size: int


def table(title: str, rows: Iterable[Row], variables: Iterable[Variable], frozen: set[int]) -> str:
    """The whole summary as text; ``frozen`` holds the ids of variables that training does not change."""
    line, double = "_" * sum(WIDTHS), "=" * sum(WIDTHS)
    lines = [f'Model: "{title}"', line, columns("Layer (type)", "Output Shape", "Param #"), double]
    for row in rows:
        lines.append(columns(f"{row.name} ({row.kind})", batch_shape(row.shape), f"{row.size:,}"))
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


def columns(*cells: str) -> str:
    """Cells in their columns; a long one pushes the rest to the right instead of losing its end."""
    text = ""
    end = 0
    for cell, width in zip(cells, WIDTHS, strict=True):
        text = f"{text:<{end}}" + (" " if len(text) > end else "") + cell
        end += width
    return text


def batch_shape(shape: Any) -> str:
    """A shape as Keras shows it, with None for the batch."""
    if isinstance(shape, list):
        return ", ".join(batch_shape(s) for s in shape)
    return str((None, *shape))
