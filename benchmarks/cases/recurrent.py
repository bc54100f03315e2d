"""Recurrent networks: one layer of 256 units over 100 steps of 64 features, and a classifier of its last state."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from benchmarks.cases.base import Arrays, Case
from benchmarks.cases.dense import EPSILON, LEARNING_RATE, adam

STEPS, FEATURES, UNITS, CLASSES, ROWS = 100, 64, 256, 10, 512
TITLES = {"LSTM": "LSTM", "GRU": "GRU", "RNN": "SimpleRNN"}


@cache
def noise() -> Arrays:
    """Normal noise as sequences, and labels by chance: what is in them costs no time."""
    rng = np.random.default_rng(1)
    return rng.standard_normal((ROWS, STEPS, FEATURES), np.float32), rng.integers(0, CLASSES, ROWS)


def ours(kind: str, **options: Any) -> Any:
    from tinynn import layers as L
    from tinynn import optim
    from tinynn.models import Sequential

    layer = getattr(L, TITLES[kind])(UNITS, input_shape=(STEPS, FEATURES))
    model = Sequential([layer, L.Dense(CLASSES, activation="softmax")])
    optimizer = optim.Adam(LEARNING_RATE, epsilon=EPSILON)
    model.compile(optimizer=optimizer, loss="sparse_categorical_crossentropy", **options)
    return model


def theirs(kind: str) -> Any:
    """PyTorch's second bias of LSTM and RNN is frozen at 0, so that both train the same numbers."""
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = getattr(nn, kind)(FEATURES, UNITS, batch_first=True)
            self.dense = nn.Linear(UNITS, CLASSES)
            self.recurrent.bias_hh_l0.requires_grad_(kind == "GRU")

        def forward(self, x: Any) -> Any:
            return self.dense(self.recurrent(x)[0][:, -1])

    return Classifier()


def load(module: Any, weights: Sequence[np.ndarray]) -> None:
    """Our weights into PyTorch's places: transposed, a GRU's gates in the order r, z, n, and its biases in two."""
    import torch

    W, U, b, dense_W, dense_b = weights
    H = U.shape[0]
    b = np.atleast_2d(b)
    if W.shape[1] == 3 * H:
        W, U, b = (np.concatenate([a[:, H : 2 * H], a[:, :H], a[:, 2 * H :]], axis=1) for a in (W, U, b))
    second = b[1] if len(b) == 2 else np.zeros_like(b[0])
    values = (W.T, U.T, b[0], second, dense_W.T, dense_b)
    with torch.no_grad():
        for p, value in zip(module.parameters(), values, strict=True):
            p.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def case(name: str, kind: str, batch_size: int) -> Case:
    return Case(
        name=name,
        title=f"{TITLES[kind]} {UNITS} over {STEPS} steps of {FEATURES}, Dense {CLASSES}, Adam, batch {batch_size}",
        batch_size=batch_size,
        data=noise,
        ours=partial(ours, kind),
        theirs=partial(theirs, kind),
        optimizer=adam,
        load=load,
    )


CASES = (
    case("lstm", "LSTM", 64),
    case("lstm8", "LSTM", 8),
    case("lstm256", "LSTM", 256),
    case("gru", "GRU", 64),
    case("rnn", "RNN", 64),
)
