"""Data on its way into a model."""

from tinynn.data.arrays import Arrays, host_array

__all__ = ["Arrays", "host_array"]
