"""What houses cost in California: 20,640 districts of the census of 1990, nine things known of each, the median price.

Source: R. Pace, R. Barry, "Sparse spatial autoregressions", Statistics & Probability Letters 33, 1997; in the version
of A. Geron, "Hands-On Machine Learning", 2nd edition, which leaves 207 counts of bedrooms blank and adds the place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tinynn.datasets.textfile import Folder, located, read_text

NAME = "california_housing.csv"
ORIGIN = "github.com/ageron/handson-ml2 (datasets/housing/housing.csv)"
SHA256 = "8a3727f4cf54ac1a327f69b1d5b4db54c5834ea81c6e4efc0d163300022a685e"

columns = (
    "longitude",
    "latitude",
    "housing_median_age",
    "total_rooms",
    "total_bedrooms",
    "population",
    "households",
    "median_income",
    "ocean_proximity",
)
"""Degrees twice, years, four counts, tens of thousands of dollars, a code."""

ocean_proximities = ("<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN")
"""Code k of column ocean_proximity."""

HIGHEST = 500_001
"""Dollars that stand for "more than 500,000", in 965 districts."""


def load_data(folder: Folder = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(x, y): numbers (20640, 9), with the columns `columns`, and the median value of a house (20640,) in dollars.

    Where nobody told the number of bedrooms there is NaN. The rows lie in order of the place, roughly: shuffle them.

    The file comes from `folder`, else from `tabular/` under TINYNN_DATA.
    Raises FileNotFoundError where it is missing, ValueError where it is not the published one.
    """
    text = read_text(located(folder, "tabular", NAME, ORIGIN), SHA256)
    codes = {name: str(code) for code, name in enumerate(ocean_proximities)} | {"": "nan"}
    table = np.array([[float(codes.get(c, c)) for c in line.split(",")] for line in text.splitlines()[1:]], np.float32)
    value = table.shape[1] - 2  # the last but one; behind it the place
    return np.delete(table, value, axis=1), table[:, value].copy()
