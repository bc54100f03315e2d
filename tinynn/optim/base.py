"""Optimizer: flat buffers for weights, gradients and slots, and one pass over them per step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynn import backends, schedules
from tinynn.backends import Backend
from tinynn.backends.base import ALIGNMENT, State
from tinynn.config import Configured, above, at_least, config_of, described, plain
from tinynn.optim.interrupts import InterruptsWait
from tinynn.parameter import Parameter
from tinynn.typing import Array

__all__ = ["Optimizer", "Segment", "State"]

EPSILON = 1e-7
"""Keras's default in all optimizers."""

SQUARES = int(State.SQUARES)
NOTHING = nullcontext()
PARTIAL = 64
"""Sets of reached parameters whose segments are kept: two networks that are trained in turn have two."""


@dataclass
class Segment:
    """A run of parameters whose weights, gradients and slots lie in one piece: what one kernel call works on."""

    parameters: list[Parameter]
    w: Array
    g: Array
    """What the update goes by: the gradients, clipped where the optimizer clips values or norms."""
    slots: list[Array]
    weight_decay: float
    raw: Array
    """The gradients as backward wrote them; ``g`` itself where nothing is clipped."""
    pairs: list[tuple[Array, Array]]
    """Of each parameter, flat views of ``g`` and ``raw``."""


