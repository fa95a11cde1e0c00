"""The decision table of `recovery`: every row built as a real folder, classified, recovered, and recovered again."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest

from crashmatrix import faults
from crashmatrix.reference_wal import LogCorrupted, WriteAheadLog
from crashmatrix.reference_wal.atomic_file import checked
from crashmatrix.reference_wal.log import recovery
from crashmatrix.reference_wal.log.recovery import Row
from crashmatrix.reference_wal.log.segmented_log import SegmentedLog
from crashmatrix.reference_wal.log.segments.seal import checksum
from crashmatrix.reference_wal.log.unrecovered import UnrecoveredLog
from tests.reference_wal.heard_calls import Late
from tests.reference_wal.support import batch, contents, encode, flipped, numbers, open_files

OTHER = pa.schema([("timestamp", pa.timestamp("us"))])


def segment(start: int, count: int, *, identity: str = "log", table: str = "t", grouped: bool = False) -> bytes:
    """Return a segment of `count` records; the row of record N has the value N."""
    rows = [batch(start + i) for i in range(count)]
    return encode(rows, start=start, identity=identity, table=table, grouped=grouped)[0]


def torn(data: bytes, offset: int) -> bytes:
    """Return the bytes with the part that begins at an offset missing up to the end of its sector."""
    stop = (offset // 512 + 1) * 512
    return data[:offset] + bytes(stop - offset) + data[stop:]


def persisted(ranges: str, *, identity: str = "log") -> bytes:
    """Return the file that says which batches are persisted."""
    line = ranges.encode()
    return b"%b %016x\n" % (line, checksum(line, checksum(identity.encode())))


def bounds(start: int, count: int) -> list[int]:
    return encode([batch(start + i) for i in range(count)], start=start)[1]


@dataclass(frozen=True)
class Case:
    """A folder, what its files are taken for, and what becomes of it.

    ``persisted`` is what the caller says Delta holds, ``unpersisted`` what the log then returns, ``names`` the folder
    after that. A refusal names ``file``, and the byte and record where it looked.
    """

    files: dict[str, bytes]
    rows: dict[str, Row] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    persisted: int = -1
    unpersisted: tuple[int, ...] = ()
    next_id: int = 0
    refused: str = ""
    file: str = ""
    offset: int | None = None
    record: int | None = None


HEADER = bounds(0, 0)[0]
"""Bytes of a segment without records."""

KEPT = {
    "@A": Case(
        {"0-2.arrows": segment(0, 3), "3-.tmp": b"half a header"},
        rows={"3-.tmp": Row.UNFINISHED, "0-2.arrows": Row.CLOSED_WHOLE},
        names=("0-2.arrows", "3-.arrows"),
        unpersisted=(0, 1, 2),
        next_id=3,
    ),
    "@A of another start": Case(
        {"0-2.arrows": segment(0, 3), "9-.tmp": segment(9, 0)},
        rows={"9-.tmp": Row.UNFINISHED},
        names=("0-2.arrows", "3-.arrows"),
        unpersisted=(0, 1, 2),
        next_id=3,
    ),
    "@B": Case(
        {"0-1.arrows": segment(0, 2), "2-2.arrows": segment(2, 1), "3-.arrows": segment(3, 0)},
        rows={"0-1.arrows": Row.CLOSED_WHOLE, "2-2.arrows": Row.CLOSED_WHOLE},
        names=("0-1.arrows", "2-2.arrows", "3-.arrows"),
        unpersisted=(0, 1, 2),
        next_id=3,
    ),
    "@D": Case(
        {"0-1.arrows": segment(0, 2), "2-.arrows": segment(2, 2)},
        rows={"2-.arrows": Row.ACTIVE_WHOLE},
        names=("0-1.arrows", "2-3.arrows", "4-.arrows"),
        unpersisted=(0, 1, 2, 3),
        next_id=4,
    ),
    "@D alone": Case(
        {"0-.arrows": segment(0, 1)},
        rows={"0-.arrows": Row.ACTIVE_WHOLE},
        names=("0-0.arrows", "1-.arrows"),
        unpersisted=(0,),
        next_id=1,
    ),
    "@D zeros": Case(
        {"0-.arrows": segment(0, 2) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_WHOLE},
        names=("0-1.arrows", "2-.arrows"),
        unpersisted=(0, 1),
        next_id=2,
    ),
    "@D one zero": Case(
        {"0-.arrows": segment(0, 2) + bytes(1)},
        rows={"0-.arrows": Row.ACTIVE_WHOLE},
        names=("0-1.arrows", "2-.arrows"),
        unpersisted=(0, 1),
        next_id=2,
    ),
    "@E cut short": Case(
        {"0-.arrows": segment(0, 3)[:-9]},
        rows={"0-.arrows": Row.ACTIVE_TORN},
        names=("0-1.arrows", "2-.arrows"),
        unpersisted=(0, 1),
        next_id=2,
    ),
    "@E sector missing": Case(
        {"0-.arrows": torn(segment(0, 2), bounds(0, 2)[1]) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_TORN},
        names=("0-0.arrows", "1-.arrows"),
        unpersisted=(0,),
        next_id=1,
    ),
    "@E whole record after it in the same group": Case(
        {"0-.arrows": torn(segment(0, 3, grouped=True), bounds(0, 3)[1]) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_TORN},
        names=("0-0.arrows", "1-.arrows"),
        unpersisted=(0,),
        next_id=1,
    ),
    "@G header only": Case(
        {"0-1.arrows": segment(0, 2), "2-.arrows": segment(2, 0)},
        rows={"2-.arrows": Row.ACTIVE_EMPTY},
        names=("0-1.arrows", "2-.arrows"),
        unpersisted=(0, 1),
        next_id=2,
    ),
    "@G zeros": Case(
        {"0-.arrows": segment(0, 0) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_EMPTY},
        names=("0-.arrows",),
        next_id=0,
    ),
    "@G first sector missing": Case(
        {"0-.arrows": torn(segment(0, 1), HEADER) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_EMPTY},
        names=("0-.arrows",),
        next_id=0,
    ),
    "@G torn": Case(
        {"0-.arrows": segment(0, 1)[:-1]},
        rows={"0-.arrows": Row.ACTIVE_EMPTY},
        names=("0-.arrows",),
        next_id=0,
    ),
    "@G all retired": Case(
        {"7-.arrows": segment(7, 0)},
        rows={"7-.arrows": Row.ACTIVE_EMPTY},
        names=("7-.arrows",),
        persisted=6,
        next_id=7,
    ),
    "@J": Case(
        {"0-1.arrows": segment(0, 2)},
        rows={"0-1.arrows": Row.CLOSED_WHOLE},
        names=("0-1.arrows", "2-.arrows"),
        unpersisted=(0, 1),
        next_id=2,
    ),
    "@K at the start": Case(
        {"2-3.arrows": segment(2, 2), "4-.arrows": segment(4, 1)},
        names=("2-3.arrows", "4-4.arrows", "5-.arrows"),
        persisted=2,
        unpersisted=(3, 4),
        next_id=5,
    ),
    "@K in the middle": Case(
        {"0-1.arrows": segment(0, 2), "4-.arrows": segment(4, 1)},
        names=("4-4.arrows", "5-.arrows"),
        persisted=3,
        unpersisted=(4,),
        next_id=5,
    ),
    "@K by the set": Case(
        {"2-3.arrows": segment(2, 2), "6-.arrows": segment(6, 1), "persisted": persisted("0-1,3-5")},
        names=("2-3.arrows", "6-6.arrows", "7-.arrows", "persisted"),
        unpersisted=(2, 6),
        next_id=7,
    ),
    "@K by the set and the caller": Case(
        {"2-3.arrows": segment(2, 2), "6-.arrows": segment(6, 1), "persisted": persisted("4-5")},
        names=("2-3.arrows", "6-6.arrows", "7-.arrows", "persisted"),
        persisted=2,
        unpersisted=(3, 6),
        next_id=7,
    ),
    "@R": Case(
        {
            "0-1.arrows": segment(0, 2),
            "2-4.arrows": segment(2, 3),
            "persisted": persisted("0-2,4-4"),
            "persisted.tmp": b"0",
        },
        rows={"persisted": Row.PERSISTED, "persisted.tmp": Row.UNFINISHED},
        names=("2-4.arrows", "5-.arrows", "persisted"),
        unpersisted=(3,),
        next_id=5,
    ),
    "@R empty": Case(
        {"0-1.arrows": segment(0, 2), "persisted": persisted("none")},
        names=("0-1.arrows", "2-.arrows", "persisted"),
        unpersisted=(0, 1),
        next_id=2,
    ),
    "@T": Case(
        {"0-.arrows": segment(0, 3), "end": checked(b"2", "log")},
        rows={"end": Row.END},
        names=("0-2.arrows", "3-.arrows", "end"),
        unpersisted=(0, 1, 2),
        next_id=3,
    ),
    "@V": Case(
        {"0-.arrows": segment(0, 1), "end": checked(b"2", "log")[:-3]},
        names=("0-0.arrows", "1-.arrows", "end"),
        unpersisted=(0,),
        next_id=1,
    ),
    "@P": Case(
        {"0-0.arrows": segment(0, 1), "notes.txt": b"mine", "0-0.arrows.bak": b"old"},
        rows={"notes.txt": Row.FOREIGN, "0-0.arrows.bak": Row.FOREIGN},
        names=("0-0.arrows", "0-0.arrows.bak", "1-.arrows", "notes.txt"),
        unpersisted=(0,),
        next_id=1,
    ),
}

REFUSED = {
    "@C cut short": Case(
        {"0-1.arrows": segment(0, 2)[:-1], "2-.arrows": segment(2, 1)},
        rows={"0-1.arrows": Row.CLOSED_DAMAGED},
        refused="cut short",
        file="0-1.arrows",
        offset=bounds(0, 2)[1],
        record=1,
    ),
    "@C flipped": Case(
        {"0-1.arrows": flipped(segment(0, 2), HEADER + 8)},
        rows={"0-1.arrows": Row.CLOSED_DAMAGED},
        refused="record 1 was written when this one had long been durable",
        file="0-1.arrows",
        offset=HEADER,
        record=0,
    ),
    "@C too few": Case(
        {"0-4.arrows": segment(0, 2)},
        rows={"0-4.arrows": Row.CLOSED_DAMAGED},
        refused="holds 2 records, its name says 0 to 4",
        file="0-4.arrows",
    ),
    "@C too many": Case(
        {"0-0.arrows": segment(0, 2)},
        rows={"0-0.arrows": Row.CLOSED_DAMAGED},
        refused="holds 2 records",
        file="0-0.arrows",
    ),
    "@C zeros": Case(
        {"0-1.arrows": segment(0, 2) + bytes(512)},
        rows={"0-1.arrows": Row.CLOSED_DAMAGED},
        refused="zeros follow its last record",
        file="0-1.arrows",
        offset=bounds(0, 2)[2],
    ),
    "@C sector missing": Case(
        {"0-1.arrows": torn(segment(0, 2), bounds(0, 2)[1])},
        rows={"0-1.arrows": Row.CLOSED_DAMAGED},
        refused="seal is damaged",
        file="0-1.arrows",
        offset=bounds(0, 2)[1],
        record=1,
    ),
    "@C empty file": Case(
        {"0-1.arrows": b"", "2-.arrows": segment(2, 0)},
        rows={"0-1.arrows": Row.CLOSED_DAMAGED},
        refused="header",
        file="0-1.arrows",
        offset=0,
        record=0,
    ),
    "@F": Case(
        {"0-.arrows": flipped(segment(0, 3), bounds(0, 3)[1] + 8), "0-.tmp": b"stays"},
        rows={"0-.arrows": Row.ACTIVE_DAMAGED},
        refused="record 2 was written when this one had long been durable",
        file="0-.arrows",
        offset=bounds(0, 3)[1],
        record=1,
    ),
    "@F first record": Case(
        {"0-.arrows": flipped(segment(0, 2), HEADER + 8)},
        rows={"0-.arrows": Row.ACTIVE_DAMAGED},
        refused="record 1 was written when this one had long been durable",
        file="0-.arrows",
        offset=HEADER,
        record=0,
    ),
    "@F last record": Case(
        {"0-.arrows": flipped(segment(0, 2), bounds(0, 2)[2] - 100) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_DAMAGED},
        refused="none of its sectors is missing",
        file="0-.arrows",
        offset=bounds(0, 2)[1],
        record=1,
    ),
    "@F last record's seal": Case(
        {"0-.arrows": flipped(segment(0, 2), bounds(0, 2)[1] + 8) + bytes(4096)},
        rows={"0-.arrows": Row.ACTIVE_DAMAGED},
        refused="no sector of its seal is missing",
        file="0-.arrows",
        offset=bounds(0, 2)[1],
        record=1,
    ),
    "@H empty file": Case(
        {"0-.arrows": b""}, rows={"0-.arrows": Row.HEADERLESS}, refused="header", file="0-.arrows", offset=0, record=0
    ),
    "@H flipped": Case(
        {"0-1.arrows": segment(0, 2), "2-.arrows": flipped(segment(2, 1), 40), "2-.tmp": b"stays"},
        rows={"2-.arrows": Row.HEADERLESS},
        refused="header",
        file="2-.arrows",
        offset=0,
        record=0,
    ),
    "@I": Case(
        {"0-.arrows": segment(0, 2), "2-.arrows": segment(2, 1)},
        refused="beside the active segment 0-.arrows",
        file="2-.arrows",
    ),
    "@L at the start": Case({"2-3.arrows": segment(2, 2)}, refused="batches 1 to 1 are in no segment", persisted=0),
    "@L before an empty one": Case(
        {"7-.arrows": segment(7, 0)}, refused="batches 6 to 6 are in no segment", persisted=5
    ),
    "@L in the middle": Case(
        {"0-1.arrows": segment(0, 2), "4-.arrows": segment(4, 1)},
        refused="batches 2 to 3 are in no segment",
    ),
    "@L beyond the end": Case(
        {"0-1.arrows": segment(0, 2)},
        refused="batch 2 was persisted, but the log ends at 1",
        persisted=2,
    ),
    "@L beyond the set": Case(
        {"2-3.arrows": segment(2, 2), "persisted": persisted("0-0")}, refused="batches 1 to 1 are in no segment"
    ),
    "@L set beyond the end": Case(
        {"0-1.arrows": segment(0, 2), "persisted": persisted("0-2")},
        refused="batch 2 was persisted, but the log ends at 1",
    ),
    "@M overlapping": Case(
        {"0-2.arrows": segment(0, 3), "2-3.arrows": segment(2, 2)}, refused="claims ids from 2", file="2-3.arrows"
    ),
    "@M twice": Case(
        {"0-1.arrows": segment(0, 2), "0-.arrows": segment(0, 1), "0-.tmp": b"stays"},
        refused="claims ids from 0",
        file="0-.arrows",
    ),
    "@M after the active": Case(
        {"0-.arrows": segment(0, 2), "1-1.arrows": segment(1, 1)}, refused="beside the active", file="1-1.arrows"
    ),
    "@N log": Case(
        {"0-1.arrows": segment(0, 2), "2-2.arrows": segment(2, 1, identity="another")},
        refused="another log",
        file="2-2.arrows",
    ),
    "@N table": Case(
        {"0-1.arrows": segment(0, 2, table="u")}, refused="belongs to the log of table 'u'", file="0-1.arrows"
    ),
    "@N later table": Case(
        {"0-1.arrows": segment(0, 2), "2-2.arrows": segment(2, 1, table="u")}, refused="another log", file="2-2.arrows"
    ),
    "@N schema": Case(
        {"0-1.arrows": segment(0, 2), "2-.arrows": encode([], schema=OTHER, start=2)[0]},
        refused="schema",
        file="2-.arrows",
    ),
    "@N schema's metadata": Case(
        {
            "0-1.arrows": segment(0, 2),
            "2-.arrows": encode([], schema=batch().schema.with_metadata({"k": "v"}), start=2)[0],
        },
        refused="schema",
        file="2-.arrows",
    ),
    "@N start": Case(
        {"5-.arrows": segment(0, 0), "5-.tmp": b"stays"}, refused="its header says it starts at 0", file="5-.arrows"
    ),
    "@Q only the set": Case({"persisted": persisted("0-4")}, refused="holds no segment, but persisted", file=""),
    "@S cut short": Case(
        {"0-1.arrows": segment(0, 2), "persisted": persisted("0-1")[:-2]}, refused="damaged", file="persisted", offset=0
    ),
    "@S flipped": Case(
        {"0-1.arrows": segment(0, 2), "persisted": persisted("0-0").replace(b"0-0", b"0-1")},
        refused="damaged",
        file="persisted",
        offset=0,
    ),
    "@S empty": Case({"0-1.arrows": segment(0, 2), "persisted": b""}, refused="damaged", file="persisted", offset=0),
    "@S another log": Case(
        {"0-1.arrows": segment(0, 2), "persisted": persisted("0-1", identity="old")},
        refused="another log's",
        file="persisted",
        offset=0,
    ),
    "@U": Case(
        {"0-.arrows": segment(0, 3)[:-9], "end": checked(b"3", "log")},
        refused="ends before batch 2, but 2 was durable when the log was closed",
        file="0-.arrows",
    ),
    "@U without an active segment": Case(
        {"0-0.arrows": segment(0, 1), "1-1.arrows": segment(1, 1), "end": checked(b"3", "log")},
        refused="ends before batch 2, but 2 was durable when the log was closed",
        file="1-1.arrows",
    ),
    "@Q": Case({"notes.txt": b"mine", "0-.tmp": b"stays"}, refused="holds no segment, but notes.txt", file=""),
}

NO_LOG: dict[str, dict[str, bytes]] = {
    "@O empty": {},
    "@O unfinished": {"0-.tmp": b""},
    "@O whole but unfinished": {"0-.tmp": segment(0, 0)},
}


def parametrize(**tables: dict[str, Case]) -> pytest.MarkDecorator:
    cases = {label: case for table in tables.values() for label, case in table.items()}
    return pytest.mark.parametrize("case", cases.values(), ids=cases)


def build(root: Path, files: dict[str, bytes]) -> Path:
    folder = root / "t"
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def open_log(folder: Path, persisted: int = -1) -> SegmentedLog:
    found = UnrecoveredLog.look(folder, segment_bytes_max=1 << 20, preallocate_bytes=4096)
    assert found is not None
    return found.reconcile(persisted)


def ids(log: SegmentedLog) -> tuple[int, ...]:
    """Return the unpersisted ids; each batch must hold its own row."""
    found = list(log.unpersisted())
    assert all(numbers(rows) == [float(batch_id)] for batch_id, rows in found)
    return tuple(batch_id for batch_id, _ in found)


def names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir()))


def test_every_row_is_tested() -> None:
    """No row of the table in the module's docstring goes without a case here."""
    labels = re.findall(r"^ *\| (@[A-Z]) +\|", recovery.__doc__ or "", re.MULTILINE)
    assert labels == sorted(set(labels)) and len(labels) >= 17
    assert {name.split()[0] for name in (*KEPT, *REFUSED, *NO_LOG)} == set(labels)


