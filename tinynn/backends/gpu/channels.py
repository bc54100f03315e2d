"""How rows of channels are cut among blocks of threads; what a block does with its tile stands in channels.cuh."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from tinynn.backends.gpu.cuda import ceil_div, power_of_two

THREADS = 256
WIDTH = 32
"""Channels of a tile, at most: of floats a line of the cache."""
MOST_BLOCKS = 512
"""Of a kernel that begins or ends with a sum over rows: four for each multiprocessor of a large card."""
MOST_RUNS = 128
"""Parts of a sum: every block that needs the sum adds them all up."""


class Cut(NamedTuple):
    """(tiles of channels, runs of rows): the grid; and what a kernel is told of it."""

    grid: tuple[int, int]
    width: int
    rows: int
    """Of a run."""


def pack_of(C: int, itemsize: int) -> int:
    """How many channels are read at once: those of 16 bytes, where rows are made of whole ones."""
    pack = 16 // itemsize
    return pack if C % pack == 0 else 1


@lru_cache(4096)
def cut(
    M: int, C: int, itemsize: int, least: int = 4, blocks: int = MOST_BLOCKS, runs: int = 65535, widest: int = WIDTH
) -> Cut:
    """Of M > 0 rows of C > 0 channels; it follows from the shape alone, and so does the order of sums.

    least: rows that a thread takes, where there are so many; those whose loads are under way together
    """
    width = power_of_two(C, 1, widest)
    tiles = ceil_div(C, width)
    at_once = THREADS * pack_of(C, itemsize) // width  # rows that the block's threads stand in
    most = max(min(blocks // tiles, runs), 1)
    wanted = min(ceil_div(M, at_once * least), most)
    rows = ceil_div(ceil_div(M, wanted), at_once) * at_once
    return Cut((tiles, ceil_div(M, rows)), width, rows)


def cut_for_sums(M: int, C: int, itemsize: int) -> Cut:
    """With few enough runs for their parts to be added up again and again."""
    return cut(M, C, itemsize, 8, MOST_BLOCKS, MOST_RUNS)
