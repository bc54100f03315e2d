"""A small Transformer that writes like Shakespeare: every character looks back at those before it.

    python examples/transformer.py
    python examples/transformer.py --width 64 --blocks 2 --prompt "JULIET:" --temperature 0.5
    python examples/transformer.py --quick

It reads windows of the text, all their characters at once, and predicts at each place what follows there: causal
attention sees to it that no place looks ahead. Unlike a recurrent network it remembers nothing but its window. The last
tenth of the text is held out; on it the mean of -ln p(next character) is measured, in nats. The text (1 MB) comes from
the folder that TINYNN_DATA names; the recurrent networks and the counting to compare with are in shakespeare.py.
"""

import argparse
import sys
import time

import numpy as np

import tinynn as nn
from tinynn import Layer, Sequential, datasets, optim, plots, schedules
from tinynn import layers as L
from tinynn.text import Vocabulary, sample


class Block(Layer):
    """x + attention(norm(x)), and to that the feed-forward of its norm: each adds to what is there ("pre-norm").

    x (N, T, width) -> the same shape. Attention mixes places, the feed-forward network mixes features.
    Source: R. Xiong et al., "On layer normalization in the Transformer architecture", 2020.
    """

    def __init__(self, width: int, heads: int, rate: float, **base):
        super().__init__(**base)
        self.width, self.heads, self.rate = width, heads, rate
        self.first_norm = L.LayerNormalization(epsilon=1e-5)
        self.attention = L.MultiHeadAttention(heads, width // heads)
        self.second_norm = L.LayerNormalization(epsilon=1e-5)
        self.up = L.Dense(4 * width, activation="gelu")
        self.down = L.Dense(width)
        self.first_dropout, self.second_dropout = L.Dropout(rate), L.Dropout(rate)

    def forward(self, x):
        z = self.first_norm(x)
        x = x + self.first_dropout(self.attention(z, z, use_causal_mask=True))
        return x + self.second_dropout(self.down(self.up(self.second_norm(x))))


def build(characters: int, length: int, width: int, heads: int, blocks: int, rate: float) -> Sequential:
    """A vector for each character and one for its place, blocks, and the probabilities of the next at every place."""
    model = Sequential([L.TokenAndPositionEmbedding(characters, length, width, input_shape=(length,))])
    for _ in range(blocks):
        model.add(Block(width, heads, rate))
    model.add(L.LayerNormalization(epsilon=1e-5))
    model.add(L.Dense(characters, activation="softmax"))
    return model


def windows(ids: np.ndarray, starts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y (N, length): the characters from each start on, and what follows each of them."""
    places = starts[:, None] + np.arange(length)
    return ids[places], ids[places + 1]


def nats(model: Sequential, ids: np.ndarray, length: int) -> float:
    """The mean of -ln p(next character): each is predicted from between length / 2 and length characters before it.

    The windows overlap by a half, whose predictions, made with less to look back at, do not count.
    """
    half = length // 2
    x, y = windows(ids, np.arange(0, len(ids) - length, half), length)
    p = np.take_along_axis(model.predict(x, batch_size=64), y[..., None], axis=-1)
    return float(-np.log(p[:, half:]).mean())


def write(model: Sequential, vocabulary: Vocabulary, prompt: str, length: int, temperature: float, rng) -> str:
    """The prompt and ``length`` characters more, each drawn and then looked back at with the others."""
    ids = list(vocabulary.encode(prompt))
    window = model.built_for[0]
    x = np.zeros((1, window), "int32")
    for _ in range(length):
        seen = ids[-window:]
        x[0, : len(seen)] = seen  # whatever stands behind it, no place looks ahead
        ids.append(sample(model.predict_on_batch(x)[0, len(seen) - 1], temperature, rng))
    return vocabulary.decode(ids)


def train(model: Sequential, args: argparse.Namespace, vocabulary: Vocabulary, ids: np.ndarray, held_out: np.ndarray):
    """Rounds of random windows; after each the held-out nats, and a text. Returns the record of the losses."""
    rate = schedules.CosineDecay(0.0, args.rounds * args.steps, warmup_target=args.rate, warmup_steps=args.steps // 2)
    optimizer = optim.AdamW(rate, weight_decay=0.1, beta_2=0.99, global_clipnorm=1.0)
    model.compile(optimizer, loss="sparse_categorical_crossentropy")
    rng = np.random.default_rng(args.seed)
    record: dict[str, list[float]] = {"loss": [], "val_loss": []}
    for number in range(args.rounds):
        x, y = windows(ids, rng.integers(len(ids) - args.window, size=args.steps * args.batch_size), args.window)
        history = model.fit(x, y, batch_size=args.batch_size, initial_epoch=number, epochs=number + 1)
        record["loss"] += history.history["loss"]
        record["val_loss"].append(nats(model, held_out, args.window))
        print(f"held-out nats {record['val_loss'][-1]:.4f}; it writes:")
        print(write(model, vocabulary, args.prompt, args.length, args.temperature, rng) + "\n", flush=True)
    return record


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small Transformer to write like Shakespeare.")
    parser.add_argument("--width", type=int, default=128, help="numbers that stand for a character (default 128)")
    parser.add_argument("--heads", type=int, default=4, help="heads of each attention (default 4)")
    parser.add_argument("--blocks", type=int, default=4, help="blocks one above the other (default 4)")
    parser.add_argument("--window", type=int, default=128, help="characters it can look back at (default 128)")
    parser.add_argument("--dropout", type=float, default=0.1, help="share that is dropped in each block (default 0.1)")
    parser.add_argument("--rounds", type=int, default=10, help="rounds of training (default 10)")
    parser.add_argument("--steps", type=int, default=250, help="steps of each round (default 250)")
    parser.add_argument("--batch-size", type=int, default=32, help="windows of a step (default 32)")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate (default 0.002)")
    parser.add_argument("--prompt", default="\n", help="what its texts begin with (default: a new line)")
    parser.add_argument("--temperature", type=float, default=0.8, help="below 1: more careful (default 0.8)")
    parser.add_argument("--length", type=int, default=200, help="characters written after each round (default 200)")
    parser.add_argument("--quick", action="store_true", help="a small network and few steps: to see that it runs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, windows and texts (default 1)")
    parser.add_argument("--plot", default="transformer.png", help="where to draw the picture; '' for none")
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
        rest, args.width, args.blocks, args.window = rest[:10_000], 32, 2, 32
        args.rounds, args.steps, args.rate = 2, 100, 0.01
    ids = vocabulary.encode(text)
    held_out = vocabulary.encode(text[-args.window // 2 :] + rest)  # its first characters have something before them

    model = build(len(vocabulary), args.window, args.width, args.heads, args.blocks, args.dropout)
    model.backend = args.backend
    model.summary()
    start = time.perf_counter()
    record = train(model, args, vocabulary, ids, held_out)
    seconds = time.perf_counter() - start
    print(f"Held-out nats per character {record['val_loss'][-1]:.4f}, trained in {seconds:.0f} s")
    if args.plot:
        plots.history(record, path=args.plot)
        print(f"Curves: {args.plot}")


if __name__ == "__main__":
    main()
