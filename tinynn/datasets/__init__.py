"""Data sets: MNIST comes with the package, the others are found on disk or downloaded with a checksum."""

from tinynn.datasets import cifar10, fashion_mnist, idx, mnist, playground

__all__ = ["cifar10", "fashion_mnist", "idx", "mnist", "playground"]
