"""A recorded run up to a power cut, event by event."""

from __future__ import annotations

import pytest

from crashmatrix.faults.disk import CrashState, Failure, Flush, Note, Operation, Tear, Write
from crashmatrix.faults.disk.trace.named import DATA, Named
from crashmatrix.faults.disk.trace.operations import Data, Mark, Size, Sync
from crashmatrix.reports import Event
from crashmatrix.scenarios.judging.words import EVENTS_MAX
from crashmatrix.scenarios.power.explain.timeline import timeline
from tests.faults.disk.support import synthetic_trace

SECTOR = b"x" * 512
EVENTS: list[tuple[Operation, Event]] = [
    (Mark("other"), Event(at=1, kind="note", text="other")),
    (Note(b"attempt 0"), Event(at=1, kind="attempt", text="0")),
    (Note(b"ack [1, 2]"), Event(at=1, kind="ack", text="[1, 2]")),
    (Note(b"hit put.done 3"), Event(at=1, kind="hit", text="put.done, hit 3", detail="store.py:7")),
    (Note(b"hit other 3"), Event(at=1, kind="hit", text="other, hit 3")),
    (Note(b"hello there"), Event(at=1, kind="note", text="hello there")),
    (Flush(), Event(at=1, kind="flush", text="everything written before is on the disk")),
    (Sync(2), Event(at=1, kind="flush", text="fsync of log")),
    (Failure("write", 0, 512, 5), Event(at=1, kind="note", text="the disk fails a write with errno 5")),
]


@pytest.mark.parametrize(("operation", "event"), EVENTS)
def test_events(operation: Operation, event: Event) -> None:
    """Each operation that says something is an event."""
    trace = synthetic_trace([operation])
    events = timeline(trace, CrashState(2, 0, (), 0), {}, {"put.done": "store.py:7"}, outcome="gone", synced={1: "log"})
    started, found, cut, recovered = events
    assert started.text == "the workload starts"
    assert found == event
    assert (cut.kind, recovered.kind, recovered.text) == ("cut", "recovered", "gone")


def test_the_journals_own_failpoints_are_left_out() -> None:
    """The line beside each hit says the same."""
    trace = synthetic_trace([Note(b"attempt 0"), Note(b"hit journal.after_attempt 1"), Note(b"hit put.done 1")])
    events = timeline(trace, CrashState(4, 0, (), 0), {}, {}, outcome="")
    assert [event.kind for event in events] == ["note", "attempt", "hit", "cut", "recovered"]


def test_what_became_of_the_writes() -> None:
    """Durable, kept, lost or torn; each named, or a change."""
    writes = [Write(512 * at, SECTOR * 2) for at in range(4)]
    trace = synthetic_trace([writes[0], Flush(), *writes[1:]])
    state = CrashState(6, 0b110, (Tear(2, 0, 1),), 3)
    names = {1: (Named(kind=DATA, path="log", now="log", start=0, stop=1024),)}
    found = [event for event in timeline(trace, state, names, {}, outcome="") if event.kind == "write"]
    assert [event.fate for event in found] == ["durable", "lost", "kept", "torn"]
    assert [event.text for event in found] == ["log, bytes 0 to 1,023", "a change", "a change", "a change"]
    assert found[1].detail == "sectors 1 to 2 of the disk"


@pytest.mark.parametrize(
    ("change", "detail"), [(Data(2, 0, b"x"), "1 sector"), (Data(2, 511, b"xx"), "2 sectors"), (Size(2, 1), "")]
)
def test_changes_of_a_tree(change: Operation, detail: str) -> None:
    """Changes of a tree have no place on a disk, but may tear between sectors."""
    trace = synthetic_trace([change], filesystem="posix")
    _, event, *_ = timeline(trace, CrashState(2, 1, (), 1), {}, {}, outcome="")
    assert (event.kind, event.detail) == ("write", detail)


def test_a_timeline_is_bounded() -> None:
    """A long recording's timeline shows the last events before the cut, and says that there were more."""
    trace = synthetic_trace([Note(b"ack %d" % number) for number in range(500)])
    events = timeline(trace, CrashState(400, 0, (), 0), {}, {}, outcome="nothing")
    assert len(events) == EVENTS_MAX + 3
    assert (events[0].kind, events[0].text) == ("note", "what came before is left out")
    assert [event.kind for event in events[-3:]] == ["ack", "cut", "recovered"]
