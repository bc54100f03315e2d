"""What is said where CuPy, the driver, the card or a part of CUDA is missing, and ``python -m tinynn doctor``."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cuda import standin
from tinynn import __main__, doctor
from tinynn.backends import inspection
from tinynn.backends.gpu import cuda, finding, nvidia
from tinynn.doctor import advice, checks, facts

PACKAGE = Path(doctor.__file__).parent.parent
CUDA12, CUDA13 = 'pip install "tinynn-np[cuda12]"', 'pip install "tinynn-np[cuda13]"'


class Machine:
    """A CuPy that finds this driver and so many cards; None: asking for them raises."""

    class CUDARuntimeError(RuntimeError):
        pass

    cublas = None

    def __init__(self, driver: int = 13000, cards: int | None = 1, capability: str = "90", nvrtc: bool = True):
        self.cuda = self.runtime = self.nvrtc = self
        self.driver, self.cards, self.compute_capability, self.has_nvrtc = driver, cards, capability, nvrtc

    def driverGetVersion(self) -> int:
        return self.driver

    def getDeviceCount(self) -> int:
        if self.cards is None:
            raise self.CUDARuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")
        return self.cards

    def Device(self) -> Machine:
        return self

    def getVersion(self) -> tuple[int, int]:
        if not self.has_nvrtc:
            raise RuntimeError('Failure finding "libnvrtc.so.13"')
        return 13, 0


@pytest.fixture(autouse=True)
def nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No nvidia-smi, no driver in /proc, none of the variables that matter."""
    monkeypatch.setattr(nvidia, "SMI", (str(tmp_path / "nvidia-smi"),))
    monkeypatch.setattr(nvidia, "PROC", tmp_path / "version")
    for name in ("CUDA_VISIBLE_DEVICES", "TINYNN_BACKEND"):
        monkeypatch.delenv(name, raising=False)
    nvidia.ask.cache_clear()


def nvidia_smi(folder: Path, script: str) -> None:
    """A program of that name, in the place that ``nothing`` looks at."""
    if os.name != "posix":
        pytest.skip("the program is a shell script")
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


