"""Calls that fail: a program is answered with the error, the kernel has done nothing, and only the calls meant are concerned."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import UsageError
from crashmatrix.scenarios.processes.calls.call_faults import CLASSES, ERRORS, TIMES, CallFault
from crashmatrix.scenarios.processes.calls.seccomp import lacking
from crashmatrix.scenarios.processes.calls.table import KINDS, READS
from crashmatrix.scenarios.processes.jobs import Jobs
from tests.processes import value
from tests.scenarios import error_functions as do
from tests.scenarios.processes.test_jobs import SECONDS


@pytest.fixture(scope="module")
def jobs() -> Iterator[Jobs]:
    with Jobs(preload=["tests.scenarios.error_functions"]) as jobs:
        yield jobs


def test_a_fault_prints_as_it_is_parsed() -> None:
    """Each fault has one text."""
    for calls, error, times in itertools.product(CLASSES, (*ERRORS, "short", "short+ENOSPC"), TIMES):
        fault = CallFault(calls, 12, error, times)
        assert CallFault.parse(str(fault)) == fault


@pytest.mark.parametrize(
    "text",
    ["", "write", "write@0~EIO~once", "write@1~EIO", "write@1~EIO~thrice", "write@1~EPERM~once", "seek@1~EIO~once",
     "write@01~EIO~once", "write@1~short+~once", "write@1~EIO+short~once", "write@1~EIO~once~killed", "write@-1~EIO~once"],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    """The refusal says how a fault is written."""
    with pytest.raises(UsageError, match="is not a fault; write CLASS@NUMBER~ERROR~TIMES"):
        CallFault.parse(text)


def test_each_call_has_one_class() -> None:
    """A class consists of calls that are watched, and no call is in two."""
    names = [name for calls in CLASSES.values() for name in calls]
    assert len(names) == len(set(names))
    assert set(names) <= KINDS.keys() | READS.keys()


WRITES = ["open a", "write a 6", "write a 6", "write a 6", "write a 6"]
FULL = ["open a", "write a 6", "open a", "open b", "mkdir d", "rename a c", "write c 6"]

TABLE: list[tuple[str, list[str], str, list[str]]] = [
    ("write@9~EIO~once", WRITES, ". 6 6 6 6", ["a 24"]),
    ("write@2~EIO~once", WRITES, ". 6 EIO 6 6", ["a 18"]),
    ("write@2~EIO~twice", WRITES, ". 6 EIO EIO 6", ["a 12"]),
    ("write@2~EIO~on", WRITES, ". 6 EIO EIO EIO", ["a 6"]),
    ("write@2~short~once", WRITES, ". 6 3 6 6", ["a 21"]),
    ("write@2~short+ENOSPC~once", WRITES, ". 6 3 ENOSPC 6", ["a 15"]),
    ("write@2~short+EIO~on", WRITES, ". 6 3 EIO EIO", ["a 9"]),
    ("write@2~EIO~and-next", ["open a", "write a 6", "write a 6", "truncate a", "write a 6"], ". 6 EIO EIO 6", ["a 12"]),
    ("write@1~EIO~and-next", ["open a", "write a 6", "fsync a", "truncate a"], ". EIO EIO .", ["a 0"]),
    (
        "write@1~short+ENOSPC~and-next",
        ["open a", "write a 6", "fsync a", "write a 6", "truncate a", "truncate a"],
        ". 3 . ENOSPC ENOSPC .",
        ["a 0"],
    ),
    ("write@1~short~once", ["open a", "write a 1", "write a 4"], ". 1 4", ["a 5"]),  # One byte has no half.
    ("open@1~EROFS~once", ["open a", "open a"], "EROFS .", ["a 0"]),
    ("fsync@2~EIO~once", ["open a", "fsync a", "fdatasync a", "fsync a"], ". . EIO .", ["a 0"]),
    ("rename@1~EIO~once", ["open a", "rename a b"], ". EIO", ["a 0"]),
    ("link@1~EDQUOT~once", ["open a", "link a b"], ". EDQUOT", ["a 0"]),
    ("unlink@1~EIO~once", ["open a", "unlink a"], ". EIO", ["a 0"]),
    ("truncate@1~EIO~once", ["open a", "write a 6", "truncate a"], ". 6 EIO", ["a 6"]),
    ("allocate@1~ENOSPC~once", ["open a", "allocate a"], ". ENOSPC", ["a 0"]),
    ("mkdir@1~ENOSPC~once", ["mkdir d", "mkdir d"], "ENOSPC .", ["d"]),
    ("rmdir@1~EIO~once", ["mkdir d", "rmdir d"], ". EIO", ["d"]),
    # The disk is full: what takes no room succeeds, and what gives room ends it.
    ("write@1~ENOSPC~on", FULL, ". ENOSPC . ENOSPC ENOSPC . ENOSPC", ["c 0"]),
    ("write@1~ENOSPC~until-freed", FULL, ". ENOSPC . ENOSPC ENOSPC . 6", ["c 6"]),
    ("write@1~EDQUOT~until-freed", ["open a", "write a 6", "unlink a", "open b"], ". EDQUOT . .", ["b 0"]),
    # The disk is read-only: nothing can be changed any more.
    ("write@1~EROFS~on", FULL, ". EROFS EROFS EROFS EROFS EROFS ENOENT", ["a 0"]),
    ("write@1~EROFS~on", ["open a", "write a 6", "fsync a", "unlink a"], ". EROFS EROFS EROFS", ["a 0"]),
]  # fmt: skip


@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.parametrize(("fault", "steps", "answers", "left"), TABLE)
def test_calls_fail(jobs: Jobs, tmp_path: Path, fault: str, steps: list[str], answers: str, left: list[str]) -> None:
    """A fault concerns the calls that it names, and the kernel does nothing for these."""
    (tmp_path / "root").mkdir()
    given, fired, found = value(jobs.run(do.fail_steps, tmp_path / "root", [fault], steps, seconds_max=SECONDS))
    assert (given, found) == (answers, left)
    assert fired == (fault if any(word in answers for word in ("E", "3")) else "")
