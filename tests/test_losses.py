"""Losses: against PyTorch, against numbers by hand, and what the model's door lets through."""

import math
import warnings

import numpy as np
import pytest

from tests.device import device_backend
from tinynn import backends, losses, ops
from tinynn.graph import Graph
from tinynn.losses.entropies import SoftmaxCrossEntropy
from tinynn.losses.means import WeightedMean

N, C = 6, 4
rng = np.random.default_rng(3)
X = rng.standard_normal((N, C))
Y = rng.standard_normal((N, C))
P = rng.dirichlet(np.ones(C), N)
T = rng.dirichlet(np.ones(C), N)
LABELS = np.array([0, 3, 2, 2, 1, 0])
ONE_HOT = np.eye(C)[LABELS]
BITS = (rng.random((N, C)) < 0.5).astype(float)
SIGNS = 2 * BITS - 1
WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5, 3.0, 1.0])


def run(loss, y_true, x, through=None, weights=None, backend=None, dtype="float64"):
    """The value of a loss and the gradient of what ``through`` made its prediction from."""
    graph = Graph(backend=backend, dtype=dtype)
    leaf = graph.tensor(x, requires_grad=True)
    value = losses.get(loss)(y_true, through(leaf) if through else leaf, weights)
    graph.backward(value)
    return float(value.data), leaf.grad


def value(loss, y_true, x, **options):
    return run(loss, y_true, x, **options)[0]


# -- PyTorch ---------------------------------------------------------------------------------------------------------


def torch_losses():
    """name: (our loss, targets, predictions, PyTorch's rows of (target, prediction))"""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    torch.set_num_threads(1)

    def cce(t, x):
        return F.cross_entropy(x, t, reduction="none")

    def smooth(s):
        return lambda t, x: F.cross_entropy(x, t.argmax(1), reduction="none", label_smoothing=s)

    def sparse(**options):
        return lambda t, x: F.cross_entropy(x, t.long(), reduction="none", **options)

    return {
        "mse": ("mse", Y, X, lambda t, x: F.mse_loss(x, t, reduction="none").mean(1)),
        "mae": ("mae", Y, X, lambda t, x: F.l1_loss(x, t, reduction="none").mean(1)),
        "huber": (losses.Huber(0.7), Y, X, lambda t, x: F.huber_loss(x, t, reduction="none", delta=0.7).mean(1)),
        "cosine": ("cosine_similarity", Y, X, lambda t, x: -F.cosine_similarity(t, x, dim=1)),
        "poisson": (
            "poisson",
            P,
            T,
            lambda t, x: F.poisson_nll_loss(x, t, log_input=False, reduction="none", eps=1e-7).mean(1),
        ),
        "kld": ("kld", P, T, lambda t, x: F.kl_div(x.log(), t, reduction="none").sum(1)),
        "hinge": ("hinge", SIGNS, X, lambda t, x: torch.relu(1 - t * x).mean(1)),
        "squared_hinge": ("squared_hinge", SIGNS, X, lambda t, x: torch.relu(1 - t * x).pow(2).mean(1)),
        "categorical_hinge": (
            "categorical_hinge",
            ONE_HOT,
            X,
            lambda t, x: torch.relu(((1 - t) * x).amax(1) - (t * x).sum(1) + 1),
        ),
        "msle": ("msle", P, T, lambda t, x: (torch.log1p(x) - torch.log1p(t)).pow(2).mean(1)),
        "mape": ("mape", P, T, lambda t, x: (100 * (x - t).abs() / t).mean(1)),
        "log_cosh": ("log_cosh", Y, X, lambda t, x: torch.log(torch.cosh(x - t)).mean(1)),
        "categorical": (losses.CategoricalCrossentropy(from_logits=True), T, X, cce),
        "categorical_smoothed": (
            losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
            ONE_HOT,
            X,
            smooth(0.2),
        ),
        "categorical_probabilities": (
            "categorical_crossentropy",
            T,
            P,
            lambda t, x: -(t * (x / x.sum(1, keepdim=True)).log()).sum(1),
        ),
        "sparse": (losses.SparseCategoricalCrossentropy(from_logits=True), LABELS, X, sparse()),
        "sparse_probabilities": (
            "sparse_categorical_crossentropy",
            LABELS,
            P,
            lambda t, x: F.nll_loss((x / x.sum(1, keepdim=True)).log(), t.long(), reduction="none"),
        ),
        "binary": (
            losses.BinaryCrossentropy(from_logits=True),
            BITS,
            X,
            lambda t, x: F.binary_cross_entropy_with_logits(x, t, reduction="none").mean(1),
        ),
        "binary_probabilities": (
            "binary_crossentropy",
            BITS,
            P,
            lambda t, x: F.binary_cross_entropy(x, t, reduction="none").mean(1),
        ),
    }


