"""Sentences that praise or complain: 1,000 each about products, films and restaurants, half of them good.

Source: D. Kotzias et al., "From Group to Individual Labels using Deep Features", KDD 2015, which asks to be cited; UCI
"Sentiment Labelled Sentences", CC BY 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text, rows

FOLDER = "sentiment/uci_sentences"
ORIGIN = "archive.ics.uci.edu (Sentiment Labelled Sentences)"
FILES = {"amazon": "amazon_cells_labelled.txt", "imdb": "imdb_labelled.txt", "yelp": "yelp_labelled.txt"}
SHA256 = {
    "amazon": "47003fc0a0d4840b00e96e715b6189bad09e7443a3da41c4cbe12ffc79f86ae3",
    "imdb": "c662b9360c1652babb990d164835af12aa105db7991f1fdb19038115f0e93de8",
    "yelp": "b565b1eeb864d76842588c3a256731b08bcdd9faf6de507bfe211a96f8b81912",
}
sources = tuple(FILES)


def load_data(about: str | Sequence[str] = sources, folder: Folder = None) -> tuple[list[str], NDArray[np.int64]]:
    """(texts, labels): 1,000 sentences of each source, 1 for good, 0 for bad; `about` one or some of `sources`.

    The sources follow each other, so shuffle before holding some out. The files come from `folder`, else from
    `sentiment/uci_sentences/` under TINYNN_DATA.
    Raises FileNotFoundError where one is missing, ValueError where it is not the published one.
    """
    chosen = [about] if isinstance(about, str) else list(about)
    pairs: list[list[str]] = []
    for source in chosen:
        if source not in FILES:
            raise ValueError(f"about is one or some of {', '.join(FILES)}; got {source!r}")
        path = located(folder, FOLDER, FILES[source], ORIGIN)
        pairs += rows(read_text(path, SHA256[source]), 2, path)
    return [text.strip() for text, _ in pairs], np.array([int(label) for _, label in pairs], np.int64)
