"""The stand-in for device arrays refuses what CuPy refuses; asking for a missing GPU says what is missing."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from tests.device import DeviceArray, device_backend
from tests.test_doctor import Machine
from tinynn import backends
from tinynn.backends.gpu import cuda

DEVICE = device_backend()
HOST = np.arange(6, dtype="float32").reshape(2, 3)


@pytest.fixture
def x() -> Any:
    return DEVICE.asarray(HOST, "float32")


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x + HOST,
        lambda x: HOST * x,
        lambda x: np.add(x, 1, out=HOST.copy()),
        lambda x: np.where(x > 0, x, HOST),
        lambda x: np.concatenate([x, HOST]),
        lambda x: x.__setitem__(slice(None), HOST),
        lambda x: HOST.copy().__setitem__(slice(None), x),
        lambda x: x[HOST[0].astype(int)],
        lambda x: x[[0, 1]],
        lambda x: x[x > 2],
        lambda x: np.asarray(x),
        lambda x: np.add.reduceat(x, [0, 1]),
        lambda x: float(x.sum()),
        lambda x: int(x.sum()),
        lambda x: bool(x.any()),
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: list(x),
        lambda x: range(x.argmax()),
        lambda x: np.multiply(x, 2, where=x > 0),
        lambda x: np.max(x, initial=0),
        lambda x: x.sum(where=x > 0),
        lambda x: np.matrix_transpose(x),
    ],
)
def test_what_needs_the_host_is_refused(x: Any, use: Any) -> None:
    with pytest.raises(TypeError):
        use(x)


@pytest.mark.parametrize(
    "use",
    [
        lambda x: x * 2 + np.float32(1),
        lambda x: -x @ x.T,
        lambda x: np.exp(x - np.max(x, axis=1, keepdims=True)),
        lambda x: np.where(x > 2, x, 0),
        lambda x: x.astype("float64").sum(axis=0),
        lambda x: x[:, ::-1][1],
        lambda x: np.concatenate([x, x], axis=1),
        lambda x: np.zeros_like(x),
        lambda x: x.reshape(-1).mean(),
    ],
)
def test_the_rest_gives_numpys_numbers(x: Any, use: Any) -> None:
    got, want = use(x), np.asarray(use(HOST))
    assert isinstance(got, DeviceArray)
    assert got.dtype == want.dtype
    np.testing.assert_array_equal(DEVICE.to_numpy(got), want)


def test_out_and_assignment_write_in_place(x: Any) -> None:
    y = DEVICE.empty((2, 3), "float32")
    assert np.multiply(x, 2, out=y) is y
    y[0] = 7
    y[:, 1:] += x[:, 1:]
    np.testing.assert_array_equal(DEVICE.to_numpy(y), [[7, 8, 9], [6, 12, 15]])
    np.testing.assert_array_equal(DEVICE.to_numpy(x), HOST)


def test_gpu_without_cupy_says_so() -> None:
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("CuPy is installed here")
    with pytest.raises(ImportError, match="needs CuPy, which is not installed") as caught:
        backends.get("gpu")
    assert 'pip install "tinynn-np[cuda1' in str(caught.value)


@pytest.mark.parametrize(
    ("driver", "cards", "message"),
    [(0, None, "needs an NVIDIA driver"), (13000, None, "no usable card"), (13000, 0, "no usable card")],
)
def test_gpu_without_driver_or_card_says_which(driver: int, cards: int | None, message: str) -> None:
    with pytest.raises(ImportError, match=message) as caught:
        cuda.require_card(Machine(driver, cards))
    assert "pip install" in str(caught.value)
