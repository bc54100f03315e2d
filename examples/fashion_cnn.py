"""Fashion-MNIST with batch normalization, dropout and a decaying learning rate: 92.9 % of the test images.

python examples/fashion_cnn.py
python examples/fashion_cnn.py --epochs 5    # in a third of the time
python examples/fashion_cnn.py --quick

The images (30 MB) come from the folder that TINYNN_DATA names, else from the network.
"""

import argparse
import sys
import time

import tinynn as nn
from tinynn import Sequential, datasets, metrics, optim, plots, schedules
from tinynn import layers as L


def convolution(filters: int, **first) -> list[nn.Layer]:
    """A convolution, normalized before its activation; the normalization has the bias."""
    return [
        L.Conv2D(filters, 3, padding="same", use_bias=False, **first),
        L.BatchNormalization(momentum=0.9),
        L.Activation("relu"),
    ]


def network() -> Sequential:
    """Two stages of two convolutions and a pool, then two dense layers."""
    return Sequential(
        [
            *convolution(32, input_shape=(28, 28, 1)),
            *convolution(32),
            L.MaxPooling2D(2),
            L.Dropout(0.25),
            *convolution(64),
            *convolution(64),
            L.MaxPooling2D(2),
            L.Dropout(0.25),
            L.Flatten(),
            L.Dense(128, activation="relu"),
            L.Dropout(0.4),
            L.Dense(10, activation="softmax"),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a convolutional network on Fashion-MNIST.")
    parser.add_argument("--epochs", type=int, default=15, help="passes over the 60,000 images (default 15)")
    parser.add_argument("--batch-size", type=int, default=100, help="images per step (default 100)")
    parser.add_argument("--learning-rate", type=float, default=0.002, help="Adam's, at the beginning (default 0.002)")
    parser.add_argument("--quick", action="store_true", help="3,000 images and two epochs: to see that it runs")
    parser.add_argument("--no-fast-math", dest="fast_math", action="store_false", help="convolutions that round less")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights, shuffles and masks (default 1)")
    parser.add_argument("--plot", default="fashion_cnn.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()

    nn.set_seed(args.seed)
    try:
        (x_train, y_train), (x_test, y_test) = datasets.fashion_mnist.load_data()
    except OSError as error:  # neither on this machine nor to be had from the network
        sys.exit(str(error))
    if args.quick:
        x_train, y_train, x_test, y_test, args.epochs = x_train[:3000], y_train[:3000], x_test[:1000], y_test[:1000], 2
    x_train, x_test = (x[..., None].astype("float32") / 255 for x in (x_train, x_test))

    model = network()
    model.backend = args.backend
    model.summary()
    steps = -(-len(x_train) // args.batch_size)
    # Down to a hundredth of where it began, a little in every step.
    learning_rate = schedules.ExponentialDecay(args.learning_rate, decay_steps=args.epochs * steps, decay_rate=0.01)
    model.compile(
        optimizer=optim.Adam(learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        fast_math=args.fast_math,
    )

    start = time.perf_counter()
    history = model.fit(
        x_train,
        y_train,
        batch_size=args.batch_size,
        epochs=args.epochs,
        validation_data=(x_test, y_test),  # only for the curves: nothing is chosen by them
    )
    seconds = time.perf_counter() - start

    loss, accuracy = model.evaluate(x_test, y_test, verbose=0)
    print(f"\nTest loss {loss:.4f}, test accuracy {accuracy:.4f}, trained in {seconds:.1f} s")
    if args.plot:
        names = datasets.fashion_mnist.class_names
        matrix = metrics.confusion_matrix(y_test, model.predict(x_test).argmax(axis=1), num_classes=10)
        plots.overview(history.history, matrix, names, title="Fashion-MNIST", path=args.plot)
        print(f"Curves and confusion matrix: {args.plot}")


if __name__ == "__main__":
    main()
