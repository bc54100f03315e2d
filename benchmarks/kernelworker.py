"""The kernels of one library, alone in a process; ``kernels`` asks. Commands and answers are those of ``worker``:

    {"do": "prepare", "shape": k, "images": n or null}  -> {"threads", "results": {contender: {pass: [sum, norm]}}}
    {"do": "run", "contender", "pass", "repeats"}       -> {"seconds"} of one call
    {"do": "peak"}                                      -> {"gflops"}, of tinynn's process only

``results`` say what was computed: a sum with fixed weights over the results, channels last, and their norm.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cases.kernels import Convolution, Norm, Pooling, Shape, shape
from benchmarks.worker import Answer, converse

Calls = dict[str, tuple[Callable[[], Any], Callable[[Any], list[np.ndarray]]]]
"""By pass: the call, and what makes its results, channels last, of what it returned."""
EPSILON = 1e-5


def images(row: Shape) -> tuple[np.ndarray, np.ndarray]:
    """x and dy, channels last, equal in both processes."""
    rng = np.random.default_rng(0)
    out, O = row.side, row.C
    if isinstance(row, Convolution):
        out, O = row.out, row.O
    elif isinstance(row, Pooling):
        out = row.side // 2
    x = rng.standard_normal((row.N, row.side, row.side, row.C), np.float32)
    return x, rng.standard_normal((row.N, out, out, O), np.float32)


def weights(row: Convolution) -> tuple[np.ndarray, np.ndarray | None]:
    rng = np.random.default_rng(1)
    W = rng.standard_normal((row.size, row.size, row.C, row.O), np.float32) / np.float32(row.size * row.C**0.5)
    return W, rng.standard_normal(row.O, np.float32) if row.bias else None


def summary(results: list[np.ndarray]) -> list[float]:
    """[a sum with weights by position, the norm] of all results."""
    flat = np.concatenate([r.astype(np.float64).ravel() for r in results])
    return [float(flat @ np.cos(np.arange(flat.size))), float(np.sqrt(flat @ flat))]


class Ours:
    """The kernels of the cpu backend; where there is a faster algorithm that rounds more, it is ``fast_math``."""

    def __init__(self) -> None:
        from tinynn.backends import get
        from tinynn.backends.cpu import threads

        self.backend, self.threads = get("cpu"), threads.get_num_threads()

    def own(self, array: np.ndarray | None) -> Any:
        """In the backend's own memory."""
        if array is None:
            return None
        copy = self.backend.empty(array.shape, array.dtype)
        copy[...] = array
        return copy

    def calls(self, row: Shape) -> dict[str, Calls]:
        x, dy = map(self.own, images(row))
        if isinstance(row, Pooling):
            return {"tinynn": self.pooling(x, dy)}
        if isinstance(row, Norm):
            return {"tinynn": self.norm(x, dy)}
        plain, fast = (self.convolution(row, x, dy, admitted) for admitted in (False, True))
        return {"tinynn": plain} | ({"fast_math": fast} if self.cut(row, True) != self.cut(row, False) else {})

    @staticmethod
    def window(row: Convolution) -> Any:
        from tinynn.window import Window

        pads = row.padding, row.padding
        return Window((row.size, row.size), (row.stride, row.stride), (pads, pads))

    def cut(self, row: Convolution, fast: bool) -> Any:
        """Which algorithms are used, and how the work is cut for them."""
        from tinynn.backends.cpu.layout import layout

        return layout(row.N, row.side, row.side, row.C, row.O, self.window(row), 1, fast, 1)

    def convolution(self, row: Convolution, x: Any, dy: Any, fast: bool) -> Calls:
        from tinynn.activation import Activation

        W, b = map(self.own, weights(row))
        y, dx, dW = (self.own(np.zeros_like(a)) for a in (dy, x, W))
        db = None if b is None else self.own(np.zeros_like(b))
        conv2d, rest = self.backend.conv2d, (self.window(row), 1, Activation.LINEAR, fast)
        wanted = None if row.first else dx

        def forward() -> None:
            conv2d.forward(y, x, W, b, *rest)

        def backward(dx: Any, dW: Any, db: Any) -> None:
            conv2d.backward(dx, dW, db, dy, x, W, y, *rest)

        def both() -> None:
            forward()
            backward(wanted, dW, db)

        gradients = [dW] if db is None else [dW, db]
        calls: Calls = {
            "forward": (forward, lambda _: [y]),
            "weights": (partial(backward, None, dW, db), lambda _: gradients),
            "inputs": (partial(backward, dx, None, None), lambda _: [dx]),
            "both": (both, lambda _: [y, *([] if row.first else [dx]), *gradients]),
        }
        return {which: calls[which] for which in row.passes}

    def pooling(self, x: Any, dy: Any) -> Calls:
        from tinynn.window import Window

        window, kernels = Window((2, 2), (2, 2)), self.backend.pool2d
        y, dx, place = self.own(np.zeros_like(dy)), self.own(np.zeros_like(x)), self.backend.empty(dy.shape, np.uint8)
        return {
            "forward": (lambda: kernels.max_forward(y, place, x, window), lambda _: [y]),
            "backward": (lambda: kernels.max_backward(dx, dy, place, window), lambda _: [dx]),
        }

    def norm(self, x: Any, dy: Any) -> Calls:
        """Normalization, and relu in place behind it."""
        from tinynn.activation import Activation

        C = x.shape[-1]
        rows, dy_rows = x.reshape(-1, C), dy.reshape(-1, C)
        y, dx = self.own(np.zeros_like(rows)), self.own(np.zeros_like(rows))
        gamma, beta = self.own(np.ones(C, np.float32)), self.own(np.zeros(C, np.float32))
        mean, variance, rstd, dgamma, dbeta = (self.own(np.zeros(C, np.float32)) for _ in range(5))
        norm, activation = self.backend.batchnorm, self.backend.activation

        def forward() -> None:
            norm.forward(y, mean, variance, rstd, rows, gamma, beta, EPSILON)
            activation.forward(y, y, Activation.RELU, 0.0)

        def backward() -> None:
            activation.backward(dy_rows, dy_rows, None, y, Activation.RELU, 0.0)  # in place: twice is as good as once
            norm.backward(dx, dgamma, dbeta, dy_rows, rows, mean, rstd, gamma)

        return {"forward": (forward, lambda _: [y]), "backward": (backward, lambda _: [dx, dgamma, dbeta])}


