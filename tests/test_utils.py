"""utils: one-hot rows and normalised arrays, with Keras's meaning and clear refusals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinynn.utils import normalize, to_categorical


def test_rows_of_the_identity():
    np.testing.assert_array_equal(to_categorical([0, 2, 1]), np.eye(3)[[0, 2, 1]])
    assert to_categorical([0, 2, 1]).dtype == np.float32
    np.testing.assert_array_equal(to_categorical([7], 10), [[0, 0, 0, 0, 0, 0, 0, 1, 0, 0]])


@pytest.mark.parametrize(
    ("shape", "expected"), [((4,), (4, 5)), ((4, 1), (4, 5)), ((2, 3), (2, 3, 5)), ((2, 3, 1), (2, 3, 5)), ((), (5,))]
)
def test_shapes_are_those_of_keras(shape, expected):
    assert to_categorical(np.full(shape, 4)).shape == expected
    assert to_categorical(np.full((1,), 4)).shape == (1, 5)


@given(st.lists(st.integers(0, 30), min_size=1), st.integers(31, 40))
def test_argmax_takes_it_back(labels, num_classes):
    rows = to_categorical(labels, num_classes)
    assert rows.shape == (len(labels), num_classes)
    np.testing.assert_array_equal(rows.argmax(axis=1), labels)
    np.testing.assert_array_equal(rows.sum(axis=1), 1)


@pytest.mark.parametrize(
    "y",
    [
        [2.0, 0.0],
        (2, 0),
        np.array([2, 0], np.uint8),
        np.array([2, 0], ">i4"),
        np.array([2, 9, 0, 9])[::2],
        np.asfortranarray([[2], [0]]),
        np.array([2, 0], np.float16),
        pd.Series([2, 0], index=[5, 6]),
    ],
)
def test_labels_of_every_kind(y):
    np.testing.assert_array_equal(to_categorical(y, 3), [[0, 0, 1], [1, 0, 0]])


def test_booleans_empty_and_dtype():
    np.testing.assert_array_equal(to_categorical([True, False]), [[0, 1], [1, 0]])
    assert to_categorical([], 4).shape == (0, 4)
    assert to_categorical([1], dtype="int32").dtype == np.int32


@pytest.mark.parametrize(
    ("y", "num_classes", "message"),
    [
        ([0, -1], None, r"y\[1\] = -1 is negative.*\(y \+ 1\) // 2"),
        ([0, 1.5], None, r"y\[1\] = 1.5 is fractional"),
        ([0, np.nan], None, r"y\[1\] = nan is not a number of a class"),
        ([[0], [np.inf]], None, r"y\[1, 0\] = inf"),
        ([3, 10], 10, r"y\[1\] = 10 does not fit num_classes=10, which allows 0 to 9"),
        ([1e300], None, "too large"),
        (["cat"], None, r"np.unique\(y, return_inverse=True\)"),
        ([1 + 2j], None, "complex128"),
        (np.array([0, None]), None, "object"),
        ([], None, r"to_categorical\(y, num_classes=...\)"),
        ([0], 0, "num_classes is a positive whole number; got 0"),
        ([0], -3, "got -3"),
    ],
)
def test_refused_labels(y, num_classes, message):
    with pytest.raises(ValueError, match=message):
        to_categorical(y, num_classes)


def test_the_input_is_left_alone():
    y = np.array([[1], [0]])
    y.flags.writeable = False
    to_categorical(y)
    np.testing.assert_array_equal(y, [[1], [0]])


@pytest.mark.parametrize("order", [1, 2, np.inf])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_normalised_rows_have_norm_one(axis, order):
    x = np.random.default_rng(0).standard_normal((3, 4, 5))
    np.testing.assert_allclose(np.linalg.norm(normalize(x, axis, order), order, axis), 1)


def test_normalize_keeps_zeros_and_dtypes():
    np.testing.assert_array_equal(normalize([[0, 0], [3, 4]]), [[0, 0], [0.6, 0.8]])
    assert normalize(np.ones((2, 2), np.float32)).dtype == np.float32
    with pytest.raises(ValueError, match="real numbers"):
        normalize(["a"])
