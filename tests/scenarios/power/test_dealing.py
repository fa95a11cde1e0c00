"""States are dealt out among judges: each to one judge, no more than requested, in an order independent of other judges."""

from __future__ import annotations

import pytest

from crashmatrix.faults.disk import CrashState, CrashStates, Flush, Note, Operation, Trace, Write
from crashmatrix.scenarios.power.dealing import BATCH, Dealer
from tests.faults.disk.support import synthetic_trace

BUDGET = 10_000


def trace_of(promises: int, writes: int = 3) -> Trace:
    """Return a trace of acknowledged items, each after a few writes that nothing flushes until the next."""
    operations: list[Operation] = []
    for item in range(promises):
        operations += [Note(b"attempt %d" % item), Note(b"hit put.started %d" % (item + 1))]
        operations += [Write(512 * (item * writes + at), bytes([item + 1]) * 512) for at in range(writes)]
        operations += [Note(b"ack %d" % item), Flush()]
    return synthetic_trace(operations)


def dealt(trace: Trace, number: int, workers: int, budget: int = BUDGET) -> list[list[CrashState]]:
    return list(Dealer(trace, CrashStates(trace)).batches(number, workers, budget))


def flat(batches: list[list[CrashState]]) -> list[CrashState]:
    return [state for batch in batches for state in batch]


@pytest.mark.parametrize("promises", [2, 40], ids=["by images", "by promises"])
def test_each_state_goes_to_one_judge(promises: int) -> None:
    """Together, the judges have every state that one judge alone has, and share none."""
    trace = trace_of(promises)
    alone = flat(dealt(trace, 0, 1))
    shares = [flat(dealt(trace, number, 3)) for number in range(3)]
    assert sorted(map(str, alone)) == sorted(str(state) for share in shares for state in share)
    assert len(set(alone)) == len(alone)
    assert sum(bool(share) for share in shares) > 1


def test_states_after_neighbouring_promises_stay_together() -> None:
    """States after four neighbouring journal lines go to one judge, if there are enough promises: they share folders."""
    trace = trace_of(40)
    dealer = Dealer(trace, CrashStates(trace))
    judges: dict[int, int] = {}
    for number in range(3):
        for state in flat(dealt(trace, number, 3)):
            assert judges.setdefault(dealer.events(state.cut) // 4, number) == number


def test_the_budget_and_the_batches() -> None:
    """No more than the budget is dealt, in batches by cuts; and the first judge counts on what else there is."""
    trace = trace_of(40)
    batches = dealt(trace, 0, 1, BATCH + 50)
    assert [len(batch) for batch in batches] == [BATCH, 50, 0]
    assert all(batch == sorted(batch, key=lambda state: state.cut) for batch in batches)
    counted = {}
    for number, budget in [(0, 5), (1, 5), (0, 1)]:
        states = CrashStates(trace)
        list(Dealer(trace, states).batches(number, 2, budget))
        counted[number, budget] = states.coverage.enumerated
    assert counted[0, 5] > counted[0, 1] > counted[1, 5]  # The less is judged, the less is counted.


def test_events() -> None:
    """Journal lines are counted, hits are not, and lines from before the recording count too."""
    trace = trace_of(2)
    dealer = Dealer(trace, CrashStates(trace), lines_before=10)
    end = len(trace.operations)
    assert [dealer.events(cut) for cut in (0, trace.start + 1, trace.start + 2, end, end)] == [10, 11, 11, 14, 14]


def test_a_trace_without_operations() -> None:
    """No cut, no state but the end of it all: nothing breaks."""
    trace = synthetic_trace([])
    assert flat(dealt(trace, 1, 2)) == [] or flat(dealt(trace, 0, 2)) == []
