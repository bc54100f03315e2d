"""Who may import whom (CONTRIBUTING.md, "The tree"), and that `import tinynn` stays light."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "tinynn"

# From low to high: a module imports from rows above its own, or from inside its own package. The number in front is the
# level; where one level has an order inside, it has several rows.
ROWS = """
0  typing errors
0  activation config philox window
1  backends random
2  function
3  ops initializers
3  activations
4  tensor parameter
5  records whereabouts
5  graph regularizers constraints
6  layers losses schedules
6  metrics
7  optim data text files plots
7  datasets utils
8  models
9  applications
10 __init__ doctor compat
11 __main__
"""
ORDER = {name: row for row, line in enumerate(ROWS.split("\n")) for name in line.split()[1:]}

# Inside backends: base <- reference <- cpu, gpu; the package itself chooses among them.
BACKENDS = {"base": 0, "reference": 1, "cpu": 2, "gpu": 2, "": 3}

# Which packages may import what is heavy; of these only numba and cupy at the top of a file.
HEAVY = {
    "numba": {"backends"},
    "llvmlite": {"backends"},
    "cupy": {"backends"},
    "cupyx": {"backends"},
    "matplotlib": {"plots"},
    "pooch": {"datasets"},
    "requests": set(),
    "tqdm": {"models", "data", "datasets"},
    "safetensors": {"files"},
    "tensorboardX": {"models"},
    "torch": set(),
    "PIL": {"data"},
    "pandas": set(),
    "scipy": set(),
}

FILES = sorted(PACKAGE.rglob("*.py"))


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(what is imported, by its full dotted name, line, inside a function?) for every import of a file."""
    parts = dotted(path).split(".")

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, int, bool]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, inside) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(parts[: len(parts) - node.level]) if node.level else ""
            source = ".".join(filter(None, [start, node.module]))
            yield from ((f"{source}.{alias.name}", node.lineno, inside) for alias in node.names)
        body = node.orelse if is_type_checking(node) else ast.iter_child_nodes(node)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in body:
            yield from walk(child, inside or function)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), False)


def row_of(module: str) -> str:
    """The name in the table that a module of tinynn belongs to."""
    return (module.split(".") + ["__init__"])[1]


def own_row(path: Path) -> str:
    return row_of(dotted(path))


def backend_of(module: str) -> str:
    """base, reference, cpu, gpu or "" for the package itself, of a module (or a name in it) below tinynn.backends."""
    name = (module.split(".") + [""])[2]
    return name if name in BACKENDS else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_below(path):
    own = own_row(path)
    assert own in ORDER, f"{own} has no row: give it one in {Path(__file__).name}"
    for module, line, _ in imports(path):
        if module.split(".")[0] != "tinynn":
            continue
        theirs = row_of(module)
        assert theirs in ORDER, f"{path}:{line} imports {module}, which has no row"
        assert theirs == own or ORDER[theirs] < ORDER[own], f"{path}:{line}: {own} may not import {module}"
        if theirs == "backends":
            mine, other = backend_of(dotted(path)), backend_of(module)
            if own != "backends":
                assert other in ("", "base"), f"{path}:{line}: {own} may not know the backend {other}"
            else:
                assert mine == other or BACKENDS[other] < BACKENDS[mine], f"{path}:{line}: {mine} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_heavy_libraries_are_imported_where_they_belong(path):
    for module, line, inside in imports(path):
        name = module.split(".")[0]
        if name in HEAVY:
            assert own_row(path) in HEAVY[name], f"{path}:{line}: {name} is not for {own_row(path)}"
            assert inside or HEAVY[name] == {"backends"}, f"{path}:{line}: import {name} inside the function"


def test_the_rule_is_seen_to_be_broken(tmp_path, monkeypatch):
    """The check itself: relative imports, imports in functions and TYPE_CHECKING are read as they should be."""
    file = tmp_path / "tinynn" / "optim" / "bad.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from tinynn.models import a\n"
        "else:\n    from tinynn import losses\nfrom .. import layers\nfrom . import sgd\ndef f():\n    import numba\n"
    )
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path / "tinynn")
    found = list(imports(file))
    assert [module for module, _, _ in found][1:] == ["tinynn.losses", "tinynn.layers", "tinynn.optim.sgd", "numba"]
    assert found[-1][2]
    with pytest.raises(AssertionError, match="numba is not for optim"):
        test_heavy_libraries_are_imported_where_they_belong(file)
    file.write_text("from tinynn import models")
    with pytest.raises(AssertionError, match="optim may not import tinynn.models"):
        test_a_module_imports_only_from_below(file)


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.strip()


def test_import_loads_nothing_heavy():
    loaded = python("import sys, tinynn; print(*sys.modules)").split()
    assert "numpy" in loaded
    assert not HEAVY.keys() & set(loaded)


def test_import_takes_little_longer_than_numpy():
    """At most 50 ms on top of `import numpy`; the best of several runs, since a busy machine only ever adds."""
    code = "import numpy, time; t = time.perf_counter(); import tinynn; print(1000 * (time.perf_counter() - t))"
    python(code)  # compiles to bytecode
    best = min(float(python(code)) for _ in range(7))
    assert best <= 50, f"import tinynn takes {best:.0f} ms longer than import numpy"
