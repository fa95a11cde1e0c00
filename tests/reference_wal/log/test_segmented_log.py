"""The log of one table: ids, rotation, retirement, and the state after a refused write or sync."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import AppendFailed, EngineClosed, InvalidInput, LogCorrupted, LogPoisoned
from crashmatrix.reference_wal.log.end import END
from crashmatrix.reference_wal.log.segment_writer import SegmentWriter
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from tests.reference_wal.log.logs import LARGE, closing, create, fill, ids, names, reopen
from tests.reference_wal.support import SCHEMA, batch, contents, encode, numbers


def test_ids_continue_over_rotations_and_restarts(tmp_path: Path) -> None:
    """Ids count up from 0 without a gap, whatever is closed and reopened in between."""
    log = create(tmp_path, segment_bytes_max=1)
    for restart in range(4):
        fill(log, 3)
        assert ids(log) == list(range(3 * (restart + 1)))
        log = reopen(log)
        assert ids(log) == list(range(3 * (restart + 1)))
    log.close()


def test_an_append_is_on_disk_when_it_returns(tmp_path: Path) -> None:
    """Once append returns, the batch is in the file: another reader finds it while the log is open."""
    with closing(create(tmp_path)) as log:
        for number in range(3):
            fill(log, 1)
            with (log.folder / "0-.arrows").open("rb") as file:
                assert numbers(pa.ipc.open_stream(file).read_all()) == [float(i) for i in range(number + 1)]


def test_the_record_is_synced_before_the_id_is_returned(tmp_path: Path) -> None:
    """Write, sync, acknowledge: the failpoints of an append are passed in this order, once each."""
    seen: list[str] = []
    with closing(create(tmp_path)) as log:
        faults.observe(lambda point, _: seen.append(point.name))
        try:
            fill(log, 1)
        finally:
            faults.observe(None)
    steps = ["before_write", "after_write", "before_sync", "after_sync", "before_acknowledge"]
    assert seen == [f"wal.append.{step}" for step in steps]


@pytest.mark.parametrize("per_segment", [1, 2, 5])
def test_rotation_by_size(per_segment: int, tmp_path: Path) -> None:
    """A segment that has reached its size is closed by the next append, not before."""
    _, ends = encode([batch(float(i)) for i in range(per_segment)], identity="0" * 32)
    with closing(create(tmp_path, segment_bytes_max=ends[per_segment])) as log:
        fill(log, per_segment)
        assert names(log) == ["0-.arrows"]
        fill(log, 1)
        assert names(log) == [f"0-{per_segment - 1}.arrows", f"{per_segment}-.arrows"]
        fill(log, per_segment)
        assert names(log)[1:] == [f"{per_segment}-{2 * per_segment - 1}.arrows", f"{2 * per_segment}-.arrows"]


def test_a_segment_never_stays_empty(tmp_path: Path) -> None:
    """Each segment takes a batch before it is closed, however small its size limit; a large batch fits in one segment."""
    with closing(create(tmp_path, segment_bytes_max=1)) as log:
        fill(log, 2)
        assert log.append(batch(*range(5000))) == 2
        assert names(log) == ["0-0.arrows", "1-1.arrows", "2-.arrows"]


def test_the_size_may_change_at_any_time(tmp_path: Path) -> None:
    """``segment_bytes_max`` is read at each append."""
    with closing(create(tmp_path)) as log:
        fill(log, 3)
        assert names(log) == ["0-.arrows"]
        log.segment_bytes_max = 1
        fill(log, 2)
        assert names(log) == ["0-2.arrows", "3-3.arrows", "4-.arrows"]
        log.segment_bytes_max = LARGE
        fill(log, 3)
        assert names(log) == ["0-2.arrows", "3-3.arrows", "4-.arrows"]
        assert ids(log) == list(range(8))


RETIREMENTS = [
    ([], ["0-1.arrows", "2-3.arrows", "4-.arrows"]),
    ([0], ["0-1.arrows", "2-3.arrows", "4-.arrows"]),
    ([0, 1], ["2-3.arrows", "4-.arrows"]),
    ([1, 2], ["0-1.arrows", "2-3.arrows", "4-.arrows"]),
    ([2, 3], ["0-1.arrows", "4-.arrows"]),
    ([0, 1, 2], ["2-3.arrows", "4-.arrows"]),
    ([0, 1, 2, 3, 4], ["4-.arrows"]),
]


def six(root: Path) -> SegmentedLog:
    """Return a log of the segments 0-1, 2-3 and 4- with one batch."""
    log = create(root)
    fill(log, 2)
    log.rotate()
    fill(log, 2)
    log.rotate()
    fill(log, 1)
    return log


def test_an_empty_segment_is_not_rotated(tmp_path: Path) -> None:
    """Rotating twice in a row closes one segment; what is appended then comes back."""
    with closing(six(tmp_path)) as log:
        log.rotate()
        log.rotate()
        fill(log, 1)
        assert names(log) == ["0-1.arrows", "2-3.arrows", "4-4.arrows", "5-.arrows"]
        assert [number for number, _ in log.unpersisted()] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("persisted", "left"), RETIREMENTS)
@pytest.mark.parametrize("at_once", [True, False])
def test_retirement(persisted: list[int], left: list[str], at_once: bool, tmp_path: Path) -> None:
    """A segment goes when each of its batches is persisted and it is closed, in whatever steps that is said."""
    with closing(six(tmp_path)) as log:
        for part in [persisted] if at_once else [[batch_id] for batch_id in persisted]:
            log.mark_persisted(iter(part))
        assert names(log) == left
        assert ids(log) == [batch_id for batch_id in range(5) if batch_id not in persisted]
        log.mark_persisted(persisted)
        assert names(log) == left


@pytest.mark.parametrize("unknown", [[5], [-1], [0, 99]])
def test_ids_never_given_out_cannot_be_persisted(unknown: list[int], tmp_path: Path) -> None:
    """Persisting a batch that was never appended is refused, and nothing is retired."""
    with closing(six(tmp_path)) as log:
        with pytest.raises(InvalidInput, match="never appended"):
            log.mark_persisted(unknown)
        assert ids(log) == [0, 1, 2, 3, 4]
        assert len(names(log)) == 3


def test_ids_never_repeat(tmp_path: Path) -> None:
    """After everything was persisted and retired, and again after restarts, ids go on where they were."""
    log = create(tmp_path, segment_bytes_max=1)
    for expected in (3, 6, 9):
        fill(log, 3)
        log.mark_persisted(range(log.next_id))
        log = reopen(log, persisted_through=expected - 1)
        assert (ids(log), log.next_id) == ([], expected)
        log = reopen(log, persisted_through=expected - 1)
        assert names(log) == [f"{expected}-.arrows"]
    log.close()


def test_what_is_persisted_is_forgotten_by_the_log_but_not_repeated(tmp_path: Path) -> None:
    """Reopening with the marker returns exactly the batches above it, though the segments hold others."""
    log = six(tmp_path)
    for marker in range(-1, 5):
        log = reopen(log, persisted_through=marker)
        assert ids(log) == list(range(marker + 1, 5))
    log.close()


def test_all_retired_while_it_is_read(tmp_path: Path) -> None:
    """A reader that finds its next segments gone ends, if each of their batches is persisted: nothing is missing."""
    with closing(six(tmp_path)) as log:
        reading = log.unpersisted()
        assert next(reading)[0] == 0
        log.rotate()
        log.mark_persisted(range(5))
        assert names(log) == ["5-.arrows"]
        assert list(reading) == []


def test_one_retired_while_it_is_read(tmp_path: Path) -> None:
    """A reader goes on behind a segment that is gone, if its own batches are persisted, whatever the others are."""
    with closing(six(tmp_path)) as log:
        reading = log.unpersisted()
        assert next(reading)[0] == 0
        log.mark_persisted([2, 3])
        assert names(log) == ["0-1.arrows", "4-.arrows"]
        assert [batch_id for batch_id, _ in reading] == [1, 4]


def test_truncate(tmp_path: Path) -> None:
    """Truncating drops every batch and its space; ids go on, also after a restart."""
    log = six(tmp_path)
    log.truncate()
    assert (ids(log), names(log), log.next_id) == ([], ["5-.arrows"], 5)
    log.truncate()
    fill(log, 1)
    log = reopen(log, persisted_through=4)
    assert (ids(log), log.next_id) == ([5], 6)
    log.close()


REFUSED_BATCHES = {
    "fewer columns": batch(1.0).select(["timestamp"]),
    "another type": pa.record_batch(
        [batch(1.0)["timestamp"], batch(1.0)["station"], pa.array([1])], names=SCHEMA.names
    ),
    "another name": batch(1.0).rename_columns(["timestamp", "station", "other"]),
    "another order": batch(1.0).select(["station", "timestamp", "value"]),
}


@pytest.mark.parametrize("rows", REFUSED_BATCHES.values(), ids=REFUSED_BATCHES)
def test_other_schemas_are_refused(rows: pa.RecordBatch, tmp_path: Path) -> None:
    """A batch of another schema is refused, and the log goes on unchanged."""
    with closing(create(tmp_path)) as log:
        before = contents(log.folder)
        with pytest.raises(InvalidInput, match="schema"):
            log.append(rows)
        assert contents(log.folder) == before
        fill(log, 1)


def test_nulls_are_refused_where_the_schema_allows_none(tmp_path: Path) -> None:
    """A null that no Parquet file could hold is refused before it is promised."""
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), pa.field("y", pa.int64())])
    with closing(create(tmp_path, schema=schema)) as log:
        with pytest.raises(InvalidInput, match="'x' of table 't' takes no nulls"):
            log.append(pa.record_batch([pa.array([None], pa.int64()), pa.array([1])], schema=schema))
        assert log.append(pa.record_batch([pa.array([1]), pa.array([None], pa.int64())], schema=schema)) == 0


def test_another_metadata_is_the_same_schema(tmp_path: Path) -> None:
    """Metadata on a batch is neither refused nor stored: the table's own counts."""
    log = create(tmp_path)
    log.append(batch(0.0, schema=SCHEMA.with_metadata({"k": "v"})))
    log = reopen(log)
    assert ids(log) == [0]
    assert [rows.schema.metadata for _, rows in log.unpersisted()] == [None]
    log.close()


