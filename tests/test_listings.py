"""Every listing runs: the examples in docstrings, and the Python blocks of README.md in their order."""

import doctest
import importlib
import os
import pkgutil
import re
from pathlib import Path

import pytest

import tinynn

ROOT = Path(__file__).parent.parent
SKIPPED = ("tinynn.backends.gpu", "tinynn.__main__")
MODULES = [
    m.name for m in pkgutil.walk_packages(tinynn.__path__, "tinynn.") if not m.name.startswith(SKIPPED)
]  # fmt: skip


@pytest.mark.parametrize("name", ["tinynn", *MODULES])
def test_docstrings(name):
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags)
    for test in finder.find(module, name):
        runner.run(test)
    assert runner.failures == 0, f"{runner.failures} of {runner.tries} examples in {name} fail"


def test_there_are_examples_in_docstrings():
    finder = doctest.DocTestFinder()
    found = sum(len(t.examples) for n in MODULES for t in finder.find(importlib.import_module(n), n))
    assert found >= 15


def test_readme(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) >= 3
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "readme"}
    for i, block in enumerate(blocks):
        exec(compile(block, f"README.md, block {i + 1}", "exec"), names)
    assert os.listdir(tmp_path)  # it draws a picture


def test_the_contract_of_the_public_surface():
    """The lines that users of Keras will type first."""
    source = (ROOT / "tests" / "public_surface.py").read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "public_surface"}
    exec(compile(source, "tests/public_surface.py", "exec"), names)
