"""THE table: one Case per Function (and per shape worth trying); ``tests/test_table.py`` has the columns.

A row of the grid has a module here with a list ``CASES``; adding the file adds its rows:

>>> from tests.cases import Case, positive
>>> CASES = [
...     Case("log", lambda: ops.Log(), (positive((3, 5)),)),
...     Case("affine_relu_odd", lambda: Affine(Activation.RELU), ((7, 13), (13, 5), (5,)), kinks=True),
... ]
"""

from __future__ import annotations

import importlib
import pkgutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn.function import Function
from tinynn.graph import Graph
from tinynn.typing import Array

Draw = Callable[[np.random.Generator], Any]
"""What draws one input: ``(rng) -> array``. Integer arrays (labels, indices) keep their dtype and have no gradient."""


@dataclass(frozen=True)
class Case:
    """One Function at one set of input shapes.

    name:           unique; it seeds the draws
    make:           a fresh Function per call (an instance is the memory of one call); random ones take fixed keys
    inputs:         for each input a shape (standard normal numbers) or a Draw
    kinks:          the inputs given as shapes have no value nearer to 0 than 0.05
    ties:           equal values on purpose: no finite differences, the gradient is compared with ``expected``
    expected:       ``(dy, *inputs) -> gradients`` by other means, None for an input without one; compared where given
    training:       the graph's flag
    differentiable: which inputs have a gradient; None: all floating-point ones
    on_backend:     ``make`` is called with the Backend, for constants that must live on the device
    reduction:      the length of the longest sum, for float32's tolerance; None: the size of the largest input
    rtol32, rtol64: how far two backends may differ, as a fraction of the array's largest value; None: the usual
    """

    name: str
    make: Callable[..., Any]
    inputs: tuple[tuple[int, ...] | Draw, ...]
    kinks: bool = False
    ties: bool = False
    expected: Callable[..., Any] | None = None
    training: bool = True
    differentiable: tuple[bool, ...] | None = None
    on_backend: bool = False
    reduction: int | None = None
    rtol32: float | None = None
    rtol64: float | None = None

    def __repr__(self) -> str:
        return self.name

    def function(self, backend: Any) -> Any:
        """A fresh Function."""
        return self.make(backend) if self.on_backend else self.make()

    def draw(self, dtype: str = "float64") -> list[np.ndarray]:
        """The inputs: the same numbers in every dtype (float32's), so that ties and kinks are the same too."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        arrays = []
        for item in self.inputs:
            values = np.asarray(item(rng) if callable(item) else standard_normal(rng, item, self.kinks))
            arrays.append(values.astype(np.float32).astype(dtype) if values.dtype.kind == "f" else values)
        return arrays

    def wanted(self) -> tuple[bool, ...]:
        """Which inputs have a gradient."""
        if self.differentiable is not None:
            return self.differentiable
        return tuple(array.dtype.kind == "f" for array in self.draw())

    def tolerance(self, dtype: str) -> float:
        """How far two backends may differ: rounding errors of a sum of n grow as the root of n."""
        given = self.rtol32 if dtype == "float32" else self.rtol64
        if given is not None:
            return given
        n = self.reduction or max((array.size for array in self.draw()), default=1)
        return float((2e-6 if dtype == "float32" else 1e-12) * max(1.0, np.sqrt(n) / 8))


def all_cases() -> list[Case]:
    """The CASES of every module in this package."""
    cases: list[Case] = []
    for module in sorted(pkgutil.iter_modules(__path__), key=lambda m: m.name):
        cases += importlib.import_module(f"{__name__}.{module.name}").CASES
    names = [case.name for case in cases]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"case names must be unique, these are not: {sorted(twice)}")
    return cases


# -- several results -------------------------------------------------------------------------------------------------


class Flat(Function):
    """A Function of several results as one of a single vector: they stand in it one after the other.

    used: which of the results have a reader; the others' gradients are None
    """

    def __init__(self, inside: Function, used: tuple[bool, ...] | None = None):
        self.inside, self.used = inside, used

    def forward(self, graph: Graph, *arrays: Array) -> Array:
        results = self.inside.forward(graph, *arrays)
        used = self.used or (True,) * len(results)
        self.saved = [(r.shape, wanted) for r, wanted in zip(results, used, strict=True)]
        return np.concatenate([r.reshape(-1) for r, wanted in zip(results, used, strict=True) if wanted])

    def backward(self, graph: Graph, dy: Array) -> Any:
        pieces: list[Any] = []
        start = 0
        for shape, wanted in self.saved:
            stop = start + int(np.prod(shape)) * wanted
            pieces.append(dy[start:stop].copy().reshape(shape) if wanted else None)
            start = stop
        self.inside.inputs = self.inputs
        return self.inside.backward(graph, *pieces)


# -- draws -----------------------------------------------------------------------------------------------------------


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...], kinks: bool = False) -> np.ndarray:
    """Standard normal values, where asked none within 0.05 of zero."""
    values = rng.standard_normal(shape)
    while kinks and (np.abs(values) < 0.05).any():
        values = np.where(np.abs(values) < 0.05, rng.standard_normal(shape), values)
    return np.asarray(values)


def normal(shape: tuple[int, ...], *, scale: float = 1.0, away_from: tuple[float, ...] = ()) -> Draw:
    """Normal values, none within 0.05 of the given points (kinks elsewhere than at 0)."""

    def draw(rng: np.random.Generator) -> np.ndarray:
        values = scale * rng.standard_normal(shape)
        while (near := np.any([np.abs(values - p) < 0.05 for p in away_from or (np.inf,)], axis=0)).any():
            values = np.where(near, scale * rng.standard_normal(shape), values)
        return values

    return draw


def uniform(shape: tuple[int, ...], low: float, high: float) -> Draw:
    """Values between two bounds."""
    return lambda rng: rng.uniform(low, high, shape)


def positive(shape: tuple[int, ...]) -> Draw:
    """Values from 0.5 to 2."""
    return uniform(shape, 0.5, 2.0)


def distinct(shape: tuple[int, ...]) -> Draw:
    """Values at least 0.1 apart and 0.05 from zero, in random order: maxima without ties."""
    n = int(np.prod(shape))
    return lambda rng: (0.1 * (rng.permutation(n) - n // 2) + 0.05).reshape(shape)


def tied(shape: tuple[int, ...]) -> Draw:
    """Small whole numbers, so that ties are everywhere."""
    return lambda rng: rng.integers(-2, 3, shape).astype(np.float64)


def labels(shape: tuple[int, ...], classes: int) -> Draw:
    """Integers from 0 to classes - 1."""
    return lambda rng: rng.integers(0, classes, shape)


def one_hot(rows: int, classes: int) -> Draw:
    """A one per row."""
    return lambda rng: np.eye(classes)[rng.integers(0, classes, rows)]


def probabilities(rows: int, classes: int) -> Draw:
    """Rows of positive numbers that sum to one."""
    return lambda rng: rng.dirichlet(np.full(classes, 2.0), rows)


def constant(values: Any) -> Draw:
    """These very numbers."""
    return lambda rng: np.asarray(values)
