"""Elementary operations against PyTorch, and what they promise beyond the table of Functions."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from tests.device import DeviceArray, device_backend
from tinynn import ops
from tinynn.activation import Activation
from tinynn.backends.reference.activation import erf
from tinynn.graph import Graph
from tinynn.ops.broadcasting import unbroadcast

BACKENDS = ("reference", "cpu")


def both(ours, theirs, *shapes, low=-2.0, high=2.0, values=None):
    """Output and gradients of the same expression here and in PyTorch, in float64, for a random upstream gradient."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(len(shapes))
    inputs = values if values is not None else [rng.uniform(low, high, shape) for shape in shapes]
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    want = theirs(torch, *leaves)
    dy = rng.standard_normal(tuple(want.shape))
    want.backward(torch.tensor(dy))
    for backend in BACKENDS:
        graph = Graph(dtype="float64", backend=backend)
        mine = [graph.tensor(x, requires_grad=True) for x in inputs]
        got = ours(*mine)
        assert got.shape == tuple(want.shape)
        np.testing.assert_allclose(got.data, want.detach().numpy(), rtol=1e-12, atol=1e-13)
        graph.backward(got, gradient=dy)
        for x, leaf in zip(mine, leaves, strict=True):
            np.testing.assert_allclose(x.grad, leaf.grad.numpy(), rtol=1e-11, atol=1e-12)
            assert isinstance(x.grad, np.ndarray) and x.grad.shape == x.shape


PAIRS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((3, 1), (2, 3, 4)),
    ((3, 1), (1, 4)),
    ((), (2, 3)),
    ((1,), ()),
    ((0, 3), (3,)),
]

BINARY = {
    "add": lambda f, x, y: x + y,
    "subtract": lambda f, x, y: x - y,
    "multiply": lambda f, x, y: x * y,
    "divide": lambda f, x, y: x / y,
    "power": lambda f, x, y: x**y,
    "maximum": lambda f, x, y: f.maximum(x, y),
    "minimum": lambda f, x, y: f.minimum(x, y),
    "where": lambda f, x, y: f.where(MASK if f is ops else f.tensor(MASK), x, y),
}
MASK = np.array([True])


@pytest.mark.oracle
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_two_operands(name, shapes):
    f = BINARY[name]
    both(lambda x, y: f(ops, x, y), f, *shapes, low=0.5, high=2.0)


UNARY = {
    "exp": (lambda x: x.exp(), lambda t, x: x.exp()),
    "log": (lambda x: x.log(), lambda t, x: x.log()),
    "sqrt": (lambda x: x.sqrt(), lambda t, x: x.sqrt()),
    "square": (ops.square, lambda t, x: x.square()),
    "abs": (abs, lambda t, x: x.abs()),
    "negative": (lambda x: -x, lambda t, x: -x),
    "tanh": (lambda x: x.tanh(), lambda t, x: x.tanh()),
    "sigmoid": (lambda x: x.sigmoid(), lambda t, x: x.sigmoid()),
    "relu": (lambda x: x.relu(), lambda t, x: x.relu()),
    "clip": (lambda x: ops.clip(x, 0.7, 1.5), lambda t, x: x.clip(0.7, 1.5)),
    "power": (lambda x: x**2.5, lambda t, x: x**2.5),
    "base": (lambda x: 2.5**x, lambda t, x: 2.5**x),
    "reciprocal": (lambda x: 1 / x, lambda t, x: 1 / x),
}


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(3, 5), (), (1,), (0, 2), (2, 3, 1, 4)], ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_one_operand(name, shape):
    both(*UNARY[name], shape, low=0.5, high=2.0)


REDUCTIONS = {
    "sum": (lambda x, a, k: x.sum(a, k), lambda x, a, k: x.sum(a, k) if a is not None else x.sum()),
    "mean": (lambda x, a, k: x.mean(a, k), lambda x, a, k: x.mean(a, k) if a is not None else x.mean()),
    "max": (lambda x, a, k: x.max(a, k), lambda x, a, k: x.amax(a, k) if a is not None else x.amax()),
    "min": (lambda x, a, k: ops.min(x, a, k), lambda x, a, k: x.amin(a, k) if a is not None else x.amin()),
}


@pytest.mark.oracle
@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1, (0, 2), (-1, -2), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, axis, keepdims):
    if axis is None and keepdims:
        axis = (0, 1, 2)
    ours, theirs = REDUCTIONS[name]
    both(lambda x: ours(x, axis, keepdims), lambda t, x: theirs(x, axis, keepdims), (2, 3, 4))


