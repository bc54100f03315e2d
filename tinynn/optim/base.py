"""Optimizer: flat buffers for weights, gradients and slots, and one pass over them per step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn import backends, schedules
from tinynn.backends import Backend
from tinynn.backends.base import State
from tinynn.config import above, at_least, config_of
from tinynn.parameter import Parameter
from tinynn.typing import Array

ALIGNMENT = 64
"""Bytes: every parameter begins on a cache line, which is also the widest vector register."""


__all__ = ["ALIGNMENT", "Optimizer", "Segment", "State"]


@dataclass
class Segment:
    """A run of parameters whose weights, gradients and slots lie in one piece: what one kernel call works on."""

    parameters: list[Parameter]
    w: Array
    g: Array
    slots: list[Array]
    gradients: list[Array]
    """Of each parameter, flat views of ``g``."""
    weight_decay: float


class Optimizer:
    """The base of all optimizers.

    learning_rate:   a number, or a schedule (a callable of the step count)
    weight_decay:    decoupled decay: w = w - learning_rate weight_decay w before each update; biases and the scales of
                     normalizations (parameters of one axis) have none, unless ``decay_biases`` asks for it
    clipnorm:        each parameter's gradient is scaled down to this norm
    clipvalue:       each gradient value is cut to [-clipvalue, clipvalue]
    global_clipnorm: all gradients together are scaled down to this norm
    decay:           old Keras's time decay: learning_rate / (1 + decay * step)
    lr:              old Keras's spelling of ``learning_rate``

    ``build(parameters)`` moves the parameters, values kept, into one contiguous array; gradients and slots are laid out
    alike, so a step is one pass. A gradient norm that is not finite leaves weights and slots as they are, and is
    counted. A parameter that backward did not reach since the last step is skipped.

    A subclass names its slot arrays in ``slots`` and writes ``update(kernels, segment)``.
    """

    slots: tuple[str, ...] = ()
    slot_start: float = 0.0

    def __init__(
        self,
        learning_rate: Any,
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        decay_biases: bool = False,
        decay: float = 0.0,
        lr: Any = None,
        name: str | None = None,
    ):
        label = type(self).__name__
        self.learning_rate = learning_rate if lr is None else lr
        self.lr = None
        """Kept as ``learning_rate``."""
        for key, value in (("clipnorm", clipnorm), ("clipvalue", clipvalue), ("global_clipnorm", global_clipnorm)):
            if value is not None:
                above(value, 0, key, label)
        if sum(v is not None for v in (clipvalue, clipnorm, global_clipnorm)) > 1:
            raise ValueError(f"{label} expects at most one of clipnorm, clipvalue and global_clipnorm")
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.weight_decay = None if weight_decay is None else at_least(weight_decay, 0, "weight_decay", label)
        self.decay_biases = bool(decay_biases)
        self.decay = at_least(decay, 0, "decay", label)
        self.name = name
        self.parameters: list[Parameter] = []
        self.state: Any = None

    @property
    def learning_rate(self) -> Any:
        """The number, or the schedule. Settable at any time: slots and step count stay."""
        schedule = self.schedule
        return schedule.learning_rate if isinstance(schedule, schedules.Constant) else schedule

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.schedule = schedules.get(value, type(self).__name__)

    # -- building ----------------------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        return self.state is not None

    def build(self, parameters: Iterable[Parameter], backend: str | Backend | None = None) -> None:
        """Move the trained parameters into one contiguous array; called by ``compile``, or by hand before backward.

        A parameter that already lives in another optimizer's buffer stays there: this one keeps its own gradients and
        slots. Building again for the same parameters changes nothing. The backend is that of the parameters, unless one
        is given. Raises RuntimeError if it was built for other parameters, ValueError for parameters of several dtypes.
        """
        parameters = [p for p in dict.fromkeys(parameters) if p.trainable]
        if self.built and list(map(id, parameters)) == list(map(id, self.parameters)):
            return
        if self.built:
            raise RuntimeError(
                f"this {type(self).__name__} was built for other parameters, and its slots belong to them: "
                "use a new optimizer"
            )
        dtypes = {p.dtype for p in parameters}
        if len(dtypes) > 1:
            raise ValueError(f"{type(self).__name__} expects parameters of one dtype, got {sorted(map(str, dtypes))}")
        self.dtype = dtypes.pop() if dtypes else np.dtype("float32")
        homes = (p.backend for p in parameters if p.backend is not None)
        self.backend = backends.get(next(homes, None) if backend is None else backend)
        self.parameters = parameters
        self._lay_out()
        self.state = self.backend.zeros((len(State),), "float64")
        self.state[State.FIRST_SKIPPED] = -1
        self.state[State.PRODUCT] = 1

    def _lay_out(self) -> None:
        """Offsets, flat arrays, and the views of them that each parameter gets."""
        step = ALIGNMENT // self.dtype.itemsize
        self.offsets: list[int] = []
        total = 0
        for p in self.parameters:
            self.offsets.append(total)
            total += -(-p.size // step) * step
        self.total = total
        homeless = any(p.home is None for p in self.parameters)
        self.w = self._flat() if homeless else None
        self.g = self._flat()
        self.slot_arrays = [self._flat(self.slot_start) for _ in self.slots]
        self.gradients: list[Array] = []
        """Of each parameter, a view of ``g``."""
        for p, offset in zip(self.parameters, self.offsets, strict=True):
            if p.home is None:
                assert self.w is not None
                p.move(self.w[offset : offset + p.size].reshape(p.shape))
                p.home = self.w, offset
            p.slot = self.g[offset : offset + p.size].reshape(p.shape)
            self.gradients.append(p.slot)
            p.grad = None
        self._seen = [p.reached for p in self.parameters]
        """How many backwards had reached each parameter at our last step."""
        self._segments = self._make_segments(range(len(self.parameters)))
        self._partial: tuple[list[int], list[Segment]] = [], []

    def _flat(self, value: float = 0.0) -> Array:
        """An array that begins on a cache line: device allocators see to it, on the host some room is left over."""
        spare = ALIGNMENT // self.dtype.itemsize
        memory = self.backend.full((self.total + spare,), value, self.dtype)
        address = memory.ctypes.data if isinstance(memory, np.ndarray) else 0
        start = -address % ALIGNMENT // self.dtype.itemsize
        return memory[start : start + self.total]

    def _make_segments(self, indices: Iterable[int]) -> list[Segment]:
        """Neighbours whose weights lie in one home at the same distances as our gradients become one segment."""
        runs: list[list[int]] = []
        for i in indices:
            if runs and i == runs[-1][-1] + 1 and self._together(i - 1, i):
                runs[-1].append(i)
            else:
                runs.append([i])
        return [self._segment(run) for run in runs]

    def _segment(self, run: list[int]) -> Segment:
        parameters = [self.parameters[i] for i in run]
        start, stop = self.offsets[run[0]], self.offsets[run[-1]] + parameters[-1].size
        home, at = parameters[0].home
        slots = [slot[start:stop] for slot in self.slot_arrays]
        gradients = [self.gradients[i].reshape(-1) for i in run]
        w, g, decay = home[at : at + stop - start], self.g[start:stop], self.decays(parameters[0])
        return Segment(parameters, w, g, slots, gradients, decay)

    def _together(self, i: int, j: int) -> bool:
        before, after = self.parameters[i], self.parameters[j]
        (home, at), (next_home, next_at) = before.home, after.home
        same_distance = home is next_home and next_at - at == self.offsets[j] - self.offsets[i]
        return same_distance and self.decays(before) == self.decays(after)

    def decays(self, parameter: Parameter) -> float:
        """The weight decay of a parameter. Those of unequal decay never share a kernel call."""
        small = len(parameter.shape) < 2 and not self.decay_biases
        return 0.0 if small else self.weight_decay or 0.0

    # -- stepping ----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """Change the weights by the gradients of the last backward."""
        if not self.built:
            raise RuntimeError(
                f"{type(self).__name__}.step() before build: call optimizer.build(model.parameters()) before backward"
            )
        segments, reached = self._take_gradients()
        if not reached:
            return
        self.prepare(segments)
        kernels = self.backend.optimizers
        for segment in segments:
            self.update(kernels, segment)
        for i in reached:
            p = self.parameters[i]
            if p.constraint is not None:
                p.data[...] = np.where(self.state[State.SCALE] > 0, p.constraint(p.data), p.data)

    def _take_gradients(self) -> tuple[list[Segment], list[int]]:
        """What is to be updated: the parameters that a backward has reached since our last step."""
        seen, gradients = self._seen, self.gradients
        reached = []
        for i, p in enumerate(self.parameters):
            if p.reached != seen[i]:
                seen[i] = p.reached
                reached.append(i)
                if p.grad is not gradients[i]:  # another optimizer's buffer took the gradient
                    gradients[i][...] = p.grad
        if len(reached) == len(seen):
            return self._segments, reached
        if self._partial[0] != reached:
            self._partial = reached, self._make_segments(reached)
        return self._partial[1], reached

    def prepare(self, segments: list[Segment]) -> None:
        """Everything before the update: the learning rate, the gradient norm, clipping, and whether to skip."""
        kernels, state = self.backend.optimizers, self.state
        step = state[State.ITERATIONS]
        rate = self.schedule(step)
        state[State.LEARNING_RATE] = rate / (1.0 + self.decay * step) if self.decay else rate
        state[State.SQUARES] = 0.0
        for segment in segments:
            kernels.square_sum(state, segment.g)
        if self.clipvalue is not None:
            for segment in segments:
                kernels.clip(segment.g, self.clipvalue)
        if self.clipnorm is not None:
            for segment in segments:
                for gradient in segment.gradients:
                    kernels.clip_norm(gradient, self.clipnorm)
        kernels.begin(state, math.inf if self.global_clipnorm is None else self.global_clipnorm)

    def update(self, kernels: Any, segment: Segment) -> None:
        """One kernel call: change ``segment.w`` and ``segment.slots`` by ``segment.g``, as ``self.state`` says."""
        raise NotImplementedError(f"{type(self).__name__} has no update(kernels, segment)")

    # -- reading -----------------------------------------------------------------------------------------------------

    @property
    def iterations(self) -> int:
        """Steps taken so far (reads the device)."""
        return self._read(State.ITERATIONS)

    @property
    def skipped(self) -> int:
        """Steps skipped because the gradient norm was not finite (reads the device)."""
        return self._read(State.SKIPPED)

    def _read(self, index: State) -> int:
        return int(self.backend.to_numpy(self.state)[index]) if self.built else 0

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
