"""5,574 text messages in English, 747 of them spam.

Source: T. Almeida, J. Gomez Hidalgo, A. Yamakami, "Contributions to the Study of SMS Spam Filtering", DocEng 2011; UCI
"SMS Spam Collection", CC BY 4.0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text, rows

NAMES = ("SMSSpamCollection.tsv", "SMSSpamCollection")
ORIGIN = "archive.ics.uci.edu (SMS Spam Collection)"
HAM, SPAM = 4827, 747
class_names = ("ham", "spam")


def load_data(folder: Folder = None) -> tuple[list[str], NDArray[np.int64]]:
    """(texts, labels): the messages, and 1 for spam, 0 for others ("ham").

    The file SMSSpamCollection, with or without .tsv, comes from `folder`, else from `sentiment/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    path = located(folder, "sentiment", NAMES, ORIGIN)
    lines = rows(read_text(path), 2, path)
    for number, (label, _) in enumerate(lines, 1):
        if label not in class_names:
            raise ValueError(f"{path}, line {number}: the label is {label!r}; expected ham or spam")
    labels = np.array([class_names.index(label) for label, _ in lines], np.int64)
    if (counts := tuple(np.bincount(labels, minlength=2).tolist())) != (HAM, SPAM):
        raise ValueError(f"{path} has {counts[0]} messages and {counts[1]} of spam; expected {HAM} and {SPAM}")
    return [text for _, text in lines], labels
