"""Which changes in memory are to blame, on a trace made by hand; `test_findings.py` has a whole run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crashmatrix.faults.disk import CrashState
from crashmatrix.faults.disk.trace.named import in_words
from crashmatrix.scenarios.power.explain.blame import to_blame
from crashmatrix.scenarios.power.explain.unsynced import unsynced_at
from tests.scenarios.power.explain.traces import made, posix_trace, written

OTHER = 11
TRACE = posix_trace(*made(b"log"), *written(b"0\n"), *made(b"lock", OTHER), *written(b"7", inode=OTHER))
LOG_NAMED, LOG_SIZE, LOG_DATA, LOCK_NAMED, LOCK_SIZE, LOCK_DATA = range(6)
LOG = ["log, its size: 2 bytes", "log, bytes 0 to 1"]


def lost(state: CrashState) -> set[int]:
    return {index for index in range(state.pending) if not state.kept >> index & 1}


@pytest.mark.parametrize(
    ("broken", "guilty"),
    [
        pytest.param(lambda _: True, [], id="broken with none of them lost"),
        pytest.param(lambda state: state.kept not in (0, (1 << 6) - 1), None, id="safe with all of them lost"),
        pytest.param(lambda state: LOG_DATA in lost(state), LOG, id="a file: everything lost of it"),
        pytest.param(
            lambda state: LOG_NAMED in lost(state), ["the store's folder: log made"], id="only one of the names"
        ),
        pytest.param(
            lambda state: {LOG_SIZE, LOCK_NAMED} <= lost(state),
            [*LOG, "the store's folder: lock made"],
            id="only together",
        ),
    ],
)
def test_to_blame(broken: Callable[[CrashState], bool], guilty: list[str] | None) -> None:
    """Changes whose loss the broken promise does not need are not to blame."""
    missing = unsynced_at(TRACE, TRACE.finish)
    found = to_blame(TRACE, TRACE.finish, missing, broken)
    assert (None if found is None else in_words(each.named for each in found)) == guilty


def test_what_was_not_lost_is_not_tried() -> None:
    """A change that the crash has stays where it is."""
    missing = unsynced_at(TRACE, TRACE.finish)[LOCK_NAMED:]
    found = to_blame(TRACE, TRACE.finish, missing, lambda state: bool(lost(state)) and LOG_DATA not in lost(state))
    assert found is not None
    assert {each.at for each in found} <= {each.at for each in missing}
