"""A line through points, one sample at a time: by hand, by graph and by model (w = b = 0, rate 0.001, 100 epochs).

python examples/linear_regression.py
"""

import argparse

import numpy as np

from tinynn import Graph, Parameter, Sequential, losses, optim
from tinynn import layers as L


def points(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """y = 2 x + 1 with noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 10, n)
    return x.astype("float32"), (2 * x + 1 + rng.normal(0, 1, n)).astype("float32")


def by_hand(x: np.ndarray, y: np.ndarray, learning_rate: float, epochs: int) -> tuple[float, float]:
    """w -= lr d/dw (w x + b - y)^2, and so for b: what the graph does, in four lines."""
    w = b = 0.0
    for _ in range(epochs):
        for xi, yi in zip(x, y, strict=True):
            error = w * xi + b - yi
            w, b = w - learning_rate * 2 * error * xi, b - learning_rate * 2 * error
    return float(w), float(b)


def by_graph(x: np.ndarray, y: np.ndarray, learning_rate: float, epochs: int) -> tuple[float, float]:
    """The same with two parameters, a graph and an optimizer."""
    w, b = Parameter((1,), "zeros"), Parameter((1,), "zeros")
    optimizer = optim.SGD(learning_rate)
    optimizer.build([w, b])
    for _ in range(epochs):
        for xi, yi in zip(x, y, strict=True):
            g = Graph(backend="reference")
            error = g.parameter(w) * float(xi) + g.parameter(b) - float(yi)
            g.backward((error * error).sum())
            optimizer.step()
    return float(w.data[0]), float(b.data[0])


def by_model(x: np.ndarray, y: np.ndarray, learning_rate: float, epochs: int) -> tuple[float, float]:
    """The same with ``fit`` and batches of one."""
    model = Sequential([L.Dense(1, kernel_initializer="zeros", input_shape=(1,))])
    model.compile(optim.SGD(learning_rate), losses.MeanSquaredError())
    model.fit(x, y, batch_size=1, epochs=epochs, shuffle=False, verbose=0)
    kernel, bias = model.get_weights()
    return float(kernel[0, 0]), float(bias[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Linear regression, one sample at a time.")
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--learning-rate", type=float, default=0.001)
    args = parser.parse_args()
    x, y = points(args.points, seed=0)
    for name, method in (("by hand", by_hand), ("by graph", by_graph), ("by model", by_model)):
        w, b = method(x, y, args.learning_rate, args.epochs)
        print(f"{name:<9} y = {w:.4f} x + {b:.4f}   mean squared error {np.mean((w * x + b - y) ** 2):.4f}")


if __name__ == "__main__":
    main()
