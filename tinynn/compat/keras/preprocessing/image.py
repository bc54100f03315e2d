"""keras.preprocessing.image: the generator of changed images."""

from tinynn.data import ImageDataGenerator
from tinynn.utils import image_dataset_from_directory

__all__ = ["ImageDataGenerator", "image_dataset_from_directory"]
