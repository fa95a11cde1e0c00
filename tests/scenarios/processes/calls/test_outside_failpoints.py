"""Failpoints of programs in other languages: each hit is seen, in order, and nobody sleeps."""

from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import tree_functions as do
from tests.scenarios.processes.test_jobs import SECONDS

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())


RUST_LIKE = """
import os, faults
FIRST = faults.declare("first", "x")
SECOND = faults.declare("second", "y")
for _ in range(2):
    FIRST.hit()
    open(os.environ["ROOT"] + "/file", "w").close()
    SECOND.hit()
"""


def test_failpoints_of_fail_rs(jobs: Jobs, root: Path) -> None:
    """A program that follows FAILPOINTS as fail-rs does shows every hit, in order, and is not held up."""
    points = value(jobs.run(do.run_program, root, RUST_LIKE, ["second", "first"], seconds_max=SECONDS))
    assert points == ["first", "call.openat", "second"] * 2


def test_failpoints_of_gofail(jobs: Jobs, root: Path) -> None:
    """The line that gofail's `print` writes is a hit; other output is not, nor is a name that was not requested."""
    program = "import os\nfor name in (b'a/b', b'c', b'a/b'): os.write(1, b'failpoint print: %s\\n' % name); os.write(1, name)"
    assert value(jobs.run(do.run_program, root, program, ["a/b"], seconds_max=SECONDS)) == ["a/b", "a/b"]
