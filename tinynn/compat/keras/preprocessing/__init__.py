"""keras.preprocessing, as far as it is about text and sequences."""

from tinynn.compat.keras.preprocessing import sequence, text
from tinynn.utils import timeseries_dataset_from_array

__all__ = ["sequence", "text", "timeseries_dataset_from_array"]
