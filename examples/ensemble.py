"""Seven networks know more than one: the mean of their predictions, beside each alone.

python examples/ensemble.py
python examples/ensemble.py --model mlp --epochs 5
python examples/ensemble.py --quick

The seven differ in nothing but their seed: other weights at first, another order of the images. Each makes mistakes of
its own, and in the mean these get lost. Test accuracy of one network: 0.9874 on average, 0.9897 at best; the mean of
seven: 0.9925. The mean is itself a model, `Average` over the seven, and is saved as one file.
"""

import argparse
import time

import numpy as np

import tinynn as nn
from tinynn import Model, Sequential, datasets, optim
from tinynn import layers as L
from tinynn.plots import canvas


def conv(seed: int) -> Sequential:
    """Two small convolutions and a hidden layer: 56,714 parameters."""
    return Sequential(
        [
            L.Conv2D(16, (3, 3), activation="relu", input_shape=(28, 28, 1)),
            L.MaxPooling2D((2, 2)),
            L.Conv2D(32, (3, 3), activation="relu"),
            L.MaxPooling2D((2, 2)),
            L.Flatten(),
            L.Dense(64, activation="relu"),
            L.Dense(10, activation="softmax"),
        ],
        name=f"seed_{seed}",
    )


def mlp(seed: int) -> Sequential:
    """A hidden layer of 128: 101,770 parameters."""
    return Sequential(
        [
            L.Flatten(input_shape=(28, 28, 1)),
            L.Dense(128, activation="relu"),
            L.Dropout(0.2),
            L.Dense(10, activation="softmax"),
        ],
        name=f"seed_{seed}",
    )


MODELS = {"conv": conv, "mlp": mlp}


def together(models: list[Sequential], backend: str | None = None) -> Model:
    """One model that gives the mean of their probabilities."""
    inputs = L.Input((28, 28, 1))
    return Model(inputs, L.Average()([model(inputs) for model in models]), name="ensemble", backend=backend)


def accuracy(probabilities: np.ndarray, y: np.ndarray) -> float:
    return float((probabilities.argmax(axis=-1) == y).mean())


def cross_entropy(probabilities: np.ndarray, y: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-7)).mean())


def growing(probabilities: np.ndarray, y: np.ndarray, draws: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of the accuracy of 1, 2, ... networks, over random orders in which they join."""
    rng = np.random.default_rng(0)
    members = np.arange(1, len(probabilities) + 1)
    found = []
    for _ in range(draws):
        means = np.cumsum(probabilities[rng.permutation(len(members))], axis=0) / members[:, None, None]
        found.append([accuracy(mean, y) for mean in means])
    return np.mean(found, axis=0), np.std(found, axis=0)


def hardest(probabilities: np.ndarray, mean: np.ndarray, y: np.ndarray, count: int) -> np.ndarray:
    """The images that most networks alone get wrong, of those that the mean gets right."""
    wrong = (probabilities.argmax(axis=-1) != y).sum(axis=0)
    wrong[mean.argmax(axis=-1) != y] = 0
    order = np.argsort(-wrong, kind="stable")[:count]
    return order[wrong[order] > 0]


def draw(probabilities: np.ndarray, mean: np.ndarray, x: np.ndarray, y: np.ndarray, path: str) -> None:
    """The errors of each network and of the mean, how they fall as it grows, and what only the mean reads."""
    picture = canvas.figure(12, 3.8)
    left, middle, right = picture.subplots(1, 3)
    errors = [100 * (1 - accuracy(p, y)) for p in (*probabilities, mean)]
    members = np.arange(1, len(probabilities) + 1)
    colours = [*[canvas.TRAIN] * len(members), canvas.VALIDATION]
    left.bar([*map(str, members), "mean"], errors, color=colours, width=0.7)
    for place, error in enumerate(errors):
        left.text(place, error, f"{error:.2f}", ha="center", va="bottom", fontsize=8)
    left.set_title("Errors on the test images, percent", loc="left", fontsize=11)
    left.set_xlabel("network")
    average, deviation = growing(probabilities, y)
    middle.errorbar(members, 100 * (1 - average), 100 * deviation, color=canvas.VALIDATION, marker="o", capsize=3)
    middle.set_title("Errors of the mean, percent", loc="left", fontsize=11)
    middle.set_xlabel("networks in it")
    chosen = hardest(probabilities, mean, y, 15)
    sheet = np.zeros((3 * 28, 5 * 28))
    for place, number in enumerate(chosen):
        row, column = divmod(place, 5)
        sheet[28 * row : 28 * row + 28, 28 * column : 28 * column + 28] = x[number, :, :, 0]
    right.imshow(sheet, cmap="gray_r")
    right.set_xticks([])
    right.set_yticks([])
    right.set_title("Most networks are wrong, the mean is right", loc="left", fontsize=11)
    canvas.plain(left, "bottom")
    canvas.plain(middle, "bottom", "left")
    canvas.plain(right)
    canvas.finished(picture, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seven networks for MNIST, and the mean of what they say.")
    parser.add_argument("--model", choices=list(MODELS), default="conv", help="which networks (default conv)")
    parser.add_argument("--members", type=int, default=7, help="how many (default 7)")
    parser.add_argument("--epochs", type=int, default=3, help="passes of each over the 60,000 images (default 3)")
    parser.add_argument("--quick", action="store_true", help="3,000 images and two epochs: to see that it runs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="of the first network (default 1)")
    parser.add_argument("--save", default="ensemble.tinynn", help="file of the seven together")
    parser.add_argument("--plot", default="ensemble.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()
    if args.members < 1:
        parser.error("--members is at least 1")

    (x, y), (x_test, y_test) = datasets.mnist.load_data()
    if args.quick:
        x, y, x_test, y_test, args.epochs = x[:3000], y[:3000], x_test[:3000], y_test[:3000], 2
    x, x_test = (images[..., None].astype("float32") / 255 for images in (x, x_test))

    start = time.perf_counter()
    models, alone = [], []
    print(f"{'network':<10}{'test accuracy':>14}{'cross-entropy':>15}")
    for seed in range(args.seed, args.seed + args.members):
        nn.set_seed(seed)
        model = MODELS[args.model](seed)
        model.backend = args.backend
        model.compile(optim.Adam(0.002), "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=64, epochs=args.epochs, verbose=0)
        models.append(model)
        alone.append(model.predict(x_test, batch_size=500))
        print(
            f"{model.name:<10}{accuracy(alone[-1], y_test):>14.4f}{cross_entropy(alone[-1], y_test):>15.4f}", flush=True
        )
    probabilities = np.array(alone)
    together(models).save(args.save)
    mean = nn.load_model(args.save, backend=args.backend).predict(x_test, batch_size=500)

    accuracies = [accuracy(p, y_test) for p in probabilities]
    entropies = [cross_entropy(p, y_test) for p in probabilities]
    votes = np.eye(10)[probabilities.argmax(axis=-1)].mean(axis=0)
    print(f"{'average':<10}{np.mean(accuracies):>14.4f}{np.mean(entropies):>15.4f}")
    print(f"{'best':<10}{max(accuracies):>14.4f}{min(entropies):>15.4f}")
    print(f"{'majority':<10}{accuracy(votes, y_test):>14.4f}")
    print(f"{'mean':<10}{accuracy(mean, y_test):>14.4f}{cross_entropy(mean, y_test):>15.4f}")
    print(f"Trained in {time.perf_counter() - start:.1f} s; all of them in one file: {args.save}")
    if args.plot:
        draw(probabilities, mean, x_test, y_test, args.plot)
        print(f"Errors: {args.plot}")


if __name__ == "__main__":
    main()
