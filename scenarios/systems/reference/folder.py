"""The reference engine's folder as a file tree: the remains of an earlier crash, and the parts that two runs share."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from deltalake import DeltaTable

from crashmatrix.scenarios.systems.reference.data import MAIN, SCRATCH
from crashmatrix.scenarios.systems.reference.operations import ARCHIVE, PREPARED
from crashmatrix.scenarios.systems.reference.torn_logs import leave_remains

__all__ = ["digest_of", "leave_debris", "leave_half", "undated"]


_SPILLED_AHEAD = range(6, 14)
"""Ids of spilled batches that no longer follow on the others: should the files come back once others have been deleted, or
committed up to there, they would be taken for those of new batches."""


def undated(path: Path) -> bytes:
    """Return a file's content without what deltalake dates or draws at random."""
    if path.name.endswith((".checkpoint.parquet", ".xxh3")):
        return b""  # Repeats the commits, whose dates and ids it holds compressed; and its checksum.
    if path.parent.name != "_delta_log":
        return path.read_bytes()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    return json.dumps([_without_dates(line) for line in lines], sort_keys=True).encode()


def digest_of(root: Path) -> str:
    """Return a digest of a folder's names and contents (`undated`), equal for runs that did the same."""
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(root.rglob("*")):
        content = undated(path) if path.is_file() else b""
        digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _without_dates(value: Any) -> Any:
    random_or_dated = {
        "timestamp",
        "checksum",
        "modificationTime",
        "deletionTimestamp",
        "createdTime",
        "id",
        "location",
        "metadata",
        "sizeInBytes",
    }
    if not isinstance(value, dict):
        return value
    return {key: _without_dates(part) for key, part in value.items() if key not in random_or_dated}


def leave_debris(root: Path) -> None:
    """Leave the files of an engine that had begun to do more when the power went; nothing of it was acknowledged."""
    delta_log = root / "tables" / MAIN / "_delta_log"
    newest = max(int(path.stem) for path in delta_log.glob("*.json"))
    (delta_log / f"{newest + 1:020d}.json#unfinished").write_bytes(b'{"commitInfo":{"checksum":"0123')
    (delta_log / f"{newest + 1:020d}.json#abandoned").touch()
    (root / "tables" / MAIN / "orphan.parquet").touch()
    (delta_log / "_last_checkpoint").write_text('{"version": 0, "size": 3')
    (root / "tables" / ".creating-unfinished").mkdir()
    (root / "tables" / ".dropped-gone").mkdir()
    whole = sorted((root / "spill" / MAIN).glob("*.arrow"))[-1:]
    for name, start in ((MAIN, PREPARED[MAIN]), (MAIN, 0), (MAIN, 99), ("gone", 0)):
        (root / "spill" / name).mkdir(parents=True, exist_ok=True)
        (root / "spill" / name / f"{start:020d}-{start + 1:020d}-0badc0de.arrow").write_bytes(bytes(600))  # torn
    for start in _SPILLED_AHEAD if whole else ():  # Others, behind those that are torn.
        shutil.copy(whole[0], whole[0].with_name(f"{start:020d}-{start:020d}-{whole[0].stem.rpartition('-')[2]}.arrow"))
    _leave_debris_of_a_transfer(root)
    if (root / "wal").exists():
        leave_remains(root / "wal", torn={MAIN: "last"}, rotating=SCRATCH, strange=[f"{SCRATCH}/by-somebody-else"])


def _leave_debris_of_a_transfer(root: Path) -> None:
    """A transfer had been noted, and its commit torn in the receiving table."""
    archive = root / ARCHIVE / MAIN
    DeltaTable.create(str(archive), DeltaTable(str(root / "tables" / MAIN)).schema())
    (archive / "_delta_log" / f"{1:020d}.json").write_text('{"commitInfo":{"timestamp":1')
    intent = {"uri": f"{ARCHIVE}/{MAIN}", "number": 1, "version": 0}
    (root / "tables" / MAIN / "_transfer.json").write_text(json.dumps(intent))
    (root / "tables" / SCRATCH / "_transfer.json.tmp").touch()


def leave_half(root: Path, created: str, dropped: str) -> None:
    """Take two new tables back to where one is not created yet, and one is dropped and still has its log."""
    (root / "tables" / created).rename(root / "tables" / f".creating-{created}")
    (root / "tables" / dropped).rename(root / "tables" / f".dropped-{dropped}")
