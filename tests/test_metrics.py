"""Metrics: against numbers by hand and Keras's documentation, over batches, weights and devices."""

import math

import numpy as np
import pytest

from tests.device import device_backend
from tinynn import losses, metrics
from tinynn.graph import Graph

rng = np.random.default_rng(8)
N, C = 60, 5
LABELS = rng.integers(0, C, N)
ONE_HOT = np.eye(C, dtype=np.float32)[LABELS]
SCORES = rng.dirichlet(np.ones(C), N).astype(np.float32)
SCORES[::2, :] = 0.3 * SCORES[::2] + 0.7 * ONE_HOT[::2]
BITS = (rng.random((N, 1)) < 0.4).astype(np.float32)
CHANCES = np.clip(0.35 * BITS + rng.uniform(0, 0.65, (N, 1)), 0, 1).astype(np.float32)
WEIGHTS = rng.uniform(0, 2, N).astype(np.float32)


def result(metric, y_true, y_pred, weights=None):
    metric.update_state(y_true, y_pred, weights)
    return metric.result()


# -- numbers of the Keras documentation ------------------------------------------------------------------------------

KERAS = [
    (metrics.Accuracy(), [1, 2, 3, 4], [0, 2, 3, 4], None, 0.75),
    (metrics.Accuracy(), [1, 2, 3, 4], [0, 2, 3, 4], [1, 1, 0, 0], 0.5),
    (metrics.BinaryAccuracy(), [[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]], None, 0.75),
    (metrics.BinaryAccuracy(), [[1], [1], [0], [0]], [[0.98], [1], [0], [0.6]], [1, 0, 0, 1], 0.5),
    (metrics.BinaryAccuracy(threshold=0.7), [1, 1, 0, 0], [0.98, 1, 0, 0.6], None, 1.0),
    (metrics.CategoricalAccuracy(), [[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], None, 0.5),
    (metrics.CategoricalAccuracy(), [[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], [0.7, 0.3], 0.3),
    (metrics.SparseCategoricalAccuracy(), [[2], [1]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]], None, 0.5),
    (metrics.SparseCategoricalAccuracy(), [[2], [1]], [[0.1, 0.6, 0.3], [0.05, 0.95, 0]], [0.7, 0.3], 0.3),
    (metrics.TopKCategoricalAccuracy(k=1), [[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], None, 0.5),
    (metrics.TopKCategoricalAccuracy(k=2), [[0, 0, 1], [0, 1, 0]], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], None, 1.0),
    (metrics.SparseTopKCategoricalAccuracy(k=1), [2, 1], [[0.1, 0.9, 0.8], [0.05, 0.95, 0]], [0.7, 0.3], 0.3),
    (metrics.Precision(), [0, 1, 1, 1], [1, 0, 1, 1], None, 2 / 3),
    (metrics.Precision(), [0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], 1.0),
    (metrics.Precision(top_k=2), [[0, 0, 1, 1]], [[1, 1, 1, 1]], None, 0.0),
    (metrics.Precision(top_k=4), [[0, 0, 1, 1]], [[1, 1, 1, 1]], None, 0.5),
    (metrics.Recall(), [0, 1, 1, 1], [1, 0, 1, 1], None, 2 / 3),
    (metrics.Recall(), [0, 1, 1, 1], [1, 0, 1, 1], [0, 0, 1, 0], 1.0),
    (metrics.AUC(num_thresholds=3), [0, 0, 1, 1], [0, 0.5, 0.3, 0.9], None, 0.75),
    (metrics.AUC(num_thresholds=3), [0, 0, 1, 1], [0, 0.5, 0.3, 0.9], [1, 0, 0, 1], 1.0),
    (metrics.MeanIoU(num_classes=2), [0, 0, 1, 1], [0, 1, 0, 1], None, 1 / 3),
    (metrics.MeanIoU(num_classes=2), [0, 0, 1, 1], [0, 1, 0, 1], [0.3, 0.3, 0.3, 0.1], 0.23809523),
    (metrics.MeanSquaredError(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], None, 0.25),
    (metrics.MeanSquaredError(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 0.5),
    (metrics.MeanAbsoluteError(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], 0.5),
    (metrics.RootMeanSquaredError(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], None, 0.5),
    (metrics.RootMeanSquaredError(), [[0, 1], [0, 0]], [[1, 1], [0, 0]], [1, 0], math.sqrt(0.5)),
    (metrics.get("cosine_similarity"), [[0.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [1.0, 1.0]], None, 0.5),
    (metrics.get("kld"), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], None, 0.45814306),
    (metrics.get("hinge"), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], None, 1.3),
    (metrics.get("hinge"), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], [1, 0], 1.1),
    (metrics.get("squared_hinge"), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], None, 1.86),
    (metrics.get("categorical_hinge"), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], None, 1.4),
    (metrics.get("poisson"), [[0, 1], [0, 0]], [[1.0, 1], [0, 0]], [1, 0], 0.99999994),
    (metrics.get("binary_crossentropy"), [[0, 1], [0, 0]], [[0.6, 0.4], [0.4, 0.6]], None, 0.81492424),
    (
        metrics.get("categorical_crossentropy"),
        [[0, 1, 0], [0, 0, 1]],
        [[0.05, 0.95, 0], [0.1, 0.8, 0.1]],
        None,
        1.1769392,
    ),
    (metrics.get("sparse_categorical_crossentropy"), [1, 2], [[0.05, 0.95, 0], [0.1, 0.8, 0.1]], None, 1.1769392),
]


