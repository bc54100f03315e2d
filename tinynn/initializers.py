"""Initializers: the values that parameters start with, under Keras's names and with its defaults.

An initializer is called with a shape and a ``tinynn.random.Generator`` and returns a host array; the parameter moves
it to its backend and dtype. With a ``seed`` of its own it draws from that seed alone, so it gives the same values at
every call; without one it draws from the generator, that is from the model's stream and the parameter's path. By hand
the generator may be left out: ``GlorotUniform(seed=1)((2, 2))``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from tinynn.config import Configured, at_least, restore
from tinynn.errors import no_attribute, unknown
from tinynn.random import Generator, Stream
from tinynn.typing import ArrayLike, Shape

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]

TRUNCATED_STDDEV = 0.87962566103423978
"""The standard deviation of a standard normal that is cut off at two standard deviations."""


@runtime_checkable
class Initializer(Protocol):
    """Any callable of a shape and a generator will do: ``lambda shape, generator: generator.normal(shape)``."""

    def __call__(self, shape: Shape, generator: Generator) -> np.ndarray: ...


class Zeros(Configured):
    """0 everywhere."""

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        return np.zeros(shape, dtype_of(generator))


class Ones(Configured):
    """1 everywhere."""

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        return np.ones(shape, dtype_of(generator))


class Constant(Configured):
    """``value`` everywhere; an array is spread by NumPy's rules. ValueError when its shape does not fit."""

    def __init__(self, value: ArrayLike = 0.0):
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"Constant expects a number or an array of numbers, got {value!r}")
        self.value = array.tolist()

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        try:
            return np.full(shape, self.value, dtype_of(generator))
        except ValueError:
            raise ValueError(
                f"Constant has a value of shape {np.shape(self.value)}, which does not fit a parameter of shape {shape}"
            ) from None


class Identity(Configured):
    """``gain`` on the diagonal, 0 elsewhere; for matrices only."""

    def __init__(self, gain: float = 1.0):
        self.gain = gain

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        if len(shape) != 2:
            raise ValueError(f"Identity expects a matrix, got the shape {shape}")
        return self.gain * np.eye(shape[0], shape[1], dtype=dtype_of(generator))


class Random(Configured):
    """What the random initializers share: the generator they draw from."""

    seed: int | None

    def source(self, generator: Generator | None) -> Generator:
        """That of the initializer's own seed, or the given generator; without either one of a fresh stream."""
        if self.seed is not None:
            return Generator((self.seed, 0), 0, dtype=dtype_of(generator))
        return Stream().generator("initializer", dtype=dtype_of(None)) if generator is None else generator


class RandomNormal(Random):
    """Normal values of the given mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        self.mean = mean
        self.stddev = at_least(stddev, 0, "stddev", type(self).__name__)
        self.seed = checked_seed(seed, self)

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        return self.source(generator).normal(shape, self.mean, self.stddev)


class TruncatedNormal(Random):
    """Normal values, redrawn where they lie more than two standard deviations from the mean."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None):
        self.mean = mean
        self.stddev = at_least(stddev, 0, "stddev", type(self).__name__)
        self.seed = checked_seed(seed, self)

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        return self.source(generator).truncated_normal(shape, self.mean, self.stddev)


class RandomUniform(Random):
    """Uniform values in [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None):
        if not -math.inf < minval <= maxval < math.inf:
            raise ValueError(f"RandomUniform expects minval <= maxval, got {minval!r} and {maxval!r}")
        self.minval, self.maxval = minval, maxval
        self.seed = checked_seed(seed, self)

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        return self.source(generator).uniform(shape, self.minval, self.maxval)


class VarianceScaling(Random):
    """Mean 0 and variance scale / n, where n is the fan in, the fan out, or their mean.

    mode:         "fan_in", "fan_out" or "fan_avg"
    distribution: "truncated_normal" (or "normal"), "untruncated_normal", or "uniform" in +-sqrt(3 scale / n)

    A truncated normal is drawn with a standard deviation of sqrt(scale / n) / 0.8796, so that after the cut it has
    the variance that was asked for.
    """

    MODES = ("fan_in", "fan_out", "fan_avg")
    DISTRIBUTIONS = ("truncated_normal", "normal", "untruncated_normal", "uniform")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
    ):
        owner = type(self).__name__
        if at_least(scale, 0, "scale", owner) == 0:
            raise ValueError(f"{owner} expects scale > 0, got {scale!r}")
        if mode not in self.MODES:
            raise unknown(f"mode of {owner}", mode, self.MODES)
        if distribution not in self.DISTRIBUTIONS:
            raise unknown(f"distribution of {owner}", distribution, self.DISTRIBUTIONS)
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.seed = checked_seed(seed, self)

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        fan_in, fan_out = fans(shape)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        draw = self.source(generator)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return draw.uniform(shape, -limit, limit)
        if self.distribution == "untruncated_normal":
            return draw.normal(shape, 0.0, math.sqrt(variance))
        return draw.truncated_normal(shape, 0.0, math.sqrt(variance) / TRUNCATED_STDDEV)


class GlorotUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot and Bengio, AISTATS 2010."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_avg", "uniform", seed)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (fan_in + fan_out). Glorot and Bengio, AISTATS 2010."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed)


class HeUniform(VarianceScaling):
    """Uniform in +-sqrt(6 / fan_in). He et al., ICCV 2015."""

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_in", "uniform", seed)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / fan_in. He et al., ICCV 2015."""

    def __init__(self, seed: int | None = None):
        super().__init__(2.0, "fan_in", "truncated_normal", seed)


