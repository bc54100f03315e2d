"""The benchmark harness measures, reports, and catches a contender that skips work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

PLANTED = """
from dataclasses import replace
from benchmarks.cases import CASES

def first_layer_without_gradient():
    model = CASES["d1"].ours()
    model.layers[0].trainable = False
    model.compile(optimizer="sgd", loss="sparse_categorical_crossentropy")
    return model

frozen = replace(CASES["d1"], name="frozen", ours=first_layer_without_gradient, variants=("eager", "broken"))
"""


WITHOUT_TORCH = """
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "torch" else find(name, *rest)
"""


def benchmarks(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([str(path)] if path else [])])}
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def quick(name: str, output: Path, path: Path | None = None) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
    """A run of a moment: two rounds, no repetitions, since other tests use the machine meanwhile."""
    pytest.importorskip("torch")
    short = ["--threads", "1", "--rounds", "2", "--seconds", "0.02", "--retries", "0"]
    done = benchmarks("--only", name, *short, "--output", str(output), path=path)
    assert output.exists(), done.stderr
    return done, json.loads(output.read_text())


def test_a_run_is_reported_on_the_terminal_and_as_json(tmp_path: Path) -> None:
    done, report = quick("d1", tmp_path / "result.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(report["versions"]) == {"python", "numpy", "numba", "torch"}
    assert report["machine"]["processor"] and report["machine"]["cores"] >= 1 and report["date"]
    (row,) = report["rows"]
    assert (row["name"], row["threads"], row["batch_size"]) == ("d1", 1, 100)
    assert set(row["contenders"]) == {"tinynn", "eager", "fused"}
    for contender in row["contenders"].values():
        times = contender["ms_per_step"]
        assert len(times["rounds"]) == 2
        assert 0 < times["min"] <= times["median"] <= times["max"]
    assert row["best"] in ("eager", "fused")
    assert row["vs_eager"]["min"] <= row["vs_eager"]["median"] <= row["vs_eager"]["max"]
    assert row["losses"]["agree"] and row["losses"]["difference"] < 1e-4
    assert 0 < row["contenders"]["tinynn"]["after"] < 2.4
    for text in (report["machine"]["processor"], "torch", "eager / tinynn", "ms/step", "agree", "result.json"):
        assert text in done.stdout


def test_a_skipped_gradient_is_caught_and_a_variant_that_fails_is_reported(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text(PLANTED)
    done, report = quick("planted:frozen", tmp_path / "result.json", tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    (row,) = report["rows"]
    assert not row["losses"]["agree"] and row["losses"]["difference"] > row["losses"]["tolerance"]
    assert "THE LOSSES DIFFER" in done.stdout
    assert set(row["contenders"]) == {"tinynn", "eager"}
    assert "PyTorch broken failed" in done.stdout


def test_the_list_and_an_unknown_name() -> None:
    listed = benchmarks("--list")
    assert listed.returncode == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["d1", "d5", "mlp_adam", "mlp_sgd"]
    unknown = benchmarks("--only", "d11")
    assert unknown.returncode == 2
    assert "unknown case 'd11'" in unknown.stderr and "mlp_adam" in unknown.stderr


def test_without_torch_it_says_how_to_install_it(tmp_path: Path) -> None:
    """A finder in ``sitecustomize`` hides the package from a fresh interpreter."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TORCH)
    done = benchmarks("--only", "d1", path=tmp_path)
    assert done.returncode == 2
    assert 'pip install -c tests/constraints.txt "tinynn-np[oracle]"' in done.stderr
