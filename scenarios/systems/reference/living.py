"""The living engine, queried after every operation: does it hold what was stored, where it should be, and count it right?

A crash shows what is on disk. A list of files not brought up to date, a batch marked twice, rows seen in two places while the
engine lives: these show here only. The model is what the caller did; engine, log and Delta must agree with it, each by itself:

    rows       `read` returns exactly the batches owed; the rows in Delta and those that wait are the same batches
    Delta      its own log names the files that the engine names; names, statistics, footers, order and rows of each new file fit
    log        `unpersisted` returns exactly the batches above the last one in Delta, each as it was appended
    ids        each batch has the id after the one before
    counters   appends, rows, generations, commits and moved rows are those of this session

A wrong answer goes into the journal (`notes`), and so becomes the verdict of every state after it: no crash is to blame then.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from crashmatrix.reference_wal import StorageEngine
from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.data import Batch, DataSet, Source
from crashmatrix.scenarios.systems.reference.notes import claimed_as_broken
from crashmatrix.scenarios.systems.reference.operations import ARCHIVE, Operation
from crashmatrix.scenarios.systems.reference.oracle.refusals import nothing_behind
from crashmatrix.scenarios.systems.reference.rows.exact import plain
from crashmatrix.scenarios.systems.reference.rows.files import DeltaFile, check_commit, files_in, read_file
from crashmatrix.scenarios.target.journal import Item

__all__ = ["Living", "same_batch", "stored"]

_COUNTERS = ("appends", "append_bytes", "generations", "commits", "rows", "replayed", "transferred")


def same_batch(source: Source, batch: Batch, found: pa.RecordBatch) -> bool:
    """Whether ``found`` is that batch, in its order, to the bit."""
    if not found.schema.equals(source.schema, check_metadata=True):
        return False
    stored = pa.Table.from_batches([source.record_batch(batch)])
    return bool(plain(pa.Table.from_batches([found])).equals(plain(stored)))


def stored(data: DataSet, tables: Sequence[str], recovered: Sequence[Item]) -> dict[str, list[Batch]]:
    """Return the batches of each table that recovery returned."""
    counts = Counter((item[1], item[2]) for item in recovered if item[0] == "ingest")
    return {table: [batch for batch in data.batches[table] if counts[table, batch.index]] for table in tables}


@dataclass
class _Table:
    """The debts to one table: batches in Delta, and with their ids those that wait. ``next_id`` is None if not known."""

    committed: list[Batch] = field(default_factory=list)
    waiting: dict[int, Batch] = field(default_factory=dict)
    next_id: int | None = 0
    least_id: int = 0
    persisted: int = -1
    seen: set[str] = field(default_factory=set)

    def persist(self, through: int) -> list[Batch]:
        """Move the batches up to this id to Delta; returns them."""
        self.persisted = max(self.persisted, through)
        moved = [self.waiting.pop(batch_id) for batch_id in list(self.waiting) if batch_id <= self.persisted]
        self.committed += moved
        return moved


class Living:
    """The model of an engine while it lives. `opened` first; then `did` after each operation."""

    def __init__(self, data: DataSet, *, logged: bool) -> None:
        self._data, self._logged = data, logged
        self._tables: dict[str, _Table] = {}
        self._delta: dict[str, tuple[list[str], list[DeltaFile]]] = {}
        self._counted: Counter[str] = Counter()
        self._counters: tuple[str, ...] = _COUNTERS

    # Operations

    def assume(self, operations: Sequence[Operation]) -> None:
        """Take these operations as done by earlier sessions."""
        for operation in operations:
            table = self._tables.get(operation.table)
            self._note(operation, table.next_id or 0 if table else 0)

    def opened(self, engine: StorageEngine) -> None:
        """A session begins: the counters begin at zero, and what waited was read back.

        Looking comes first: an earlier session may have committed a full generation after its last look.
        """
        with claimed_as_broken("looking at the reopened engine"):
            for name in self._tables:
                self._look(engine, name)
        waiting = sum(len(table.waiting) for table in self._tables.values())
        self._counted = Counter(replayed=waiting)

    def closed(self) -> None:
        """A session ended; without a log, closing has committed what waited."""
        if not self._logged:
            self._flush(Operation("flush"), 0)

    def adopt(self, engine: StorageEngine, batches: dict[str, list[Batch]]) -> None:
        """A second life begins with these batches, as recovery returned them. Without a log it is not known which ones wait."""
        self._counted = Counter(replayed=engine.counters.replayed)
        self._counters = _COUNTERS if self._logged else ("appends", "append_bytes", "transferred")
        for name, owed in batches.items():
            logged = {batch_id: self._batch(name, batch) for batch_id, batch in engine.unpersisted(name)}
            table = self._tables[name] = _Table(next_id=None, persisted=min(logged, default=0) - 1)
            table.waiting = logged
            table.committed = [batch for batch in owed if batch not in logged.values()]
            table.least_id = max([len(owed), *(batch_id + 1 for batch_id in logged)])
            table.seen = {file.path.name for file in self._files(engine, name)}

    def did(self, engine: StorageEngine, operation: Operation, returned: int) -> None:
        """An operation returned this. Raises PromiseBroken if the engine does not say so, too."""
        with claimed_as_broken(f"looking at the engine after {operation.kind} {operation.table}".rstrip()):
            self._note(operation, returned)
            for name in [operation.table] if operation.table in self._tables else self._tables:
                self._look(engine, name)
            if sorted(self._tables) != engine.tables:
                raise PromiseBroken("corrupt", f"the engine has the tables {engine.tables}, not {sorted(self._tables)}")
            self._compare_counters(engine)
            if operation.kind != "ingest":
                nothing_behind(engine.root, but_for=ARCHIVE)

    def _note(self, operation: Operation, returned: int) -> None:
        if operation.kind not in ("segment-size", "reopen", "misuse"):
            getattr(self, f"_{operation.kind}")(operation, returned)

    def _create(self, operation: Operation, _: int) -> None:
        self._tables[operation.table] = _Table()
        self._delta.pop(operation.table, None)  # Another table may have had the name.

    def _drop(self, operation: Operation, _: int) -> None:
        del self._tables[operation.table]

    def _ingest(self, operation: Operation, batch_id: int) -> None:
        assert operation.batch is not None
        table = self._tables[operation.table]
        due = batch_id if table.next_id is None else table.next_id
        if batch_id != due or batch_id < table.least_id:
            raise PromiseBroken(
                "duplicate" if batch_id < max(due, table.least_id) else "hole",
                f"{operation.table}: a batch got the id {batch_id}, where {max(due, table.least_id)} is due",
            )
        table.next_id = batch_id + 1
        table.waiting[batch_id] = operation.batch
        batch = self._data.record_batch(operation.batch)
        self._counted.update(appends=1, append_bytes=batch.nbytes)

    def _flush(self, _: Operation, __: int) -> None:
        for name, table in self._tables.items():
            if table.waiting:
                self._commit(name, max(table.waiting))

    def _commit(self, name: str, through: int) -> None:
        moved = self._tables[name].persist(through)
        if moved:
            self._counted.update(generations=1, commits=1, rows=sum(batch.rows for batch in moved))

    def _truncate(self, operation: Operation, _: int) -> None:
        table = self._tables[operation.table]
        table.persist(max(table.waiting, default=-1))
        table.committed = []
        self._counted.update(commits=1)

    def _transfer(self, operation: Operation, rows: int) -> None:
        table = self._tables[operation.table]
        moved = sum(batch.rows for batch in table.committed)
        if rows != moved:
            raise PromiseBroken("corrupt", f"{operation.table}: {moved} rows were to be moved, transfer says {rows}")
        self._counted.update(transferred=rows, commits=bool(rows))
        table.committed = []

    # Looking

    def _look(self, engine: StorageEngine, name: str) -> None:
        table, files = self._tables[name], self._files(engine, name)
        newest = max((file.hi for file in files), default=-1)
        if newest > table.persisted:  # A full generation was committed by an ingest.
            self._commit(name, newest)
        self._look_at_new(name, [file for file in files if file.path.name not in table.seen])
        table.seen = {file.path.name for file in files}
        owed = sorted((*table.committed, *table.waiting.values()), key=lambda batch: batch.index)
        _compare(self._data.source(name).batches_in(engine.read(name), f"{name}, read"), owed, f"{name}, read")
        if self._logged:
            self._compare_log(engine, name)

    def _files(self, engine: StorageEngine, name: str) -> list[DeltaFile]:
        table = engine.root / "tables" / name
        log = sorted(path.name for path in (table / "_delta_log").iterdir())
        before = self._delta[name][0] if name in self._delta else None
        if before is not None and before != log:
            _check_checkpoints(before, log, name)
            new = [commit for commit in sorted(set(log) - set(before)) if commit.endswith(".json")]
            kinds = [check_commit(table / "_delta_log" / commit, name) for commit in new]
            if kinds and "add" in kinds[-1]:
                _check_due(log, engine.options.checkpoint_commits, name)
        if before != log:
            self._delta[name] = log, files_in(table, name)
        _, found = self._delta[name]
        named = engine.files(name)
        if sorted(table.glob("*.parquet")) != named:
            raise PromiseBroken("corrupt", f"{name}: there are other Parquet files than those that the engine names")
        if sorted(file.path for file in found) != named:
            raise PromiseBroken("corrupt", f"{name}: the engine names other files than its Delta log")
        return found

    def _look_at_new(self, name: str, files: list[DeltaFile]) -> None:
        source = self._data.source(name)
        for file in files:
            rows = read_file(file, [*source.tags, source.timestamp], name)
            found = source.batches_in(rows, f"{name}, {file.path.name}", other_reader=True)
            said = _commit_info(file)
            if said and json.loads(said.get("batchIds", "[]")) != list(range(file.lo, file.hi + 1)):
                raise PromiseBroken(
                    "corrupt", f"{name}: the commit of {file.path.name} names the batches {said['batchIds']}"
                )
            if not set(found) <= set(self._tables[name].committed):
                raise PromiseBroken("duplicate", f"{name}: {file.path.name} holds batches that it should not")

    def _compare_log(self, engine: StorageEngine, name: str) -> None:
        waiting, source = self._tables[name].waiting, self._data.source(name)
        logged = engine.unpersisted(name)
        if [batch_id for batch_id, _ in logged] != list(waiting):
            ids = [batch_id for batch_id, _ in logged]
            verdict = "loses" if set(waiting) - set(ids) else "duplicate" if set(ids) - set(waiting) else "reordered"
            raise PromiseBroken(verdict, f"{name}: the log holds the batches {ids}, not {list(waiting)}")
        for batch_id, batch in logged:
            if not same_batch(source, waiting[batch_id], batch):
                raise PromiseBroken("corrupt", f"{name}: batch {batch_id} of the log is not the one that was appended")

    def _batch(self, name: str, batch: pa.RecordBatch) -> Batch:
        """Return which batch a logged one is: one without rows is like any other."""
        found = self._data.source(name).batches_in(pa.Table.from_batches([batch]), f"{name}, logged")
        return found[0] if found else next(one for one in self._data.batches[name] if not one.rows)

    def _compare_counters(self, engine: StorageEngine) -> None:
        counters = engine.counters
        for what in self._counters:
            if (said := getattr(counters, what)) != self._counted[what]:
                raise PromiseBroken("corrupt", f"the engine counts {said} {what}, there were {self._counted[what]}")


def _compare(found: list[Batch], owed: list[Batch], where: str) -> None:
    """Raise PromiseBroken unless the same batches with rows are there."""
    there, due = Counter(found), Counter(batch for batch in owed if batch.rows)
    if lost := due - there:
        raise PromiseBroken("loses", f"{where}: {len(lost)} batches are gone, {next(iter(lost)).item} first")
    if more := there - due:
        raise PromiseBroken("duplicate", f"{where}: {len(more)} batches too many, {next(iter(more)).item} first")


def _check_checkpoints(before: list[str], names: list[str], where: str) -> None:
    """Raise PromiseBroken unless a new checkpoint has left the one before it, all commits since that, and nothing older."""
    checkpoints, earlier = ([name for name in some if name.endswith(".checkpoint.parquet")] for some in (names, before))
    if set(checkpoints) <= set(earlier):
        return  # A crash may have come before the clean-up of the last one.
    kept = {name for name in before if name[0].isdecimal() and name >= max(earlier, default="")[:20]}
    if lost := sorted(kept - set(names)):
        raise PromiseBroken("corrupt", f"{where}: clean-up after {checkpoints[-1]} took {', '.join(lost)}")
    older = [name for name in names if name[0].isdecimal() and name < checkpoints[-2:][0][:20]]
    if older and earlier:
        raise PromiseBroken("corrupt", f"{where}: clean-up after {checkpoints[-1]} left {', '.join(older)}")


def _check_due(names: list[str], commits_max: int, where: str) -> None:
    """Raise PromiseBroken if a commit of rows was to be followed by a checkpoint, and was not."""
    newest = max((name[:20] for name in names if name.endswith(".checkpoint.parquet")), default="")
    since = [name for name in names if re.fullmatch(r"\d{20}\.json", name) and int(name[:20]) > int(newest or 0)]
    if len(since) >= commits_max:
        raise PromiseBroken(
            "corrupt", f"{where}: there are {len(since)} commits since the last checkpoint, {commits_max} make one"
        )


def _commit_info(file: DeltaFile) -> dict[str, str]:
    """Return what the commit that added a file says of itself; empty if a checkpoint has replaced the commit."""
    for commit in sorted((file.path.parent / "_delta_log").glob("[0-9]*.json"), reverse=True):
        lines = [json.loads(line) for line in commit.read_bytes().splitlines()]
        if any(line.get("add", {}).get("path") == file.path.name for line in lines):
            return next((line["commitInfo"] for line in lines if "commitInfo" in line), {})
    return {}
