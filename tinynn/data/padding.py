"""Sequences of different lengths as one array."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

ENDS = ("pre", "post")


def pad_sequences(
    sequences: Sequence[Any],
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: float | str = 0.0,
) -> NDArray[Any]:
    """Sequences side by side in one array (N, T): short ones are filled up with `value`, long ones cut.

    T is `maxlen`, by default the length of the longest. "pre" fills, or cuts, at the beginning, "post" at the end;
    Keras's default for both is "pre", since what a recurrent layer read last it remembers best. Elements may be
    vectors: sequences of shape (t, d, ...) give (N, T, d, ...). Text needs dtype=object.

    >>> pad_sequences([[1], [2, 3], [4, 5, 6]])
    array([[0, 0, 1],
           [0, 2, 3],
           [4, 5, 6]], dtype=int32)
    >>> pad_sequences([[1], [2, 3], [4, 5, 6]], maxlen=2, padding="post", truncating="post", value=-1)
    array([[ 1, -1],
           [ 2,  3],
           [ 4,  5]], dtype=int32)

    Raises ValueError for what is not a sequence of sequences, for elements of different shapes, and for an argument
    that is none of the above.
    """
    for name, end in (("padding", padding), ("truncating", truncating)):
        if end not in ENDS:
            raise ValueError(f"{name} is 'pre' (at the beginning) or 'post' (at the end); got {end!r}")
    lengths = [_length(s, i) for i, s in enumerate(_listed(sequences))]
    if maxlen is None:
        if not lengths:
            raise ValueError("there are no sequences, so the length is unknown: write pad_sequences([], maxlen=...)")
        maxlen = max(lengths)
    elif operator.index(maxlen) < 1:
        raise ValueError(f"maxlen is a positive whole number; got {maxlen}")
    kind = np.dtype(dtype)
    if isinstance(value, str) and kind.kind not in "OUS":
        raise ValueError(f"value={value!r} is text and dtype is {kind}: write dtype=object")
    first = next((s for s in sequences if len(s)), ())
    element = np.shape(first)[1:] if len(first) else ()
    padded = np.full((len(lengths), maxlen, *element), value, kind)
    for i, sequence in enumerate(sequences):
        kept = _kept(sequence, maxlen, truncating, kind, element, i)
        where = slice(0, len(kept)) if padding == "post" else slice(maxlen - len(kept), maxlen)
        padded[i, where] = kept
    return padded


def _kept(
    sequence: Any, maxlen: int, truncating: str, kind: np.dtype[Any], element: tuple[int, ...], place: int
) -> NDArray[Any]:
    """What is left of one sequence, as an array (t, *element) with t <= maxlen."""
    if not len(sequence):
        return np.empty((0, *element), kind)
    array = np.asarray(sequence[-maxlen:] if truncating == "pre" else sequence[:maxlen], kind)
    if array.shape[1:] != element:
        raise ValueError(
            f"sequence {place} has elements of shape {array.shape[1:]}, those before have {element}: all need one shape"
        )
    return array


def _listed(sequences: Any) -> Any:
    if not hasattr(sequences, "__len__") or isinstance(sequences, (str, bytes, dict)):
        raise ValueError(f"sequences is a list of sequences; got {type(sequences).__name__}")
    return sequences


def _length(sequence: Any, place: int) -> int:
    try:
        return len(sequence)
    except TypeError:
        raise ValueError(
            f"sequences is a list of sequences, but element {place} is {sequence!r}; for one sequence write "
            "pad_sequences([sequence])"
        ) from None
