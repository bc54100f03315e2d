"""The networks of the examples, trained for a fixed moment on the cpu and on the card: do they reach the same?

Weights, order and masks are the same, so that only rounding differs, which training then magnifies.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.crew import Crew, last_line
from benchmarks.harness import Failed

Row = dict[str, Any]
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
SEED = 1


@dataclass(frozen=True)
class Example:
    """A network of ``examples/``, for one epoch over some rows.

    margin: by how much the card's accuracy may be below the cpu's. After so short a training, single runs that differ
    in nothing but rounding differ by about a third of it.
    """

    file: str
    model: str
    data: str
    rows: int
    tested: int
    margin: float


EXAMPLE = {
    "mnist_mlp": Example("mnist_mlp", "mlp", "mnist", 60_000, 10_000, 0.005),
    "mnist_cnn": Example("mnist_cnn", "c1", "mnist", 30_000, 10_000, 0.01),
    "mnist_cnn_m2": Example("mnist_cnn", "m2", "mnist", 15_000, 10_000, 0.01),
    "cifar10_vgg": Example("cifar10", "vgg", "cifar10", 12_800, 4_000, 0.04),
    "cifar10_resnet20": Example("cifar10", "resnet20", "cifar10", 12_800, 4_000, 0.06),
}


def loaded(file: str) -> Any:
    """An example as a module."""
    spec = importlib.util.spec_from_file_location(f"examples_{file}", EXAMPLES / f"{file}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def network(example: Example, steps_of: int) -> tuple[Any, Any, int]:
    """(the model, its optimizer, rows per step), as the example makes them; ``steps_of``: rows of the training."""
    from tinynn import layers as L
    from tinynn.models import Sequential

    if example.model == "mlp":  # the example builds it inside of main
        layers = [L.Dense(512, activation="relu", input_shape=(784,)), L.Dense(10, activation="softmax")]
        return Sequential(layers), "sgd", 100
    build, optimizer, batch = loaded(example.file).MODELS[example.model]
    return build(), optimizer(-(-steps_of // batch)) if callable(optimizer) else optimizer, batch


def images(example: Example, rows: int) -> list[np.ndarray]:
    """x and y of the training, x and y of the test, as the example makes them."""
    from tinynn import datasets

    few = few_batches() if example.data == "cifar10" else None
    (x, y), (x_test, y_test) = few or getattr(datasets, example.data).load_data()
    arrays = [x[:rows], y[:rows].reshape(-1), x_test[: example.tested], y_test[: example.tested].reshape(-1)]
    for k in (0, 2):
        arrays[k] = arrays[k].astype(np.float32)
        if example.data == "mnist":
            arrays[k] = arrays[k].reshape((-1, 784) if example.model == "mlp" else (-1, 28, 28, 1)) / np.float32(255)
    return arrays


def few_batches() -> Any:
    """CIFAR-10 from a folder that has the test batch and not all of the others, as it may be brought to a card."""
    from tinynn.datasets import cifar10, source

    folder = source.given("cifar10")
    if folder is None:
        return None
    names = [name for name in cifar10.BATCHES if cifar10.found(folder, name)]
    if len(names) in (0, len(cifar10.BATCHES)) or names[-1] != cifar10.BATCHES[-1]:
        return None
    *train, test = (cifar10.read_batch(folder, name) for name in names)
    return tuple(np.concatenate(arrays) for arrays in zip(*train, strict=True)), test


def learn(backend: str, example: str, rows: int | None = None) -> Row:
    """Train, and judge on the test set; in a worker."""
    import tinynn

    what = EXAMPLE[example]
    rows = rows or what.rows
    x, y, x_test, y_test = images(what, rows)
    rows = len(x)
    if rows < len(x_test):  # a rehearsal
        x_test, y_test = x_test[:rows], y_test[:rows]
    tinynn.set_seed(SEED)
    model, optimizer, batch = network(what, rows)
    model.backend = backend
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch, epochs=1, verbose=0)
    seconds = time.perf_counter() - start
    loss, accuracy = model.evaluate(x_test, y_test, batch_size=250, verbose=0)
    return {"accuracy": float(accuracy), "loss": float(loss), "seconds": seconds, "steps": -(-rows // batch)}


def available(example: Example) -> str | None:
    """What keeps its data from being read, None where nothing does; nothing is downloaded."""
    from tinynn.datasets import source

    if example.data == "mnist" or source.given(example.data) is not None:
        return None
    return f"TINYNN_DATA names no folder with {example.data}/"


def compare(crew: Crew, names: Sequence[str], rows: int | None, tell: Callable[[list[Row]], None]) -> list[Row]:
    """Every example on the cpu and on the card; ``tell`` takes those so far."""
    found: list[Row] = []
    for name in names:
        example = EXAMPLE[name]
        one: Row = {"name": name}
        missing = available(example) or ("the time is over" if crew.clock.over else None)
        if missing:
            one["skipped"] = missing
        else:
            try:
                for contender in ("gpu", "cpu"):
                    one[contender] = crew.ask(contender, do="learn", example=name, rows=rows)
                behind = one["cpu"]["accuracy"] - one["gpu"]["accuracy"]
                one |= {"margin": example.margin, "agrees": behind <= example.margin}
            except Failed as failure:
                one["error"] = last_line(failure)
        found.append(one)
        print(line(one), flush=True)
        tell(found)
    return found


def line(row: Row) -> str:
    text = f"  {row['name']:<18}"
    if "skipped" in row:
        return f"{text}skipped: {row['skipped']}"
    if "error" in row:
        return f"{text}failed: {row['error']}"
    sides = ",  ".join(f"{c} {row[c]['accuracy']:.4f} in {row[c]['seconds']:.1f} s" for c in ("cpu", "gpu"))
    return f"{text}{sides}" + ("" if row["agrees"] else f"   BELOW THE CPU by more than {row['margin']}")
