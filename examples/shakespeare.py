"""A network that writes like Shakespeare, character by character, beside an n-gram model that only counts.

    python examples/shakespeare.py                        # an LSTM of 256 units: below 1.60 nats per character
    python examples/shakespeare.py --model gru --units 128 --prompt "JULIET:"
    python examples/shakespeare.py --model ngram          # counting alone, up to 6 characters: 1.63
    python examples/shakespeare.py --quick

The text is cut into streams that are read side by side. The state at the end of a batch is the start of the next one
(stateful=True), so the network remembers across batches, but gradients stop there: truncated backpropagation through
time. The last tenth of the text is held out; on it the mean of -ln p(next character) is measured, in nats. The text
(1 MB) comes from the folder that TINYNN_DATA names.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable

import numpy as np

import tinynn as nn
from tinynn import Sequential, callbacks, datasets, optim, plots, schedules
from tinynn import layers as L
from tinynn.text import NGram, Vocabulary, sample

LAYERS = {"lstm": L.LSTM, "gru": L.GRU, "rnn": L.SimpleRNN}
ORDERS = range(1, 7)
FINAL = 600
"""Characters of the last text."""


def build(kind: str, units: int, characters: int, dropout: float) -> Sequential:
    """A vector for every character, one recurrent layer that keeps its state, and the probabilities of the next."""
    model = Sequential()
    model.add(L.Embedding(characters, 64, input_shape=(None,)))
    model.add(LAYERS[kind](units, return_sequences=True, stateful=True))
    model.add(L.Dropout(dropout))
    model.add(L.Dense(characters, activation="softmax"))
    return model


def side_by_side(ids: np.ndarray, streams: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y, the characters and what follows each, for batches of ``streams`` rows of ``steps`` characters.

    Row i of a batch goes on where row i of the batch before stopped. What is left at the end of the text, less than a
    batch, is left out.
    """
    batches = (len(ids) - 1) // (streams * steps)
    used = streams * batches * steps
    cut = (part[:used].reshape(streams, batches, steps) for part in (ids[:-1], ids[1:]))
    x, y = (part.swapaxes(0, 1).reshape(-1, steps) for part in cut)
    return x, y


def nats(model: Sequential, ids: np.ndarray, streams: int = 1) -> float:
    """The mean of -ln p(next character) over a text, the state carried from its beginning to its end.

    Several streams are faster, and a little worse: each begins without knowing what came before.
    """
    model.reset_states()
    x, y = side_by_side(ids, streams, steps=100)
    return model.evaluate(x, y, batch_size=streams, verbose=0)


def write(model: Sequential, vocabulary: Vocabulary, prompt: str, length: int, temperature: float, rng) -> str:
    """The prompt and ``length`` characters more: each is drawn, and then read as the next input.

    The temperature makes what is probable more so (below 1; 0 takes always the most probable) or less (above 1).
    """
    model.reset_states()
    ids = list(vocabulary.encode(prompt))
    unread = np.array(ids)
    for _ in range(length):
        p = model.predict_on_batch(unread[None])[0, -1]  # the state remembers what was read before
        ids.append(sample(p, temperature, rng))
        unread = np.array(ids[-1:])
    return vocabulary.decode(ids)


class Writer(callbacks.Callback):
    """Every epoch begins at the beginning of the text, and ends with the held-out nats and a piece of writing."""

    def __init__(self, held_out: np.ndarray, compose: Callable[[int], str], length: int):
        self.held_out, self.compose, self.length = held_out, compose, length

    def on_epoch_begin(self, epoch, logs=None):
        self.model.reset_states()

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = nats(self.model, self.held_out, streams=20)
        print(f"held-out nats {logs['val_loss']:.4f}; it writes:\n{self.compose(self.length)}\n", flush=True)