@pytest.fixture
def wheels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Let these distributions be the only ones that are installed."""

    def install(*names: str) -> None:
        for name in names:
            folder = tmp_path / "site" / f"{name.replace('-', '_')}-14.2.0.dist-info"
            folder.mkdir(parents=True)
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.2.0\n")
        own = [place for place in sys.path if "site-packages" not in place and "dist-packages" not in place]
        monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *own])

    return install


# -- what the error says ---------------------------------------------------------------------------------------------

REFUSED = {
    "no driver": ([], Machine(0), {}, ["needs an NVIDIA driver", "nvidia-smi", CUDA12, CUDA13]),
    "wheel too new": (
        ["cupy-cuda13x"],
        Machine(12040),
        {},
        ["needs driver 580", "yours is for CUDA 12", "pip uninstall -y cupy-cuda13x", CUDA12],
    ),
    "old driver": (["cupy-cuda12x"], Machine(11080), {}, ["needs driver 525", "update the driver"]),
    "hidden": ([], Machine(cards=None), {"CUDA_VISIBLE_DEVICES": ""}, ["hides them all", "unset CUDA_VISIBLE_DEVICES"]),
    "wrong number": ([], Machine(cards=0), {"CUDA_VISIBLE_DEVICES": "7"}, ["'7' may name one", "nvidia-smi -L"]),
    "no card": ([], Machine(cards=None), {}, ["no usable card (cudaErrorNoDevice", "nvidia-smi -L", CUDA13]),
    "too old a card": ([], Machine(capability="61"), {}, ["capability 7.0", "capability 6.1", "CUDA_VISIBLE_DEVICES"]),
    "Volta": (
        ["cupy-cuda13x"],
        Machine(capability="70"),
        {},
        ["no longer compiles for", "pip uninstall -y cupy-cuda13x", CUDA12],
    ),
    "no compiler": (
        ["cupy-cuda12x"],
        Machine(nvrtc=False),
        {},
        ["NVRTC", "libnvrtc", 'pip install "cupy-cuda12x[ctk]>=14"'],
    ),
    "two wheels": (
        ["cupy-cuda12x", "cupy-cuda13x", "cupy-xarray"],
        Machine(cards=None),
        {},
        ["2 wheels of CuPy are installed at once", "pip uninstall -y cupy-cuda12x cupy-cuda13x`"],
    ),
}


@pytest.mark.parametrize("case", REFUSED, ids=lambda name: name.replace(" ", "-"))
def test_an_error_says_what_is_missing_and_what_to_do(
    case: str, wheels: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, machine, environment, words = REFUSED[case]
    wheels(*names)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ImportError) as caught:
        finding.require_card(machine)
    for word in (*words, 'backend "gpu"', "python -m tinynn doctor", 'backend="cpu"'):
        assert word in str(caught.value)
    assert caught.value.what in str(caught.value) and caught.value.do in str(caught.value)


@pytest.mark.parametrize(
    ("names", "machine"),
    [
        ([], Machine()),
        (["cupy-cuda13x"], Machine(13000, capability="75")),
        (["cupy-cuda12x"], Machine(13000, capability="70")),
        (["cupy-cuda12x"], Machine(12040)),
        (["cupy"], Machine(12040)),
        (["cupy-cuda13x", "cupy-xarray"], Machine(13010, capability="120")),
    ],
)
def test_what_fits_is_taken(names: list[str], machine: Machine, wheels: Callable[..., None]) -> None:
    wheels(*names)
    finding.require_card(machine)


@pytest.mark.parametrize(
    ("driver", "right", "wrong"),
    [
        ("580.65.06", CUDA13, CUDA12),
        ("610.1", CUDA13, CUDA12),
        ("579.9", CUDA12, CUDA13),
        ("525.60.13", CUDA12, CUDA13),
    ],
)
def test_the_driver_decides_which_wheel(driver: str, right: str, wrong: str, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, f"echo {driver}; echo {driver}")
    assert nvidia.driver() == driver
    assert right in nvidia.install()
    assert wrong not in nvidia.install()


def test_a_driver_that_is_too_old_must_be_updated(tmp_path: Path) -> None:
    nvidia_smi(tmp_path, "echo 470.57.02")
    assert nvidia.install().startswith("update the driver")


def test_without_cupy_the_driver_decides_too(
    tmp_path: Path, wheels: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    nvidia_smi(tmp_path, "echo 550.54.14")
    with pytest.raises(ImportError, match="needs CuPy, which is not installed") as caught:
        finding.load_cupy()
    assert CUDA12 in str(caught.value)
    assert CUDA13 not in str(caught.value)


def test_a_driver_whose_library_is_missing(tmp_path: Path) -> None:
    nvidia_smi(tmp_path, "echo 580.65.06")
    with pytest.raises(ImportError, match=r"found the driver 580\.65\.06, but CuPy does not.*--gpus all"):
        finding.require_card(Machine(0))


@pytest.mark.parametrize("script", ["echo 'NVIDIA-SMI has failed'; exit 9", "echo No devices were found, none", ":"])
def test_an_nvidia_smi_that_does_not_answer(script: str, tmp_path: Path) -> None:
    nvidia_smi(tmp_path, script)
    assert nvidia.driver() is None
    assert nvidia.cards() == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 01:44:30 UTC 2024\nGCC 12.2.0",
            "550.54.14",
        ),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build", "580.65.06"),
    ],
)
def test_the_driver_that_linux_tells_of(text: str, version: str) -> None:
    nvidia.PROC.write_text(text)
    assert nvidia.driver() == version


def test_the_cards_that_nvidia_smi_lists(tmp_path: Path) -> None:
    nvidia_smi(tmp_path, "echo 'NVIDIA H200, 143771, 9.0'; echo 'Tesla V100, 16384, 7.0'")
    assert nvidia.cards() == [("NVIDIA H200", 143771 << 20, "9.0"), ("Tesla V100", 16384 << 20, "7.0")]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ImportError('libcublas.so.12: cannot open')", r"does not load \(libcublas.*pip uninstall -y"),
        (
            "try:\n    1 / 0\nexcept Exception as e:\n    raise ImportError('=====\\nadvice\\n') from e",
            "division by zero",
        ),
        ("", "finds something else"),
    ],
    ids=["broken", "wrapped", "another"],
)
def test_a_cupy_that_does_not_load(code: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cupy").mkdir()
    (tmp_path / "cupy" / "__init__.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.delitem(sys.modules, "cupy")
    with pytest.raises(ImportError, match=message):
        finding.load_cupy()


@pytest.mark.parametrize(("capability", "there"), [("75", False), ("80", True), ("90", True), ("120", True)])
def test_tensor_cores_are_those_of_ampere(capability: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cupy", Machine(capability=capability))
    assert cuda.tensor_cores() is there


# -- python -m tinynn ------------------------------------------------------------------------------------------------


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tinynn", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def test_alone_it_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert __main__.main([]) == 0
    assert "doctor" in capsys.readouterr().out


def test_doctor_as_a_program() -> None:
    """The cpu backend works here; the gpu backend cannot, without a card or with one that is hidden."""
    result = run("doctor", "--backend", "gpu", "--json", CUDA_VISIBLE_DEVICES="", TINYNN_BAKEND="gpu")
    whole = json.loads(result.stdout)
    assert result.returncode == 1, result.stderr
    assert {"versions", "machine", "cpu backend", "gpu backend", "caches", "settings"} <= set(whole)
    assert whole["checks"]["cpu"]["works"], whole["checks"]["cpu"]
    assert not whole["checks"]["gpu"]["works"]
    assert "TINYNN_NUM_THREADS" in whole["cpu backend"]["threads"]
    assert "NUMBA_NUM_THREADS" not in set(whole["settings"]) - set(os.environ)  # set by us is not set by the user
    typo, gpu = whole["problems"]
    assert "TINYNN_BACKEND" in typo["problem"] and typo["do"] == "`unset TINYNN_BAKEND`"
    assert 'backend "gpu"' in gpu["problem"]
    assert gpu["do"]


CPU, GPU = {"works": True, "says": "all is well", "loss": 1.0}, {"works": False, "says": "needs CuPy", "do": "get it"}


@pytest.fixture
def canned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The checks are not run; they say that there is a cpu and no gpu."""
    monkeypatch.setattr(checks, "check_all", lambda: {"cpu": dict(CPU), "gpu": dict(GPU)})