TORCH_NAMES = [
    *(
        "mse",
        "mae",
        "huber",
        "cosine",
        "poisson",
        "kld",
        "hinge",
        "squared_hinge",
        "categorical_hinge",
        "msle",
        "mape",
        "log_cosh",
    ),
    *("categorical", "categorical_smoothed", "categorical_probabilities", "sparse", "sparse_probabilities"),
    *("binary", "binary_probabilities"),
]


@pytest.mark.oracle
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("name", TORCH_NAMES)
def test_values_and_gradients_are_those_of_torch(name, weights, backend):
    torch = pytest.importorskip("torch")
    loss, t, x, rows = torch_losses()[name]
    leaf = torch.tensor(x, requires_grad=True)
    theirs = rows(torch.tensor(t), leaf)
    total = (theirs * torch.tensor(np.ones(N) if weights is None else weights)).sum() / N
    total.backward()
    ours, gradient = run(loss, t, x, weights=weights, backend=backend)
    # Clipping at 1e-7 is all that lets some of ours differ from the plain formula: nothing here is that small.
    assert ours == pytest.approx(total.item(), rel=1e-6)
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-5, atol=1e-8)
    graph = Graph(dtype="float64", backend=backend)
    np.testing.assert_allclose(losses.get(loss).rows(t, graph.tensor(x)).data, theirs.detach().numpy(), rtol=1e-6)


def test_every_oracle_is_run():
    pytest.importorskip("torch")
    assert set(TORCH_NAMES) == set(torch_losses())


@pytest.mark.oracle
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignored", [None, 2, -100, 255])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_product_of_options_is_that_of_torch(smoothing, ignored, reduction, weights):
    """Smoothing x ignored label x reduction x sample weights: the divisor is the number of labels that were kept."""
    torch = pytest.importorskip("torch")
    labels = LABELS if ignored in (None, 2) else np.where(LABELS == 2, ignored, LABELS)
    loss = losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=ignored, label_smoothing=smoothing, reduction=reduction
    )
    leaf = torch.tensor(X, requires_grad=True)
    rows = torch.nn.functional.cross_entropy(
        leaf,
        torch.tensor(labels),
        reduction="none",
        label_smoothing=smoothing,
        ignore_index=-100 if ignored is None else ignored,
    )
    rows = rows * torch.tensor(np.ones(N) if weights is None else weights)
    kept = N if ignored is None else int((labels != ignored).sum())
    assert kept == (N if ignored is None else 4)
    total = rows.sum() / (kept if reduction == "mean" else 1)
    total.backward()
    graph = Graph(dtype="float64")
    x = graph.tensor(X, requires_grad=True)
    ours = loss(labels, x, weights)
    expected = rows.detach().numpy() if reduction == "none" else total.item()
    np.testing.assert_allclose(ours.data, expected, rtol=1e-12)
    graph.backward(ours, gradient=np.ones(N) if reduction == "none" else None)
    np.testing.assert_allclose(x.grad, leaf.grad.numpy(), atol=1e-14)


# -- numbers by hand, as Keras has them ------------------------------------------------------------------------------

KERAS = [
    ("mean_squared_error", [[0, 1], [0, 0]], [[1, 1], [1, 0]], 0.5),
    ("mean_absolute_error", [[0, 1], [0, 0]], [[1, 1], [1, 0]], 0.5),
    ("mean_absolute_percentage_error", [[2.0, 1.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 0.0]], 50.0),
    ("mean_squared_logarithmic_error", [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, 0.0]], math.log(2) ** 2 / 2),
    ("log_cosh", [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]], math.log(math.cosh(1)) / 4),
    ("huber", [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], 0.155),
    ("hinge", [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], 1.3),
    ("squared_hinge", [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], 1.86),
    ("categorical_hinge", [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], 1.4),
    ("poisson", [[0.0, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]], 0.5),
    ("cosine_similarity", [[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]], -0.5),
    ("kl_divergence", [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], 0.458),
    ("binary_crossentropy", [0, 1, 0, 0], [0.6, 0.3, 0.2, 0.8], 0.988),
    ("categorical_crossentropy", [[0, 1, 0], [0, 0, 1]], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], 1.177),
    ("sparse_categorical_crossentropy", [1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], 1.177),
]


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(("name", "t", "x", "expected"), KERAS, ids=[k[0] for k in KERAS])
def test_numbers_of_the_keras_documentation(name, t, x, expected, backend):
    assert value(name, t, x, backend=backend) == pytest.approx(expected, abs=6e-4)
    graph = Graph(backend=backend, dtype="float64")
    function = getattr(losses, name)
    assert float(function(t, graph.tensor(x)).data) == pytest.approx(expected, abs=6e-4)
    rows = function(t, graph.tensor(x), reduction="none")
    assert rows.shape == (len(t),)
    assert rows.data.mean() == pytest.approx(expected, abs=6e-4)


