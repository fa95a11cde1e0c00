"""Minimising a crash state: fewest writes lost, earliest cut, and never another way of breaking than the one given."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from crashmatrix.faults.disk import CrashState, Flush, Note, Tear, Write
from crashmatrix.faults.disk.trace.named import in_words
from crashmatrix.scenarios.power.explain.minimise import Budget, earliest, fewest_lost, to_blame
from crashmatrix.scenarios.power.explain.unsynced import unsynced_at
from tests.faults.disk.support import synthetic_trace
from tests.scenarios.power.explain.traces import made, posix_trace, written


def lost_of(state: CrashState) -> set[int]:
    return {index for index in range(state.pending) if not state.kept >> index & 1}


@pytest.mark.parametrize("size", [8, 12, 13])
@pytest.mark.parametrize("needed", [set(), {0}, {7}, {3, 6}, {0, 5, 7}])
def test_fewest_lost(needed: set[int], size: int) -> None:
    """From a state that lost all writes, minimising finds exactly those that have to be lost."""
    budget = Budget(lambda state: needed <= lost_of(state), 200)
    assert lost_of(fewest_lost(CrashState(5, 0, (), size), budget)) == needed


def test_a_tear_that_is_not_needed_is_made_whole() -> None:
    """A tear that is not needed to break the promise is made whole."""
    tears = (Tear(1, 0, 1), Tear(2, 1, 1))
    state = fewest_lost(CrashState(5, 0b111, tears, 3), Budget(lambda state: tears[1] in state.tears, 50))
    assert state.tears == tears[1:]


def test_the_budget_is_kept() -> None:
    """No more states are judged than allowed, each once; and what is returned is known to be broken."""
    for most in range(12):
        asked: list[CrashState] = []

        def broken(state: CrashState, asked: list[CrashState] = asked) -> bool:
            asked.append(state)
            return {2, 9} <= lost_of(state)

        state = fewest_lost(CrashState(5, 0, (), 12), Budget(broken, most))
        assert len(asked) <= most
        assert len(asked) == len(set(asked))
        assert {2, 9} <= lost_of(state)


def test_the_earliest_cut() -> None:
    """The first cut at which losing the same write breaks the promise is taken; a cut before it has nothing to lose."""
    data = random.Random(0).randbytes(512)
    writes = [Write(512 * index, data) for index in range(4)]
    trace = synthetic_trace([Note(b"ack 0"), writes[0], Note(b"ack 1"), writes[1], Note(b"ack 2"), writes[2], Flush()])
    cuts = [at + 1 for at, operation in enumerate(trace.operations) if isinstance(operation, Note)]
    last = cuts[-1] + 1
    pending = trace.pending(last)
    state = CrashState(last, 0b110, (), len(pending))
    found = earliest(trace, state, cuts, Budget(lambda each: 0 in lost_of(each), 50), 10)
    assert found.cut == cuts[1]
    assert lost_of(found) == {0}
    assert earliest(trace, state, cuts, Budget(lambda _: False, 50), 10) == state


OTHER = 11
TRACE = posix_trace(*made(b"log"), *written(b"0\n"), *made(b"lock", OTHER), *written(b"7", inode=OTHER))
LOG_NAMED, LOG_SIZE, LOG_DATA, LOCK_NAMED, LOCK_SIZE, LOCK_DATA = range(6)
LOG = ["log, its size: 2 bytes", "log, bytes 0 to 1"]


@pytest.mark.parametrize(
    ("broken", "guilty"),
    [
        pytest.param(lambda _: True, [], id="broken with none of them lost"),
        pytest.param(lambda state: state.kept not in (0, (1 << 6) - 1), None, id="safe with all of them lost"),
        pytest.param(lambda state: LOG_DATA in lost_of(state), LOG, id="a file: everything lost of it"),
        pytest.param(
            lambda state: LOG_NAMED in lost_of(state), ["the store's folder: log made"], id="only one of the names"
        ),
        pytest.param(
            lambda state: {LOG_SIZE, LOCK_NAMED} <= lost_of(state),
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
    found = to_blame(
        TRACE, TRACE.finish, missing, lambda state: bool(lost_of(state)) and LOG_DATA not in lost_of(state)
    )
    assert found is not None
    assert {each.at for each in found} <= {each.at for each in missing}
