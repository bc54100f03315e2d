"""Data sets: MNIST comes with the package, the others are found on disk or downloaded with a checksum."""

from tinynn.datasets import (
    air_pollution,
    airline_passengers,
    cifar10,
    daily_temperatures,
    fashion_mnist,
    idx,
    imdb,
    mnist,
    movie_snippets,
    names,
    playground,
    republic,
    sentences,
    shakespeare,
    sms_spam,
    sunspots,
)

__all__ = [
    "air_pollution",
    "airline_passengers",
    "cifar10",
    "daily_temperatures",
    "fashion_mnist",
    "idx",
    "imdb",
    "mnist",
    "movie_snippets",
    "names",
    "playground",
    "republic",
    "sentences",
    "shakespeare",
    "sms_spam",
    "sunspots",
]
