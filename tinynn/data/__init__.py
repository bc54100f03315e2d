"""Data on its way into a model."""

from tinynn.data.arrays import Arrays, host_array
from tinynn.data.dataset import Dataset
from tinynn.data.padding import pad_sequences
from tinynn.data.windows import TimeseriesGenerator, Windows, timeseries_dataset_from_array

__all__ = [
    "Arrays",
    "Dataset",
    "TimeseriesGenerator",
    "Windows",
    "host_array",
    "pad_sequences",
    "timeseries_dataset_from_array",
]
