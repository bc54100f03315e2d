"""Seeds and streams: which random numbers a model gets, whatever the backend and the number of threads.

The k-th stream opened after ``set_seed(n)`` has the key ``(n, k)``. Inside a stream every parameter and every random
layer has a sub-stream named by its path, and every training step its own counter, so adding a layer does not change
the numbers of the others.
"""

from __future__ import annotations

import itertools
import math
import os
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinynn.philox import random_bits
from tinynn.typing import Array, Shape

if TYPE_CHECKING:
    from tinynn.backends import Backend

DType: TypeAlias = Any
"""Whatever ``numpy.dtype`` understands."""

ONE = np.ones(1, np.uint32)
PIECE = 1 << 16
"""Values computed at a time in float64; a multiple of the four words of a Philox block."""

_seed: int | None = None
_streams = itertools.count()
_host: np.random.Generator | None = None


def set_seed(seed: int) -> None:
    """Start the process's random numbers anew: models built from here on repeat those of any run with this seed.

    ``seed`` is an integer from 0 to 2**32 - 1. Raises TypeError or ValueError for anything else.
    """
    global _seed, _streams, _host
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise TypeError(f"set_seed expects an integer, got {seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"set_seed expects 0 <= seed < 2**32, got {seed}")
    _seed, _streams, _host = int(seed), itertools.count(), None


def get_seed() -> int:
    """The seed in force; without ``set_seed`` it is drawn from the operating system once per process."""
    global _seed
    if _seed is None:
        _seed = int.from_bytes(os.urandom(4), "little")
    return _seed


def host_generator(rng: np.random.Generator | int | None = None) -> np.random.Generator:
    """NumPy's generator for what is drawn outside a model: the one given, that of a seed, or the process's own.

    The last starts anew with every `set_seed`; models do not draw from it.
    """
    global _host
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is not None:
        return np.random.default_rng(rng)
    if _host is None:
        _host = np.random.default_rng(get_seed())
    return _host


def substream(path: str) -> int:
    """The 32-bit number of a sub-stream: the CRC-32 of its path."""
    return zlib.crc32(path.encode())


class Stream:
    """The random numbers of one model: a key, and the step counter that makes every training step differ.

    ``step`` is an array of one uint32, so that a recorded step can advance it on the device.
    """

    def __init__(self, seed: int | None = None, index: int | None = None):
        self.seed = get_seed() if seed is None else seed
        self.index = next(_streams) if index is None else index
        self.step = np.zeros(1, np.uint32)
        self._device: DeviceCounter | None = None

    @property
    def key(self) -> tuple[int, int]:
        return self.seed, self.index

    def advance(self) -> None:
        """Go to the next step's numbers."""
        np.add(self.step, ONE, out=self.step)  # a plain 1 would be converted every time
        if self._device is not None:
            self._device.advance()

    def counter(self, backend: Backend) -> Array:
        """``step`` on a backend. On a device it advances there, so that no step carries it over from the host."""
        if backend.array_type is np.ndarray:
            return self.step
        if self._device is None or self._device.backend is not backend:
            self._device = DeviceCounter(backend)
        return self._device.at(int(self.step[0]))

    def settle(self) -> None:
        """Where somebody has set the host's counter, so is the device's: a recorded step cannot look."""
        if self._device is not None:
            self._device.at(int(self.step[0]))

    def rewind(self, step: np.ndarray) -> None:
        """The host's counter was advanced, and the device's was not: a step was recorded, but not executed."""
        self.step[...] = step
        if self._device is not None:
            self._device.value = int(step[0])

    def follow(self) -> None:
        """A recorded step has advanced the device's counter by itself: so does the host's."""
        np.add(self.step, ONE, out=self.step)
        if self._device is not None:
            self._device.count()

    def generator(self, path: str, step: int = 0, dtype: DType = "float64") -> Generator:
        """Host-side numbers of one sub-stream: initial weights, shuffles."""
        return Generator(self.key, substream(path), step, dtype)


class DeviceCounter:
    """A step counter in a device's memory, and what it holds: somebody may have set the one on the host."""

    def __init__(self, backend: Backend):
        self.backend, self.array, self.value = backend, backend.zeros((1,), np.uint32), 0

    def at(self, step: int) -> Array:
        """The array, set to this step if it is at another one; always the same array, which recorded steps read."""
        if self.value != step:
            self.array[...] = step
            self.value = step
        return self.array

    def advance(self) -> None:
        np.add(self.array, ONE[0], out=self.array)
        self.count()

    def count(self) -> None:
        self.value = (self.value + 1) % 2**32


class Generator:
    """Draws on the host from one sub-stream; the k-th call of a generator has the numbers of call k.

    Weights and shuffles are always drawn here, in NumPy, and then moved, so that they are equal on every backend. The
    values are computed in float64, piece by piece, and kept in ``dtype``: a hundred million float32 weights need no
    float64 copy, and are those of the float64 draw, rounded.
    """

    def __init__(self, key: tuple[int, int], substream: int, step: int = 0, dtype: DType = "float64"):
        self.key, self.substream, self.step = key, substream, step
        self.dtype = np.dtype(dtype)
        self.calls = itertools.count()

    def bits(self, n: int) -> np.ndarray:
        """n uniform 32-bit words."""
        return random_bits(n, self.key, self.step, self.substream, next(self.calls))

    def _pieces(self, n: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """(start, stop, words) of one draw of n values, one word a value and an even number of words a piece."""
        call = next(self.calls)
        for start in range(0, n, PIECE):
            stop = min(start + PIECE, n)
            words = stop - start + (stop - start) % 2
            yield start, stop, random_bits(words, self.key, self.step, self.substream, call, start // 4)

    def uniform(self, shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """Values in [low, high), from 32 random bits each (in float32 one may be rounded up to ``high``)."""
        values = np.empty(math.prod(shape), self.dtype)
        for start, stop, words in self._pieces(values.size):
            values[start:stop] = low + (high - low) * (words[: stop - start] * (1.0 / 2**32))
        return values.reshape(shape)

    def normal(self, shape: Shape, mean: float = 0.0, stddev: float = 1.0) -> np.ndarray:
        """Box-Muller: sqrt(-2 ln u1) (cos, sin)(2 pi u2), with u1 in (0, 1]."""
        values = np.empty(math.prod(shape), self.dtype)
        for start, stop, words in self._pieces(values.size):
            values[start:stop] = mean + stddev * box_muller(words)[: stop - start]
        return values.reshape(shape)

    def truncated_normal(self, shape: Shape, mean: float = 0.0, stddev: float = 1.0) -> np.ndarray:
        """Normal values redrawn until they lie within two standard deviations."""
        values = np.empty(math.prod(shape), self.dtype)
        pieces = []
        for start, stop, words in self._pieces(values.size):
            z = box_muller(words)[: stop - start]
            values[start:stop] = mean + stddev * z
            pieces.append(start + np.flatnonzero(np.abs(z) > 2))
        outside = np.concatenate(pieces) if pieces else np.empty(0, np.intp)
        while outside.size:
            z = self.double().normal((outside.size,))
            values[outside] = mean + stddev * z
            outside = outside[np.abs(z) > 2]
        return values.reshape(shape)

    def double(self) -> Generator:
        """The same draws in float64; the calls of the two are counted together."""
        double = Generator(self.key, self.substream, self.step)
        double.calls = self.calls
        return double

    def permutation(self, n: int) -> np.ndarray:
        """0..n-1 in random order: the order of n random keys (64 bits, so that ties do not matter)."""
        words = self.bits(2 * n).astype(np.uint64)
        return np.argsort(words[:n] << np.uint64(32) | words[n:], kind="stable")


def box_muller(words: np.ndarray) -> np.ndarray:
    """Standard normal values from an even number of 32-bit words, one value a word."""
    u1, u2 = (words[0::2] + 1.0) * (1.0 / 2**32), words[1::2] * (1.0 / 2**32)
    radius, angle = np.sqrt(-2.0 * np.log(u1)), (2.0 * np.pi) * u2
    z = np.empty(words.size)
    z[0::2], z[1::2] = radius * np.cos(angle), radius * np.sin(angle)
    return z
