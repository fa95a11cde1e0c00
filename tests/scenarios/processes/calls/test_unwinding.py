"""The callers of a waiting system call, found by unwind tables alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.calls.unwinding import callers
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios.native_functions import look_at
from tests.scenarios.native_programs import NEEDS_COMPILER, compiled


@NEEDS_COMPILER
@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_frames(tmp_path: Path) -> None:
    """A call begins in the C library, and comes from the program."""
    (root := tmp_path / "root").mkdir()
    with Jobs(preload=["tests.scenarios.native_functions"]) as jobs:
        found = value(jobs.run(look_at, compiled(tmp_path, ["-O2"]), root, seconds_max=60))
    for name in ("call.rename", "call.write"):
        _, files = found[name]
        assert files[0].startswith("libc")
        assert "store" in files


def test_a_thread_that_is_gone() -> None:
    """A thread that does not exist is an error."""
    with pytest.raises(OSError, match="No such"):
        list(callers(2**22 + 1))
