"""Learning rate schedules: the learning rate as a function of the step count, under Keras's names.

``schedule(step)`` is written in array language: the step is a number, or an array of the backend, so that a training
step can work it out on the device. Steps are counted from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn.config import Configured, above, at_least, positive_integer, restore
from tinynn.errors import no_attribute
from tinynn.typing import Array

__all__ = [
    "Constant",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "LinearWarmup",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "Schedule",
    "get",
]


class Schedule(Configured):
    """The base of all schedules. A subclass keeps its arguments and writes ``rate(step)``."""

    name: str | None = None

    def rate(self, step: Any) -> Any:
        """The learning rate at that step, by NumPy functions that run on the device too."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(step)")

    def __call__(self, step: float | Array) -> Any:
        """A number for a number, an array of the backend for an array."""
        value = self.rate(step)
        return float(value) if isinstance(step, (int, float)) else value


LearningRateSchedule = Schedule
"""Keras's name; a subclass may override ``__call__(step)`` as there, instead of ``rate``."""


class Constant(Schedule):
    """The same learning rate at every step: what a plain number becomes."""

    def __init__(self, learning_rate: float):
        self.learning_rate = at_least(learning_rate, 0, "learning_rate", "Constant")

    def rate(self, step: Any) -> Any:
        return self.learning_rate


class ExponentialDecay(Schedule):
    """initial_learning_rate decay_rate^(step / decay_steps); ``staircase`` rounds the exponent down."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ):
        self.initial_learning_rate = initial_rate(initial_learning_rate, self)
        self.decay_steps = above(decay_steps, 0, "decay_steps", type(self).__name__)
        self.decay_rate = at_least(decay_rate, 0, "decay_rate", type(self).__name__)
        self.staircase = bool(staircase)
        self.name = name

    def rate(self, step: Any) -> Any:
        p = step / self.decay_steps
        return self.initial_learning_rate * self.decay_rate ** (np.floor(p) if self.staircase else p)


class InverseTimeDecay(Schedule):
    """initial_learning_rate / (1 + decay_rate step / decay_steps); ``staircase`` rounds the quotient down."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ):
        self.initial_learning_rate = initial_rate(initial_learning_rate, self)
        self.decay_steps = above(decay_steps, 0, "decay_steps", type(self).__name__)
        self.decay_rate = at_least(decay_rate, 0, "decay_rate", type(self).__name__)
        self.staircase = bool(staircase)
        self.name = name

    def rate(self, step: Any) -> Any:
        p = step / self.decay_steps
        return self.initial_learning_rate / (1.0 + self.decay_rate * (np.floor(p) if self.staircase else p))


class PiecewiseConstantDecay(Schedule):
    """values[0] up to and including step boundaries[0], then values[1] up to boundaries[1], and so on."""

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str | None = None):
        owner = type(self).__name__
        if len(values) != len(boundaries) + 1:
            raise ValueError(
                f"{owner} expects one value more than boundaries, got {len(boundaries)} boundaries and "
                f"{len(values)} values"
            )
        if any(later <= before for before, later in zip(boundaries[:-1], boundaries[1:], strict=True)):
            raise ValueError(f"{owner} expects boundaries in increasing order, got {list(boundaries)}")
        self.boundaries = [at_least(b, 0, "boundaries", owner) for b in boundaries]
        self.values = [at_least(v, 0, "values", owner) for v in values]
        self.name = name

    def rate(self, step: Any) -> Any:
        rate: Any = self.values[0] + 0.0 * step
        for boundary, value in zip(self.boundaries, self.values[1:], strict=True):
            rate = np.where(step > boundary, value, rate)
        return rate


class PolynomialDecay(Schedule):
    """(initial - end) (1 - s / n)^power + end, where n = decay_steps and s = min(step, n).

    With ``cycle`` it starts anew, each time over more steps: s = step, n = decay_steps ceil(step / decay_steps).
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = None,
    ):
        owner = type(self).__name__
        self.initial_learning_rate = initial_rate(initial_learning_rate, self)
        self.decay_steps = above(decay_steps, 0, "decay_steps", owner)
        self.end_learning_rate = at_least(end_learning_rate, 0, "end_learning_rate", owner)
        self.power = at_least(power, 0, "power", owner)
        self.cycle = bool(cycle)
        self.name = name

    def rate(self, step: Any) -> Any:
        if self.cycle:
            p = step / (self.decay_steps * np.maximum(np.ceil(step / self.decay_steps), 1.0))
        else:
            p = np.minimum(step, self.decay_steps) / self.decay_steps
        return (self.initial_learning_rate - self.end_learning_rate) * (1.0 - p) ** self.power + self.end_learning_rate


class CosineDecay(Schedule):
    """start ((1 - alpha) (1 + cos(pi s / decay_steps)) / 2 + alpha), s = min(step, decay_steps).

    Without ``warmup_target`` start is initial_learning_rate. With it the first ``warmup_steps`` steps go in a line from
    initial_learning_rate to warmup_target, and the cosine begins there. Loshchilov and Hutter, ICLR 2017.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str | None = None,
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ):
        owner = type(self).__name__
        self.initial_learning_rate = initial_rate(initial_learning_rate, self)
        self.decay_steps = above(decay_steps, 0, "decay_steps", owner)
        self.alpha = at_least(alpha, 0, "alpha", owner)
        self.name = name
        self.warmup_target = None if warmup_target is None else at_least(warmup_target, 0, "warmup_target", owner)
        self.warmup_steps = at_least(warmup_steps, 0, "warmup_steps", owner)

    def rate(self, step: Any) -> Any:
        if self.warmup_target is None:
            return self.initial_learning_rate * self.decayed(step)
        rising = line(self.initial_learning_rate, self.warmup_target, step, self.warmup_steps)
        falling = self.warmup_target * self.decayed(np.maximum(step - self.warmup_steps, 0))
        return np.where(step < self.warmup_steps, rising, falling)

    def decayed(self, step: Any) -> Any:
        cosine = 0.5 * (1.0 + np.cos(np.minimum(step, self.decay_steps) * (math.pi / self.decay_steps)))
        return (1.0 - self.alpha) * cosine + self.alpha


