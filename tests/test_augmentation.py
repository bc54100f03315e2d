"""Augmentation of images: every change against a plain loop, the same bytes whoever computes, Keras's conventions."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinynn as nn
from tests.device import device_backend
from tinynn import backends
from tinynn.backends.base import Fill
from tinynn.data import Augmentation, ImageDataGenerator, Source
from tinynn.data import augmentation as aug
from tinynn.data.affine import matrices, resample

FILLS = ("nearest", "constant", "reflect", "wrap")


def images(*shape: int, dtype: Any = "uint8", seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).integers(0, 256, shape)
    return values.astype(dtype) if dtype == "uint8" else (values / 7).astype(dtype)


# -- resampling against loops ------------------------------------------------------------------------------------------


def place(k: int, n: int, fill: str) -> int:
    """By walking: one step at a time back into the image."""
    while not 0 <= k < n:
        if fill == "wrap":
            k += n if k < 0 else -n
        elif fill == "reflect":
            k = -k - 1 if k < 0 else 2 * n - 1 - k
        else:
            k = 0 if k < 0 else n - 1
    return k


def slow(image: np.ndarray, m: np.ndarray, size: tuple[int, int], fill: str, cval: float, order: int) -> np.ndarray:
    """One image, pixel by pixel, in float64."""
    H, W, C = image.shape
    out = np.empty((*size, C))
    for i in range(size[0]):
        for j in range(size[1]):
            r, c = (float(row @ (i, j, 1)) for row in m)
            if fill == "constant" and not (-1e-6 <= r <= H - 1 + 1e-6 and -1e-6 <= c <= W - 1 + 1e-6):
                out[i, j] = cval
            elif order == 0 or (m == np.rint(m)).all():
                out[i, j] = image[place(math.floor(r + 0.5), H, fill), place(math.floor(c + 0.5), W, fill)]
            else:
                a, b = math.floor(r), math.floor(c)
                total = 0.0
                for da, wa in ((0, 1 - (r - a)), (1, r - a)):
                    for db, wb in ((0, 1 - (c - b)), (1, c - b)):
                        total += wa * wb * image[place(a + da, H, fill), place(b + db, W, fill)].astype(float)
                out[i, j] = total
    return out


@st.composite
def tasks(draw: Any) -> tuple[np.ndarray, np.ndarray, tuple[int, int], str, float]:
    N, H, W, C = (draw(st.integers(1, n)) for n in (3, 7, 7, 4))
    size = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    dtype = draw(st.sampled_from(["uint8", "float32"]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    m = rng.uniform(-1.5, 1.5, (N, 2, 3)) * (1, 1, 10)
    if draw(st.booleans()):
        m = np.rint(m)
    return images(N, H, W, C, dtype=dtype), m, size, draw(st.sampled_from(FILLS)), draw(st.sampled_from([0.0, 9.0]))


@settings(max_examples=60, deadline=None)
@given(tasks())
def test_resampling_is_that_of_a_loop(task: Any) -> None:
    x, m, size, fill, cval = task
    for order in (0, 1):
        expected = np.stack([slow(image, each, size, fill, cval, order) for image, each in zip(x, m, strict=True)])
        result = resample(x, m, size, fill, cval, order, dtype="float32")
        np.testing.assert_allclose(result, expected, atol=2e-3)
        if x.dtype == np.uint8:
            assert np.abs(resample(x, m, size, fill, cval, order).astype(float) - expected).max() <= 0.502


@pytest.mark.parametrize("kinds", [("uint8", "uint8"), ("uint8", "float32"), ("float32", "float32")])
@pytest.mark.parametrize("fill", list(Fill))
def test_backends_give_the_same_bytes(kinds: tuple[str, str], fill: Fill) -> None:
    x, m = images(5, 9, 8, 3, dtype=kinds[0]), np.random.default_rng(1).uniform(-1, 1, (5, 2, 3)) * (1, 1, 12)
    for order in (0, 1):
        expected = np.empty((5, 6, 7, 3), kinds[1])
        backends.get("reference").resample.affine(expected, x, m, fill, 4.0, order)
        result = np.empty_like(expected)
        backends.get("cpu").resample.affine(result, x, m, fill, 4.0, order)
        assert result.tobytes() == expected.tobytes()
        device = device_backend()
        out = device.empty(expected.shape, kinds[1])
        device.resample.affine(out, device.asarray(x, x.dtype), device.asarray(m, "float64"), fill, 4.0, order)
        assert device.to_numpy(out).tobytes() == expected.tobytes()


@pytest.mark.parametrize("fill", list(Fill))
def test_points_very_far_outside_are_the_fill_too(fill: Fill) -> None:
    x, m = images(2, 9, 8, 3, dtype="uint8"), np.random.default_rng(1).uniform(-1, 1, (2, 2, 3))
    m[:, :, 2] += [[5e9, -7e12], [-1e200, 3e10]]
    expected, result = np.empty((2, 6, 7, 3), np.float32), np.empty((2, 6, 7, 3), np.float32)
    backends.get("reference").resample.affine(expected, x, m, fill, 4.0, 1)
    backends.get("cpu").resample.affine(result, x, m, fill, 4.0, 1)
    assert result.tobytes() == expected.tobytes() and result.min() >= 0 and result.max() <= 255


def test_any_number_of_threads_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynn.backends.cpu import resample as row

    monkeypatch.setattr(row, "SERIAL_BELOW", 0)
    x, before = images(7, 65, 40, 3), backends.get_num_threads()
    found = set()
    try:
        for threads in (1, 2, 3):
            backends.set_num_threads(threads)
            for _ in range(3):
                found.add(aug.affine(x, theta=np.arange(7) * 13.0, zx=0.7, dtype="float32").tobytes())
    finally:
        backends.set_num_threads(before)
    assert len(found) == 1


def test_infinity_and_nan_stay_where_they_are() -> None:
    x = np.ones((1, 6, 6, 1), np.float32)
    x[0, 2, 3], x[0, 4, 1] = np.nan, np.inf
    for flipped in (aug.affine(x, flip_horizontal=True), aug.affine(x, tx=2.0), aug.affine(x, ty=-1)):
        assert np.isfinite(flipped).sum() >= 34
    turned = aug.affine(x, theta=20.0)
    assert np.isnan(turned).any()
    assert np.isfinite(turned).any()


# -- conventions -------------------------------------------------------------------------------------------------------

SMALL = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)


def square(x: np.ndarray) -> list[list[float]]:
    return np.rint(x[0, :, :, 0]).tolist()


def test_literal_examples() -> None:
    assert square(SMALL) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert square(aug.affine(SMALL, tx=1)) == [[1, 2, 2], [4, 5, 5], [7, 8, 8]]
    assert square(aug.affine(SMALL, ty=1)) == [[3, 4, 5], [6, 7, 8], [6, 7, 8]]
    assert square(aug.affine(SMALL, tx=-2, fill_mode="constant", cval=9)) == [[9, 9, 0], [9, 9, 3], [9, 9, 6]]
    assert square(aug.affine(SMALL, tx=2, fill_mode="reflect")) == [[2, 2, 1], [5, 5, 4], [8, 8, 7]]
    assert square(aug.affine(SMALL, tx=2, fill_mode="wrap")) == [[2, 0, 1], [5, 3, 4], [8, 6, 7]]
    assert square(aug.affine(SMALL, theta=90)) == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]  # counter-clockwise
    assert square(aug.affine(SMALL, theta=90, fill_mode="constant", cval=-1)) == [[2, 5, 8], [1, 4, 7], [0, 3, 6]]
    assert square(aug.affine(SMALL, flip_horizontal=True)) == [[2, 1, 0], [5, 4, 3], [8, 7, 6]]
    assert square(aug.affine(SMALL, flip_vertical=True)) == [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
    assert aug.affine(SMALL, zx=0.5)[0, :, :, 0].tolist() == [[0.5, 1, 1.5], [3.5, 4, 4.5], [6.5, 7, 7.5]]
    assert aug.affine(SMALL, zy=0.5)[0, :, 0, 0].tolist() == [1.5, 3, 4.5]
    assert aug.affine(SMALL, tx=0.25)[0, 0, :, 0].tolist() == [0.25, 1.25, 2]
    wide = np.arange(8, dtype=np.uint8).reshape(1, 2, 4, 1)
    assert square(aug.affine(wide, theta=180)) == [[7, 6, 5, 4], [3, 2, 1, 0]]  # around its own centre


def keras_matrix(theta: float, tx: float, ty: float, shear: float, zx: float, zy: float, size: int) -> np.ndarray:
    """As Keras composes it (keras/src/legacy/preprocessing/image.py), for a square image."""
    a, s = np.deg2rad(theta), np.deg2rad(shear)
    rotation = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    shift = np.array([[1, 0, tx], [0, 1, ty], [0, 0, 1]])
    slant = np.array([[1, -np.sin(s), 0], [0, np.cos(s), 0], [0, 0, 1]])
    zoom = np.diag([zx, zy, 1.0])
    o = size / 2 - 0.5
    there, back = np.array([[1, 0, o], [0, 1, o], [0, 0, 1]]), np.array([[1, 0, -o], [0, 1, -o], [0, 0, 1]])
    m = there @ rotation @ shift @ slant @ zoom @ back
    m[:, [0, 1]] = m[:, [1, 0]]
    m[[0, 1]] = m[[1, 0]]
    return m[:2]


@given(st.tuples(*[st.floats(-90, 90)] * 4), st.tuples(*[st.floats(0.2, 3)] * 2), st.integers(1, 40), st.booleans())
@settings(max_examples=50, deadline=None)
def test_matrices_are_those_of_keras(angles: Any, zooms: Any, size: int, flip: bool) -> None:
    theta, tx, ty, shear = angles
    expected = keras_matrix(theta, tx, ty, shear, *zooms, size)
    np.testing.assert_allclose(matrices(1, size, size, theta, tx, ty, shear, *zooms)[0], expected, atol=1e-9)
    flipped = matrices(1, size, size, theta, tx, ty, shear, *zooms, flip, True)[0]
    for i, j in ((0, 0), (size - 1, 0), (0, size - 1)):  # Keras flips what has been turned
        from_j = size - 1 - j if flip else j
        np.testing.assert_allclose(flipped @ (i, j, 1), expected @ (size - 1 - i, from_j, 1), atol=1e-8)


# -- values ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_values_against_loops(dtype: str) -> None:
    x, amount = images(4, 5, 6, 3, dtype=dtype), np.array([0.5, 1.0, 1.3, 2.0], np.float32)
    whole = dtype == "uint8"
    for n in range(4):
        wide = x[n].astype(np.float64)
        expected = {
            aug.brightness: np.clip(wide * amount[n], 0, 255),
            aug.contrast: np.clip(wide.mean((0, 1)) + amount[n] * (wide - wide.mean((0, 1))), 0, 255),
            aug.channel_shift: np.clip(wide + amount[n], wide.min(), wide.max()),
        }
        for change, right in expected.items():
            result = change(x, amount)
            assert result.dtype == dtype
            np.testing.assert_allclose(result[n], right, atol=0.5001 if whole else 1e-3)


def test_flip_is_that_of_each_image() -> None:
    x = images(3, 4, 5, 2)
    result = aug.flip(x, [True, False, True], [False, True, True])
    np.testing.assert_array_equal(result[0], x[0][:, ::-1])
    np.testing.assert_array_equal(result[1], x[1][::-1])
    np.testing.assert_array_equal(result[2], x[2][::-1, ::-1])
    np.testing.assert_array_equal(result, aug.affine(x, flip_horizontal=[1, 0, 1], flip_vertical=[0, 1, 1]))


def test_crops() -> None:
    x = images(2, 6, 7, 3)
    np.testing.assert_array_equal(aug.crop(x, (2, 3), [1, 4], [0, 2])[1], x[1, 4:6, 2:5])
    np.testing.assert_array_equal(aug.center_crop(x, (2, 3)), x[:, 2:4, 2:5])
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    rng = np.random.default_rng(3)
    for _ in range(5):
        part = aug.random_crop(x, (6, 7), rng, padding=2)[0]
        assert any(np.array_equal(part, padded[0, i : i + 6, j : j + 7]) for i in range(5) for j in range(5))
    with pytest.raises(ValueError, match="no part of 7 x 7"):
        aug.random_crop(x, (7, 7), rng)


def test_cutout_paints_a_square() -> None:
    x = images(2, 6, 6, 1) | 1
    result = aug.cutout(x, 3, [0, 3], [5, 2], value=0)
    assert (result[0, :2, 4:] == 0).all()  # what sticks out is lost
    assert (result == 0).sum() == 4 + 9
    assert (result[1, 2:5, 1:4] == 0).all()


def test_mixup_mixes_labels() -> None:
    x, y = images(3, 2, 2, 1, dtype="float32"), np.eye(3)
    mixed, labels = aug.mixup(x, y, [1.0, 0.25, 0.5], [2, 0, 1])
    np.testing.assert_allclose(mixed[0], x[0])
    np.testing.assert_allclose(mixed[1], 0.25 * x[1] + 0.75 * x[0], rtol=1e-6)
    np.testing.assert_allclose(labels, [[1, 0, 0], [0.75, 0.25, 0], [0, 0.5, 0.5]])
    with pytest.raises(ValueError, match="to_categorical"):
        aug.mixup(x, np.arange(3), 0.5, [0, 1, 2])


# -- drawing -----------------------------------------------------------------------------------------------------------

EVERYTHING = {
    "rotation_range": 40, "width_shift_range": 0.2, "height_shift_range": 0.2, "shear_range": 0.2, "zoom_range": 0.2,
    "channel_shift_range": 20.0, "brightness_range": (0.8, 1.2), "horizontal_flip": True, "vertical_flip": True,
}  # fmt: skip


def test_draws_lie_in_their_ranges() -> None:
    change = Augmentation(**EVERYTHING, contrast_range=(0.5, 0.6))  # type: ignore[arg-type]
    draws = change.draw(2000, 10, 50, np.random.default_rng(0))
    limits = {
        "theta": (-40, 40), "tx": (-10, 10), "ty": (-2, 2), "shear": (-0.2, 0.2), "zx": (0.8, 1.2), "zy": (0.8, 1.2),
        "channel_shift": (-20, 20), "brightness": (0.8, 1.2), "contrast": (0.5, 0.6), "flip_horizontal": (0, 1),
        "flip_vertical": (0, 1),
    }  # fmt: skip
    assert draws.keys() == limits.keys()
    for name, (low, high) in limits.items():
        values = draws[name].astype(float)
        assert low <= values.min() <= low + 0.05 * (high - low) <= high - 0.05 * (high - low) <= values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.05 * (high - low)


@pytest.mark.parametrize(
    ("extent", "expected"),
    [(3, {-2, -1, 0, 1, 2}), ([1, 4], {-4, -1, 1, 4}), ([0.1, 0.3], {-6, -2, 2, 6}), (0, {0}), (0.0, {0})],
)
def test_shift_ranges_as_in_keras(extent: Any, expected: set[int]) -> None:
    draws = Augmentation(width_shift_range=extent).draw(200, 5, 20, np.random.default_rng(0))
    assert {round(float(v), 6) for v in draws.get("tx", np.zeros(1))} == expected


def test_all_at_once() -> None:
    change = Augmentation(crop=(8, 8), crop_padding=2, cutout=3, mixup=0.4, **EVERYTHING)  # type: ignore[arg-type]
    x, y = images(6, 10, 12, 3), np.eye(6, dtype=np.float32)
    a, labels = change(x, y, rng=np.random.default_rng(5))
    assert (a.shape, a.dtype, labels.shape) == ((6, 8, 8, 3), np.uint8, (6, 6))
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    b, _ = change(x, y, rng=np.random.default_rng(5))
    assert a.tobytes() == b.tobytes()
    assert a.tobytes() != change(x, y, rng=np.random.default_rng(6))[0].tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fill_mode": "mirror"}, "unknown fill_mode"),
        ({"zoom_range": (1, 2, 3)}, "zoom_range"),
        ({"zoom_range": 2.0}, "zoom_range"),
        ({"brightness_range": 0.5}, "brightness_range"),
        ({"rotation_range": (1, 2)}, "rotation_range"),
        ({"interpolation_order": 3}, "interpolation_order"),
        ({"mixup": 0}, "mixup"),
    ],
)
def test_arguments_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Augmentation(**options)


def test_other_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match=r"write images\[None\]"):
        aug.affine(np.zeros((3, 3, 1)))
    with pytest.raises(TypeError, match="dtype <U1"):
        aug.affine(np.full((1, 1, 1, 1), "a"))
    with pytest.raises(ValueError, match="finite"):
        aug.affine(SMALL, theta=np.inf)


# -- ImageDataGenerator ------------------------------------------------------------------------------------------------


def digest(batches: Any) -> str:
    total = hashlib.sha256()
    for batch in batches:
        for part in batch:
            total.update(b"" if part is None else np.ascontiguousarray(part).tobytes())
    return total.hexdigest()


CODE = """
import numpy as np
from tests.test_augmentation import digest, flow_of
print(digest(flow_of().epoch(3)))
"""


def flow_of() -> Any:
    x, y = images(50, 12, 12, 3), np.arange(50)
    return ImageDataGenerator(rescale=1 / 255, **EVERYTHING).flow(x, y, batch_size=16, seed=7)  # type: ignore[arg-type]


def test_a_flow_is_a_source_with_the_same_bytes_everywhere() -> None:
    flow = flow_of()
    assert isinstance(flow, Source)
    assert (flow.rows, flow.steps, len(flow), flow.n) == (50, 4, 4, 50)
    assert flow.spec.x.shape == (12, 12, 3)
    assert flow.spec.x.dtype == np.float32
    whole = digest(flow.epoch(3))
    assert whole == digest(flow_of().dataset.map(lambda x, y: (x, y), workers=3).epoch(3))
    assert digest(list(flow.epoch(3))[2:]) == digest(flow.epoch(3, first=2))
    assert whole != digest(flow.epoch(4))
    root = Path(__file__).parent.parent
    done = subprocess.run([sys.executable, "-c", CODE], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == whole


def test_a_flow_by_hand_never_ends() -> None:
    x, y = images(10, 4, 4, 1), np.arange(10)
    flow = ImageDataGenerator().flow(x, y, batch_size=4, seed=1)
    assert flow[0][0].tobytes() == next(flow)[0].tobytes()
    labels = [batch[1] for _, batch in zip(range(8), flow, strict=False)]
    assert [len(a) for a in labels] == [4, 2, 4, 4, 2, 4, 4, 2]
    assert sorted(np.concatenate(labels[2:5]).tolist()) == list(range(10))
    assert labels[2].tolist() != labels[5].tolist()
    flow.reset()
    assert flow.batch_index == 0
    ordered = ImageDataGenerator().flow(x, batch_size=10, shuffle=False)
    np.testing.assert_array_equal(next(ordered), x.astype(np.float32))
    weighted = ImageDataGenerator().flow(x, y, batch_size=3, sample_weight=y / 10, seed=2)
    _, labels_, weights = next(weighted)
    np.testing.assert_allclose(weights, labels_ / 10)
    (both, extra), _ = next(ImageDataGenerator().flow((x, y), y, batch_size=5, shuffle=False))
    assert both.shape == (5, 4, 4, 1)
    assert extra.tolist() == [0, 1, 2, 3, 4]
    assert x.dtype == np.uint8  # the data are as they were


def test_statistics_and_standardize() -> None:
    x = images(40, 4, 5, 3, dtype="float32")
    generator = ImageDataGenerator(featurewise_std_normalization=True, rescale=0.5)
    with pytest.raises(RuntimeError, match=r"generator\.fit"):
        generator.standardize(x)
    generator.fit(x)
    np.testing.assert_allclose(generator.mean, (x / 2).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(generator.std, (x / 2).std((0, 1, 2)), rtol=1e-6)
    z = generator.standardize(x)
    np.testing.assert_allclose(z.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(z.std((0, 1, 2)), 1, rtol=1e-4)
    np.testing.assert_allclose(generator.standardize(x[3]), z[3], rtol=1e-6)
    own = ImageDataGenerator(samplewise_std_normalization=True).standardize(x)
    np.testing.assert_allclose(own.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(own.std((1, 2, 3)), 1, rtol=1e-4)
    seen = []
    ImageDataGenerator(preprocessing_function=lambda image: seen.append(image.shape) or image + 1).standardize(x[:2])
    assert seen == [(4, 5, 3)] * 2
    many = ImageDataGenerator(featurewise_center=True, rotation_range=90)
    many.fit(x, augment=True, rounds=2, seed=3)
    assert np.abs(many.mean - x.mean((0, 1, 2))).max() < 5


def test_whitening_is_that_of_keras() -> None:
    x = images(60, 3, 3, 2, dtype="float32")
    generator = ImageDataGenerator(zca_whitening=True, zca_epsilon=1e-3)
    generator.fit(x)
    centred = x - x.mean((0, 1, 2))
    flat = centred.reshape(60, -1).astype(np.float64)
    U, s, _ = np.linalg.svd(flat.T, full_matrices=False)
    expected = (U * (np.sqrt(60) / (s + 1e-3))).dot(U.T)
    np.testing.assert_allclose(generator.zca_whitening_matrix, expected, rtol=1e-3, atol=1e-5)
    white = generator.standardize(x).reshape(60, -1)
    np.testing.assert_allclose(white.T @ white / 60, np.eye(18), atol=0.01)
    with pytest.warns(UserWarning, match="takes the place"):
        ImageDataGenerator(zca_whitening=True, featurewise_std_normalization=True)


def test_one_image() -> None:
    generator = ImageDataGenerator(**EVERYTHING)  # type: ignore[arg-type]
    x = images(1, 8, 8, 3)[0]
    drawn = generator.get_random_transform((8, 8, 3), seed=4)
    assert drawn == generator.get_random_transform((8, 8, 3), seed=4)
    names = {"theta", "tx", "ty", "shear", "zx", "zy", "flip_horizontal", "flip_vertical"}
    assert drawn.keys() == names | {"channel_shift_intensity", "brightness"}
    np.testing.assert_array_equal(generator.random_transform(x, seed=4), generator.apply_transform(x, drawn))
    still = ImageDataGenerator().get_random_transform((8, 8, 3))
    assert still["zx"] == 1 and still["theta"] == 0 and still["brightness"] is None
    moved = ImageDataGenerator(cval=5, fill_mode="constant").apply_transform(x, {"tx": 3})
    np.testing.assert_array_equal(moved[:, :5], x[:, 3:])
    assert (moved[:, 5:] == 5).all()


def test_subsets_of_arrays() -> None:
    x, y = images(20, 2, 2, 1), np.arange(20) % 2
    generator = ImageDataGenerator(validation_split=0.3)
    assert generator.flow(x, y, subset="training").n == 14
    assert generator.flow(x, y, subset="validation", shuffle=False, batch_size=20)[0][1].tolist() == y[:6].tolist()
    with pytest.raises(ValueError, match="same classes"):
        generator.flow(x, np.sort(y), subset="training")
    with pytest.raises(ValueError, match="validation_split=..."):
        ImageDataGenerator().flow(x, subset="training")
    with pytest.raises(ValueError, match="unknown subset"):
        generator.flow(x, subset="test")
    with pytest.raises(ValueError, match=r"got shape \(20, 4\)"):
        generator.flow(x.reshape(20, 4))


@pytest.mark.parametrize(
    "options", [{"data_format": "channels_first"}, {"validation_split": 1.5}, {"dtype": "float64"}]
)
def test_other_arguments_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="|".join(options)):
        ImageDataGenerator(**options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image = pytest.importorskip("PIL.Image", reason="reads images with Pillow (the extra `images`)")
    for name, count, shade in (("cats", 5, 40), ("dogs", 4, 200)):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(np.full((6, 5, 3), shade + i, np.uint8)).save(tmp_path / "pets" / name / f"{i}.png")
    return tmp_path / "pets"


def test_flow_from_directory(folder: Path, tmp_path: Path) -> None:
    generator = ImageDataGenerator(validation_split=0.4)
    flow = generator.flow_from_directory(folder, target_size=(6, 5), batch_size=3, seed=1)
    assert flow.class_indices == {"cats": 0, "dogs": 1}
    assert flow.classes.tolist() == [0] * 5 + [1] * 4
    assert flow.filenames[0] == str(Path("cats") / "0.png")
    x, y = next(flow)
    assert (x.shape, y.shape) == ((3, 6, 5, 3), (3, 2))
    assert np.array_equal(x[:, 0, 0, 0] >= 200, y[:, 1] == 1)
    held_out = generator.flow_from_directory(
        folder, (12, 10), "grayscale", class_mode="binary", subset="validation", shuffle=False
    )
    assert held_out.filenames == [str(Path(p)) for p in ("cats/0.png", "cats/1.png", "dogs/0.png")]
    x, y = next(held_out)
    assert (x.shape, y.tolist(), x[:, 0, 0, 0].tolist()) == ((3, 12, 10, 1), [0, 0, 1], [40, 41, 200])
    assert generator.flow_from_directory(folder, subset="training").n == 6
    x, y = next(generator.flow_from_directory(folder, (6, 5), class_mode="input"))
    np.testing.assert_array_equal(x, y)
    assert next(generator.flow_from_directory(folder, (6, 5), class_mode=None)).shape == (9, 6, 5, 3)
    (tmp_path / "seen").mkdir()
    next(generator.flow_from_directory(folder, (6, 5), save_to_dir=tmp_path / "seen", save_prefix="a"))
    assert len(list((tmp_path / "seen").glob("a_*.png"))) == 9
    with pytest.raises(ValueError, match="two classes"):
        generator.flow_from_directory(folder, classes=["cats"], class_mode="binary")
    with pytest.raises(ValueError, match="unknown class_mode"):
        generator.flow_from_directory(folder, class_mode="raw")


def test_keras_spelling() -> None:
    from tinynn.compat.keras.preprocessing.image import ImageDataGenerator as FromKeras

    assert FromKeras is ImageDataGenerator
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FromKeras(
            rotation_range=40, width_shift_range=0.2, height_shift_range=0.2, rescale=1.0 / 255, shear_range=0.2,
            zoom_range=0.2, horizontal_flip=True, fill_mode="nearest",
        )  # fmt: skip
    assert nn.data.ImageDataGenerator is ImageDataGenerator
