"""Logs whose files do not belong together: each of them is refused with the file's name, or has the rows that are due.

No crash leaves most of these folders, and damage to single bytes leads to few of them, since a checksum shows it first. Here
every checksum fits (`written_logs`), and the files say other things than they should: a segment of another log, ids that another
segment has, a record in another one's place, a set of persisted batches beyond the end. The table of `reference_wal.log.recovery`
says what is due; its rows (@A and so on) are in the names here.

Folders that open stand side by side, and are opened at once: a mistake with one must not spoil the others either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from crashmatrix.reference_wal.errors import LogCorrupted
from crashmatrix.reference_wal.log.write_ahead_log import WriteAheadLog
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart, judged
from crashmatrix.scenarios.systems.reference.oracle.apart.written_logs import Written, note_of_end, set_of_persisted

__all__ = ["judge_tampered_logs"]

_SCHEMA = pa.schema([pa.field("number", pa.int64(), nullable=False)])
_TABLE, _LOG = "kept", "the log"
_ACTIVE, _FIRST, _MIDDLE = "5-.arrows", "0-1.arrows", "2-4.arrows"
_ZEROS = 1_024
_STRANGE, _FOLDER = "by-somebody-else", "."
"""A file that is not the log's; and the log's folder, where an error names no file in it."""

_Files = dict[str, bytes]
_Content = Written | bytes | None


def _batch(number: int) -> pa.RecordBatch:
    return pa.record_batch([pa.array([number], pa.int64())], schema=_SCHEMA)


def _segment(start: int, count: int, **others: Any) -> Written:
    return Written(_LOG, _TABLE, start, _SCHEMA, [_batch(start + place) for place in range(count)], **others)


_SEGMENTS = {_FIRST: _segment(0, 2), _MIDDLE: _segment(2, 3), _ACTIVE: _segment(5, 2, zeros=_ZEROS)}
"""The log that is tampered with: batches 0 to 6, each with its id as its number."""


@dataclass(frozen=True)
class _Change:
    """A tampered log.

    Attributes:
        name: the row of the decision table, and what was done.
        put: the files that differ; one without contents (None) is not there.
        due: the numbers of the batches that the log must return, or the name of the file that an error must name.
        next_id: of the log, if it opens.
        at: the byte and the record that the error must name, either of them None; not looked at if not given.
    """

    name: str
    put: Mapping[str, _Content]
    due: str | Sequence[int] = range(7)
    next_id: int = 7
    at: tuple[int | None, int | None] | None = None

    def write(self, root: Path, table: str) -> _Files:
        """Write the log of this table; returns its files."""
        (root / table).mkdir(parents=True)
        files = _Files()
        for name, content in {**_SEGMENTS, **self.put}.items():
            if isinstance(content, Written):
                files[name] = _of_table(content, table).data
            elif content is not None:
                files[name] = content
        for name, data in files.items():
            (root / table / name).write_bytes(data)
        return files


def _of_table(written: Written, table: str) -> Written:
    return replace(written, table=table) if written.table == _TABLE != table else written


def judge_tampered_logs() -> None:
    """Write each log of the table to a folder of its own, and open it.

    Raises:
        PromiseBroken: other rows were there, an error did not name the file, or the log was changed although it was refused.
    """
    changes = [*_of_names(), *_of_headers(), *_of_records(), *_of_crashes(), *_of_small_files()]
    with folder_apart() as folder:
        _open_together(folder / "open", [change for change in changes if not isinstance(change.due, str)])
        for place, change in enumerate(changes):
            if isinstance(change.due, str):
                _refuse(folder / f"refused {place}", change, change.due)


def _opened(root: Path) -> closing[WriteAheadLog]:
    return closing(WriteAheadLog(root, segment_bytes_max=1_000_000, preallocate_bytes=_ZEROS))


def _refuse(root: Path, change: _Change, due: str) -> None:
    folder, files = root / _TABLE, change.write(root, _TABLE)
    with judged(f"opening a log with {change.name}"):
        try:
            with _opened(root):
                pass
        except LogCorrupted as error:
            if error.path != folder / due or change.at not in (None, (error.offset, error.record)):
                raise
        else:
            raise PromiseBroken("corrupt", f"a log with {change.name} opens")
    if {path.name: path.read_bytes() for path in folder.iterdir()} != files:
        raise PromiseBroken("corrupt", f"a log with {change.name} was refused, and its folder was changed")


def _open_together(root: Path, changes: Sequence[_Change]) -> None:
    """Open the logs, twice, since recovery may be repeated; each of them takes a batch the second time."""
    for place, change in enumerate(changes):
        change.write(root, str(place))
    for turn in range(2):
        with judged("opening logs that are whole, or as a crash leaves them"), _opened(root) as wal:
            for place, change in enumerate(changes):
                _compare(wal, str(place), change, takes_a_batch=turn == 1)


def _compare(wal: WriteAheadLog, table: str, change: _Change, *, takes_a_batch: bool) -> None:
    how = f"a log with {change.name}"
    if not change.next_id:
        if table in wal.tables or (wal.root / table).exists():
            raise PromiseBroken("phantom", f"{how} is there")
        return
    found = [(batch_id, batch["number"].to_pylist()) for batch_id, batch in wal.unpersisted(table)]
    if found != [(number, [number]) for number in change.due]:
        raise PromiseBroken("corrupt", f"{how} returned {found}, not {[*change.due]}")
    if takes_a_batch and (fresh := wal.append(table, _batch(change.next_id))) != change.next_id:
        raise PromiseBroken("duplicate", f"{how} gave out the id {fresh}, where {change.next_id} is due")
    if _STRANGE in change.put and not (wal.root / table / _STRANGE).exists():
        raise PromiseBroken("loses", f"{how} removed a file that is not its own")


def _of_names() -> Iterator[_Change]:
    """Yield logs whose segments are whole, and have other names than they should, or are one too many or too few."""
    for name, row in _RENAMED.items():
        put = {_MIDDLE: None, name: _SEGMENTS[_MIDDLE]}
        yield _Change(f"a segment 2-4 named {name} ({row})", put, name, at=(None, None))
    yield _Change("a first segment named 1-2 (@N)", {_FIRST: None, "1-2.arrows": _SEGMENTS[_FIRST]}, "1-2.arrows")
    yield _Change("an active segment of other ids (@N)", {_ACTIVE: None, "6-.arrows": _SEGMENTS[_ACTIVE]}, "6-.arrows")
    for name, start, count in (("1-2.arrows", 1, 2), ("4-4.arrows", 4, 1), ("0-2.arrows", 0, 3)):
        segment = _segment(start, count)
        yield _Change(f"ids of {name} in two segments (@M)", {name: segment}, name)
    yield _Change("ids in the active segment that a closed one has (@M)", {"5-6.arrows": _segment(5, 2)}, _ACTIVE)
    yield _Change("an active segment of closed ids (@M)", {"4-.arrows": _segment(4, 3), _ACTIVE: None}, "4-.arrows")
    yield _Change("a closed segment behind the active one (@I)", {"7-8.arrows": _segment(7, 2)}, "7-8.arrows")
    yield _Change("two active segments (@I)", {"7-.arrows": _segment(7, 0)}, "7-.arrows")
    yield _Change("the first segment gone (@L)", {_FIRST: None}, _FOLDER)
    yield _Change("a segment between others gone (@L)", {_MIDDLE: None}, _FOLDER)


_RENAMED = {"2-5.arrows": "@C", "2-3.arrows": "@C", "3-5.arrows": "@N", "1-3.arrows": "@M", "12-14.arrows": "@I"}


def _of_headers() -> Iterator[_Change]:
    """Yield logs with a segment of another log, table, schema or start, or without a header."""
    nullable = pa.schema([("number", pa.int64())])
    for how, others in (
        ("another log", {"identity": "another log"}),
        ("another table", {"table": "another"}),
        ("another schema", {"schema": nullable}),
        ("a schema with other metadata", {"schema": _SCHEMA.with_metadata({"unit": "m"})}),
    ):
        for name in (_MIDDLE, _ACTIVE):
            yield _Change(f"a segment {name} of {how} (@N)", {name: replace(_SEGMENTS[name], **others)}, name)
    moved = {name: replace(written, table="another") for name, written in _SEGMENTS.items()}
    yield _Change("all its segments from another table's (@N)", moved, _FIRST)
    for name, written in ((_MIDDLE, _segment(3, 3)), (_ACTIVE, _segment(6, 2, zeros=_ZEROS))):
        yield _Change(f"a header in {name} that says the next id (@N)", {name: written}, name)
        for how, data in (("", b""), ("zeros", bytes(_ZEROS)), ("a part", written.header[:-1])):
            yield _Change(f"{how or 'nothing'} in place of the header of {name} (@C, @H)", {name: data}, name)


def _of_records() -> Iterator[_Change]:
    """Yield logs with a record that is not the one that is due, though its seal is whole."""
    unreadable = b"\1" * 100
    for name in (_MIDDLE, _ACTIVE):
        whole = _SEGMENTS[name]
        first, records = whole.start, whole.records
        for ids in ((first + 3, *range(first + 1, first + len(records))), range(first + 1, first + 1 + len(records))):
            written = replace(whole, ids=ids, grouped=name == _ACTIVE)  # In a group, no later seal proves it.
            yield _Change(f"records {[*ids]} in {name} (@C, @F)", {name: written}, name, at=(len(whole.header), first))
        swapped = whole.header + b"".join(reversed(records))
        yield _Change(f"the records of {name} in another order (@C, @F)", {name: swapped}, name)
        last = replace(whole, messages=[*whole.messages[:-1], unreadable])
        yield _Change(f"a last record of {name} that Arrow cannot read (@C, @F)", {name: last}, name)
        lost = whole.header + bytes(len(records[0])) + b"".join(records[1:])
        yield _Change(f"zeros for the first record of {name}, the next one synced later (@C, @F)", {name: lost}, name)
        more = replace(whole, identity="another log", messages=[*whole.messages, _batch(first + len(records))])
        stale = whole.header + b"".join(records) + more.records[-1]
        yield _Change(f"a record of another log at the end of {name} (@C, @F)", {name: stale}, name)
    end = len(_SEGMENTS[_MIDDLE].data), None
    for zeros in (1, 512):
        yield _Change(
            f"{zeros} zeros behind a closed segment (@C)", {_MIDDLE: _segment(2, 3, zeros=zeros)}, _MIDDLE, at=end
        )
    for count, cut in ((4, 0), (2, 0), (0, 0), (3, 1)):
        yield _Change(
            f"{count} records, cut by {cut} bytes, in 2-4 (@C)", {_MIDDLE: _segment(2, count, cut=cut)}, _MIDDLE
        )


def _of_crashes() -> Iterator[_Change]:
    """Yield logs as a crash leaves them, by the same writer."""
    yield _Change("nothing changed (@B, @D)", {})
    yield _Change("unfinished files (@A)", {"7-.tmp": b"x", "persisted.tmp": b""})
    yield _Change("a file that is not the log's (@P)", {_STRANGE: b"x", "1-2.arrows.bak": b"", "a-b.arrows": b""})
    yield _Change("the last segment closed (@J)", {_ACTIVE: None, "5-6.arrows": _segment(5, 2)})
    yield _Change("no active segment (@J)", {_ACTIVE: None}, range(5), 5)
    yield _Change("a torn last record (@E)", {_ACTIVE: _segment(5, 2, cut=10)}, range(6), 6)
    for written in (_segment(5, 0), _segment(5, 0, zeros=_ZEROS), _segment(5, 1, cut=10)):
        yield _Change("an active segment without a whole record (@G)", {_ACTIVE: written}, range(5), 5)
    group = _segment(5, 2, grouped=True)
    lost = {_ACTIVE: replace(group, lost=len(group.records[0]))}
    yield _Change("the first of two records written together lost (@G)", lost, range(5), 5)
    gone = dict.fromkeys(_SEGMENTS)
    yield _Change("nothing but an unfinished segment (@O)", {**gone, "0-.tmp": b"x"}, (), 0)
    for name in (_STRANGE, "persisted", "end"):
        yield _Change(f"no segment, but {name} (@Q)", {**gone, "0-.tmp": b"x", name: b"x"}, _FOLDER)


_PERSISTED: dict[str, Sequence[int]] = {
    "0-1,3-3": (2, 4, 5, 6),
    "2-4": (0, 1, 5, 6),
    "0-0,1-1": range(2, 7),
    "0-6": (),
    "none": range(7),
}
"""Sets of persisted batches, and the batches left."""


def _of_small_files() -> Iterator[_Change]:
    """Yield logs whose set of persisted batches, or note of the end, is whole, and says one thing or another."""
    for ranges, left in _PERSISTED.items():
        yield _Change(f"persisted {ranges} (@R)", {"persisted": set_of_persisted(ranges, _LOG)}, left)
    for gone, ranges, left in ((_FIRST, "0-1", range(2, 7)), (_MIDDLE, "2-4", (0, 1, 5, 6)), (_MIDDLE, "0-6", ())):
        put = {gone: None, "persisted": set_of_persisted(ranges, _LOG)}
        yield _Change(f"no {gone}, {ranges} persisted (@K)", put, left)
    for gone, ranges in ((_FIRST, "0-0"), (_FIRST, "1-1"), (_MIDDLE, "2-3"), (_MIDDLE, "3-4"), (_MIDDLE, "none")):
        put = {gone: None, "persisted": set_of_persisted(ranges, _LOG)}
        yield _Change(f"no {gone}, {ranges} persisted (@L)", put, _FOLDER)
    for ranges in ("7-7", "0-7", "0-1,99-99"):
        yield _Change(f"persisted {ranges}, beyond the end", {"persisted": set_of_persisted(ranges, _LOG)}, _FOLDER)
    whole = set_of_persisted("0-1", _LOG)
    for how, data in (
        ("another log's", set_of_persisted("0-1", "another log")), ("an empty", b""), ("a cut", whole[:-1]),
        ("a continued", whole + b"x"), *((f"a '{text}'", set_of_persisted(text, _LOG)) for text in ("", "0-", "x", "0-1,")),
    ):  # fmt: skip
        yield _Change(f"{how} set of persisted batches (@S)", {"persisted": data}, "persisted")
    yield from _of_ends()


def _of_ends() -> Iterator[_Change]:
    torn, empty = _segment(5, 2, cut=10), _segment(5, 0, zeros=_ZEROS)
    whole = _SEGMENTS[_ACTIVE]
    for active, next_id, believed in ((whole, 7, (0, 3, 7)), (torn, 6, (6,)), (empty, 5, (5,)), (None, 5, (2, 5))):
        for end in believed:
            note = {_ACTIVE: active, "end": note_of_end(end, _LOG)}
            yield _Change(f"{next_id} ids, the end noted as {end} (@T)", note, range(next_id), next_id)
        note = {_ACTIVE: active, "end": note_of_end(next_id + 1, _LOG)}
        yield _Change(
            f"{next_id} ids, the end noted as {next_id + 1} (@U)", note, _MIDDLE if active is None else _ACTIVE
        )
    cut = note_of_end(99, _LOG)[:-1]
    for how, data in (("another log's", note_of_end(99, "another log")), ("a cut", cut), ("an empty", b"")):
        yield _Change(f"{how} note of the end (@V)", {"end": data})