def test_the_keras_example_with_sample_weights():
    x, y, w = [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], [1, 2], [0.3, 0.7]
    assert value("sparse_categorical_crossentropy", y, x, weights=w) == pytest.approx(0.814, abs=5e-4)
    loss = losses.SparseCategoricalCrossentropy(reduction="sum")
    assert value(loss, y, x) == pytest.approx(2.354, abs=5e-4)


def test_weights_do_not_change_the_divisor():
    assert value("mse", [[0.0], [0.0]], [[1.0], [2.0]], weights=[2.0, 0.0]) == 1.0
    assert value("mse", [[0.0], [0.0]], [[1.0], [2.0]], weights=[[0.0], [1.0]]) == 2.0


def test_label_smoothing_of_the_binary_loss():
    hard = value(losses.BinaryCrossentropy(True), [[0.05], [0.95]], [[1.0], [2.0]])
    assert value(losses.BinaryCrossentropy(True, label_smoothing=0.1), [[0], [1]], [[1.0], [2.0]]) == pytest.approx(
        hard
    )


def test_log_cosh_keeps_its_digits_and_does_not_overflow():
    assert value("log_cosh", [0.0], [1e-4], dtype="float32") == pytest.approx(5e-9, rel=1e-4)
    assert value("log_cosh", [0.0], [1e4], dtype="float32") == pytest.approx(1e4 - math.log(2), rel=1e-6)


def test_cosine_of_zero_rows_has_a_gradient():
    loss, gradient = run("cosine_similarity", [[3.0, 4.0]], [[0.0, 0.0]])
    assert loss == 0
    np.testing.assert_allclose(gradient, [[-0.6e7, -0.8e7]])


