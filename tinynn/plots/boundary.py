"""What a network of two inputs says about the plane."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.plots.canvas import INK, TRAIN, VALIDATION, PathLike, figure, finished, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Axis = NDArray[np.float32]


def grid(points: ArrayLike, resolution: int = 200, margin: float = 0.1) -> tuple[Axis, Axis, Axis]:
    """x1 (R,), x2 (R,) and rows (R R, 2): the plane around points (N, 2), ready for `predict`."""
    x = np.asarray(points, np.float32)
    if x.ndim != 2 or x.shape[1] != 2 or len(x) == 0:
        raise ValueError(f"points have shape (N, 2); got {x.shape}")
    low, high = x.min(axis=0), x.max(axis=0)
    room = margin * (high - low)
    x1, x2 = (np.linspace(a, b, resolution, dtype=np.float32) for a, b in zip(low - room, high + room, strict=True))
    return x1, x2, np.stack(np.meshgrid(x1, x2), axis=-1).reshape(-1, 2)


def decision_boundary(
    x1: ArrayLike,
    x2: ArrayLike,
    scores: ArrayLike,
    points: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    threshold: float = 0.0,
    path: PathLike | None = None,
) -> Figure:
    """The scores over the plane, the line where they cross `threshold`, and the points (N, 2) by their labels (N,).

    x1 (A,) and x2 (B,) are the axes, scores are B A numbers in the order of `grid`; a label counts as positive when
    it is above the threshold. Use 0 for -1/+1 labels, 0.5 for probabilities. Raises ValueError when shapes differ.
    """
    a, b, z = np.asarray(x1, float), np.asarray(x2, float), np.asarray(scores, float)
    if a.ndim != 1 or b.ndim != 1 or z.size != a.size * b.size or z.size == 0:
        raise ValueError(
            f"scores of shape {z.shape} do not fit x1 {a.shape} and x2 {b.shape}; expected {a.size * b.size} scores"
        )
    z = z.reshape(b.size, a.size)
    reach = float(np.nanmax(np.abs(z - threshold))) or 1.0
    picture = figure(4.6, 4.4)
    axes = picture.subplots()
    axes.pcolormesh(a, b, z, cmap=_colours(), vmin=threshold - reach, vmax=threshold + reach, rasterized=True)
    if z.min() < threshold < z.max():
        axes.contour(a, b, z, levels=[threshold], colors=INK, linewidths=1.3)
    if points is not None:
        _draw_points(axes, points, labels, threshold)
    axes.set_xlim(a.min(), a.max())
    axes.set_ylim(b.min(), b.max())
    axes.set_aspect("equal")
    axes.set_xlabel("x1")
    axes.set_ylabel("x2")
    plain(axes)
    return finished(picture, path)


def _colours() -> Colormap:
    """The colours of the points, lightened so that the points stand out, over white."""
    from matplotlib.colors import LinearSegmentedColormap, to_rgb

    ends = [0.45 * np.array(to_rgb(colour)) + 0.55 for colour in (VALIDATION, TRAIN)]
    return LinearSegmentedColormap.from_list("tinynn", [tuple(ends[0]), "white", tuple(ends[1])])


def _draw_points(axes: Axes, points: ArrayLike, labels: ArrayLike | None, threshold: float) -> None:
    x = np.asarray(points, float)
    y = np.zeros(len(x)) if labels is None else np.asarray(labels, float).reshape(-1)
    if x.ndim != 2 or x.shape[1] != 2 or len(y) != len(x):
        raise ValueError(f"points have shape (N, 2) and labels (N,); got {x.shape} and {y.shape}")
    for chosen, colour in ((y > threshold, TRAIN), (y <= threshold, VALIDATION)):
        shown = colour if labels is not None else INK
        axes.scatter(x[chosen, 0], x[chosen, 1], s=22, color=shown, edgecolor="white", linewidth=0.6)