def train(args: argparse.Namespace, vocabulary: Vocabulary, ids: np.ndarray, held_out: np.ndarray):
    """The model and the record of its losses; it writes while it learns."""
    model = build(args.model, args.units, len(vocabulary), args.dropout)
    model.backend = args.backend
    model.summary()
    x, y = side_by_side(ids, args.batch_size, args.steps)
    decay = schedules.CosineDecay(args.rate, decay_steps=args.epochs * len(x) // args.batch_size, alpha=0.01)
    model.compile(optim.Adam(decay, global_clipnorm=1.0), loss="sparse_categorical_crossentropy")
    rng = np.random.default_rng(args.seed)

    def compose(length: int) -> str:
        return write(model, vocabulary, args.prompt, length, args.temperature, rng)

    history = model.fit(
        x,
        y,
        batch_size=args.batch_size,
        epochs=args.epochs,
        shuffle=False,  # the order of the text
        callbacks=[Writer(held_out, compose, args.length)],
    )
    print(f"It writes, at temperature {args.temperature}:\n{compose(FINAL)}")
    return model, history.history


def counting(ids: np.ndarray, held_out: np.ndarray, characters: int, smoothing: float) -> tuple[NGram, float]:
    """The n-gram model that does best on the held-out text, and its nats; prints a line for every order."""
    best, least = 1, math.inf
    model = NGram(max(ORDERS), smoothing).fit(ids, characters)
    for order in ORDERS:
        model.n = order  # shorter contexts were counted as well
        value = model.nats(held_out)
        print(f"{order}-gram: {value:.4f} nats per character", flush=True)
        if value < least:
            best, least = order, value
    model.n = best
    return model, least


def draw(record: dict[str, list[float]], kind: str, order: int, counted: float, path: str) -> None:
    """The curves, and what counting reaches as a line across."""
    picture = plots.history(record)
    axes = picture.axes[0]
    axes.axhline(counted, color="#808080", linewidth=1)
    axes.annotate(f"{order}-gram {counted:.2f}", (1, counted), color="#808080", fontsize=8.5, va="bottom")
    axes.set_title(f"nats per character, {kind}", loc="left", fontsize=11)
    picture.savefig(path, facecolor="white")
    print(f"Curves: {path}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn to write like Shakespeare, one character after the other.")
    parser.add_argument("--model", choices=[*LAYERS, "ngram"], default="lstm", help="what learns (default lstm)")
    parser.add_argument("--units", type=int, default=256, help="size of the state (default 256)")
    parser.add_argument("--epochs", type=int, default=20, help="passes over the text (default 20)")
    parser.add_argument("--batch-size", type=int, default=64, help="streams side by side (default 64)")
    parser.add_argument("--steps", type=int, default=100, help="characters of each in a batch (default 100)")
    parser.add_argument("--rate", type=float, default=5e-3, help="learning rate at the beginning (default 0.005)")
    parser.add_argument("--dropout", type=float, default=0.3, help="share of the outputs dropped (default 0.3)")
    parser.add_argument("--smoothing", type=float, default=10.0, help="of the n-gram model (default 10)")
    parser.add_argument("--prompt", default="\n", help="what its texts begin with (default: a new line)")
    parser.add_argument("--temperature", type=float, default=0.8, help="below 1: more careful (default 0.8)")
    parser.add_argument("--length", type=int, default=200, help="characters written after each pass (default 200)")
    parser.add_argument("--quick", action="store_true", help="a small network and a tenth of the text: to see it run")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, masks and texts (default 1)")
    parser.add_argument("--plot", default="shakespeare.png", help="where to draw the picture; '' for none")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    nn.set_seed(args.seed)
    try:
        text, rest = datasets.shakespeare.load_data(split=0.1)
    except OSError as error:  # not on this machine
        sys.exit(str(error))
    vocabulary = Vocabulary.from_characters(text + rest)
    if args.quick:
        text, rest = text[:100_000], rest[:20_000]
        args.units, args.batch_size, args.steps, args.epochs, args.rate = 64, 16, 50, 2, 0.01
    ids, held_out = vocabulary.encode(text), vocabulary.encode(rest)
    print(f"{len(ids):,} characters to learn from, {len(held_out):,} held out, {len(vocabulary)} different ones")

    ngram, counted = counting(ids, held_out, len(vocabulary), args.smoothing)
    rng = np.random.default_rng(args.seed)
    written = ngram.sample(FINAL, vocabulary.encode(args.prompt), args.temperature, rng)
    print(f"\nThe {ngram.n}-gram model writes:\n{args.prompt}{vocabulary.decode(written)}\n")
    if args.model == "ngram":
        return
    start = time.perf_counter()
    model, record = train(args, vocabulary, ids, held_out)
    seconds = time.perf_counter() - start
    print(
        f"\nHeld-out nats per character: {args.model} {nats(model, held_out):.4f}, {ngram.n}-gram {counted:.4f}; ",
        end="",
    )
    print(f"trained in {seconds:.0f} s")
    if args.plot:
        draw(record, args.model, ngram.n, counted, args.plot)


if __name__ == "__main__":
    main()
