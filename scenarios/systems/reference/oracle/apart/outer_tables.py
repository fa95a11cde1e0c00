"""Transfers to Delta tables of other programs: in another folder; refused, failed, and cut short.

The workload moves rows to tables that the engine made itself, below its own folder. Here the receiving tables are deltalake's
own, with rows already; they have other columns or parts, vanish, or change while rows are on their way. Once a workload is over,
an engine in a folder of its own, outside of the folder under test, sends rows to them: no crash point lies there. A failpoint of
the transfer makes the calls fail that must.

Every row is in one place afterwards, once. It is looked for past the engine, and so is the note of a transfer under way.
"""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake

from crashmatrix.reference_wal import InvalidInput, ReferenceWalError, StorageEngine, TableCorrupted, TransferFailed
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import contents, folder_apart
from crashmatrix.scenarios.systems.reference.oracle.apart.sender import (
    SCHEMA,
    TABLE,
    Sender,
    commits_of,
    compare,
    fail_at,
    meanwhile,
    numbers,
    refused,
    rows_of,
)

__all__ = ["move_to_other_tables"]

_NARROW = "narrow"
_UNSIGNED = pa.schema([pa.field("at", pa.int64()), pa.field("value", pa.uint8())])
"""Delta has no unsigned integers."""
_THEIRS = [-2, -1]
"""Rows that others have stored in a receiving table."""
_NOTED, _COPIED, _NAMED = "transfer.intent.after_sync_folder", "transfer.copy.after_write", "delta.create.before_rename"
_UNRECEIVED = "transfer.receive.before_transact"


def move_to_other_tables() -> None:
    """Send rows to tables of every kind. Raises PromiseBroken unless each row is in one place, and each error is of its kind."""
    with folder_apart() as aside, claimed_as_broken("transfers to tables of others"):
        sender = Sender(aside / "engine")
        try:
            _refuse_places(sender, aside / "refused")
            _add_to_theirs(sender, aside)
            _change_meanwhile(sender, aside)
            _cut_short(sender, aside)
        finally:
            sender.engine.close()


# Places that take no rows


def _refuse_places(sender: Sender, aside: Path) -> None:
    """Send rows where none can be taken. Nothing may change, here or there."""
    rows = sender.commit(2)
    places = _places(aside)
    sender.engine.create_table(_NARROW, _UNSIGNED, timestamp="at")
    sender.engine.ingest(_NARROW, pa.record_batch([[1, 2], [200, 1]], schema=_UNSIGNED))
    sender.engine.flush()
    before = contents(aside), contents(sender.root)
    for name, (kind, words) in places.items():
        refused(kind, words, partial(sender.send, aside / name), f"a transfer to {name!r}")
    own = "one of this engine's own files"
    for place in (sender.root, sender.root / "tables", sender.root / "wal" / "new", sender.root / "options.json"):
        refused(InvalidInput, own, partial(sender.send, place), f"a transfer to its own {place.name}")
    narrow = partial(sender.engine.transfer, _NARROW, aside / "new")
    refused(TransferFailed, "'value' has values that", narrow, "a transfer of values that Delta cannot hold")
    if (contents(aside), contents(sender.root)) != before:
        raise PromiseBroken("corrupt", "transfers that were refused have changed files")
    sender.engine.drop_table(_NARROW)
    sender.has(rows, "transfers that were refused")
    with meanwhile(_NAMED, lambda: (aside / "late" / "x").mkdir(parents=True)):
        refused(TransferFailed, "[Errno", partial(sender.send, aside / "late"), "a transfer to a folder that comes up")
    if [*aside.glob(".creating*")]:
        raise PromiseBroken("corrupt", "a transfer to a folder that came up has left a table half-made")
    sender.has(rows, "a transfer to a folder that came up")


def _places(aside: Path) -> dict[str, tuple[type[ReferenceWalError], str]]:
    """Make places that take no rows; returns which error each one's is, and a few words of it."""
    theirs = pa.table({"at": [1], "value": [1]}, schema=SCHEMA)
    others = {
        "fewer": theirs.drop_columns("value"),
        "more": theirs.append_column("more", pa.array([1])),
        "types": theirs.set_column(1, "value", pa.array(["1"])),
        "nullable": pa.table({"at": [1], "value": [1]}),
    }
    for name, table in others.items():
        write_deltalake(aside / name, table)
    write_deltalake(aside / "parts", theirs, partition_by=["value"])
    for name in ("full", "empty", "damaged/_delta_log"):
        (aside / name).mkdir(parents=True)
    (aside / "full" / "notes.txt").write_text("mine")
    (aside / "damaged" / "_delta_log" / f"{0:020d}.json").write_text("no commit")
    (aside / "link").symlink_to("empty")
    (aside / "dangling").symlink_to("nowhere")
    columns, linked, other = "has columns", "is a link or a mount point", "takes for another path"
    return {
        **dict.fromkeys(others, (InvalidInput, columns)),
        "parts": (InvalidInput, "partitioned by ['value']"),
        "full": (InvalidInput, "is not a Delta table"),
        "damaged": (TransferFailed, "damaged"),
        **dict.fromkeys(("link", "dangling"), (InvalidInput, linked)),
        **dict.fromkeys(("a%20b", "a\\b", "a\tb"), (InvalidInput, other)),
    }


# Tables that take them


