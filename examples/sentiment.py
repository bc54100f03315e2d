"""Was the film good? Four models read 2,499 film reviews, and their accuracies on 2,499 others stand side by side.

python examples/sentiment.py
python examples/sentiment.py --models words pairs
python examples/sentiment.py --quick

    words      0.84  which words occur, each with a weight: logistic regression
    pairs      0.86  the same with pairs of neighbours, "not good", and half of them hidden in every step (dropout)
    embedding  0.82  a learned vector for every word, and their mean
    lstm       0.81  the same vectors, read in order from both ends; the padding of short reviews is masked

Few reviews and many words: the simple models win here, and pairs of words are worth more than their order. The
reviews (2 MB) come from the folder `sentiment` in the folder that TINYNN_DATA names.
"""

import argparse
import sys
import time

import numpy as np

import tinynn as nn
from tinynn import Model, Sequential, callbacks, datasets, optim, regularizers, utils
from tinynn import layers as L
from tinynn.plots import canvas
from tinynn.text import Vocabulary, bag_of_words, words

VALIDATION = 0.2  # of the training half; its end: other films than those before


def pairs(text: str) -> list[str]:
    """Words, and every two in a row."""
    row = words(text)
    return row + [f"{first} {second}" for first, second in zip(row, row[1:], strict=False)]


class Bag:
    """A text as the set of its tokens; one weight for each."""

    epochs, learning_rate, batch_size = 30, 0.001, 32

    def __init__(self, split, size: int, l2: float, dropout: float):
        self.split, self.size, self.l2, self.dropout = split, size, l2, dropout

    def learn_words(self, texts: list[str]) -> None:
        self.vocabulary = Vocabulary.from_words([self.split(t) for t in texts], self.size, padding=None, unknown=None)

    def numbers(self, texts: list[str]) -> np.ndarray:
        return bag_of_words([self.split(text) for text in texts], self.vocabulary)

    def network(self) -> Sequential:
        return Sequential(
            [
                L.Input((len(self.vocabulary),)),
                L.Dropout(self.dropout),
                L.Dense(1, activation="sigmoid", kernel_regularizer=regularizers.L2(self.l2)),
            ]
        )


class Ids:
    """A text as the numbers of its last words, where the verdict stands; behind padding where it is short."""

    epochs, batch_size = 20, 32

    def __init__(self, size: int, length: int, learning_rate: float, reader):
        self.size, self.length, self.learning_rate, self.reader = size, length, learning_rate, reader

    def learn_words(self, texts: list[str]) -> None:
        self.vocabulary = Vocabulary.from_words(texts, self.size)

    def numbers(self, texts: list[str]) -> np.ndarray:
        ids = [self.vocabulary.encode(text) for text in texts]
        return utils.pad_sequences(ids, maxlen=self.length)

    def network(self) -> Sequential:
        return Sequential(
            [
                L.Input((self.length,)),
                L.Embedding(len(self.vocabulary), 32, mask_zero=True),
                *self.reader(),
                L.Dropout(0.5),
                L.Dense(1, activation="sigmoid"),
            ]
        )


MODELS = {
    "words": Bag(words, 10_000, l2=0.001, dropout=0.0),
    "pairs": Bag(pairs, 20_000, l2=0.0, dropout=0.5),
    "embedding": Ids(10_000, 400, 0.003, lambda: [L.GlobalAveragePooling1D()]),
    "lstm": Ids(10_000, 400, 0.001, lambda: [L.SpatialDropout1D(0.4), L.Bidirectional(L.LSTM(32))]),
}


def train(kind, texts: list[str], labels: np.ndarray, args: argparse.Namespace) -> tuple[Model, float]:
    """The model at its best epoch, and its accuracy on the reviews that were held back."""
    held = len(texts) - int(len(texts) * VALIDATION)
    kind.learn_words(texts[:held])
    x = kind.numbers(texts)
    nn.set_seed(args.seed)
    model = kind.network()
    model.backend = args.backend
    model.compile(optimizer=optim.Adam(kind.learning_rate), loss="binary_crossentropy", metrics=["accuracy"])
    stop = callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    model.fit(
        x[:held],
        labels[:held],
        batch_size=kind.batch_size,
        epochs=args.epochs or kind.epochs,
        validation_data=(x[held:], labels[held:]),
        callbacks=[stop],
        verbose=args.verbose,
    )
    return model, model.evaluate(x[held:], labels[held:], verbose=0)[1]


