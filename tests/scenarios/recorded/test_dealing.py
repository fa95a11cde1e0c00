"""States are dealt out among judges: each to one judge, no more than requested, in an order independent of other judges."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from crashmatrix.faults.disk import CrashState, CrashStates, Flush, Note, Operation, Trace, Write
from crashmatrix.faults.disk.state import StateNames
from crashmatrix.scenarios.recorded.dealing import BATCH, Dealer
from crashmatrix.scenarios.recorded.prediction import MOUNTED_EACH, Prediction
from crashmatrix.scenarios.recorded.recording import is_journal_line
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


class ByKept:
    """Outcomes by which states that keep the same changes whole become the same folder."""

    def of(self, state: CrashState, /) -> int:
        return 0 if state.kept.bit_count() % 2 else 1


def dealer(trace: Trace, outcomes: StateNames | None = None) -> Dealer:
    states = CrashStates(trace, is_promise=is_journal_line)
    return Dealer(trace, states, prediction=Prediction(outcomes) if outcomes else None)


def flat(batches: Iterable[list[CrashState]]) -> list[CrashState]:
    return [state for batch in batches for state in batch]


@pytest.mark.parametrize("promises", [2, 40], ids=["by outcomes", "by promises"])
def test_each_state_goes_to_one_judge(promises: int) -> None:
    """Together, the judges have every state that one judge alone has, and share none."""
    trace = trace_of(promises)
    alone, shares = dealer(trace), [dealer(trace) for _ in range(3)]
    dealt = [flat(each.batches(number, 3, BUDGET)) for number, each in enumerate(shares)]
    assert sorted(map(str, flat(alone.batches(0, 1, BUDGET)))) == sorted(
        str(state) for share in dealt for state in share
    )
    assert sum(map(len, dealt)) == len(set(flat(dealt)))
    assert sum(bool(share) for share in dealt) > 1
    assert all(each.complete for each in (alone, *shares))


def test_names_of_outcomes_do_not_decide_who_judges_them() -> None:
    """A name may hold a time, which is another one in each recording: who judges a state, and so which are judged, must not."""

    class Named:
        def __init__(self, salt: int) -> None:
            self.salt, self.digests = salt, CrashStates(trace).digests

        def of(self, state: CrashState, /) -> int:
            return hash((self.salt, self.digests.of(state)))

    trace = trace_of(2)
    one, other = ([flat(dealer(trace, Named(salt)).batches(number, 2, 8)) for number in range(2)] for salt in range(2))
    assert one == other
    assert all(one)


def test_states_after_neighbouring_promises_stay_together() -> None:
    """States after four neighbouring journal lines go to one judge, if there are enough promises: they share folders."""
    trace = trace_of(40)
    judges: dict[int, int] = {}
    for number in range(3):
        one = dealer(trace)
        for state in flat(one.batches(number, 3, BUDGET)):
            assert judges.setdefault(one.events(state.cut) // 4, number) == number


def test_the_budget_and_the_batches() -> None:
    """No more than the budget is dealt, in batches by cuts, small ones first; the first judge counts on what else there is."""
    trace = trace_of(40, writes=6)
    one = dealer(trace)
    batches = list(one.batches(0, 1, BATCH + 50))
    assert (sum(map(len, batches)), one.outcomes, one.complete) == (BATCH + 50, BATCH + 50, False)
    assert len(batches[0]) < 30 < max(map(len, batches)) <= BATCH
    assert all(batch == sorted(batch, key=lambda state: state.cut) for batch in batches)
    counted = {}
    for number, budget in [(0, 5), (1, 5), (0, 1)]:
        states = CrashStates(trace)
        list(Dealer(trace, states).batches(number, 2, budget))
        counted[number, budget] = states.coverage.enumerated
    assert counted[0, 5] > counted[0, 1] > counted[1, 5]  # The less is judged, the less is counted.


def test_an_outcome_counts_once_after_the_same_promises() -> None:
    """States predicted to become a folder that was dealt do not count; a few of them are dealt to check that."""
    trace = trace_of(20, writes=6)
    one = dealer(trace, ByKept())
    dealt = flat(one.batches(0, 1, BUDGET))
    cases = {(one.events(state.cut), state.kept.bit_count() % 2) for state in dealt}
    assert one.outcomes == len(dealt) - len(one.again) == len(cases)
    assert one.complete
    enumerated = len(list(CrashStates(trace, is_promise=is_journal_line)))
    assert 0 < len(one.again) <= (enumerated - one.outcomes) // MOUNTED_EACH
    assert len(one.again) <= 1 + one.outcomes // 8


def test_a_budget_that_runs_out_in_the_last_batch() -> None:
    """All states of a short trace are looked at together: its outcomes are complete only if the budget sufficed for all."""
    trace = trace_of(2, writes=1)
    everything = flat(dealer(trace).batches(0, 1, BUDGET))
    for budget, complete in ((len(everything) - 1, False), (len(everything), True), (BUDGET, True)):
        one = dealer(trace)
        assert len(flat(one.batches(0, 1, budget))) == min(budget, len(everything)) < 25
        assert one.complete is complete


def test_outcomes_that_turn_out_to_be_known_cost_nothing() -> None:
    """As many more are dealt as were found, once mounted, to repeat what an earlier recording had."""
    one, found = dealer(trace_of(40, writes=6)), 0
    for batch in one.batches(0, 1, 100):
        repeats = sum(state.cut % 2 for state in batch)
        one.free += repeats
        found += len(batch) - repeats
    assert one.outcomes == one.free + 100 == found + one.free


@pytest.mark.parametrize("budget", [1, 5, 20, 100])
@pytest.mark.parametrize("known", [0, 1, 2, 3])
def test_nothing_is_left_out_without_a_word(budget: int, known: int) -> None:
    """Everything is dealt, though much of a batch turns out to be known, or the end says that it was not."""
    everything = dealer(trace_of(2))
    every = set(flat(everything.batches(0, 1, BUDGET)))
    assert everything.complete
    one, dealt = dealer(trace_of(2)), set[CrashState]()
    for batch in one.batches(0, 1, budget):
        dealt |= set(batch)
        one.free += sum(known > state.cut % 3 for state in batch)
    assert one.complete == (every <= dealt)
    assert one.outcomes - one.free <= budget


def test_once_a_prediction_was_wrong_every_state_is_dealt() -> None:
    trace = trace_of(20, writes=6)
    prediction = Prediction(ByKept())
    one = Dealer(trace, CrashStates(trace, is_promise=is_journal_line), prediction=prediction)
    batches = one.batches(0, 1, BUDGET)
    first = next(batches)
    prediction.holds = False
    assert len(first) < 25 == len(next(batches)) // 2


def test_events() -> None:
    """Journal lines are counted, hits are not, and lines from before the recording count too."""
    trace = trace_of(2)
    one = Dealer(trace, CrashStates(trace), lines_before=10)
    end = len(trace.operations)
    assert [one.events(cut) for cut in (0, trace.start + 1, trace.start + 2, end, end)] == [10, 11, 11, 14, 14]


def test_a_trace_without_operations() -> None:
    """No change, no state but that at the start: nothing breaks."""
    trace = synthetic_trace([])
    assert sum(len(flat(dealer(trace).batches(number, 2, BUDGET))) for number in range(2)) == 1