def test_every_file_row_is_classified() -> None:
    """Each class that one file can fall into is met in a case."""
    assert {row for case in (*KEPT.values(), *REFUSED.values()) for row in case.rows.values()} == set(Row)


@parametrize(kept=KEPT, refused=REFUSED)
def test_classification(case: Case, tmp_path: Path) -> None:
    """Each file by itself is taken for what the table says, and looking changes nothing."""
    folder = build(tmp_path, case.files)

    found = {item.path.name: item.row for item in recovery.inspect(folder)}

    assert found.keys() == case.files.keys()
    assert {name: found[name] for name in case.rows} == case.rows
    assert contents(folder) == case.files


@parametrize(kept=KEPT)
def test_accepted(case: Case, tmp_path: Path) -> None:
    """A log that a crash can leave is recovered: each whole record once, and appending goes on with the next id."""
    folder = build(tmp_path, case.files)

    log = open_log(folder, case.persisted)
    assert names(folder) == case.names
    assert ids(log) == case.unpersisted
    assert log.next_id == case.next_id
    assert log.append(batch(case.next_id)) == case.next_id
    assert ids(log) == (*case.unpersisted, case.next_id)
    log.close()

    again = open_log(folder, case.persisted)
    assert ids(again) == (*case.unpersisted, case.next_id)
    again.close()