# -- extremes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_large_logits(backend, dtype):
    x = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]])
    for loss, y in (
        (losses.SparseCategoricalCrossentropy(True), [0, 1]),
        (losses.CategoricalCrossentropy(True), [[1, 0, 0], [0, 1, 0]]),
    ):
        got, gradient = run(loss, y, x, backend=backend, dtype=dtype)
        assert got == 1e4
        np.testing.assert_array_equal(gradient, [[0, 0, 0], [0.5, -0.5, 0]])
    binary = losses.BinaryCrossentropy(True)
    got, gradient = run(binary, [[1], [1], [0]], [[1e4], [-1e4], [1e4]], backend=backend, dtype=dtype)
    assert got == pytest.approx(2e4 / 3)
    np.testing.assert_allclose(gradient, [[0], [-1 / 3], [1 / 3]], rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_of_zero_and_one_are_clipped(dtype):
    wrong = value("sparse_categorical_crossentropy", [0], [[0.0, 1.0]], dtype=dtype)
    assert wrong == pytest.approx(-math.log(1e-7), rel=1e-6)
    right, gradient = run("sparse_categorical_crossentropy", [1], [[0.0, 1.0]], dtype=dtype)
    assert 0 <= right < 2e-7
    assert np.isfinite(gradient).all()
    wrong, gradient = run("binary_crossentropy", [[1.0], [0.0]], [[0.0], [1.0]], dtype=dtype)
    assert wrong == pytest.approx(-math.log(1e-7), rel=0.02)
    np.testing.assert_array_equal(gradient, [[0], [0]])  # beyond the clip nothing changes


def test_probabilities_are_renormalised():
    assert value("categorical_crossentropy", [[1, 0]], [[2.0, 6.0]]) == pytest.approx(math.log(4))


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", losses.SparseCategoricalCrossentropy(True)])
def test_a_batch_of_one(loss):
    x = [[0.2, 0.5, 0.3]]
    expected = -math.log(0.5) if isinstance(loss, str) else math.log(np.exp(x).sum()) - 0.5
    assert value(loss, [1], x) == pytest.approx(expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("from_logits", [True, False])
def test_all_ignored_is_zero_with_zero_gradient(from_logits, smoothing):
    loss = losses.SparseCategoricalCrossentropy(from_logits, ignore_class=-1, label_smoothing=smoothing)
    got, gradient = run(loss, np.full(N, -1), P)
    assert got == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(P))


@pytest.mark.parametrize("name", sorted(losses.NAMES))
def test_the_mean_does_not_depend_on_the_batch_size(name):
    """A batch three times over has the same loss, and a third of the gradient in each row."""
    t, x = (LABELS, P) if name.startswith("sparse") else (BITS if "hinge" in name else T, P)
    once, gradient = run(name, t, x)
    thrice, gradients = run(name, np.concatenate([t] * 3), np.concatenate([x] * 3))
    assert once == pytest.approx(thrice, rel=1e-12)
    np.testing.assert_allclose(gradients[:N], gradient / 3, rtol=1e-9)


@pytest.mark.parametrize("name", sorted(losses.NAMES))
def test_float32_stays_float32(name):
    t, x = (LABELS, P) if name.startswith("sparse") else (BITS if "hinge" in name else T, P)
    graph = Graph(dtype="float32")
    leaf = graph.tensor(x, requires_grad=True)
    loss = losses.get(name)(t, leaf, WEIGHTS)
    assert loss.dtype == np.float32
    assert loss.shape == ()
    graph.backward(loss)
    assert leaf.grad.dtype == np.float32
    assert leaf.grad.shape == x.shape


@pytest.mark.parametrize("name", sorted(losses.NAMES))
def test_losses_run_on_a_device(name):
    """No loss reads a value back, mixes host and device, or asks for the truth of an array."""
    t, x = (LABELS, P) if name.startswith("sparse") else (SIGNS if name in ("hinge", "squared_hinge") else T, P)
    backend = device_backend()
    through = {"binary_crossentropy": ops.sigmoid}.get(name, ops.softmax)
    for node in (None, through):
        graph = Graph(backend=backend, dtype="float64")
        leaf = graph.tensor(x, requires_grad=True)
        target = backend.asarray(t, np.int32 if name.startswith("sparse") else np.float64)
        loss = losses.get(name)(target, node(leaf) if node else leaf, backend.asarray(WEIGHTS, np.float64))
        graph.backward(loss)
        expected, gradient = run(name, t, x, through=node, weights=WEIGHTS, backend="reference")
        np.testing.assert_allclose(backend.to_numpy(loss.data), expected)
        np.testing.assert_allclose(backend.to_numpy(leaf.grad), gradient)


def test_all_options_of_the_sparse_loss_run_on_a_device():
    backend = device_backend()
    graph = Graph(backend=backend, dtype="float64")
    leaf = graph.tensor(X, requires_grad=True)
    loss = losses.SparseCategoricalCrossentropy(True, ignore_class=2, label_smoothing=0.1)
    got = loss(backend.asarray(LABELS, np.int32), leaf, backend.asarray(WEIGHTS, np.float64))
    graph.backward(got)
    np.testing.assert_allclose(backend.to_numpy(got.data), value(loss, LABELS, X, weights=WEIGHTS))


# -- the node below --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "t", "through"),
    [
        ("sparse_categorical_crossentropy", LABELS, ops.softmax),
        ("categorical_crossentropy", T, ops.softmax),
        ("binary_crossentropy", BITS, ops.sigmoid),
    ],
)
def test_logits_are_found_below_the_activation(name, t, through):
    x = 300 * X  # far beyond where probabilities round to 0 and 1
    logits = type(losses.get(name))(from_logits=True)
    assert value(name, t, x, through=through) == pytest.approx(value(logits, t, x), rel=1e-12)
    np.testing.assert_allclose(run(name, t, x, through=through)[1], run(logits, t, x)[1], atol=1e-12)
    graph = Graph(dtype="float64", gradients=False)  # also where nothing is recorded
    found = losses.get(name)(t, through(graph.tensor(x)))
    assert float(found.data) == pytest.approx(value(logits, t, x), rel=1e-12)


def test_the_softmax_node_is_skipped():
    graph = Graph(dtype="float64")
    x = graph.tensor(X, requires_grad=True)
    y = ops.softmax(x)
    function = y.function
    loss = losses.categorical_crossentropy(T, y)
    assert isinstance(graph.tape[-1], SoftmaxCrossEntropy)
    assert graph.tape[-2].inputs[0] is x
    function.backward = lambda *_: pytest.fail("softmax's backward ran")
    graph.backward(loss)
    np.testing.assert_allclose(x.grad, (np.exp(X) / np.exp(X).sum(1, keepdims=True) - T) / N)


def test_a_reshaped_softmax_is_just_probabilities():
    x = 3 * X
    reshaped = value("sparse_categorical_crossentropy", LABELS, x, through=lambda z: ops.softmax(z).reshape(N, C))
    assert reshaped == pytest.approx(value("sparse_categorical_crossentropy", LABELS, x, through=ops.softmax), rel=1e-6)
    other_axis = value("sparse_categorical_crossentropy", LABELS, x, through=lambda z: ops.softmax(z, axis=0))
    p = np.exp(x) / np.exp(x).sum(0)
    assert other_axis == pytest.approx(-np.log(p / p.sum(1, keepdims=True))[range(N), LABELS].mean())


