"""The benchmark harness measures, reports, and catches a contender that skips work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import kernels, worker
from benchmarks.cases import CASES, conv
from benchmarks.firststep import Stopwatch

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


def benchmarks(
    *arguments: str, path: Path | None = None, module: str = "benchmarks"
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *([str(path)] if path else [])])}
    command = [sys.executable, "-m", module, *arguments]
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
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [*CASES]
    unknown = benchmarks("--only", "d11")
    assert unknown.returncode == 2
    assert "unknown case 'd11'" in unknown.stderr and "mlp_adam" in unknown.stderr


def test_without_torch_it_says_how_to_install_it(tmp_path: Path) -> None:
    """A finder in ``sitecustomize`` hides the package from a fresh interpreter."""
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_TORCH)
    done = benchmarks("--only", "d1", path=tmp_path)
    assert done.returncode == 2
    assert 'pip install -c tests/constraints.txt "tinynn-np[oracle]"' in done.stderr


# -- convolutional and recurrent networks ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["c1", "m2", "vgg64", "resnet20", "lstm", "gru", "rnn"])
def test_both_libraries_take_the_same_steps_of_the_networks_with_torch(name: str, tmp_path: Path, monkeypatch) -> None:
    """Two steps on a few rows: the second loss has seen the gradients of the first.

    Of so few rows PyTorch's running variance, the unbiased one, is a little larger.
    """
    pytest.importorskip("torch")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(worker, "JUDGED_ROWS", 8)
    x, y = CASES[name].data()
    case = replace(CASES[name], batch_size=4, data=lambda: (x[:8], y[:8]))
    ours = worker.Ours(case, str(tmp_path / "weights.npz"))
    losses, judged = [ours.train(4, 1), ours.train(8, 1)], ours.judge()
    for variant in case.variants:
        theirs = worker.Theirs(case, variant, str(tmp_path / "weights.npz"))
        np.testing.assert_allclose([theirs.train(4, 1), theirs.train(8, 1)], losses, rtol=1e-4)
        np.testing.assert_allclose(theirs.judge(), judged, rtol=1e-2)


def test_weights_behind_a_flatten_are_put_in_the_order_of_theirs_with_torch() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    images, W, b = rng.standard_normal((2, 3, 4, 5)), rng.standard_normal((60, 7)), rng.standard_normal(7)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(60, 7, dtype=torch.float64))
    conv.load(module, [W, b], flat=(3, 4, 5))
    got = module(torch.from_numpy(images).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(got, images.reshape(2, -1) @ W + b)


def test_kernels_are_compared_pass_by_pass_with_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "kernels.json"
    tiny = ["--threads", "1", "--rounds", "2", "--images", "1", "--seconds", "0.0001", "--output", str(output)]
    done = benchmarks(*tiny, "--only", "8x8x64", module="benchmarks.kernels")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(output.read_text())
    assert report["machine"]["processor"] in done.stdout and report["peak_gflops"]["1"] > 0
    rows = {(row["shape"], row["pass"]): row for row in report["rows"]}
    assert {which for _, which in rows} == {"forward", "backward", "weights", "inputs", "both"}
    convolution = rows["resnet20 1x8x8x64 to 64, 3x3", "both"]
    assert set(convolution["rate"]) == {"tinynn", "fast_math", "eager", "channels_last"}
    flops = 3 * 2 * 64 * 64 * 64 * 9
    assert convolution["rate"]["tinynn"] == pytest.approx(1e-9 * flops / min(convolution["seconds"]["tinynn"]))
    assert all(row["agree"] and len(row["seconds"]["eager"]) == 2 for row in report["rows"])


def test_slower_kernels_are_marked() -> None:
    results = {name: {"forward": [1.0, 5.0]} for name in ("tinynn", "eager", "channels_last")}
    what = kernels.shape(3, None)
    times = {"tinynn": [2.0, 3.0], "eager": [1.5, 9.0], "channels_last": [4.0, 4.5]}
    row = kernels.row(what, "forward", 1, results, times)
    assert (row["vs_channels_last"], row["vs_best"]) == (2.0, 0.75)
    assert "< 1 (eager)" in kernels.line(row, 100.0)
    assert "1 than its best" in kernels.verdict([row])
    results["tinynn"]["forward"] = [1.1, 5.0]
    assert "RESULTS DIFFER" in kernels.line(kernels.row(what, "forward", 1, results, times), 100.0)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's /proc")
def test_memory_is_measured_in_processes_of_their_own_with_torch(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    output = tmp_path / "memory.json"
    tiny = ["--only", "c1", "--threads", "1", "--epochs", "2", "--steps", "1", "--output", str(output)]
    done = benchmarks(*tiny, module="benchmarks.memory")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(output.read_text())["rows"]
    assert [row["contender"] for row in rows] == ["tinynn", "eager", "channels_last"]
    for row in rows:
        pooled = 100 * (12 * 12 * 32 + 4 * 4 * 64) * 4 / 2**20  # activations that nobody can do without
        assert row["step"] > pooled and row["peak"] > row["ready"] > row["imports"] > 20
        assert len(row["after_epochs"]) == 2


def test_the_first_step_is_taken_apart() -> None:
    code = "from benchmarks.firststep import measured; import json; print(json.dumps(measured('d1')))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["total"] == pytest.approx(found["imports"] + found["build"] + found["step"])
    assert 0 < found["read"] + found["compile"] < found["build"] + found["step"]


def test_compilation_is_told_by_function() -> None:
    """``outer`` contains ``inner``: its line among the functions does not, its line among the entries does."""
    from numba import njit, types
    from numba.core import event

    @njit
    def inner(x):
        return x + 1

    @njit
    def outer(x):
        return inner(x) * 2

    stopwatch = Stopwatch()
    event.Listener.register(Stopwatch)
    for kind in (stopwatch.LOCK, stopwatch.PASS):
        event.register(kind, stopwatch)
    try:
        outer.compile((types.int64,))
    finally:
        for kind in (stopwatch.LOCK, stopwatch.PASS):
            event.unregister(kind, stopwatch)
    (entry,) = stopwatch.entries
    assert entry.endswith("outer")
    functions = {name.rpartition(".")[2]: seconds for name, seconds in stopwatch.functions.items()}
    assert 0 < functions["inner"] < stopwatch.entries[entry]
    assert sum(functions.values()) == pytest.approx(stopwatch.entries[entry])
