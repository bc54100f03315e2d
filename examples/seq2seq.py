"""Sequence to sequence with attention: dates in any spelling become ISO dates, or sums in digits their results.

python examples/seq2seq.py
python examples/seq2seq.py --task sums
python examples/seq2seq.py --quick

I. Sutskever, O. Vinyals, Q. Le, "Sequence to sequence learning with neural networks", NeurIPS 2014; the attention is
M. Luong's, "Effective approaches to attention-based neural machine translation", EMNLP 2015.
"""

import argparse
import datetime
import time

import numpy as np

import tinynn as nn
from tinynn import Graph, Model, ops, optim, plots, schedules, text, utils
from tinynn import layers as L

START, END = "<", ">"
FIRST_DAY, DAYS = datetime.date(1970, 1, 1), 36_525
"""A hundred years, so that two digits say which year is meant."""


# -- the two tasks -----------------------------------------------------------------------------------------------------


def spellings(day: datetime.date) -> list[str]:
    """Ways to write a day."""
    n = day.day
    ordinal = f"{n}{'th' if 10 < n < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"
    name, month = f"{day:%A}", f"{day:%B}"
    return [
        f"{n} {month} {day.year}",
        f"{month} {n}, {day.year}",
        f"{month.lower()} the {ordinal}, {day.year}",
        f"the {ordinal} of {month} {day.year}",
        f"{name}, {n} {month} {day.year}",
        f"{n} {month[:3]} {day:%y}",
        f"{month[:3].upper()} {ordinal} {day.year}",
        f"{name[:3]} {day:%d.%m.%y}",
        f"{n}.{day.month}.{day.year}",
        f"{day:%d/%m/%Y}",
    ]


