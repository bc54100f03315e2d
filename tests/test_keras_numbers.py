"""Layers for sequences against Keras 3: values and gradients that ``keras_numbers.py`` stored, to 1e-10."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.keras_numbers import numbered, read
from tinynn import Graph
from tinynn import layers as L

CASES = read()


def made(spec: Any) -> Any:
    """The layer that a description stands for."""
    if isinstance(spec, list) and spec and isinstance(spec[0], dict):
        return [made(inner) for inner in spec]
    if not isinstance(spec, dict):
        return spec
    return L.get_class(spec["class"])(**{key: made(value) for key, value in spec["config"].items()})


def call(layers: list[Any], graph: Graph, x: list[Any], states: list[Any], case: dict[str, Any]) -> list[Any]:
    """All outputs, flat."""
    masks, options, kind = numbered(case["arrays"], "mask"), dict(case["options"]), case["layers"][0]["class"]
    if "attention_mask" in case["arrays"]:
        options["attention_mask"] = case["arrays"]["attention_mask"]
    if len(x) > 1:
        for tensor, mask in zip(x, masks, strict=False):
            tensor.mask = mask
        y = layers[0](x, **options)
    elif kind.endswith("Cell"):
        y = layers[0](x[0], states=states)
    else:
        y = layers[0](x[0], mask=masks[0] if masks else None, **({"initial_state": states} if states else {}))
    for following in layers[1:]:
        y = following(y)
    return list(flat(y))


def flat(y: Any) -> Any:
    """The tensors in lists of lists."""
    if isinstance(y, (list, tuple)):
        for inner in y:
            yield from flat(inner)
    else:
        yield y


def tensors(graph: Graph, arrays: list[np.ndarray]) -> list[Any]:
    return [
        graph.tensor(a, requires_grad=True) if a.dtype.kind == "f" else graph.tensor(a, dtype="int32") for a in arrays
    ]


def close(got: Any, want: np.ndarray, what: str) -> None:
    got = np.zeros(want.shape) if got is None else np.asarray(got)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, Keras's is {want.shape}"
    error = np.abs(got - want).max(initial=0)
    assert error <= 1e-10 * max(1.0, np.abs(want).max(initial=0)), f"{what} is {error:.1e} off"


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_values_and_gradients_are_those_of_keras(case: dict[str, Any], backend: str) -> None:
    arrays, layers = case["arrays"], made(case["layers"])
    states, x = numbered(arrays, "state"), numbered(arrays, "x")
    with Graph(dtype="float64", backend=backend) as graph:
        call(layers, graph, tensors(graph, x), tensors(graph, states), case)  # builds
    parameters = [p for layer in layers for p in layer.parameters()]
    weights = numbered(arrays, "weight")
    for i, value in enumerate(numbered(arrays, "initial")):
        if value is not None:
            close(parameters[i].numpy(), value, f"the first value of weight {i}")
    assert [p.shape for p in parameters] == [w.shape for w in weights], "shapes of weights"
    for p in parameters:  # float32 otherwise, and so are their gradients
        p.dtype, p._data = np.dtype("float64"), p.numpy().astype(np.float64)
    for layer in layers:
        layer.set_weights([weights.pop(0) for _ in layer.parameters()])
    with Graph(dtype="float64", backend=backend) as graph:
        x, states = tensors(graph, x), tensors(graph, states)
        outputs = call(layers, graph, x, states, case)
        wanted = numbered(arrays, "y")
        assert len(outputs) == len(wanted)
        for i, (y, want) in enumerate(zip(outputs, wanted, strict=True)):
            close(y.data, want, f"output {i}")
        if "ymask" in arrays:
            np.testing.assert_array_equal(outputs[0].mask, arrays["ymask"])
        leaves = [t for t in (*x, *states) if t.data.dtype.kind == "f"]
        if not leaves and not parameters:
            return
        graph.backward(sum((y * dy).sum() for y, dy in zip(outputs, numbered(arrays, "dy"), strict=True)))
        gradients = [t.grad for t in leaves] + [p.grad for p in parameters]
        for i, (got, want) in enumerate(zip(gradients, numbered(arrays, "gradient"), strict=True)):
            close(got, want, f"gradient {i}")
