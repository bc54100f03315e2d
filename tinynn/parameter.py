"""Parameter: an array that training changes. Buffer: an array that is kept and saved, but not trained."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinynn import backends, initializers
from tinynn.backends import Backend
from tinynn.initializers import Initializer
from tinynn.random import Stream
from tinynn.typing import Array, ArrayLike, Shape


class Variable:
    """What parameters and buffers share: a shape, an initializer, and a value that is drawn at first use.

    A summary of a large network allocates nothing, because nobody has asked for ``data``.
    """

    trainable = False

    def __init__(self, shape: Shape, initializer: str | Initializer = "zeros", *, dtype: str = "float32"):
        self.shape = tuple(int(n) for n in shape)
        self.initializer = initializers.get(initializer)
        self.dtype = np.dtype(dtype)
        self.name: str | None = None
        """The path in its model, such as ``dense_1/kernel``; the layer's own name for it until a model gives one."""
        self.stream: Stream | None = None
        self.backend: Backend | None = None
        self._data: Array | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def drawn(self) -> bool:
        """Whether the value exists yet."""
        return self._data is not None

    @property
    def data(self) -> Array:
        """The live array: what the optimizer changes in place. ``get_weights()`` copies instead."""
        if self._data is None:
            if self.stream is None:
                self.stream = Stream()
            generator = self.stream.generator(self.name or "variable", dtype=self.dtype)
            values = self.initializer(self.shape, generator)
            self._data = self._home().asarray(np.asarray(values, self.dtype), self.dtype)
        return self._data

    def _home(self) -> Backend:
        if self.backend is None:
            self.backend = backends.get(None)
        return self.backend

    def assign(self, value: ArrayLike) -> None:
        """Overwrite the value in place; ValueError when the shape differs."""
        array = np.asarray(self._home().to_numpy(value))
        if array.shape != self.shape:
            raise ValueError(f"{self.name or 'variable'} has shape {self.shape}, got an array of shape {array.shape}")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{self.name or 'variable'} expects numbers, got dtype {array.dtype}")
        if self._data is None:
            self._data = self._home().asarray(array.astype(self.dtype), self.dtype)
        else:
            self._data[...] = self._home().asarray(array, self.dtype)

    def move(self, home: Array) -> None:
        """Live in this array from now on, the value kept: the optimizer's flat buffer."""
        home[...] = self.data
        self._data = home

    def carry(self, backend: Backend) -> None:
        """Live on another backend from now on, the value kept, in an array of its own."""
        if self._data is not None:
            self._data = backend.asarray(np.array(self._home().to_numpy(self._data)), self.dtype)
        self.backend = backend

    def numpy(self) -> np.ndarray:
        """A copy of the value as a NumPy array."""
        return np.array(self._home().to_numpy(self.data))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """``np.array(layer.kernel)``: a copy of the value."""
        return self.numpy() if dtype is None else self.numpy().astype(dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name or '(unnamed)'} {self.shape} {self.dtype}>"


class Buffer(Variable):
    """Kept and saved, not trained: running statistics, vocabularies."""


class Parameter(Variable):
    """Trained: it has a gradient, and may have a regularizer (part of the loss) and a constraint (after each step).

    grad:    the gradient of the last backward, None before it; a live view of the optimizer's buffer once built
    slot:    where the optimizer wants the gradient written, None without one
    reached: how many backwards have reached this parameter; an optimizer skips it where that has not changed
    """

    def __init__(
        self,
        shape: Shape,
        initializer: str | Initializer = "glorot_uniform",
        *,
        regularizer: Any = None,
        constraint: Any = None,
        trainable: bool = True,
        dtype: str = "float32",
    ):
        super().__init__(shape, initializer, dtype=dtype)
        self.regularizer = regularizer
        self.constraint = constraint
        self.trainable = trainable
        self.grad: Array | None = None
        self.slot: Array | None = None
        self.home: Any = None
        """(flat array, offset) of the optimizer that gave it a home."""
        self.reached = 0

    def carry(self, backend: Backend) -> None:
        super().carry(backend)
        if self.slot is None:
            self.grad = None

    def receive(self, gradient: Array, accumulate: bool = False) -> None:
        """Take a complete gradient from backward: replace what is there, or add to it."""
        self.reached += 1
        if accumulate and self.grad is not None:
            self.grad += gradient
        elif gradient is self.slot:
            self.grad = gradient
        elif self.slot is not None:
            self.slot[...] = gradient
            self.grad = self.slot
        else:
            self.grad = gradient if gradient.dtype == self.dtype else gradient.astype(self.dtype)
