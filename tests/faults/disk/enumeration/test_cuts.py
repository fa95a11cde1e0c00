"""Cuts: one for each stretch in which more of the disk may be left at its end than before."""

import pytest

from crashmatrix.faults.disk import Flush, Note, Operation, Write
from crashmatrix.faults.disk.enumeration.cuts import cuts_of
from tests.faults.disk.support import synthetic_trace

WRITE, FLUSH = Write(0, b"w" * 512), Flush()
PROMISE, HIT = Note(b"ack 1"), Note(b"hit put.done 7")


@pytest.mark.parametrize(
    ("operations", "cuts"),
    [
        ([], [(1, 1, 0, 0)]),
        ([WRITE], [(1, 2, 1, 0)]),
        ([WRITE, WRITE], [(1, 3, 2, 0)]),
        ([WRITE, FLUSH], [(1, 2, 1, 0)]),
        ([WRITE, FLUSH, FLUSH, WRITE], [(1, 2, 1, 0), (4, 5, 1, 0)]),
        ([WRITE, HIT, WRITE], [(1, 4, 2, 0)]),
        ([WRITE, PROMISE, WRITE], [(1, 2, 1, 0), (3, 4, 2, 1)]),
        ([PROMISE, PROMISE], [(1, 1, 0, 0), (2, 2, 0, 1), (3, 3, 0, 2)]),
        ([PROMISE, FLUSH, FLUSH], [(1, 1, 0, 0), (2, 2, 0, 1)]),
        ([WRITE, FLUSH, PROMISE], [(1, 2, 1, 0), (4, 4, 0, 1)]),
    ],
)
def test_cuts(operations: list[Operation], cuts: list[tuple[int, int, int, int]]) -> None:
    """A sync and a promise end a stretch. One that adds neither a change nor a promise has no cut."""
    trace = synthetic_trace(operations)
    found = cuts_of(trace, 0, lambda note: note.startswith(b"ack"))
    assert [(cut.first, cut.position, len(cut.pending), cut.notes) for cut in found] == cuts


def test_power_fails_from_the_first_cut_on() -> None:
    """Promises made before the first cut count; changes before it are pending."""
    trace = synthetic_trace([WRITE, PROMISE, WRITE, PROMISE, WRITE])
    found = list(cuts_of(trace, 4, lambda _: True))
    assert [(cut.first, cut.position, len(cut.pending), cut.notes) for cut in found] == [(4, 4, 2, 1), (5, 6, 3, 2)]


def test_sorts() -> None:
    """A sort is the latest promise's first word and the names of other notes since the last sync, whatever their numbers."""
    hits: list[Operation] = [Note(b"hit put.begun 3"), WRITE, Note(b"hit put.done 4")]
    trace = synthetic_trace([PROMISE, *hits, FLUSH, *hits, PROMISE, WRITE])
    sorts = [cut.sort for cut in cuts_of(trace, 0, lambda note: note.startswith(b"ack"))]
    names = frozenset([b"hit put.begun ", b"hit put.done "])
    assert sorts == [(b"", frozenset()), (b"ack", names), (b"ack", names), (b"ack", names)]
