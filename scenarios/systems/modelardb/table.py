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
    """The table in a folder. Every change is one commit."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self.folder, self._durable = folder, durable
        if durable and self.exists:
            _heal(folder / "_delta_log")

    @property
    def exists(self) -> bool:
        """Whether there is a table."""
        return DeltaTable.is_deltatable(str(self.folder))

    def create(self) -> None:
        """Make it, empty."""
        self.folder.parent.mkdir(exist_ok=True)
        DeltaTable.create(str(self.folder), schema=SCHEMA)
        self._sync_commit()
        self._sync(self.folder.parent)

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

    def _sync_commit(self) -> None:
        log = self.folder / "_delta_log"
        self._sync(max(log.glob("*.json")))
        self._sync(log)
        self._sync(self.folder)


def _heal(delta_log: Path) -> None:
    """Remove a last commit that did not reach the disk whole: the log still has its batches."""
    newest = max(delta_log.glob("*.json"))
    try:
        actions = [json.loads(line) for line in newest.read_bytes().splitlines()]
    except ValueError:
        actions = []
    if int(newest.stem) > 0 and not any({"add", "remove"} & set(action) for action in actions):
        newest.unlink()
        sync(delta_log)