IMAGES, KERNEL, VECTOR = (0, 2, 3, 1), (2, 3, 1, 0), (0,)
"""Which of PyTorch's axes stands where in ours."""


def ordered(axes: list[tuple[int, ...]], tensors: list[Any]) -> list[np.ndarray]:
    """The tensors, as many as there are axes for, as ours would be."""
    return [t.permute(a).numpy() for t, a in zip(tensors, axes, strict=False)]


class Theirs:
    """PyTorch's operators, without autograd, channels second: ``eager`` in that order, ``channels_last`` in the other.

    They allocate their results in every call, as they do in training.
    """

    def __init__(self) -> None:
        import torch

        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.threads, self.aten = torch.get_num_threads(), torch.ops.aten

    def calls(self, row: Shape) -> dict[str, Calls]:
        import torch

        make = {Convolution: self.convolution, Pooling: self.pooling, Norm: self.norm}[type(row)]
        orders = {"eager": torch.contiguous_format, "channels_last": torch.channels_last}
        return {name: make(row, order) for name, order in orders.items()}

    @staticmethod
    def images(row: Shape, order: Any) -> Any:
        import torch

        return [torch.from_numpy(a).permute(0, 3, 1, 2).contiguous(memory_format=order) for a in images(row)]

    def convolution(self, row: Any, order: Any) -> Calls:
        import torch

        x, dy = self.images(row, order)
        W, b = (None if a is None else torch.from_numpy(a) for a in weights(row))
        W = W.permute(3, 2, 0, 1).contiguous(memory_format=order)
        geometry = [row.stride] * 2, [row.padding] * 2, [1, 1], False, [0, 0], 1

        def forward() -> list[Any]:
            return [self.aten.convolution(x, W, b, *geometry)]

        def backward(dx: bool, dW: bool) -> list[Any]:
            mask = [dx, dW, dW and row.bias]
            results = self.aten.convolution_backward(dy, x, W, [row.O], *geometry, mask)
            return [r for r, wanted in zip(results, mask, strict=True) if wanted]

        calls: Calls = {
            "forward": (forward, partial(ordered, [IMAGES])),
            "weights": (partial(backward, False, True), partial(ordered, [KERNEL, VECTOR])),
            "inputs": (partial(backward, True, False), partial(ordered, [IMAGES])),
            "both": (
                lambda: forward() + backward(not row.first, True),
                partial(ordered, [IMAGES, *([] if row.first else [IMAGES]), KERNEL, VECTOR]),
            ),
        }
        return {which: calls[which] for which in row.passes}

    def pooling(self, row: Any, order: Any) -> Calls:
        x, dy = self.images(row, order)
        geometry = [2, 2], [2, 2], [0, 0], [1, 1], False
        _, places = self.aten.max_pool2d_with_indices(x, *geometry)
        return {
            "forward": (lambda: [self.aten.max_pool2d_with_indices(x, *geometry)[0]], partial(ordered, [IMAGES])),
            "backward": (
                lambda: [self.aten.max_pool2d_with_indices_backward(dy, x, *geometry, places)],
                partial(ordered, [IMAGES]),
            ),
        }

    def norm(self, row: Any, order: Any) -> Calls:
        import torch

        x, dy = self.images(row, order)
        gamma, beta = torch.ones(row.C), torch.zeros(row.C)

        def forward() -> list[Any]:
            y, *statistics = self.aten.native_batch_norm(x, gamma, beta, None, None, True, 0.1, EPSILON)
            return [y.relu_(), *statistics]

        y, *statistics = forward()

        def backward() -> list[Any]:
            dz = self.aten.threshold_backward(dy, y, 0)
            return list(
                self.aten.native_batch_norm_backward(
                    dz, x, gamma, None, None, *statistics, True, EPSILON, [True, True, True]
                )
            )

        return {
            "forward": (forward, partial(ordered, [IMAGES])),
            "backward": (backward, partial(ordered, [IMAGES, VECTOR, VECTOR])),
        }


def prepared(calls: dict[str, Calls]) -> dict[str, dict[str, list[float]]]:
    """Do every call once; the summary of what came out."""
    return {
        name: {which: summary(results(call())) for which, (call, results) in passes.items()}
        for name, passes in calls.items()
    }


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of one call, after a pause in which idle threads go to sleep, and a call that wakes them."""
    time.sleep(0.02)
    call()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def serve(library: str, answer: Answer) -> None:
    """Obey the lines on stdin until it is closed."""
    side = Ours() if library == "tinynn" else Theirs()
    calls: dict[str, Calls] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "prepare":
            calls = side.calls(shape(command["shape"], command["images"]))
            answer({"threads": side.threads, "results": prepared(calls)})
        elif command["do"] == "peak":
            from benchmarks import peak

            answer({"gflops": peak.gflops(side.threads)})
        else:
            call, _ = calls[command["contender"]][command["pass"]]
            answer({"seconds": timed(call, command["repeats"])})


if __name__ == "__main__":
    converse(partial(serve, sys.argv[1]))
