"""A table with a date and a number in each line: the form of the small time series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text

Series = tuple[NDArray[np.datetime64], NDArray[np.float32]]

ORIGIN = "github.com/jbrownlee/Datasets"


def read(name: str, sha256: str, unit: str, folder: Folder) -> Series:
    """(times, values) of file `name`: dates of this unit ("M" months, "D" days), and float32 numbers, one for each.

    Raises FileNotFoundError where the file is missing, ValueError where it is not the published one.
    """
    text = read_text(located(folder, "timeseries", f"{name}.csv", ORIGIN), sha256)
    lines = [line.split(",") for line in text.splitlines()[1:]]
    times = np.array([time.strip('"') for time, _ in lines], f"datetime64[{unit}]")
    return times, np.array([float(value) for _, value in lines], np.float32)
