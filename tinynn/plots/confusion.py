"""Which class was taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinynn.plots.canvas import INK, PALE, SEQUENTIAL, PathLike, figure, finished, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_NUMBERS = 20  # with more classes than this the numbers would be too small to read


def confusion_matrix(
    matrix: ArrayLike,
    class_names: Sequence[str] | None = None,
    normalize: bool = False,
    path: PathLike | None = None,
) -> Figure:
    """matrix[i, j] (C, C) counts the rows of true class i that were predicted as j.

    The colour is the share of the true class; the numbers are counts, or with `normalize` that share in percent.
    Raises ValueError when the matrix is not square, has negative numbers, or the names are not C.
    """
    size = 2.2 + 0.42 * min(len(checked(matrix, class_names)), MOST_NUMBERS)
    picture = figure(size, size)
    draw(picture.subplots(), matrix, class_names, normalize)
    return finished(picture, path)


def checked(matrix: ArrayLike, class_names: Sequence[str] | None) -> NDArray[Any]:
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or counts.size == 0:
        raise ValueError(f"a confusion matrix has shape (classes, classes); got {counts.shape}")
    if counts.dtype.kind not in "iuf" or not np.all(counts >= 0):
        raise ValueError("a confusion matrix holds counts: numbers, none negative or NaN")
    if class_names is not None and len(class_names) != len(counts):
        raise ValueError(f"the matrix has {len(counts)} classes, class_names {len(class_names)}")
    return counts


def draw(axes: Axes, matrix: ArrayLike, class_names: Sequence[str] | None = None, normalize: bool = False) -> None:
    """The matrix as a field of squares. The root of the share is coloured, so that rare mistakes are seen."""
    counts = checked(matrix, class_names)
    n = len(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    axes.imshow(np.sqrt(share), cmap=SEQUENTIAL, vmin=0, vmax=1.12)  # the darkest end would drown in black
    names = [str(k) for k in range(n)] if class_names is None else list(class_names)
    long = max(map(len, names)) > 2
    step = max(1, n // MOST_NUMBERS)
    axes.set_xticks(range(0, n, step), names[::step], rotation=45 if long else 0, ha="right" if long else "center")
    axes.set_yticks(range(0, n, step), names[::step])
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    axes.set_xticks(np.arange(1, n) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, n) - 0.5, minor=True)
    if n <= MOST_NUMBERS:
        axes.grid(which="minor", color="white", linewidth=1.2)
        _write_numbers(axes, counts, share, normalize)
    accuracy = np.trace(counts) / max(counts.sum(), np.finfo(float).tiny)
    axes.set_title(f"accuracy {accuracy:.4g}", loc="left", fontsize=11, color=INK)
    plain(axes)
    axes.tick_params(which="minor", length=0)


def _write_numbers(axes: Axes, counts: NDArray[Any], share: NDArray[Any], normalize: bool) -> None:
    for i, j in np.ndindex(counts.shape):
        if counts[i, j] == 0:
            continue  # an empty cell says it with less ink
        text = f"{100 * share[i, j]:.1f}" if normalize else f"{counts[i, j]:.4g}"
        colour = "white" if share[i, j] > 0.4 else INK if i == j or share[i, j] > 0.01 else PALE
        axes.text(j, i, text, ha="center", va="center", fontsize=8, color=colour)
