"""Four two-dimensional data sets and how many neurons each needs, with the regions that the networks learn.

python examples/playground.py
python examples/playground.py --set spiral --hidden 8 8 8 --epochs 500
"""

import argparse

import tinynn as nn
from tinynn import Sequential, datasets, optim, plots
from tinynn import layers as L

DEFAULTS = {"clusters": ([], 20), "circle": ([3], 200), "xor": ([5], 300), "spiral": ([8, 8, 8], 600)}
"""For each set the hidden layers that are enough, and how many epochs they take."""


def train(name: str, hidden: list[int], epochs: int, seed: int) -> tuple[Sequential, float, float]:
    """Half of the points to train on, half to test; learning rate 0.03, ReLU, batches of 10, labels -1 and +1."""
    nn.set_seed(seed)
    x, y = getattr(datasets.playground, name)(500, noise=0.0, seed=seed)
    layers = [L.Dense(n, activation="relu") for n in hidden]
    model = Sequential([L.Input(shape=(2,)), *layers, L.Dense(1, activation="tanh")])
    model.compile(optim.SGD(0.03), loss="mse")
    model.fit(x[:250], y[:250], batch_size=10, epochs=epochs, verbose=0)
    train_accuracy, test_accuracy = (
        float(((model.predict(part)[:, 0] > 0) == (labels > 0)).mean())
        for part, labels in ((x[:250], y[:250]), (x[250:], y[250:]))
    )
    return model, train_accuracy, test_accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description="Small networks on two-dimensional data.")
    parser.add_argument("--set", choices=list(DEFAULTS), help="one of the sets (default: all four)")
    parser.add_argument("--hidden", type=int, nargs="*", help="neurons of each hidden layer")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", default="playground_{}.png", help="picture file, {} is the set; '' for none")
    args = parser.parse_args()
    for name in [args.set] if args.set else DEFAULTS:
        hidden = DEFAULTS[name][0] if args.hidden is None else args.hidden
        epochs = args.epochs or DEFAULTS[name][1]
        model, train_accuracy, test_accuracy = train(name, hidden, epochs, args.seed)
        print(f"{name:<9} hidden {hidden!s:<12} training {train_accuracy:.3f}, test {test_accuracy:.3f}", flush=True)
        if args.plot:
            x, y = getattr(datasets.playground, name)(500, noise=0.0, seed=args.seed)
            draw(model, x, y, args.plot.format(name))


def draw(model: Sequential, x, y, path: str) -> None:
    x1, x2, points = plots.grid(x)
    scores = model.predict(points)[:, 0].reshape(len(x2), len(x1))
    plots.decision_boundary(x1, x2, scores, points=x, labels=y, path=path)
    print(f"          {path}")


if __name__ == "__main__":
    main()
