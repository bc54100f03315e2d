"""Every example runs as a newcomer starts it, prints its result, draws its picture; accuracies are in their bands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(tmp_path, script, *arguments):
    """What an example prints."""
    env = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(EXAMPLES / script), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_every_example_is_tried_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'"{path.name}"' in source for path in EXAMPLES.glob("*.py"))


def test_mnist_mlp(tmp_path):
    text = run(tmp_path, "mnist_mlp.py", "--epochs", "2")
    assert "Total params: 407,050" in text
    accuracy = float(re.search(r"test accuracy ([\d.]+)", text)[1])
    assert 0.89 < accuracy < 0.91
    assert (tmp_path / "mnist_mlp.png").stat().st_size > 20_000


def test_circuits(tmp_path):
    text = run(tmp_path, "circuits.py")
    assert "value 7776" in text
    assert "dw = [-0.1966 -0.3932  0.1966], dx = [ 0.3932 -0.5898]" in text


def test_linear_regression_three_ways_alike(tmp_path):
    lines = run(tmp_path, "linear_regression.py", "--points", "20", "--epochs", "20").strip().split("\n")
    assert len({line.split("y = ")[1] for line in lines}) == 1
    assert len(lines) == 3


def test_playground(tmp_path):
    text = run(tmp_path, "playground.py", "--set", "xor")
    assert float(re.search(r"test ([\d.]+)", text)[1]) > 0.95
    assert (tmp_path / "playground_xor.png").exists()


def accuracies(text):
    """(name, accuracy, low, high) of each row of the table."""
    pattern = r"^(\S+)\s.*?\s([\d.]+)\s+([\d.]+)\s+([\d.]+) to ([\d.]+)"
    return [(m[1], float(m[3]), float(m[4]), float(m[5])) for m in re.finditer(pattern, text, re.MULTILINE)]


def test_classifiers_reach_what_courses_report(tmp_path):
    rows = accuracies(run(tmp_path, "classifiers.py", "D1", "D3", "D4", "M1", "K1", "--seeds", "2"))
    assert [row[0] for row in rows] == ["D1", "D3", "D4", "M1"]
    for name, accuracy, low, high in rows:
        assert low <= accuracy <= high, f"{name}: {accuracy} is not between {low} and {high}"


def test_fashion_classifier_reaches_what_courses_report(tmp_path, data_folder):
    if not (data_folder / "fashion-mnist").exists():
        pytest.skip("needs fashion-mnist in the folder that TINYNN_DATA names")
    ((_, accuracy, low, high),) = accuracies(run(tmp_path, "classifiers.py", "F1-adam", "--seeds", "2"))
    assert low - 0.003 <= accuracy <= high + 0.003