@pytest.mark.parametrize(
    ("cls", "t", "through"),
    [
        (losses.SparseCategoricalCrossentropy, LABELS, ops.softmax),
        (losses.CategoricalCrossentropy, T, ops.softmax),
        (losses.BinaryCrossentropy, BITS, ops.sigmoid),
    ],
)
def test_from_logits_on_probabilities_warns_once_and_is_right(cls, t, through):
    loss = cls(from_logits=True)
    with pytest.warns(UserWarning, match="applied twice.*Leave out from_logits=True") as caught:
        assert value(loss, t, X, through=through) == pytest.approx(value(cls(from_logits=True), t, X))
    assert [w.filename for w in caught] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value(loss, t, X, through=through)


# -- sequences and images --------------------------------------------------------------------------------------------


def test_one_label_per_position():
    x = rng.standard_normal((2, 3, 4))
    y = np.array([[0, 3, 1], [2, -1, -1]])
    logp = x - np.log(np.exp(x).sum(-1, keepdims=True))
    picked = -np.take_along_axis(logp, np.maximum(y, 0)[..., None], -1)[..., 0] * (y >= 0)
    loss = losses.SparseCategoricalCrossentropy(True, ignore_class=-1)
    assert value(loss, y, x) == pytest.approx(picked.sum() / 4)
    assert value(loss, y[..., None], x, weights=[2.0, 1.0]) == pytest.approx((picked * [[2], [1]]).sum() / 4)
    each = np.array([[1.0, 0, 2], [3, 1, 1]])
    assert value(loss, y, x, weights=each) == pytest.approx((picked * each).sum() / 4)
    rows = loss.rows(y, Graph(dtype="float64").tensor(x))
    np.testing.assert_allclose(rows.data, picked.mean(1))


def test_a_weight_per_time_step_for_numbers():
    x, t = rng.standard_normal((2, 2, 3, 5))
    each = np.array([[1.0, 0, 2], [3, 1, 1]])
    assert value("mse", t, x, weights=each) == pytest.approx((((x - t) ** 2).mean(2) * each).mean())
    assert value("mse", t, x) == pytest.approx(((x - t) ** 2).mean())
    np.testing.assert_allclose(
        losses.mean_squared_error(t, Graph(dtype="float64").tensor(x), reduction="none").data,
        ((x - t) ** 2).mean((1, 2)),
    )


# -- the door --------------------------------------------------------------------------------------------------------


def replaced(y, i, v, dtype=None):
    y = np.array(y, dtype)
    y[i] = v
    return y


