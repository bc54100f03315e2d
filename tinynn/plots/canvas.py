"""What every picture shares: a figure without global state, the colours, the way to the file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PathLike = str | os.PathLike[str]

INK = "#333333"
PALE = "#808080"
TRAIN = "#0072b2"  # blue and vermilion of Okabe and Ito (2008): apart for every kind of colour vision
VALIDATION = "#d55e00"
SEQUENTIAL = "Blues"
DIVERGING = "RdBu"
DPI = 150


def figure(width: float, height: float, pad: float = 0.04) -> Figure:
    """An empty figure that arranges its axes by itself; sizes, and the room around each of its axes, in inches.

    Raises ImportError with the command to type when matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError as error:
        raise ImportError('plots need matplotlib; install it with: pip install "tinynn-np[plots]"') from error
    return Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=pad, h_pad=pad))


def finished(picture: Figure, path: PathLike | None) -> Figure:
    """The figure, saved to `path` when one is given."""
    if path is not None:
        picture.savefig(path, facecolor="white")
    return picture


def plain(axes: Axes, *keep: str) -> None:
    """Grey, thin axes, with no frame but the sides named in `keep`."""
    for side, spine in axes.spines.items():
        spine.set_visible(side in keep)
        spine.set_color(PALE)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
