"""Recurrent layers against PyTorch and against loops; states, dropout, cells, Keras's habits, and what is refused."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest

import tinynn as nn
from tests.device import device_backend
from tinynn import Graph, Input, Layer, Model, Sequential, gradcheck, ops
from tinynn import layers as L
from tinynn.tensor import Tensor

BACKENDS = ["reference", "cpu"]
KINDS = ["LSTM", "GRU", "SimpleRNN"]
N, T, F, H = 4, 7, 3, 5


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def made(kind: str, units: int = H, **options: Any) -> Any:
    return getattr(L, kind)(units, **options)


def double(layer: Layer, shape: Any) -> Layer:
    """Built, with float64 parameters, so that their gradients are float64 too."""
    layer.ensure_built(shape)
    for i, variable in enumerate(layer.variables()):
        variable.dtype = np.dtype(np.float64)
        variable.assign(0.5 * numbers(*variable.shape, seed=100 + i).astype(np.float64))
    return layer


def run(layer: Any, x: np.ndarray, training: bool = False, backend: str | None = None, **options: Any) -> Any:
    """The results of a call as arrays."""
    graph = Graph(training=training, dtype=str(x.dtype), backend=backend)
    y = layer(graph.tensor(x), **options)
    return [t.numpy() for t in y] if isinstance(y, (list, tuple)) else y.numpy()


def close(got: Any, want: Any, rtol: float = 1e-10) -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape
    assert np.abs(got - want).max() <= rtol * max(1.0, np.abs(want).max())


# -- PyTorch -----------------------------------------------------------------------------------------------------------


def reordered(a: np.ndarray, kind: str) -> np.ndarray:
    """PyTorch's gates r, z, n as ours z, r, n, along the last axis; the other kinds have one order."""
    if kind != "GRU":
        return a
    r, z, n = np.split(a, 3, axis=-1)
    return np.concatenate([z, r, n], axis=-1)


def back(a: np.ndarray, kind: str) -> np.ndarray:
    """The swap is its own inverse."""
    return reordered(a, kind)


def torch_twin(layers: list[Any], kind: str, features: int, bidirectional: bool = False, relu: bool = False) -> Any:
    """PyTorch's module with the weights of these layers; of a bidirectional one the backward layer follows."""
    torch = pytest.importorskip("torch")
    options: dict[str, Any] = {"nonlinearity": "relu"} if relu else {}
    module = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "SimpleRNN": torch.nn.RNN}[kind]
    stack = len(layers) // (2 if bidirectional else 1)
    net = module(features, H, stack, batch_first=True, bidirectional=bidirectional, **options).double()
    for i, layer in enumerate(layers):
        W, U, b = (v.numpy() for v in layer.variables())
        b, bu = b if b.ndim == 2 else (b, 0 * b)
        suffix = f"l{i // 2}{'_reverse' * (i % 2)}" if bidirectional else f"l{i}"
        with torch.no_grad():
            for name, a in (("weight_ih", W), ("weight_hh", U), ("bias_ih", b), ("bias_hh", bu)):
                getattr(net, f"{name}_{suffix}").copy_(torch.tensor(back(a, kind).T.copy()))
    return net


def check_gradients(layers: list[Any], net: Any, kind: str, bidirectional: bool = False) -> None:
    for i, layer in enumerate(layers):
        suffix = f"l{i // 2}{'_reverse' * (i % 2)}" if bidirectional else f"l{i}"
        W, U, b = layer.variables()
        close(W.grad, reordered(getattr(net, f"weight_ih_{suffix}").grad.numpy().T, kind))
        close(U.grad, reordered(getattr(net, f"weight_hh_{suffix}").grad.numpy().T, kind))
        first = reordered(getattr(net, f"bias_ih_{suffix}").grad.numpy(), kind)
        close(b.grad[0] if b.grad.ndim == 2 else b.grad, first)
        if b.grad.ndim == 2:
            close(b.grad[1], reordered(getattr(net, f"bias_hh_{suffix}").grad.numpy(), kind))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [*KINDS, "relu"])