INDICES = [
    0,
    -1,
    np.int64(1),
    slice(1, None),
    (slice(None), slice(None, None, 2)),
    (Ellipsis, 0),
    (None, 1, Ellipsis),
    (1, 2, 3),
    [2, 0, 2],
    np.array([[0, 1], [1, 1]]),
    ([0, 1, 0], [2, 2, 2]),
    ([0, 0, 1], slice(1, 3), [3, 3, 3]),
    (slice(None), [1, 1, 0]),
    (0, [1, 1]),
    np.arange(12).reshape(3, 4) % 3 == 0,
    (Ellipsis, np.array([True, False, True, True, False])),
    np.zeros((3, 4, 5), bool),
    [],
]


@pytest.mark.oracle
@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing(index):
    def theirs(torch, x):
        parts = index if isinstance(index, tuple) else (index,)
        known = (np.ndarray, list, np.integer)
        return x[
            tuple(
                torch.as_tensor(np.asarray(i, None if len(np.atleast_1d(i)) else int)) if isinstance(i, known) else i
                for i in parts
            )
        ]

    both(lambda x: x[index], theirs, (3, 4, 5))


PRODUCTS = [
    ((3, 4), (4, 5)),
    ((4,), (4,)),
    ((4,), (4, 5)),
    ((3, 4), (4,)),
    ((2, 3, 4), (4, 5)),
    ((2, 3, 4), (2, 4, 5)),
    ((7, 1, 3, 4), (2, 4, 5)),
    ((2, 3, 4), (4,)),
    ((4,), (2, 4, 5)),
    ((1, 1), (1, 1)),
    ((0, 3), (3, 2)),
]


@pytest.mark.oracle
@pytest.mark.parametrize("shapes", PRODUCTS, ids=str)
def test_products(shapes):
    both(lambda x, y: x @ y, lambda t, x, y: x @ y, *shapes)


SHAPES = {
    "reshape": (lambda x: x.reshape(4, -1), lambda t, x: x.reshape(4, -1)),
    "reshape_tuple": (lambda x: x.reshape((6, 4)), lambda t, x: x.reshape(6, 4)),
    "reshape_list": (lambda x: x.reshape([24]), lambda t, x: x.reshape(24)),
    "T": (lambda x: x.T, lambda t, x: x.permute(2, 1, 0)),
    "transpose": (lambda x: x.transpose(), lambda t, x: x.permute(2, 1, 0)),
    "transpose_none": (lambda x: x.transpose(None), lambda t, x: x.permute(2, 1, 0)),
    "transpose_axes": (lambda x: x.transpose(1, 2, 0), lambda t, x: x.permute(1, 2, 0)),
    "transpose_tuple": (lambda x: x.transpose((1, -3, 2)), lambda t, x: x.permute(1, 0, 2)),
    "expand_dims": (lambda x: ops.expand_dims(x, 1), lambda t, x: x[:, None]),
    "expand_dims_last": (lambda x: ops.expand_dims(x, -1), lambda t, x: x[..., None]),
    "squeeze": (lambda x: ops.squeeze(ops.expand_dims(x, 0)), lambda t, x: x),
    "squeeze_axis": (lambda x: ops.squeeze(ops.expand_dims(x, 2), 2), lambda t, x: x),
    "broadcast_to": (lambda x: ops.broadcast_to(x[:, :1], (5, 2, 3, 4)), lambda t, x: x[:, :1].expand(5, 2, 3, 4)),
    "concatenate": (lambda x: ops.concatenate([x, x * 2], axis=1), lambda t, x: t.cat([x, x * 2], 1)),
    "concatenate_constant": (
        lambda x: ops.concatenate([np.ones((1, 3, 4)), x]),
        lambda t, x: t.cat([t.ones(1, 3, 4, dtype=t.float64), x]),
    ),
    "stack": (lambda x: ops.stack([x, x, -x], axis=-2), lambda t, x: t.stack([x, x, -x], -2)),
    "same_twice": (lambda x: (x + x) * (x * x) - x / x, lambda t, x: (x + x) * (x * x) - x / x),
    "softmax": (ops.softmax, lambda t, x: t.softmax(x, -1)),
    "softmax_axis": (lambda x: ops.softmax(x, axis=1), lambda t, x: t.softmax(x, 1)),
    "log_softmax": (ops.log_softmax, lambda t, x: t.log_softmax(x, -1)),
    "log_softmax_axis": (lambda x: ops.log_softmax(x, axis=0), lambda t, x: t.log_softmax(x, 0)),
    "after_transpose": (lambda x: x.T.relu().T.sum(0), lambda t, x: x.relu().sum(0)),
}


@pytest.mark.oracle
@pytest.mark.parametrize("name", SHAPES)
def test_shapes_and_joining(name):
    both(*SHAPES[name], (2, 3, 4))


