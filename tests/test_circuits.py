"""Circuits: small graphs whose numbers are known by hand, and the promises of Graph."""

from __future__ import annotations

import doctest
import gc
import importlib
import math
import threading
import weakref

import numpy as np
import pytest

from tinynn import backends, ops
from tinynn.function import Function
from tinynn.graph import Graph
from tinynn.parameter import Buffer, Parameter


@pytest.fixture(params=["reference", "cpu"])
def graph(request):
    return Graph(dtype="float64", backend=request.param)


def leaves(graph, *values):
    return tuple(graph.tensor(np.array(v), requires_grad=True) for v in values)


class Gate(Function):
    """The multiplication gate as the courses write it."""

    def forward(self, graph, x, y):
        self.saved = x, y
        return x * y

    def backward(self, graph, dz):
        x, y = self.saved
        return [y * dz, x * dz]


# -- circuits --------------------------------------------------------------------------------------------------------


def test_sum_times_number(graph):
    x, y, z = leaves(graph, -2.0, 5.0, -4.0)
    q = x + y
    f = q * z
    assert float(q.data) == 3 and float(f.data) == -12
    graph.backward(f, interior=True)
    assert float(z.grad) == 3 and float(q.grad) == -4
    assert float(x.grad) == float(y.grad) == -4


def test_sigmoid_neuron_of_elementary_nodes(graph):
    w0, w1, w2, x0, x1 = leaves(graph, 2.0, -3.0, -3.0, -1.0, -2.0)
    y = 1 / (1 + ops.exp(-(w0 * x0 + w1 * x1 + w2)))
    assert float(y.data) == pytest.approx(0.7311, abs=5e-5)
    y.backward()
    assert [float(w.grad) for w in (w0, w1, w2)] == pytest.approx([-0.1966, -0.3932, 0.1966], abs=5e-5)
    assert [float(x.grad) for x in (x0, x1)] == pytest.approx([0.3932, -0.5898], abs=5e-5)


def test_sigmoid_neuron_as_one_node(graph):
    w, x = leaves(graph, [2.0, -3.0, -3.0], [-1.0, -2.0, 1.0])
    y = ops.sigmoid(w @ x)
    assert float(y.data) == pytest.approx(0.7311, abs=5e-5)
    y.backward()
    assert w.grad == pytest.approx([-0.1966, -0.3932, 0.1966], abs=5e-5)
    assert x.grad[:2] == pytest.approx([0.3932, -0.5898], abs=5e-5)


def test_power_of_a_product(graph):
    x, y = leaves(graph, 2.0, 3.0)
    f = (x * y) ** (x + y)
    assert float(f.data) == pytest.approx(7776)
    f.backward()
    # d/dx (xy)^(x+y) = f (log(xy) + (x + y) / x)
    assert float(x.grad) == pytest.approx(7776 * (math.log(6) + 5 / 2))
    assert float(y.grad) == pytest.approx(7776 * (math.log(6) + 5 / 3))


def test_product_plus_sum_has_two_inputs_a_product_and_two_sums(graph):
    x, y = leaves(graph, 2.0, 3.0)
    f = x * y + (x + y)
    assert [type(node).__name__ for node in graph.tape] == ["Multiply", "Add", "Add"]
    assert str(graph).count("input") == 2
    f.backward()
    assert float(f.data) == 11 and float(x.grad) == 4 and float(y.grad) == 3


def test_addition_copies_product_swaps_maximum_routes(graph):
    x, y = leaves(graph, 3.0, -7.0)
    for f, dx, dy in [(ops.add, 2, 2), (ops.multiply, 2 * -7, 2 * 3), (ops.maximum, 2, 0), (ops.minimum, 0, 2)]:
        graph.backward(f(x, y), gradient=2.0)
        assert (float(x.grad), float(y.grad)) == (dx, dy)


def test_equal_operands_of_maximum_the_first_takes_it(graph):
    x, y = leaves(graph, 1.0, 1.0)
    ops.maximum(x, y).backward()
    assert (float(x.grad), float(y.grad)) == (1, 0)