class LecunUniform(VarianceScaling):
    """Uniform in +-sqrt(3 / fan_in). LeCun et al., "Efficient BackProp", 1998."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_in", "uniform", seed)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / fan_in. LeCun et al., "Efficient BackProp", 1998."""

    def __init__(self, seed: int | None = None):
        super().__init__(1.0, "fan_in", "truncated_normal", seed)


class Orthogonal(Random):
    """``gain`` times a random matrix with orthonormal rows or columns, whichever are fewer.

    All axes but the last count as rows. The Q of the QR decomposition of a normal matrix, its columns' signs chosen so
    that R has a positive diagonal, which makes Q uniform over the orthogonal matrices. Saxe et al., ICLR 2014.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None):
        self.gain = gain
        self.seed = checked_seed(seed, self)

    def __call__(self, shape: Shape, generator: Generator | None = None) -> np.ndarray:
        if len(shape) < 2:
            raise ValueError(f"Orthogonal expects a shape of two axes or more, got {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        z = self.source(generator).double().normal((max(rows, columns), min(rows, columns)))
        q, r = np.linalg.qr(z)
        q *= np.where(np.diagonal(r) < 0, -self.gain, self.gain)
        return np.ascontiguousarray(q if rows >= columns else q.T, dtype_of(generator)).reshape(shape)


def dtype_of(generator: Generator | None) -> Any:
    """What the values are: the generator's dtype, float32 without one."""
    return np.dtype("float32") if generator is None else generator.dtype


def fans(shape: Shape) -> tuple[int, int]:
    """(fan in, fan out): a convolution kernel (KH, KW, C, O) counts its window, KH KW C and KH KW O.

    >>> fans((784, 10)), fans((3, 3, 16, 32))
    ((784, 10), (144, 288))
    """
    if len(shape) < 2:
        return (shape[0], shape[0]) if shape else (1, 1)
    window = math.prod(shape[:-2])
    return window * shape[-2], window * shape[-1]


def checked_seed(seed: int | None, owner: object) -> int | None:
    """None, or an integer from 0 to 2**32 - 1."""
    if seed is None:
        return None
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"{type(owner).__name__} expects a seed of None or 0 <= seed < 2**32, got {seed!r}")
    return int(seed)


# Keras's names in small letters: ``initializers.he_normal(seed=1)``.
zeros, ones, constant, identity = Zeros, Ones, Constant, Identity
random_normal, truncated_normal, random_uniform = RandomNormal, TruncatedNormal, RandomUniform
variance_scaling, orthogonal = VarianceScaling, Orthogonal
glorot_uniform, glorot_normal = GlorotUniform, GlorotNormal
he_uniform, he_normal = HeUniform, HeNormal
lecun_uniform, lecun_normal = LecunUniform, LecunNormal

CLASSES: dict[str, Any] = {
    c.__name__: c
    for c in (
        Zeros, Ones, Constant, Identity, RandomNormal, TruncatedNormal, RandomUniform, VarianceScaling, GlorotUniform,
        GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal,
    )
}  # fmt: skip

NAMES: dict[str, Any] = {
    "zeros": Zeros, "zero": Zeros, "ones": Ones, "one": Ones, "constant": Constant, "identity": Identity,
    "eye": Identity, "random_normal": RandomNormal, "normal": RandomNormal, "truncated_normal": TruncatedNormal,
    "random_uniform": RandomUniform, "uniform": RandomUniform, "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform, "xavier_uniform": GlorotUniform, "glorot_normal": GlorotNormal,
    "xavier_normal": GlorotNormal, "he_uniform": HeUniform, "kaiming_uniform": HeUniform, "he_normal": HeNormal,
    "kaiming_normal": HeNormal, "lecun_uniform": LecunUniform, "lecun_normal": LecunNormal, "orthogonal": Orthogonal,
    "OrthogonalInitializer": Orthogonal,
}  # fmt: skip


def get(identifier: Any) -> Initializer:
    """An initializer from a name ("he_normal", "HeNormal"), an object, a class, or {"class": ..., "config": ...}.

    Raises ValueError for a name that is not known, TypeError for what is none of these.
    """
    identifier = restore(identifier, CLASSES, "initializer")
    if isinstance(identifier, str):
        table = {**NAMES, **CLASSES}
        if identifier not in table:
            raise unknown("initializer", identifier, NAMES)
        identifier = table[identifier]
    if isinstance(identifier, type):
        identifier = identifier()
    if not callable(identifier):
        raise TypeError(
            "an initializer is a name such as 'glorot_uniform', an object such as HeNormal(), or a callable of "
            f"(shape, generator); got {identifier!r}"
        )
    return identifier  # type: ignore[no-any-return]


if not TYPE_CHECKING:  # mypy shall go on finding wrong names itself

    def __getattr__(name):
        raise no_attribute(__name__, name, __all__)
