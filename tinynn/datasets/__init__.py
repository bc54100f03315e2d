"""Data sets: MNIST comes with the package, the others are found on disk or downloaded with a checksum."""

from tinynn.datasets import fashion_mnist, idx, mnist, playground

__all__ = ["fashion_mnist", "idx", "mnist", "playground"]
