"""A Delta table of the port: commits that name the ids of their batches, truncation, transfer, removal.

deltalake syncs nothing. With the flaw `unsynced-commit` that stays so; without it each change is durable when the call returns.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset  # else pyarrow.parquet imports it in every child anew
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable
from deltalake.transaction import AddAction

from crashmatrix.scenarios.systems.delta_files import delta_files
from crashmatrix.scenarios.systems.modelardb.log import sync
from crashmatrix.scenarios.systems.modelardb.stream import SCHEMA

__all__ = ["Table"]


class Table:
    """The table in a folder, named from the server's root. Every change is one commit."""

    def __init__(self, root: Path, name: str, *, durable: bool) -> None:
        self.folder, self._durable = root / name, durable
        self._above = [root / above for above in Path(name).parents]
        if durable and self.exists:
            _heal(self.folder)
            self._sync_name()

    @property
    def exists(self) -> bool:
        """Whether there is a table."""
        return DeltaTable.is_deltatable(str(self.folder))

    def create(self) -> None:
        """Make it, empty."""
        self.folder.parent.mkdir(exist_ok=True)
        DeltaTable.create(str(self.folder), schema=SCHEMA)
        self._sync_commit()
        self._sync_name()

    def history(self, word: str = "batchIds") -> set[object]:
        """Return what all commits say under this word of their metadata."""
        commits = DeltaTable(str(self.folder)).history()
        return {one for commit in commits for one in json.loads(commit.get(word, "[]"))}

    def commit(self, rows: pa.Table, ids: Collection[int], **notes: list[str]) -> None:
        """Add rows; the commit names the ids of their batches, and what else it is to say."""
        table = DeltaTable(str(self.folder))
        file = self.folder / f"{table.metadata().id}-{table.version() + 1}.parquet"
        pq.write_table(rows, file)
        self._sync(file)
        self._sync(self.folder)  # Durable: the rows, before a commit names their file.
        add = AddAction(file.name, file.stat().st_size, {}, 0, True, "{}")
        said = {name: json.dumps(values) for name, values in {"batchIds": sorted(ids), **notes}.items()}
        properties = CommitProperties(custom_metadata=said)
        table.create_write_transaction([add], "append", table.schema(), commit_properties=properties)
        self._sync_commit()  # Durable: the commit, before the log forgets its batches.

    def truncate(self) -> None:
        """Remove every row."""
        table = DeltaTable(str(self.folder))
        table.create_write_transaction([], "overwrite", table.schema())
        self._sync_commit()

    def remove(self, names: Collection[str]) -> None:
        """Remove the rows of these files."""
        version = DeltaTable(str(self.folder)).version() + 1
        now = time.time_ns() // 1_000_000
        lines = [{"remove": {"path": name, "deletionTimestamp": now, "dataChange": True}} for name in sorted(names)]
        log = self.folder / "_delta_log"
        unfinished = log / f"{version}.json#"
        unfinished.write_text("\n".join(json.dumps(line) for line in [{"commitInfo": {"timestamp": now}}, *lines]))
        self._sync(unfinished)
        unfinished.rename(log / f"{version:020d}.json")
        self._sync(log)

    def drop(self) -> None:
        """Remove the table: first what makes it one."""
        if self.folder.exists():
            dropped = self.folder.with_name(f".dropped-{self.folder.name}")
            self.folder.rename(dropped)
            self._sync(dropped.parent)
            shutil.rmtree(dropped)

    def files(self) -> list[Path]:
        """Return the files of the table as it is now."""
        return delta_files(self.folder)

    def rows(self, files: Collection[Path] | None = None) -> pa.Table:
        """Return the rows of all files, or of these."""
        # Not to_pyarrow_table(), whose threads abort the interpreter at its exit now and then.
        found = [pq.read_table(file, schema=SCHEMA) for file in (self.files() if files is None else files)]
        return pa.concat_tables([SCHEMA.empty_table(), *found])

    def _sync(self, path: Path) -> None:
        if self._durable:
            sync(path)

    def _sync_name(self) -> None:
        for above in self._above:
            self._sync(above)

    def _sync_commit(self) -> None:
        log = self.folder / "_delta_log"
        self._sync(max(log.glob("*.json")))
        self._sync(log)
        self._sync(self.folder)


def _heal(folder: Path) -> None:
    """Make durable the commits that a start builds upon, without a last one that is torn: the log still has its batches."""
    log = folder / "_delta_log"
    newest = max(log.glob("*.json"))
    if int(newest.stem) == 0 and not all(_whole(newest, {each}) for each in ("protocol", "metaData")):
        shutil.rmtree(folder)  # Its creation was never acknowledged.
        return
    if int(newest.stem) > 0 and not _whole(newest, {"add", "remove"}):
        newest.unlink()
        newest = max(log.glob("*.json"))
    for path in (newest, log, folder):  # A process that was killed may have left them in the page cache only.
        sync(path)


def _whole(commit: Path, any_of: Collection[str]) -> bool:
    try:
        actions = [json.loads(line) for line in commit.read_bytes().splitlines()]
    except ValueError:
        return False
    return any(set(any_of) & set(action) for action in actions)
