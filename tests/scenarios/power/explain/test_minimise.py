"""Minimising a crash state: fewest writes lost, earliest cut, and never another way of breaking than the one given."""

from __future__ import annotations

import random

import pytest

from crashmatrix.faults.disk import CrashState, Flush, Note, Tear, Write
from crashmatrix.scenarios.power.explain.minimise import Budget, earliest, fewest_lost
from tests.faults.disk.support import synthetic_trace


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
