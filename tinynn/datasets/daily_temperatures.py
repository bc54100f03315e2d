"""The lowest temperature of each day in Melbourne, 1981 to 1990, in degrees Celsius: 3,650 days.

A season and much noise; the 31st of December of the leap years 1984 and 1988 is not there. Source: Australian Bureau of
Meteorology, in J. Brownlee's collection, without a licence of its own (facts long in public circulation).
"""

from __future__ import annotations

from tinynn.datasets import series
from tinynn.datasets.textfile import Folder

SHA256 = "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"


def load_data(folder: Folder = None) -> series.Series:
    """(times, temperatures), each (3650,): days (datetime64[D]) and float32 numbers.

    The file daily-min-temperatures.csv comes from `folder`, else from `timeseries/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    return series.read("daily-min-temperatures", SHA256, "D", folder)
