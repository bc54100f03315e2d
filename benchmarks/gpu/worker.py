"""One contender alone in its process, for as many workloads as it is asked for; ``crew`` starts it.

    {"do": "describe"}                                        -> the card, the versions
    {"do": "prepare", "case", "batch", "weights"}             -> {"arithmetic"}; tinynn writes, PyTorch reads
    {"do": "check", "steps"}                                  -> as "run" of ``benchmarks.worker``: its losses count
    {"do": "run", "steps"}                                    -> the same, whose time counts
    {"do": "product", "n", "seconds"}                         -> {"seconds"} of a Dense layer's product
    {"do": "errors", "row", "first"}                          -> the largest errors of a row of the table
    {"do": "learn", "example", "rows"}                        -> {"accuracy", "loss", "seconds"}
    {"do": "kernel", "name", "scale", "seconds"}              -> what one kernel takes, and its rate

Contenders: ``cpu`` (tinynn), ``gpu``, ``jit`` (the same on the card, every layer launched, or the step recorded), and
PyTorch on the card: ``eager``, ``graph`` (the whole step as one CUDA graph), ``compile`` (torch.compile).
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks import machine, worker
from benchmarks.cases import find
from benchmarks.cases.base import Case
from benchmarks.worker import Answer, converse

OURS = {"cpu": ("cpu", {}), "gpu": ("gpu", {}), "jit": ("gpu", {"jit": True})}
"""Of tinynn's contenders: the backend, and what ``compile`` is told."""
THEIRS = ("eager", "graph", "compile")
FEWEST, MOST = 4, 64
"""Batches of an epoch. Its end, where the loss is read, must not count."""
IMAGES = 4
"""Axes of a batch of images."""
TF32 = os.environ.get("CUPY_TF32") == "1"
"""Whether products are in TF32, on both sides."""
RECORDING = 4
"""Steps after which jit has recorded the step."""


