"""The Parquet files of one table, looked at past the engine: names, counts, order, schema and rows."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.reference.rows.encodings import check_encodings
from crashmatrix.scenarios.systems.reference.rows.exact import plain, undictionaried

__all__ = ["DeltaFile", "check_commit", "files_in", "read_file"]

_NAME = re.compile(r"(?:.*-)?(\d{20})-(\d{20})-[0-9a-f]{16}\.parquet")


@dataclass(frozen=True)
class DeltaFile:
    """A file as the Delta log has it: the batches ``lo`` to ``hi`` by its name, and its rows by its statistics."""

    path: Path
    lo: int
    hi: int
    rows: int


def files_in(table: Path, where: str) -> list[DeltaFile]:
    """Return the files that deltalake finds in a table, in the order of their batches. Raises PromiseBroken for a strange one."""
    actions = pa.table(DeltaTable(table).get_add_actions(flatten=True))
    found = []
    for name, rows in zip(actions["path"].to_pylist(), actions["num_records"].to_pylist(), strict=True):
        match = _NAME.fullmatch(name)
        if match is None:
            raise PromiseBroken("corrupt", f"{where}: Delta names the file {name}, which the engine does not name so")
        found.append(DeltaFile(table / name, int(match[1]), int(match[2]), rows))
    return sorted(found, key=lambda file: (file.lo, file.path.name))


def check_commit(commit: Path, where: str) -> set[str]:
    """Return the kinds of actions in a commit. Raises PromiseBroken unless each says what other readers of the table go by."""
    kinds = set[str]()
    for line in commit.read_bytes().splitlines():
        for kind, action in json.loads(line).items():
            kinds.add(kind)
            if kind in _RIGHT and not _RIGHT[kind](action, commit.parent.parent):
                raise PromiseBroken("corrupt", f"{where}: {commit.name} has the action {kind} {action}")
    return kinds


def _is_now(milliseconds: int) -> bool:
    return abs(milliseconds / 1_000 - time.time()) < _DAY_SECONDS


def _is_right_add(action: dict[str, Any], table: Path) -> bool:
    file = table / action["path"]  # Gone, if a later commit removed it.
    said = action["dataChange"] is True and action["partitionValues"] == {} and _is_now(action["modificationTime"])
    return said and (not file.exists() or file.stat().st_size == action["size"])


def _is_right_remove(action: dict[str, Any], _: Path) -> bool:
    return action["dataChange"] is True and action["size"] > 0 and _is_now(action["deletionTimestamp"])


_DAY_SECONDS = 86_400
_RIGHT: dict[str, Callable[[dict[str, Any], Path], bool]] = {
    "commitInfo": lambda action, _: _is_now(action["timestamp"]),
    "add": _is_right_add,
    "remove": _is_right_remove,
    "txn": lambda action, _: "/" in action["appId"] and action["version"] >= -1,
}


def read_file(file: DeltaFile, keys: Sequence[str], where: str, *, only: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a file, as any reader of Parquet finds them.

    Args:
        only: the columns to read, which may leave out ``keys``; all if not given.

    Raises:
        PromiseBroken: footer, statistics and rows differ in their count; the rows are not sorted by these columns; a column is
            encoded in another way than the engine's.
    """
    try:
        with pq.ParquetFile(file.path, page_checksum_verification=True) as parquet:
            metadata, rows = parquet.metadata, parquet.read(only, use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise PromiseBroken("corrupt", f"{where}: {file.path.name} cannot be read ({error})") from error
    if not (counted := metadata.num_rows) == file.rows == rows.num_rows:
        raise PromiseBroken(
            "corrupt",
            f"{where}: {file.path.name} has {rows.num_rows} rows, its footer says {counted}, its commit {file.rows}",
        )
    if only is not None:
        return rows
    if not _is_sorted(rows.select(list(keys))):
        raise PromiseBroken("reordered", f"{where}: the rows of {file.path.name} are not sorted by {', '.join(keys)}")
    check_encodings(metadata, rows, f"{where}: {file.path.name}")
    return rows


def _is_sorted(keys: pa.Table) -> bool:
    schema = pa.schema([field.with_type(undictionaried(field.type)) for field in keys.schema])
    keys = plain(keys.cast(schema)).rename_columns([str(place) for place in range(keys.num_columns)])
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in keys.column_names])
    return bool(keys.take(order).equals(keys))
