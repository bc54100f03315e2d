"""python -m benchmarks.feeding: what random changes to CIFAR-10's images cost the training of a VGG-like network.

The network is trained by ``fit`` on batches of 64 images, 32 x 32 in three colours, in turns with

arrays   float32 images that lie ready in memory
flow     ImageDataGenerator(rotation, shifts, shear, zoom, horizontal flip, rescale).flow(uint8 images), which a thread
         computes ahead

waiting  the share of an epoch's time in which fit waited for a batch of the flow
longer   by how much a step is longer with the flow, of the best rounds: the whole price, the thread's share of the
         cores included
making   CPU milliseconds that one batch takes to be made, alone and in one thread

Images are CIFAR-10's where TINYNN_DATA has them, else noise, which takes as long.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.__main__ import positive
from benchmarks.cases import find

BATCH = 64
LIMIT = 0.1
"""The share of the training time that feeding may cost."""


def images(rows: int) -> tuple[np.ndarray, np.ndarray]:
    """(x, y): uint8 (rows, 32, 32, 3) and labels (rows,)."""
    from tinynn.datasets import cifar10, source

    if source.given("cifar10") is not None:
        (x, y), _ = cifar10.load_data()
        return x[:rows], y[:rows].reshape(-1).astype(np.int64)
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8), rng.integers(0, 10, rows)


def flow_of(x: np.ndarray, y: np.ndarray) -> Any:
    from tinynn.data import ImageDataGenerator

    generator = ImageDataGenerator(
        rotation_range=15,
        width_shift_range=0.1,
        height_shift_range=0.1,
        shear_range=0.2,
        zoom_range=0.2,
        horizontal_flip=True,
        rescale=1 / 255,
    )
    return generator.flow(x, y, batch_size=BATCH, seed=1)


def making(flow: Any, batches: int = 20, rounds: int = 5) -> float:
    """CPU milliseconds of one batch, of the best round."""
    times = []
    for number in range(rounds + 1):  # the first compiles
        epoch = flow.dataset.epoch(number)
        next(epoch)
        start = process_time()
        for _ in range(batches):
            next(epoch)
        times.append((process_time() - start) / batches)
        epoch.close()
    return 1000 * min(times[1:])


def measured(rounds: int, steps: int) -> dict[str, Any]:
    """Rounds of both in turns; milliseconds per step."""
    x, y = images(BATCH * max(steps, 21))
    flow, ready = flow_of(x, y), x.astype(np.float32) / 255
    rows = steps * BATCH
    models = {name: find("vgg64").ours() for name in ("arrays", "flow")}
    train: dict[str, Callable[[], Any]] = {
        "arrays": lambda: models["arrays"].fit(ready[:rows], y[:rows], batch_size=BATCH, verbose=0),
        "flow": lambda: models["flow"].fit(flow, steps_per_epoch=steps, verbose=0),
    }
    times: dict[str, list[float]] = {name: [] for name in train}
    waited = []
    for number in range(rounds + 1):  # the first compiles
        for name in sorted(train, reverse=number % 2 == 1):
            start = perf_counter()
            train[name]()
            if number:
                times[name].append(1000 * (perf_counter() - start) / steps)
                if name == "flow":
                    waited.append(flow.waited)
    best = {name: min(values) for name, values in times.items()}
    return {
        "machine": machine.describe(),
        "rounds": rounds,
        "steps": steps,
        "milliseconds": times,
        "best": best,
        "waiting": median(waited),
        "longer": best["flow"] / best["arrays"] - 1,
        "making": making(flow),
    }


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feeding", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rounds", type=positive, default=5, help="epochs of each (default 5)")
    parser.add_argument("--steps", type=positive, default=60, help="batches of an epoch (default 60)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the numbers as JSON")
    options = parser.parse_args(argv)
    result = measured(options.rounds, options.steps)
    best = result["best"]
    print(f"a step on arrays  {best['arrays']:7.2f} ms")
    print(f"a step on a flow  {best['flow']:7.2f} ms   {100 * result['longer']:+.1f} %")
    print(f"waiting           {100 * result['waiting']:7.2f} % of an epoch (the median of {options.rounds})")
    share = 100 * result["making"] / best["arrays"]
    print(f"making a batch    {result['making']:7.2f} ms of one core, {share:.1f} % of a step")
    if options.output is not None:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    return int(result["longer"] > LIMIT)


if __name__ == "__main__":
    raise SystemExit(main())
