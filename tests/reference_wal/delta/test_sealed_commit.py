"""The checksum within a commit: it shows every change, and a commit of an older version passes only if it is whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from crashmatrix.reference_wal import TableCorrupted
from crashmatrix.reference_wal.delta.sealed_commit import check_commit, is_whole, sealed
from tests.reference_wal.support import flipped

SEALED = sealed({"timestamp": 1, "batchIds": "[0]"}, [{"add": {"path": "a"}}, {"txn": {"appId": "x", "version": 0}}], 7)
OLDER = b'{"commitInfo":{"engineInfo":"delta-rs:py-1.6.6","batchIds":"[0]"}}\n{"add":{}}\n{"txn":{}}'


def accepted(folder: Path, data: bytes, version: int = 7) -> bool:
    file = folder / f"{version:020d}.json"
    file.write_bytes(data)
    try:
        check_commit(file)
    except TableCorrupted as error:
        assert error.path == file
        return False
    return True


def test_every_changed_byte_shows(tmp_path: Path) -> None:
    """No byte of a sealed commit can change, by one bit or all, nor its end be missing; under another version it is refused."""
    assert accepted(tmp_path, SEALED) and not accepted(tmp_path, SEALED, 8)
    for place in range(len(SEALED)):
        for changed in (flipped(SEALED, place), flipped(SEALED, place, 1 << place % 8), SEALED[:place]):
            assert not accepted(tmp_path, changed), place


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OLDER, True),
        (OLDER.rpartition(b"\n")[0], False),
        (OLDER[:-1], False),
        (b'{"commitInfo":{"engineInfo":"delta-rs:py-1.6.6"}}\n{"protocol":{}}', True),
        (b'{"commitInfo":{"engineInfo":"mine"}}\n{"txn":{}}', False),
        (b"[]", False),
        (b"[" * 100_000, False),
        (b'{"commitInfo":1}', False),
        (b"", False),
    ],
)
def test_commits_of_older_versions(data: bytes, expected: bool, tmp_path: Path) -> None:
    """A commit without a checksum is accepted if deltalake wrote it, and it has its end."""
    assert accepted(tmp_path, data) == expected


def test_is_whole(tmp_path: Path) -> None:
    """A commit of a transfer is whole once it has its last line."""
    file = tmp_path / "0.json"
    found = []
    for data in (OLDER, OLDER.rpartition(b"\n")[0], b"", b"{"):
        file.write_bytes(data)
        found.append(is_whole(file))
    assert found == [True, False, False, False]
