"""The few type names that every level shares."""

from __future__ import annotations

from typing import Any, TypeAlias

Array: TypeAlias = Any
"""An array of the graph's backend: ``numpy.ndarray``, ``cupy.ndarray``, or anything that follows NumPy's protocols."""

Shape: TypeAlias = tuple[int, ...]
"""Sizes of the axes; the shapes that layers speak of leave the batch axis out."""

ArrayLike: TypeAlias = Any
"""Whatever ``numpy.asarray`` understands: arrays, nested lists, scalars, pandas frames."""
