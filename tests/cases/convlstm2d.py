"""ConvLSTM2D: masks, states, directions, dropped states, windows of every kind, one of each, and many channels."""

from typing import Any

import numpy as np

from tests.cases import Case, Flat, normal
from tests.cases.rnn import MASK
from tinynn.activation import Activation
from tinynn.backends import Backend
from tinynn.layers.convlstm2d import ConvLSTMFunction
from tinynn.layers.images import window_on

Pair = tuple[int, int]
KEPT = MASK[:, :3]


def row(
    suffix: str,
    x: tuple[int, int, int, int, int] = (2, 3, 4, 5, 2),
    size: Pair = (3, 3),
    H: int = 3,
    *,
    strides: Pair = (1, 1),
    padding: str = "same",
    dilation: Pair = (1, 1),
    kinds: tuple[str, str] = ("tanh", "sigmoid"),
    bias: bool = True,
    states: bool = False,
    mask: np.ndarray | None = None,
    dropped: bool = False,
    backwards: bool = False,
    used: tuple[bool, ...] | None = None,
) -> Case:
    """N films of T images; dropped: with a factor on the state, used: which of h, last h and last c have a reader."""
    N, T, C = *x[:2], x[4]
    window = window_on(x[2], x[3], size, strides, padding, dilation)
    state = (N, *window.output(x[2], x[3]), H)
    factor = (np.random.default_rng(sum(x)).random(state) > 0.4) / 0.6
    kind, gate = map(Activation, kinds)

    def function(backend: Backend) -> Flat:
        kept = None if mask is None else backend.asarray(mask, np.bool_)

        class Typed(Flat):
            """The factor is of the graph's dtype."""

            def forward(self, graph: Any, *arrays: Any) -> Any:
                r = backend.asarray(factor, graph.dtype) if dropped else None
                self.inside = ConvLSTMFunction(window, kind, gate, bias, kept, r, backwards)
                return super().forward(graph, *arrays)

        return Typed(ConvLSTMFunction(window, kind, gate, bias, kept, None, backwards), used)

    W, U = (normal((*size, c, 4 * H), scale=(c * size[0] * size[1]) ** -0.5) for c in (C, H))
    inputs = (x, W, U, *([normal((4 * H,), scale=0.5)] if bias else []), *([state] * 2 if states else []))
    return Case(f"convlstm2d_{suffix}", function, inputs, on_backend=True, reduction=64 * N * T, rtol64=1e-11)


CASES = [
    row("plain"),
    row("no_bias", bias=False),
    row("states", states=True),
    row("backwards", states=True, backwards=True),
    row("mask", (5, 3, 3, 2, 1), mask=KEPT),
    row("mask_states_backwards", (5, 3, 3, 2, 1), mask=KEPT, states=True, backwards=True),
    row("mask_last", (5, 3, 2, 2, 1), mask=KEPT, used=(False, True, True)),
    row("dropped", states=True, dropped=True),
    row("dropped_mask_backwards", (5, 3, 3, 2, 1), mask=KEPT, dropped=True, backwards=True),
    row("last", used=(False, True, False)),
    row("last_memory", states=True, used=(False, False, True)),
    row("all", used=(True, False, False)),
    row("one_of_each", (1, 1, 1, 1, 1), (1, 1), 1, states=True),
    row("one_step", (2, 1, 4, 3, 2), used=(False, True, False)),
    row("valid", padding="valid", states=True),
    row("even_window", size=(2, 4)),
    row("strides", (2, 3, 6, 5, 2), strides=(2, 1), padding="valid"),
    row("strides_same", (1, 2, 5, 6, 2), strides=(2, 3), states=True),
    row("dilation", (1, 3, 6, 5, 1), (2, 3), dilation=(3, 2), padding="valid"),
    row("relu", kinds=("relu", "hard_sigmoid")),
    row("linear", kinds=("linear", "sigmoid"), mask=KEPT[:2]),
    row("of_16", (2, 2, 6, 6, 16), H=16),
]