def heaviest(model: Model, vocabulary: Vocabulary, count: int) -> tuple[list[tuple[str, float]], ...]:
    """The words that speak most for a good and for a bad film, with their weights."""
    weights = model.layers[-1].get_weights()[0][:, 0]
    order = np.argsort(weights)
    both = order[::-1][:count], order[:count]
    return tuple([(vocabulary.tokens[i], float(weights[i])) for i in part] for part in both)


def draw(accuracies: dict[str, tuple[float, float]], good, bad, path: str) -> None:
    """The models side by side, and the words that weigh most."""
    picture = canvas.figure(9, 4)
    left, right = picture.subplots(1, 2, width_ratios=(1, 1.3))
    names = list(accuracies)
    left.barh(names, [accuracies[name][1] for name in names], color=canvas.TRAIN, height=0.6)
    for place, name in enumerate(names):
        left.text(accuracies[name][1] + 0.005, place, f"{accuracies[name][1]:.3f}", va="center", fontsize=9)
    left.set_xlim(0.5, 1)
    left.invert_yaxis()
    left.set_title("Accuracy on the test half", loc="left", fontsize=11)
    tokens = [*good, *bad[::-1]]
    colours = [canvas.TRAIN if weight > 0 else canvas.VALIDATION for _, weight in tokens]
    right.barh(range(len(tokens)), [weight for _, weight in tokens], color=colours, height=0.7)
    right.set_yticks(range(len(tokens)), [token for token, _ in tokens])
    right.invert_yaxis()
    right.set_title("Weights that speak for a good film, and against", loc="left", fontsize=11)
    for axes in (left, right):
        canvas.plain(axes, "bottom")
    canvas.finished(picture, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell good film reviews from bad ones, with four models.")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS), help="which (default all)")
    parser.add_argument("--epochs", type=int, help="at most so many passes (default: each model's own number)")
    parser.add_argument("--verbose", type=int, default=0, help="1 shows every epoch")
    parser.add_argument("--quick", action="store_true", help="600 reviews and two epochs: to see that it runs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, shuffles and masks (default 1)")
    parser.add_argument("--plot", default="sentiment.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()

    try:
        (texts, labels), (texts_test, labels_test) = datasets.imdb.load_texts()
    except OSError as error:
        sys.exit(str(error))
    if args.quick:
        texts, labels, texts_test, labels_test = texts[:600], labels[:600], texts_test[:600], labels_test[:600]
        args.epochs = args.epochs or 2

    trained = {}
    for name in args.models:
        start = time.perf_counter()
        model, validation = train(MODELS[name], texts, labels, args)
        trained[name] = model, validation, time.perf_counter() - start
        print(f"{name}: {validation:.4f} of the reviews held back", flush=True)
    # Everything is settled: now, and only once, the test half.
    print(f"\n{'model':<10}{'parameters':>12}{'validation':>12}{'test':>8}{'seconds':>9}")
    accuracies = {}
    for name, (model, validation, seconds) in trained.items():
        test = model.evaluate(MODELS[name].numbers(texts_test), labels_test, verbose=0)[1]
        accuracies[name] = validation, test
        print(f"{name:<10}{model.count_params():>12,}{validation:>12.4f}{test:>8.4f}{seconds:>9.1f}")
    best = max(accuracies, key=lambda name: accuracies[name][0])
    print(f"Chosen by the reviews held back: {best}, test accuracy {accuracies[best][1]:.4f}")

    bags = [name for name in args.models if isinstance(MODELS[name], Bag)]
    if bags:
        good, bad = heaviest(trained[bags[-1]][0], MODELS[bags[-1]].vocabulary, 12)
        print("Good: " + ", ".join(token for token, _ in good))
        print("Bad:  " + ", ".join(token for token, _ in bad))
        if args.plot:
            draw(accuracies, good, bad, args.plot)
            print(f"Accuracies and words: {args.plot}")


if __name__ == "__main__":
    main()
