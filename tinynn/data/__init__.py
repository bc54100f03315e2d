"""Data on its way into a model."""

from tinynn.data import augmentation
from tinynn.data.arrays import Arrays, host_array
from tinynn.data.augmentation import Augmentation
from tinynn.data.dataset import Dataset
from tinynn.data.directory import image_dataset_from_directory, split_dataset
from tinynn.data.images import ImageDataGenerator
from tinynn.data.padding import pad_sequences
from tinynn.data.source import Source
from tinynn.data.windows import TimeseriesGenerator, Windows, timeseries_dataset_from_array

__all__ = [
    "Arrays",
    "Augmentation",
    "Dataset",
    "ImageDataGenerator",
    "Source",
    "TimeseriesGenerator",
    "Windows",
    "augmentation",
    "host_array",
    "image_dataset_from_directory",
    "pad_sequences",
    "split_dataset",
    "timeseries_dataset_from_array",
]
