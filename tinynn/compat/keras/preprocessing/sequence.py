"""keras.preprocessing.sequence"""

from tinynn.data import TimeseriesGenerator
from tinynn.text import make_sampling_table, skipgrams
from tinynn.utils import pad_sequences

__all__ = ["TimeseriesGenerator", "make_sampling_table", "pad_sequences", "skipgrams"]