def dates(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """So many different days, each in one of its spellings, and in ISO 8601."""
    days = [FIRST_DAY + datetime.timedelta(int(i)) for i in rng.choice(DAYS, count, replace=False)]
    return [(str(rng.choice(spellings(day))), day.isoformat()) for day in days]


def sums(count: int, rng: np.random.Generator) -> list[tuple[str, str]]:
    """So many different sums of two numbers up to 999, the larger one first or last, and their results.

    No two are the same numbers in another order: what is held out is not known from the other side.
    """
    pairs = [(a, b) for a in range(1000) for b in range(a + 1)]
    chosen = [pairs[i] for i in rng.choice(len(pairs), count, replace=False)]
    return [(f"{a}+{b}" if rng.random() < 0.5 else f"{b}+{a}", str(a + b)) for a, b in chosen]


# name: (how examples are made, examples to learn from, epochs, batch size)
TASKS = {"dates": (dates, 20_000, 3, 32), "sums": (sums, 60_000, 12, 64)}


# -- the model ---------------------------------------------------------------------------------------------------------


class Seq2Seq(Model):
    """The probabilities of each next letter of an answer, from the question and the letters before it.

    encoder:   a GRU in both directions reads the question; each of its steps is a place that can be looked at
    decoder:   a GRU begins with the encoder's last states and reads the answer so far, one letter behind
    attention: each step of the decoder looks at the places of the question

    ``fit`` gives a model one array: question and answer side by side, (N, S + T) with ``steps`` = S. 0 is padding; the
    embeddings make masks of it, so that nobody looks there, and neither loss nor accuracy counts it.
    """

    input_dtype = "int32"

    def __init__(self, letters: int, steps: int, units: int = 128, **base):
        super().__init__(**base)
        self.letters, self.steps, self.units = letters, steps, units
        self.read = L.Embedding(letters, units // 4, mask_zero=True)
        self.encoder = L.Bidirectional(L.GRU(units // 2, return_sequences=True, return_state=True))
        self.write = L.Embedding(letters, units // 4, mask_zero=True)
        self.decoder = L.GRU(units, return_sequences=True, return_state=True)
        self.attention = L.Attention()
        self.mix = L.Dense(units, activation="tanh")
        self.choose = L.Dense(letters, activation="softmax")

    def forward(self, x):
        places, state = self.encode(x[:, : self.steps])
        probabilities, _, _ = self.decode(x[:, self.steps :], places, state)
        return probabilities

    def encode(self, question):
        """ids (N, S) -> places (N, S, units), and the state (N, units) that the decoder begins with."""
        places, forwards, backwards = self.encoder(self.read(question))
        return places, ops.concatenate([forwards, backwards], axis=-1)

    def decode(self, answer, places, state):
        """ids (N, T) -> probabilities of the next letters (N, T, letters), last state, looks (N, T, S)."""
        h, state = self.decoder(self.write(answer), initial_state=state)
        found, scores = self.attention([h, places], return_attention_scores=True)
        return self.choose(self.mix(L.concatenate([h, found]))), state, scores

    def answer(self, question: np.ndarray, begin: int, longest: int) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest letter at each step, fed back at the next: ids (N, longest), scores (N, longest, S)."""
        graph = Graph(backend=self.backend, gradients=False)
        places, state = self.encode(graph.tensor(question, dtype="int32"))
        letter = np.full((len(question), 1), begin)
        letters, looked = [], []
        for _ in range(longest):
            probabilities, state, scores = self.decode(graph.tensor(letter, dtype="int32"), places, state)
            letter = probabilities.numpy().argmax(axis=-1)
            letters.append(letter)
            looked.append(scores.numpy())
        return np.concatenate(letters, axis=1), np.concatenate(looked, axis=1)


# -- from text to arrays and back --------------------------------------------------------------------------------------


class Examples:
    """Questions and answers as arrays, padded to the longest."""

    def __init__(self, pairs: list[tuple[str, str]]):
        self.pairs = pairs
        letters = "".join(question + answer for question, answer in pairs) + START + END
        self.vocabulary = text.Vocabulary.from_characters(letters, padding="")
        self.steps = max(len(question) for question, _ in pairs)
        self.longest = max(len(answer) for _, answer in pairs) + 1

    def questions(self, pairs: list[tuple[str, str]]) -> np.ndarray:
        return self.padded([question for question, _ in pairs], self.steps)

    def arrays(self, pairs: list[tuple[str, str]]) -> tuple[np.ndarray, np.ndarray]:
        """x: question and START + answer side by side; y: answer + END, one letter ahead."""
        known = self.padded([START + answer for _, answer in pairs], self.longest)
        wanted = self.padded([answer + END for _, answer in pairs], self.longest)
        return np.hstack([self.questions(pairs), known]), wanted

    def padded(self, texts: list[str], steps: int) -> np.ndarray:
        return utils.pad_sequences([self.vocabulary.encode(line) for line in texts], steps, padding="post")

    def answers(self, model: Seq2Seq, pairs: list[tuple[str, str]]) -> tuple[list[str], np.ndarray]:
        """What the model writes, up to END, and where it looked (N, T, S)."""
        ids, scores = model.answer(self.questions(pairs), self.vocabulary.ids[START], self.longest)
        return [self.vocabulary.decode(row).partition(END)[0] for row in ids], scores


def main() -> None:
    parser = argparse.ArgumentParser(description="Translate dates or sums with an encoder, a decoder and attention.")
    parser.add_argument("--task", choices=list(TASKS), default="dates", help="default dates")
    parser.add_argument("--epochs", type=int, help="passes over the examples (default 3, sums 12)")
    parser.add_argument("--units", type=int, default=128, help="size of the states")
    parser.add_argument("--batch-size", type=int, help="examples per step (default 32, sums 64)")
    parser.add_argument(
        "--learning-rate", type=float, default=0.005, help="at the start; it falls to 0 (default 0.005)"
    )
    parser.add_argument("--quick", action="store_true", help="8,000 examples, two epochs: to see that it runs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of examples, weights and shuffles (default 1)")
    parser.add_argument("--plot", default="seq2seq.png", help="where to draw the attention; '' for none")
    args = parser.parse_args()

    make, count, epochs, batch_size = TASKS[args.task]
    count, held_out, epochs = (8000, 200, 2) if args.quick else (count, 2000, epochs)
    epochs, batch_size = args.epochs or epochs, args.batch_size or batch_size
    nn.set_seed(args.seed)
    examples = Examples(make(count + held_out, np.random.default_rng(args.seed)))
    learned, tested = examples.pairs[held_out:], examples.pairs[:held_out]

    model = Seq2Seq(len(examples.vocabulary), examples.steps, args.units, backend=args.backend)
    rate = schedules.CosineDecay(args.learning_rate, epochs * -(-count // batch_size))
    model.compile(optim.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, y = examples.arrays(learned)
    start = time.perf_counter()
    model.fit(x, y, batch_size=batch_size, epochs=epochs, validation_data=examples.arrays(tested))
    seconds = time.perf_counter() - start

    given, scores = examples.answers(model, tested)
    print("\n      question                         right       given")
    for (question, right), answer in list(zip(tested, given, strict=True))[:10]:
        print(f"{'' if answer == right else 'wrong':>5} {question:<32} {right:<11} {answer}")
    exact = np.mean([answer == right for (_, right), answer in zip(tested, given, strict=True)])
    print(f"\nExact answers {exact:.4f} of {held_out} held out, trained in {seconds:.1f} s")
    if args.plot:
        long = sorted(range(10), key=lambda i: -len(tested[i][0]))[:4]  # the longest of those above
        sources, targets = [tested[i][0] for i in long], [given[i] + END for i in long]
        squares = [
            scores[i, : len(target), : len(source)] for i, source, target in zip(long, sources, targets, strict=True)
        ]
        plots.attention(squares, sources, targets, path=args.plot)
        print(f"Where each letter of an answer looked: {args.plot}")


if __name__ == "__main__":
    main()