class Optimizer(Configured):
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
    alike, so a step is one pass, or two where some parameters decay and others do not. Ctrl-C waits for the second. A
    gradient norm that is not finite leaves weights and slots as they are, and is counted. A parameter that backward did
    not reach since the last step is skipped. Gradients are never changed, clipping has an array of its own.

    A subclass names its slot arrays in ``slots`` and writes ``update(kernels, segment)``.
    """

    slots: tuple[str, ...] = ()
    slot_start: float = 0.0
    _seen: list[int]

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
        self.state: Any = None
        self.learning_rate = learning_rate if lr is None else lr
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

    @property
    def learning_rate(self) -> Any:
        """The number; of a schedule, which is kept as ``schedule``, its value at the next step (reads the device).

        It can be set at any time, to a number or to a schedule: slots and step count stay.
        """
        schedule = self.schedule
        return schedule.learning_rate if isinstance(schedule, schedules.Constant) else float(schedule(self.iterations))

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.schedule = schedules.get(value, type(self).__name__)
        self._set_constant_rate()

    @property
    def lr(self) -> Any:
        """Old Keras's name of ``learning_rate``, to read and to set."""
        return self.learning_rate

    @lr.setter
    def lr(self, value: Any) -> None:
        self.learning_rate = value

    def _set_constant_rate(self) -> None:
        """A constant is written when it changes: a step that is recorded takes no number from the host."""
        if self.built and isinstance(self.schedule, schedules.Constant):
            self.state[State.LEARNING_RATE] = self.schedule.learning_rate

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
        self.limit = 1e-8 * float(np.finfo(self.dtype).max)
        """Of the sum of the gradients' squares: beyond it a step counts as exploded."""
        homes = (p.backend for p in parameters if p.backend is not None)
        self.backend = backends.get(next(homes, None) if backend is None else backend)
        self.parameters = parameters
        try:
            self._lay_out()
        except MemoryError as error:
            size = sum(p.size for p in parameters)
            arrays = f"weights, gradients and {len(self.slots)} slots" if self.slots else "weights and gradients"
            raise MemoryError(
                f"{type(self).__name__} finds no room for {arrays} of {size:,} numbers: {error}"
            ) from error
        self.state = self.backend.zeros((len(State),), "float64")
        self.state[State.FIRST_SKIPPED] = -1
        self.state[State.PRODUCT] = 1
        self._set_constant_rate()

    def kept(self) -> tuple[Any, ...]:
        """On the host, what ``carry`` takes to another backend."""
        to_numpy = self.backend.to_numpy
        arrays = [[np.array(to_numpy(array)) for array in views] for views in (self.gradients, *self._slot_views())]
        return np.array(to_numpy(self.state)), arrays, [p.grad is not None for p in self.parameters], self._seen, self.w

    def carry(self, backend: Backend, kept: tuple[Any, ...]) -> None:
        """Go on on another backend, where the parameters already are: state, slots and gradients byte for byte."""
        state, arrays, reached, seen, home = kept
        for p in self.parameters:
            if p.home is not None and (p.home[0] is home or p.home[0] is self.w):
                p.home = None
        self.backend = backend
        self._lay_out()
        self._seen = seen
        for mine, values in zip((self.gradients, *self._slot_views()), arrays, strict=True):
            for array, value in zip(mine, values, strict=True):
                array[...] = backend.asarray(value, self.dtype)
        for p, was in zip(self.parameters, reached, strict=True):
            p.grad = p.slot if was else None
        self.state = backend.asarray(state, "float64")

    def _slot_views(self) -> list[list[Array]]:
        """Of each slot, the views that belong to the parameters."""
        return [
            [self._of(slot, self.offsets[i], p) for i, p in enumerate(self.parameters)] for slot in self.slot_arrays
        ]

    def _lay_out(self) -> None:
        """Offsets, flat arrays, and the views of them that each parameter gets."""
        self.order = self._layout_order()
        self.rank = {i: rank for rank, i in enumerate(self.order)}
        self.offsets, self.total = self._offsets(self.order)
        homeless = [i for i in self.order if self.parameters[i].home is None]
        places, size = self._offsets(homeless)
        self.w = self._flat(size) if homeless else None
        """The weights of those that had no home yet."""
        self.g = self._flat(self.total)
        clips = self.clipvalue is not None or self.clipnorm is not None
        self.clipped = self._flat(self.total) if clips else self.g
        self.slot_arrays = [self._flat(self.total, self.slot_start) for _ in self.slots]
        for p in self.parameters:
            p.data  # noqa: B018  (drawn now: where memory ends, nobody has moved yet)
        self.gradients: list[Array] = []
        """Of each parameter, a view of ``g``."""
        for i, p in enumerate(self.parameters):
            if p.home is None:
                p.move(self._of(self.w, places[i], p))
                p.home = self.w, places[i]
            p.slot = self._of(self.g, self.offsets[i], p)
            self.gradients.append(p.slot)
            p.grad = None
        self._seen = [p.reached for p in self.parameters]
        """How many backwards had reached each parameter at our last step."""
        self._constrained = any(p.constraint is not None for p in self.parameters)
        self._segments = self._make_segments(self.order)
        self._partial: dict[tuple[int, ...], list[Segment]] = {}

    def _layout_order(self) -> list[int]:
        """The parameters of one weight decay side by side, and among them those of one home as they lie there."""
        decays: dict[float, int] = {}
        homes: dict[int, int] = {}
        keys = []
        for p in self.parameters:
            home, at = (None, 0) if p.home is None else p.home
            decay_rank = decays.setdefault(self.decays(p), len(decays))
            keys.append((decay_rank, homes.setdefault(id(home), len(homes)), at))
        return sorted(range(len(keys)), key=keys.__getitem__)

    def _offsets(self, indices: Iterable[int]) -> tuple[dict[int, int], int]:
        """Where each parameter begins when these lie one after the other, each from a cache line on; and their end."""
        step = ALIGNMENT // self.dtype.itemsize
        offsets, total = {}, 0
        for i in indices:
            offsets[i] = total
            total += -(-self.parameters[i].size // step) * step
        return offsets, total

    def _flat(self, size: int, value: float = 0.0) -> Array:
        return self.backend.aligned(size, value, self.dtype)

    @staticmethod
    def _of(flat: Any, offset: int, p: Parameter) -> Array:
        return flat[offset : offset + p.size].reshape(p.shape)

    def _make_segments(self, indices: Iterable[int]) -> list[Segment]:
        """Neighbours whose weights lie in one home at the same distances as our gradients become one segment."""
        runs: list[list[int]] = []
        rank = self.rank
        for i in sorted(indices, key=rank.__getitem__):
            if runs and rank[i] == rank[runs[-1][-1]] + 1 and self._together(runs[-1][-1], i):
                runs[-1].append(i)
            else:
                runs.append([i])
        return [self._segment(run) for run in runs]

    def _segment(self, run: list[int]) -> Segment:
        parameters = [self.parameters[i] for i in run]
        start, stop = self.offsets[run[0]], self.offsets[run[-1]] + parameters[-1].size
        home, at = parameters[0].home
        w, g, raw = home[at : at + stop - start], self.clipped[start:stop], self.g[start:stop]
        slots = [slot[start:stop] for slot in self.slot_arrays]
        parts = [slice(self.offsets[i], self.offsets[i] + self.parameters[i].size) for i in run]
        pairs = [(self.clipped[part], self.g[part]) for part in parts]
        return Segment(parameters, w, g, slots, self.decays(parameters[0]), raw, pairs)

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

    def step(self, loss: Array | None = None) -> None:
        """Change the weights by the gradients of the last backward.

        loss: where given (an array of one element), a step whose loss is not finite is skipped too
        """
        if not self.built:
            raise RuntimeError(
                f"{type(self).__name__}.step() before build: call optimizer.build(model.parameters()) before backward"
            )
        segments, reached = self._take_gradients()
        if not reached:
            return
        # A kernel call alone is complete or was not begun: only weights that take several are kept in one piece.
        several = len(segments) > 1 or self._constrained
        with InterruptsWait() if several else NOTHING:
            self.prepare(segments, loss)
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
        key = tuple(reached)
        segments = self._partial.get(key)
        if segments is None:
            if len(self._partial) >= PARTIAL:
                self._partial.clear()
            segments = self._partial[key] = self._make_segments(reached)
        return segments, reached

    def prepare(self, segments: list[Segment], loss: Array | None = None) -> None:
        """Everything before the update: the learning rate, the gradient norm, clipping, and whether to skip.

        A gradient too large for the squares and products of its dtype counts as not finite, unless it is clipped:
        otherwise the step that explodes would leave weights or slots that are not finite, and only the next be skipped.
        """
        kernels, state = self.backend.optimizers, self.state
        if self.decay or not isinstance(self.schedule, schedules.Constant):
            step = state[State.ITERATIONS]
            rate = self.schedule(step)
            state[State.LEARNING_RATE] = rate / (1.0 + self.decay * step) if self.decay else rate
        state[SQUARES] = 0.0 if loss is None else loss * 0.0  # NaN where the loss is not finite
        for segment in segments:
            kernels.square_sum(state, segment.raw)
        if self.clipvalue is not None:
            for segment in segments:
                kernels.clip(segment.g, segment.raw, self.clipvalue)
        if self.clipnorm is not None:
            for segment in segments:
                for clipped, gradient in segment.pairs:
                    kernels.clip_norm(clipped, gradient, self.clipnorm)
        clipped = self.clipvalue or self.clipnorm or self.global_clipnorm
        kernels.begin(state, self.global_clipnorm or math.inf, math.inf if clipped else self.limit)

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
        return [self.state] + [view for views in self._slot_views() for view in views]

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as a dict that JSON can hold; the schedule where there is one."""
        config = config_of(self)
        if "learning_rate" in config:
            config["learning_rate"] = plain(self._given_rate())
            config.pop("lr", None)  # says the same
        return config

    def __repr__(self) -> str:
        return described(self, learning_rate=self._given_rate(), lr=None)

    def _given_rate(self) -> Any:
        """The number or the schedule."""
        schedule = self.schedule
        return schedule.learning_rate if isinstance(schedule, schedules.Constant) else schedule


def checked_epsilon(epsilon: float | None, owner: object) -> float:
    """What keeps divisions from zero; None is the default, 1e-7, as in Keras."""
    return above(EPSILON if epsilon is None else epsilon, 0, "epsilon", type(owner).__name__)
