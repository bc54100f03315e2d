"""Sequences: pooling over steps and Conv1D; PyTorch as an oracle, configs, shapes, masks, bad input."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tinynn import Graph, Input, Sequential
from tinynn import layers as L
from tinynn.compat.keras.layers.convolutional import Convolution1D

N, T, C = 3, 11, 6
X = np.random.default_rng(9).standard_normal((N, T, C))
MASK = np.arange(T) < np.array([4, T, 0])[:, None]


def run(layer: Any, dy: np.ndarray | None = None, backend: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The output of X and, for the sum of dy y, the gradient of X; parameters are float64."""
    layer.ensure_built((T, C))
    for v in layer.variables():
        v.dtype = np.dtype("float64")
        v.assign(np.random.default_rng(1).standard_normal(v.shape))
    graph = Graph(dtype="float64", backend=backend)
    x = graph.tensor(X, requires_grad=True)
    y = layer(x)
    graph.backward(y, gradient=np.ones(y.shape) if dy is None else dy)
    return y.numpy(), x.grad


# -- PyTorch ---------------------------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"strides": 2, "use_bias": False},
        {"padding": "same", "activation": "tanh"},
        {"padding": "causal", "dilation_rate": 2},
        {"groups": 3, "dilation_rate": 2},
        {"padding": "causal", "strides": 3},
    ],
    ids=repr,
)
def test_conv1d_is_pytorchs(options: dict[str, Any], backend: str) -> None:
    torch = pytest.importorskip("torch")
    layer = L.Conv1D(9, 3, **options)
    y, dx = run(layer, backend=backend)
    groups, dilation = options.get("groups", 1), options.get("dilation_rate", 1)
    before, after = {"same": (1, 1), "causal": (2 * dilation, 0)}.get(options.get("padding", ""), (0, 0))
    x = torch.tensor(X, requires_grad=True)
    weights = [torch.tensor(w, requires_grad=True) for w in layer.get_weights()]
    padded = torch.nn.functional.pad(x.transpose(1, 2), (before, after))
    want = torch.nn.functional.conv1d(
        padded,
        weights[0].permute(2, 1, 0),
        weights[1] if len(weights) == 2 else None,
        options.get("strides", 1),
        dilation=dilation,
        groups=groups,
    ).transpose(1, 2)
    if "activation" in options:
        want = torch.tanh(want)
    want.sum().backward()
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-10, atol=1e-10)
    for parameter, other in zip(layer.parameters(), weights, strict=True):
        np.testing.assert_allclose(parameter.grad, other.grad.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.oracle
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (4, 3), (1, 2), (T, T)])
@pytest.mark.parametrize("kind", ["max", "avg"])
def test_windows_are_pytorchs(kind: str, size: int, stride: int) -> None:
    torch = pytest.importorskip("torch")
    layer = {"max": L.MaxPooling1D, "avg": L.AveragePooling1D}[kind](size, stride)
    y, dx = run(layer)
    x = torch.tensor(X, requires_grad=True)
    want = getattr(torch.nn.functional, f"{kind}_pool1d")(x.transpose(1, 2), size, stride).transpose(1, 2)
    want.sum().backward()
    np.testing.assert_allclose(y, want.detach().numpy(), rtol=1e-10)
    np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-10)


# -- shapes and configs ----------------------------------------------------------------------------------------------

TABLE = [
    (L.MaxPooling1D(), (5, C)),
    (L.MaxPooling1D(3, 2, "same"), (6, C)),
    (L.AveragePooling1D([4], padding="SAME", data_format="channels_last"), (3, C)),
    (L.GlobalMaxPooling1D(), (C,)),
    (L.GlobalMaxPooling1D(keepdims=True), (1, C)),
    (L.GlobalAveragePooling1D(), (C,)),
    (L.GlobalAveragePooling1D(keepdims=True), (1, C)),
    (L.Conv1D(4, 3), (9, 4)),
    (L.Conv1D(4, [3], 2, "causal", dilation_rate=1, groups=2, activation="relu", kernel_regularizer="l2"), (6, 4)),
    (L.Conv1D(4, 5, padding="same", activation="softmax", activity_regularizer="l1", use_bias=False), (T, 4)),
]


