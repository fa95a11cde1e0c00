"""The reference engine's folder: debris of an earlier crash, and what two runs of one seed have in common."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crashmatrix.scenarios.systems.reference.folder import undated

COMMIT = [
    {"commitInfo": {"timestamp": 1, "operation": "WRITE", "operationMetrics": {"added": 2}}},
    {"metaData": {"id": "drawn", "createdTime": 3, "name": "t"}},
    {"add": {"path": "a.parquet", "size": 9, "modificationTime": 4}},
]
CHANGES = {
    "a date": ('"timestamp": 1', '"timestamp": 99', True),
    "an id": ('"id": "drawn"', '"id": "another"', True),
    "a file's date": ('"modificationTime": 4', '"modificationTime": 5', True),
    "a file's name": ("a.parquet", "b.parquet", False),
    "a file's size": ('"size": 9', '"size": 10', False),
    "a number within": ('"added": 2', '"added": 3', False),
}


@pytest.mark.parametrize(("old", "new", "same"), CHANGES.values(), ids=CHANGES)
def test_commits(old: str, new: str, same: bool, tmp_path: Path) -> None:
    """Dates and random ids do not count, everything else does."""
    folder = tmp_path / "_delta_log"
    folder.mkdir()
    text = "\n".join(json.dumps(action) for action in COMMIT)
    (folder / "0.json").write_text(text)
    (folder / "1.json").write_text(text.replace(old, new))
    assert text.replace(old, new) != text
    assert (undated(folder / "0.json") == undated(folder / "1.json")) is same


def test_other_files(tmp_path: Path) -> None:
    """A checkpoint repeats dates, so it does not count; any other file counts as it is."""
    (tmp_path / "0.checkpoint.parquet").write_bytes(b"dates")
    (tmp_path / "data.parquet").write_bytes(b"rows")
    assert undated(tmp_path / "0.checkpoint.parquet") == b""
    assert undated(tmp_path / "data.parquet") == b"rows"