@pytest.mark.parametrize("k", range(len(KERAS)), ids=lambda k: f"{k}-{KERAS[k][0].name}")
def test_numbers_of_the_keras_documentation(k):
    metric, y_true, y_pred, weights, expected = KERAS[k]
    metric.reset_state()
    assert result(metric, y_true, y_pred, weights) == pytest.approx(expected, abs=1e-6)
    metric.reset_state()
    assert metric.result() == 0


def test_f1_of_the_keras_documentation():
    y_true = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0]])
    y_pred = np.array([[0.2, 0.6, 0.7], [0.2, 0.6, 0.6], [0.6, 0.8, 0.0]])
    np.testing.assert_allclose(result(metrics.F1Score(threshold=0.5), y_true, y_pred), [0.5, 0.8, 2 / 3])
    assert result(metrics.F1Score("macro", 0.5), y_true, y_pred) == pytest.approx((0.5 + 0.8 + 2 / 3) / 3)
    assert result(metrics.F1Score("micro", 0.5), y_true, y_pred) == pytest.approx(8 / 12)
    assert result(metrics.F1Score("weighted", 0.5), y_true, y_pred) == pytest.approx((3 * 0.5 + 2 * 0.8 + 2 / 3) / 6)


# -- other formulas --------------------------------------------------------------------------------------------------


def rank_auc(t, p):
    """The share of pairs (positive, negative) in the right order; ties count half."""
    difference = p[t > 0.5][:, None] - p[t < 0.5][None, :]
    return ((difference > 0) + 0.5 * (difference == 0)).mean()


def test_roc_auc_is_the_share_of_pairs_in_order():
    grid = np.round(CHANCES * 50) / 50 + 0.01  # every prediction between two thresholds: the curve is exact
    assert result(metrics.AUC(num_thresholds=51), BITS, grid) == pytest.approx(rank_auc(BITS, grid))
    assert result(metrics.AUC(), BITS, CHANCES) == pytest.approx(rank_auc(BITS, CHANCES), abs=0.01)


