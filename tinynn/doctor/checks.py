"""Does it work? A tiny model learns on each backend that is there."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from tinynn import layers, optim, random
from tinynn.backends import Backend
from tinynn.doctor.facts import said
from tinynn.models import Sequential

STEPS = 10


def check(backend: str | Backend) -> dict[str, Any]:
    """Whether a tiny model learns on that backend: ``works``, and what happened; ``do`` where the error says that."""
    try:
        start = time.perf_counter()
        before, after = train(backend)
        seconds = time.perf_counter() - start
    except Exception as error:
        return {"works": False, "says": getattr(error, "what", said(error)), "do": getattr(error, "do", "")}
    text = f"{STEPS} steps in {seconds:.2f} s, loss {before:.4f} -> {after:.4f}"
    return {"works": bool(after < before), "says": text, "loss": after}


def train(backend: str | Backend) -> tuple[float, float]:
    """The loss before and after some steps: the same numbers in every run."""
    random.set_seed(0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((16 * STEPS, 8), np.float32)
    y = (x @ rng.standard_normal((8, 3), np.float32)).argmax(axis=1)
    model = Sequential(
        [layers.Dense(16, activation="relu", input_shape=(8,)), layers.Dense(3, activation="softmax")], backend=backend
    )
    model.compile(optim.Adam(0.01), "sparse_categorical_crossentropy")
    before = float(model.evaluate(x, y, verbose=0))
    model.fit(x, y, batch_size=16, epochs=1, verbose=0)
    return before, float(model.evaluate(x, y, verbose=0))


def check_all() -> dict[str, dict[str, Any]]:
    results = {name: check(name) for name in ("cpu", "gpu")}
    cpu, gpu = results["cpu"], results["gpu"]
    if cpu["works"] and gpu["works"] and abs(gpu["loss"] - cpu["loss"]) > 1e-3 * cpu["loss"]:
        gpu |= {"works": False, "says": f"{gpu['says']}, which is not the cpu backend's loss"}
    return results
