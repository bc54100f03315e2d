"""keras.preprocessing, as far as it is about text, sequences and images."""

from tinynn.compat.keras.preprocessing import image, sequence, text
from tinynn.utils import image_dataset_from_directory, timeseries_dataset_from_array

__all__ = ["image", "image_dataset_from_directory", "sequence", "text", "timeseries_dataset_from_array"]