@pytest.mark.parametrize("curve", ["ROC", "PR"])
@pytest.mark.parametrize("method", ["interpolation", "minoring", "majoring"])
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_auc_is_that_of_explicit_thresholds(curve, method, weights):
    """Keras's definition, threshold by threshold."""
    metric = metrics.AUC(20, curve, method)
    got = result(metric, BITS, CHANCES, weights)
    w = np.ones(N) if weights is None else weights.astype(np.float64)
    t, p = BITS[:, 0] > 0.5, CHANCES[:, 0].astype(np.float64)
    levels = np.array([-1e-7, *(i / 19 for i in range(1, 19)), 1 + 1e-7])
    tp = np.array([(w * t * (p > level)).sum() for level in levels])
    fp = np.array([(w * ~t * (p > level)).sum() for level in levels])
    if curve == "ROC":
        x, y = fp / fp[0], tp / tp[0]
    else:
        x, y = tp / tp[0], np.divide(tp, tp + fp, out=np.zeros(20), where=tp + fp > 0)
    expected = 0.0
    for i in range(19):
        if curve == "PR" and method == "interpolation":
            dtp, dp, before = tp[i] - tp[i + 1], (tp + fp)[i] - (tp + fp)[i + 1], (tp + fp)[i + 1]
            slope = dtp / dp if dp else 0.0
            ratio = (tp + fp)[i] / before if before > 0 else 1.0
            expected += slope * (dtp + (tp[i + 1] - slope * before) * math.log(ratio)) / tp[0]
        else:
            pick = {"interpolation": lambda a, b: (a + b) / 2, "minoring": min, "majoring": max}[method]
            expected += (x[i] - x[i + 1]) * pick(y[i], y[i + 1])
    assert got == pytest.approx(expected, rel=1e-9)


def test_precision_and_recall_by_threshold_class_and_top_k():
    several = metrics.Precision(thresholds=[0.2, 0.5, 0.8]), metrics.Recall(thresholds=[0.2, 0.5, 0.8])
    for k, level in enumerate((0.2, 0.5, 0.8)):
        called, t = level < CHANCES, BITS > 0.5
        assert result(several[0], BITS, CHANCES)[k] == pytest.approx((called & t).sum() / called.sum())
        assert result(several[1], BITS, CHANCES)[k] == pytest.approx((called & t).sum() / t.sum())
    called, t = SCORES[:, 2] > 0.5, LABELS == 2
    assert result(metrics.Precision(class_id=2), ONE_HOT, SCORES) == pytest.approx((called & t).sum() / called.sum())
    assert result(metrics.Recall(class_id=2), LABELS, SCORES) == pytest.approx((called & t).sum() / t.sum())
    hits = (np.argsort(-SCORES, axis=1)[:, :2] == LABELS[:, None]).any(1).sum()
    assert result(metrics.Precision(top_k=2), ONE_HOT, SCORES) == pytest.approx(hits / (2 * N))
    assert result(metrics.Recall(top_k=2), ONE_HOT, SCORES) == pytest.approx(hits / N)


def test_top_k_is_that_of_sorting():
    for k in (1, 2, 4):
        expected = (np.argsort(-SCORES, axis=1)[:, :k] == LABELS[:, None]).any(1)
        np.testing.assert_array_equal(metrics.sparse_top_k_categorical_accuracy(LABELS, SCORES, k), expected)
        np.testing.assert_array_equal(metrics.top_k_categorical_accuracy(ONE_HOT, SCORES, k), expected)
    assert not metrics.sparse_top_k_categorical_accuracy([0, 7], [[np.nan, 1.0], [1.0, 0.0]], 2).any()


def test_confusion_matrix():
    expected = np.zeros((C, C), int)
    for t, p in zip(LABELS, SCORES.argmax(1), strict=True):
        expected[t, p] += 1
    for y_true, y_pred in ((LABELS, SCORES.argmax(1)), (ONE_HOT, SCORES), (LABELS.tolist(), SCORES), (ONE_HOT, LABELS)):
        want = expected if y_pred is not LABELS else np.diag(np.bincount(LABELS, minlength=C))
        np.testing.assert_array_equal(metrics.confusion_matrix(y_true, y_pred), want)
        np.testing.assert_array_equal(result(metrics.ConfusionMatrix(C), np.asarray(y_true), y_pred), want)
    assert metrics.confusion_matrix([0, 1], [1, 1], num_classes=4).shape == (4, 4)
    assert metrics.confusion_matrix(LABELS, LABELS).dtype.kind == "i"
    for bad in ([0, 5], [0, -1]):
        with pytest.raises(ValueError, match="classes from 0 to 4; 1 rows"):
            metrics.confusion_matrix(bad, [0, 0], 5)


