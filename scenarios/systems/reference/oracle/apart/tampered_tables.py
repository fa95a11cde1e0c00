"""Delta tables whose commits are not those that were written: each is refused with the file's name, or has the rows that are due.

Damage to single bytes never makes one kind of commit of another. Here a commit is written anew as an earlier version of the
engine wrote it, by delta-rs; whole, or cut; or it is another version's, another engine's, or gone. Others come while a checkpoint
is being written. The tables of `reference_wal.delta.recovery` and `sealed_commit` say what is due.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import DeltaTable
from xxhash import xxh3_64_intdigest

from crashmatrix import faults
from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.errors import LogPoisoned, TableCorrupted
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.oracle.apart.first_run import folder_apart, judged

__all__ = ["judge_tampered_tables"]

_SCHEMA = pa.schema([pa.field("at", pa.int64(), nullable=False)])
_TABLE = "kept"
_LOG = f"tables/{_TABLE}/_delta_log"
_OTHER = "tables/other"
_NEWEST, _DUE = 2, (0, 1)
"""The version of the newest commit, and the rows."""
_BEGIN, _ZEROS = b'{"commitInfo":{"checksum":"', b"0" * 16
_DELTA_RS = "delta-rs:py-1.0.0"
_VERIFIED = "checkpoint.file.before_verify"

_Action = dict[str, Any]


def _commit(version: int) -> str:
    return f"{_LOG}/{version:020d}.json"


@dataclass(frozen=True)
class _Change:
    """A tampered table.

    Attributes:
        name: what was done.
        do: changes the folder of an engine that is closed.
        due: the rows, or the path, below the folder, that an error must name.
    """

    name: str
    do: Callable[[Path], object]
    due: str | tuple[int, ...] = _DUE


def judge_tampered_tables() -> None:
    """Make a table of three commits; change copies of it, and open them.

    Raises:
        PromiseBroken: other rows were there, an error did not name the file, or the folder was changed although it was refused.
    """
    with folder_apart() as folder:
        whole = folder / "whole"
        with judged("making a table"), _opened(whole) as engine:
            engine.create_table(_TABLE, _SCHEMA, timestamp="at", wal=False)
            for row in _DUE:
                _store(engine, row)
        for place, change in enumerate(_changes(whole)):
            copy = folder / str(place)
            shutil.copytree(whole, copy)
            change.do(copy)
            with judged(f"opening a table with {change.name}"):
                _refuse(copy, change.name, change.due) if isinstance(change.due, str) else _read(copy, change)
        for spoil in (_cut_checkpoint, _commit_of_another):
            copy = folder / spoil.__name__
            shutil.copytree(whole, copy)
            with judged(f"a checkpoint spoiled while it is written ({spoil.__name__.strip('_')})"):
                _checkpoint(copy, spoil)


@contextmanager
def _opened(root: Path, checkpoint_commits: int = 50) -> Iterator[StorageEngine]:
    options = EngineOptions(identity="kept", checkpoint_commits=checkpoint_commits)
    with StorageEngine.open(root, False, options=options) as engine:
        yield engine


def _store(engine: StorageEngine, row: int) -> None:
    engine.ingest(_TABLE, pa.record_batch([pa.array([row])], schema=_SCHEMA))
    engine.flush()


def _rows(rows: pa.Table) -> tuple[int, ...]:
    return tuple(sorted(rows["at"].to_pylist()))


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def _refuse(root: Path, name: str, due: str) -> None:
    files = _files(root)
    try:
        with _opened(root):
            pass
    except TableCorrupted as error:
        if error.path != root / due:
            raise
    else:
        raise PromiseBroken("corrupt", f"a table with {name} opens")
    if _files(root) != files:
        raise PromiseBroken("corrupt", f"a table with {name} was refused, and its folder was changed")


def _read(root: Path, change: _Change) -> None:
    with _opened(root) as engine:
        found = _rows(engine.read(_TABLE))
    stored = _rows(DeltaStore(root / "tables" / _TABLE).read(_SCHEMA))
    if not found == stored == change.due:
        raise PromiseBroken("corrupt", f"a table with {change.name} returned {found} and {stored}, not {change.due}")


def _changes(whole: Path) -> Iterator[_Change]:
    yield _Change("nothing changed", lambda _: None)
    yield _Change("no commit", _remove_commits, _LOG)
    yield _Change(
        "a folder that is not a Delta table",
        lambda root: (root / "tables" / "other").mkdir(),
        "tables/other/_delta_log",
    )
    yield _Change("a Delta table that is not the engine's", _add_foreign, "tables/other")
    newest = (whole / _commit(_NEWEST)).read_bytes()
    info, *others = [json.loads(line) for line in newest.splitlines()]
    for name, data in {
        "its newest commit cut by a byte": newest[:-1],
        "its newest commit continued": newest + b"\n",
        "an empty commit": b"",
        "zeros for a commit": bytes(len(newest)),
        "another version's commit": (whole / _commit(1)).read_bytes(),
        "another version's checksum": _sealed(newest, _NEWEST + 1),
        "no checksum of a commit": _lines({"commitInfo": {**info["commitInfo"], "checksum": ""}}, *others),
        "a commit without a checksum, as by no version": _unsealed(info, others, "crashmatrix reference_wal"),
        "a commit of another engine": _unsealed(info, others, "Apache-Spark/3.5"),
        "a commit of nobody": _lines(*others),
        "a note in a commit that is a list": _lines({"commitInfo": []}, *others),
        "a commit by delta-rs without its last line": _unsealed(info, others[:-1], _DELTA_RS),
        "a commit by delta-rs that is cut": _unsealed(info, others, _DELTA_RS)[:-1],
        "a commit by delta-rs with a line that is a list": _unsealed(info, [*others[:-1], [], others[-1]], _DELTA_RS),
        "a commit by delta-rs with its last line elsewhere": _unsealed(info, [others[-1], *others[:-1]], _DELTA_RS),
    }.items():
        yield _Change(name, _put(data), _commit(_NEWEST))
    unnamed = {"commitInfo": {name: value for name, value in info["commitInfo"].items() if name != "batchIds"}}
    for name, data in {
        "a commit sealed anew": _sealed(newest.replace(b'"WRITE"', b'"OTHER"'), _NEWEST),
        "a commit by delta-rs": _unsealed(info, others, _DELTA_RS),
        "a commit by delta-rs that names no batches": _unsealed(unnamed, [others[-1], *others[:-1]], _DELTA_RS),
    }.items():
        yield _Change(name, _put(data))


def _put(data: bytes) -> Callable[[Path], object]:
    return lambda root: (root / _commit(_NEWEST)).write_bytes(data)


def _lines(*actions: object) -> bytes:
    return b"\n".join(json.dumps(action, separators=(",", ":")).encode() for action in actions)


def _unsealed(info: _Action, others: list[Any], engine: str) -> bytes:
    """A commit as the engine of this name writes it, without a checksum."""
    noted = {name: value for name, value in info["commitInfo"].items() if name != "checksum"}
    return _lines({"commitInfo": {**noted, "engineInfo": engine}}, *others)


def _sealed(data: bytes, version: int) -> bytes:
    """The same commit with the checksum of its bytes, for this version."""
    rest = data[len(_BEGIN) + len(_ZEROS) :]
    return _BEGIN + b"%016x" % xxh3_64_intdigest(_BEGIN + _ZEROS + rest, version) + rest


def _remove_commits(root: Path) -> None:
    for version in range(_NEWEST + 1):
        (root / _commit(version)).unlink()


def _add_foreign(root: Path) -> None:
    DeltaTable.create(str(root / _OTHER), _SCHEMA)


def _checkpoint(root: Path, spoil: Callable[[Path], object]) -> None:
    """A checkpoint that does not read back as the table fails the call, and the engine goes no further; nothing is lost."""

    def observe(point: faults.FailPoint, _: int) -> None:
        if point.name == _VERIFIED:
            spoil(root)

    before = faults.observe(observe)
    try:
        with _opened(root, checkpoint_commits=1) as engine:
            try:
                _store(engine, 2)
            except TableCorrupted as error:
                if error.path != root / _LOG:
                    raise
            else:
                raise PromiseBroken("corrupt", "a checkpoint that does not read back as the table is kept")
            for call in (engine.flush, lambda: engine.read(_TABLE)):
                try:
                    call()
                except LogPoisoned:
                    continue
                raise PromiseBroken("corrupt", "the engine goes on after a checkpoint has failed")
    finally:
        faults.observe(before)
    if not all((root / _commit(version)).exists() for version in range(_NEWEST + 1)):
        raise PromiseBroken("loses", "commits are gone, and the checkpoint that replaces them was not verified")
    (root / _commit(_NEWEST + 2)).unlink(missing_ok=True)
    with _opened(root) as engine:
        if (found := _rows(engine.read(_TABLE))) != (0, 1, 2):
            raise PromiseBroken("loses", f"opened after a checkpoint that failed, the table has {found}")


def _cut_checkpoint(root: Path) -> None:
    (file,) = (root / _LOG).glob("*.checkpoint.parquet")
    file.write_bytes(file.read_bytes()[:-1])


def _commit_of_another(root: Path) -> None:
    """Somebody else commits to the table meanwhile; its checkpoint is not of the newest version then."""
    newest = (root / _commit(_NEWEST + 1)).read_bytes()
    info = json.loads(newest.splitlines()[0])
    (root / _commit(_NEWEST + 2)).write_bytes(_unsealed(info, [], _DELTA_RS))
