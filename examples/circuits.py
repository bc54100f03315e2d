"""Backpropagation on circuits small enough to check by hand: every node with its value and its gradient.

python examples/circuits.py
"""

import numpy as np

from tinynn import Function, Graph


class Multiply(Function):
    """The multiplication gate: forward multiplies, backward swaps the inputs."""

    def forward(self, graph, x, y):
        self.saved = x, y
        return x * y

    def backward(self, graph, dz):
        x, y = self.saved
        return dz * y, dz * x


def show(title: str, graph: Graph) -> None:
    print(f"{title}\n{graph}\n")


def main() -> None:
    g = Graph(dtype="float64")
    x, y, z = (g.tensor(v, requires_grad=True, name=n) for v, n in ((-2.0, "x"), (5.0, "y"), (-4.0, "z")))
    f = (x + y) * z
    g.backward(f, interior=True)
    show("f = (x + y) z", g)

    g = Graph(dtype="float64")
    w = g.tensor(np.array([2.0, -3.0, -3.0]), requires_grad=True, name="w")
    x = g.tensor(np.array([-1.0, -2.0]), requires_grad=True, name="x")
    neuron = 1 / (1 + (-(w[0] * x[0] + w[1] * x[1] + w[2])).exp())
    g.backward(neuron, interior=True)
    show("a sigmoid neuron of elementary nodes", g)
    print(f"dw = {np.round(w.grad, 4)}, dx = {np.round(x.grad, 4)}\n")

    g = Graph(dtype="float64")
    a, b = (g.tensor(v, requires_grad=True, name=n) for v, n in ((2.0, "x"), (3.0, "y")))
    g.backward(Multiply()(a, b) ** (a + b), interior=True)
    show("(x y) ** (x + y), with a gate of our own", g)


if __name__ == "__main__":
    main()