def test_values_and_gradients_equal_torch(kind: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    relu, kind = kind == "relu", "SimpleRNN" if kind == "relu" else kind
    layer: Any = made(kind, return_sequences=True, return_state=True, **({"activation": "relu"} if relu else {}))
    double(layer, (T, F))
    net = torch_twin([layer], kind, F, relu=relu)
    x, h0, c0 = (numbers(*s, seed=i).astype(np.float64) for i, s in enumerate([(N, T, F), (N, H), (N, H)]))
    starts = [h0, c0] if kind == "LSTM" else [h0]
    weights = [numbers(*s, seed=9 + i).astype(np.float64) for i, s in enumerate([(N, T, H), (N, H), (N, H)])]

    graph = Graph(dtype="float64", backend=backend)
    leaves = [graph.tensor(a, requires_grad=True) for a in (x, *starts)]
    results = layer(leaves)
    loss = sum((ops.sum(y * w) for y, w in zip(results, weights, strict=False)), graph.tensor(0.0))
    graph.backward(loss)

    theirs = [torch.tensor(a, requires_grad=True) for a in (x, *starts)]
    given = tuple(s[None] for s in theirs[1:])
    y, last = net(theirs[0], given if kind == "LSTM" else given[0])
    outcomes = [y, *(s[0] for s in (last if kind == "LSTM" else [last]))]
    sum((a * torch.tensor(w)).sum() for a, w in zip(outcomes, weights, strict=False)).backward()
    for ours, other in zip(results, outcomes, strict=True):
        close(ours.numpy(), other.detach().numpy())
    for ours, other in zip(leaves, theirs, strict=True):
        close(ours.grad, other.grad.numpy())
    check_gradients([layer], net, kind)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_bidirectional_stacks_equal_torch(kind: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    below = L.Bidirectional(made(kind, return_sequences=True))
    above = L.Bidirectional(made(kind, return_sequences=True, return_state=True))
    double(below, (T, F))
    double(above, (T, 2 * H))
    pairs = [below.forward_layer, below.backward_layer, above.forward_layer, above.backward_layer]
    net = torch_twin(pairs, kind, F, bidirectional=True)
    x, w = numbers(N, T, F).astype(np.float64), numbers(N, T, 2 * H, seed=4).astype(np.float64)
    graph = Graph(dtype="float64", backend=backend)
    leaf = graph.tensor(x, requires_grad=True)
    y, *states = above(below(leaf))
    graph.backward(ops.sum(y * w) + ops.sum(states[-1]))
    other = torch.tensor(x, requires_grad=True)
    z, last = net(other)
    end = last[1] if kind == "LSTM" else last
    ((z * torch.tensor(w)).sum() + end[-1].sum()).backward()
    close(y.numpy(), z.detach().numpy())
    close(leaf.grad, other.grad.numpy())
    close(states[0].numpy(), (last[0] if kind == "LSTM" else last)[2].detach().numpy())
    check_gradients(pairs, net, kind, bidirectional=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_masked_lengths_equal_packed_sequences_of_torch(kind: str, backend: str) -> None:
    torch = pytest.importorskip("torch")
    layer = L.Bidirectional(made(kind, return_sequences=True, return_state=True))
    double(layer, (T, F))
    net = torch_twin([layer.forward_layer, layer.backward_layer], kind, F, bidirectional=True)
    lengths = np.array([7, 4, 1, 5])
    mask = np.arange(T) < lengths[:, None]
    x, w = numbers(N, T, F).astype(np.float64), numbers(N, T, 2 * H, seed=4).astype(np.float64)
    graph = Graph(dtype="float64", backend=backend)
    leaf = graph.tensor(x, requires_grad=True)
    y, *states = layer(leaf, mask=mask)
    graph.backward(ops.sum(y * w) + ops.sum(states[0]) + ops.sum(states[-1]))

    other = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(other, lengths, batch_first=True, enforce_sorted=False)
    out, last = net(packed)
    z, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=T)
    hidden = last[0] if kind == "LSTM" else last
    end = last[1] if kind == "LSTM" else last
    ((z * torch.tensor(w)).sum() + hidden[0].sum() + end[1].sum()).backward()
    close(y.numpy(), z.detach().numpy())  # both have zeros in the padding
    close(states[0].numpy(), hidden[0].detach().numpy())
    close(states[-1].numpy(), end[1].detach().numpy())
    close(leaf.grad, other.grad.numpy())
    check_gradients([layer.forward_layer, layer.backward_layer], net, kind, bidirectional=True)
    assert (y.mask == mask).all()


# -- cells and loops ---------------------------------------------------------------------------------------------------

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in KINDS),
    ("GRU", {"reset_after": False}),
    ("GRU", {"use_bias": False}),
    ("LSTM", {"activation": "relu", "recurrent_activation": "hard_sigmoid"}),
    ("SimpleRNN", {"activation": "elu"}),
]
MASK = np.array([[1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("kind", "options"), VARIANTS, ids=lambda v: v if isinstance(v, str) else "_".join(v))
def test_a_layer_is_its_cell_run_by_rnn(kind: str, options: dict[str, Any], backwards: bool) -> None:
    common = {"return_sequences": True, "return_state": True, "go_backwards": backwards}
    layer, loop = made(kind, **options, **common), L.RNN(made(f"{kind}Cell", **options), **common)
    double(layer, (T, F))
    double(loop, (T, F))
    x, grads = numbers(N, T, F).astype(np.float64), []
    results = []
    for one in (layer, loop):
        graph = Graph(dtype="float64")
        leaf = graph.tensor(x, requires_grad=True)
        y = one(leaf, mask=MASK)
        graph.backward(ops.sum(y[0] * numbers(N, T, H, seed=3)) + ops.sum(y[-1] * y[-1]))
        results.append([t.numpy() for t in y])
        grads.append([leaf.grad, *(p.grad for p in one.parameters())])
        assert (y[0].mask == (MASK[:, ::-1] if backwards else MASK)).all()
        assert y[1].mask is None
    for a, b in zip(results[0] + grads[0], results[1] + grads[1], strict=True):
        close(a, b)


def test_gru_by_the_formula_of_the_paper() -> None:
    layer: Any = double(L.GRU(H, reset_after=False, return_sequences=True), (T, F))
    W, U, b = (v.numpy() for v in layer.variables())
    x, h = numbers(N, T, F).astype(np.float64), np.zeros((N, H))

    def sigmoid(a: np.ndarray) -> np.ndarray:
        return np.asarray(1 / (1 + np.exp(-a)))

    for t in range(T):
        p = x[:, t] @ W + b
        z = sigmoid(p[:, :H] + h @ U[:, :H])
        r = sigmoid(p[:, H : 2 * H] + h @ U[:, H : 2 * H])
        n = np.tanh(p[:, 2 * H :] + (r * h) @ U[:, 2 * H :])
        h = z * h + (1 - z) * n
        close(run(layer, x)[:, t], h)


class Leaky(Layer):
    """A user's cell: two states, weights of its own, a layer inside."""

    def __init__(self, units: int, **base: Any):
        super().__init__(**base)
        self.units = units
        self.state_size = [units, 2]
        self.output_size = 3
        self.inner = L.Dense(units)

    def build(self, input_shape: Any) -> Any:
        self.decay = self.add_weight((self.units,), "ones")
        return (3,)

    def forward(self, x: Any, states: Any = ()) -> Any:
        h, count = states
        h = ops.tanh(self.inner(x) + h * x.graph.parameter(self.decay))
        return h[:, :3], [h, count + 1.0]


def test_rnn_runs_a_cell_that_the_user_wrote() -> None:
    layer = L.RNN(Leaky(4), return_sequences=True, return_state=True)
    assert layer.ensure_built((T, F)) == [(T, 3), (4,), (2,)]
    assert [tuple(v.shape) for v in layer.variables()] == [(F, 4), (4,), (4,)]
    y, h, count = run(layer, numbers(N, T, F))
    assert (count == T).all()
    np.testing.assert_array_equal(y[:, -1], h[:, :3])
    model = Sequential([L.RNN(Leaky(4), input_shape=(T, F)), L.Dense(1)])
    model.compile("sgd", "mse")
    gradcheck.check(model, numbers(N, T, F), numbers(N, 1), verbose=0)


def test_a_cell_may_be_any_callable_with_a_state_size() -> None:
    class Sum:
        state_size = F

        def __call__(self, x: Any, states: Any) -> Any:
            return x + states[0], [x + states[0]]

    x = numbers(N, T, F)
    np.testing.assert_allclose(run(L.RNN(Sum(), return_sequences=True), x), np.cumsum(x, axis=1), rtol=1e-5)


def test_stacked_cells_are_stacked_layers() -> None:
    stack = L.RNN([L.LSTMCell(H), L.GRUCell(6)], return_sequences=True, return_state=True)
    below, above = L.LSTM(H, return_sequences=True), L.GRU(6, return_sequences=True)
    assert stack.ensure_built((T, F)) == [(T, 6), (H,), (H,), (6,)]
    below.ensure_built((T, F))
    above.ensure_built((T, H))
    stack.set_weights(below.get_weights() + above.get_weights())
    x = numbers(N, T, F)
    np.testing.assert_allclose(run(stack, x)[0], run(above, run(below, x)), rtol=1e-5, atol=1e-6)
    again = L.RNN(**stack.config())
    assert isinstance(again.cell, L.StackedRNNCells)
    assert again.cell.state_size == [[H, H], 6]


def test_cells_step_by_step_are_the_layer() -> None:
    layer, cell = L.LSTM(H, return_sequences=True, return_state=True), L.LSTMCell(H)
    layer.ensure_built((T, F))
    cell.ensure_built((F,))
    cell.set_weights(layer.get_weights())
    x, graph = numbers(N, T, F), Graph(gradients=False)
    states: Any = cell.get_initial_state(batch_size=N)
    for t in range(T):
        y, states = cell(graph.tensor(x[:, t]), states)
        np.testing.assert_allclose(y.numpy(), run(layer, x)[0][:, t], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(states[1].numpy(), run(layer, x)[2], rtol=1e-5, atol=1e-6)


# -- options -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_weights_and_first_values(kind: str) -> None:
    layer = made(kind)
    gates = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}[kind]
    assert layer.ensure_built((None, F)) == (H,)
    assert layer.ensure_built((9, F)) == (H,)
    W, U, b = layer.variables()
    assert (W.shape, U.shape) == ((F, gates * H), (H, gates * H))
    assert b.shape == ((2, 3 * H) if kind == "GRU" else (gates * H,))
    assert [v.shape for v in made(kind, use_bias=False, input_shape=(T, F)).variables()] == []
    np.testing.assert_allclose(U.numpy() @ U.numpy().T, np.eye(H), atol=1e-5)  # orthogonal
    expected = np.zeros(b.shape)
    if kind == "LSTM":
        expected[H : 2 * H] = 1  # the forget gate
        assert (made(kind, unit_forget_bias=False).ensure_built((T, F))) == (H,)
    np.testing.assert_array_equal(b.numpy(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_results_agree_with_each_other(kind: str) -> None:
    x = numbers(N, T, F)
    layer = made(kind, return_sequences=True, return_state=True)
    y, *states = run(layer, x)
    for options in ({}, {"return_state": True}, {"return_sequences": True}):
        other = made(kind, **options)
        other.ensure_built((T, F))
        other.set_weights(layer.get_weights())
        result = run(other, x)
        np.testing.assert_array_equal(
            result[0] if isinstance(result, list) else result, y if "return_sequences" in options else y[:, -1]
        )
        if "return_state" in options:
            np.testing.assert_array_equal(result[-1], states[-1])
    np.testing.assert_array_equal(states[0], y[:, -1])


@pytest.mark.parametrize("kind", KINDS)
def test_backwards_is_forwards_on_the_reversed_sequence(kind: str) -> None:
    x = numbers(N, T, F)
    forwards, backwards = (made(kind, return_sequences=True, return_state=True, go_backwards=b) for b in (False, True))
    backwards.ensure_built((T, F))
    forwards.ensure_built((T, F))
    backwards.set_weights(forwards.get_weights())
    for a, b in zip(run(backwards, x, mask=MASK), run(forwards, x[:, ::-1].copy(), mask=MASK[:, ::-1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_bidirectional_begins_with_given_weights() -> None:
    weights = [numbers(*shape) for shape in [(F, 4 * H), (H, 4 * H), (4 * H,)] * 2]
    layer = L.Bidirectional(L.LSTM(H), weights=weights)
    model = Sequential([Input((T, F)), layer])
    for got, want in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(got, want)
    assert layer.config()["weights"] is None
    with pytest.raises(ValueError, match="weights, got a list of"):
        Sequential([Input((T, F)), L.Bidirectional(L.LSTM(H), weights=weights[:5])])
    with pytest.raises(ValueError, match=r"has shape \(3, 20\), got \(3, 15\)"):
        Sequential([Input((T, F)), L.Bidirectional(L.LSTM(H), weights=[numbers(F, 15), *weights[1:]])])


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional_merges_its_two_layers(mode: str | None, sequences: bool) -> None:
    x = numbers(N, T, F)
    layer = L.Bidirectional(L.GRU(H, return_sequences=sequences), merge_mode=mode)
    got = run(layer, x)
    one, other = L.GRU(H, return_sequences=sequences), L.GRU(H, return_sequences=sequences, go_backwards=True)
    for inner, weights in ((one, layer.get_weights()[:3]), (other, layer.get_weights()[3:])):
        inner.ensure_built((T, F))
        inner.set_weights(weights)
    y, z = run(one, x), run(other, x)
    z = z[:, ::-1] if sequences else z
    want = {"concat": lambda: np.concatenate([y, z], -1), "sum": lambda: y + z, "mul": lambda: y * z}
    want |= {"ave": lambda: (y + z) / 2, None: lambda: [y, z]}
    for a, b in zip(got if mode is None else [got], want[mode]() if mode is None else [want[mode]()], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    shape = (T, H) if sequences else (H,)
    double_shape = (*shape[:-1], 2 * H)
    assert layer.output_shape == ([shape, shape] if mode is None else double_shape if mode == "concat" else shape)
    again = L.Bidirectional(**json.loads(json.dumps(layer.config())))
    again.ensure_built((T, F))
    again.set_weights(layer.get_weights())
    for a, b in zip(run(again, x), got, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bidirectional_takes_another_backward_layer_and_states() -> None:
    layer = L.Bidirectional(
        L.LSTM(H, return_state=True), backward_layer=L.LSTM(2, go_backwards=True, return_state=True)
    )
    x, states = numbers(N, T, F), [numbers(N, n, seed=n + i) for i, n in enumerate((H, H, 2, 2))]
    y, *last = run(layer, x, initial_state=states)
    assert y.shape == (N, H + 2)
    assert [s.shape for s in last] == [(N, H), (N, H), (N, 2), (N, 2)]
    alone = run(layer.backward_layer, x, initial_state=states[2:])
    np.testing.assert_array_equal(y[:, H:], alone[0])
    assert [v.name for v in layer.variables()][:1] + [v.name for v in layer.variables()][3:4] == [
        "bidirectional/forward_lstm/kernel",
        "bidirectional/backward_layer/kernel",  # its name is its own, and it has none
    ]


def test_dropout_has_one_mask_for_the_whole_sequence() -> None:
    nn.set_seed(3)
    layer = L.SimpleRNN(F, "linear", use_bias=False, dropout=0.5, return_sequences=True)
    layer.ensure_built((T, F))
    layer.set_weights([np.eye(F), np.zeros((F, F))])  # y = the dropped input
    x = np.abs(numbers(64, T, F)) + 0.1
    factor = run(layer, x, training=True) / x
    np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1], factor.shape), rtol=1e-5)
    assert set(np.round(factor.ravel(), 4)) == {0.0, 2.0}
    assert 0.35 < (factor[:, 0] == 0).mean() < 0.65
    again = run(layer, x, training=True) / x
    assert (again[:, 0] != factor[:, 0]).any()
    np.testing.assert_allclose(run(layer, x), x, rtol=1e-5)


def test_recurrent_dropout_drops_the_state_on_its_way_to_the_gates() -> None:
    nn.set_seed(3)
    layer = L.SimpleRNN(H, "linear", use_bias=False, recurrent_dropout=0.25, return_sequences=True)
    layer.ensure_built((T, H))
    layer.set_weights([np.zeros((H, H)), np.eye(H)])
    h0 = np.ones((32, H), np.float32)
    y = run(layer, np.zeros((32, T, H), np.float32), training=True, initial_state=h0)
    kept = y[:, 0]
    assert np.isin(kept, [0, np.float32(1 / 0.75)]).all()
    assert 0.1 < (kept == 0).mean() < 0.4
    np.testing.assert_allclose(y[:, 3], kept**4, rtol=1e-4)  # the same factor at every step
    assert (run(layer, np.zeros((32, T, H), np.float32), initial_state=h0) == 1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_of_a_cell_in_rnn_is_one_mask_too(kind: str) -> None:
    nn.set_seed(5)
    options = {"dropout": 0.5, "recurrent_dropout": 0.5, "seed": 7}
    layer, loop = made(kind, **options), L.RNN(made(f"{kind}Cell", **options))
    layer.ensure_built((T, F))
    loop.ensure_built((T, F))
    loop.set_weights(layer.get_weights())
    x = numbers(N, T, F)
    np.testing.assert_allclose(run(layer, x, training=True), run(loop, x, training=True), rtol=1e-4, atol=1e-6)


def test_dropout_is_checked_by_differences() -> None:
    model = Sequential([L.LSTM(3, dropout=0.3, recurrent_dropout=0.3, input_shape=(4, F)), L.Dense(1)])
    model.compile("sgd", "mse")
    gradcheck.check(model, numbers(N, 4, F), numbers(N, 1), training=True, verbose=0)


@pytest.mark.parametrize("kind", KINDS)
def test_penalties_and_constraints_reach_their_weights(kind: str) -> None:
    layer = made(
        kind,
        kernel_regularizer="l2",
        recurrent_regularizer="l1",
        bias_regularizer="l2",
        activity_regularizer="l2",
        kernel_constraint="non_neg",
        recurrent_constraint="non_neg",
        bias_constraint="non_neg",
        return_sequences=True,
        input_shape=(T, F),
    )
    model = Sequential([layer, L.Dense(1)])
    model.compile("sgd", "mse")
    gradcheck.check(model, numbers(N, T, F), numbers(N, T, 1), verbose=0)
    model.fit(numbers(N, T, F), numbers(N, T, 1), verbose=0)
    assert all((v.numpy() >= 0).all() for v in layer.variables())
    plain = made(kind, return_sequences=True, input_shape=(T, F))
    plain.ensure_built((T, F))
    plain.set_weights(layer.get_weights())
    graph = Graph()
    y = layer(graph.tensor(numbers(N, T, F)))
    np.testing.assert_allclose(float(graph.losses[0].data), 0.01 * (y.numpy() ** 2).sum() / N, rtol=1e-5)


# -- states ------------------------------------------------------------------------------------------------------------


CHUNKED: list[tuple[str, dict[str, Any], str]] = [
    *((kind, {}, dtype) for kind in KINDS for dtype in ("float32", "float64")),
    ("GRU", {"reset_after": False}, "float32"),
    ("LSTM", {"recurrent_activation": "hard_sigmoid"}, "float32"),
]


@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize(("kind", "options", "dtype"), CHUNKED)
def test_chunks_with_carried_state_are_the_long_sequence_in_bytes(
    kind: str, options: dict[str, Any], dtype: str, rows: int
) -> None:
    x = numbers(rows, 60, 33).astype(dtype)
    mask = np.random.default_rng(1).random((rows, 60)) > 0.1
    long = made(kind, 19, return_sequences=True, return_state=True, **options)
    whole, *last = run(long, x, mask=mask, backend="cpu")
    stateful = made(kind, 19, return_sequences=True, return_state=True, stateful=True, **options)
    stateful.ensure_built((None, 33))
    stateful.set_weights(long.get_weights())
    chunks = [(0, 7), (7, 8), (8, 40), (40, 60)]
    pieces = [run(stateful, x[:, a:b].copy(), mask=mask[:, a:b], backend="cpu") for a, b in chunks]
    assert np.concatenate([p[0] for p in pieces], axis=1).tobytes() == whole.tobytes()
    for carried, end, want in zip(stateful.states, pieces[-1][1:], last, strict=True):
        assert carried.tobytes() == end.tobytes() == want.tobytes()
    first = run(long, x[:, :30].copy(), mask=mask[:, :30], backend="cpu")
    second = run(long, x[:, 30:].copy(), mask=mask[:, 30:], backend="cpu", initial_state=first[1:])
    assert np.concatenate([first[0], second[0]], axis=1).tobytes() == whole.tobytes()


def stateful_model(layers: int = 1, **options: Any) -> tuple[Sequential, Any]:
    nn.set_seed(1)
    stack = [L.LSTM(H, stateful=True, return_sequences=True, **options) for _ in range(layers)]
    model = Sequential([Input((T, F)), *stack, L.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    return model, stack[0]


def test_states_are_carried_through_fit_evaluate_and_predict() -> None:
    x, y = numbers(3 * N, T, F), numbers(3 * N, T, 1)
    model, layer = stateful_model()
    assert layer.states is None
    first = model.predict(x, batch_size=N)
    # three batches of N rows are one long sequence of N rows
    long = L.LSTM(H, return_sequences=True)
    long.ensure_built((None, F))
    long.set_weights(layer.get_weights())
    joined = np.concatenate([x[i * N : (i + 1) * N] for i in range(3)], axis=1)
    want = run(long, joined) @ model.layers[1].get_weights()[0]
    np.testing.assert_allclose(np.concatenate([first[i * N : (i + 1) * N] for i in range(3)], axis=1), want, atol=1e-5)
    second = model.predict(x, batch_size=N)
    assert np.abs(second - first).max() > 1e-3  # goes on where the first left off
    model.reset_states()
    assert layer.states is None
    np.testing.assert_array_equal(model.predict(x, batch_size=N), first)
    model.reset_state()
    loss = model.evaluate(x, y, batch_size=N, verbose=0)[0]
    model.reset_states()
    assert abs(loss - ((first - y) ** 2).mean()) < 1e-5
    model.fit(x, y, batch_size=N, epochs=2, shuffle=False, verbose=0)
    assert [s.shape for s in layer.states] == [(N, H), (N, H)]


def test_no_gradient_flows_across_chunks() -> None:
    layer = L.LSTM(H, stateful=True)
    x = numbers(N, T, F)
    graph = Graph()
    first = graph.tensor(x, requires_grad=True)
    layer(first)
    second = graph.tensor(x, requires_grad=True)
    graph.backward(ops.sum(layer(second)))
    assert first.grad is None
    assert second.grad is not None
    assert np.abs(second.grad).max() > 0


def test_a_skipped_step_keeps_the_states() -> None:
    model, layer = stateful_model()
    x, y = numbers(N, T, F), numbers(N, T, 1)
    model.fit(x, y, batch_size=N, verbose=0)
    before = layer.states
    bad = x.copy()
    bad[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match="input of layer 'lstm' holds values that are not finite"):
        model.fit(bad, y, batch_size=N, verbose=0)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(before, layer.states, strict=True))


def test_a_refused_call_leaves_the_states() -> None:
    model, layer = stateful_model(layers=2)
    x, y = numbers(2 * N, T, F), numbers(2 * N, T, 1)
    model.fit(x, y, batch_size=N, shuffle=False, verbose=0)
    everything = [la for la in model.layers if isinstance(la, L.LSTM)]
    before = [s.tobytes() for la in everything for s in la.states]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"carries the states of 4 sequences, got a batch of 3: call reset_states\(\)"):
        layer(Graph().tensor(x[:3]))
    with pytest.raises(ValueError, match=r"reset_states\(\)"):
        model.predict(x[:3])
    for call in (
        lambda: model.predict(x[:7], batch_size=N),
        lambda: model.evaluate(x[:7], y[:7], batch_size=N, verbose=0),
        lambda: model.fit(x[:7], y[:7], batch_size=N, verbose=0),
        lambda: model.fit(x, y, batch_size=N, validation_data=(x[:5], y[:5]), shuffle=False, verbose=0),
    ):
        with pytest.raises(ValueError, match="all batches must have one size"):
            call()
    assert [s.tobytes() for la in everything for s in la.states] == before  # type: ignore[union-attr]
    model.reset_states()
    assert model.predict(x[:3]).shape == (3, T, 1)  # any size after a reset
    with pytest.warns(UserWarning, match="shuffle=False"):
        model.reset_states()
        model.fit(x, y, batch_size=N, verbose=0)


def test_states_can_be_read_and_set() -> None:
    layer = L.GRU(H, stateful=True, return_sequences=True)
    x = numbers(N, T, F)
    whole = run(layer, x)
    state = layer.states
    assert state is not None
    state[0][:] = 0  # a copy
    assert (layer.states[0] == whole[:, -1]).all()  # type: ignore[index]
    layer.states = [whole[:, 2]]
    np.testing.assert_allclose(run(layer, x[:, 3:]), whole[:, 3:], rtol=1e-5, atol=1e-6)
    layer.reset_states(whole[:, 2])
    np.testing.assert_allclose(run(layer, x[:, 3:])[:, 0], whole[:, 3], rtol=1e-5, atol=1e-6)
    before = layer.states
    with pytest.raises(ValueError, match=r"expects 1 initial state of shape \(None, 5\), got arrays of shape \(4, 6\)"):
        layer.states = [np.zeros((N, 6))]
    assert (layer.states[0] == before[0]).all()  # type: ignore[index]
    with pytest.raises(ValueError, match="stateful=True"):
        L.GRU(H).states = [np.zeros((N, H))]
    both = L.Bidirectional(L.LSTM(H, stateful=True))
    run(both, x)
    assert [s.shape for s in both.states] == [(N, H)] * 4  # type: ignore[union-attr]
    both.states = both.states
    both.reset_states()
    assert both.states is None


def test_a_stateful_rnn_of_cells_carries_its_states_too() -> None:
    x = numbers(N, T, F)
    layer = L.RNN([L.GRUCell(2), L.LSTMCell(3)], stateful=True, return_sequences=True)
    plain = L.RNN([L.GRUCell(2), L.LSTMCell(3)], return_sequences=True)
    whole = run(plain, x)
    layer.ensure_built((None, F))
    layer.set_weights(plain.get_weights())
    pieces = [run(layer, x[:, :3]), run(layer, x[:, 3:])]
    np.testing.assert_array_equal(np.concatenate(pieces, axis=1), whole)


def test_a_fit_on_a_device_reads_nothing_and_has_the_same_numbers() -> None:
    x = numbers(8, T, F)
    x[3, 4:] = 0
    results = []
    for backend in ("reference", device_backend()):
        nn.set_seed(0)
        layers = [
            L.Masking(),
            L.Bidirectional(L.LSTM(4, return_sequences=True)),
            L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True),
            L.TimeDistributed(L.Dense(3)),
            L.GRU(4, stateful=True, dropout=0.1, recurrent_dropout=0.2),
            L.Dense(1),
        ]
        model = Sequential([Input((T, F)), *layers], backend=backend)
        model.compile("adam", "mse")
        losses = model.fit(x, x.sum((1, 2)), batch_size=4, shuffle=False, epochs=2, verbose=0).history["loss"]
        state = layers[4].states[0]  # type: ignore[attr-defined]
        results.append([*losses, *model.predict(x, batch_size=4).ravel(), *state.ravel()])
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


def test_stateful_models_pass_the_gradient_check() -> None:
    model, layer = stateful_model()
    model.fit(numbers(N, T, F), numbers(N, T, 1), batch_size=N, verbose=0)
    before = layer.states
    gradcheck.check(model, numbers(N, T, F), numbers(N, T, 1), verbose=0)
    assert all((a == b).all() for a, b in zip(before, layer.states, strict=True))


def test_initial_states_come_as_symbols_tensors_and_arrays() -> None:
    source, target = Input((None, F)), Input((None, 2))
    _, *states = L.LSTM(H, return_state=True, name="encoder")(source)
    decoder = L.LSTM(H, return_sequences=True, return_state=True, name="decoder")
    y, *_ = decoder(target, initial_state=states)
    model = Model([source, target], L.Dense(4)(y))
    a, b, graph = numbers(N, T, F), numbers(N, 4, 2, seed=1), Graph()
    got = model([graph.tensor(a), graph.tensor(b)])
    assert got.shape == (N, 4, 4)
    given = run(model.get_layer("encoder"), a)[1:]
    by_hand = run(decoder, b, initial_state=given)[0]
    np.testing.assert_array_equal(by_hand, run(decoder, b, initial_state=[Graph().tensor(s).data for s in given])[0])
    np.testing.assert_allclose(got.numpy(), run(model.layers[-1], by_hand), rtol=1e-5, atol=1e-6)
    # the decoder again, one step at a time, as a model of its own
    h, c, symbol = Input((H,)), Input((H,)), Input((1, 2))
    step = Model([symbol, h, c], decoder(symbol, initial_state=[h, c]))
    steps, states = [], [graph.tensor(s) for s in given]
    for t in range(4):
        out, *states = step([graph.tensor(b[:, t : t + 1]), *states])
        steps.append(out.numpy())
    np.testing.assert_array_equal(np.concatenate(steps, axis=1), by_hand)


def test_results_of_a_layer_pass_the_gradient_check() -> None:
    for kind in KINDS:
        gradcheck.check(made(kind, 2, return_state=True, return_sequences=True), numbers(2, 3, F), verbose=0)


def test_a_layer_of_several_results_is_named_when_it_is_not_finite() -> None:
    symbol = Input(batch_shape=(N, T, F))
    _, h, c = L.LSTM(H, return_state=True)(symbol)
    model = Model(symbol, L.Dense(1)(L.concatenate([h, c])))
    model.compile("sgd", "mse")
    model.set_weights([np.full_like(w, np.nan) if w.shape == (H, 4 * H) else w for w in model.get_weights()])
    with pytest.raises(ValueError, match="layer 'lstm' is the first whose output is not finite"):
        model.fit(numbers(N, T, F), numbers(N, 1), verbose=0)


def test_encoder_and_decoder_pass_the_gradient_check() -> None:
    encoder, decoder = L.GRU(3, return_state=True), L.GRU(3)

    class Translator(Layer):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.decoder = encoder, decoder

        def forward(self, x: Any) -> Any:
            _, state = self.encoder(x)
            return self.decoder(x, initial_state=state)

    gradcheck.check(Translator(), numbers(2, 4, F), verbose=0)


def test_sequences_without_a_step_that_counts_end_in_the_initial_state() -> None:
    x, none = numbers(N, T, F), np.zeros((N, T), bool)
    for kind in KINDS:
        layer = made(kind, return_state=True)
        layer.ensure_built((T, F))
        states = [numbers(N, H, seed=i) for i in range(len(layer.state_sizes))]
        y, *last = run(layer, x, mask=none, initial_state=states)
        for a, b in zip([y, *last], [states[0], *states], strict=True):
            np.testing.assert_array_equal(a, b)
        assert all((a == 0).all() for a in run(layer, x, mask=none))
        graph = Graph()
        leaf = graph.tensor(x, requires_grad=True)
        graph.backward(ops.sum(layer(leaf, mask=none)[0]))
        assert (leaf.grad == 0).all()


def test_masked_steps_repeat_the_output_or_are_zero() -> None:
    x = numbers(N, T, F)
    y = run(L.LSTM(H, return_sequences=True), x, mask=MASK)
    np.testing.assert_array_equal(y[0, 5:], np.broadcast_to(y[0, 4], (2, H)))
    zeros = run(L.LSTM(H, return_sequences=True, zero_output_for_mask=True), x, mask=MASK)
    assert (zeros[~MASK] == 0).all()
    assert (zeros[MASK] != 0).all()


# -- long sequences ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_steps(kind: str) -> None:
    layer = made(kind, 8)
    x, graph = numbers(2, 1000, F), Graph()
    leaf = graph.tensor(x, requires_grad=True)
    graph.backward(ops.sum(layer(leaf)))
    assert np.isfinite(leaf.grad).all()
    loop = L.RNN(made(f"{kind}Cell", 8))
    loop.ensure_built((None, F))
    loop.set_weights(layer.get_weights())
    again = graph.tensor(x, requires_grad=True)
    graph.backward(ops.sum(loop(again)))
    np.testing.assert_allclose(again.grad, leaf.grad, rtol=1e-2, atol=1e-4 * np.abs(leaf.grad).max())


def exploding(**optimizer: Any) -> Sequential:
    """Each step multiplies state and gradient by 3: after 40 of them there is not much left of float32."""
    nn.set_seed(1)
    layer = L.SimpleRNN(4, "linear", recurrent_initializer=nn.initializers.Identity(3.0))
    model = Sequential([Input((40, 2)), layer, L.Dense(1)])
    model.compile(nn.optim.SGD(learning_rate=0.01, **optimizer), "mse")
    return model


def test_clipping_keeps_exploding_gradients_finite() -> None:
    x, y = 1e-3 * numbers(8, 40, 2), numbers(8, 1)
    model = exploding(clipnorm=1.0)
    before, graph = model.get_weights(), Graph(training=True)
    graph.backward(model.total_loss(graph, graph.tensor(x), y))
    assert max(np.abs(p.grad).max() for p in model.parameters() if p.grad is not None) > 1e25
    model.fit(x, y, epochs=5, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        assert np.abs(a - b).max() <= 5 * 0.01 * 1.001
    model = exploding()
    with pytest.raises(ValueError, match=r"layer '(simple_rnn|dense)'.*clipnorm"):
        model.fit(x, y, epochs=5, verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


# -- Keras's habits ----------------------------------------------------------------------------------------------------


def test_old_listings_run() -> None:
    import tinynn.compat.keras as keras
    from tinynn.compat.keras.layers.embeddings import Embedding  # noqa: F401
    from tinynn.compat.keras.layers.recurrent import GRU, LSTM, SimpleRNN
    from tinynn.compat.keras.layers.wrappers import Bidirectional, TimeDistributed

    model = keras.models.Sequential()
    model.add(LSTM(4, batch_input_shape=(2, 3, 1), stateful=True, return_sequences=True))
    model.add(LSTM(4, stateful=True, return_sequences=True, activation=keras.activations.tanh, unroll=True))
    model.add(TimeDistributed(keras.layers.Dense(1)))
    model.compile(loss="mean_squared_error", optimizer="adam")
    for _ in range(2):
        model.fit(numbers(4, 3, 1), numbers(4, 3, 1), epochs=1, batch_size=2, verbose=0, shuffle=False)
        model.reset_states()
    assert model.predict(numbers(4, 3, 1), batch_size=2).shape == (4, 3, 1)
    model = keras.models.Sequential()
    model.add(Bidirectional(LSTM(20, return_sequences=True), input_shape=(10, 1)))
    model.add(SimpleRNN(3, input_dim=40, input_length=10))
    assert model.count_params() == 2 * 4 * 20 * 22 + 3 * (40 + 3 + 1)
    assert Bidirectional(GRU(2, input_shape=(5, 4))).input_shape == (5, 4)
    assert [la.label for la in (L.SimpleRNN(1), L.LSTM(1), L.GRU(1), L.LSTMCell(1), L.TimeDistributed(L.Dense(1)))] == [
        "simple_rnn",
        "lstm",
        "gru",
        "lstm_cell",
        "time_distributed",
    ]


@pytest.mark.parametrize("kind", [*KINDS, "LSTMCell", "GRUCell", "SimpleRNNCell"])
def test_an_equal_layer_comes_from_its_config(kind: str) -> None:
    options: dict[str, Any] = {"dropout": 0.1, "recurrent_dropout": 0.2, "kernel_regularizer": "l2", "name": "a"}
    if not kind.endswith("Cell"):
        options |= {"return_sequences": True, "stateful": True, "go_backwards": True, "activity_regularizer": "l1"}
    if kind.startswith("GRU"):
        options["reset_after"] = False
    layer = made(kind, **options)
    config = json.loads(json.dumps(layer.config()))
    assert json.loads(json.dumps(L.get_class(kind)(**config).config())) == config
    loop = L.RNN(made("GRUCell"), return_state=True)
    again = L.RNN(**json.loads(json.dumps(loop.config())))
    assert again.ensure_built((T, F)) == [(H,), (H,)]
    timed = L.TimeDistributed(**json.loads(json.dumps(L.TimeDistributed(L.Dense(2)).config())))
    assert timed.ensure_built((T, F)) == (T, 2)


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"LSTM 'lstm' expects activation to be one of elu, .*RNN\(cell\)"):
        L.LSTM(3, activation="gelu")
    with pytest.raises(ValueError, match="recurrent_activation.*softmax|softmax"):
        L.GRU(3, recurrent_activation="softmax")
    with pytest.raises(ValueError, match="unknown activation 'tahn'.*tanh"):
        L.SimpleRNN(3, "tahn")
    with pytest.raises(ValueError, match="SimpleRNN 'simple_rnn' expects activation"):
        L.SimpleRNN(3, activation=lambda x: x)
    with pytest.raises(ValueError, match="units"):
        L.LSTM(0)
    with pytest.raises(TypeError, match="units"):
        L.LSTM(2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"LSTM\.__init__.*units"):
        L.LSTM()  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="dropout"):
        L.LSTM(3, dropout=1.0)
    with pytest.raises(TypeError, match="return_sequence.*return_sequences"):
        L.LSTM(3, return_sequence=True)
    with pytest.raises(TypeError, match="'inner_activation': since Keras 2 it is called 'recurrent_activation'"):
        L.LSTM(3, inner_activation="hard_sigmoid")
    with pytest.raises(TypeError, match="GRU has no argument 'unit_forget_bias'"):
        L.GRU(3, unit_forget_bias=True)


def test_inputs_that_are_no_sequences_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expects sequences.*got \(None, 5\): a layer before it.*return_sequences"):
        Sequential([L.LSTM(5, input_shape=(T, F)), L.LSTM(3)])
    with pytest.raises(ValueError, match="one axis of features"):
        L.LSTM(5).ensure_built((T, 4, 4))
    with pytest.raises(ValueError, match="known number of features"):
        L.LSTM(5).ensure_built((T, None))
    layer = L.GRU(5)
    layer.ensure_built((T, F))
    with pytest.raises(ValueError, match=r"built for sequences of shape \(None, None, 3\), got \(None, 7, 4\)"):
        run(layer, numbers(N, T, 4))
    with pytest.raises(ValueError, match="at least one step"):
        run(layer, numbers(N, 0, F))
    with pytest.raises(ValueError, match="at least one step"):
        run(L.RNN(L.GRUCell(2)), numbers(N, 0, F))
    with pytest.raises(ValueError, match=r"mask"):
        run(layer, numbers(N, T, F), mask=np.ones((N, T - 1), bool))
    with pytest.raises(ValueError, match=r"expects a mask of shape \(4, 7\)"):
        run(layer, numbers(N, T, F), mask=np.ones((N, T, F), bool))
    with pytest.raises(ValueError, match="'lstm' gives 3.*functional Model"):
        Sequential([L.LSTM(5, return_state=True, input_shape=(T, F)), L.Dense(1)])


def test_initial_states_that_do_not_fit_are_refused() -> None:
    layer, x = L.LSTM(H), numbers(N, T, F)
    with pytest.raises(ValueError, match=r"expects 2 initial states of shape \(None, 5\), \(None, 5\), got 1"):
        run(layer, x, initial_state=[np.zeros((N, H))])
    with pytest.raises(ValueError, match=r"expects 2 initial states"):
        run(layer, x, initial_state=[np.zeros((N, H)), np.zeros((N, H + 1))])
    with pytest.raises(ValueError, match=r"initial states of 4 rows"):
        run(layer, x, initial_state=[np.zeros((1, H)), np.zeros((1, H))])
    with pytest.raises(TypeError, match="twice"):
        graph = Graph()
        layer([graph.tensor(x)] + [graph.tensor(np.zeros((N, H)))] * 2, initial_state=[1, 2])
    with pytest.raises(TypeError, match="Input"):
        layer(Input((T, F)), initial_state=[np.zeros((N, H))] * 2)
    with pytest.raises(TypeError, match="2 states"):
        L.LSTMCell(3)(Graph().tensor(numbers(N, F)), np.zeros((N, 3)))


def test_cells_that_are_none_are_refused() -> None:
    for bad, what in ((L.LSTMCell, "the class LSTMCell"), (3, "got 3"), (L.Dense(3), "state_size")):
        with pytest.raises(TypeError, match=what):
            L.RNN(bad)

    class Wrong(Layer):
        state_size = 3

        def forward(self, x: Any, states: Any = ()) -> Any:
            return x

    class Short(Wrong):
        def forward(self, x: Any, states: Any = ()) -> Any:
            return x, [states[0][:, :2]]

    with pytest.raises(TypeError, match=r"must return \(output, states\)"):
        L.RNN(Wrong()).ensure_built((T, F))
    with pytest.raises(ValueError, match=r"state_size is 3, but it returned states of shape \(None, 2\)"):
        L.RNN(Short()).ensure_built((T, F))
    with pytest.raises(ValueError, match="at least one cell"):
        L.RNN([])


def test_wrappers_of_the_wrong_thing_are_refused() -> None:
    with pytest.raises(TypeError, match="recurrent layer such as"):
        L.Bidirectional(L.Dense(3))
    with pytest.raises(TypeError, match=r"LSTM\(\.\.\.\)"):
        L.Bidirectional(L.LSTM)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="merge_mode"):
        L.Bidirectional(L.LSTM(3), merge_mode="add")
    with pytest.raises(ValueError, match="go_backwards"):
        L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3))
    with pytest.raises(ValueError, match="same return_sequences"):
        L.Bidirectional(L.LSTM(3), backward_layer=L.LSTM(3, go_backwards=True, return_sequences=True))
    with pytest.raises(ValueError, match="same units"):
        L.Bidirectional(L.LSTM(3), "sum", backward_layer=L.LSTM(4, go_backwards=True)).ensure_built((T, F))
    with pytest.raises(ValueError, match="even number"):
        run(L.Bidirectional(L.GRU(3)), numbers(N, T, F), initial_state=[np.zeros((N, 3))])
    with pytest.raises(TypeError, match="expects a layer"):
        L.TimeDistributed(lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="steps"):
        L.TimeDistributed(L.Dense(3)).ensure_built((T,))


def test_a_fit_of_every_kind_learns_and_leaves_no_warning() -> None:
    x = numbers(64, 6, 2)
    y = x[:, :3].sum((1, 2))[:, None]
    for layer in (L.LSTM(8), L.GRU(8), L.SimpleRNN(8), L.Bidirectional(L.LSTM(4)), L.RNN(L.GRUCell(8))):
        nn.set_seed(2)
        model = Sequential([layer, L.Dense(1)])
        model.compile(nn.optim.Adam(0.02), "mse")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loss = model.fit(x, y, epochs=12, batch_size=16, verbose=0).history["loss"]
        assert loss[-1] < 0.9 * loss[0]
        assert isinstance(model(Graph().tensor(x)), Tensor)


def test_a_stateful_layer_is_not_shuffled_in_silence_also_where_one_batch_is_all() -> None:
    model = Sequential([L.GRU(H, stateful=True, input_shape=(T, F)), L.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="'gru' is stateful, but fit shuffles the rows"):
        model.fit(numbers(N, T, F), numbers(N, 1), epochs=2, verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(numbers(N, T, F), numbers(N, 1), epochs=2, shuffle=False, verbose=0)
        model.reset_states()
        model.fit(numbers(1, T, F), numbers(1, 1), verbose=0)
