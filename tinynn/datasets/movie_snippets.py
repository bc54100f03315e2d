"""10,662 sentences from film reviews, half of them good: "sentence polarity", version 1.0.

Source: B. Pang, L. Lee, "Seeing stars", ACL 2005; distributed by Cornell for research, without a licence text; the
snippets are from Rotten Tomatoes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text

NAMES = ("rt-polarity.neg", "rt-polarity.pos")
ORIGIN = "www.cs.cornell.edu/people/pabo/movie-review-data"
LINES = 5331


def load_data(folder: Folder = None) -> tuple[list[str], NDArray[np.int64]]:
    """(texts, labels): the sentences, 1 for good, 0 for bad ones; good and bad take turns.

    The files rt-polarity.neg and .pos (in UTF-8) come from `folder`, else from
    `sentiment/` under TINYNN_DATA.
    Raises FileNotFoundError where one is missing, ValueError where it is not UTF-8 or has not 5,331 lines.
    """
    bad, good = (_lines(name, folder) for name in NAMES)
    texts = [text for pair in zip(bad, good, strict=True) for text in pair]
    return texts, np.tile(np.array([0, 1], np.int64), LINES)


def _lines(name: str, folder: Folder) -> list[str]:
    path = located(folder, "sentiment", name, ORIGIN)
    lines = [line.strip() for line in read_text(path).removesuffix("\n").split("\n")]
    if len(lines) != LINES:
        raise ValueError(f"{path} has {len(lines)} lines; expected {LINES}")
    return lines
