"""SQLite as a system under test: which pragmas are set, and what recovery makes of a damaged database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from crashmatrix.scenarios.errors import PromiseBroken
from crashmatrix.scenarios.systems.sqlite import SQLite
from crashmatrix.scenarios.systems.values import ITEMS
from crashmatrix.scenarios.target.journal import Journal

EDITS = {
    "a row with other bytes": ("UPDATE rows SET value = x'00' WHERE number = 3", "corrupt"),
    "no table": ("DROP TABLE rows", "loses"),
}


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    system = SQLite()
    system.prepare(root)
    system.workload(root, Journal(tmp_path / "journal"))
    assert system.recover(root) == list(range(ITEMS))
    return root


@pytest.mark.parametrize(("statement", "verdict"), EDITS.values(), ids=EDITS)
def test_edited(statement: str, verdict: str, filled: Path) -> None:
    """A row that changed and a table that is gone are findings."""
    with sqlite3.connect(filled / "rows.db") as connection:
        connection.execute(statement)
    connection.close()
    with pytest.raises(PromiseBroken) as caught:
        SQLite().recover(filled)
    assert caught.value.verdict == verdict


def test_fewer_rows(filled: Path) -> None:
    """Rows that are gone are left to the contract."""
    with sqlite3.connect(filled / "rows.db") as connection:
        connection.execute("DELETE FROM rows WHERE number >= 20")
    connection.close()
    assert SQLite().recover(filled) == list(range(20))


def test_not_a_database(filled: Path) -> None:
    """A file that SQLite itself refuses is corrupt, and the message is SQLite's."""
    (filled / "rows.db").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(PromiseBroken, match="SQLite: ") as caught:
        SQLite().recover(filled)
    assert caught.value.verdict == "corrupt"


@pytest.mark.parametrize(("mode", "log"), [("wal", "wal"), ("delete", "delete"), ("persist", "persist")])
def test_journal_mode(mode: str, log: str, tmp_path: Path) -> None:
    """The database is in the requested journal mode."""
    SQLite(journal_mode=mode).prepare(tmp_path)
    connection = sqlite3.connect(tmp_path / "rows.db")
    (found,) = connection.execute("PRAGMA journal_mode").fetchone()
    connection.close()
    assert found == (log if log == "wal" else "delete")  # Only wal is kept in the file.
