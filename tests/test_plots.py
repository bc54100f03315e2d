"""plots: pictures from plain arrays, without a display and without touching pyplot."""

import io
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from tinynn import plots
from tinynn.plots.curves import apart

RECORD = {"loss": [1.7, 1.2, 0.9], "accuracy": [0.5, 0.7, 0.8], "val_loss": [1.5, 1.1, 0.93], "val_accuracy": [0, 1, 1]}
MATRIX = np.array([[50, 2, 0], [1, 40, 9], [0, 0, 30]])
NAMES = ["cat", "dog", "horse"]
AXIS = np.linspace(-1, 1, 20)
PICTURES = {
    "history": lambda path: plots.history(RECORD, path=path),
    "confusion_matrix": lambda path: plots.confusion_matrix(MATRIX, NAMES, path=path),
    "normalized": lambda path: plots.confusion_matrix(MATRIX, normalize=True, path=path),
    "images": lambda path: plots.images(np.zeros((13, 8, 6), np.uint8), range(13), path=path),
    "colour_images": lambda path: plots.images(np.random.default_rng(0).random((3, 8, 8, 3)), path=path),
    "dense_weights": lambda path: plots.weights(np.ones((784, 10)), path=path),
    "conv_weights": lambda path: plots.weights(np.zeros((5, 3, 2, 7)), channel=1, path=path),
    "boundary": lambda path: plots.decision_boundary(AXIS, AXIS, np.outer(AXIS, AXIS), path=path),
    "attention": lambda path: plots.attention([np.eye(2, 3), np.eye(1)], ["abc", "d"], ["xy", "z"], path=path),
    "words": lambda path: plots.words(np.eye(3, 2), NAMES, ["cat", "cat", "horse"], path=path),
    "overview": lambda path: plots.overview(RECORD, MATRIX, NAMES, title="a run", path=path),
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_is_a_figure_and_a_file(name, tmp_path):
    path = tmp_path / "picture.png"
    assert isinstance(PICTURES[name](path), Figure)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_pyplot_and_its_backend_are_left_alone():
    code = (
        "import sys, io, numpy as np; from tinynn import plots; plots.history({'loss': [1.0]}).savefig(io.BytesIO());"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_history_has_a_panel_for_each_name_the_loss_first():
    picture = plots.history({"accuracy": [0.5], "val_accuracy": [0.4], "loss": [1.0], "learning_rate": [0.1]})
    assert [axes.get_title(loc="left") for axes in picture.axes] == ["loss", "accuracy", "learning rate"]
    loss, accuracy, _ = picture.axes
    assert [text.get_text() for text in accuracy.texts] == ["training 0.5000", "validation 0.4000"]
    assert len(loss.lines) == 1
    assert [round(tick) for tick in accuracy.get_xticks() if 0.5 < tick < 1.5] == [1]


def test_history_survives_nan_and_long_runs():
    plots.history({"loss": [1.0, float("nan")], "val_loss": np.arange(500)}).savefig(io.BytesIO())


def test_two_labels_do_not_overlap():
    assert apart([0.2, 0.8], 0.1) == [0.2, 0.8]
    np.testing.assert_allclose(apart([0.50, 0.52], 0.1), [0.46, 0.56])
    np.testing.assert_allclose(apart([0.52, 0.50], 0.1), [0.56, 0.46])
    np.testing.assert_allclose(apart([0.5, 0.5], 0.1), [0.55, 0.45])


def test_the_matrix_prints_counts_or_percent_and_its_accuracy():
    (axes,) = plots.confusion_matrix(MATRIX, NAMES).axes
    assert axes.get_title(loc="left") == f"accuracy {120 / 132:.4g}"
    assert [text.get_text() for text in axes.texts] == ["50", "2", "1", "40", "9", "30"]
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    (axes,) = plots.confusion_matrix(MATRIX, normalize=True).axes
    assert [text.get_text() for text in axes.texts] == ["96.2", "3.8", "2.0", "80.0", "18.0", "100.0"]


def test_the_matrix_takes_many_classes_and_empty_ones():
    assert not plots.confusion_matrix(np.eye(50, dtype=int)).axes[0].texts
    plots.confusion_matrix(np.zeros((3, 3), int)).savefig(io.BytesIO())


def test_the_grid_covers_the_points_in_the_order_of_the_scores():
    x1, x2, rows = plots.grid([[0, 10], [2, 30]], resolution=5)
    np.testing.assert_allclose([x1[0], x1[-1], x2[0], x2[-1]], [-0.2, 2.2, 8, 32], rtol=1e-6)
    np.testing.assert_array_equal(rows.reshape(5, 5, 2)[3, 1], [x1[1], x2[3]])
    points = np.array([[0.0, 10], [2, 30]])
    plots.decision_boundary(x1, x2, rows[:, :1] - 1, points, [[-1], [1]]).savefig(io.BytesIO())


@pytest.mark.parametrize(
    ("draw", "error", "message"),
    [
        (lambda: plots.history({}), ValueError, "no epoch was run"),
        (lambda: plots.history(object()), TypeError, "history.history"),
        (lambda: plots.confusion_matrix(np.ones((2, 3))), ValueError, r"\(classes, classes\); got \(2, 3\)"),
        (lambda: plots.confusion_matrix([[1, -1], [0, 1]]), ValueError, "none negative"),
        (lambda: plots.confusion_matrix(MATRIX, ["a"]), ValueError, "3 classes, class_names 1"),
        (lambda: plots.images(np.ones((784,))), ValueError, r"\(N, H, W\).*got \(784,\)"),
        (lambda: plots.images(np.ones((2, 4, 4)), labels=[1]), ValueError, "2 images and 1 labels"),
        (lambda: plots.images(np.ones((2, 4, 4)), columns=0), ValueError, "columns"),
        (lambda: plots.weights(np.ones((10, 3))), ValueError, r"image_shape=\(height, width\)"),
        (lambda: plots.weights(np.ones((3, 3, 2, 4)), channel=2), ValueError, "channel 2"),
        (lambda: plots.decision_boundary(AXIS, AXIS, np.ones(7)), ValueError, "expected 400 scores"),
        (lambda: plots.grid(np.ones((3, 3))), ValueError, r"\(N, 2\)"),
    ],
)
def test_what_does_not_fit_is_refused(draw, error, message):
    with pytest.raises(error, match=message):
        draw()


def test_without_matplotlib_the_command_is_named(monkeypatch):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.layout_engine"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "tinynn-np\[plots\]"'):
        plots.history(RECORD)


def test_attention_and_words_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"\(targets, sources\) = \(2, 3\)"):
        plots.attention([np.zeros((3, 2))], ["abc"], ["xy"])
    with pytest.raises(ValueError, match="at least one example"):
        plots.attention([], [], [])
    with pytest.raises(ValueError, match="2 labels"):
        plots.words(np.zeros((3, 2)), ["a", "b"])
    with pytest.raises(ValueError, match="2 groups"):
        plots.words(np.zeros((3, 2)), NAMES, ["a", "b"])


def test_words_of_a_group_share_a_colour_and_its_name_is_bold():
    texts = plots.words(np.eye(3, 2), NAMES, ["cat", "cat", "horse"]).axes[0].texts
    assert [text.get_text() for text in texts] == NAMES
    assert texts[0].get_color() == texts[1].get_color() != texts[2].get_color()
    assert [text.get_weight() for text in texts] == ["bold", "normal", "bold"]
