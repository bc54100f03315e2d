"""Windows over a series: a few steps in a row to look at, and what to say about them."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinynn.data.arrays import host_array
from tinynn.data.source import Batch as Triple
from tinynn.data.source import Field, Spec
from tinynn.random import host_generator
from tinynn.typing import ArrayLike

Batch = Any
"""inputs, or (inputs, targets) where there are targets."""


class Windows:
    """Windows of one length over a series, in batches; made by `timeseries_dataset_from_array`.

    Window number i holds the rows start + i stride + (0, rate, 2 rate, ...) of the data; its target is row
    start + i stride of the targets. Iterating yields batches (inputs, targets), or inputs alone without targets, and
    `len` counts them; with `shuffle` every pass has an order of its own. `fit`, `evaluate` and `predict` take the
    whole thing in place of x and y.

    inputs:  (windows, length, ...) all windows in the order of time. A view into the data, not to be written to: a
             window is copied when a batch takes it, so a long series costs no more memory than itself.
    targets: (windows, ...) or None
    """

    def __init__(
        self,
        inputs: np.ndarray,
        targets: np.ndarray | None,
        batch_size: int | None = 128,
        shuffle: bool = False,
        seed: int | None = None,
    ):
        self.inputs, self.targets = inputs, targets
        self.batch_size, self.shuffle = batch_size, shuffle
        self._random, self._seed = host_generator(seed), seed

    @property
    def windows(self) -> int:
        """How many windows there are."""
        return len(self.inputs)

    def __len__(self) -> int:
        return -(-self.windows // (self.batch_size or 1))

    def __iter__(self) -> Iterator[Batch]:
        order = self._random.permutation(self.windows) if self.shuffle else np.arange(self.windows)
        for batch in range(len(self)):
            yield self._batch(order, batch)

    def __getitem__(self, batch: int) -> Batch:
        """Batch number `batch` in the order of time."""
        if not -len(self) <= operator.index(batch) < len(self):
            raise IndexError(f"batch {batch} is not one of {len(self)}")
        return self._batch(np.arange(self.windows), batch % len(self))

    def _batch(self, order: np.ndarray, batch: int) -> Batch:
        size = self.batch_size
        rows = order[batch] if size is None else order[batch * size : (batch + 1) * size]
        inputs = np.array(self.inputs[rows], order="C")
        return inputs if self.targets is None else (inputs, self.targets[rows])

    def arrays(self) -> tuple[np.ndarray, np.ndarray | None]:
        """(x, y): all inputs and targets in the order of time, ready for `fit`; x is a view (write x.copy() to own it).

        y is None where there are no targets.
        """
        return self.inputs, self.targets

    # -- what a Source tells -------------------------------------------------------------------------------------------

    @property
    def spec(self) -> Spec:
        """Shapes and dtypes of the batches."""
        targets = None if self.targets is None else Field(self.targets.shape[1:], self.targets.dtype)
        return Spec(Field(self.inputs.shape[1:], self.inputs.dtype), targets)

    @property
    def rows(self) -> int:
        return self.windows

    @property
    def steps(self) -> int:
        return len(self)

    def epoch(self, number: int, first: int = 0) -> Iterator[Triple]:
        """The batches (inputs, targets, None) of epoch `number` from batch `first` on.

        The order follows from the seed (0 where there is none) and the number. `fit` asks for the arrays instead: it
        can then check all values before it begins, and draws the order from the model's random numbers.
        """
        order = np.arange(self.windows)
        if self.shuffle:
            order = np.random.default_rng([self._seed or 0, number]).permutation(self.windows)
        size = self.batch_size or 1
        for batch in range(first, len(self)):
            rows = order[batch * size : (batch + 1) * size]
            targets = None if self.targets is None else self.targets[rows]
            yield np.array(self.inputs[rows], order="C"), targets, None

    def __repr__(self) -> str:
        aim = "" if self.targets is None else f" -> {self.targets.shape[1:]}"
        return f"<{self.windows} windows {self.inputs.shape[1:]}{aim} in {len(self)} batches>"


def timeseries_dataset_from_array(
    data: ArrayLike,
    targets: ArrayLike | None,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> Windows:
    """Windows over a series (T, ...), each with its target; Keras's arguments and index arithmetic.

    Of the rows start_index <= t < end_index there are n = end_index - start_index - (sequence_length - 1) sampling_rate
    windows (at most as many as targets); every sequence_stride-th of them is taken. A window has sequence_length rows,
    sampling_rate apart. The target of a window is the row of `targets` where the window begins: to say the value that
    follows ten others write

    >>> series = np.arange(100.0)
    >>> dataset = timeseries_dataset_from_array(series[:-10], series[10:], sequence_length=10)
    >>> x, y = dataset.arrays()
    >>> x.shape, x[3], float(y[3])
    ((81, 10), array([ 3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12.]), 13.0)

    A layer reads steps with features: give the series the shape (T, 1). targets may be None. batch_size=None yields
    single windows. shuffle: a new order in every pass, drawn from `seed`.

    Raises ValueError for numbers out of range, and where the series is too short for one window; TypeError for what
    holds no numbers.
    """
    series = host_array(data, "data")
    if series.ndim == 0:
        raise ValueError("data is a series with one row for each step; got a single number")
    total = len(series)
    length = _number("sequence_length", sequence_length, 1)
    stride = _number("sequence_stride", sequence_stride, 1, total - 1)
    rate = _number("sampling_rate", sampling_rate, 1, total - 1)
    start = 0 if start_index is None else _number("start_index", start_index, 0, total - 1)
    end = total if end_index is None else _number("end_index", end_index, start + 1, total)
    if batch_size is not None:
        _number("batch_size", batch_size, 1)

    span = (length - 1) * rate + 1
    count = end - start - span + 1
    if count < 1:
        raise ValueError(
            f"a window of {length} rows, {rate} apart, spans {span} rows; data has {end - start} from {start} to {end}"
        )
    aims = None
    if targets is not None:
        aims = host_array(targets, "targets")
        if aims.ndim == 0 or len(aims) <= start:
            raise ValueError(f"targets needs a row for each window, from row {start} on; got shape {aims.shape}")
        aims = aims[start:end]
        count = min(count, len(aims))
        aims = aims[:count:stride]
    return Windows(_every_window(series[start:end], span)[:count:stride, ::rate], aims, batch_size, shuffle, seed)


class TimeseriesGenerator(Windows):
    """Old Keras's windows: batches of (data[t - length : t : sampling_rate], targets[t]).

    t runs from start_index + length to end_index (by default the last row), stride apart: the target is that of the row
    after the window, so data and targets may be one series. reverse: the last row first. generator[i] is batch i.
    Unlike Keras's, which draws rows at random, `shuffle` gives every window once.

    >>> generator = TimeseriesGenerator(np.arange(6.0), np.arange(6.0), length=2, batch_size=3)
    >>> generator[0]
    (array([[0., 1.],
           [1., 2.],
           [2., 3.]]), array([2., 3., 4.]))
    """

    def __init__(
        self,
        data: ArrayLike,
        targets: ArrayLike,
        length: int,
        sampling_rate: int = 1,
        stride: int = 1,
        start_index: int = 0,
        end_index: int | None = None,
        shuffle: bool = False,
        reverse: bool = False,
        batch_size: int = 128,
    ):
        series, aims = host_array(data, "data"), host_array(targets, "targets")
        if series.ndim == 0 or aims.ndim == 0 or len(series) != len(aims):
            raise ValueError(f"data and targets have one row for each step; got {series.shape} and {aims.shape}")
        length = _number("length", length, 1, len(series) - 1)
        rate, stride = _number("sampling_rate", sampling_rate, 1), _number("stride", stride, 1)
        end = len(series) - 1 if end_index is None else _number("end_index", end_index, length, len(series) - 1)
        start = _number("start_index", start_index, 0, end - length)
        _number("batch_size", batch_size, 1)
        inputs = _every_window(series[start:end], length)[::stride, ::rate]
        super().__init__(
            inputs[:, ::-1] if reverse else inputs, aims[start + length : end + 1 : stride], batch_size, shuffle
        )


def _every_window(series: np.ndarray, span: int) -> np.ndarray:
    """(T - span + 1, span, ...): a view of all windows of a series (T, ...)."""
    return np.moveaxis(np.lib.stride_tricks.sliding_window_view(series, span, axis=0), -1, 1)


def _number(name: str, value: int, least: int, most: int | None = None) -> int:
    """A whole number in its range, or ValueError."""
    value = operator.index(value)
    if value < least or (most is not None and value > most):
        limits = f"at least {least}" if most is None else f"from {least} to {most} for this series"
        raise ValueError(f"{name} is a whole number, {limits}; got {value}")
    return value
