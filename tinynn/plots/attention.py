"""Where each step of an answer looked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.plots.canvas import SEQUENTIAL, PathLike, figure, finished, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INCHES = 0.17
"""The side of a square, in which a letter can be read."""


def attention(
    scores: Sequence[ArrayLike],
    sources: Sequence[Sequence[str]],
    targets: Sequence[Sequence[str]],
    path: PathLike | None = None,
) -> Figure:
    """A field for each example: its targets (T words or letters) downwards, its sources (S) across, scores (T, S).

    scores: the weights of an attention, 0 to 1; each row is where one step of the answer looked
    Raises ValueError where scores, sources and targets do not fit each other.
    """
    fields = [checked(*example) for example in zip(scores, sources, targets, strict=True)]
    if not fields:
        raise ValueError("attention expects the scores of at least one example")
    heights = [len(p) + 4 for p in fields]
    width = max(p.shape[1] for p in fields)
    picture = figure(1 + INCHES * width, INCHES * sum(heights))
    all_axes: Any = picture.subplots(len(fields), squeeze=False, height_ratios=heights)
    for axes, p, source, target in zip(all_axes[:, 0], fields, sources, targets, strict=True):
        draw(axes, p, source, target)
        axes.set_xlim(-0.5, width - 0.5)  # squares of one size in all fields
        axes.set_anchor("W")
    return finished(picture, path)


def checked(scores: ArrayLike, source: Sequence[str], target: Sequence[str]) -> NDArray[Any]:
    p = np.asarray(scores, float)
    if p.shape != (len(target), len(source)) or not p.size:
        raise ValueError(
            f"scores have shape (targets, sources) = {(len(target), len(source))} for {target!r} from {source!r}, "
            f"got {p.shape}"
        )
    return p


def draw(axes: Axes, scores: ArrayLike, source: Sequence[str], target: Sequence[str]) -> None:
    """One field of squares, the darker the more was looked there."""
    axes.imshow(scores, cmap=SEQUENTIAL, vmin=0, vmax=1)
    axes.set_xticks(range(len(source)), list(source), family="monospace")
    axes.set_yticks(range(len(target)), list(target), family="monospace")
    axes.xaxis.tick_top()
    plain(axes)
