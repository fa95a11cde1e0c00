"""The line of a C program that makes a system call, through the C library, optimised or not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios.native_functions import look_at
from tests.scenarios.native_programs import NEEDS_COMPILER, compiled

pytestmark = [NEEDS_COMPILER, pytest.mark.skipif(bool(lacking()), reason=lacking())]

LINES = {"call.openat": 7, "call.ftruncate": 8, "call.rename": 12, "call.write": 15}


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.native_functions"]) as jobs:
        yield jobs


@pytest.mark.parametrize("flags", [["-g", "-O0"], ["-g", "-O2"], ["-g", "-O2", "-static"], ["-g", "-Os", "-no-pie"]])
def test_lines(flags: Sequence[str], jobs: Jobs, tmp_path: Path) -> None:
    """The innermost line outside of the C library is named, also where the call is made when a buffer is written."""
    (root := tmp_path / "root").mkdir()
    found = value(jobs.run(look_at, compiled(tmp_path, flags), root, seconds_max=60))
    assert {name: line for name, (line, _) in found.items() if name in LINES} == {
        name: f"store.c:{line}" for name, line in LINES.items()
    }


def test_without_debug_information(jobs: Jobs, tmp_path: Path) -> None:
    """Nothing is said where nothing is known."""
    (root := tmp_path / "root").mkdir()
    found = value(jobs.run(look_at, compiled(tmp_path, ["-O2", "-s"]), root, seconds_max=60))
    assert {line for line, _ in found.values()} == {""}
    assert LINES.keys() <= found.keys()