def test_neuron_is_fifteen(graph):
    a, w = leaves(graph, [5.0, 2.0, 1.0], [2.0, 4.0, -3.0])
    z = (a * w).sum()
    assert float(z.data) == 15
    z.backward()
    assert w.grad.tolist() == [5, 2, 1] and a.grad.tolist() == [2, 4, -3]


def test_a_gate_of_the_course_runs_as_it_is_written(graph):
    x, y = leaves(graph, 3.0, -4.0)
    f = Gate()(x, y)
    f.backward()
    assert float(f.data) == -12 and float(x.grad) == -4 and float(y.grad) == 3
    assert isinstance(x.grad, np.ndarray), "NumPy's products of 0-d arrays are scalars: the graph makes arrays of them"


# -- using a tensor more than once -----------------------------------------------------------------------------------


def test_a_long_chain_does_not_recurse(graph):
    (x,) = leaves(graph, 1.0)
    y = x
    for _ in range(5000):
        y = y + 1.0
    y.backward()
    assert float(y.data) == 5001 and float(x.grad) == 1


def test_doubling_twice(graph):
    (a,) = leaves(graph, 3.0)
    b = a + a
    c = b + b
    graph.backward(c, interior=True)
    assert float(c.data) == 12 and float(b.grad) == 2 and float(a.grad) == 4


def test_squares_of_one_tensor(graph):
    (x,) = leaves(graph, [2.0, -3.0])
    (x * x * x).sum().backward()
    assert x.grad.tolist() == [12, 27]


def test_a_tensor_in_many_places(graph):
    (x,) = leaves(graph, [[1.0, 2.0], [3.0, 4.0]])
    f = (x @ x).sum() + x.T.sum() + (x[0] * x[:, 1]).sum() + ops.concatenate([x, x]).mean() + ops.stack([x, x]).max()
    f.backward()
    d = np.array([[1.0, 2.0], [3.0, 4.0]])
    want = d.sum(axis=1)[None, :] + d.sum(axis=0)[:, None] + 1 + 0.25
    want[0] += d[:, 1]
    want[:, 1] += d[0]
    want[1, 1] += 1
    assert x.grad == pytest.approx(want)


def test_a_dead_end_gets_no_gradient(graph):
    x, y = leaves(graph, 2.0, 3.0)
    y * x
    (x * 5).backward()
    assert float(x.grad) == 5 and y.grad is None


# -- backward --------------------------------------------------------------------------------------------------------


def test_a_second_backward_over_a_spent_tape(graph):
    (x,) = leaves(graph, 2.0)
    y = x * x
    y.backward()
    with pytest.raises(RuntimeError, match="spent.*Compute the loss again"):
        y.backward()
    with pytest.raises(RuntimeError, match="spent"):
        (y * 3).backward()
    (z := x * 3).graph.reset()
    with pytest.raises(RuntimeError, match="spent"):
        z.backward()
    assert float(x.grad) == 4


def test_a_second_loss_replaces_or_accumulates(graph):
    (x,) = leaves(graph, 2.0)
    (x * x).backward()
    (x * 3).backward()
    held = x.grad
    assert float(held) == 3
    graph.backward(x * x, accumulate=True)
    assert float(x.grad) == 7 and float(held) == 3


def test_parameters_replace_and_accumulate(graph):
    p = Parameter((2,), "ones", dtype="float64")

    def loss():
        return (graph.parameter(p) * np.array([2.0, 3.0])).sum()

    loss().backward()
    loss().backward()
    assert p.grad.tolist() == [2, 3]
    graph.backward(loss(), accumulate=True)
    assert p.grad.tolist() == [4, 6]


def test_a_parameter_with_a_slot_is_written_there_once(graph):
    p = Parameter((3, 2), "ones", dtype="float64")
    p.slot = np.full((3, 2), 99.0)
    x = np.arange(12.0).reshape(4, 3)
    W = graph.parameter(p)
    assert graph.parameter(p) is W
    ((x @ W).sum() + (x @ W).sum()).backward()
    assert p.grad is p.slot
    assert p.grad == pytest.approx(2 * x.sum(axis=0)[:, None] * np.ones(2))


def test_the_loss_may_be_a_leaf(graph):
    (x,) = leaves(graph, 2.0)
    x.backward()
    assert float(x.grad) == 1


