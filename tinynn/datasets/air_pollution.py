"""Air in Beijing, hour by hour, 2010 to 2014: fine dust (PM2.5) and the weather, 43,824 hours of 8 variables.

The dust was measured at the embassy of the United States, with 2,067 gaps; the weather at the airport, without.
Source: X. Liang et al., "Assessing Beijing's PM2.5 pollution", Proc. R. Soc. A 471, 2015; UCI "Beijing PM2.5", CC BY
4.0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text

NAME = "pollution.csv"
ORIGIN = "archive.ics.uci.edu (Beijing PM2.5) and github.com/jbrownlee/Datasets (pollution.csv)"
SHA256 = "892e9559205d16d32623135c127a3951c12e46ea1e0b3093e107ce89a9fd60e2"

columns = ("pollution", "dew_point", "temperature", "pressure", "wind_direction", "wind_speed", "snow", "rain")
"""Micrograms in a cubic metre, degrees Celsius twice, hPa, a code, m/s added up since the wind turned, hours of snow
and hours of rain added up since it began."""

wind_directions = ("NE", "NW", "SE", "cv")
"""Code k of column wind_direction; cv is calm or changing."""

GAPS = ("mark", "last", "linear")


def load_data(gaps: str | float = "mark", folder: Folder = None) -> tuple[NDArray[np.datetime64], NDArray[np.float32]]:
    """(times, values): hours (43824,), datetime64[h], and float32 numbers (43824, 8), with the columns `columns`.

    gaps: what stands where no dust was measured: "mark" NaN; "last" the value before; "linear" a straight line between
        the values around; or a number. Before the first value (24 hours) "last" and "linear" have the first one.

    The file comes from `folder`, else from `timeseries/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    if isinstance(gaps, str) and gaps not in GAPS:
        raise ValueError(f"gaps is one of {', '.join(map(repr, GAPS))}, or a number to put there; got {gaps!r}")
    text = read_text(located(folder, "timeseries", NAME, ORIGIN), SHA256)
    lines = [line.split(",") for line in text.splitlines()[1:]]
    times = np.array([f"{y}-{int(m):02}-{int(d):02}T{int(h):02}" for _, y, m, d, h, *_ in lines], "datetime64[h]")
    codes = {name: str(code) for code, name in enumerate(wind_directions)} | {"NA": "nan"}
    values = np.array([[float(codes.get(field, field)) for field in line[5:]] for line in lines], np.float32)
    values[:, 0] = filled(values[:, 0], gaps)
    return times, values


def filled(values: NDArray[np.float32], gaps: str | float) -> NDArray[np.float32]:
    """Values (T,) with their NaN replaced as `load_data` says."""
    known = np.flatnonzero(~np.isnan(values))
    steps = np.arange(len(values))
    if gaps == "mark":
        return values
    if gaps == "last":
        return values[known[np.maximum(np.searchsorted(known, steps, side="right") - 1, 0)]]
    if gaps == "linear":
        return np.interp(steps, known, values[known]).astype(np.float32)
    return np.where(np.isnan(values), np.float32(gaps), values)
