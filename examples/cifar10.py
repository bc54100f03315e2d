"""CIFAR-10: a network in the manner of VGG, at least 84 % after 15 epochs, or ResNet-20; with shifted, flipped images.

    python examples/cifar10.py
    python examples/cifar10.py --model resnet20 --epochs 30
    python examples/cifar10.py --pretrained    # ResNet-20 as it comes with tinynn: 91.73 %, nothing is trained
    python examples/cifar10.py --quick

The images (170 MB) come from the folder that TINYNN_DATA names, else from the network.
"""

import argparse
import sys
import time

import numpy as np

import tinynn as nn
from tinynn import Model, Sequential, applications, datasets, metrics, optim, plots, schedules
from tinynn import layers as L

MEAN, VARIANCE = (125.3, 123.0, 113.9), (63.0**2, 62.1**2, 66.7**2)
"""Of red, green and blue in the training images."""


def vgg() -> Sequential:
    """Two convolutions of 32, two of 64, two of 128 filters, a pool and dropout behind each pair; 0..255 go in."""
    model = Sequential([L.Normalization(mean=MEAN, variance=VARIANCE, input_shape=(32, 32, 3))])
    for filters, rate in ((32, 0.05), (64, 0.1), (128, 0.2)):
        for _ in range(2):
            model.add(L.Conv2D(filters, 3, padding="same", use_bias=False, kernel_initializer="he_normal"))
            model.add(L.BatchNormalization(momentum=0.9))
            model.add(L.Activation("relu"))
        model.add(L.MaxPooling2D(2))
        model.add(L.Dropout(rate))
    model.add(L.Flatten())
    model.add(L.Dense(128, activation="relu"))
    model.add(L.Dropout(0.2))
    model.add(L.Dense(10, activation="softmax"))
    return model


def adam(steps: int) -> optim.Optimizer:
    return optim.Adam(schedules.CosineDecay(0.001, decay_steps=steps))


def momentum(steps: int) -> optim.Optimizer:
    """As in the paper, with a cosine instead of two steps down; decoupled decay of 1e-3 is its 1e-4 in the loss."""
    rate = schedules.CosineDecay(0.01, steps - steps // 20, warmup_target=0.1, warmup_steps=steps // 20)
    return optim.SGD(rate, momentum=0.9, nesterov=True, weight_decay=1e-3)


# name: (model, optimizer for so many steps, images per step)
MODELS = {"vgg": (vgg, adam, 64), "resnet20": (applications.ResNet20, momentum, 128)}


def augmented(x: np.ndarray, rng: np.random.Generator, reach: int = 4) -> np.ndarray:
    """Every image (N, H, W, C) shifted by up to 4 pixels up or down and sideways, and half of them mirrored.

    What a shift brings in is the image's own reflection. Where a thing stands does not change what it is.
    """
    N, H, W, _ = x.shape
    wide = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="reflect")
    down, right = rng.integers(2 * reach + 1, size=(2, N))
    y = np.empty_like(x)
    for i, j in np.ndindex(2 * reach + 1, 2 * reach + 1):
        rows = np.flatnonzero((down == i) & (right == j))
        y[rows] = wide[rows, i : i + H, j : j + W]
    mirrored = rng.random(N) < 0.5
    y[mirrored] = y[mirrored, :, ::-1]
    return y


def train(model: Model, args: argparse.Namespace, x_train, y_train, validation) -> dict[str, list[float]]:
    """One ``fit`` an epoch, each on other shifts of the same images."""
    rng = np.random.default_rng(args.seed)
    record: dict[str, list[float]] = {}
    for epoch in range(args.epochs):
        x = x_train if args.no_augmentation else augmented(x_train, rng)
        history = model.fit(
            x,
            y_train,
            batch_size=args.batch_size,
            initial_epoch=epoch,
            epochs=epoch + 1,
            validation_data=validation,  # only for the curves: nothing is chosen by them
        )
        for name, values in history.history.items():
            record.setdefault(name, []).extend(values)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a convolutional network on CIFAR-10.")
    parser.add_argument("--model", choices=list(MODELS), default="vgg", help="which network (default vgg)")
    parser.add_argument("--pretrained", action="store_true", help="the trained ResNet-20, without training")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the 50,000 images (default 15)")
    parser.add_argument("--batch-size", type=int, help="images per step (default 64 for vgg, 128 for resnet20)")
    parser.add_argument("--no-augmentation", action="store_true", help="the images as they are in every epoch")
    parser.add_argument("--quick", action="store_true", help="1,000 images and one epoch: to see that it runs")
    parser.add_argument("--no-fast-math", dest="fast_math", action="store_false", help="convolutions that round less")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, shuffles, masks and shifts (default 1)")
    parser.add_argument("--plot", default="cifar10.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()

    nn.set_seed(args.seed)
    try:
        (x_train, y_train), (x_test, y_test) = datasets.cifar10.load_data()
    except OSError as error:  # neither on this machine nor to be had from the network
        sys.exit(str(error))
    if args.quick:
        x_train, y_train, x_test, y_test, args.epochs = x_train[:1000], y_train[:1000], x_test[:500], y_test[:500], 1

    build, optimizer, batch_size = MODELS["resnet20" if args.pretrained else args.model]
    args.batch_size = args.batch_size or batch_size
    model = applications.ResNet20(weights="cifar10") if args.pretrained else build()
    model.backend = args.backend
    model.summary()
    model.compile(
        optimizer=optimizer(args.epochs * -(-len(x_train) // args.batch_size)),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        fast_math=args.fast_math,
    )
    start = time.perf_counter()
    record = {} if args.pretrained else train(model, args, x_train, y_train, (x_test, y_test))
    seconds = time.perf_counter() - start

    loss, accuracy = model.evaluate(x_test, y_test, batch_size=250, verbose=0)
    print(f"\nTest loss {loss:.4f}, test accuracy {accuracy:.4f}, trained in {seconds:.1f} s")
    if args.plot:
        names = datasets.cifar10.class_names
        predicted = model.predict(x_test, batch_size=250).argmax(axis=1)
        matrix = metrics.confusion_matrix(y_test, predicted, num_classes=10)
        if record:
            plots.overview(record, matrix, names, title=f"CIFAR-10, {args.model}", path=args.plot)
        else:
            plots.confusion_matrix(matrix, names, path=args.plot)
        print(f"Curves and confusion matrix: {args.plot}")


if __name__ == "__main__":
    main()
