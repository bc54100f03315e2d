"""What does a house cost? A small network prices Californian districts, beside a linear model and the mean.

python examples/housing.py
python examples/housing.py --units 128 128 --folds 10
python examples/housing.py --quick

A fifth of the 20,640 districts is held out and looked at once, at the end. On the others everything is decided: four
folds of them take turns in being predicted by a network that has not seen them. Training stops when districts that
were held back for this do not get better, and the weights of the best epoch come back. The model normalises its numbers
itself, with means that its training data told it, so that the saved file takes raw ones.

Mean absolute errors: network 31,900 dollars, the same without hidden layers (a linear model) 45,500, the mean 90,400.
The table (1.4 MB) comes from the folder `tabular` in the folder that TINYNN_DATA names.
"""

import argparse
import sys
import time
from collections.abc import Sequence

import numpy as np

import tinynn as nn
from tinynn import Model, callbacks, datasets, optim, utils
from tinynn import layers as L
from tinynn.plots import canvas

TEST, STOPPING = 0.2, 0.125  # of all districts; of those that a network is given to train on
UNIT = 100_000  # dollars: the network speaks of numbers around 2
PLACES = datasets.california_housing.ocean_proximities
NAMES = ("network", "linear model", "mean")

Inputs = tuple[np.ndarray, np.ndarray]
"""Numbers (N, 12), and in which of five places the district lies, one-hot (N, 5)."""


def inputs(table: np.ndarray, bedrooms_per_room: float) -> Inputs:
    """The table as a model takes it: shares beside the counts, and a column of its own for every place."""
    rooms, bedrooms, people, households, income = table[:, 3:8].T
    bedrooms = np.where(np.isnan(bedrooms), bedrooms_per_room * rooms, bedrooms)
    # Counts and incomes spread over powers of ten: their logarithms do not.
    shares = np.log([rooms / households, bedrooms / rooms, people / households])
    counts = np.log([rooms, bedrooms, people, households, income])
    numbers = np.concatenate([table[:, :3].T, income[None], counts, shares]).T.astype(np.float32)
    return numbers, utils.to_categorical(table[:, 8], num_classes=len(PLACES))


def rows(x: Inputs, which: np.ndarray) -> Inputs:
    return x[0][which], x[1][which]


def network(x: Inputs, units: Sequence[int], backend: str | None) -> Model:
    """Normalised numbers and the place, hidden layers, one price. The means are those of x."""
    numbers, place = L.Input(x[0].shape[1:], name="numbers"), L.Input(x[1].shape[1:], name="place")
    normalization = L.Normalization()
    normalization.adapt(x[0])
    hidden = L.Concatenate()([normalization(numbers), place])
    for n in units:
        hidden = L.Dense(n, activation="relu", kernel_initializer="he_normal")(hidden)
    return Model([numbers, place], L.Dense(1)(hidden), backend=backend)


def train(
    x: Inputs, y: np.ndarray, units: Sequence[int], args: argparse.Namespace, verbose: int = 0
) -> tuple[Model, dict]:
    """A network at its best epoch, found by an eighth of these rows, and its History."""
    order = np.random.default_rng(args.seed).permutation(len(y))
    held = int(STOPPING * len(y))
    learn, check = order[held:], order[:held]
    model = network(rows(x, learn), units, args.backend)
    # The mean absolute error is what we want small, so it is the loss: the few who paid far more count once each.
    model.compile(optimizer=optim.Adam(args.learning_rate), loss="mean_absolute_error")
    history = model.fit(
        rows(x, learn),
        y[learn] / UNIT,
        batch_size=64,
        epochs=args.epochs,
        validation_data=(rows(x, check), y[check] / UNIT),
        callbacks=[
            callbacks.ReduceLROnPlateau(factor=0.3, patience=5),
            callbacks.EarlyStopping(patience=12, restore_best_weights=True),
        ],
        verbose=verbose,
    )
    return model, history.history


def predict(model: Model, x: Inputs) -> np.ndarray:
    return UNIT * model.predict(x, batch_size=1024)[:, 0]


def rivals(x: Inputs, y: np.ndarray, x_test: Inputs, args: argparse.Namespace) -> list[np.ndarray]:
    """The prices of a linear model, which is a network without hidden layers, and the mean price."""
    return [predict(train(x, y, (), args)[0], x_test), np.full(len(x_test[0]), y.mean())]


def mae(y: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.abs(y - prediction).mean())


def cross_validation(x: Inputs, y: np.ndarray, args: argparse.Namespace) -> np.ndarray:
    """Errors (folds, 3): each fold priced by models that were trained on the others."""
    folds = np.array_split(np.random.default_rng(args.seed).permutation(len(y)), args.folds)
    errors = []
    for k, fold in enumerate(folds):
        others = np.concatenate(folds[:k] + folds[k + 1 :])
        model, history = train(rows(x, others), y[others], args.units, args)
        prices = [predict(model, rows(x, fold)), *rivals(rows(x, others), y[others], rows(x, fold), args)]
        errors.append([mae(y[fold], price) for price in prices])
        print(f"Fold {k + 1}: {errors[-1][0]:,.0f} dollars, {len(history['loss'])} epochs", flush=True)
    return np.array(errors)


