"""What every test shares: Hypothesis without deadlines, pictures without a display, the folder of large data sets."""

import os
from pathlib import Path

import hypothesis
import pytest

os.environ["MPLBACKEND"] = "Agg"

# The same examples in every run: a failure on one machine is a failure on all; no deadline on a busy one.
hypothesis.settings.register_profile("tinynn", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("tinynn")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder that TINYNN_DATA names; without one the test is skipped."""
    folder = os.environ.get("TINYNN_DATA")
    if not folder:
        pytest.skip("needs data sets that are not in the package: TINYNN_DATA is not set")
    return Path(folder)