ACTIVATIONS = {
    Activation.LINEAR: lambda f, x: x * 1,
    Activation.RELU: lambda f, x: f.relu(x),
    Activation.LEAKY_RELU: lambda f, x: f.leaky_relu(x, 0.2),
    Activation.ELU: lambda f, x: f.elu(x),
    Activation.SELU: lambda f, x: f.selu(x),
    Activation.GELU: lambda f, x: f.gelu(x),
    Activation.SIGMOID: lambda f, x: x.sigmoid(),
    Activation.TANH: lambda f, x: x.tanh(),
    Activation.SOFTPLUS: lambda f, x: f.softplus(x, threshold=1e3),
    Activation.SOFTSIGN: lambda f, x: f.softsign(x),
    Activation.SWISH: lambda f, x: f.silu(x),
    Activation.HARD_SIGMOID: lambda f, x: f.relu6(x + 3) / 6,  # hardsigmoid has 1/6 in float32 only
    Activation.EXPONENTIAL: lambda f, x: x.exp(),
}


@pytest.mark.oracle
@pytest.mark.parametrize("kind", Activation)
def test_activations(kind):
    x = np.concatenate([np.linspace(-9, 9, 301), [-700.0, -40.0, -1e-9, -1e-300, 1e-300, 1e-9, 40.0, 700.0]])
    if kind is Activation.EXPONENTIAL:
        x = x[np.abs(x) < 100]
    both(lambda x: ops.activate(x, kind), lambda t, x: ACTIVATIONS[kind](t.nn.functional, x), values=[x])


@pytest.mark.oracle
@pytest.mark.parametrize(
    "kind, alpha", [(Activation.LEAKY_RELU, 0.01), (Activation.LEAKY_RELU, 0.0), (Activation.ELU, 2.0)]
)
def test_activations_with_their_constant(kind, alpha):
    both(lambda x: ops.activate(x, kind, alpha), lambda t, x: getattr(t.nn.functional, kind)(x, alpha), (5, 7))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", Activation)
def test_activations_let_nan_pass_and_do_not_overflow(kind, backend):
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        g = Graph(backend=backend)
        x = g.tensor([np.nan, -np.inf, -1e4, 1e4 if kind is not Activation.EXPONENTIAL else 1.0], requires_grad=True)
        smooth = kind not in (Activation.GELU, Activation.SWISH, Activation.SOFTSIGN)  # -inf times 0
        y = ops.activate(x if smooth else x[np.array([0, 2, 3])], kind)
        assert np.isnan(y.data[0]) and not np.isnan(y.data[1:]).any()
        y.sum().backward()
        assert not np.isnan(x.grad[2:]).any()


@pytest.mark.parametrize("n", [10, 250_001])
def test_read_only_and_strided_inputs_of_activations(n):
    x = np.linspace(-3, 3, 2 * n, dtype="float32")
    for values in (x[:n], x[::2], np.broadcast_to(np.float32(0.5), n)):
        values.flags.writeable = False
        g = Graph(backend="cpu")
        leaf = g.tensor(values, requires_grad=True)
        ops.tanh(leaf).sum().backward()
        np.testing.assert_allclose(leaf.grad, 1 - np.tanh(values) ** 2, atol=1e-6)


def test_erf_has_all_its_digits():
    x = np.concatenate([np.linspace(-7, 7, 20001), 10.0 ** np.linspace(-300, 2, 500)])
    want = np.array([math.erf(v) for v in x])
    np.testing.assert_allclose(erf(x), want, rtol=1e-15, atol=0)
    assert erf(np.array([np.nan, np.inf, -np.inf]))[1:].tolist() == [1, -1]
    assert erf(np.float32([0.3])).dtype == np.float32


# -- broadcasting and scattering, with shapes drawn ------------------------------------------------------------------


@given(arrays.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4))
def test_unbroadcast_is_adjoint_to_broadcasting(drawn):
    (shape, _), result = drawn.input_shapes, drawn.result_shape
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape), rng.standard_normal(result)
    dx = unbroadcast(dy, shape)
    assert isinstance(dx, np.ndarray) and dx.shape == shape
    assert np.sum(np.broadcast_to(x, result) * dy) == pytest.approx(np.sum(x * dx), abs=1e-9)
    assert (dx is dy) == (shape == result)


def shape_and_index(shape):
    """A shape, and index arrays for its axes."""
    index = arrays.integer_array_indices(shape, result_shape=arrays.array_shapes(max_dims=2))
    return st.tuples(st.just(shape), index)


@given(arrays.array_shapes(max_dims=3, max_side=5).flatmap(shape_and_index))
def test_gathering_and_scattering_are_adjoint(drawn):
    shape, index = drawn
    rng = np.random.default_rng(0)
    g = Graph(dtype="float64", backend="reference")
    x = g.tensor(rng.standard_normal(shape), requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.data, x.data[index])
    dy = rng.standard_normal(y.shape)
    g.backward(y, gradient=dy)
    want = np.zeros(shape)
    np.add.at(want, index, dy)
    np.testing.assert_allclose(x.grad, want, atol=1e-12)


