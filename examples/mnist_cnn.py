"""Two convolutional networks on MNIST: C1 (97.0 % after five epochs of plain gradient descent) and M2 (99.1 %).

python examples/mnist_cnn.py
python examples/mnist_cnn.py --model m2
python examples/mnist_cnn.py --quick
"""

import argparse
import time

import tinynn as nn
from tinynn import Sequential, datasets, metrics, plots, utils
from tinynn import layers as L


def c1() -> Sequential:
    """Two stages of convolution and pooling: 62,346 parameters, shapes 24, 12, 8, 4."""
    model = Sequential()
    model.add(L.Conv2D(32, (5, 5), activation="relu", input_shape=(28, 28, 1)))
    model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Conv2D(64, (5, 5), activation="relu"))
    model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Flatten())
    model.add(L.Dense(10, activation="softmax"))
    return model


def m2() -> Sequential:
    """Three convolutions of 3x3 and a hidden layer: 93,322 parameters."""
    model = Sequential()
    model.add(L.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)))
    model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Conv2D(64, (3, 3), activation="relu"))
    model.add(L.MaxPooling2D((2, 2)))
    model.add(L.Conv2D(64, (3, 3), activation="relu"))
    model.add(L.Flatten())
    model.add(L.Dense(64, activation="relu"))
    model.add(L.Dense(10, activation="softmax"))
    return model


# name: (model, optimizer, images per step)
MODELS = {"c1": (c1, "sgd", 100), "m2": (m2, "rmsprop", 64)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a convolutional network on MNIST's handwritten digits.")
    parser.add_argument("--model", choices=list(MODELS), default="c1", help="which network (default c1)")
    parser.add_argument("--epochs", type=int, default=5, help="passes over the 60,000 images (default 5)")
    parser.add_argument("--quick", action="store_true", help="3,000 images and one epoch: to see that it runs")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and shuffles (default 1)")
    parser.add_argument("--plot", default="mnist_cnn.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()

    nn.set_seed(args.seed)
    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()
    if args.quick:
        x_train, y_train, x_test, y_test, args.epochs = x_train[:3000], y_train[:3000], x_test[:1000], y_test[:1000], 1
    x_train = x_train.reshape(-1, 28, 28, 1).astype("float32") / 255
    x_test = x_test.reshape(-1, 28, 28, 1).astype("float32") / 255

    build, optimizer, batch_size = MODELS[args.model]
    model = build()
    model.backend = args.backend
    model.summary()
    model.compile(loss="categorical_crossentropy", optimizer=optimizer, metrics=["accuracy"])

    start = time.perf_counter()
    history = model.fit(
        x_train,
        utils.to_categorical(y_train, num_classes=10),
        batch_size=batch_size,
        epochs=args.epochs,
        validation_data=(x_test, utils.to_categorical(y_test, num_classes=10)),  # only for the curves
    )
    seconds = time.perf_counter() - start

    loss, accuracy = model.evaluate(x_test, utils.to_categorical(y_test, num_classes=10), verbose=0)
    print(f"\nTest loss {loss:.4f}, test accuracy {accuracy:.4f}, trained in {seconds:.1f} s")
    if args.plot:
        matrix = metrics.confusion_matrix(y_test, model.predict(x_test).argmax(axis=1), num_classes=10)
        plots.overview(history.history, matrix, title=f"MNIST, {args.model.upper()}", path=args.plot)
        print(f"Curves and confusion matrix: {args.plot}")


if __name__ == "__main__":
    main()