SPARSE, CATEGORICAL, BINARY = (
    "sparse_categorical_crossentropy",
    "categorical_crossentropy",
    "binary_crossentropy",
)
REFUSED = {
    "label too large": (SPARSE, replaced(LABELS, 3, 4), (C,), ValueError, "0 to 3.*got 4 in row 3 of y.*5 units"),
    "labels from one": (SPARSE, LABELS + 1, (C,), ValueError, "classes count from 0, write y - 1"),
    "label -1": (SPARSE, replaced(LABELS, 1, -1), (C,), ValueError, "got -1 in row 1 of y.*ignore_class=-1"),
    "label 1.5": (SPARSE, replaced(LABELS, 2, 1.5, float), (C,), ValueError, "got 1.5 in row 2 of y"),
    "label nan": (SPARSE, replaced(LABELS, 2, np.nan, float), (C,), ValueError, "got nan in row 2 of y"),
    "label inf": (SPARSE, replaced(LABELS, 2, np.inf, float), (C,), ValueError, "got inf in row 2 of y"),
    "one-hot for sparse": (SPARSE, ONE_HOT, (C,), ValueError, "categorical_crossentropy, or y.argmax"),
    "sparse, one output": (SPARSE, LABELS, (1,), ValueError, "single output: use binary_crossentropy"),
    "sparse, rank": (SPARSE, np.zeros((N, 2, 2), int), (C,), ValueError, r"shape \(N,\), got \(6, 2, 2\)"),
    "text": (SPARSE, np.array(["cat", "dog"]), (C,), TypeError, "np.unique"),
    "objects": ("mse", np.array([None, 1]), (1,), TypeError, "dtype object"),
    "complex": ("mse", np.array([1j, 1]), (1,), TypeError, "dtype complex128"),
    "ragged": ("mse", [[1.0], [1.0, 2.0]], (1,), ValueError, "unequal lengths"),
    "a number": ("mse", 3.0, (1,), ValueError, "a row per sample"),
    "integers for categorical": (
        CATEGORICAL,
        LABELS,
        (C,),
        ValueError,
        r"\(N, 4\), got \(6,\).*sparse_categorical_crossentropy, or utils.to_categorical\(y, 4\)",
    ),
    "column for categorical": (CATEGORICAL, LABELS[:, None], (C,), ValueError, "sparse_categorical_crossentropy"),
    "categorical, one output": (CATEGORICAL, BITS[:, :1], (1,), ValueError, "single output: use binary_cross"),
    "categorical, other width": (CATEGORICAL, ONE_HOT, (C + 1,), ValueError, r"last layer with 4 units"),
    "not a probability": (CATEGORICAL, 2 * ONE_HOT, (C,), ValueError, "from 0 to 1.*got 2.0 in row 0, column 0"),
    "nan probability": (CATEGORICAL, replaced(T, (1, 2), np.nan), (C,), ValueError, "got nan in row 1, column 2"),
    "minus one": (BINARY, SIGNS[:, 0], (1,), ValueError, r"\(y \+ 1\) / 2, or use the loss 'hinge'"),
    "binary, classes": (BINARY, LABELS, (1,), ValueError, "got 3 in row 1.*sparse_categorical_crossentropy"),
    "binary, 10 outputs": (BINARY, LABELS, (10,), ValueError, "sparse_categorical_crossentropy"),
    "binary nan": (BINARY, [0.0, np.nan], (1,), ValueError, "got nan in row 1 of y"),
    "hinge 2": ("hinge", [0, 1, 2], (1,), ValueError, r"labels -1/\+1, or 0/1, got 2 in row 2 of y"),
    "hinge mixed": ("squared_hinge", [0, 1, -1], (1,), ValueError, "got 0 beside -1 in row 0"),
    "hinge nan": ("hinge", [np.nan, 1, -1], (1,), ValueError, "got nan in row 0"),
    "features": ("mse", Y, (3,), ValueError, r"mean_squared_error expects y of the output's shape \(N, 3\)"),
    "rank": ("mse", Y, (C, 1, 1), ValueError, "reshape the targets"),
    "kld": ("kld", 2 * T, (C,), ValueError, "from 0 to 1"),
    "categorical hinge": ("categorical_hinge", BITS[:, :1], (1,), ValueError, "single output"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_at_the_door(case):
    name, y, shape, kind, message = REFUSED[case]
    y = np.asarray(y) if not isinstance(y, (list, float)) else y
    before = y.tobytes() if isinstance(y, np.ndarray) else repr(y)
    with pytest.raises(kind, match=message) as caught:
        losses.get(name).check(y, shape, "y")
    assert losses.get(name).name in str(caught.value)
    assert before == (y.tobytes() if isinstance(y, np.ndarray) else repr(y))


@pytest.mark.parametrize(
    "y", [LABELS, LABELS[:, None], LABELS.tolist(), LABELS.astype("float32"), LABELS.astype(">i8")]
)
def test_labels_that_simply_work(y):
    checked = losses.get(SPARSE).check(y, (C,))
    assert checked.dtype == np.int32
    np.testing.assert_array_equal(checked, LABELS)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int64", "float16", "float32", "float64", ">f4"])
def test_targets_of_any_number_type(dtype):
    checked = losses.get(CATEGORICAL).check(ONE_HOT.astype(dtype), (C,))
    assert checked.dtype == (np.float64 if dtype == "float64" else np.float32)
    np.testing.assert_array_equal(checked, ONE_HOT)


def test_ignored_labels_pass_the_door():
    y = replaced(LABELS, 1, 255)
    assert losses.SparseCategoricalCrossentropy(ignore_class=255).check(y, (C,))[1] == 255
    with pytest.raises(ValueError, match="255"):
        losses.SparseCategoricalCrossentropy().check(y, (C,))


def test_a_vector_and_a_column_are_the_same():
    x, t = X[:, :1], Y[:, 0]
    expected = ((x[:, 0] - t) ** 2).mean()
    for target in (t, t[:, None]):
        for prediction in (x, x[:, 0]):
            got, gradient = run("mse", target, prediction)
            assert got == pytest.approx(expected)
            assert gradient.shape == prediction.shape
    with pytest.raises(ValueError, match="a row of y_true for each row of y_pred"):
        value("mse", Y[:1, :1], X[:, :1])
    with pytest.raises(ValueError, match="output's shape"):
        value("mse", Y[:, :1], X)


def test_hinge_takes_both_kinds_of_labels():
    assert value("hinge", BITS, X) == value("hinge", SIGNS, X)
    np.testing.assert_array_equal(losses.get("hinge").check(BITS, (C,)), SIGNS)


def test_the_weights_have_one_per_row():
    with pytest.raises(ValueError, match=r"one sample weight per row, shape \(6,\), got \(5,\)"):
        value("mse", Y, X, weights=np.ones(5))
    with pytest.raises(ValueError, match="one sample weight"):
        value("mse", Y, X, weights=2.0)


def test_the_order_of_arguments():
    graph = Graph()
    with pytest.raises(TypeError, match="y_true first"):
        losses.mean_squared_error(graph.tensor(X), Y)
    with pytest.raises(ValueError, match="no gradient for y_true"):
        losses.mean_squared_error(graph.tensor(X, requires_grad=True), graph.tensor(Y))
    assert float(losses.mean_squared_error(graph.tensor(Y), graph.tensor(X)).data) == pytest.approx(
        ((X - Y) ** 2).mean()
    )


# -- names and callables ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*losses.NAMES, *losses.ALIASES, *losses.CLASSES, "MSE", "KLD"])
def test_names(name):
    loss = losses.get(name)
    assert isinstance(loss, losses.Loss)
    assert losses.get(loss) is loss
    assert losses.get(type(loss)).name == loss.name
    assert type(losses.get(getattr(losses, loss.name))) is type(loss)
    again = losses.get({"class": type(loss).__name__, "config": loss.config()})
    assert again.config() == loss.config()


def test_arguments_are_kept():
    loss = losses.SparseCategoricalCrossentropy(True, ignore_class=3, reduction="sum", name="mine", label_smoothing=0.1)
    assert type(loss)(**loss.config()).config() == loss.config()
    assert loss.config()["ignore_class"] == 3
    assert losses.Huber(delta=2).config()["delta"] == 2
    assert losses.CategoricalCrossentropy(False, 0.1).label_smoothing == 0.1


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: losses.get("categorical_crosentropy"), ValueError, "did you mean 'categorical_crossentropy'"),
        (lambda: losses.get("mean_square_error"), ValueError, "did you mean 'mean_squared_error'"),
        (lambda: losses.get(3), TypeError, "got 3"),
        (lambda: losses.get(None), TypeError, "a name, a Loss, or a callable"),
        (lambda: losses.Huber(delta=-1), ValueError, "delta > 0"),
        (lambda: losses.CategoricalCrossentropy(label_smoothing=1.5), ValueError, "0 <= label_smoothing < 1"),
        (lambda: losses.CategoricalCrossentropy(axis=1), ValueError, "axis=-1"),
        (lambda: losses.CosineSimilarity(axis=0), ValueError, "batch axis"),
        (lambda: losses.SparseCategoricalCrossentropy(ignore_class=1.5), TypeError, "ignore_class"),
        (lambda: losses.MeanSquaredError(reduction="median"), ValueError, "reduction 'median'"),
    ],
)
def test_refused_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_a_callable_is_a_loss():
    def quartic(y_true, y_pred):
        return (y_pred - y_true) ** 4

    loss = losses.get(quartic)
    assert loss.name == "quartic"
    got, gradient = run(loss, Y, X)
    assert got == pytest.approx(((X - Y) ** 4).mean())
    np.testing.assert_allclose(gradient, 4 * (X - Y) ** 3 / X.size)
    weighted = run(loss, Y, X, weights=WEIGHTS)[0]
    assert weighted == pytest.approx((((X - Y) ** 4).mean(1) * WEIGHTS).mean())
    assert run(lambda t, x: ((x - t) ** 4).mean(), Y, X)[0] == pytest.approx(got)
    np.testing.assert_array_equal(loss.check(LABELS, (1,)), LABELS[:, None])
    np.testing.assert_array_equal(loss.check(LABELS, (7, 7)), LABELS)


