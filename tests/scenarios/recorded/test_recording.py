"""A recording: its account in the report, its journal, its promises; and what a recorded run looks like."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crashmatrix import Item, Journal, SystemUnderTest, UsageError
from crashmatrix.faults.disk import Note, load_trace
from crashmatrix.scenarios.campaign.plan import Plan
from crashmatrix.scenarios.campaign.workbench import workbench
from crashmatrix.scenarios.power.schedule import Recordings
from crashmatrix.scenarios.recorded.recording import (
    Recording,
    is_journal_line,
    journal_before,
    promises_before,
    trace_path,
)
from crashmatrix.scenarios.recorded.restarts import KillPoint
from tests.faults.disk.support import synthetic_trace

TOYS = "tests.scenarios.toy_systems"
NOTES = [b"attempt 0", b"hit put.done 1", b"ack 0", b"attempt 1"]


@pytest.mark.parametrize(
    ("killed", "of", "before"),
    [(None, None, ()), (KillPoint(3, 1), None, ()), (None, ("ext4~mixed~0", "5-none"), ("attempt 0", "ack 0"))],
)
def test_account(killed: KillPoint | None, of: tuple[str, str] | None, before: tuple[str, ...], tmp_path: Path) -> None:
    """A recording's account in `summary.json` is enough to look at its states again."""
    made = Recording("n", "ext4", "mixed", 7, tmp_path / "t", ([1, 2],), killed=killed, of=of, before=before)
    account = json.loads(json.dumps(made.account()))
    assert Recording.from_account(account, 7, tmp_path / "t") == made
    assert made.point == (f"{of[0]} recovery" if of else "n")


def test_the_journal_before_a_cut() -> None:
    """Lines are the notes that are no hits; promises count those from before the recording."""
    trace = synthetic_trace([Note(text) for text in NOTES])
    lines = [journal_before(trace, trace.start + after) for after in range(5)]
    assert lines == [
        [], [b"attempt 0"], [b"attempt 0"], [b"attempt 0", b"ack 0"], [b"attempt 0", b"ack 0", b"attempt 1"],
    ]  # fmt: skip
    assert [is_journal_line(note) for note in NOTES] == [True, False, True, True]
    recording = Recording("n", "ext4", "none", 0, Path("t"), (8,), before=("attempt 9", "ack 9"))
    promises = promises_before(trace, trace.start + 3, recording)
    assert promises.acknowledged == [8, 9, 0]
    assert promises_before(trace, 0, recording).acknowledged == [8, 9]


def test_trace_path(tmp_path: Path) -> None:
    """A recording's name with colons and slashes becomes a file in the folder."""
    assert trace_path(tmp_path, "ext4:data=journal~none~0/5-none").parent == tmp_path


def test_a_recorded_run(tmp_path: Path) -> None:
    """A recorded run has its journal lines as notes in the trace, and counts them, the changes and the flushes."""
    with workbench(Plan(target=f"{TOYS}:Synced", report=tmp_path / "report")) as (checker, _):
        recording = Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
        trace = load_trace(recording.trace)
    assert journal_before(trace, len(trace.operations))[:3] == [b"attempt 0", b"ack 0", b"attempt 1"]
    assert recording.events == len(journal_before(trace, len(trace.operations))) == 12
    assert recording.flushes >= 6
    assert recording.writes >= 12
    assert recording.identity == trace.identity
    assert recording.killed is None


class Named(SystemUnderTest):
    """Something is there at first, with an item that is not a JSON value."""

    contract = "exactly-once"

    def prepare(self, root: Path) -> list[Item]:
        (root / "data").touch()
        return [{1: "a"}]

    def workload(self, root: Path, journal: Journal) -> None:
        """Do nothing."""

    def recover(self, root: Path) -> list[Item]:
        return [{"1": "a"}]


def test_items_of_the_beginning_are_json_values(tmp_path: Path) -> None:
    """An item that would become another one in the recording is refused."""
    with (
        workbench(Plan(target=f"{__name__}:Named", report=tmp_path / "report")) as (checker, _),
        pytest.raises(
            UsageError, match=r"prepare must return a list of JSON values, not .*names of an object are strings"
        ),
    ):
        Recordings(checker.jobs, checker.target, checker.folder(), 0, []).record("posix", "none")
