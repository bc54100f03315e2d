"""Long short-term memory: the rows of ``rnn``, a memory that alone is used, and other activations."""

from collections.abc import Callable

from tests.cases.rnn import MASK, row, rows
from tinynn.activation import Activation
from tinynn.layers.lstm import LSTMFunction


def lstm(kind: Activation, gate: Activation) -> Callable[..., LSTMFunction]:
    return lambda *rest: LSTMFunction(kind, gate, *rest)


CASES = [
    *rows("lstm", lstm(Activation.TANH, Activation.SIGMOID), 4, 2, lambda H: (4 * H,)),
    row("lstm_linear", lstm(Activation.LINEAR, Activation.SIGMOID), gates=4, states=2, bias=(16,), mask=MASK),
    row("lstm_relu", lstm(Activation.RELU, Activation.SIGMOID), gates=4, states=2, bias=(16,)),
    row("lstm_hard", lstm(Activation.TANH, Activation.HARD_SIGMOID), gates=4, states=2, bias=(16,)),
]