def test_closed(tmp_path: Path) -> None:
    """A closed log takes no more; closing twice is harmless."""
    log = create(tmp_path)
    log.close()
    log.close()
    for call in (lambda: log.append(batch(1.0)), log.truncate):
        with pytest.raises(EngineClosed):
            call()


@pytest.mark.parametrize("poisoned", [False, True])
@pytest.mark.parametrize("remember", [False, True])
def test_a_closed_log_takes_no_marks(remember: bool, poisoned: bool, tmp_path: Path) -> None:
    """Marks are refused, and no segment is removed: the folder may be in other hands by now."""
    log = six(tmp_path)
    if poisoned:
        with faults.scenario("wal.append.before_write=raise(EIO)"), pytest.raises(AppendFailed):
            log.append(batch(5.0))
    log.close()
    before = contents(log.folder)
    with pytest.raises(EngineClosed):
        log.mark_persisted(range(5), remember=remember)
    assert contents(log.folder) == before and log.persisted == []


def test_a_segment_gone_after_closing(tmp_path: Path) -> None:
    """A reader that goes on after the log was closed learns so if a segment is gone: nothing is damaged."""
    log = six(tmp_path)
    reading = log.unpersisted()
    assert next(reading)[0] == 0
    log.close()
    assert next(reading)[0] == 1
    (log.folder / "2-3.arrows").unlink()
    with pytest.raises(EngineClosed):
        next(reading)


