"""Recorded steps: ``compile(jit=True)`` asks a device once for a whole training step, and then has it repeat it.

On a device a step of a small network is bound by the host that asks for it, kernel by kernel. A recording (a CUDA
graph) holds all of them: a step is then one launch. What changes from step to step must therefore lie on the device:
the batch (copied into arrays that the recording reads), the step counter of the random numbers, the optimizer's state,
and the sums of the meter. Numbers of Python (a dropout's rate, the optimizer's momentum) are in a recording as they
were when it was made: where a callback changes one, steps are recorded anew.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynn import schedules
from tinynn.config import Configured
from tinynn.errors import frames_inside
from tinynn.layers.recurrent import Recurrent
from tinynn.models.meter import Meter
from tinynn.tensor import Tensor
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.graph import Graph
    from tinynn.models.model import Model

Learn = Callable[[Any, Any, Any], tuple[Any, ...]]
"""(x, y, weights) -> what ``Meter.add`` takes: forward, backward, update."""
WARM_UP = 2
"""Steps of each shape that run as they are: kernels are compiled, libraries set up, sums made."""
MOST_SHAPES = 4
"""Recorded, each with the memory of a step."""
PLAIN = (bool, int, float, str, np.generic, type(None))
"""Settings that are compared by value; all others by what they are."""


class Recorder:
    """Runs the steps of one training: the first ones of a shape kernel by kernel, the others as a recording."""

    def __init__(self, model: Model, meter: Meter, graph: Graph, learn: Learn):
        assert model.compiled is not None and model.backend.record is not None
        self.model, self.meter, self.graph, self.learn = model, meter, graph, learn
        self.optimizer, self.record = model.compiled.optimizer, model.backend.record
        self.recordings: dict[Any, Recorded] = {}
        self.seen: dict[Any, int] = {}
        self.numbers: dict[Any, list[float]] = {}
        """Of each shape, what its last step in Python took."""
        self.layers, self.variables = model.all_layers(), model.variables()
        self.settings: list[Any] = []
        """What ``settings_now`` was when a step last ran in Python."""
        self.whole = meter.recordable()
        """Whether recordings hold the metrics too; else they are measured beside them."""
        self.off = False
        for layer in self.layers:
            if isinstance(layer, Recurrent) and layer.stateful:
                self.give_up(f"layer '{layer.label}' is stateful, its states are other arrays in every step")
                break

    def give_up(self, reason: str) -> None:
        """Run kernel by kernel from here on, and say why."""
        self.off = True
        self.recordings.clear()
        warnings.warn(
            f"'{self.model.label}' runs kernel by kernel in spite of jit=True: {reason}", stacklevel=frames_inside()
        )

    def run(self, x: Any, y: Any, w: Any) -> None:
        """One training step on a batch."""
        if self.off:
            self.meter.add(*self.learn(x, y, w))
            return
        arrays = flat((x, y, w))
        key = tuple((a.shape, a.dtype.char) for a in arrays)
        recorded = self.recordings.get(key)
        if recorded is not None and not recorded.valid():
            recorded = None
            del self.recordings[key]
            self.seen[key] = WARM_UP - 1  # the next step makes the metrics' arrays, the one after it is recorded
        if recorded is None:
            recorded = self.next(key, x, y, w)
            self.settings = self.settings_now()
        if recorded is not None:
            recorded.replay(arrays)

    def look(self) -> None:
        """Callbacks have run: what was recorded with other settings is of no use."""
        if not self.off and self.seen and not same(self.settings_now(), self.settings):
            self.recordings.clear()
            self.seen.clear()

    def settings_now(self) -> list[Any]:
        """Where weights lie, and what layers, losses, regularizers and the optimizer keep in Python: numbers, names.

        A constant learning rate lies on the device; a schedule, or a rate with ``decay``, is computed in the step.
        """
        compiled, schedule = self.model.compiled, self.optimizer.schedule
        assert compiled is not None
        owners = [*self.layers, *compiled.outputs, self.optimizer]
        owners += [part for owner in owners for part in vars(owner).values() if isinstance(part, Configured)]
        owners += [parameter.regularizer for parameter in compiled.regularized]
        if isinstance(schedule, schedules.Constant) and not self.optimizer.decay:
            owners = [owner for owner in owners if owner is not schedule]
        kept = [item for owner in owners if hasattr(owner, "__dict__") for item in vars(owner).items()]
        plain = [value for name, value in kept if isinstance(value, PLAIN) and name != "shuffles"]  # fit counts these
        return [compiled, *owners, *(v.data for v in self.variables if v.drawn), *plain]

    def next(self, key: Any, x: Any, y: Any, w: Any) -> Recorded | None:
        """A new recording of this step, or None: then the step is done."""
        seen = self.seen[key] = self.seen.get(key, 0) + 1
        if seen > WARM_UP and key not in self.recordings and len(self.recordings) >= MOST_SHAPES:
            if seen == WARM_UP + 1:
                warnings.warn(
                    f"'{self.model.label}': {MOST_SHAPES} shapes of batches are recorded (jit=True), the step for "
                    f"{shapes_of(x)} runs kernel by kernel: pad to a few lengths, or take equal batches",
                    stacklevel=frames_inside(),
                )
        elif seen > WARM_UP and (recorded := self.recorded(key, x, y, w)) is not None:
            self.recordings[key] = recorded
            return recorded
        self.graph.numbers = []
        try:
            self.meter.add(*self.learn(x, y, w))
        finally:
            self.numbers[key], self.graph.numbers = self.graph.numbers, None
        return None

    def recorded(self, key: Any, x: Any, y: Any, w: Any) -> Recorded | None:
        """This step as a recording, without the metrics where they do not let themselves be recorded; None, and off."""
        while not self.off:
            try:
                return Recorded(self, x, y, w, self.numbers[key])
            except Unmeasured:
                self.whole = False
            except Exception as error:  # nothing was executed: the step can still be done
                self.give_up(str(error) or type(error).__name__)
        return None


class Unmeasured(Exception):
    """A metric did something that cannot be recorded."""


class Recorded:
    """One recorded step, and the arrays that its batch is copied into."""

    def __init__(self, recorder: Recorder, x: Any, y: Any, w: Any, numbers: list[float]):
        """numbers: what the step before took from Python; RuntimeError where this one takes others."""
        assert recorder.model.stream is not None
        self.meter, self.stream, graph = recorder.meter, recorder.model.stream, recorder.graph
        self.whole = recorder.whole
        x, y, w = (copied(value) for value in (x, y, w))
        self.inputs = flat((x, y, w))
        self.sums = self.meter.sums()
        self.stream.settle()
        step, count = self.stream.step.copy(), self.meter.count

        def function() -> None:
            self.results = recorder.learn(x, y, w)
            check_numbers(numbers, graph.numbers or [])
            if self.whole:
                try:
                    self.meter.add(*self.results)
                except Exception as error:
                    raise Unmeasured from error

        graph.numbers = []
        try:
            self.launch = recorder.record(function)
        except BaseException:
            graph.reset()
            graph.updates = []
            raise
        finally:  # nothing was executed yet
            graph.numbers = None
            self.stream.rewind(step)
            self.meter.count = count

    def valid(self) -> bool:
        """Whether the meter still adds to the arrays that it added to when this was recorded."""
        return not self.whole or same(self.meter.sums(), self.sums)

    def replay(self, arrays: list[Array]) -> None:
        """The step, on this batch."""
        for mine, given in zip(self.inputs, arrays, strict=True):
            mine[...] = given
        self.stream.settle()
        self.launch()
        self.stream.follow()
        if self.whole:
            self.meter.count += self.results[2]
        else:  # with copies: a metric may keep them, and the next replay writes over its own
            self.meter.add(*(copied(result) for result in self.results))


def check_numbers(before: list[float], now: list[float]) -> None:
    """RuntimeError where two steps take different numbers from Python: a replay would repeat those of one."""
    if not same(before, now):
        changed = [f"{a:g}, then {b:g}" for a, b in zip(before, now, strict=False) if a != b]
        raise RuntimeError(
            f"a step takes other numbers from Python each time ({changed[0] if changed else 'more or fewer'}): random "
            "ones come from layers such as GaussianNoise, one that changes slowly can be set by a callback, as an "
            "attribute of the layer"
        )


def flat(value: Any) -> list[Array]:
    """The arrays of tensors, arrays, and lists and tuples of them."""
    if isinstance(value, (list, tuple)):
        return [array for one in value for array in flat(one)]
    return [] if value is None else [value.data if isinstance(value, Tensor) else value]


def copied(value: Any) -> Any:
    """The same tensors or arrays, with memory of their own; numbers as they are."""
    if isinstance(value, (list, tuple)):
        return [copied(one) for one in value]
    if isinstance(value, Tensor):
        copy = Tensor(value.data.copy(), value.graph)
        copy.mask = copied(value.mask)
        return copy
    return value.copy() if hasattr(value, "copy") else value


def same(a: list[Any], b: list[Any]) -> bool:
    """Whether two lists hold the same objects; numbers and texts need only be equal."""
    return len(a) == len(b) and all(
        x is y or (isinstance(x, PLAIN) and isinstance(y, PLAIN) and x == y) for x, y in zip(a, b, strict=True)
    )


def shapes_of(x: Any) -> str:
    return ", ".join(str(tuple(int(n) for n in array.shape)) for array in flat(x))