@pytest.mark.parametrize(("backend", "code"), [("cpu", 0), ("gpu", 1)])
def test_the_exit_code_is_that_of_the_backend(
    backend: str, code: int, canned: None, wheels: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    wheels()
    assert __main__.main(["doctor", "--backend", backend]) == code
    printed = capsys.readouterr().out
    assert "yes: all is well" in printed
    assert "no: needs CuPy" in printed
    assert ("-> get it" in printed) == (backend == "gpu")  # who did not ask for it has no problem


BROKEN: list[tuple[Any, str]] = [
    (os, "access"),
    (inspection, "cpu"),
    (inspection, "gpu"),
    (inspection, "kernel_cache"),
    (nvidia, "distributions"),
    (nvidia, "builds"),
    (nvidia, "driver"),
    (nvidia, "cards"),
    (facts, "memory"),
    (facts, "processor"),
    (facts, "settings"),
    (facts, "graphics"),
    (facts.metadata, "version"),
    (facts.platform, "platform"),
    (advice, "settings_problems"),
]


@pytest.mark.parametrize(("place", "name"), BROKEN, ids=lambda value: getattr(value, "__name__", value))
def test_doctor_prints_whatever_fails(
    place: Any, name: str, canned: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("it broke")

    with monkeypatch.context() as patch:
        patch.setattr(place, name, broken)
        patch.setattr(
            facts, "SECTIONS", {title: getattr(facts, make.__name__) for title, make in facts.SECTIONS.items()}
        )
        assert doctor.main() == 0
    printed = capsys.readouterr().out
    assert "RuntimeError: it broke" in printed or name in ("gpu", "access")  # who has no CuPy does not ask it
    assert "a tiny model learns" in printed


@pytest.mark.parametrize(
    ("name", "value", "do"),
    [
        ("TINYNN_THREADS", "2", "`unset TINYNN_THREADS`"),
        ("TINYNN_BACKEND", "cuda", "set it to one of cpu, gpu, reference"),
        ("TINYNN_DATA", "/not/there", "`mkdir -p /not/there`"),
    ],
)
def test_settings_that_cannot_be_meant(name: str, value: str, do: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TINYNN_DATA", raising=False)
    assert advice.settings_problems() == []
    monkeypatch.setenv(name, value)
    (problem,) = advice.settings_problems()
    assert name in problem["problem"]
    assert do in problem["do"]


def test_every_variable_that_is_read_is_known() -> None:
    texts = [file.read_text(encoding="utf-8") for file in PACKAGE.rglob("*.py")]
    assert {name for text in texts for name in re.findall(r"TINYNN_[A-Z0-9_]*[A-Z0-9]", text)} - {"TINYNN_TEST"} == set(
        facts.SETTINGS
    )


def test_half_a_gpu_is_a_problem(wheels: Callable[..., None], tmp_path: Path) -> None:
    wheels()
    assert advice.gpu_problems(GPU, "cpu") == []
    assert [p["do"] for p in advice.gpu_problems(GPU, "gpu")] == ["get it"]
    nvidia_smi(tmp_path, "echo 580.65.06")
    nvidia.ask.cache_clear()
    (problem,) = advice.gpu_problems(GPU, "cpu")
    assert "CuPy is not" in problem["problem"]
    assert CUDA13 in problem["do"]


def test_two_wheels_are_a_problem_even_where_they_work(wheels: Callable[..., None]) -> None:
    wheels("cupy-cuda12x", "cupy-cuda13x")
    (problem,) = advice.gpu_problems(CPU, "cpu")
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x" in problem["do"]


def test_a_broken_cpu_backend_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert advice.cpu_problems(CPU) == []
    monkeypatch.setenv("TINYNN_SIMD", "7")
    (problem,) = advice.cpu_problems({"works": False, "says": "ValueError: TINYNN_SIMD must be one of 512, 256, 128"})
    assert problem["do"] == "`unset TINYNN_SIMD`"
    (problem,) = advice.cpu_problems({"works": False, "says": "ImportError: numba"})
    assert "numba" in problem["do"]


# -- the checks ------------------------------------------------------------------------------------------------------


def test_the_tiny_model_learns_alike_on_every_backend() -> None:
    reference, cpu = checks.check("reference"), checks.check("cpu")
    assert reference["works"] and cpu["works"]
    assert abs(reference["loss"] - cpu["loss"]) < 1e-5


def test_the_tiny_model_learns_on_the_gpu() -> None:
    backend = standin.gpu_backend()
    if backend is None:
        pytest.skip("neither a card nor a C++ compiler")
    gpu = checks.check(backend)
    assert gpu["works"], gpu
    assert abs(gpu["loss"] - checks.check("reference")["loss"]) < 1e-3


def test_a_backend_that_computes_something_else_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = {"cpu": 1.0, "gpu": 1.1}
    monkeypatch.setattr(checks, "check", lambda name: {"works": True, "says": name, "loss": losses[name]})
    assert not checks.check_all()["gpu"]["works"]
    losses["gpu"] = 1.0001
    assert checks.check_all()["gpu"]["works"]


def test_a_model_that_does_not_learn_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "train", lambda backend: (1.0, float("nan")))
    assert not checks.check("cpu")["works"]
    monkeypatch.undo()
    assert checks.check("nonsense")["says"].startswith("ValueError: unknown backend")
