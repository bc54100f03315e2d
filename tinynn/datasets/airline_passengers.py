"""Passengers of international airlines, in thousands a month: 144 months, January 1949 to December 1960.

A trend, and a summer that grows with it. Source: G. Box, G. Jenkins, "Time Series Analysis", 1970, series G; the file
is that of J. Brownlee's collection, without a licence of its own (facts long in public circulation).
"""

from __future__ import annotations

from tinynn.datasets import series
from tinynn.datasets.textfile import Folder

SHA256 = "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"


def load_data(folder: Folder = None) -> series.Series:
    """(times, passengers), each (144,): months (datetime64[M]) and float32 numbers, 104 to 622.

    The file airline-passengers.csv comes from `folder`, else from `timeseries/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    return series.read("airline-passengers", SHA256, "M", folder)