@pytest.mark.parametrize(("layer", "output"), TABLE, ids=lambda v: repr(v)[:40])
def test_shapes_configs_and_symbols(layer: Any, output: Any) -> None:
    copy = type(layer)(**json.loads(json.dumps(layer.config())))
    assert json.dumps(copy.config()) == json.dumps(layer.config())
    assert copy(Input((T, C))).shape == output
    assert copy.output_shape == output
    assert copy(Graph().tensor(X)).shape == (N, *output)
    longer = copy(Graph().tensor(np.concatenate([X, X], axis=1)))
    assert longer.shape[1:] == copy.shape_for((2 * T, C))
    open_steps = type(layer)(**layer.config())(Input((None, C))).shape
    assert open_steps == (output if "Global" in type(layer).__name__ else (None, *output[1:]))


def test_old_names_are_there() -> None:
    assert Convolution1D is L.Conv1D
    assert (L.MaxPool1D, L.AvgPool1D) == (L.MaxPooling1D, L.AveragePooling1D)
    assert (L.GlobalMaxPool1D, L.GlobalAvgPool1D) == (L.GlobalMaxPooling1D, L.GlobalAveragePooling1D)


def test_conv1d_draws_what_conv2d_of_one_row_draws() -> None:
    fan_in, fan_out = 3 * C, 3 * 8
    layer = L.Conv1D(8, 3, input_shape=(T, C))
    Sequential([layer])
    values = layer.kernel.numpy()
    assert values.shape == (3, C, 8)
    limit = np.sqrt(6 / (fan_in + fan_out))
    assert 0.9 * limit < np.abs(values).max() <= limit


# -- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_mean_is_over_the_steps_that_count(dtype: str, keepdims: bool) -> None:
    graph = Graph(dtype=dtype)
    hidden = np.where(MASK[:, :, None], X, np.inf)  # whatever stands there
    x = graph.tensor(hidden, requires_grad=True)
    y = L.GlobalAveragePooling1D(keepdims=keepdims)(x, mask=MASK)
    got = y.numpy().reshape(N, C)
    np.testing.assert_allclose(got[0], X[0, :4].mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(got[1], X[1].mean(axis=0), rtol=1e-4, atol=1e-6)
    assert not got[2].any()
    graph.backward(y.sum())
    np.testing.assert_allclose(x.grad, np.broadcast_to(MASK[:, :, None] / [[[4]], [[T]], [[1]]], X.shape), rtol=1e-6)
    assert y.mask is None


def test_layers_that_see_padding_say_so() -> None:
    for layer in (L.GlobalMaxPooling1D(), L.MaxPooling1D(), L.Conv1D(2, 3)):
        with pytest.warns(UserWarning, match="drops the mask"):
            assert layer(Graph().tensor(X), mask=MASK).mask is None


# -- bad input -------------------------------------------------------------------------------------------------------

BAD: dict[str, tuple[Any, list[str]]] = {
    "images": (lambda: L.MaxPooling1D()(Input((4, 4, 3))), ["sequences", "(None, steps, features)"]),
    "ids": (lambda: L.GlobalAveragePooling1D()(Input((4,))), ["sequences"]),
    "window too long": (lambda: L.AveragePooling1D(5)(Input((4, 3))), ["pool_size=5", "4 steps", "padding='same'"]),
    "padding": (lambda: L.MaxPooling1D(padding="causal"), ["padding", "valid"]),
    "channels first": (lambda: L.MaxPooling1D(data_format="channels_first"), ["Permute((2, 1))"]),
    "kernel too long": (lambda: L.Conv1D(2, 3, dilation_rate=3)(Input((6, 3))), ["kernel_size=3", "over 7", "of 6"]),
    "groups and filters": (lambda: L.Conv1D(4, 3, groups=3), ["groups divide", "4 filters"]),
    "groups and features": (lambda: L.Conv1D(4, 3, groups=2)(Input((6, 3))), ["groups divide"]),
    "padding of Conv1D": (lambda: L.Conv1D(2, 3, padding="full"), ["padding", "valid"]),
    "other features": (lambda: both(L.Conv1D(2, 3)), ["built for"]),
}


def both(layer: Any) -> None:
    layer(Input((6, 3)))
    layer(Input((6, 4)))


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused(bad: str) -> None:
    call, words = BAD[bad]
    with pytest.raises(ValueError) as caught:
        call()
    assert all(word in str(caught.value) for word in words), str(caught.value)