def case_for(name: str, batch: int) -> Case:
    """The workload with another batch, and rows enough."""
    case = find(name)

    def data() -> Any:
        x, y = case.data()
        times = -(-FEWEST * batch // len(x))
        return (x, y) if times == 1 else tuple(np.concatenate([a] * times) for a in (x, y))

    return replace(case, batch_size=batch, data=data)


def of_images(case: Case) -> bool:
    """Whether it has convolutions."""
    return case.data()[0].ndim == IMAGES


# -- tinynn ------------------------------------------------------------------------------------------------------------


class Ours(worker.Ours):
    """tinynn on one of its backends; all draw the same weights."""

    def __init__(self, case: Case, contender: str, weights_file: str):
        backend, options = OURS[contender]
        os.environ["TINYNN_BACKEND"] = backend
        super().__init__(case, weights_file, **options)
        self.records = contender == "jit"

    def arithmetic(self) -> dict[str, bool]:
        """What multiplies in TF32, as ``compile`` and CUPY_TF32 have it."""
        if self.model.backend.name != "gpu":
            return {"tf32_in_convolutions": False, "tf32_in_products": False}
        from tinynn.backends.gpu import cuda

        return {"tf32_in_convolutions": of_images(self.case) and cuda.tensor_cores(), "tf32_in_products": TF32}

    def timed(self, rows: int, before: int, epochs: int) -> tuple[float, float]:
        """Seconds of so many epochs of one ``fit``, of which some run before; the loss of the last."""
        from tinynn import callbacks

        ends: list[float] = []

        class Ends(callbacks.Callback):
            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                ends.append(time.perf_counter())  # the loss was read: the card is done

        x, y, batch = self.x[:rows], self.y[:rows], self.case.batch_size
        history = self.model.fit(
            x, y, batch_size=batch, epochs=before + epochs, verbose=0, shuffle=False, callbacks=[Ends()]
        )
        return ends[-1] - ends[before - 1], float(history.history["loss"][-1])

    def forget(self) -> None:
        """Give the memory of a workload back before the next one comes."""
        backend = self.model.backend
        del self.model, self.state
        gc.collect()
        if backend.name == "gpu" and hasattr(backend.xp, "get_default_memory_pool"):
            backend.xp.get_default_memory_pool().free_all_blocks()


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def device() -> str:
    """PyTorch's card; without one its processor, so that all of this runs anywhere."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def variant(case: Case, contender: str) -> str:
    """``eager`` is as people write it; the others have all that makes PyTorch faster, channels last for images too."""
    if contender == "eager":
        return "eager"
    best = "channels_last" if "channels_last" in case.variants else "fused" if "fused" in case.variants else "eager"
    return best if contender == "graph" else {"channels_last": "channels_last_compile"}.get(best, "compile")


class Theirs(worker.Theirs):
    """PyTorch on the card: each batch goes there from pinned memory without waiting, as in ``fit``.

    Convolutions in TF32 and everything else exact, as ours compute; left to itself PyTorch would take TF32 for its
    recurrent layers too, but not for products.
    """

    def __init__(self, case: Case, contender: str, weights_file: str):
        import torch

        torch.backends.cudnn.allow_tf32 = of_images(case)
        torch.backends.cuda.matmul.allow_tf32 = TF32
        torch.backends.cudnn.benchmark = contender != "eager"  # tries algorithms, in steps that do not count
        super().__init__(case, variant(case, contender), weights_file, device())
        if self.device == "cuda":
            self.x, self.y = self.x.pin_memory(), self.y.pin_memory()

    records = False

    def arithmetic(self) -> dict[str, bool]:
        import torch

        return {
            "tf32_in_convolutions": of_images(self.case) and torch.backends.cudnn.allow_tf32,
            "tf32_in_products": torch.backends.cuda.matmul.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        }

    def timed(self, rows: int, before: int, epochs: int) -> tuple[float, float]:
        self.train(rows, before)
        start = time.perf_counter()
        loss = self.train(rows, epochs)
        return time.perf_counter() - start, loss

    def batch(self, i: int) -> tuple[Any, Any]:
        rows = slice(i, i + self.case.batch_size)
        return self.x[rows].to(self.device, non_blocking=True), self.y[rows].to(self.device, non_blocking=True)

    def step(self, x: Any, y: Any, total: Any) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.criterion(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        total += loss.detach()

    def train(self, rows: int, epochs: int) -> float:
        import torch

        mean, batch = 0.0, self.case.batch_size
        for _ in range(epochs):
            total = torch.zeros((), device=self.device)
            for i in range(0, rows, batch):
                self.step(*self.batch(i), total)
            mean = total.item() * batch / rows  # waits for the card
        return mean

    def forget(self) -> None:
        import torch

        del self.module, self.model, self.optimizer, self.weights
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()


class Graphed(Theirs):
    """The whole step (forward, backward, optimizer) recorded once and replayed, as PyTorch's notes on graphs do it."""

    def __init__(self, case: Case, contender: str, weights_file: str):
        import torch

        super().__init__(case, contender, weights_file)
        if self.device != "cuda":
            raise RuntimeError("PyTorch records CUDA graphs only on a card, and torch.cuda finds none")
        for group in self.optimizer.param_groups:
            if "capturable" in group:
                group["capturable"] = True
        x, y = self.batch(0)
        self.place = x.clone(), y.clone()
        self.total = torch.zeros((), device=self.device)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # optimizer slots, workspaces and algorithms are there before recording begins
                self.step(*self.place, self.total)
        torch.cuda.current_stream().wait_stream(stream)
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.step(*self.place, self.total)

    def train(self, rows: int, epochs: int) -> float:
        mean, batch = 0.0, self.case.batch_size
        for _ in range(epochs):
            self.total.zero_()
            for i in range(0, rows, batch):
                for place, source in zip(self.place, (self.x, self.y), strict=True):
                    place.copy_(source[i : i + batch], non_blocking=True)
                self.graph.replay()
            mean = self.total.item() * batch / rows
        return mean

    def forget(self) -> None:
        del self.graph, self.place
        super().forget()


# -- the process -------------------------------------------------------------------------------------------------------


def make(contender: str, case: Case, weights_file: str) -> Ours | Theirs:
    if contender in OURS:
        return Ours(case, contender, weights_file)
    return (Graphed if contender == "graph" else Theirs)(case, contender, weights_file)


def run(side: Ours | Theirs, steps: int) -> dict[str, Any]:
    """A sample of at least so many steps, in whole epochs, after one that does not count: clocks get up, jit records.

    What a training does once (``fit`` looks at all rows, jit records the step) is no part of a step.
    """
    batch = side.case.batch_size
    available = min(MOST, len(side.x) // batch)
    epochs = -(-steps // available)
    taken = min(steps, available)
    side.reset()
    time.sleep(0.02)  # threads that spin after their last task go to sleep
    busy, cpu, start = machine.busy_seconds(), time.process_time(), time.perf_counter()
    seconds, loss = side.timed(taken * batch, -(-RECORDING // taken) if side.records else 1, epochs)
    whole, own = time.perf_counter() - start, time.process_time() - cpu
    busy_after = machine.busy_seconds()
    others = None if busy is None or busy_after is None else max(busy_after - busy - own, 0.0) * seconds / whole
    return {"seconds": seconds, "steps": epochs * taken, "loss": loss, "after": math.nan, "others": others}


def describe(contender: str) -> dict[str, Any]:
    from benchmarks.gpu import card

    if contender == "cpu":
        from tinynn.backends import get

        return {"backend": get("cpu").name}
    return card.describe() if contender in OURS else card.of_torch()


def serve(contender: str, answer: Answer) -> None:
    """Obey the lines on stdin until it is closed."""
    side: Any = None
    commands = others(contender)
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "prepare":
            if side is not None:
                side.forget()
            side = None  # what is left of it goes before the next one comes
            side = make(contender, case_for(command["case"], command["batch"]), command["weights"])
            answer({"arithmetic": side.arithmetic()})
        elif what in ("check", "run"):
            answer((worker.run if what == "check" else run)(side, **command))
        else:
            answer(commands[what](**command))


def others(contender: str) -> dict[str, Callable[..., dict[str, Any]]]:
    """The commands that belong to no workload."""
    from benchmarks.gpu import accuracy, agreement, crossover, kernels

    backend = OURS.get(contender, ("", {}))[0]
    return {
        "describe": partial(describe, contender),
        "product": partial(crossover.product, backend),
        "errors": agreement.errors,
        "learn": partial(accuracy.learn, backend),
        "kernel": kernels.measured,
    }


if __name__ == "__main__":
    converse(partial(serve, sys.argv[1]))