def test_closing_keeps_others_from_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is let go of while no other thread can be writing to it."""
    log, others_turn, let_go = create(tmp_path), threading.Event(), SegmentWriter.close

    def other() -> None:
        with log.quiet():
            others_turn.set()

    def close(writer: SegmentWriter) -> None:
        threading.Thread(target=other).start()
        assert not others_turn.wait(0.1)
        let_go(writer)

    monkeypatch.setattr(SegmentWriter, "close", close)
    log.close()
    assert others_turn.wait(60)


@pytest.mark.parametrize("marked", [[], [0], [0, 1], [2], [0, 2]])
@pytest.mark.parametrize("active", [False, True])
def test_a_segment_that_vanishes(active: bool, marked: list[int], tmp_path: Path) -> None:
    """Its batches are not left out in silence, whichever of them are persisted."""
    with closing(create(tmp_path)) as log:
        fill(log, 3)
        if not active:
            log.rotate()
            fill(log, 1)
        log.mark_persisted(marked)
        next(log.folder.glob("0-*.arrows")).unlink()
        with pytest.raises(LogCorrupted, match="begins at batch 0 is gone"):
            ids(log)


@pytest.mark.parametrize("cut", [True, False])
@pytest.mark.parametrize("active", [True, False])
@pytest.mark.parametrize("kept", range(3))
def test_records_that_vanish(kept: int, active: bool, cut: bool, tmp_path: Path) -> None:
    """A segment that ends too early, by the end of the file or by zeros, is damaged: no acknowledged batch is left out."""
    with closing(create(tmp_path)) as log:
        fill(log, 3)
        ends = encode([batch(float(number)) for number in range(3)], identity=log.identity)[1]
        if not active:
            log.rotate()
            fill(log, 1)
        path = next(log.folder.glob("0-*.arrows"))
        size = path.stat().st_size
        os.truncate(path, ends[kept])
        os.truncate(path, ends[kept] if cut else size)
        reading = log.unpersisted()
        assert [next(reading)[0] for _ in range(kept)] == list(range(kept))
        with pytest.raises(LogCorrupted, match=f"begins at batch 0 ends before batch {kept}"):
            next(reading)


def test_closed_twice(tmp_path: Path) -> None:
    """A log that is closed changes nothing more in its folder, which may be another log's by then, or gone."""
    log = create(tmp_path)
    fill(log, 1)
    log.close()
    assert (log.folder / END).exists()
    (log.folder / END).unlink()
    log.close()
    assert sorted(contents(log.folder)) == ["0-.arrows"]


