"""validation_split: the last rows are held out."""

from __future__ import annotations

import warnings

import numpy as np

from tinynn.data import Arrays
from tinynn.errors import frames_inside
from tinynn.models.weighting import class_labels

ROWS_PER_CLASS = 4
"""With fewer held-out rows than this a class may be missing there by chance."""


def split(data: Arrays, fraction: float) -> tuple[Arrays, Arrays | None]:
    """Keras's validation_split: the last rows, before any shuffling. Warns when the label sets differ."""
    number = isinstance(fraction, (int, float, np.number)) and not isinstance(fraction, bool)
    if not number or not 0 <= fraction < 1:
        raise ValueError(f"validation_split expects a fraction 0 <= f < 1, got {fraction!r}")
    if not fraction:
        return data, None
    cut = int(len(data) * (1 - fraction))
    if cut == 0 or cut == len(data):
        raise ValueError(f"validation_split={fraction} of {len(data)} rows leaves nothing to train or to validate on")
    train, held_out = data.part(slice(0, cut)), data.part(slice(cut, None))
    warn_of_sorted_labels(train, held_out)
    return train, held_out


def warn_of_sorted_labels(train: Arrays, held_out: Arrays) -> None:
    """The usual accident with validation_split: data sorted by class."""
    if isinstance(train.y, tuple) or isinstance(held_out.y, tuple):
        return  # no one class for a row
    y = train.y
    if y is None or held_out.y is None or not (y.dtype.kind in "iu" or (y.ndim == 2 and y.shape[1] > 1)):
        return
    here, there = np.unique(class_labels(y)), np.unique(class_labels(held_out.y))
    if len(here) > 1000:
        return  # a regression with whole numbers
    unseen, missing = np.setdiff1d(there, here), np.setdiff1d(here, there)
    if len(held_out) < ROWS_PER_CLASS * len(here):
        missing = missing[:0]  # so few rows may lack a class by chance
    if unseen.size or missing.size:
        where = "do not occur in the rows left for training" if unseen.size else "are missing there"
        classes = (unseen if unseen.size else missing)[:10].tolist()
        warnings.warn(
            f"validation_split takes the last rows, and the classes {classes} {where}: "
            "the data look sorted. Shuffle x and y together first",
            stacklevel=frames_inside(),
        )