class CosineDecayRestarts(Schedule):
    """A cosine over first_decay_steps, then anew over t_mul times as many steps from m_mul times the height, and so on.

    In period i, at the fraction f of it: initial_learning_rate ((1 - alpha) m_mul^i (1 + cos(pi f)) / 2 + alpha).
    Loshchilov and Hutter, "SGDR", ICLR 2017.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = None,
    ):
        owner = type(self).__name__
        self.initial_learning_rate = initial_rate(initial_learning_rate, self)
        self.first_decay_steps = above(first_decay_steps, 0, "first_decay_steps", owner)
        self.t_mul = at_least(t_mul, 1, "t_mul", owner)
        self.m_mul = at_least(m_mul, 0, "m_mul", owner)
        self.alpha = at_least(alpha, 0, "alpha", owner)
        self.name = name

    def rate(self, step: Any) -> Any:
        period, f = self.place(step / self.first_decay_steps)
        cosine = 0.5 * self.m_mul**period * (1.0 + np.cos(math.pi * f))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)

    def place(self, t: Any) -> tuple[Any, Any]:
        """(number of the period, fraction of it) at the time t, counted in first periods.

        The i-th period begins at t = (t_mul^i - 1) / (t_mul - 1). A logarithm that comes out a rounding error below an
        integer must not put the first step of a period at the end of the one before.
        """
        if self.t_mul == 1:
            period = np.floor(t)
            return period, t - period
        period = np.floor(np.log(1.0 + t * (self.t_mul - 1.0)) / math.log(self.t_mul) + 1e-9)
        length = self.t_mul**period
        return period, np.maximum(t - (length - 1.0) / (self.t_mul - 1.0), 0.0) / length


class LinearWarmup(Schedule):
    """A line from ``start`` up to the first value of ``schedule`` over ``warmup_steps`` steps, then ``schedule``.

    schedule: a number or a schedule; its own steps are counted from the end of the warm-up
    """

    def __init__(self, schedule: Any, warmup_steps: int, start: float = 0.0, name: str | None = None):
        owner = type(self).__name__
        self.schedule = get(schedule, owner)
        self.warmup_steps = positive_integer(warmup_steps, "warmup_steps", owner)
        self.start = at_least(start, 0, "start", owner)
        self.name = name

    def rate(self, step: Any) -> Any:
        rising = line(self.start, self.schedule(0), step, self.warmup_steps)
        after = self.schedule(np.maximum(step - self.warmup_steps, 0))
        return np.where(step < self.warmup_steps, rising, after)


def initial_rate(value: Any, owner: object) -> float:
    return at_least(value, 0, "initial_learning_rate", type(owner).__name__)


def line(start: float, stop: float, step: Any, steps: float) -> Any:
    """From start at step 0 to stop at step ``steps``."""
    return start + (stop - start) / max(steps, 1) * step


CLASSES: dict[str, Any] = {
    c.__name__: c
    for c in (
        Constant,
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
        CosineDecay,
        CosineDecayRestarts,
        LinearWarmup,
    )
}


def get(value: Any, owner: str) -> Callable[[Any], Any]:
    """A schedule from a number, a schedule or any callable of the step count, or {"class": ..., "config": ...}.

    ``owner`` stands in the message: ValueError for a learning rate that is negative or not finite, TypeError for text.
    """
    value = restore(value, CLASSES, "schedule")
    if isinstance(value, type):
        raise TypeError(f"{owner} expects a schedule object, got the class {value.__name__}: write its arguments")
    if callable(value):
        return value  # type: ignore[no-any-return]
    if isinstance(value, (str, bool)) or value is None:
        raise TypeError(f"{owner} expects a number or a schedule as learning_rate, got {value!r}")
    return Constant(at_least(value, 0, "learning_rate", owner))


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
