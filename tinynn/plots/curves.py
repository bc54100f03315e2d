"""Loss and metrics over the epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinynn.plots.canvas import INK, PALE, TRAIN, VALIDATION, PathLike, figure, finished, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Record = Mapping[str, Sequence[float]]

PREFIX = "val_"
LINE = 0.085  # the height of a line of text, as a share of a panel


def history(record: Record, path: PathLike | None = None) -> Figure:
    """One panel for the loss and one for every metric, training and validation in each.

    `record` is what `History.history` holds: name -> one number per epoch, validation under `val_` + name.
    Raises TypeError when it is no mapping, ValueError when it is empty.
    """
    names = panels(record)
    picture = figure(4.6 * len(names), 3.4)
    for axes, name in zip(picture.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        draw(axes, record, name)
    return finished(picture, path)


def panels(record: Record) -> list[str]:
    """The names to draw, each once, the loss first."""
    if not isinstance(record, Mapping):
        raise TypeError(f"expected a dict of lists; got {type(record).__name__} (of a History write history.history)")
    names = list(dict.fromkeys(name.removeprefix(PREFIX) for name, values in record.items() if len(values)))
    if not names:
        raise ValueError("the record is empty: no epoch was run")
    return sorted(names, key=lambda name: name != "loss")


def draw(axes: Axes, record: Record, name: str) -> None:
    """The curves of one name, each labelled at its end instead of in a legend."""
    from matplotlib.ticker import MaxNLocator

    curves = [
        (np.asarray(record[key], float), colour, label)
        for key, colour, label in ((name, TRAIN, "training"), (PREFIX + name, VALIDATION, "validation"))
        if key in record
    ]
    for values, colour, _ in curves:
        epochs = np.arange(1, len(values) + 1)
        axes.plot(epochs, values, color=colour, linewidth=1.8, marker="o", markersize=4 if len(values) <= 25 else 0)
    axes.set_title(name.replace("_", " "), loc="left", fontsize=11, color=INK)
    axes.set_xlabel("epoch")
    last = max(len(values) for values, _, _ in curves)
    room = 0.03 * (last - 1) or 0.5
    axes.set_xlim(1 - room, last + room)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.grid(axis="y", color=PALE, alpha=0.25, linewidth=0.7)
    axes.margins(y=0.08)
    plain(axes, "bottom")
    _label_ends(axes, curves)


def _label_ends(axes: Axes, curves: list[tuple[np.ndarray[tuple[int], np.dtype[np.float64]], str, str]]) -> None:
    ends = [(len(v), v[-1], colour, label) for v, colour, label in curves if len(v) and np.isfinite(v[-1])]
    low, high = axes.get_ylim()
    heights = apart([(y - low) / (high - low) for _, y, _, _ in ends], LINE)
    for (epoch, y, colour, label), height in zip(ends, heights, strict=True):
        axes.annotate(
            f"{label} {y:#.4g}",
            (epoch, y),
            (1.02, height),
            textcoords="axes fraction",
            color=colour,
            fontsize=8.5,
            verticalalignment="center",
        )


def apart(heights: list[float], gap: float) -> list[float]:
    """The heights, moved so that two neighbours of a pair are `gap` apart and keep their order and their middle."""
    if len(heights) != 2 or abs(heights[0] - heights[1]) >= gap:
        return heights
    middle = sum(heights) / 2
    first = gap / 2 if heights[0] >= heights[1] else -gap / 2
    return [middle + first, middle - first]
