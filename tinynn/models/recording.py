"""Recorded steps: ``compile(jit=True)`` asks a device once for a whole training step, and then has it repeat it.

On a device a step of a small network is bound by the host that asks for it, kernel by kernel. A recording (a CUDA
graph) holds all of them: a step is then one launch. What changes from step to step must therefore lie on the device:
the batch (copied into arrays that the recording reads), the step counter of the random numbers, the optimizer's state,
and the sums of the meter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tinynn import schedules
from tinynn.errors import frames_inside
from tinynn.layers.recurrent import Recurrent
from tinynn.models.meter import Meter
from tinynn.tensor import Tensor
from tinynn.typing import Array

if TYPE_CHECKING:
    from tinynn.models.model import Model

Learn = Callable[[Any, Any, Any], tuple[Any, ...]]
"""(x, y, weights) -> what ``Meter.add`` takes: forward, backward, update."""
WARM_UP = 2
"""Steps of each shape that run as they are: kernels are compiled, libraries set up, sums made."""
MOST_SHAPES = 4
"""Recorded, each with the memory of a step."""


class Recorder:
    """Runs the steps of one training: the first ones of a shape kernel by kernel, the others as a recording."""

    def __init__(self, model: Model, meter: Meter, learn: Learn):
        assert model.compiled is not None and model.backend.record is not None
        self.model, self.meter, self.learn = model, meter, learn
        self.optimizer, self.record = model.compiled.optimizer, model.backend.record
        self.recordings: dict[Any, Recorded] = {}
        self.seen: dict[Any, int] = {}
        self.meter_stays = True
        """Whether a step leaves every metric the arrays and the numbers on the host that it had."""
        self.off = False
        for layer in model.all_layers():
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
        key = self.schedule(), tuple((a.shape, a.dtype.char) for a in arrays)
        recorded = self.recordings.get(key)
        if recorded is None or not recorded.valid():
            recorded = self.next(key, x, y, w)
        if recorded is not None:
            recorded.replay(arrays)

    def schedule(self) -> int:
        """What a recording of the learning rate is good for: any constant, which lies on the device; one schedule."""
        schedule = self.optimizer.schedule
        return 0 if isinstance(schedule, schedules.Constant) else id(schedule)

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
        elif seen > WARM_UP:
            try:
                recorded = self.recordings[key] = Recorded(self, x, y, w)
                return recorded
            except Exception as error:  # nothing was executed: the step can still be done
                self.give_up(str(error))
        before = self.meter.fingerprint()
        self.meter.add(*self.learn(x, y, w))
        self.meter_stays = seen == 1 or self.meter.fingerprint() == before
        return None


class Recorded:
    """One recorded step, and the arrays that its batch is copied into."""

    def __init__(self, recorder: Recorder, x: Any, y: Any, w: Any):
        self.meter, self.stream = recorder.meter, recorder.model.stream
        self.whole = recorder.meter_stays
        """Whether the metrics are part of the recording."""
        x, y, w = (copied(value) for value in (x, y, w))
        self.inputs = flat((x, y, w))
        self.fingerprint = self.meter.fingerprint()
        assert self.stream is not None
        step, count = self.stream.step.copy(), self.meter.count

        def function() -> None:
            self.results = recorder.learn(x, y, w)
            if self.whole:
                self.meter.add(*self.results)

        try:
            self.launch = recorder.record(function)
        except BaseException:
            graph = x.graph if isinstance(x, Tensor) else x[0].graph
            graph.reset()
            graph.updates = []
            raise
        finally:  # nothing was executed yet
            self.stream.rewind(step)
            self.meter.count = count

    def valid(self) -> bool:
        """Whether the meter still adds to the arrays that it added to when this was recorded."""
        return not self.whole or self.meter.fingerprint() == self.fingerprint

    def replay(self, arrays: list[Array]) -> None:
        """The step, on this batch."""
        for mine, given in zip(self.inputs, arrays, strict=True):
            mine[...] = given
        self.launch()
        self.stream.follow()  # type: ignore[union-attr]
        if self.whole:
            self.meter.count += self.results[2]
        else:
            self.meter.add(*self.results)


def flat(value: Any) -> list[Array]:
    """The arrays of tensors, arrays, and lists and tuples of them."""
    if isinstance(value, (list, tuple)):
        return [array for one in value for array in flat(one)]
    return [] if value is None else [value.data if isinstance(value, Tensor) else value]


def copied(value: Any) -> Any:
    """The same tensors or arrays, with memory of their own."""
    if isinstance(value, (list, tuple)):
        return [copied(one) for one in value]
    if isinstance(value, Tensor):
        return Tensor(value.data.copy(), value.graph)
    return None if value is None else value.copy()


def shapes_of(x: Any) -> str:
    return ", ".join(str(tuple(int(n) for n in array.shape)) for array in flat(x))
