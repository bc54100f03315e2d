"""Mean number of sunspots of each month, January 1749 to December 1983 (Zurich): 2,820 months, a cycle of 11 years.

Source: D. Andrews, A. Herzberg, "Data", 1985, in J. Brownlee's collection, without a licence of its own (facts long in
public circulation).
"""

from __future__ import annotations

from tinynn.datasets import series
from tinynn.datasets.textfile import Folder

SHA256 = "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"


def load_data(folder: Folder = None) -> series.Series:
    """(times, sunspots), each (2820,): months (datetime64[M]) and float32 numbers.

    The file monthly-sunspots.csv comes from `folder`, else from `timeseries/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    return series.read("monthly-sunspots", SHA256, "M", folder)