def test_a_callable_that_gives_one_number_cannot_be_weighted():
    with pytest.raises(ValueError, match="one value per row"):
        run(lambda t, x: ((x - t) ** 2).mean(), Y, X, weights=WEIGHTS)
    with pytest.raises(TypeError, match="must return a Tensor, got float"):
        run(lambda t, x: 1.0, Y, X)


def test_a_loss_of_ones_own():
    class Pinball(losses.Loss):
        default_name = "pinball"

        def __init__(self, quantile=0.5):
            super().__init__()
            self.quantile = quantile

        def values(self, target, y_pred, keep):
            e = y_pred.graph.tensor(target) - y_pred
            return ops.maximum(self.quantile * e, (self.quantile - 1) * e)

    e = Y - X
    expected = np.maximum(0.9 * e, -0.1 * e)
    assert value(Pinball(0.9), Y, X) == pytest.approx(expected.mean())
    assert value(Pinball(0.9), Y, X, weights=WEIGHTS) == pytest.approx((expected.mean(1) * WEIGHTS).mean())


# -- kernels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_what_is_not_finite_stays_visible(backend):
    kernels = backends.get(backend).softmax
    x = np.array([[np.nan, 1, 2], [1, 2, np.nan], [-np.inf, 0, 0], [1, 2, 3]], np.float32)
    rows, p = np.empty(4, np.float32), np.empty_like(x)
    with np.errstate(invalid="ignore"):
        kernels.sparse_cross_entropy(rows, p, x, np.array([1, 1, 1, -1], np.int32))
    assert np.isnan(rows[:2]).all()
    assert rows[2] == pytest.approx(math.log(2))
    assert rows[3] == 0
    assert np.isnan(p[:2]).all()
    np.testing.assert_allclose(p[2], [0, 0.5, 0.5])
    loss = np.empty_like(x)
    with np.errstate(invalid="ignore"):
        kernels.binary_cross_entropy(loss, x, np.ones_like(x))
    assert np.isnan(loss[0, 0])
    assert loss[2, 0] == np.inf