def test_what_backward_refuses(graph):
    (x,) = leaves(graph, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"scalar loss, got shape \(2,\).*sum\(\) or mean\(\)"):
        graph.backward(x * 2)
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        graph.backward(x * 2, gradient=np.ones(3))
    with pytest.raises(RuntimeError, match="requires_grad=True"):
        graph.tensor(1.0).backward()
    with pytest.raises(ValueError, match="tensor of this graph"):
        graph.backward(np.ones(()))
    with pytest.raises(ValueError, match="two graphs"):
        x * leaves(Graph(dtype="float64"), 1.0)[0]
    with pytest.raises(TypeError, match="at least one Tensor, got float, int"):
        ops.add(1.0, 2)
    with pytest.raises(TypeError, match="Add expects tensors, numbers or arrays, got str"):
        x + "one"
    with pytest.raises(TypeError, match="floating-point dtype, got int32"):
        graph.tensor([1, 2], dtype="int32", requires_grad=True)


def test_a_function_is_the_memory_of_one_call(graph):
    x, y = leaves(graph, 1.0, 2.0)
    gate = Gate()
    gate(x, y)
    with pytest.raises(RuntimeError, match=r"make a new one for every call, as in Gate\(\.\.\.\)"):
        gate(x, y)


def test_wrong_gradients_of_a_users_function_are_named(graph):
    class TooFew(Gate):
        def backward(self, graph, dz):
            return dz

    class Unshaped(Gate):
        def backward(self, graph, dz):
            return dz, dz.sum()

    x, y = leaves(graph, [1.0, 2.0], [3.0, 4.0])
    with pytest.raises(ValueError, match="TooFew.backward must return one gradient per input: expected 2, got 1"):
        TooFew()(x, y).sum().backward()
    with pytest.raises(ValueError, match=r"Unshaped.backward .* shapes: expected \(2,\), got \(\)"):
        Unshaped()(x, y).sum().backward()
    assert not graph.tape, "a failure leaves no tape behind"
    (x * y).sum().backward()
    assert x.grad.tolist() == [3, 4]


# -- looking at a graph ----------------------------------------------------------------------------------------------


def test_print_shows_every_value_and_gradient(graph):
    x, y, z = (graph.tensor(v, requires_grad=True, name=n) for v, n in ((-2.0, "x"), (5.0, "y"), (-4.0, "z")))
    f = ops.relu((x + y) * z)
    lines = str(graph).splitlines()
    assert [line.split()[1].split("(")[0] for line in lines] == ["x", "y", "Add", "z", "Multiply", "Relu"]
    assert "gradient" not in str(graph)
    graph.backward(f, gradient=1.0, interior=True)
    shown = [(line.split("value ")[1].split()[0], line.split("gradient ")[1]) for line in str(graph).splitlines()]
    assert [(float(v), float(g)) for v, g in shown] == [(-2, 0), (5, 0), (3, 0), (-4, 0), (-12, 0), (0, 1)]
    assert "Multiply(#2, #3)" in str(graph)


def test_print_of_arrays_and_of_an_empty_graph(graph):
    assert str(graph).startswith("Graph with an empty tape; backward(loss, interior=True) keeps")
    (x,) = leaves(graph, np.arange(12.0).reshape(3, 4))
    (x * 2)[0].sum()
    assert "3x4 in [0, 22]" in str(graph) and "[0., 2., 4., 6.]" in str(graph)


def test_interior_gradients_are_fresh(graph):
    (x,) = leaves(graph, 2.0)
    y = x * 3
    graph.backward(y * y)
    assert y.grad is None
    y = x * 3
    graph.backward(y * y, interior=True)
    assert float(y.grad) == 12


def test_a_listener_is_told_once_when_the_gradient_is_complete():
    told = []
    g = Graph(dtype="float64", backend="reference", listener=lambda p: told.append((p, p.grad.copy(), len(g.tape))))
    first, second, unused, frozen = (Parameter((), "ones", dtype="float64") for _ in range(4))
    frozen.trainable = False
    x = g.parameter(first) * 2.0
    g.parameter(unused)
    y = g.parameter(second) * x * g.parameter(frozen)
    (y + g.parameter(second)).backward()
    assert [p for p, _, _ in told] == [second, first]
    assert [float(d) for _, d, _ in told] == [3, 2]
    assert told[0][2] == 1, "the last layer's gradient is told before backward reaches the first layer"
    assert frozen.grad is None and unused.grad is None