def _add_to_theirs(sender: Sender, aside: Path) -> None:
    """Send rows to a table with rows, twice, while others add to it; then from a copy of the sender's folder."""
    there, rows = aside / "theirs", sender.commit(2)
    write_deltalake(there, _table(_THEIRS))
    rows = numbers(sender.engine.read(TABLE))
    _moved(sender, there, rows, [*_THEIRS, *rows], "a transfer to a table of others")
    write_deltalake(there, _table([-3]), mode="append")
    more, version = sender.commit(), DeltaTable(there).version()
    shutil.copytree(sender.root, aside / "copy")  # Its first batch has the very number that is received next.
    _moved(sender, f"file://{there}", more, [-3, *_THEIRS, *rows, *more], "a second transfer", path=there)
    if sender.send(there) or DeltaTable(there).version() != version + 1:
        raise PromiseBroken("corrupt", "a transfer of no rows has changed the receiving table")
    copy = aside / "copy"
    with StorageEngine.open(copy) as engine:
        send = partial(engine.transfer, TABLE, there)
        refused(TransferFailed, "looks like a copy", send, "a transfer from a copy of the sender's folder")
        named = _named_anew(there, aside / "named")
        before = contents(named)
        send = partial(engine.transfer, TABLE, named)
        refused(TransferFailed, "in the receiving table already", send, "a transfer of files that the table names")
        if contents(named) != before or (copy / "tables" / TABLE / "_transfer.json").exists():
            raise PromiseBroken("corrupt", "a transfer of files that the table names has changed something")
        compare(numbers(engine.read(TABLE)), more, "the copy of the sender")


def _named_anew(there: Path, place: Path) -> Path:
    """Return a table of the same files, made by somebody who left out up to which number they were received."""
    shutil.copytree(there, place, ignore=shutil.ignore_patterns("_delta_log"))
    DeltaTable.create(place, SCHEMA)
    actions = [line["add"] for line in commits_of(contents(there)) if "add" in line]
    commit = [{"add": action} for action in actions] + [{"commitInfo": {"operation": "WRITE"}}]
    (place / "_delta_log" / f"{1:020d}.json").write_text("\n".join(map(json.dumps, commit)))
    return place


def _change_meanwhile(sender: Sender, aside: Path) -> None:
    """Let others change the receiving table right after the transfer is noted, or damage a copy on its way."""
    for name, kept, change in (
        ("overtaken", True, lambda place: write_deltalake(place, _table([-3]), mode="append")),
        ("vanished", True, lambda place: place.rename(aside / "away")),
        ("other columns", False, lambda place: _replace(place, aside / "away")),
        ("a changed copy", True, lambda place: _flip(next(place.glob("sender-*.parquet")))),
    ):
        place, rows = aside / name, sender.commit()
        write_deltalake(place, _table(_THEIRS))
        with meanwhile(_COPIED if name == "a changed copy" else _NOTED, partial(change, place)):
            refused(TransferFailed, name, partial(sender.send, place), f"a transfer ({name})")
        sender.has(rows, f"a transfer ({name})", noted=kept)
        if kept:
            refused(InvalidInput, "was cut short", partial(sender.send, aside / "elsewhere"), "one to another place")
        if name == "vanished":
            refused(
                TransferFailed, "the table is gone", partial(sender.send, place), "a transfer to a table that is gone"
            )
            sender.has(rows, "a transfer to a table that is gone", noted=True)
        if (away := aside / "away").exists():
            if [*place.glob("sender-*.parquet")]:
                raise PromiseBroken("corrupt", f"a transfer ({name}) has left copies")
            shutil.rmtree(place, ignore_errors=True)
            away.rename(place)
        due = [*([-3] if name == "overtaken" else []), *_THEIRS, *rows]
        _moved(sender, place, rows, due, f"the transfer that followed ({name})")


def _replace(place: Path, away: Path) -> None:
    """Put a table with other columns in the place of one."""
    place.rename(away)
    write_deltalake(place, pa.table({"other": [1]}))


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


# Transfers cut short


def _cut_short(sender: Sender, aside: Path) -> None:
    """Let a call fail before the rows are received; change the note; open the engine again, and send them."""
    place, rows = aside / "cut short", sender.commit()
    write_deltalake(place, _table(_THEIRS))
    fail_at(_UNRECEIVED, partial(sender.send, place))
    _refuse_notes(sender)
    sender.reopen()
    sender.has(rows, "a transfer that was cut short")
    _moved(sender, place, rows, [*_THEIRS, *rows], "the transfer after one that was cut short")


def _refuse_notes(sender: Sender) -> None:
    """Change the note of a transfer, in each of its parts; then leave it as earlier versions wrote it, without a checksum."""
    sender.engine.close()
    note = sender.note.read_bytes()
    content = note.partition(b"\n")[0]
    changed = [note[:place] + bytes([note[place] ^ 1]) + note[place + 1 :] for place in (2, len(note) - 2)]
    for data in (*changed, content[:-1], b"{}"):
        sender.note.write_bytes(data)
        try:
            StorageEngine.open(sender.root).close()
        except TableCorrupted as error:
            if error.path == sender.note:
                continue
            raise PromiseBroken("corrupt", f"a note that is {data!r} was refused, naming {error.path}") from error
        raise PromiseBroken("corrupt", f"a note of a transfer that is {data!r} was taken for one")
    sender.note.write_bytes(content)


# Looking


def _table(rows: list[int]) -> pa.Table:
    return pa.table({"at": rows, "value": rows}, schema=SCHEMA)


def _moved(
    sender: Sender, place: str | Path, rows: list[int], due: list[int], said: str, *, path: Path | None = None
) -> None:
    """Send the rows that are here; they must be there once afterwards, and not here."""
    if (sent := sender.send(place)) != len(rows):
        raise PromiseBroken("corrupt", f"{said} says that it moved {sent} rows, not {len(rows)}")
    sender.has([], said)
    compare(rows_of(contents(Path(path or place))), due, f"after {said}, the receiving table")
