"""THE table at the vector widths of other processors: agreement with the reference, and the same bytes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinynn.backends.cpu.simd import BLOCK, BLOCKS, cache_name

TESTS = Path(__file__).parent
COLUMNS = "test_backends_agree_with_the_reference or test_any_number_of_threads_gives_the_same_bytes"


@pytest.mark.parametrize("width", sorted(set(BLOCKS) - {BLOCK.lanes * 32}))
def test_the_table_at_another_vector_width(width: int) -> None:
    if "TINYNN_SIMD" in os.environ:
        pytest.skip("this is such a process")
    files = [str(TESTS / name) for name in ("test_table.py", "test_conv2d_engine.py")]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *files]
    chosen = f"({COLUMNS} or test_conv2d_engine) and not reference-float and not float64"
    result = subprocess.run(
        [*command, "-k", chosen],
        env=os.environ | {"TINYNN_SIMD": str(width)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert " passed" in result.stdout


def test_a_kernel_of_a_changed_file_has_another_name_in_the_cache(tmp_path: Path) -> None:
    names = set()
    for i, text in enumerate(["def f(): return 1", "def f(): return 2", "def f(): return 1"]):
        file, found = tmp_path / f"{i}.py", {}
        file.write_text(text)
        exec(compile(text, str(file), "exec"), found)
        names.add(cache_name(found["f"]))
    assert len(names) == 2