# -- memory and modes ------------------------------------------------------------------------------------------------


def test_no_reference_cycle_outlives_a_step(graph):
    p = Parameter((4, 4), dtype="float64")
    gc.collect()
    gc.disable()
    try:
        for finish in (lambda f: f.backward(), lambda f: graph.backward(f, interior=True), lambda f: graph.reset()):
            x = graph.tensor(np.ones((3, 4)), requires_grad=True)
            y = ops.softmax(ops.tanh(x @ graph.parameter(p)))
            watched = [weakref.ref(t.data) for t in (y, x)]
            finish((y * y).sum())
            graph.records.clear()
            del x, y
            assert [w() is None for w in watched] == [True, True]
    finally:
        gc.enable()


def test_a_graph_without_gradients_writes_no_tape():
    g = Graph(dtype="float64", gradients=False, backend="reference")
    p = Parameter((3,), "ones", dtype="float64")
    x = g.tensor(np.ones(3), requires_grad=True)
    y = x * g.parameter(p)
    seen = weakref.ref(y.data)
    z = ops.softmax(y)
    assert not g.tape and not z.requires_grad
    assert z.function.inputs[0] is y, "a loss still finds the logits"
    logits = z.function
    del y, z, logits
    assert seen() is None, "an intermediate array lives as long as its tensors"


def test_a_loss_finds_the_logits(graph):
    (x,) = leaves(graph, [[1.0, 2.0]])
    for function, apply in ((ops.activations.Softmax, ops.softmax), (ops.activations.Sigmoid, ops.sigmoid)):
        y = apply(x)
        assert type(y.function) is function and y.function.inputs[0] is x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_everything_has_the_graphs_dtype(dtype):
    g = Graph(dtype=dtype)
    other = "float64" if dtype == "float32" else "float32"
    p, b = Parameter((3,), dtype=other), Buffer((), "ones", dtype=other)
    x = g.tensor([[1, 2, 3]], requires_grad=True)
    y = 2 * (x + 1) ** 2 / np.float64(3) - np.arange(3) * g.parameter(p) + g.parameter(b)
    assert x.dtype == y.dtype == g.dtype == dtype
    y.mean().backward()
    assert x.grad.dtype == dtype and p.grad.dtype == other
    with pytest.raises(ValueError, match="floating-point dtype"):
        Graph(dtype="int32")


def test_numbers_and_arrays_stand_on_either_side(graph):
    (x,) = leaves(graph, [1.0, 2.0])
    ones = np.ones(2)
    for y, want in [
        (ones - x, [0, -1]),
        (3 - x, [2, 1]),
        (x - ones, [0, 1]),
        (ones / x, [1, 0.5]),
        (2**x, [2, 4]),
        ([1, 1] + x, [2, 3]),
        (np.float32(2) * x, [2, 4]),
        (np.eye(2) @ x, [1, 2]),
        (-x, [-1, -2]),
        (abs(-x), [1, 2]),
    ]:
        assert y.data.tolist() == want
    graph.reset()


def test_two_threads_predict_with_one_parameter():
    p = Parameter((50, 50), dtype="float32")
    x = np.random.default_rng(0).standard_normal((20, 50)).astype("float32")
    results = {}

    def predict(i):
        g = Graph(gradients=False)
        results[i] = (ops.tanh(g.tensor(x) @ g.parameter(p))).numpy()

    p.data  # noqa: B018  drawn before
    threads = [threading.Thread(target=predict, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(results) == 4 and all((r == results[0]).all() for r in results.values())


@pytest.mark.parametrize("module", ["function", "graph", "ops.broadcasting", "errors"])
def test_the_examples_in_the_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"tinynn.{module}"))
    assert result.attempted > 0 and result.failed == 0


def test_backends_by_name():
    assert Graph(backend="reference").backend is backends.get("reference")
    with pytest.raises(ValueError, match="did you mean 'cpu'"):
        Graph(backend="cpi")
