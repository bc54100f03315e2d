"""Recurrent layers: masks, states, directions, dropped states, no bias, one row, one step, odd sizes, activations.

``rows`` makes those of one kind; ``lstm`` and ``gru`` beside this file take it from here.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.cases import Case, Draw, Flat, normal
from tinynn.activation import Activation
from tinynn.backends import Backend
from tinynn.layers.loop import Steps
from tinynn.layers.rnn import SimpleRNNFunction

MASK = np.array(
    [
        [True, True, True, True, True],
        [True, True, True, False, False],  # padded behind
        [False, False, True, True, True],  # padded in front
        [True, False, True, False, True],
        [False, False, False, False, False],
    ]
)


def row(
    name: str,
    make: Callable[..., Any],
    N: int = 5,
    T: int = 5,
    F: int = 3,
    H: int = 4,
    *,
    gates: int,
    states: int = 0,
    bias: tuple[int, ...] | None = None,
    mask: np.ndarray | None = None,
    dropped: bool = False,
    backwards: bool = False,
    used: tuple[bool, ...] | None = None,
) -> Case:
    """A sequence of N rows and T steps; dropped: with a factor on the state."""
    rng = np.random.default_rng(N + T + F + H)
    factor = (rng.random((N, H)) > 0.4) / 0.6

    def function(backend: Backend) -> Flat:
        kept = None if mask is None else backend.asarray(mask, np.bool_)

        class Typed(Flat):
            """The factor is of the graph's dtype."""

            def forward(self, graph: Any, *arrays: Any) -> Any:
                r = backend.asarray(factor, graph.dtype) if dropped else None
                self.inside = make(bias is not None, kept, r, backwards)
                return super().forward(graph, *arrays)

        return Typed(make(bias is not None, kept, None, backwards), used)

    weights: list[tuple[int, ...] | Draw] = [(N, T, F), normal((F, gates * H), scale=0.5)]
    weights += [normal((H, gates * H), scale=0.5)]
    if bias is not None:
        weights.append(normal(bias, scale=0.5))
    inputs = (*weights, *[(N, H)] * states)
    return Case(name, function, inputs, on_backend=True, rtol32=3e-5, rtol64=1e-11)


def rows(name: str, make: Callable[..., Any], gates: int, states: int, bias: Callable[[int], Any]) -> list[Case]:
    """The rows of one kind of recurrence; bias(H) is the bias's shape."""
    results = 1 + states
    last_only = (False, *[True] * states)
    all_only = (True, *[False] * states)
    table: list[tuple[str, dict[str, Any]]] = [
        ("", {}),
        ("no_bias", {"bias": None}),
        ("states", {"states": states}),
        ("backwards", {"backwards": True, "states": states}),
        ("mask", {"mask": MASK}),
        ("mask_states", {"mask": MASK, "states": states}),
        ("mask_backwards", {"mask": MASK, "states": states, "backwards": True, "used": last_only}),
        ("dropped", {"dropped": True, "states": states}),
        ("dropped_mask_backwards", {"dropped": True, "mask": MASK, "backwards": True}),
        ("last", {"used": last_only}),
        ("all", {"used": all_only, "states": states}),
        ("one_row", {"N": 1, "T": 7, "F": 5, "H": 3, "states": states}),
        ("one_step", {"N": 3, "T": 1, "F": 2, "H": 5, "states": states, "used": last_only}),
        ("one_of_each", {"N": 1, "T": 1, "F": 1, "H": 1, "states": states}),
        ("odd", {"N": 3, "T": 4, "F": 7, "H": 17, "states": states}),
        ("wide", {"N": 9, "T": 3, "F": 33, "H": 37}),
    ]
    if states == 2:
        table.append(("last_memory", {"used": (False, False, True), "states": 2}))
    assert len(last_only) == results
    return [
        row(f"{name}_{suffix}", make, **{"gates": gates, "bias": bias(options.get("H", 4)), **options})
        for suffix, options in table
    ]


def simple(kind: Activation) -> Callable[..., SimpleRNNFunction]:
    return lambda *rest: SimpleRNNFunction(kind, *rest)


CASES = [
    *rows("rnn", simple(Activation.TANH), 1, 1, lambda H: (H,)),
    *(
        row(f"rnn_{kind}", simple(kind), gates=1, states=1, bias=(4,), mask=MASK)
        for kind in (Activation.RELU, Activation.SIGMOID, Activation.LINEAR, Activation.LEAKY_RELU, Activation.ELU)
    ),
    Case("steps", lambda: Flat(Steps()), ((3, 4, 5),)),
    Case("steps_unused", lambda: Flat(Steps(), (True, False, True, False)), ((3, 4, 5),)),
]
