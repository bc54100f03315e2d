"""The classifiers that courses teach with, and what they reach, over several seeds.

    python examples/classifiers.py                 # the list
    python examples/classifiers.py D1 D4           # some of them, one seed each
    python examples/classifiers.py --all --seeds 5 # the table, mean over five seeds

D1 to D5 and M1 read MNIST, which is part of the package; F1 reads Fashion-MNIST, from the folder ``TINYNN_DATA`` names
or from the network; K1 reads random numbers.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import tinynn as nn
from tinynn import Sequential, datasets, optim, utils
from tinynn import layers as L


@dataclass(frozen=True)
class Experiment:
    """One row of the table: a model, how it is trained, and the accuracy that courses report."""

    title: str
    build: Callable[[], list[nn.Layer]]
    data: Callable[[], tuple[np.ndarray, ...]]
    batch_size: int
    epochs: int
    loss: str = "categorical_crossentropy"
    optimizer: Callable[[], optim.Optimizer] = field(default=lambda: optim.SGD(0.01))
    band: tuple[float, float] | None = None


def two_layers(hidden: int, activation: str) -> Callable[[], list[nn.Layer]]:
    return lambda: [
        L.Dense(hidden, activation=activation, input_shape=(784,)),
        L.Dense(10, activation="softmax"),
    ]


def fashion_layers() -> list[nn.Layer]:
    return [
        L.Flatten(input_shape=(28, 28)),
        L.Dense(10, activation="sigmoid"),
        L.Dense(10, activation="softmax"),
    ]


def dropout_layers() -> list[nn.Layer]:
    return [
        L.Dense(64, activation="relu", input_dim=20),
        L.Dropout(0.5),
        L.Dense(64, activation="relu"),
        L.Dropout(0.5),
        L.Dense(10, activation="softmax"),
    ]


def mnist() -> tuple[np.ndarray, ...]:
    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()
    x_train, x_test = (x.reshape(-1, 784).astype("float32") / 255 for x in (x_train, x_test))
    return x_train, utils.to_categorical(y_train), x_test, utils.to_categorical(y_test)


def fashion() -> tuple[np.ndarray, ...]:
    (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist.load_data()
    return x_train.astype("float32") / 255, y_train, x_test.astype("float32") / 255, y_test


def random_rows() -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    x, y = rng.random((1100, 20)), utils.to_categorical(rng.integers(10, size=1100), num_classes=10)
    return x[:1000], y[:1000], x[1000:], y[1000:]


def nesterov() -> optim.Optimizer:
    return optim.SGD(lr=0.01, decay=1e-6, momentum=0.9, nesterov=True)


SPARSE = "sparse_categorical_crossentropy"
EXPERIMENTS = {
    "D1": Experiment("Dense 10 sigmoid", two_layers(10, "sigmoid"), mnist, 100, 5, band=(0.71, 0.78)),
    "D2": Experiment("Dense 10 sigmoid", two_layers(10, "sigmoid"), mnist, 50, 10, band=(0.872, 0.886)),
    "D3": Experiment("Dense 10 sigmoid", two_layers(10, "sigmoid"), mnist, 32, 5, band=(0.858, 0.873)),
    "D4": Experiment("Dense 10 relu", two_layers(10, "relu"), mnist, 100, 5, band=(0.886, 0.901)),
    "D5": Experiment("Dense 512 relu", two_layers(512, "relu"), mnist, 100, 10, band=(0.929, 0.937)),
    "F1": Experiment("Fashion, 10 sigmoid", fashion_layers, fashion, 32, 5, SPARSE, band=(0.74, 0.765)),
    "F1-adam": Experiment("F1 with Adam", fashion_layers, fashion, 32, 5, SPARSE, optim.Adam, (0.835, 0.845)),
    "M1": Experiment(
        "Dense 512, RMSprop", two_layers(512, "relu"), mnist, 128, 5, optimizer=optim.RMSprop, band=(0.975, 0.983)
    ),
    "K1": Experiment("Dropout, random rows", dropout_layers, random_rows, 128, 20, optimizer=nesterov),
}


def run(experiment: Experiment, seed: int, verbose: int, backend: str | None) -> tuple[float, float, list[float]]:
    """Train once; test loss, test accuracy and the training losses."""
    nn.set_seed(seed)
    x_train, y_train, x_test, y_test = experiment.data()
    model = Sequential(experiment.build(), backend=backend)
    model.compile(loss=experiment.loss, optimizer=experiment.optimizer(), metrics=["accuracy"])
    history = model.fit(x_train, y_train, batch_size=experiment.batch_size, epochs=experiment.epochs, verbose=verbose)
    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    return loss, accuracy, history.history["loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the classifiers that courses teach with.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(EXPERIMENTS))
    parser.add_argument("--all", action="store_true", help="run all of them")
    parser.add_argument("--seeds", type=int, default=1, help="train with the seeds 1 to N (default 1)")
    parser.add_argument("--verbose", type=int, default=0, help="0 silent, 1 progress of each training")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu")
    args = parser.parse_args()

    for name in args.names:
        if name not in EXPERIMENTS:
            parser.error(f"there is no '{name}': choose from {', '.join(EXPERIMENTS)}")
    names = list(EXPERIMENTS) if args.all else args.names
    if not names:
        for name, e in EXPERIMENTS.items():
            print(f"{name:<8} {e.title:<22} batch {e.batch_size}, {e.epochs} epochs")
        return
    print(f"{'':<8} {'model':<22} {'loss':>7} {'accuracy':>9}  {'expected':<14} {'seconds':>7}  training loss by epoch")
    for name in names:
        e = EXPERIMENTS[name]
        start = time.perf_counter()
        try:
            results = [run(e, seed, args.verbose, args.backend) for seed in range(1, args.seeds + 1)]
        except OSError as error:  # data that are neither on this machine nor to be had from the network
            print(f"{name:<8} {error}", file=sys.stderr)
            sys.exit(1)
        seconds = (time.perf_counter() - start) / args.seeds
        loss, accuracy = (float(np.mean([r[i] for r in results])) for i in (0, 1))
        band = f"{e.band[0]} to {e.band[1]}" if e.band else ""
        curve = " ".join(f"{value:.3f}" for value in np.mean([r[2] for r in results], axis=0))
        print(f"{name:<8} {e.title:<22} {loss:7.3f} {accuracy:9.4f}  {band:<14} {seconds:7.1f}  {curve}", flush=True)


if __name__ == "__main__":
    main()