def test_truncating_keeps_others_from_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No batch can come between the ids that truncation looks at and their marks, which would drop it."""
    log, others_turn, marks = create(tmp_path), threading.Event(), SegmentedLog.mark_persisted

    def other() -> None:
        with log.quiet():
            others_turn.set()

    def mark(self: SegmentedLog, *arguments: Any, **options: Any) -> None:
        threading.Thread(target=other).start()
        assert not others_turn.wait(0.1)
        marks(self, *arguments, **options)

    with closing(log):
        fill(log, 2)
        monkeypatch.setattr(SegmentedLog, "mark_persisted", mark)
        log.truncate()
        assert others_turn.wait(60)
        assert ids(log) == []


def test_errors_that_are_not_the_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who meets another error while the log is changed gets it as it is; the log is poisoned all the same."""

    def fail(_: object) -> None:
        raise MemoryError

    calls: dict[str, Callable[[SegmentedLog], object]] = {
        "append": lambda log: log.append(batch(1.0)),
        "truncate": lambda log: log.truncate(),
        "rotate": lambda log: log.rotate(),
    }
    for name, call in calls.items():
        (tmp_path / name).mkdir()
        with closing(create(tmp_path / name)) as log:
            fill(log, 1)
            log.segment_bytes_max = 1
            with monkeypatch.context() as patch, pytest.raises(MemoryError):
                patch.setattr(SegmentWriter, "finish", fail)
                call(log)
            with pytest.raises(LogPoisoned):
                log.append(batch(1.0))
            assert ids(log) == [0]


# --- a disk that refuses

