"""Dense networks on MNIST: the two-layer classifiers of the courses, and one large enough for the matrix products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.cases.base import Case, mnist_rows


def ours(widths: Sequence[int], activation: str, optimizer: Callable[[Any], Any]) -> Callable[..., Any]:
    """A compiled Sequential of Dense layers: the activation between, softmax at the end."""

    def build(**options: Any) -> Any:
        from tinynn import optim
        from tinynn.layers import Dense
        from tinynn.models import Sequential

        model = Sequential()
        for i, (n, units) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
            last = i == len(widths) - 2
            model.add(Dense(units, activation="softmax" if last else activation, input_shape=None if i else (n,)))
        model.compile(optimizer=optimizer(optim), loss="sparse_categorical_crossentropy", **options)
        return model

    return build


def theirs(widths: Sequence[int], activation: str) -> Callable[[], Any]:
    """The same as a ``torch.nn.Sequential``; the softmax is part of the loss."""

    def build() -> Any:
        from torch import nn

        modules: list[Any] = []
        for n, units in zip(widths[:-1], widths[1:], strict=True):
            modules += [nn.Linear(n, units), {"relu": nn.ReLU, "sigmoid": nn.Sigmoid}[activation]()]
        return nn.Sequential(*modules[:-1])

    return build


LEARNING_RATE, EPSILON = 1e-4, 1e-10
"""Of Adam in the timing runs; neither costs time. Keras adds epsilon before the bias correction, PyTorch after, so
with their defaults (1e-7, 1e-8) the losses of two right implementations are 1e-3 to 1e-2 apart within 100 steps; with
epsilon far below the gradients they agree. And Adam makes a whole step of a gradient that is nothing but rounding: at
a rate of 1e-3 one relu that flips moves the loss by 1e-3, at 1e-4 the losses stay within 1e-4."""


def adam(parameters: Any, **options: Any) -> Any:
    import torch

    return torch.optim.Adam(parameters, lr=LEARNING_RATE, eps=EPSILON, **options)


def sgd(momentum: float) -> Callable[..., Any]:
    def build(parameters: Any, **options: Any) -> Any:
        import torch

        return torch.optim.SGD(parameters, lr=0.01, momentum=momentum, **options)

    return build


def case(name: str, widths: Sequence[int], activation: str, optimizer: str, batch_size: int) -> Case:
    """A row of the table; the optimizers are the two libraries' with equal numbers."""
    our_optimizer, their_optimizer = {
        "Adam": (lambda optim: optim.Adam(LEARNING_RATE, epsilon=EPSILON), adam),
        "SGD": (lambda optim: optim.SGD(0.01), sgd(0.0)),
        "SGD momentum 0.9": (lambda optim: optim.SGD(0.01, momentum=0.9), sgd(0.9)),
    }[optimizer]
    return Case(
        name=name,
        title=f"Dense {'-'.join(map(str, widths))} {activation}, {optimizer}, batch {batch_size}",
        batch_size=batch_size,
        data=mnist_rows,
        ours=ours(widths, activation, our_optimizer),
        theirs=theirs(widths, activation),
        optimizer=their_optimizer,
    )


CASES = (
    case("d1", (784, 10, 10), "sigmoid", "SGD", 100),
    case("d5", (784, 512, 10), "relu", "SGD", 100),
    case("mlp_adam", (784, 512, 512, 10), "relu", "Adam", 128),
    case("mlp_sgd", (784, 512, 512, 10), "relu", "SGD momentum 0.9", 128),
)