@parametrize(kept=KEPT)
def test_repeating_is_harmless(case: Case, tmp_path: Path) -> None:
    """Recovering a recovered folder changes no byte of it, and finds the same."""
    folder = build(tmp_path, case.files)
    open_log(folder, case.persisted).close()
    before = contents(folder)

    log = open_log(folder, case.persisted)

    assert contents(folder) == before
    assert ids(log) == case.unpersisted and log.next_id == case.next_id
    log.close()


@parametrize(kept=KEPT)
def test_all_is_durable_before_the_next_segment(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is synced after the last name that recovery changes, the contents before: a power cut after the next segment
    was made does not bring a second active segment back.
    """
    folder = build(tmp_path, case.files)
    late = Late(monkeypatch)
    recovery.apply(folder, recovery.look(folder))
    assert (late.names, late.contents, late.moved) == ({}, {}, [])


@parametrize(kept=KEPT)
def test_nothing_is_left_behind_the_records(case: Case, tmp_path: Path) -> None:
    """A torn write is cut off before its place is written again, and no file stays open."""
    folder, files = build(tmp_path, case.files), open_files(tmp_path)
    recovery.apply(folder, recovery.look(folder))
    found = [item for item in recovery.inspect(folder) if item.scan is not None]
    assert [item.path for item in found if item.scan and item.scan.damage] == []
    assert open_files(tmp_path) == files


def test_the_disk_is_believed(tmp_path: Path) -> None:
    """A segment is read after it was settled: what the page cache alone had until then does not count."""
    folder = build(tmp_path, {"0-.arrows": segment(0, 3)})

    def forget() -> None:
        (folder / "0-.arrows").write_bytes(segment(0, 1))

    faults.configure_callback("recovery.active.after_sync", forget)
    try:
        assert recovery.look(folder).next_id == 1
    finally:
        faults.remove("recovery.active.after_sync")


@parametrize(kept=KEPT, no_log={label: Case(files) for label, files in NO_LOG.items()})
def test_each_row_is_counted(case: Case, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Each file is counted under its row; so is a folder without an active segment or without a log, and a gap."""
    folder, label = build(tmp_path, case.files), request.node.callspec.id
    expected = Counter(f"rows.log.{item.row.value}" for item in recovery.inspect(folder))
    expected["rows.log.@O"] = int(label.startswith("@O"))
    expected["rows.log.@J"] = int(not any(name.endswith("-.arrows") for name in case.files) and label[:2] != "@O")
    expected["rows.log.@K"] = label.startswith(("@K", "@G all retired")) + label.startswith("@K by the set")
    before = faults.entered()
    found = UnrecoveredLog.look(folder, segment_bytes_max=1 << 20)
    if found is not None:
        found.refuse_gaps(case.persisted)
    counted = {name: count - before[name] for name, count in faults.entered().items()}
    assert +Counter(counted) == +expected


@pytest.mark.parametrize("label", ["@D", "@D zeros", "@E cut short", "@E sector missing", "@G torn", "@G zeros"])
def test_what_is_cut_off_is_said(label: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The log warns of a torn record, by segment, record and byte; zeros that nobody wrote to are not worth a warning."""
    case = KEPT[label]
    folder = build(tmp_path, case.files)
    open_log(folder, case.persisted).close()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    torn_at = {"@E cut short": 2, "@E sector missing": 1, "@G torn": 0}
    if label not in torn_at:
        assert said == []
        return
    record = torn_at[label]
    [warning] = said
    assert warning.startswith(f"{folder / '0-.arrows'}: what a crash left of record {record}, never acknowledged")
    assert f"cut off at byte {bounds(0, record)[record]} (" in warning


@pytest.mark.lengthy
@parametrize(kept=KEPT)
def test_cut_short_anywhere(case: Case, tmp_path: Path) -> None:
    """Recovery that stops at any of its steps is finished by the next one, with the same outcome."""
    seen: list[str] = []
    folder = build(tmp_path, case.files)
    faults.observe(lambda point, _: seen.append(point.name))
    try:
        open_log(folder, case.persisted).close()
    finally:
        faults.observe(None)
    assert "recovery.folder.after_sync" in seen

    for name in seen:
        shutil.rmtree(folder)
        build(tmp_path, case.files)
        with faults.scenario(f"{name}=panic"), pytest.raises(faults.Panic):
            open_log(folder, case.persisted)
        log = open_log(folder, case.persisted)
        assert (ids(log), log.next_id) == (case.unpersisted, case.next_id), name
        log.close()


@parametrize(refused=REFUSED)
def test_refused(case: Case, tmp_path: Path) -> None:
    """A log that no crash leaves is refused each time. The error names file, byte and record; no file changes."""
    folder = build(tmp_path, case.files)
    for _ in range(2):
        with pytest.raises(LogCorrupted, match=re.escape(case.refused)) as caught:
            open_log(folder, case.persisted)
        assert (caught.value.path, caught.value.offset, caught.value.record) == (
            folder / case.file,
            case.offset,
            case.record,
        )
        assert str(caught.value).startswith(str(folder / case.file))
        assert contents(folder) == case.files


@pytest.mark.parametrize("files", NO_LOG.values(), ids=NO_LOG)
def test_no_log(files: dict[str, bytes], tmp_path: Path) -> None:
    """A folder whose log was never finished is not a log, and the write-ahead log removes it: it was never acknowledged."""
    folder = build(tmp_path, files)
    assert UnrecoveredLog.look(folder, segment_bytes_max=1 << 20) is None
    assert contents(folder) == files

    wal = WriteAheadLog(tmp_path)
    assert wal.tables == [] and not folder.exists()
    wal.create_table_log("t", batch().schema)
    assert wal.append("t", batch(0.0)) == 0
    wal.close()


def test_torn_append_at_every_sector(tmp_path: Path) -> None:
    """Wherever the last append was torn, all batches before it come back and its id is given out again."""
    data, ends = segment(0, 2), bounds(0, 2)
    folder = build(tmp_path, {})
    sectors = [ends[1], *range((ends[1] // 512 + 1) * 512, ends[2], 512), ends[2]]
    tears = [data[:length] + bytes(8192) for length in sectors] + [
        data[:length] for length in range(ends[1], ends[2], 9)
    ]
    for left in tears:
        shutil.rmtree(folder)
        build(tmp_path, {"0-.arrows": left})
        log = open_log(folder)
        last = 1 if left.startswith(data) else 0
        assert ids(log) == tuple(range(last + 1))
        assert log.append(batch(last + 1)) == last + 1
        assert ids(log) == tuple(range(last + 2))
        log.close()


def test_what_becomes_of_a_torn_tail_is_durable_first(tmp_path: Path) -> None:
    """The tail is cut and synced before the segment's name says that it is whole."""
    folder = build(tmp_path, KEPT["@E sector missing"].files)
    with faults.scenario("recovery.leftover.before_rename=panic"), pytest.raises(faults.Panic):
        open_log(folder)
    assert (folder / "0-.arrows").read_bytes() == segment(0, 1)


def test_a_leftover_is_on_disk_before_it_is_believed(tmp_path: Path) -> None:
    """Bytes that a killed process may have left only in the page cache are synced before the segment is closed."""
    folder = build(tmp_path, KEPT["@D"].files)
    seen: list[str] = []
    faults.observe(lambda point, _: seen.append(point.name))
    try:
        open_log(folder).close()
    finally:
        faults.observe(None)
    assert seen.index("recovery.active.after_sync") < seen.index("recovery.leftover.before_rename")
    assert seen.count("recovery.active.after_sync") == 1


def test_a_sync_that_fails_refuses_to_open(tmp_path: Path) -> None:
    """If the leftover cannot be synced nothing is concluded from it, and nothing is changed."""
    folder = build(tmp_path, KEPT["@E sector missing"].files)
    with faults.scenario("recovery.active.before_sync=raise(EIO)"), pytest.raises(OSError, match="Input/output error"):
        open_log(folder)
    assert contents(folder) == KEPT["@E sector missing"].files


def test_changed_after_opening(tmp_path: Path) -> None:
    """A record that is damaged while the log is open is not returned as something else."""
    folder = build(tmp_path, {"0-1.arrows": segment(0, 2)})
    log = open_log(folder)
    (folder / "0-1.arrows").write_bytes(flipped(segment(0, 2), bounds(0, 2)[1] + 8))

    with pytest.raises(LogCorrupted) as caught:
        list(log.unpersisted())

    assert (caught.value.path, caught.value.offset, caught.value.record) == (
        folder / "0-1.arrows",
        bounds(0, 2)[1],
        1,
    )
    log.close()
