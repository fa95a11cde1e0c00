"""Crash states: those that are enumerated, their order, and their count. Needs no disk."""

import pytest

from crashmatrix.faults.disk import (
    CrashState,
    CrashStates,
    Flush,
    InvalidOption,
    Note,
    StateOptions,
    Trace,
    Write,
)
from tests.faults.disk.support import random_trace, synthetic_trace


def test_enumeration_is_deterministic_and_restarts() -> None:
    trace = random_trace(3)
    states = CrashStates(trace, StateOptions(seed=5))
    first = list(states)
    assert list(states) == first == list(CrashStates(trace, StateOptions(seed=5)))
    assert set(first) != set(CrashStates(trace, StateOptions(seed=6)))


def test_every_subset_of_a_small_epoch_is_found_and_none_twice() -> None:
    """Three pending writes have eight subsets: all are given, each once."""
    trace = synthetic_trace([Write(512 * i, b"%d" % i * 512) for i in range(3)])
    states = list(CrashStates(trace, StateOptions(random_subsets=100)))
    assert sorted(state.kept for state in states) == list(range(8))


def test_small_budgets_see_every_kind_of_state_and_soon_every_cut() -> None:
    """The states `all` and `none` of all cuts are half of the sequence until they run out; torn writes come among them."""
    trace = random_trace(4, length=120)
    states = CrashStates(trace)
    order = list(states)
    seen = {states.digests.of(state) for state in order[: 4 * len(states.cuts)]}
    for cut in states.cuts:
        size = len(cut.pending)
        extremes = [CrashState(cut.position, kept, (), size) for kept in (0, (1 << size) - 1)]
        assert {states.digests.of(state) for state in extremes} <= seen
    few = order[:40]
    extreme = [not s.tears and s.kept in (0, (1 << s.pending) - 1) for s in few]
    assert 10 <= sum(extreme) <= 30
    assert sum(bool(s.tears) for s in few) >= 3


def test_cuts_stand_before_flushes_after_notes_and_inside_long_stretches() -> None:
    write = Write(0, bytes(512))
    trace = synthetic_trace([write, Flush(), Flush(), Note(b"a"), write, Note(b"b"), write])
    assert [(cut.position, cut.notes, len(cut.pending)) for cut in CrashStates(trace).cuts] == [
        (2, 0, 1),
        (5, 1, 0),
        (7, 2, 1),
        (8, 2, 2),
    ]
    long = synthetic_trace([write] * 200)
    assert 5 < len(CrashStates(long).cuts) < 60


def test_nothing_outside_the_marks_is_cut() -> None:
    trace = random_trace(5)
    later = Trace(
        filesystem="ext4",
        size_bytes=trace.size_bytes,
        base=trace.base,
        operations=(*trace.operations, Write(0, b"l" * 512), Flush(), Write(512, b"l" * 512)),
    )
    assert [str(s) for s in CrashStates(later)] == [str(s) for s in CrashStates(trace)]
    assert CrashStates(later).clean.cut == len(later.operations)


def test_an_image_is_given_again_when_more_was_promised() -> None:
    """An image is given again once another note was made: more is promised then."""
    trace = synthetic_trace([Write(0, b"x" * 512), Note(b"a"), Note(b"b")])
    assert [(s.cut, s.kept) for s in sorted(CrashStates(trace), key=str)] == [(3, 1), (3, 0), (4, 1), (4, 0)]


def test_tears_respect_what_the_disk_writes_whole() -> None:
    trace = synthetic_trace([Write(0, bytes(range(256)) * 64)], filesystem="btrfs")
    tears = [tear for state in CrashStates(trace) for tear in state.tears]
    assert tears
    assert all(tear.first % 8 == 0 and tear.count % 8 == 0 for tear in tears)
    fine = [t for s in CrashStates(trace, StateOptions(atomic_bytes=512, torn_per_write=30)) for t in s.tears]
    assert any(tear.first % 8 or tear.count % 8 for tear in fine)
    with pytest.raises(InvalidOption):
        CrashStates(trace, StateOptions(atomic_bytes=100))


def test_coverage_counts() -> None:
    trace = synthetic_trace([Write(512 * i, b"%d" % (i % 10) * 512) for i in range(10)])
    states = CrashStates(trace, StateOptions(stretch_writes=100))
    found = list(states)
    coverage = states.coverage
    assert (coverage.cuts, coverage.pending_most, coverage.possible_log2) == (1, 10, 10.0)
    assert coverage.distinct == len(found) <= coverage.enumerated
    assert CrashStates(synthetic_trace([Write(0, b"x" * 512)] * 5000)).coverage.possible_log2 > 4990
