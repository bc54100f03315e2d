"""The smallest character model: it reads h e l l, learns to say e l l o, and then spells "hello" by itself.

    python examples/hello.py
    python examples/hello.py --units 3 --epochs 200

One recurrence, h_t = tanh(x_t W + h_{t-1} U + b), written three ways with the same numbers: by hand in NumPy, with
SimpleRNNCell step by step, and with SimpleRNN for the whole sequence. What follows an l depends on whether it is the
first or the second: the model has to remember, in h.
"""

import argparse

import numpy as np

import tinynn as nn
from tinynn import Graph, Sequential
from tinynn import layers as L
from tinynn.text import Vocabulary, sample

LETTERS = Vocabulary("helo")
"""h, e, l, o are 0, 1, 2, 3."""


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z) / sum exp(z), the largest z taken off first so that nothing overflows."""
    e = np.exp(z - z.max())
    return e / e.sum()


def one_hot(text: str) -> np.ndarray:
    """(T, 4): a row for every character, 1 at its number."""
    return np.eye(len(LETTERS), dtype="float32")[LETTERS.encode(text)]


def by_hand(model: Sequential, text: str) -> np.ndarray:
    """The probabilities (T, 4) of what follows each character, from the formulas."""
    W, U, b, V, c = model.get_weights()
    h, rows = np.zeros_like(b), []
    for x in one_hot(text):
        h = np.tanh(x @ W + h @ U + b)
        rows.append(softmax(h @ V + c))
    return np.array(rows)


class Stepper:
    """The model one character at a time: a cell with the same weights, whose state we carry ourselves."""

    def __init__(self, model: Sequential):
        units = model.layers[0].units
        self.cell, self.head = L.SimpleRNNCell(units), L.Dense(len(LETTERS), activation="softmax")
        self.h = np.zeros((1, units), "float32")
        *recurrent, V, c = model.get_weights()
        for layer, shape, weights in ((self.cell, (len(LETTERS),), recurrent), (self.head, (units,), [V, c])):
            layer.ensure_built(shape)
            layer.set_weights(weights)

    def __call__(self, character: str) -> np.ndarray:
        """Read a character; the probabilities (4,) of the next one."""
        graph = Graph(gradients=False)
        y, states = self.cell(graph.tensor(one_hot(character)), [graph.tensor(self.h)])
        self.h = states[0].numpy()
        return self.head(y).numpy()[0]


def spell(model: Sequential, first: str, length: int, rng: np.random.Generator) -> str:
    """Draw a character, feed it back as the next input, and so on."""
    step, text = Stepper(model), first
    while len(text) < length:
        text += LETTERS.tokens[sample(step(text[-1]), rng=rng)]
    return text


def table(title: str, p: np.ndarray) -> None:
    """A row for every character read: the probabilities of the next, and which should get it all."""
    print(f"\n{title:22s}{'  '.join(f'{token:>5s}' for token in LETTERS.tokens)}")
    for read, wanted, row in zip("hell", "ello", p, strict=True):
        print(f"   after {read}, {wanted} is due  {'  '.join(f'{value:5.3f}' for value in row)}")


def main() -> None:
    parser = argparse.ArgumentParser(description='Train a character model on one word, "hello".')
    parser.add_argument("--units", type=int, default=8, help="size of the state (default 8)")
    parser.add_argument("--epochs", type=int, default=200, help="steps of training (default 200)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and draws (default 1)")
    args = parser.parse_args()

    nn.set_seed(args.seed)
    z = np.array([1.0, 2.2, -3.0, 4.1])
    print(f"The outputs {z} become probabilities by a softmax: {softmax(z).round(3)}")

    model = Sequential()
    model.add(L.SimpleRNN(args.units, return_sequences=True, input_shape=(None, len(LETTERS))))
    model.add(L.Dense(len(LETTERS), activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy", optimizer=nn.optim.Adam(0.02))

    x, y = one_hot("hell")[None], LETTERS.encode("ello")[None]
    table("Before training", model.predict(x)[0])
    loss = model.fit(x, y, epochs=args.epochs, verbose=0).history["loss"][-1]
    p = model.predict(x)[0]
    table(f"After {args.epochs} steps", p)

    step = Stepper(model)
    ways = p, by_hand(model, "hell"), np.array([step(character) for character in "hell"])
    apart = max(np.abs(ways[0] - other).max() for other in ways[1:])
    print(f"\nSimpleRNN, by hand and with the cell: the same numbers to {apart:.0e}")
    word = spell(model, "h", 5, np.random.default_rng(args.seed))
    print(f"Loss {loss:.4f}; drawn from h on, each character fed back: {word}")


if __name__ == "__main__":
    main()
