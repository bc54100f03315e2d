"""A digit classifier on MNIST: 512 hidden units, trained by gradient descent, with its curves and confusion matrix.

python examples/mnist_mlp.py
python examples/mnist_mlp.py --epochs 20 --hidden 128 --optimizer adam --plot digits.png
"""

import argparse
import time

import tinynn as nn
from tinynn import Sequential, datasets, metrics, plots, utils
from tinynn import layers as L


def main() -> None:
    parser = argparse.ArgumentParser(description="Train a small network on MNIST's handwritten digits.")
    parser.add_argument("--hidden", type=int, default=512, help="hidden units (default 512)")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the 60,000 images (default 10)")
    parser.add_argument("--batch-size", type=int, default=100, help="images per step (default 100)")
    parser.add_argument("--optimizer", default="sgd", help="sgd, adam, rmsprop, ... (default sgd)")
    parser.add_argument("--backend", default=None, help="cpu, reference or gpu (default: TINYNN_BACKEND, else cpu)")
    parser.add_argument("--seed", type=int, default=1, help="seed of weights and shuffles (default 1)")
    parser.add_argument("--plot", default="mnist_mlp.png", help="where to draw the picture; '' for none")
    args = parser.parse_args()

    nn.set_seed(args.seed)
    (x_train, y_train), (x_test, y_test) = datasets.mnist.load_data()
    x_train = x_train.reshape(60000, 784).astype("float32") / 255
    x_test = x_test.reshape(10000, 784).astype("float32") / 255

    model = Sequential(backend=args.backend)
    model.add(L.Dense(args.hidden, activation="relu", input_shape=(784,)))
    model.add(L.Dense(10, activation="softmax"))
    model.summary()
    model.compile(loss="categorical_crossentropy", optimizer=args.optimizer, metrics=["accuracy"])

    start = time.perf_counter()
    history = model.fit(
        x_train,
        utils.to_categorical(y_train, num_classes=10),
        batch_size=args.batch_size,
        epochs=args.epochs,
        # Only so that the picture shows both curves: nothing is chosen by them. Whoever picks epochs, layers or rates
        # by a validation curve takes rows of the training set for it, validation_split=0.1, and not the test set.
        validation_data=(x_test, utils.to_categorical(y_test, num_classes=10)),
    )
    seconds = time.perf_counter() - start

    loss, accuracy = model.evaluate(x_test, utils.to_categorical(y_test), verbose=0)
    print(f"\nTest loss {loss:.4f}, test accuracy {accuracy:.4f}, trained in {seconds:.1f} s")
    if args.plot:
        matrix = metrics.confusion_matrix(y_test, model.predict(x_test).argmax(axis=1), num_classes=10)
        plots.overview(history.history, matrix, title="MNIST, one hidden layer", path=args.plot)
        print(f"Curves and confusion matrix: {args.plot}")


if __name__ == "__main__":
    main()