def test_f1_is_that_of_the_confusion_matrix():
    m = metrics.confusion_matrix(LABELS, SCORES)
    expected = 2 * np.diag(m) / (m.sum(0) + m.sum(1))
    np.testing.assert_allclose(result(metrics.F1Score(), ONE_HOT, SCORES), expected)
    np.testing.assert_allclose(result(metrics.F1Score(), LABELS, SCORES), expected)
    assert result(metrics.F1Score("micro"), LABELS, SCORES) == pytest.approx((SCORES.argmax(1) == LABELS).mean())


# -- batches, weights, devices ---------------------------------------------------------------------------------------

ALL = [
    ("accuracy", lambda: metrics.Accuracy(), LABELS, LABELS[::-1].copy()),
    ("binary", lambda: metrics.BinaryAccuracy(), BITS, CHANCES),
    ("categorical", lambda: metrics.CategoricalAccuracy(), ONE_HOT, SCORES),
    ("sparse", lambda: metrics.SparseCategoricalAccuracy(), LABELS, SCORES),
    ("ignore", lambda: metrics.SparseCategoricalAccuracy(ignore_class=2), LABELS, SCORES),
    ("top k", lambda: metrics.TopKCategoricalAccuracy(2), ONE_HOT, SCORES),
    ("sparse top k", lambda: metrics.SparseTopKCategoricalAccuracy(2), LABELS, SCORES),
    ("precision", lambda: metrics.Precision(), ONE_HOT, SCORES),
    ("recall", lambda: metrics.Recall([0.3, 0.6]), LABELS, SCORES),
    ("precision top k", lambda: metrics.Precision(top_k=2), ONE_HOT, SCORES),
    ("f1", lambda: metrics.F1Score("macro"), LABELS, SCORES),
    ("auc", lambda: metrics.AUC(), BITS, CHANCES),
    ("auc pr", lambda: metrics.AUC(curve="PR"), ONE_HOT, SCORES),
    ("iou", lambda: metrics.MeanIoU(C), LABELS, SCORES),
    ("confusion", lambda: metrics.ConfusionMatrix(C), LABELS, SCORES),
    ("rmse", lambda: metrics.RootMeanSquaredError(), ONE_HOT, SCORES),
    *(
        (name, lambda name=name: metrics.get(name), LABELS if name.startswith("sparse") else ONE_HOT, SCORES)
        for name in sorted(losses.NAMES)
    ),
]
every_metric = pytest.mark.parametrize(("make", "t", "x"), [m[1:] for m in ALL], ids=[m[0] for m in ALL])


@every_metric
def test_batches_add_up_to_the_whole(make, t, x):
    for weights in (None, WEIGHTS):
        whole, parts = make(), make()
        whole.update_state(t, x, weights)
        for rows in (slice(0, 7), slice(7, 8), slice(8, None)):
            parts.update_state(t[rows], x[rows], None if weights is None else weights[rows])
        np.testing.assert_allclose(parts.result(), whole.result(), rtol=1e-6)


@every_metric
def test_a_weight_counts_rows(make, t, x):
    """Weight 2 is the row twice, weight 0 no row at all."""
    counts = rng.integers(0, 3, N)
    weighted, repeated = make(), make()
    weighted.update_state(t, x, counts.astype(np.float32))
    repeated.update_state(np.repeat(t, counts, axis=0), np.repeat(x, counts, axis=0))
    np.testing.assert_allclose(weighted.result(), repeated.result(), rtol=1e-6)


@every_metric
def test_reset_forgets(make, t, x):
    metric = make()
    first = result(metric, t, x)
    metric.reset_state()
    np.testing.assert_array_equal(result(metric, t, x), first)
    assert np.all(make().result() == 0)


@every_metric
def test_updates_run_on_a_device(make, t, x):
    """No update reads a value back, mixes host and device, or asks for the truth of an array."""
    backend = device_backend()
    metric, weights = make(), backend.asarray(WEIGHTS, "float32")
    metric.update_state(backend.asarray(t, t.dtype), backend.asarray(x, x.dtype))
    metric.update_state(backend.asarray(t, t.dtype), backend.asarray(x, x.dtype), weights)
    on_host = make()
    on_host.update_state(t, x)
    on_host.update_state(t, x, WEIGHTS)
    for state, array in vars(on_host).items():
        if state in ("total", "count", "sums"):
            np.testing.assert_allclose(backend.to_numpy(vars(metric)[state]), array, rtol=1e-6)


