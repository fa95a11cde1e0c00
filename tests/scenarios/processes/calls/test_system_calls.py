"""System calls as crash points: each call that changes the folder is seen once, before it is done, and no other is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import tree_functions as do
from tests.scenarios.processes.test_jobs import SECONDS

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.tree_functions", "crashmatrix.faults"]) as jobs:
        yield jobs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


SEEN = [
    *[(name, [f"call.{name}"]) for name in (
        "write", "pwrite64", "writev", "pwritev2", "sendfile", "copy_file_range", "ftruncate", "truncate", "fallocate",
        "fsync", "fdatasync", "openat", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "rename", "renameat", "link",
        "linkat", "symlink", "symlinkat",
    )],
    ("fsync of the folder", ["call.fsync"]),
    ("openat of a name", ["call.openat"]),
    ("openat truncating", ["call.openat"]),
    ("openat in a folder", ["call.openat"]),
    ("rename from outside", ["call.rename"]),
    ("rename to the outside", ["call.rename"]),
    ("journal line", ["journal.line"]),
    ("reading", []),
    ("writing elsewhere", []),
    ("removing elsewhere", []),
    ("a name that begins alike", []),
]  # fmt: skip


@pytest.mark.parametrize(("name", "points"), SEEN)
def test_calls(jobs: Jobs, root: Path, name: str, points: list[str]) -> None:
    """A call that changes a file of the folder, or the journal, is seen before it has done anything."""
    seen, untouched = value(jobs.run(do.watch_call, name, root, seconds_max=SECONDS))
    assert seen == points
    assert untouched


def test_interrupted_calls_count_once(jobs: Jobs, root: Path) -> None:
    """A call that a signal interrupts while it waits, and that is made anew, is one crash point."""
    made, seen = value(jobs.run(do.interrupt_calls, root, seconds_max=SECONDS))
    assert made == seen == 300


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
