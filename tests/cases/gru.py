"""Gated recurrent unit, in both forms: the rows of ``rnn``, and other activations."""

from collections.abc import Callable

from tests.cases.rnn import MASK, row, rows
from tinynn.activation import Activation
from tinynn.layers.gru import GRUFunction


def gru(kind: Activation, gate: Activation, reset_after: bool) -> Callable[..., GRUFunction]:
    return lambda *rest: GRUFunction(kind, gate, reset_after, *rest)


AFTER = gru(Activation.TANH, Activation.SIGMOID, True)
BEFORE = gru(Activation.TANH, Activation.SIGMOID, False)

CASES = [
    *rows("gru", AFTER, 3, 1, lambda H: (2, 3 * H)),
    *rows("gru_before", BEFORE, 3, 1, lambda H: (3 * H,)),
    row("gru_relu", gru(Activation.RELU, Activation.SIGMOID, True), gates=3, states=1, bias=(2, 12), mask=MASK),
    row("gru_hard", gru(Activation.TANH, Activation.HARD_SIGMOID, False), gates=3, states=1, bias=(12,)),
]