@every_metric
def test_a_metric_can_be_written_down(make, t, x):
    metric = make()
    if isinstance(metric, metrics.LossMetric):
        return
    config = metric.config()
    assert type(metric)(**config).config() == config
    assert metrics.get({"class": type(metric).__name__, "config": config}).config() == config


def test_a_float32_sum_does_not_get_stuck():
    """A million batches into an epoch a float32 sum would stand still."""
    metric = metrics.BinaryAccuracy()
    metric.update_state(np.ones(1), np.ones(1))
    metric.total += 2.0**24
    metric.count += 2.0**24
    metric.update_state(np.ones(1, "f"), np.ones(1, "f"))
    assert float(metric.total) == 2.0**24 + 2


def test_tensors_lists_and_columns_are_welcome():
    graph = Graph()
    metric = metrics.BinaryAccuracy()
    metric.update_state([1, 0, 1], graph.tensor([[0.9], [0.8], [0.7]]))
    metric.update_state([[1], [0], [1]], [0.9, 0.8, 0.7])
    assert metric.result() == pytest.approx(2 / 3)
    assert metrics.BinaryAccuracy()([1, 0], [1.0, 1.0]) == 0.5


def test_sequences():
    x, t = rng.random((4, 3, C)), rng.integers(0, C, (4, 3))
    hits = x.argmax(-1) == t
    w = np.array([1.0, 2, 0, 1])
    assert result(metrics.SparseCategoricalAccuracy(), t, x) == pytest.approx(hits.mean())
    assert result(metrics.SparseCategoricalAccuracy(), t, x, w) == pytest.approx((hits.mean(1) * w).sum() / 4)
    kept = t != 1
    ignoring = metrics.SparseCategoricalAccuracy(ignore_class=1)
    assert result(ignoring, t, x, w) == pytest.approx((hits * kept * w[:, None]).sum() / (kept * w[:, None]).sum())


@pytest.mark.parametrize(
    ("metric", "t", "x", "message"),
    [
        (metrics.BinaryAccuracy(), BITS, np.zeros((N, 3)), r"binary_accuracy expects y_true of the output's shape"),
        (metrics.BinaryAccuracy(), BITS[:5], CHANCES, "a row of y_true for each row of y_pred"),
        (metrics.SparseCategoricalAccuracy(), ONE_HOT, SCORES, r"one-hot rows use y_true.argmax"),
        (metrics.CategoricalAccuracy(), ONE_HOT[:, :3], SCORES, "last layer with 3 units"),
        (metrics.get("mse"), LABELS, SCORES, "for class numbers use"),
        (metrics.Precision(class_id=9), ONE_HOT, SCORES, "class_id=9"),
        (metrics.ConfusionMatrix(3), LABELS[:4], SCORES[:5], "a row of y_true"),
    ],
)
def test_shapes_that_do_not_fit(metric, t, x, message):
    with pytest.raises(ValueError, match=message):
        metric.update_state(t, x)


def test_weights_that_do_not_fit():
    with pytest.raises(ValueError, match="a weight for each of 60 rows"):
        metrics.BinaryAccuracy().update_state(BITS, CHANCES, WEIGHTS[:5])


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accuracy", "acc"])
@pytest.mark.parametrize(
    ("loss", "shape", "kind"),
    [
        ("binary_crossentropy", (1,), metrics.BinaryAccuracy),
        ("mse", (1,), metrics.BinaryAccuracy),
        ("categorical_crossentropy", (10,), metrics.CategoricalAccuracy),
        ("binary_crossentropy", (10,), metrics.CategoricalAccuracy),
        ("sparse_categorical_crossentropy", (10,), metrics.SparseCategoricalAccuracy),
        ("sparse_categorical_crossentropy", (7, 10), metrics.SparseCategoricalAccuracy),
    ],
)
def test_accuracy_is_the_one_that_fits(name, loss, shape, kind):
    metric = metrics.get(name, losses.get(loss), shape)
    assert type(metric) is kind
    assert metric.name == name