def test_a_label_out_of_range_never_reads_beyond_its_row():
    """The door refuses it; the kernel gives NaN where somebody came through another way."""
    kernels = backends.get("cpu").softmax
    x = np.zeros((2, 3), np.float32)
    rows, p, dx = np.empty(2, np.float32), np.empty_like(x), np.empty_like(x)
    labels = np.array([10**6, 1], np.int32)
    kernels.sparse_cross_entropy(rows, p, x, labels)
    kernels.sparse_cross_entropy_backward(dx, np.ones(2, np.float32), p, labels)
    assert np.isnan(rows[0])
    assert np.isnan(dx[0]).all()
    assert np.isfinite(rows[1])
    assert np.isfinite(dx[1]).all()


def test_the_vector_exponential_is_exact():
    """exp(x) to 1e-15 from 0 down to where float64 ends."""
    x = np.concatenate([-np.logspace(-12, 2.84, 5000), [0.0, -700.0]])
    p = np.empty((len(x), 2))
    backends.get("cpu").softmax.forward(p, np.stack([np.zeros_like(x), x], axis=1))
    np.testing.assert_allclose(p[:, 1], np.exp(x) / (1 + np.exp(x)), rtol=2e-15)
    loss = np.empty((len(x), 1))
    backends.get("cpu").softmax.binary_cross_entropy(loss, x[:, None], np.zeros((len(x), 1)))
    np.testing.assert_allclose(loss[:, 0], np.log1p(np.exp(x)), rtol=1e-15)


def test_several_threads_give_the_same_bytes():
    from tinynn.backends.cpu import softmax, threads

    x = np.random.default_rng(1).standard_normal((3001, 70)).astype(np.float32)
    assert x.size >= softmax.PARALLEL_FROM
    labels = np.arange(3001, dtype=np.int32) % 70
    before, results = threads.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            threads.set_num_threads(n)
            y, p, rows, dense = np.empty_like(x), np.empty_like(x), np.empty(3001, "f"), np.empty(3001, "f")
            softmax.forward(y, x)
            softmax.sparse_cross_entropy(rows, p, x, labels)
            softmax.cross_entropy(dense, p, x, y)
            results.append(b"".join(a.tobytes() for a in (y, p, rows, dense)))
    finally:
        threads.set_num_threads(before)
    assert results[0] == results[1] == results[2]


def test_weighted_mean_of_nothing_is_zero():
    graph = Graph()
    assert float(WeightedMean()(graph.tensor(np.zeros((0,)))).data) == 0


@pytest.mark.parametrize(
    ("name", "good", "wrong"),
    [
        ("sparse_categorical_crossentropy", [(2, 5), (2, 5, 1)], [(2, 5, 2), (2,)]),
        ("categorical_crossentropy", [(2, 5, 3)], [(2, 5, 4), (2, 5)]),
        ("mse", [(2, 5, 3)], [(2, 5, 4), (2, 3)]),
    ],
)
def test_sequences_of_open_length(name, good, wrong):
    """An axis of the output that is None takes targets of any length; they have to fit when the loss is computed."""
    loss = losses.get(name)
    for shape in good:
        assert loss.check(np.zeros(shape), (None, 3)).shape[:2] == (2, 5)
    for shape in wrong:
        with pytest.raises(ValueError, match="None, 3|None"):
            loss.check(np.zeros(shape), (None, 3))
    y = loss.check(np.zeros(good[0]), (None, 3))
    with pytest.raises(ValueError, match="4, 3|4"):
        loss.compute(y, Graph().tensor(np.full((2, 4, 3), 1 / 3)))