def draw(history: dict, y: np.ndarray, prices: np.ndarray, cross: np.ndarray, path: str) -> None:
    """The curves, prices predicted against prices paid, and the folds."""
    picture = canvas.figure(12, 4)
    left, middle, right = picture.subplots(1, 3)
    epochs = np.arange(1, len(history["loss"]) + 1)
    for name, colour, label in (("loss", canvas.TRAIN, "training"), ("val_loss", canvas.VALIDATION, "held back")):
        left.plot(epochs, np.array(history[name]) * UNIT / 1000, color=colour, linewidth=1.6, label=label)
    best = int(np.argmin(history["val_loss"]))
    left.axvline(best + 1, color=canvas.PALE, linewidth=1, linestyle=":", label="best epoch")
    left.set_xlabel("epoch")
    left.set_title("Mean absolute error, thousand dollars", loc="left", fontsize=11)
    left.legend(frameon=False)
    middle.plot(y / 1000, prices / 1000, ".", color=canvas.TRAIN, markersize=2, alpha=0.35)
    middle.plot([0, 500], [0, 500], color=canvas.VALIDATION, linewidth=1)
    middle.set_xlabel("true, thousand dollars (500 is 500 or more)")
    middle.set_title("Predicted against true, test districts", loc="left", fontsize=11)
    for place, errors in enumerate(cross.T):
        right.plot(errors / 1000, np.full(len(cross), place), "o", color=canvas.TRAIN, markersize=6, alpha=0.6)
    right.set_yticks(range(len(NAMES)), NAMES)
    right.set_ylim(len(NAMES) - 0.5, -0.5)
    right.set_xlim(left=0)
    right.set_title(f"Error in each of {len(cross)} folds, thousand dollars", loc="left", fontsize=11)
    for axes in (left, middle, right):
        canvas.plain(axes, "bottom", "left")
    canvas.finished(picture, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Price the districts of California.")
    parser.add_argument("--units", type=int, nargs="+", default=[64, 64], help="hidden layers (default 64 64)")
    parser.add_argument("--folds", type=int, default=4, help="of the cross-validation (default 4)")
    parser.add_argument("--epochs", type=int, default=150, help="at most so many (default 150)")
    parser.add_argument("--learning-rate", type=float, default=0.003, help="Adam's, at first (default 0.003)")
    parser.add_argument("--quick", action="store_true", help="5,000 districts, three folds, twelve epochs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of splits, weights and shuffles (default 1)")
    parser.add_argument("--model", default="housing.tinynn", help="file of the trained model")
    parser.add_argument("--plot", default="housing.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()
    if args.folds < 2:
        parser.error("--folds is at least 2")

    nn.set_seed(args.seed)
    start = time.perf_counter()
    try:
        table, y = datasets.california_housing.load_data()
    except OSError as error:
        sys.exit(str(error))
    order = np.random.default_rng(args.seed).permutation(len(y))
    if args.quick:
        order, args.folds, args.epochs = order[:5000], 3, min(args.epochs, 12)
    held = int(TEST * len(order))
    learn, test = order[held:], order[:held]
    # 207 districts have no count of bedrooms: they get the share that is usual in the training set.
    usual = float(np.nanmedian(table[learn, 4] / table[learn, 3]))
    x, x_test = inputs(table[learn], usual), inputs(table[test], usual)
    y, y_test = y[learn], y[test]

    cross = cross_validation(x, y, args)
    model, history = train(x, y, args.units, args, verbose=2)
    model.summary()
    model.save(args.model)
    prices = predict(nn.load_model(args.model), x_test)
    assert np.array_equal(prices, predict(model, x_test))

    tests = [mae(y_test, price) for price in (prices, *rivals(x, y, x_test, args))]

    print(f"\n{len(y):,} districts to learn from, {len(y_test):,} to test; mean absolute errors in dollars")
    print(f"{'model':<14}{'test':>10}{f'{args.folds} folds':>12}{'+-':>8}")
    for name, error, folds in zip(NAMES, tests, cross.T, strict=True):
        print(f"{name:<14}{error:>10,.0f}{folds.mean():>12,.0f}{folds.std(ddof=1):>8,.0f}")
    print(f"Best epoch {int(np.argmin(history['val_loss'])) + 1} of {len(history['loss'])}; saved: {args.model}")
    print(f"{args.folds + 1} networks and as many linear models in {time.perf_counter() - start:.1f} s")
    if args.plot:
        draw(history, y_test, prices, cross, args.plot)
        print(f"Curves, prices and folds: {args.plot}")


if __name__ == "__main__":
    main()
