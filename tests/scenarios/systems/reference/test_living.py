"""The living engine is queried after every operation: each kind of lie is noticed, and an honest engine is believed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crashmatrix.reference_wal import EngineOptions, StorageEngine
from crashmatrix.reference_wal.delta import checkpoint
from crashmatrix.reference_wal.delta.commit import DeltaStore
from crashmatrix.reference_wal.table import Table
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import LATE, MAIN, SCRATCH, DataSet, numbered
from crashmatrix.scenarios.systems.reference.living import Living
from crashmatrix.scenarios.systems.reference.operations import Operation


class Session:
    """An engine and its model: ``do`` an operation with both."""

    def __init__(self, folder: Path, *, logged: bool = True) -> None:
        times = pa.array(range(300), pa.timestamp("us"))
        (folder / "rows").mkdir()
        DataSet.store(numbered(pa.table({"at": times, "sensor": ["a", None] * 150})), folder / "rows", 0)
        self.data = DataSet(folder / "rows", 0, "at", ["sensor"])
        self.engine = StorageEngine.open(folder / "engine", logged, options=EngineOptions(checkpoint_commits=2))
        self.living = Living(self.data, logged=logged)
        self.living.opened(self.engine)
        self._next = dict.fromkeys(self.data.batches, 0)

    def do(self, kind: str, table: str = "") -> None:
        engine, batch, returned = self.engine, None, 0
        match kind:
            case "create":
                source = self.data.source(table)
                engine.create_table(table, source.schema, timestamp=source.timestamp, tags=source.tags)
            case "ingest":
                batch = self.data.batches[table][self._next[table]]
                self._next[table] += 1
                returned = engine.ingest(table, self.data.record_batch(batch))
            case "transfer":
                returned = engine.transfer(table, engine.root / "moved")
            case "flush":
                engine.flush()
            case "truncate":
                engine.truncate(table)
            case "drop":
                engine.drop_table(table)
        self.living.did(engine, Operation(kind, table, batch), returned)


STEPS = (
    ("ingest", MAIN), ("ingest", SCRATCH), ("flush", ""), ("ingest", SCRATCH), ("ingest", MAIN), ("transfer", SCRATCH),
    ("ingest", SCRATCH), ("truncate", SCRATCH), ("ingest", SCRATCH), ("flush", ""), ("truncate", MAIN), ("ingest", MAIN),
    ("drop", SCRATCH), ("create", SCRATCH), ("ingest", SCRATCH), ("flush", ""), ("ingest", LATE),
)  # fmt: skip


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    made = Session(tmp_path)
    yield made
    made.engine.close()


def play(session: Session) -> None:
    for table in (MAIN, SCRATCH, LATE):
        session.do("create", table)
    for kind, table in STEPS:
        session.do(kind, table)


@pytest.mark.lengthy
@pytest.mark.parametrize("logged", [True, False])
def test_an_honest_engine(logged: bool, tmp_path: Path) -> None:
    """Nothing is noticed where nothing is wrong, with a log and without."""
    session = Session(tmp_path, logged=logged)
    play(session)
    session.engine.close()
    session.living.closed()
    with StorageEngine.open(tmp_path / "engine", logged) as session.engine:
        session.living.opened(session.engine)
        session.do("ingest", MAIN)


def test_a_full_generation_of_an_earlier_session(tmp_path: Path) -> None:
    """Commits that an earlier session made by itself, unseen, do not count in this one."""
    session = Session(tmp_path)
    for kind in ("create", "ingest", "flush"):
        session.do(kind, MAIN)
    session.engine.close()
    living = Living(session.data, logged=True)
    living.assume([Operation("create", MAIN), Operation("ingest", MAIN, session.data.batches[MAIN][0])])
    with StorageEngine.open(tmp_path / "engine") as engine:
        living.opened(engine)
        living.did(engine, Operation("flush"), 0)


def wrapped(kind: object, name: str, change: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(kind, name, change(getattr(kind, name)))


def rows_twice(original: Any) -> Any:
    return lambda self: pa.concat_tables([original(self)] * 2)


def ids_skipped(original: Any) -> Any:
    return lambda self, batch: original(self, batch) + 1


def keeps_files(original: Callable[..., None]) -> Callable[..., None]:
    def clear(self: Any, hi: int, *, application: str) -> None:
        kept = dict(self._files)
        original(self, hi, application=application)
        self._files = kept

    return clear


def keeps_one(_: Callable[[Path], None]) -> Callable[[Path], None]:
    def clean_up(log: Path) -> None:
        newest = checkpoint.newest_version(log)
        for file in [*log.glob("[0-9]*")]:
            if int(file.name[:20]) < newest:
                file.unlink()

    return clean_up


LIES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "rows twice": (wrapped(Table, "read", rows_twice), "1 batches too many"),
    "an old list of files": (wrapped(DeltaStore, "names", lambda _: lambda _: []), "batches are gone"),
    "an id left out": (wrapped(Table, "ingest", ids_skipped), "got the id 1, where 0 is due"),
    "files kept after a truncation": (
        wrapped(DeltaStore, "clear", keeps_files),
        "names other files",
    ),
    "orphans left": (wrapped(DeltaStore, "remove_orphans", lambda _: lambda _: None), "other Parquet files"),
    "old commits left": (wrapped(checkpoint, "clean_up", lambda _: lambda _: None), "clean-up after"),
    "one checkpoint left": (wrapped(checkpoint, "clean_up", keeps_one), "clean-up after .* took"),
    "no checkpoint": (
        wrapped(Table, "_checkpoint_if_due", lambda original: lambda self, options: original(
            self, replace(options, checkpoint_commits=options.checkpoint_commits + 1)
        )),
        "there are 2 commits since the last checkpoint, 2 make one",
    ),
    "no metadata": (
        wrapped(Table, "read", lambda original: lambda self: original(self).replace_schema_metadata()), "another schema",
    ),
    "too many rows moved": (
        wrapped(Table, "transfer", lambda original: lambda *arguments: original(*arguments) + 1), "were to be moved",
    ),
    "another number of rows in Delta": (
        wrapped(DeltaStore, "commit", lambda original: lambda self, parts, **named: original(
            self, [replace(part, rows=part.rows + 1) for part in parts], **named
        )),
        "its commit",
    ),
    "a counter stands still": (
        wrapped(StorageEngine, "counters", lambda _: property(lambda self: self._tally.read([]).__class__())), "counts 0",
    ),
}  # fmt: skip


@pytest.mark.lengthy
@pytest.mark.parametrize(("plant", "message"), LIES.values(), ids=LIES)
def test_a_lie_is_noticed(
    plant: Callable[[pytest.MonkeyPatch], None], message: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, files, ids, counts, statistics, counters: each is compared by itself."""
    plant(monkeypatch)
    with pytest.raises(PromiseBroken, match=message):
        play(session)
