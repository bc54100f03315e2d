"""One contender in its own process, so that no two thread pools share one.

Commands come as JSON lines on stdin, answers go as JSON lines to stdout:

    {"do": "prepare", "weights": FILE}      -> {"threads": n}    tinynn writes FILE, PyTorch reads it
    {"do": "run", "steps": n}               -> {"seconds", "steps", "loss", "after", "others"}

Every run starts from the same weights and fresh optimizer state, so its losses are a function of the steps alone:
``loss`` is the mean over the batches of the last epoch, ``after`` that of the trained weights on the first rows.
``others`` are the CPU seconds that other processes used during the timed part, None where the system does not tell.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.cases import find
from benchmarks.cases.base import VARIANTS, Case

JUDGED_ROWS = 1000


class Ours:
    """tinynn, through ``fit``; options are those of ``compile``."""

    def __init__(self, case: Case, weights_file: str, **options: Any):
        from tinynn.backends import host
        from tinynn.random import set_seed

        set_seed(1)
        self.case, self.model = case, case.ours(**options)
        self.x, self.y = case.data()
        self.weights = self.model.get_weights()
        self.state = [host(v).copy() for v in self.model.optimizer.variables]
        np.savez(weights_file, *self.weights)

    @property
    def threads(self) -> int:
        from tinynn.backends.cpu import threads

        return int(threads.get_num_threads())

    def reset(self) -> None:
        self.model.set_weights(self.weights)
        for variable, start in zip(self.model.optimizer.variables, self.state, strict=True):
            variable[...] = self.model.backend.asarray(start, start.dtype)

    def train(self, rows: int, epochs: int) -> float:
        x, y = self.x[:rows], self.y[:rows]
        history = self.model.fit(x, y, batch_size=self.case.batch_size, epochs=epochs, verbose=0, shuffle=False)
        return float(history.history["loss"][-1])

    def judge(self) -> float:
        x, y = self.x[:JUDGED_ROWS], self.y[:JUDGED_ROWS]
        return float(np.ravel(self.model.evaluate(x, y, batch_size=JUDGED_ROWS, verbose=0))[0])


class Theirs:
    """PyTorch, through the loop that people write; the module stands on ``device``, the data on the host."""

    def __init__(self, case: Case, variant_name: str, weights_file: str, device: str = "cpu"):
        import torch

        variant = VARIANTS[variant_name]
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.case, self.device = case, device
        self.criterion = getattr(torch.nn.functional, case.criterion)
        x, y = case.data()
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.module = case.theirs()
        with np.load(weights_file) as weights:
            case.load(self.module, [weights[name] for name in weights.files])
        if self.x.ndim == 4:  # ours are channels last; PyTorch wants the channels second, in either order in memory
            layout = torch.channels_last if variant.channels_last else torch.contiguous_format
            self.x = self.x.permute(0, 3, 1, 2).contiguous(memory_format=layout)
            self.module.to(memory_format=layout)
        self.module.to(device)
        self.weights = [p.detach().clone() for p in self.module.state_dict().values()]
        self.optimizer = case.optimizer(self.module.parameters(), **({"fused": True} if variant.fused else {}))
        self.model = torch.compile(self.module) if variant.compile else self.module

    @property
    def threads(self) -> int:
        import torch

        return int(torch.get_num_threads())

    def reset(self) -> None:
        """Optimizer state is zeroed where it stands, so that no sample pays for its allocation."""
        for tensor, start in zip(self.module.state_dict().values(), self.weights, strict=True):
            tensor.copy_(start)
        for state in self.optimizer.state.values():
            for value in state.values():
                if value is not None:
                    value.zero_()

    def train(self, rows: int, epochs: int) -> float:
        import torch

        model, optimizer, criterion, batch = self.model, self.optimizer, self.criterion, self.case.batch_size
        x, y = self.x[:rows], self.y[:rows]
        mean = 0.0
        for _ in range(epochs):
            total = torch.zeros(())
            for i in range(0, rows, batch):
                optimizer.zero_grad(set_to_none=True)
                loss = criterion(model(x[i : i + batch]), y[i : i + batch])
                loss.backward()
                optimizer.step()
                total += loss.detach()
            mean = total.item() * batch / rows
        return mean

    def judge(self) -> float:
        import torch

        x, y = (a[:JUDGED_ROWS].to(self.device) for a in (self.x, self.y))
        self.module.eval()
        with torch.no_grad():
            loss = self.criterion(self.module(x), y)
        self.module.train()
        return float(loss)


def run(contender: Ours | Theirs, steps: int) -> dict[str, Any]:
    """One sample of at least ``steps`` steps: one epoch over as many rows, or as many whole epochs as that takes."""
    batch, available = contender.case.batch_size, len(contender.x) // contender.case.batch_size
    epochs = -(-steps // available)
    rows = min(steps, available) * batch
    contender.reset()
    time.sleep(0.02)  # threads that spin after their last task go to sleep
    busy, cpu, start = machine.busy_seconds(), time.process_time(), time.perf_counter()
    loss = contender.train(rows, epochs)
    seconds, own = time.perf_counter() - start, time.process_time() - cpu
    busy_after = machine.busy_seconds()
    others = None if busy is None or busy_after is None else max(busy_after - busy - own, 0.0)
    return {
        "seconds": seconds,
        "steps": epochs * rows // batch,
        "loss": loss,
        "after": contender.judge(),
        "others": others,
    }


Answer = Callable[[dict[str, Any]], None]


def serve(case_name: str, contender_name: str, answer: Answer) -> None:
    """Obey the lines on stdin until it is closed."""
    case, contender = find(case_name), None
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "prepare":
            file = command["weights"]
            contender = Ours(case, file) if contender_name == "tinynn" else Theirs(case, contender_name, file)
            answer({"threads": contender.threads})
        else:
            assert contender is not None, "run before prepare"
            answer(run(contender, command["steps"]))


def converse(obey: Callable[[Answer], None]) -> None:
    """Let ``obey`` read commands from stdin and answer them; an error is answered too, and ends the process."""
    # What libraries print must not get between the answers: stdout itself becomes stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        print(json.dumps(message), file=answers, flush=True)

    try:
        obey(answer)
    except Exception:
        answer({"error": traceback.format_exc()})
        sys.exit(1)


if __name__ == "__main__":
    converse(partial(serve, sys.argv[1], sys.argv[2]))