def test_accuracy_behind_a_hinge_and_with_an_ignored_label():
    hinge = metrics.get("accuracy", losses.get("hinge"), (1,))
    assert result(hinge, [-1, 1, 1], [[-0.2], [0.3], [-3.0]]) == pytest.approx(2 / 3)
    ignoring = metrics.get("acc", losses.SparseCategoricalCrossentropy(ignore_class=-1), (2,))
    assert result(ignoring, [-1, 1, 0], [[1.0, 0], [0, 1], [0, 1]]) == 0.5


def test_accuracy_of_an_unknown_loss_looks_at_the_labels():
    for t in (LABELS, ONE_HOT):
        metric = metrics.get("accuracy", losses.get(lambda t, x: x), (C,))
        assert result(metric, t, SCORES) == pytest.approx((SCORES.argmax(1) == LABELS).mean())


@pytest.mark.parametrize("name", ["mse", "mae", "MSE", "Precision", "recall", "AUC", "f1_score", "hinge", "rmse"])
def test_the_name_is_the_one_that_was_written(name):
    assert metrics.get(name).name == name


def test_what_else_can_be_a_metric():
    metric = metrics.Precision()
    assert metrics.get(metric) is metric
    assert isinstance(metrics.get(metrics.Recall), metrics.Recall)
    for given in (losses.mean_squared_error, losses.MeanSquaredError, losses.MeanSquaredError()):
        assert result(metrics.get(given), [[0.0]], [[2.0]]) == 4
    assert metrics.get("ce", losses.get("sparse_categorical_crossentropy"), (3,)).loss.name.startswith("sparse")
    assert isinstance(metrics.get(metrics.categorical_accuracy), metrics.CategoricalAccuracy)

    def spread(y_true, y_pred):
        return np.abs(y_true - y_pred).max(axis=-1)

    mine = metrics.get(spread)
    assert mine.name == "spread"
    assert result(mine, ONE_HOT, SCORES, WEIGHTS) == pytest.approx(np.average(spread(ONE_HOT, SCORES), weights=WEIGHTS))
    scalar = metrics.get(lambda t, x: np.mean((t - x) ** 2))
    scalar.update_state(ONE_HOT[:50], SCORES[:50])
    scalar.update_state(ONE_HOT[50:], SCORES[50:])
    assert scalar.result() == pytest.approx(((ONE_HOT - SCORES) ** 2).mean())


def test_the_mean_of_anything():
    mean = metrics.Mean()
    mean.update_state([1, 3, 5, 7])
    assert mean.result() == 4
    mean.reset_state()
    mean.update_state([1, 3, 5, 7], [1, 1, 0, 0])
    mean.update_state(5.0)
    assert mean.result() == 3
    assert mean.name == "mean"


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: metrics.get("acuracy"), ValueError, "did you mean 'accuracy'"),
        (lambda: metrics.get("precison"), ValueError, "did you mean 'precision'"),
        (lambda: metrics.get(3), TypeError, "a metric is a name"),
        (lambda: metrics.Precision(thresholds=2), ValueError, "thresholds from 0 to 1, got 2"),
        (lambda: metrics.TopKCategoricalAccuracy(k=0), ValueError, "positive integer"),
        (lambda: metrics.AUC(num_thresholds=1), ValueError, "num_thresholds >= 2"),
        (lambda: metrics.AUC(curve="roc"), ValueError, "did you mean|Known names: PR, ROC"),
        (lambda: metrics.AUC(summation_method="sum"), ValueError, "Known names"),
        (lambda: metrics.F1Score(average="mean"), ValueError, "macro, micro, weighted"),
        (lambda: metrics.F1Score(threshold=0), ValueError, "threshold from 0 to 1"),
        (lambda: metrics.MeanIoU(0), ValueError, "positive integer"),
    ],
)
def test_refused_arguments(make, kind, message):
    with pytest.raises(kind, match=message):
        make()
