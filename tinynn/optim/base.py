"""Optimizer: flat buffers for weights, gradients and slots, and one pass over them per step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

import numpy as np

from tinynn import backends, schedules
from tinynn.backends import Backend
from tinynn.config import above, at_least, config_of
from tinynn.parameter import Parameter
from tinynn.typing import Array

ALIGNMENT = 64
"""Bytes: every parameter begins on a cache line, which is also the widest vector register."""


class State(IntEnum):
    """What stands where in ``optimizer.state``, an array of float64 on the backend.

    It lives there so that a step neither reads from the device nor writes to it: kernels take the step count, the
    learning rate and the clipping scale from it.
    """

    ITERATIONS = 0
    """Steps taken; those skipped for a gradient that is not finite are not counted."""
    LEARNING_RATE = 1
    """Of this step, schedule and decay applied."""
    SQUARES = 2
    """Sum of squares of all gradients of this step."""
    SCALE = 3
    """What every gradient is multiplied with in this step: 1, or less when clipping; 0 means "leave all as it is"."""
    SKIPPED = 4
    """Steps skipped because the gradient norm was not finite."""
    FIRST_SKIPPED = 5
    """Calls of ``step`` (skipped ones included) before the first skipped one; -1 for none."""
    CALLS = 6


@dataclass
class Segment:
    """A run of parameters whose weights, gradients and slots lie in one piece: what one kernel call works on."""

    parameters: list[Parameter]
    w: Array
    g: Array
    slots: list[Array]


class Optimizer:
    """The base of all optimizers.

    learning_rate:   a number, or a schedule (a callable of the step count)
    clipvalue:       each gradient value is cut to [-clipvalue, clipvalue]
    clipnorm:        each parameter's gradient is scaled down to this norm
    global_clipnorm: all gradients together are scaled down to this norm
    decay:           old Keras's time decay: learning_rate / (1 + decay * step)

    ``build(parameters)`` moves the parameters, values kept, into one contiguous array; gradients and slots are laid out
    alike, so a step is one pass. A gradient norm that is not finite leaves weights and slots as they are, and is
    counted. A parameter that backward did not reach since the last step is skipped.

    A subclass names its slot arrays in ``slots`` and writes ``update(kernels, w, g, *slots)``.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    slot_start: float = 0.0

    def __init__(
        self,
        learning_rate: Any,
        *,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        decay: float = 0.0,
        lr: Any = None,
        name: str | None = None,
    ):
        label = type(self).__name__
        self.learning_rate = schedules.get(learning_rate if lr is None else lr, label)
        self.lr = None
        """Old Keras's spelling, kept as ``learning_rate``."""
        for key, value in (("clipvalue", clipvalue), ("clipnorm", clipnorm), ("global_clipnorm", global_clipnorm)):
            if value is not None:
                above(value, 0, key, label)
        if sum(v is not None for v in (clipvalue, clipnorm, global_clipnorm)) > 1:
            raise ValueError(f"{label} expects at most one of clipvalue, clipnorm and global_clipnorm")
        self.clipvalue, self.clipnorm, self.global_clipnorm = clipvalue, clipnorm, global_clipnorm
        self.decay = at_least(decay, 0, "decay", label)
        self.name = name
        self.parameters: list[Parameter] = []
        self.state: Any = None

    # -- building ----------------------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        return self.state is not None

    def build(self, parameters: Iterable[Parameter], backend: str | Backend | None = None) -> None:
        """Move the trained parameters into one contiguous array; called by ``compile``, or by hand before backward.

        A parameter that already lives in another optimizer's buffer stays there: this one keeps its own gradients and
        slots. Building again for the same parameters changes nothing.
        """
        parameters = [p for p in dict.fromkeys(parameters) if p.trainable]
        if self.built and list(map(id, parameters)) == list(map(id, self.parameters)):
            return
        if self.built:
            raise RuntimeError(
                f"this {type(self).__name__} was built for other parameters: its slots belong to them. Use a new optimizer"
            )
        self.backend = backends.get(backend)
        self.parameters = parameters
        self.state = self.backend.zeros((len(State),), "float64")
        self.state[State.FIRST_SKIPPED] = -1
        dtypes = {p.dtype for p in parameters}
        if len(dtypes) > 1:
            raise ValueError(f"{type(self).__name__} expects parameters of one dtype, got {sorted(map(str, dtypes))}")
        self.dtype = dtypes.pop() if dtypes else np.dtype("float32")
        self._lay_out()

    def _lay_out(self) -> None:
        """Offsets, flat arrays, and the views of them that each parameter gets."""
        step = ALIGNMENT // self.dtype.itemsize
        self.offsets: list[int] = []
        total = 0
        for p in self.parameters:
            self.offsets.append(total)
            total += -(-p.size // step) * step
        self.total = total
        fresh = [p for p in self.parameters if p.home is None]
        self.w = self._flat() if fresh else None
        self.g = self._flat()
        self.slot_arrays = [self._flat(self.slot_start) for _ in self.slots]
        for p, offset in zip(self.parameters, self.offsets, strict=True):
            if p.home is None:
                assert self.w is not None
                p.move(self.w[offset : offset + p.size].reshape(p.shape))
                p.home = self.w, offset
            p.slot = self.g[offset : offset + p.size].reshape(p.shape)
            p.grad, p.fresh = None, False
        self._segments = self._make_segments(self.parameters)

    def _flat(self, value: float = 0.0) -> Array:
        return self.backend.full((self.total,), value, self.dtype)

    def _make_segments(self, parameters: Sequence[Parameter]) -> list[Segment]:
        """Neighbours whose weights lie in one home at the same distances as our gradients become one segment."""
        index = {id(p): i for i, p in enumerate(self.parameters)}
        segments: list[Segment] = []
        run: list[Parameter] = []

        def close() -> None:
            if run:
                first, last = index[id(run[0])], index[id(run[-1])]
                start, stop = self.offsets[first], self.offsets[last] + run[-1].size
                home, home_start = run[0].home
                w = home[home_start : home_start + stop - start]
                segments.append(Segment(list(run), w, self.g[start:stop], [s[start:stop] for s in self.slot_arrays]))
                run.clear()

        for p in parameters:
            if run and not self._adjacent(run[-1], p, index):
                close()
            run.append(p)
        close()
        return segments

    def _adjacent(self, before: Parameter, after: Parameter, index: dict[int, int]) -> bool:
        i, j = index[id(before)], index[id(after)]
        (home, start), (next_home, next_start) = before.home, after.home
        together = home is next_home and next_start - start == self.offsets[j] - self.offsets[i]
        return j == i + 1 and together and self.splits(before) == self.splits(after)

    def splits(self, parameter: Parameter) -> Any:
        """Parameters of unequal answers never share a kernel call; AdamW keeps decayed and other ones apart."""
        return None

    # -- stepping ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Change the weights by the gradients of the last backward."""
        if not self.built:
            raise RuntimeError(
                f"{type(self).__name__}.step() before build: call optimizer.build(model.parameters()) before backward"
            )
        reached = [p for p in self.parameters if p.fresh]
        if not reached:
            return
        segments = self._segments if len(reached) == len(self.parameters) else self._make_segments(reached)
        for p in reached:
            p.fresh = False
            if p.grad is not p.slot:  # another optimizer's buffer took the gradient
                p.slot[...] = p.grad  # type: ignore[index]
        kernels, state = self.backend.optimizers, self.state
        self.prepare(segments)
        for segment in segments:
            self.update(kernels, segment.w, segment.g, *segment.slots, segment=segment)
        for p in reached:
            if p.constraint is not None:
                p.data[...] = p.constraint(p.data)
        del state

    def prepare(self, segments: list[Segment]) -> None:
        """Everything before the update: the learning rate, the gradient norm, clipping, and whether to skip."""
        kernels, state = self.backend.optimizers, self.state
        if self.clipvalue is not None:
            for segment in segments:
                kernels.clip(segment.g, self.clipvalue)
        if self.clipnorm is not None:
            for segment in segments:
                for p in segment.parameters:
                    kernels.clip_norm(p.slot.reshape(-1), self.clipnorm)  # type: ignore[union-attr]
        state[State.LEARNING_RATE] = self.learning_rate(state[State.ITERATIONS]) / (
            1.0 + self.decay * state[State.ITERATIONS]
        )
        state[State.SQUARES] = 0.0
        for segment in segments:
            kernels.square_sum(state, segment.g)
        kernels.begin(state, math.inf if self.global_clipnorm is None else self.global_clipnorm)

    def update(self, kernels: Any, w: Array, g: Array, *slots: Array, segment: Segment) -> None:
        """One kernel call: change w and the slots by g."""
        raise NotImplementedError(f"{type(self).__name__} has no update(kernels, w, g, *slots, segment=...)")

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def iterations(self) -> int:
        """Steps taken so far (reads the device)."""
        return int(self.state[State.ITERATIONS]) if self.built else 0

    @property
    def skipped(self) -> int:
        """Steps skipped because the gradient norm was not finite (reads the device)."""
        return int(self.state[State.SKIPPED]) if self.built else 0

    @property
    def variables(self) -> list[Array]:
        """The optimizer's own arrays: the state, then each slot of each parameter, as live views."""
        if not self.built:
            return []
        return [self.state] + [
            slot[offset : offset + p.size].reshape(p.shape)
            for slot in self.slot_arrays
            for p, offset in zip(self.parameters, self.offsets, strict=True)
        ]

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as a dict that JSON can hold."""
        return config_of(self)