APPEND = [f"wal.append.{point}" for point in ("before_write", "after_write", "before_sync")]
ROTATE = [
    f"wal.{point}"
    for point in (
        "rotate.before_rename",
        "rotate.after_rename",
        "rotate.before_sync",
        "rotate.after_sync",
        "segment.before_write",
        "segment.after_write",
        "segment.before_sync",
        "segment.after_sync",
        "segment.before_rename",
        "segment.after_rename",
        "segment.before_sync_folder",
        "segment.after_sync_folder",
    )
]


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("point", [*APPEND, *ROTATE])
def test_a_refused_step_poisons(point: str, fault: str, tmp_path: Path) -> None:
    """After a failed write or sync nothing is taken until reopened; what was acknowledged stays readable, and the
    failed batch is there wholly or not at all.
    """
    log = create(tmp_path)
    fill(log, 3)
    log.segment_bytes_max = 1 if point in ROTATE else LARGE

    with faults.scenario(f"{point}=raise({fault})"), pytest.raises(AppendFailed, match="reopen the log") as caught:
        log.append(batch(3.0))
    assert isinstance(caught.value.__cause__, OSError) and caught.value.__cause__.errno == getattr(errno, fault)

    for _ in range(2):
        with pytest.raises(LogPoisoned) as later:
            log.append(batch(3.0))
        assert not isinstance(later.value, AppendFailed)
        assert later.value.__cause__ is caught.value.__cause__
        with pytest.raises(LogPoisoned):
            log.truncate()
        assert ids(log) == [0, 1, 2]

    log = reopen(log)
    found = ids(log)
    assert found in ([0, 1, 2], [0, 1, 2, 3])
    assert (found == [0, 1, 2, 3]) == (point in ("wal.append.after_write", "wal.append.before_sync"))
    fill(log, 2)
    log = reopen(log)
    assert ids(log) == list(range(len(found) + 2))
    log.close()


@pytest.mark.parametrize("point", [*APPEND, *ROTATE, "wal.append.after_sync", "wal.append.before_acknowledge"])
def test_an_interrupt_loses_nothing(point: str, tmp_path: Path) -> None:
    """Interrupted in the middle of an append, the log never gives the same id out twice: it refuses, or goes on rightly."""
    log = create(tmp_path)
    fill(log, 2)
    log.segment_bytes_max = 1 if point in ROTATE else LARGE
    acknowledged = [0, 1]

    with faults.scenario(f"{point}=panic"), pytest.raises(faults.Panic):
        log.append(batch(2.0))
    with suppress(LogPoisoned):
        acknowledged.append(log.append(batch(log.next_id)))

    assert set(acknowledged) <= set(ids(log)) <= {*acknowledged, 2}
    log = reopen(log)
    assert set(acknowledged) <= set(ids(log)) <= {*acknowledged, 2}
    log.close()


def test_half_a_record_is_left_out(tmp_path: Path) -> None:
    """A write that the disk took in part is neither read as a batch nor taken for corruption, now or after reopening."""
    log = create(tmp_path)
    fill(log, 2)
    data, ends = encode([batch(0.0), batch(1.0), batch(2.0)], identity=log.identity)
    record = data[ends[2] :]

    def half() -> None:
        with (log.folder / "0-.arrows").open("r+b") as file:
            file.seek(ends[2])
            file.write(record[: 512 - ends[2] % 512])
        raise OSError(errno.ENOSPC, "No space left on device")

    faults.configure_callback("wal.append.before_write", half)
    try:
        with pytest.raises(AppendFailed):
            log.append(batch(2.0))
    finally:
        faults.remove("wal.append.before_write")

    assert ids(log) == [0, 1]
    log = reopen(log)
    assert ids(log) == [0, 1]
    fill(log, 1)
    assert ids(log) == [0, 1, 2]
    log.close()


@pytest.mark.parametrize("point", ["wal.retire.before_unlink", "wal.retire.before_sync", "wal.rotate.before_rename"])
def test_a_failed_truncation_poisons(point: str, tmp_path: Path) -> None:
    """A truncation that the disk refused leaves the log poisoned; reopening finds the batches or their absence."""
    log = six(tmp_path)
    with faults.scenario(f"{point}=raise(EIO)"), pytest.raises(LogPoisoned):
        log.truncate()
    with pytest.raises(LogPoisoned):
        log.append(batch(5.0))
    log = reopen(log, persisted_through=4)
    assert (ids(log), log.next_id) == ([], 5)
    log.close()
