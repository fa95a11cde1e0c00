"""Jobs that watch process trees, and a folder for these."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.jobs import Jobs


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.tree_functions", "crashmatrix.faults"]) as jobs:
        yield jobs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"
