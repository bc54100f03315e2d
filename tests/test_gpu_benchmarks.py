"""The measuring side of the gpu backend runs to its end without a card: over the stand-in, with PyTorch on the cpu."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import compare
from benchmarks.gpu import __main__ as command
from benchmarks.gpu import accuracy, agreement, card, crew, crossover, kernels, report, training, worker
from benchmarks.gpu.__main__ import Settings
from benchmarks.harness import Failed, Sample
from tests.cuda.standin import gpu_backend
from tests.device import DeviceArray
from tinynn import backends
from tinynn.datasets import cifar10

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = """
import importlib, sys
from tests.cuda.standin import CuBLAS, StandIn

sys.modules["cupy"] = StandIn()
importlib.import_module("tinynn.backends.gpu.blas").library = CuBLAS
"""
WITHOUT_CUPY = """
import importlib.util as util
find = util.find_spec
util.find_spec = lambda name, *rest: None if name == "cupy" else find(name, *rest)
"""
GPU = gpu_backend()
needs_gpu = pytest.mark.skipif(GPU is None, reason="neither a card nor a C++ compiler")

TINY = Settings(
    minutes=30,
    contenders=("cpu", "gpu", "jit", "eager"),
    workloads=[("d1", 2)],
    series={"d1": (4,)},
    products=(2, 4),
    plan=training.Plan((), rounds=2, seconds=0.0001, checked=2),
    tests=(),
    rows=("merge",),
    examples=("mnist_mlp", "cifar10_vgg"),
    learned=4,
    kernels=("copy", "square sum"),
    scale=1e-5,
    seconds=0.0001,
    anywhere=True,
)


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workers' processes find the stand-in as ``cupy``; on a machine with a card, the real one."""
    (tmp_path / "path").mkdir()
    if GPU is not None and GPU.array_type is DeviceArray:
        (tmp_path / "path" / "cupy.py").write_text(STAND_IN)
    paths = [str(tmp_path / "path"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.delenv("TINYNN_DATA", raising=False)


# -- the whole command -------------------------------------------------------------------------------------------------


@needs_gpu
def test_all_parts_run_to_their_end_with_torch(workers: None, tmp_path: Path, capsys: Any) -> None:
    pytest.importorskip("torch")
    code = command.run(TINY, tmp_path / "result.json")
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert code == 0, shown
    assert "1 of 1 rows agree with the reference" in shown
    assert result["failed"] == result["skipped"] == []
    assert {"name", "driver", "cupy", "nvrtc"} <= set(result["card"]) and result["torch"]["torch"]
    (errors,) = result["errors"]
    assert errors["row"] == "merge" and errors["cases"] > 10 and 0 < errors["exact"] < agreement.EXACT
    rows = result["training"] + result["series"]
    assert [(row["name"], row["batch_size"]) for row in rows] == [("d1", 2), ("d1", 4)]
    for row in rows:
        assert all(
            (said["tf32_in_convolutions"], said["tf32_in_products"]) == (False, False)
            for said in row["arithmetic"].values()
        )
        assert set(row["contenders"]) == {"cpu", "gpu", "jit", "eager"}
        assert row["losses"]["agree"] and row["losses"]["difference"] < 1e-5
        assert row["ratios"]["cpu/jit"]["median"] > 0 and row["ratios"]["eager/gpu"]["median"] > 0
        assert all(len(one["ms_per_step"]["rounds"]) == 2 for one in row["contenders"].values())
    assert [row["n"] for row in result["products"]["rows"]] == [2, 4]
    mlp, vgg = result["accuracy"]
    assert mlp["cpu"]["loss"] == pytest.approx(mlp["gpu"]["loss"], rel=1e-5) and mlp["agrees"]
    assert "TINYNN_DATA" in vgg["skipped"]
    assert [row["unit"] for row in result["kernels"]] == ["GB/s", "GB/s"]
    assert all(row["rate"] > 0 and row["call"] > 0 for row in result["kernels"])
    assert "nothing failed" in shown and "PT/jit" in shown and (tmp_path / "result.png").stat().st_size > 10_000


@needs_gpu
def test_what_fails_is_recorded_and_the_rest_goes_on(workers: None, tmp_path: Path, capsys: Any) -> None:
    settings = replace(TINY, contenders=("gpu",), parts=("kernels", "accuracy"), kernels=("no such", "copy"))
    settings = replace(settings, examples=("no such",))
    assert command.run(settings, tmp_path / "result.json") == 1
    result = json.loads((tmp_path / "result.json").read_text())
    bad, good = result["kernels"]
    assert "KeyError" in bad["error"] and good["rate"] > 0  # from a fresh process
    assert result["failed"] == ["no such: KeyError: 'no such'", "accuracy: 'no such'"]
    assert "KeyError" in result["errors_of_parts"]["accuracy"]
    assert "2 FAILED:" in capsys.readouterr().out


def test_a_part_that_raises_and_a_table_that_cannot_be_made_hide_nothing(tmp_path: Path, capsys: Any) -> None:
    record = command.Record(tmp_path / "result.json")
    record.result |= {"training": [{"name": "d1"}], "errors": []}
    assert command.finish(record) == 1
    assert "the table: 'batch_size'" in json.loads((tmp_path / "result.json").read_text())["failed"]
    shown = capsys.readouterr().out
    assert "1 FAILED:" in shown and "no picture" in shown


@needs_gpu
def test_what_is_not_installed_is_said_first(
    workers: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(card, "absent", lambda: {"torch": "without it", "numba": "n", "pytest": "t"})
    settings = command.settings_of(command.arguments([]))
    assert set(settings.contenders) == {"gpu", "jit"} and settings.tests == settings.examples == ()
    settings = replace(TINY, contenders=("gpu",), parts=("kernels",), kernels=("copy",))
    assert command.run(settings, tmp_path / "result.json") == 0
    assert capsys.readouterr().out.startswith("not installed here: torch (without it); numba (n)")
    assert json.loads((tmp_path / "result.json").read_text())["not_installed"]["numba"] == "n"


@needs_gpu
def test_when_the_time_is_over_parts_are_skipped(workers: None, tmp_path: Path, capsys: Any) -> None:
    settings = replace(TINY, contenders=("gpu",), minutes=0)
    assert command.run(settings, tmp_path / "result.json") == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["skipped"] == list(command.PARTS) and result["card"]
    assert "kernels: skipped, the time is over" in capsys.readouterr().out


def test_without_cupy_it_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_CUPY)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    arguments = [sys.executable, "-m", "benchmarks.gpu"]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert 'backend "gpu" needs CuPy' in done.stderr and not done.stdout


def test_the_commands_own_settings_name_things_that_are_there() -> None:
    settings = command.settings_of(command.arguments(["--only", "lstm", "--rounds", "3", "--parts", "training"]))
    assert settings.workloads == [("lstm", 64)] and set(settings.series) == {"lstm"}
    assert settings.plan.rounds == 3 and settings.parts == ["training"] and "gpu" in settings.contenders
    assert "compile" not in settings.contenders
    assert {name for name, _ in training.TARGETS} <= {name for name, _ in command.WORKLOADS}
    assert set(command.SERIES) <= {name for name, _ in command.WORKLOADS}
    assert set(command.SHARES) == set(command.PARTS)
    measured = {*command.WORKLOADS, *((name, batch) for name, series in command.SERIES.items() for batch in series)}
    assert set(training.TARGETS) <= measured
    for name, batch in measured:
        x, y = worker.case_for(name, batch).data()
        assert len(x) == len(y) >= batch * worker.FEWEST
    for example in accuracy.EXAMPLE.values():
        model, _, batch = accuracy.network(example, example.rows)
        assert model.layers and batch > 1
    assert {"copy", "adam", "attention", "lstm 256, batch 64, forward"} <= set(kernels.table())
    with pytest.raises(SystemExit):
        command.arguments(["--parts", "everything"])


# -- processes ---------------------------------------------------------------------------------------------------------

SLEEPER = """
import sys, time
from benchmarks.worker import converse

def obey(answer):
    for line in sys.stdin:
        if "sleep" in line:
            time.sleep(60)
        answer({"contender": sys.argv[1]})

converse(obey)
"""


def test_a_process_that_does_not_answer_is_ended_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    clock = crew.Clock(60)
    with crew.Crew(clock, 1, "sleeper") as workers:
        assert workers.ask("gpu", do="answer") == {"contender": "gpu"}
        first = workers.workers["gpu"].process
        clock.end = clock.part_end = 0
        monkeypatch.setattr(crew, "GRACE", 0.2)
        with pytest.raises(Failed, match="no answer to .*sleep.* within 0 s"):
            workers.ask("gpu", do="sleep")
        assert first.returncode is not None
        clock.end = clock.part_end = time.monotonic() + 60
        monkeypatch.setitem(crew.PATIENCE, "sleep", 0.3)
        with pytest.raises(Failed, match="no answer to .*sleep.* within 0 s"):  # though there is time
            workers.ask("gpu", do="sleep")
        monkeypatch.setattr(crew, "GRACE", 60.0)
        assert workers.ask("gpu", do="answer") == {"contender": "gpu"}
        last = workers.workers["gpu"].process
    assert last.returncode == 0


def test_the_cpus_kernels_are_compiled_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    tasks = [[{"do": "prepare", "case": "d1"}, {"do": "run"}], [{"do": "kernel"}], [{"do": "sleep"}]]
    ahead = crew.Ahead(crew.Crew(crew.Clock(60), 1, "sleeper"), "cpu", tasks)
    while ahead.done < 2:
        time.sleep(0.01)
    process = ahead.crew.workers["cpu"].process
    ahead.stop()
    assert ahead.done == 2 and process.returncode is not None and not ahead.thread.is_alive()
    found = command.ahead(replace(TINY, kernels=("copy",)))
    assert [[c["do"] for c in task] for task in found["gpu"]] == [["prepare", "run"], ["kernel"]]
    assert [[c["do"] for c in task] for task in found["cpu"]] == [["prepare", "run"]]


# -- agreement ---------------------------------------------------------------------------------------------------------

PLANTED = """
import pytest, time

def test_good(): pass
def test_bad(): assert 1 == 2
def test_skipped(): pytest.skip("for no reason")
def test_long_gpu(): time.sleep(60)
"""


def test_tests_are_counted_and_interrupted(tmp_path: Path) -> None:
    file = tmp_path / "test_planted.py"
    file.write_text(PLANTED)
    found = agreement.tested([str(file), "-k", "not gpu"], 60)
    assert (found["passed"], found["skipped"], found["interrupted"]) == (1, 1, False)
    (failed,) = found["failed"]
    assert failed["test"].endswith("test_bad") and "assert 1 == 2" in failed["message"]
    found = agreement.tested([str(file), "-k", "long"], 0.1)
    assert found["interrupted"] and not found["passed"]
    report_of_many = "".join(
        f'<testcase classname="t" name="n{i}"><failure message="m"/></testcase>' for i in range(60)
    )
    (tmp_path / "many.xml").write_text(f"<testsuites><testsuite>{report_of_many}</testsuite></testsuites>")
    found = agreement.read(tmp_path / "many.xml")
    assert found["failures"] == 60 and len(found["failed"]) == agreement.KEPT


def test_processes_of_tests_are_summed_up(tmp_path: Path) -> None:
    (tmp_path / "test_planted.py").write_text(PLANTED)
    (tmp_path / "test_dying.py").write_text("import os\ndef test_good(): pass\ndef test_dies(): os._exit(3)\n")
    told: list[Any] = []
    jobs = [[str(tmp_path / "test_planted.py"), "-k", "not gpu"], [str(tmp_path / "test_dying.py")]]
    found = agreement.all_tests(jobs, lambda: 60.0, told.append)
    assert (found["passed"], found["failures"], found["skipped"], found["interrupted"]) == (2, 1, 1, False)
    assert "test_dying.py: it died in " in found["error"] and "test_dies" in found["error"]
    assert len(told) == 2 and told[-1] == found
    late = agreement.all_tests(jobs, lambda: 0.0, told.append)
    assert late["interrupted"] and not late["passed"]


def test_every_test_of_the_table_is_run_once() -> None:
    tables = [job for job in agreement.selection() if "test_table.py" in job[0]]

    def chosen(expression: str, name: str) -> bool:
        return bool(eval(re.sub(r"\b(?!and|or|not)\w+", lambda word: str(word[0] in name), expression)))

    for name in ("gpu-float32-conv2d_same", "gpu-float64-convblock", "gpu-float32-lstm", "gpu-float64-x", "gpu-relu"):
        assert sum(chosen(expression, name) for _, _, expression in tables) == 1


class Dying:
    """A crew whose card is lost in the case 2, and works in a fresh process."""

    asked: list[int] = []
    dismissed = 0

    def ask(self, contender: str, do: str, row: str, first: int) -> dict[str, Any]:
        self.asked.append(first)
        lost = {"broken": ["b: Error: lost"], "next": 3} if first == 0 else {"broken": [], "next": None}
        return {"row": row, "cases": 3, "exact": 1e-7 * (first + 1), "fast": 0.0, "exact_case": f"{first}",
                "fast_case": "", "beyond": [], **lost}  # fmt: skip

    def dismiss(self, contender: str) -> None:
        self.dismissed += 1


def test_a_lost_card_costs_one_case() -> None:
    crew_of = Dying()
    found = agreement.of_row(crew_of, "conv2d")  # type: ignore[arg-type]
    assert crew_of.asked == [0, 3] and crew_of.dismissed == 1
    assert (found["cases"], found["exact_case"], found["broken"]) == (6, "3", ["b: Error: lost"])
    assert "BROKEN  b: Error: lost" in agreement.line(found)


@needs_gpu
def test_cases_that_end_with_an_error_are_told_and_soon_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        @staticmethod
        def relu_sum(y: Any, a: Any, b: Any) -> None:
            raise RuntimeError('k.cu(3): error: no "x"\n\n1 error detected in the compilation of "k.cu".\n')

    known = backends.get
    chosen = replace(GPU, merge=Broken)
    monkeypatch.setattr(backends, "get", lambda name: chosen if name == "gpu" else known(name))
    found = agreement.errors("merge")
    assert found["next"] is None and len(found["broken"]) == agreement.BROKEN + 1
    assert found["broken"][0].endswith('RuntimeError: k.cu(3): error: no "x"')


@needs_gpu
def test_a_wrong_kernel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong:
        @staticmethod
        def relu_sum(y: Any, a: Any, b: Any) -> None:
            GPU.merge.relu_sum(y, a, b)
            y *= 1 + 1e-4

        relu_sum_backward = staticmethod(GPU.merge.relu_sum_backward)

    known = backends.get
    for merge, wrong in ((GPU.merge, False), (Wrong, True)):
        chosen = replace(GPU, merge=merge)
        monkeypatch.setattr(backends, "get", lambda name, chosen=chosen: chosen if name == "gpu" else known(name))
        found = agreement.errors("merge")
        assert bool(found["beyond"]) == wrong
        assert not wrong or any("(exact)" in entry for entry in found["beyond"])


def test_errors_are_relative_to_the_largest_value() -> None:
    want = [np.array([100.0, 1.0]), None, np.array([1e-9])]
    assert agreement.largest_error([np.array([100.0, 1.1]), None, np.array([1e-9])], want) == pytest.approx(1e-3)
    assert agreement.largest_error([want[0], None, np.array([2e-9])], want) == pytest.approx(1e-9)  # of the floor, 1
    for bad in ([np.array([np.nan, 1.0]), None, want[2]], [want[0], want[2], want[2]], [want[0], None, None]):
        assert agreement.largest_error(bad, want) == np.inf
    infinite = [np.array([np.inf, 1.0])]
    assert agreement.largest_error(infinite, infinite) == 0.0


# -- training and crossover --------------------------------------------------------------------------------------------


def sample(ms: float, loss: float = 1.0) -> Sample:
    return Sample(ms * 1e-3 * 10, 10, loss, loss, 0.0)


def test_a_contender_that_skips_work_or_was_timed_once_is_seen() -> None:
    checks = {"gpu": sample(1, 1.0), "eager": sample(2, 1.0)}
    samples = {"gpu": [sample(1), sample(2)], "eager": [sample(2), sample(8)], "cpu": [sample(30)]}
    row = training.row("Title, SGD, batch 7", "d1", 7, checks, samples, {"jit": "Traceback\nTypeError: no"}, 1e-3)
    assert row["title"] == "Title, SGD" and row["losses"]["agree"] and row["failures"] == {"jit": "TypeError: no"}
    assert row["ratios"]["eager/gpu"]["median"] == 3.0  # of 2 and 4, round by round
    assert row["ratios"]["cpu/gpu"]["median"] == 20.0  # of the medians
    assert row["contenders"]["cpu"]["loss"] is None
    for loss in (1.1, float("nan")):
        assert training.difference(checks | {"gpu": sample(1, loss)}) > 0.09
    (missed, *_) = [v for v in training.verdicts([row | {"name": "d1", "batch_size": 100}]) if v["name"] == "d1"]
    assert missed["measured"] is missed["reached"] is None  # there was no jit


def test_where_one_overtakes_the_other() -> None:
    def place(*series: tuple[int, float, float]) -> Any:
        return crossover.crossing(series)

    assert place() is None
    assert place((4, 1, 9), (16, 5, 6), (64, 20, 7)) == {"size": 64, "between": [16, 64]}
    assert place((4, 1, 0.5), (16, 5, 1)) == {"size": 4, "between": [None, 4]}
    assert place((4, 1, 2), (16, 2, 3)) == {"size": None, "between": [16, None]}
    assert place((64, 20, 7), (4, 1, 0.5), (16, 1, 2))["size"] == 64  # the last change counts
    assert report.meeting((1, 1.0, 4.0), (16, 16.0, 4.0)) == pytest.approx((4.0, 4.0))


def test_a_part_of_cifar_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYNN_DATA", str(tmp_path))
    monkeypatch.setattr(cifar10, "ROWS", 20)
    (tmp_path / "cifar10").mkdir()
    assert accuracy.few_batches() is None
    for k, name in enumerate(("data_batch_2", "data_batch_4", "test_batch")):
        (tmp_path / "cifar10" / f"{name}.bin").write_bytes(bytes([k]) * (20 * cifar10.RECORD))
    x, y, x_test, y_test = accuracy.images(accuracy.EXAMPLE["cifar10_vgg"], 100)
    assert x.shape == (40, 32, 32, 3) and x_test.shape == (20, 32, 32, 3)
    assert (y == np.repeat([0, 1], 20)).all() and (y_test == 2).all()


# -- table and picture, of numbers that are made up --------------------------------------------------------------------


def made_up() -> dict[str, Any]:
    """A result as benchmarks.gpu writes it. NOTHING OF IT WAS MEASURED."""

    def row(name: str, batch: int, **times: float) -> dict[str, Any]:
        samples = {c: [sample(ms), sample(ms)] for c, ms in times.items()}
        checks = {c: sample(1) for c in times}
        failures = {"graph": "RuntimeError: no"}
        return training.row(f"A network, SGD, batch {batch}", name, batch, checks, samples, failures, 1e-3)

    rows = [row("d1", 100, cpu=1.0, gpu=0.5, jit=0.2, eager=0.6), row("c1", 100, cpu=10.0, gpu=1.0, jit=0.5, eager=2.0)]
    series = [
        row("d1", 10, cpu=0.1, gpu=0.5, jit=0.2),
        row("d1", 100, cpu=9.0, gpu=9.0, jit=9.0),
        row("d1", 30, cpu=0.3, gpu=0.5, jit=0.2),
    ]
    products = [{"n": 16, "cpu": 1e-6, "gpu": 1e-5}, {"n": 1024, "cpu": 1e-3, "gpu": 1e-4}]
    return {
        "date": "2000-01-01T00:00:00",
        "machine": {"processor": "a made-up processor", "cores": 2},
        "card": {"name": "a made-up card"},
        "training": rows,
        "series": series,
        "products": {"rows": products, "crossover": crossover.crossing([(16, 1, 10), (1024, 1000, 100)])},
        "targets": training.verdicts(rows),
    }


def test_one_table_tells_cpu_and_card_apart() -> None:
    text = report.table(made_up())
    lines = [line.split() for line in text.splitlines()]
    assert [line[:2] for line in lines if line[0] in ("d1", "c1")][:4] == [
        ["d1", "10"], ["d1", "30"], ["d1", "100"], ["c1", "100"]]  # fmt: skip
    ten, thirty, hundred, other = (line for line in lines if line[0] in ("d1", "c1") and line[1].isdigit()
                                   and "target" not in line)  # fmt: skip
    assert hundred[2:6] == ["1.00", "0.500", "0.200", "0.600"]  # of two rows the one with more contenders
    assert "<- jit wins" in " ".join(thirty) and "<- GPU wins" in " ".join(hundred)
    assert "wins" not in " ".join(ten + other)
    assert max(map(len, text.splitlines())) <= 120
    assert "from batch 100 on, with jit from batch 30 on" in text and "at every size measured" in text
    assert "from n = 1024 on" in text
    assert "d1 100  eager/jit 3.00, target 2: reached" in text and "c1 100  eager/jit 4.00, target 2: reached" in text
    assert report.table({}) == "no training steps were measured"


def test_the_table_and_the_picture_are_made_of_a_file(tmp_path: Path, capsys: Any) -> None:
    image = pytest.importorskip("matplotlib.image")
    file = tmp_path / "made-up-gpu.json"
    file.write_text(json.dumps(made_up()))
    assert compare.main([str(file)]) == 0
    assert "GPU wins" in capsys.readouterr().out
    pixels = image.imread(file.with_suffix(".png"))
    height, width, _ = pixels.shape
    assert width > height > 400 and (pixels[..., :3].min(axis=2) < 0.5).mean() > 0.005
    assert [title.partition(":")[0] for title, _, _ in report.panels(made_up())] == ["d1", "Dense product"]
    assert compare.main([str(tmp_path / "none.json")]) == 2
    file.write_text(json.dumps({"training": []}))
    assert compare.main([str(file)]) == 1


def test_results_of_cards_are_called_after_them() -> None:
    assert card.slug("NVIDIA H200") == "h200" and card.slug("NVIDIA GeForce RTX 4090") == "geforce-rtx-4090"
    assert card.version(13020) == "13.2"
