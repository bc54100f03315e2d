"""Data sets: MNIST comes with the package, the others are found on disk or downloaded with a checksum."""

from tinynn.datasets import cifar10, fashion_mnist, idx, imdb, mnist, playground, republic, shakespeare

__all__ = ["cifar10", "fashion_mnist", "idx", "imdb", "mnist", "playground", "republic", "shakespeare"]
