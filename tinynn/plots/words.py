"""Words as points of the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from tinynn.plots.canvas import INK, PathLike, figure, finished, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def words(
    points: ArrayLike,
    labels: Sequence[str],
    groups: Sequence[str] | None = None,
    path: PathLike | None = None,
) -> Figure:
    """A map of words: points (N, 2), each with its label (N); words of one of the groups (N) share a colour.

    Raises ValueError where the numbers of points, labels and groups differ.
    """
    x = np.asarray(points, float)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) != len(labels) or not len(x):
        raise ValueError(f"points have shape (N, 2) and labels (N,); got {x.shape} and {len(labels)} labels")
    if groups is not None and len(groups) != len(labels):
        raise ValueError(f"each of the {len(labels)} labels has a group; got {len(groups)} groups")
    colours = {group: f"C{i}" for i, group in enumerate(dict.fromkeys(groups or []))}
    picture = figure(7.0, 6.0)
    axes = picture.subplots()
    for i, ((a, b), label) in enumerate(zip(x, labels, strict=True)):
        colour = INK if groups is None else colours[groups[i]]
        bold = groups is not None and groups[i] == label
        axes.plot(a, b, ".", color=colour, markersize=5)
        axes.annotate(
            label,
            (a, b),
            xytext=(3, 2),
            textcoords="offset points",
            color=colour,
            fontsize=8,
            weight="bold" if bold else "normal",
        )
    axes.margins(0.08)
    axes.set_xticks([])
    axes.set_yticks([])
    plain(axes)
    return finished(picture, path)
