"""Data on its way into a model."""

import importlib
from typing import TYPE_CHECKING

from tinynn.data.arrays import Arrays, host_array
from tinynn.data.padding import pad_sequences
from tinynn.data.source import Source
from tinynn.data.windows import TimeseriesGenerator, Windows, timeseries_dataset_from_array
from tinynn.errors import no_attribute

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

LAZY = {
    "Augmentation": "augmentation",
    "Dataset": "dataset",
    "ImageDataGenerator": "images",
    "image_dataset_from_directory": "directory",
    "split_dataset": "directory",
}
"""Imported at their first use: a script that has its arrays should not wait for readers of folders and files."""

if TYPE_CHECKING:
    from tinynn.data import augmentation
    from tinynn.data.augmentation import Augmentation
    from tinynn.data.dataset import Dataset
    from tinynn.data.directory import image_dataset_from_directory, split_dataset
    from tinynn.data.images import ImageDataGenerator
else:

    def __getattr__(name):
        if name == "augmentation":
            return importlib.import_module("tinynn.data.augmentation")
        if name in LAZY:
            return getattr(importlib.import_module(f"tinynn.data.{LAZY[name]}"), name)
        raise no_attribute(__name__, name, __all__)
