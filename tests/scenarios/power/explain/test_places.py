"""The place where the power failed, in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.faults.disk import Note
from crashmatrix.scenarios.power.explain.places import journal_lines, place_before, where
from crashmatrix.scenarios.recorded.recording import Recording
from tests.faults.disk.support import synthetic_trace

NOTES = [b"attempt 0", b"hit journal.after_attempt 1", b"hit put.done 1", b"ack 0", b"hit journal.after_ack 1"]
DECLARED = {"put.done": "store.py:7"}
PUT = "hit 1 of failpoint put.done (store.py:7)"


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        (0, (), "before line 1 (attempt 0)"),
        (1, (), f"after line 1 of the journal (attempt 0) and before {PUT}"),
        (2, (), f"after line 1 of the journal (attempt 0) and before {PUT}"),
        (3, (), f"after line 1 of the journal (attempt 0), after {PUT} and before line 2 (ack 0)"),
        (4, (), f"after line 2 of the journal (ack 0) and after {PUT}"),
        (5, (), f"after line 2 of the journal (ack 0) and after {PUT}"),
        (0, ("attempt 9",), "after line 1 of the journal (attempt 9) and before line 2 (attempt 0)"),
        (4, ("attempt 9",), f"after line 3 of the journal (ack 0) and after {PUT}"),
    ],
)
def test_where(after: int, before: tuple[str, ...], expected: str) -> None:
    """Lines are counted from the journal's first, the journal's own failpoints are left out."""
    trace = synthetic_trace([Note(text) for text in NOTES])
    recording = Recording("name", "ext4", "none", 0, Path("trace"), before=before)
    cut = trace.start + after
    assert where(trace, cut, recording, DECLARED) == f"The power failed {expected}."
    assert len(journal_lines(trace, cut, recording)) == len(before) + sum(
        not n.startswith(b"hit") for n in NOTES[:after]
    )


def test_where_nothing_is_known() -> None:
    """A recording without a note: before the journal's first line."""
    trace = synthetic_trace([])
    recording = Recording("name", "ext4", "none", 0, Path("trace"))
    assert where(trace, trace.start, recording, {}) == "The power failed before the first line of the journal."


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ([b"hit put.done 1"], PUT),
        ([b"hit other 2"], "hit 2 of failpoint other"),
        ([b"hit workload.killed 1"], "the kill of the process"),
        ([b"hit workload.killed 1", b"hit workload.resumed 1"], "the system was resumed"),
        ([b"hit other 2", b"ack 0"], "the journal line ack 0"),
        ([b"attempt 0", b"hit journal.after_attempt 1"], "the journal line attempt 0"),
        ([b"hit journal.after_attempt 1"], ""),
        ([], ""),
    ],
)
def test_place_before(notes: list[bytes], expected: str) -> None:
    """A failpoint with its place, if it is known; a line of the journal as it is, whose own failpoints are left out."""
    trace = synthetic_trace([Note(text) for text in notes])
    assert place_before(trace, trace.start + len(notes), DECLARED) == expected
