"""Initializers: Keras's names, formulas and defaults."""

import math

import numpy as np
import pytest

from tinynn import initializers as I
from tinynn.parameter import Parameter
from tinynn.random import Generator, Stream


def generator(dtype="float64"):
    return Generator((7, 0), 1, dtype=dtype)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((5,), (5, 5)), ((4, 6), (4, 6)), ((3, 5, 2, 7), (30, 105)), ((3, 4, 5), (12, 15))],
)
def test_fans_count_the_window(shape, expected):
    assert I.fans(shape) == expected


SCALED = {  # class: (numerator, n of fans (i, o), distribution)
    I.GlorotUniform: (1, lambda i, o: (i + o) / 2, "uniform"),
    I.GlorotNormal: (1, lambda i, o: (i + o) / 2, "truncated"),
    I.HeUniform: (2, lambda i, o: i, "uniform"),
    I.HeNormal: (2, lambda i, o: i, "truncated"),
    I.LecunUniform: (1, lambda i, o: i, "uniform"),
    I.LecunNormal: (1, lambda i, o: i, "truncated"),
}


@pytest.mark.parametrize("shape", [(300, 200), (5, 3, 40, 50)])
@pytest.mark.parametrize("cls", SCALED)
def test_variance_and_range(cls, shape):
    numerator, n, kind = SCALED[cls]
    variance = numerator / n(*I.fans(shape))
    x = cls()(shape, generator())
    assert x.shape == shape
    assert x.var() == pytest.approx(variance, rel=0.03)
    assert abs(x.mean()) < 5 * math.sqrt(variance / x.size)
    limit = math.sqrt(3 * variance) if kind == "uniform" else 2 * math.sqrt(variance) / 0.87962566103423978
    assert 0.99 * limit < np.abs(x).max() <= limit


def test_variance_scaling_arguments():
    shape = (20, 3000)
    x = I.VarianceScaling(3.0, "fan_out", "untruncated_normal")(shape, generator())
    assert x.var() == pytest.approx(3 / 3000, rel=0.03)
    assert np.abs(x).max() > 3 * math.sqrt(3 / 3000)
    assert I.VarianceScaling().config() == {
        "scale": 1.0,
        "mode": "fan_in",
        "distribution": "truncated_normal",
        "seed": None,
    }


def test_the_plain_ones():
    g = generator()
    assert not I.Zeros()((2, 3), g).any()
    assert (I.Ones()((2, 3), g) == 1).all()
    assert (I.Constant(2.5)((2, 3), g) == 2.5).all()
    np.testing.assert_array_equal(I.Constant([1, 2, 3])((2, 3), g), [[1, 2, 3]] * 2)
    np.testing.assert_array_equal(I.Identity(2.0)((2, 3), g), [[2, 0, 0], [0, 2, 0]])
    x = I.RandomUniform()((1000,), g)
    assert -0.05 <= x.min() < -0.049
    assert 0.049 < x.max() < 0.05
    assert I.RandomNormal()((10_000,), g).std() == pytest.approx(0.05, rel=0.05)
    assert I.RandomNormal(mean=3)((10_000,), g).mean() == pytest.approx(3, abs=0.01)
    x = I.TruncatedNormal()((10_000,), g)
    assert 0.099 < np.abs(x).max() <= 0.1


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (2, 3, 4), (4, 16)])
def test_orthogonal(shape):
    q = I.Orthogonal(gain=2.0)(shape, generator()).reshape(-1, shape[-1])
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_orthogonal_is_uniform():
    """Without the signs of R the diagonal of Q would be mostly of one sign."""
    diagonals = [np.diagonal(I.Orthogonal(seed=s)((3, 3), generator())) for s in range(300)]
    assert abs(np.sign(diagonals).mean()) < 0.15


@pytest.mark.parametrize("name", sorted(I.NAMES))
def test_names_configs_and_dtypes(name):
    initializer = I.get(name)
    again = I.get({"class": type(initializer).__name__, "config": initializer.config()})
    assert type(again) is type(initializer)
    assert again.config() == initializer.config()
    assert I.get(type(initializer).__name__).config() == initializer.config()
    assert I.get(type(initializer)).config() == initializer.config()
    for dtype in ("float32", "float64"):
        x = initializer((4, 6), generator(dtype))
        assert (x.dtype, x.shape) == (dtype, (4, 6))
        np.testing.assert_array_equal(x, again((4, 6), generator(dtype)))
        np.testing.assert_array_equal(x, initializer((4, 6), generator("float64")).astype(dtype))


@pytest.mark.parametrize("name", sorted(n for n in I.NAMES if hasattr(I.get(n), "seed")))
def test_a_seed_of_its_own_decides_alone(name):
    cls = type(I.get(name))
    seeded = cls(seed=3)
    a, b = seeded((4, 4), generator()), seeded((4, 4), Generator((99, 5), 6))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, cls(seed=4)((4, 4), generator()))
    assert not np.array_equal(cls()((4, 4), generator()), cls()((4, 4), Generator((99, 5), 6)))


def test_a_parameter_draws_by_its_path_in_its_dtype():
    def drawn(name, dtype):
        p = Parameter((3, 4), "he_normal", dtype=dtype)
        p.stream, p.name = Stream(1, 0), name
        return p.data

    assert not np.array_equal(drawn("a", "float64"), drawn("b", "float64"))
    np.testing.assert_array_equal(drawn("a", "float64").astype("float32"), drawn("a", "float32"))


def test_any_callable_will_do():
    p = Parameter((3,), lambda shape, generator: np.full(shape, 4.0))
    assert (p.data == 4).all()


REFUSED = [
    (lambda: I.get("glorot_unifrom"), ValueError, "glorot_uniform"),
    (lambda: I.get(None), TypeError, "got None"),
    (lambda: I.get(3), TypeError, "glorot_uniform"),
    (lambda: I.RandomNormal(stddev=-1), ValueError, "RandomNormal expects stddev >= 0, got -1"),
    (lambda: I.RandomNormal(seed=-1), ValueError, "RandomNormal expects a seed"),
    (lambda: I.RandomUniform(1, 0), ValueError, "minval <= maxval"),
    (lambda: I.VarianceScaling(0), ValueError, "VarianceScaling expects scale > 0"),
    (lambda: I.VarianceScaling(mode="fan_im"), ValueError, "did you mean 'fan_in'"),
    (lambda: I.VarianceScaling(distribution="unifrm"), ValueError, "did you mean 'uniform'"),
    (lambda: I.Constant("one"), TypeError, "Constant expects a number"),
    (lambda: I.Constant([1, 2])((3,), generator()), ValueError, "does not fit a parameter of shape"),
    (lambda: I.Identity()((3,), generator()), ValueError, "Identity expects a matrix"),
    (lambda: I.Orthogonal()((3,), generator()), ValueError, "Orthogonal expects a shape of two axes"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