def test_many_equal_indices_add_up_exactly():
    g = Graph(backend="reference")
    x = g.tensor(np.zeros(3), requires_grad=True)
    g.backward(x[np.repeat([2, 0], [100_000, 3])], gradient=np.full(100_003, 0.1, "float32"))
    assert x.grad[2] == pytest.approx(10_000, rel=1e-6), "a sum one by one is off by 1e-4 in float32"
    assert x.grad.tolist()[:2] == [pytest.approx(0.3), 0]


# -- edges -----------------------------------------------------------------------------------------------------------


def test_squares_of_negative_numbers():
    g = Graph(dtype="float64", backend="reference")
    x = g.tensor([-3.0, 0.0, 2.0], requires_grad=True)
    (x**2).sum().backward()
    assert x.grad.tolist() == [-6, 0, 4]
    (x ** np.array([2.0, 2.0, 2.0])).sum().backward()
    assert x.grad.tolist() == [-6, 0, 4]
    (x**0).sum().backward()
    assert x.grad.tolist() == [0, 0, 0]
    (x**1).sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


def test_powers_of_zero():
    g = Graph(dtype="float64", backend="reference")
    x, y = g.tensor([0.0, 0.0], requires_grad=True), g.tensor([2.0, 0.0], requires_grad=True)
    (x**y).sum().backward()
    assert x.grad.tolist() == [0, 0] and y.grad.tolist() == [0, 0]


@pytest.mark.parametrize("f", [ops.sqrt, ops.log], ids=lambda f: f.__name__)
def test_infinite_gradients_at_zero(f):
    g = Graph(dtype="float64", backend="reference")
    x = g.tensor([0.0, 1.0], requires_grad=True)
    with np.errstate(divide="ignore"):
        g.backward(f(x), gradient=np.ones(2))
    assert x.grad[0] == np.inf and np.isfinite(x.grad[1])


def test_an_infinite_gradient_leaves_its_neighbours_alone():
    g = Graph(dtype="float64", backend="reference")
    x, y = g.tensor([1.0, 5.0], requires_grad=True), g.tensor([2.0, 3.0], requires_grad=True)
    g.backward(ops.maximum(x, y), gradient=np.array([np.inf, 1.0]))
    assert x.grad.tolist() == [0, 1] and y.grad.tolist() == [np.inf, 0]


def test_the_first_maximum_takes_the_gradient():
    g = Graph(dtype="float64", backend="reference")
    x = g.tensor([[1.0, 3.0, 3.0], [3.0, 3.0, 0.0]], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [[0, 1, 0], [0, 0, 0]]
    x.max(axis=0).sum().backward()
    assert x.grad.tolist() == [[0, 1, 1], [1, 0, 0]]
    ops.min(x, axis=1).sum().backward()
    assert x.grad.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_what_is_refused():
    g = Graph(dtype="float64", backend="reference")
    x = g.tensor(np.zeros((3, 4)), requires_grad=True)
    for index in (3, [0, 3], (0, [4]), (slice(None), np.array([-5]))):
        with pytest.raises(IndexError):
            x[index]
    with pytest.raises(IndexError):
        x[np.zeros(4, bool)]
    with pytest.raises(IndexError, match=r"integers, slices.*got ndarray of float64.*astype\('int64'\)"):
        x[np.array([0.5])]
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(3, 4\): transpose"):
        x @ x
    with pytest.raises(ValueError, match="matmul"):
        x @ 2.0
    with pytest.raises(ValueError, match="not of length 1"):
        ops.squeeze(x, 0)
    with pytest.raises(IndexError, match="axis 4 is out of range"):
        ops.expand_dims(x, 4)
    with pytest.raises(ValueError, match="softmax along axis 2"):
        ops.softmax(x, axis=2)
    with pytest.raises(ValueError):
        x.reshape(5, -1)
    with pytest.raises(ValueError):
        x + np.zeros(3)


def test_indices_on_a_device():
    """Masks and index arrays come from the host, are checked there, and no value is read back."""
    g = Graph(backend=device_backend())
    x = g.tensor(np.arange(12.0).reshape(3, 4), requires_grad=True)
    index = g.tensor([2, 0, 2], dtype="int64")
    y = x[index].sum() + x[np.eye(3, 4, dtype=bool)].sum() + x[[0, 1], [1, 1]].max()
    y.backward()
    assert isinstance(x.grad, DeviceArray)
    assert g.backend.to_numpy(x.grad).tolist() == [[2, 1, 1, 1], [0, 2, 0, 0], [2, 2, 3, 2]]
    with pytest.raises(IndexError):
        x[[3]]


def test_every_operation_is_public_and_documented():
    assert sorted(ops.__all__) == ops.__all__
    for name in ops.__all__:
        assert getattr(ops, name).__doc__, name
