"""Where the benchmark data are."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data():
    """The folder with the benchmarks' CSV files; skips the test where there is none."""
    here = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("NETWRIGHT_DATA", here))
    if not folder.is_dir():
        pytest.skip("no benchmark data: set NETWRIGHT_DATA")
    return folder
