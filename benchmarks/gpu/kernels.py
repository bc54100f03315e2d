"""Single kernels of the card, beside what its memory and its matrix units give.

``device`` is the time of one call inside a recording (a CUDA graph of many), ``call`` that of a call from Python; the
difference is what launching costs. Rates are of ``device`` where the recording worked, else of ``call``.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from benchmarks import kernelworker
from benchmarks.cases.kernels import SHAPES, Convolution, Norm
from benchmarks.gpu.crew import Crew, last_line
from benchmarks.harness import Failed

Row = dict[str, Any]
FLOAT = 4
RECORDED = 20
"""Calls in a recording."""
ROUNDS = 5
IMAGES = 512


@dataclass(frozen=True)
class Kernel:
    """One call. bytes: what must be moved at least; flops: 2 x the multiply-adds written down, 0 where memory counts.

    make: (backend, scale) -> the call, its bytes, its flops; ``scale`` makes sizes smaller
    """

    name: str
    make: Callable[[Any, float], tuple[Callable[[], Any], float, float]]


class OnCard(kernelworker.Ours):
    """The calls of ``benchmarks.kernels``, on the card."""

    def __init__(self, backend: Any) -> None:
        self.backend, self.threads = backend, 0

    def own(self, array: Any) -> Any:
        return None if array is None else self.backend.asarray(array, array.dtype)

    def cut(self, row: Convolution, fast: bool) -> Any:
        return fast  # both are measured


def drawn(backend: Any, *shape: int) -> Any:
    """Normal numbers; in large arrays the same ones again and again, since drawing them would take longer than all."""
    numbers = np.random.default_rng(0).standard_normal(min(math.prod(shape), 1 << 20), np.float32)
    return backend.asarray(np.resize(numbers, shape), np.float32)


def scaled(n: int, scale: float) -> int:
    return max(1, round(n * scale))


# -- the calls ---------------------------------------------------------------------------------------------------------


def copy(backend: Any, scale: float) -> Any:
    x = backend.zeros((scaled(1 << 27, scale),), np.float32)
    y = backend.empty(x.shape, np.float32)

    def call() -> None:
        y[...] = x

    return call, 2 * x.nbytes, 0.0


def product(backend: Any, scale: float) -> Any:
    """Of Dense layers: 4096 rows, 4096 to 4096 units."""
    from tinynn.activation import Activation

    n = scaled(4096, scale)
    x, W, y, b = drawn(backend, n, n), drawn(backend, n, n), drawn(backend, n, n), drawn(backend, n)
    return lambda: backend.dense.forward(y, x, W, b, Activation.RELU), 3 * x.nbytes, 2.0 * n**3


def dense_small(backend: Any, scale: float) -> Any:
    """The first layer of d1."""
    from tinynn.activation import Activation

    N, I, O = scaled(100, scale), 784, 10
    x, W, y, b = drawn(backend, N, I), drawn(backend, I, O), drawn(backend, N, O), drawn(backend, O)
    call = lambda: backend.dense.forward(y, x, W, b, Activation.SIGMOID)  # noqa: E731
    return call, FLOAT * (N * I + I * O + N * O), 2.0 * N * I * O


def softmax(backend: Any, scale: float) -> Any:
    x = drawn(backend, scaled(65536, scale), 512)
    y = backend.empty(x.shape, np.float32)
    return lambda: backend.softmax.forward(y, x), 2 * x.nbytes, 0.0


def cross_entropy(backend: Any, scale: float) -> Any:
    x = drawn(backend, scaled(65536, scale), 512)
    p, rows = backend.empty(x.shape, np.float32), backend.empty(x.shape[:1], np.float32)
    labels = backend.asarray(np.arange(len(x)) % 512, np.int64)
    return lambda: backend.softmax.sparse_cross_entropy(rows, p, x, labels), 2 * x.nbytes, 0.0


def layernorm(backend: Any, scale: float) -> Any:
    x = drawn(backend, scaled(65536, scale), 512)
    y, gamma, beta = backend.empty(x.shape, np.float32), drawn(backend, 512), drawn(backend, 512)
    mean, rstd = (backend.empty(x.shape[:1], np.float32) for _ in range(2))
    return lambda: backend.layernorm.forward(y, mean, rstd, x, gamma, beta, 1e-3), 2 * x.nbytes, 0.0


def dropout(backend: Any, scale: float) -> Any:
    x = drawn(backend, scaled(1 << 25, scale))
    y, mask = backend.empty(x.shape, np.float32), backend.empty(x.shape, np.bool_)
    step = backend.asarray(np.zeros(1, np.uint32), np.uint32)
    return lambda: backend.dropout.forward(y, mask, x, 0.5, (1, 2), step, 3, 4), 2.25 * x.nbytes, 0.0


def adam(backend: Any, scale: float) -> Any:
    from tinynn.backends.base import State

    n = scaled(1 << 25, scale)
    w, g = drawn(backend, n), drawn(backend, n)
    m, v = backend.zeros((n,), np.float32), backend.zeros((n,), np.float32)
    numbers = np.zeros(len(State))
    numbers[[State.ITERATIONS, State.LEARNING_RATE, State.SCALE, State.PRODUCT]] = 1, 1e-3, 1, 1
    state = backend.asarray(numbers, np.float64)
    call = lambda: backend.optimizers.adam(w, m, v, None, g, state, 0.9, 0.999, 1e-7, 0.0)  # noqa: E731
    return call, 7 * w.nbytes, 0.0


def square_sum(backend: Any, scale: float) -> Any:
    from tinynn.backends.base import State

    g, state = drawn(backend, scaled(1 << 25, scale)), backend.zeros((len(State),), np.float64)
    return lambda: backend.optimizers.square_sum(state, g), g.nbytes, 0.0


def embedding(backend: Any, scale: float) -> Any:
    W = drawn(backend, scaled(50_000, scale), 256)
    ids = backend.asarray(np.random.default_rng(1).integers(0, len(W), scaled(65536, scale)), np.int64)
    y = backend.empty((len(ids), 256), np.float32)
    return lambda: backend.embedding.forward(y, W, ids), 2 * y.nbytes, 0.0


def attention(backend: Any, scale: float) -> Any:
    N, T, A, D = scaled(16, scale), scaled(512, scale), 8, 64
    q, k, v = (drawn(backend, N, T, A, D) for _ in range(3))
    y, p = backend.empty(q.shape, np.float32), backend.empty((N, A, T, T), np.float32)
    call = lambda: backend.attention.forward(y, p, q, k, v, None, None, D**-0.5, False)  # noqa: E731
    return call, 4 * q.nbytes + p.nbytes, 4.0 * N * A * T * T * D


def lstm(direction: str, N: int) -> Callable[[Any, float], Any]:
    """The layer of the benchmark: 100 steps, 64 features, 256 units."""

    def make(backend: Any, scale: float) -> Any:
        from tinynn.activation import Activation

        T, F, H = scaled(100, scale), 64, scaled(256, scale)
        x, W, U, b = drawn(backend, N, T, F), drawn(backend, F, 4 * H), drawn(backend, H, 4 * H), drawn(backend, 4 * H)
        W, U = W * W.dtype.type(0.05), U * U.dtype.type(0.05)
        h, c, gates = (backend.empty((N, T, n * H), np.float32) for n in (1, 1, 4))
        kinds = Activation.TANH, Activation.SIGMOID
        flops = 2.0 * N * T * (F + H) * 4 * H
        moved = FLOAT * (N * T * (F + 6 * H) + 4 * H * (F + H))

        def forward() -> None:
            backend.lstm.forward(h, c, gates, x, W, U, b, None, None, None, None, *kinds, False)

        if direction == "forward":
            return forward, moved, flops
        forward()
        dx, dW, dU, db = (backend.empty(a.shape, np.float32) for a in (x, W, U, b))
        dlast, none = drawn(backend, N, H), (None,) * 3

        def backward() -> None:  # gates is lost, and holds other numbers then: the same time
            backend.lstm.backward(
                dx, dW, dU, db, None, None, None, dlast, None, x, W, U, h, c, gates, None, *none, *kinds, False
            )

        return backward, 2 * moved, 2 * flops

    return make


def of_shape(number: int, contender: str, which: str) -> Callable[[Any, float], Any]:
    """A row of ``benchmarks.kernels``, with more images."""

    def make(backend: Any, scale: float) -> Any:
        shape = replace(SHAPES[number], N=scaled(IMAGES, scale))
        call, _ = OnCard(backend).calls(shape)[contender][which]
        work = shape.work(which)
        return (call, 0.0, work) if isinstance(shape, Convolution) else (call, work, 0.0)

    return make


@cache
def table() -> dict[str, Kernel]:
    found = [
        Kernel("copy", copy),
        Kernel("dense 4096", product),
        Kernel("dense d1", dense_small),
    ]
    for number, shape in enumerate(SHAPES):
        if shape.model not in ("resnet20", "vgg64") or (isinstance(shape, Convolution) and shape.first):
            continue
        name = shape.name.replace(f" {shape.N}x", f" {IMAGES}x", 1)
        for which in (w for w in shape.passes if w != "both"):
            if isinstance(shape, Convolution):
                found.append(Kernel(f"{name} {which}, TF32", of_shape(number, "fast_math", which)))
                if (shape.model, shape.side) == ("resnet20", 16):
                    found.append(Kernel(f"{name} {which}, float32", of_shape(number, "tinynn", which)))
            elif not isinstance(shape, Norm) or shape.model == "resnet20":
                found.append(Kernel(f"{name} {which}", of_shape(number, "tinynn", which)))
    rest = (softmax, cross_entropy, layernorm, dropout, adam, square_sum, embedding, attention)
    found += [Kernel(make.__name__.replace("_", " "), make) for make in rest]
    found += [Kernel(f"lstm 256, batch {N}, {d}", lstm(d, N)) for N in (64, 256) for d in ("forward", "backward")]
    return {kernel.name: kernel for kernel in found}


# -- measuring ---------------------------------------------------------------------------------------------------------


def measured(name: str, scale: float, seconds: float) -> Row:
    """Times and rates of one kernel, in the card's process."""
    from tinynn.backends import get

    backend = get("gpu")
    call, moved, flops = table()[name].make(backend, scale)
    wait = backend.synchronize or (lambda: None)
    call()
    wait()
    row: Row = {"name": name, "call": best(call, wait, seconds), "bytes": moved, "flops": flops}
    try:
        row["device"] = best(recorded(backend, call), wait, seconds) / RECORDED
    except Exception as error:
        row["not_recorded"] = last_line(error) or repr(error)
    took = row.get("device", row["call"])
    row["rate"] = 1e-12 * flops / took if flops else 1e-9 * moved / took
    row["unit"] = "TFLOP/s" if flops else "GB/s"
    del call
    gc.collect()
    if hasattr(backend.xp, "get_default_memory_pool"):
        backend.xp.get_default_memory_pool().free_all_blocks()  # the next kernel needs other sizes
    return row


