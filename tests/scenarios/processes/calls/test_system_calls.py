"""System calls as crash points: each call that changes the folder is seen once, before it is done, and no other is."""

from pathlib import Path

import pytest

from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import tree_functions as do
from tests.scenarios.processes.test_jobs import SECONDS

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking())


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


def test_acknowledgements_on_their_way_arrive_first(jobs: Jobs, root: Path) -> None:
    """A thread about to write waits until the others have written to the journal, so that a crash there excuses nothing."""
    seen = value(jobs.run(do.say_before_writing, root, seconds_max=SECONDS))
    assert seen == [(number + 1, number + 1) for number in range(do.SAYS)]


def test_others_do_not_hold_up_a_thread(jobs: Jobs, root: Path) -> None:
    """One that computes, or writes to the journal as long as it may, is not waited for; who is held has its turn, once."""
    points = value(jobs.run(do.beside_others, root, seconds_max=SECONDS))
    assert points.count("call.write") == 20
    assert points.count("call.unlink") == 5
