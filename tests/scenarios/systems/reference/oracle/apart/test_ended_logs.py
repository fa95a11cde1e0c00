"""Logs that have ended refuse calls, and let nobody sleep; a log that does not is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal.errors import EngineClosed, UnknownTable
from crashmatrix.reference_wal.log import segmented_log, table_logs
from crashmatrix.reference_wal.log.append_queue import AppendQueue
from crashmatrix.reference_wal.log.replay import SegmentGone, replay_segment
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart import ended_logs
from crashmatrix.scenarios.systems.reference.oracle.apart.ended_logs import judge_ended_logs, raises
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import contents


def test_the_log_keeps_its_promise() -> None:
    """Each call raises what its documentation says."""
    judge_ended_logs()


def test_raises() -> None:
    """Exactly this kind of error, neither another one nor none."""

    def refuse() -> None:
        raise UnknownTable("t", [])

    assert isinstance(raises(UnknownTable, refuse, "a call"), UnknownTable)
    with pytest.raises(PromiseBroken, match="a call raised UnknownTable, not EngineClosed"):
        raises(EngineClosed, refuse, "a call")
    with pytest.raises(PromiseBroken, match="a call raised nothing, where UnknownTable is due"):
        raises(UnknownTable, lambda: None, "a call")


def test_contents(tmp_path: Path) -> None:
    """Files in folders, too."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"x")
    assert contents(tmp_path) == {"a/b": b"x"}


def silent(folder: Path, start: int, end_bytes: int | None) -> Iterator[Any]:
    with suppress(SegmentGone):
        yield from replay_segment(folder, start, end_bytes)


create, close = WriteAheadLog.create_table_log, SegmentedLog.close


def from_any_id(self: WriteAheadLog, table: str, schema: pa.Schema, *, identity: str = "", next_id: int = 0) -> None:
    create(self, table, schema, identity=identity, next_id=max(0, next_id))


def not_let_go(self: SegmentedLog, *, note_end: bool = True, removed: bool = False) -> None:
    self._closed, self._removed = True, removed


def given_out(self: table_logs.NoLog, _: pa.RecordBatch) -> int:
    self.next_id += 1
    return self.next_id - 1


def forgotten(self: AppendQueue) -> None:
    self._waiting.clear()


BUGS: dict[str, tuple[object, str, object, str]] = {
    "closed": (SegmentedLog, "_refuse_if_closed", lambda _: None, "on a log that was closed raised"),
    "removed": (SegmentedLog, "_removed", property(lambda _: False, lambda *_: None), "errors of appends that waited"),
    "poisoned": (SegmentedLog, "refuse_if_poisoned", lambda _: None, "errors of appends|after an interrupt"),
    "asleep": (AppendQueue, "clear", forgotten, "an append sleeps on"),
    "gone": (segmented_log, "replay_segment", silent, "without a segment raised LogCorrupted, not EngineClosed"),
    "negative": (WriteAheadLog, "create_table_log", from_any_id, "a log from id -1 on raised nothing"),
    "held": (SegmentedLog, "close", not_let_go, "still holds|raised nothing"),
    "without a log": (table_logs.NoLog, "append", given_out, "a table that was dropped raised nothing"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_calls_that_go_on(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that should be refused, a caller that sleeps, a file that is held."""
    where, name, planted, match = BUGS[bug]
    monkeypatch.setattr(ended_logs, "_STUCK_SECONDS", 0.3)
    monkeypatch.setattr(where, name, planted, raising=name != "_removed")
    with pytest.raises(PromiseBroken, match=match):
        judge_ended_logs()