def recorded(backend: Any, call: Callable[[], Any]) -> Callable[[], Any]:
    """What replays ``RECORDED`` calls."""
    if backend.record is None:
        raise RuntimeError("this backend records nothing")

    def calls() -> None:
        for _ in range(RECORDED):
            call()

    replay: Callable[[], Any] = backend.record(calls)
    replay()
    return replay


def best(call: Callable[[], Any], wait: Callable[[], Any], seconds: float) -> float:
    """Seconds of a call, of the best of some rounds; the card is waited for at the end of each."""

    def times(repeats: int) -> float:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        return time.perf_counter() - start

    repeats = max(1, math.ceil(seconds / max(times(1), 1e-9)))
    repeats = max(1, min(10_000, math.ceil(repeats * seconds / max(times(repeats), 1e-9))))
    return min(times(repeats) for _ in range(ROUNDS)) / repeats


def all_kernels(
    crew: Crew, names: Sequence[str], scale: float, seconds: float, tell: Callable[[list[Row]], None]
) -> list[Row]:
    """Every kernel, as far as the time goes; ``tell`` takes those so far."""
    found: list[Row] = []
    print(heading(), flush=True)
    for name in names:
        if crew.clock.over:
            found.append({"name": name, "skipped": "the time is over"})
            continue
        try:
            found.append(crew.ask("gpu", do="kernel", name=name, scale=scale, seconds=seconds))
        except Failed as failure:
            found.append({"name": name, "error": last_line(failure)})
        print(line(found[-1], found[0]), flush=True)
        tell(found)
    return found


def heading() -> str:
    text = f"  {'kernel':<58} {'device us':>10} {'call us':>10} {'':>10} {'':>8} {'of copy':>8}"
    return f"{text}\n  {'-' * (len(text) - 2)}"


def line(row: Row, copied: Row) -> str:
    if "error" in row:
        return f"  {row['name']:<58} failed: {row['error'][:160]}"
    times = [f"{1e6 * row[kind]:10.1f}" if kind in row else f"{'-':>10}" for kind in ("device", "call")]
    share = f"{row['rate'] / copied['rate']:8.0%}" if row["unit"] == "GB/s" and copied.get("unit") == "GB/s" else ""
    return f"  {row['name']:<58} {' '.join(times)} {row['rate']:10.4g} {row['unit']:>8} {share:>8}".rstrip()
