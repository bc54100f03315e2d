"""A whole training run in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from tinynn.plots import confusion, curves
from tinynn.plots.canvas import INK, PathLike, figure, finished

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = 5.4  # inches; the matrix is square and as wide as the page is high


def overview(
    record: curves.Record,
    matrix: ArrayLike,
    class_names: Sequence[str] | None = None,
    title: str | None = None,
    path: PathLike | None = None,
) -> Figure:
    """The curves of `history` one below the other, beside the confusion matrix (C, C).

    Raises what `history` and `confusion_matrix` raise.
    """
    names = curves.panels(record)
    confusion.checked(matrix, class_names)
    height = max(5.2, 2.3 * len(names))
    picture = figure(CURVES + height, height)
    left, right = picture.subfigures(1, 2, squeeze=False, width_ratios=[CURVES, height], wspace=0.03)[0]
    for axes, name in zip(left.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0], names, strict=True):
        curves.draw(axes, record, name)
        axes.label_outer()
    confusion.draw(right.subplots(), matrix, class_names)
    if title is not None:
        picture.suptitle(title, x=0.01, ha="left", fontsize=12, color=INK)
    return finished(picture, path)
